//! The stream of Apply and Plan: a header, then objects and keys, gathered into one change.

use std::collections::BTreeSet;
use std::time::Duration;

use api::v1::apply_header::Mode;
use api::v1::apply_request::Part;
use api::v1::{ApplyChunk, ApplyHeader, ApplyRequest};
use api::{object_key, read_object};
use model::{Change, Error, Generation, ObjectKey, ObjectReader, ObjectRef, Origin, Warning, limits};
use tonic::{Status, Streaming};

use crate::state::FILE_ORIGIN;

/// A client that sends nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A whole stream.
pub(super) struct Incoming {
    pub(super) origin: Origin,
    pub(super) base: Option<Generation>,
    /// The change and its warnings, or everything that is wrong with its objects.
    pub(super) change: Result<(Change, Vec<Warning>), Vec<Error>>,
}

struct Gathering {
    mode: Mode,
    reader: ObjectReader,
    origin: Origin,
    deletes: BTreeSet<ObjectKey>,
    seen: usize,
}

/// Reads a stream to its end.
///
/// # Errors
/// It is no stream of these messages; nothing of it counts.
pub(super) async fn read(mut stream: Streaming<ApplyRequest>) -> Result<Incoming, Status> {
    let Some(Part::Header(header)) = next(&mut stream).await?.and_then(|it| it.part) else {
        return Err(Status::invalid_argument("the first message is not a header"));
    };
    let (base, mut gathering) = begin(&header)?;
    while let Some(message) = next(&mut stream).await? {
        match message.part {
            Some(Part::Chunk(chunk)) => gathering.take(chunk)?,
            Some(Part::Header(_)) => return Err(Status::invalid_argument("a second header")),
            // A part that a later version knows; skipping it would apply half of what was sent.
            None => return Err(Status::invalid_argument("a message that is neither header nor chunk")),
        }
    }
    let Gathering { mode, reader, origin, deletes, .. } = gathering;
    let change = reader.finish().map(|(objects, warnings)| match mode {
        Mode::Delta => (Change::Delta { upserts: objects, deletes }, warnings),
        Mode::Whole | Mode::Unspecified => (Change::Whole(objects), warnings),
    });
    Ok(Incoming { origin, base, change })
}

async fn next(stream: &mut Streaming<ApplyRequest>) -> Result<Option<ApplyRequest>, Status> {
    tokio::time::timeout(SILENCE, stream.message())
        .await
        .map_err(|_| Status::deadline_exceeded(format!("nothing came for {} s", SILENCE.as_secs())))?
}

fn begin(header: &ApplyHeader) -> Result<(Option<Generation>, Gathering), Status> {
    let origin = model::parse_origin(&header.origin).map_err(|errors| {
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Status::invalid_argument(text.join("\n"))
    })?;
    if &*origin.0 == FILE_ORIGIN {
        return Err(Status::permission_denied(
            "origin file belongs to the gateway's configuration directory; write the files there, or use another origin",
        ));
    }
    let mode = Mode::try_from(header.mode).unwrap_or(Mode::Unspecified);
    if mode == Mode::Unspecified {
        return Err(Status::invalid_argument("mode: neither MODE_WHOLE nor MODE_DELTA"));
    }
    let gathering = Gathering {
        mode,
        reader: ObjectReader::new(origin.clone()),
        origin,
        deletes: BTreeSet::new(),
        seen: 0,
    };
    Ok((header.base_generation.map(Generation), gathering))
}

impl Gathering {
    fn take(&mut self, chunk: ApplyChunk) -> Result<(), Status> {
        self.seen += chunk.upserts.len() + chunk.deletes.len();
        if self.seen > limits::OBJECTS {
            return Err(Status::resource_exhausted(format!("more than {} objects", limits::OBJECTS)));
        }
        if self.mode == Mode::Whole && !chunk.deletes.is_empty() {
            return Err(Status::invalid_argument("deletes: a whole content has none; leave the objects out"));
        }
        for object in chunk.upserts {
            match read_object(object) {
                (name, Some(spec)) => self.reader.push(&name, spec),
                (name, None) => {
                    let object = self.object("object", &name);
                    let remedy =
                        "set one of the kinds; a newer client may know one that this gateway does not";
                    self.reader.fault(Error::new(
                        object,
                        "spec",
                        "",
                        "of no kind that this gateway knows",
                        remedy,
                    ));
                }
            }
        }
        for key in &chunk.deletes {
            match object_key(key) {
                Some(key) if self.deletes.insert(key.clone()) => {}
                Some(key) => {
                    let object = self.object(key.kind.as_str(), &key.name.0);
                    self.reader.fault(Error::new(object, "deletes", "", "named twice", "name it once"));
                }
                None => {
                    let object = self.object("object", &key.name);
                    let remedy = "set the kind of the object to delete";
                    self.reader.fault(Error::new(object, "deletes.kind", key.kind, "not a kind", remedy));
                }
            }
        }
        Ok(())
    }

    fn object(&self, kind: &str, name: &str) -> ObjectRef {
        ObjectRef { origin: Some(self.origin.clone()), kind: kind.to_owned(), name: name.to_owned() }
    }
}
