//! The accepted configuration on disk: one file per origin, as lines of JSON.
//!
//! The first line of a file is the origin's whole content at one generation, each further line a
//! change to it. A whole content is written to a new file that takes the old one's place; a change
//! is appended. Either is on disk (fsync) before anyone is told, so that a machine that loses power
//! comes back with what it acknowledged. A last line without its newline was never acknowledged and
//! is cut off. Appending keeps a small change cheap beside a large configuration.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::{
    Error, Generation, Kind, Name, ObjectKey, ObjectReader, ObjectRef, Objects, Origin, PlannedChange,
    Warning, object_value,
};
use serde_json::{Value, json};

use crate::StartError;

/// The origin that the configuration directory is read for at each start.
pub const FILE_ORIGIN: &str = "file";

/// Changes are appended until they take this much, or as much as the whole content, whichever is more.
const TAIL: u64 = 1 << 20;

/// A directory with the files of every origin but `file`; held against a second process.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    files: BTreeMap<Origin, Sizes>,
    _lock: File,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    /// Octets of the first line.
    whole: u64,
    /// Octets of the file.
    all: u64,
}

/// What was read of one origin.
pub(crate) struct Stored {
    pub(crate) origin: Origin,
    pub(crate) generation: Generation,
    pub(crate) objects: Objects,
}

/// A write that is on disk but not yet in force.
#[must_use]
pub(crate) enum Prepared {
    /// A new file beside the old one.
    Whole { temporary: PathBuf, target: PathBuf, origin: Origin, size: u64 },
    /// A line at the end of the file, which was `before` octets long.
    Tail { target: PathBuf, origin: Origin, before: u64, after: u64 },
}

impl StateDirectory {
    /// Opens `path`, making it where it is missing, and reads what is there.
    ///
    /// # Errors
    /// It cannot be used, another process holds it, or a file in it is broken.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Stored>), StartError> {
        let io = |error: io::Error| StartError::state_io(path, &error);
        fs::create_dir_all(path).map_err(io)?;
        let lock_path = path.join("lock");
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(&lock_path)
            .map_err(|error| StartError::state_io(&lock_path, &error))?;
        if lock.try_lock().is_err() {
            let remedy = "stop the other sluiced, or name another directory in `state`";
            return Err(StartError::state(path, "used by another process", remedy));
        }
        let mut directory = StateDirectory { path: path.to_owned(), files: BTreeMap::new(), _lock: lock };
        let mut stored = Vec::new();
        let mut names: Vec<PathBuf> = fs::read_dir(path)
            .map_err(io)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(io)?;
        names.sort();
        for file in names {
            if file.extension().is_some_and(|extension| extension == "new") {
                // Left by a crash before it took its place: never acknowledged.
                fs::remove_file(&file).map_err(|error| StartError::state_io(&file, &error))?;
            } else if let Some(origin) = origin_of(&file) {
                stored.push(directory.read(&file, origin)?);
            }
        }
        Ok((directory, stored))
    }

    fn target(&self, origin: &Origin) -> PathBuf {
        self.path.join(format!("{origin}.jsonl"))
    }

    fn read(&mut self, file: &Path, origin: Origin) -> Result<Stored, StartError> {
        let io = |error: io::Error| StartError::state_io(file, &error);
        let mut text = fs::read_to_string(file).map_err(io)?;
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        if complete < text.len() {
            tracing::warn!(file = %file.display(), "cutting off a line that was not finished");
            OpenOptions::new()
                .write(true)
                .open(file)
                .and_then(|it| it.set_len(complete as u64))
                .map_err(io)?;
            text.truncate(complete);
        }
        let broken = |number: usize, problem: String| {
            let remedy = "move the file away to start without what this origin had, and apply it again";
            StartError::state(file, format!("line {}: {problem}", number + 1), remedy)
        };
        let mut stored = Stored { origin, generation: Generation(0), objects: Objects::default() };
        let mut sizes = Sizes::default();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let record: Value =
                serde_json::from_str(line).map_err(|error| broken(number, error.to_string()))?;
            let whole = record.get("whole").and_then(Value::as_bool);
            let generation = record.get("generation").and_then(Value::as_u64);
            let (Some(whole), Some(generation)) = (whole, generation) else {
                return Err(broken(number, "not a record of this program".to_owned()));
            };
            if whole != (number == 0) {
                return Err(broken(number, "the whole content is not the first line".to_owned()));
            }
            let upserts = record_objects(&stored.origin, &record).map_err(|errors| {
                broken(number, errors.first().map(ToString::to_string).unwrap_or_default())
            })?;
            for key in
                record_deletes(&record).ok_or_else(|| broken(number, "deletes what has no key".to_owned()))?
            {
                stored.objects.remove(&key);
            }
            stored.objects.merge(upserts);
            stored.generation = Generation(generation);
            if number == 0 {
                sizes.whole = line.len() as u64;
            }
        }
        if sizes.whole == 0 {
            return Err(broken(0, "the file is empty".to_owned()));
        }
        sizes.all = text.len() as u64;
        self.files.insert(stored.origin.clone(), sizes);
        Ok(stored)
    }

    /// Puts a change on disk so that [`commit`](Self::commit) only has to make it count.
    ///
    /// # Errors
    /// It could not be written; nothing has changed.
    pub(crate) fn prepare(
        &mut self,
        origin: &Origin,
        generation: Generation,
        objects: Option<&Objects>,
        changes: &[PlannedChange],
    ) -> io::Result<Prepared> {
        let target = self.target(origin);
        if let Some(sizes) = self.files.get(origin) {
            let line = change_line(generation, changes);
            let after = sizes.all + line.len() as u64;
            if after - sizes.whole <= sizes.whole.max(TAIL) {
                let before = sizes.all;
                let written = append(&target, before, line.as_bytes());
                if written.is_err() {
                    // Whatever stands there now, the next change writes the whole content anew.
                    self.files.remove(origin);
                }
                return written.map(|()| Prepared::Tail { target, origin: origin.clone(), before, after });
            }
        }
        let temporary = self.path.join(format!("{origin}.new"));
        let line = whole_line(generation, objects);
        let written = write_new(&temporary, line.as_bytes());
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map(|()| Prepared::Whole {
            temporary,
            target,
            origin: origin.clone(),
            size: line.len() as u64,
        })
    }

    /// Makes a prepared write count.
    ///
    /// # Errors
    /// The new file could not take the old one's place; the old one is as it was.
    pub(crate) fn commit(&mut self, prepared: Prepared) -> io::Result<()> {
        match prepared {
            Prepared::Whole { temporary, target, origin, size } => {
                fs::rename(&temporary, &target)?;
                File::open(&self.path)?.sync_all()?;
                self.files.insert(origin, Sizes { whole: size, all: size });
            }
            Prepared::Tail { origin, after, .. } => {
                if let Some(sizes) = self.files.get_mut(&origin) {
                    sizes.all = after;
                }
            }
        }
        Ok(())
    }

    /// Takes a prepared write back.
    pub(crate) fn abort(&mut self, prepared: Prepared) {
        let undone = match &prepared {
            Prepared::Whole { temporary, .. } => fs::remove_file(temporary),
            Prepared::Tail { target, before, .. } => {
                OpenOptions::new().write(true).open(target).and_then(|file| file.set_len(*before))
            }
        };
        if let (Err(error), Prepared::Tail { origin, .. }) = (undone, prepared) {
            tracing::error!(%origin, %error, "a refused change stays on disk until the next one");
            // Without known sizes the next change writes the whole content anew.
            self.files.remove(&origin);
        }
    }

    /// The generation that the configuration directory's content last had, and that content's digest.
    pub(crate) fn file_mark(&self) -> (Generation, u64) {
        let read = || -> Option<(Generation, u64)> {
            let record: Value = serde_json::from_slice(&fs::read(self.path.join("file.mark")).ok()?).ok()?;
            Some((Generation(record.get("generation")?.as_u64()?), record.get("digest")?.as_u64()?))
        };
        read().unwrap_or_default()
    }

    /// Notes the generation of the configuration directory's content, so that a restart with the same content keeps it.
    pub(crate) fn set_file_mark(&self, generation: Generation, digest: u64) -> io::Result<()> {
        let temporary = self.path.join("file.new");
        let text = json!({"generation": generation.0, "digest": digest}).to_string();
        write_new(&temporary, text.as_bytes())?;
        fs::rename(&temporary, self.path.join("file.mark"))
    }
}

fn origin_of(file: &Path) -> Option<Origin> {
    let name = file.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    model::parse_origin(name).ok().filter(|origin| &*origin.0 != FILE_ORIGIN)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private(OpenOptions::new().create(true).truncate(true).write(true)).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn append(path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        file.set_len(length)?;
    }
    written
}

fn whole_line(generation: Generation, objects: Option<&Objects>) -> String {
    let values: Vec<Value> =
        objects.into_iter().flat_map(Objects::iter).map(|object| object_value(&object)).collect();
    json!({"generation": generation.0, "whole": true, "upserts": values}).to_string() + "\n"
}

fn change_line(generation: Generation, changes: &[PlannedChange]) -> String {
    let upserts: Vec<Value> =
        changes.iter().filter_map(|change| change.after.as_ref()).map(object_value).collect();
    let deletes: Vec<Value> = changes
        .iter()
        .filter(|change| change.after.is_none())
        .map(|change| json!({"kind": change.key.kind.as_str(), "name": &*change.key.name.0}))
        .collect();
    json!({"generation": generation.0, "whole": false, "upserts": upserts, "deletes": deletes}).to_string()
        + "\n"
}

fn record_objects(origin: &Origin, record: &Value) -> Result<Objects, Vec<Error>> {
    let mut reader = ObjectReader::new(origin.clone());
    for (i, value) in record.get("upserts").and_then(Value::as_array).into_iter().flatten().enumerate() {
        reader.read_value(&format!("{}", i + 1), value.clone());
    }
    reader.finish().map(|(objects, _)| objects)
}

fn record_deletes(record: &Value) -> Option<Vec<ObjectKey>> {
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    record
        .get("deletes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|value| {
            let kind = Kind::named(&text(value, "kind")?)?;
            Some(ObjectKey { kind, name: Name(text(value, "name")?.into()) })
        })
        .collect()
}

/// Reads the objects of a configuration directory: its `.yaml`, `.yml` and `.json` files, by name.
/// A directory that is not there holds none.
///
/// # Errors
/// A file cannot be read, or everything that is wrong with its objects.
pub fn read_directory(path: &Path) -> Result<(Objects, Vec<Warning>), Vec<Error>> {
    let origin = Origin(FILE_ORIGIN.into());
    let unreadable = |path: &Path, error: &io::Error| {
        let object = ObjectRef {
            origin: Some(origin.clone()),
            kind: "file".to_owned(),
            name: path.display().to_string(),
        };
        Error::new(object, "", "", format!("cannot be read: {error}"), "make it readable, or move it away")
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(vec![unreadable(path, &error)]),
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| vec![unreadable(path, &error)])?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let known = file.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if known && !hidden {
            files.push(file);
        }
    }
    files.sort();
    let mut reader = ObjectReader::new(origin.clone());
    for file in files {
        match fs::read_to_string(&file) {
            Ok(text) => reader.read(&file.display().to_string(), &text),
            Err(error) => reader.fault(unreadable(&file, &error)),
        }
    }
    reader.finish()
}

/// A digest of objects that is the same on every machine (64-bit FNV-1a).
pub(crate) fn digest(objects: &Objects) -> u64 {
    objects.iter().map(|object| object_value(&object).to_string()).fold(
        0xcbf2_9ce4_8422_2325,
        |hash, text| {
            text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
        },
    )
}
