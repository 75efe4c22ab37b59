//! `get` and `delete`: the accepted objects.

use std::io::Write as _;

use api::v1;
use api::v1::config_client::ConfigClient;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio_stream::StreamExt as _;

use crate::args::{Delete, Get};
use crate::command::apply;
use crate::documents;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayArgs, LARGEST_MESSAGE};
use crate::output::{self, Format, Row};
use crate::units::plural;

/// An object and whose it is. Its JSON is the object's with `origin` beside `kind`.
struct Owned {
    origin: String,
    object: v1::Object,
}

impl Serialize for Owned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = json(&self.object);
        if let Value::Object(fields) = &mut value {
            fields.insert("origin".to_owned(), Value::String(self.origin.clone()));
        }
        value.serialize(serializer)
    }
}

impl Row for Owned {
    const HEADINGS: &'static [&'static str] = &["ORIGIN", "KIND", "NAME", "SUMMARY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.origin.clone(),
            kind(&self.object).to_owned(),
            self.object.name.clone(),
            super::summary::summary(&self.object),
        ]
    }
}

/// `get`.
pub(crate) async fn show(gateway: &Gateway, format: Format, args: Get) -> Result<(), Failure> {
    let request = v1::GetRequest {
        kind: args.kind.map_or(v1::Kind::Unspecified, api::kind_message).into(),
        name: args.name.clone().unwrap_or_default(),
        origin: args.origin.unwrap_or_default(),
    };
    let mut client = ConfigClient::new(gateway.channel()).max_decoding_message_size(LARGEST_MESSAGE);
    let response = client.get(request).await.map_err(|status| gateway.failure(&status))?;
    let mut parts = response.into_inner();
    let mut objects = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|status| gateway.failure(&status))?;
        let origin = part.origin;
        objects.extend(part.objects.into_iter().map(|object| Owned { origin: origin.clone(), object }));
    }
    if let (Some(kind), Some(name), true) = (args.kind, &args.name, objects.is_empty()) {
        return Err(Failure::Failed(format!(
            "{kind}/{name}: there is no such object; `sluicectl get {kind}` lists those there are"
        )));
    }
    if format != Format::Yaml {
        return Ok(output::list(format, &objects, "no objects")?);
    }
    let mut out = std::io::stdout().lock();
    for Owned { origin, object } in &objects {
        let document = model::value_yaml(&json(object));
        write!(out, "---\n# origin: {origin}\n{document}")?;
    }
    Ok(out.flush()?)
}

/// `delete`.
pub(crate) async fn delete(args: &GatewayArgs, format: Format, delete: Delete) -> Result<(), Failure> {
    let origin = documents::origin(&delete.origin)?;
    let deletes: Vec<v1::ObjectKey> = match delete.kind {
        Some(kind) => {
            let key =
                |name: &String| v1::ObjectKey { kind: api::kind_message(kind).into(), name: name.clone() };
            delete.names.iter().map(key).collect()
        }
        None => documents::read(&delete.files, &origin)?
            .iter()
            .map(|object| api::key_message(&object.key()))
            .collect(),
    };
    let asked = deletes.len() as u64;
    let header = v1::ApplyHeader {
        origin: delete.origin,
        mode: v1::apply_header::Mode::Delta.into(),
        base_generation: None,
    };
    let header = v1::ApplyRequest { part: Some(v1::apply_request::Part::Header(header)) };
    let chunks = deletes
        .chunks(1_000)
        .map(|keys| apply::part(v1::ApplyChunk { upserts: vec![], deletes: keys.to_vec() }));
    let stream = std::iter::once(header).chain(chunks).collect();
    let gateway = args.connect().await?;
    let accepted = apply::send(&gateway, format, stream, delete.wait).await?;
    if accepted.deleted < asked && !delete.ignore_missing {
        let missing = plural(asked - accepted.deleted, "object");
        return Err(Failure::Failed(format!(
            "{missing} of origin {} to delete did not exist; `sluicectl get` lists those that do",
            origin.0
        )));
    }
    Ok(())
}

/// The object in the documented shape, with every default filled in. Of a kind or with a value that
/// this program does not know, its name alone.
pub(crate) fn json(object: &v1::Object) -> Value {
    let (name, spec) = api::read_object(object.clone());
    let origin = model::Origin("".into());
    let parsed = spec.and_then(|spec| model::parse_object(&origin, &name, spec, &mut Vec::new()).ok());
    match parsed {
        Some(object) => model::object_value(&object),
        None => serde_json::json!({ "kind": kind(object), "metadata": { "name": name } }),
    }
}

/// Its kind's word.
pub(crate) fn kind(object: &v1::Object) -> &'static str {
    api::read_object(object.clone()).1.map_or("unknown", |spec| spec.kind().as_str())
}

/// What stands in a field such as `spec.backends[2].weight`, in one line.
pub(crate) fn field(object: Option<&Value>, path: &str) -> String {
    let mut at = object;
    for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
        at = at.and_then(|value| match step.parse::<usize>() {
            Ok(index) if value.is_array() => value.get(index),
            _ => value.get(step),
        });
    }
    at.map_or_else(|| "(absent)".to_owned(), Value::to_string)
}
