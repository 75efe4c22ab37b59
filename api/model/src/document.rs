//! Files of objects: YAML documents, JSON, or a `List` of them.

use serde_json::{Map, Value};

use crate::decode::{decode, documents, value_text};
use crate::{Error, Kind, Object, ObjectRef, Objects, Origin, Warning, limits, parse, raw};

/// What every object says of itself.
pub const API_VERSION: &str = "sluice.dev/v1alpha1";

/// Gathers the objects of one origin, from files or messages, and everything that is wrong with them.
#[derive(Debug)]
pub struct ObjectReader {
    origin: Origin,
    objects: Objects,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
}

impl ObjectReader {
    /// A reader of the objects of `origin`.
    pub fn new(origin: Origin) -> Self {
        ObjectReader { origin, objects: Objects::default(), errors: Vec::new(), warnings: Vec::new() }
    }

    /// Reads a text of documents; `file` names it in errors about documents without a name.
    pub fn read(&mut self, file: &str, text: &str) {
        match documents(text) {
            Err(problem) => {
                let object = self.place("file", file.to_owned());
                self.errors.push(Error::new(object, "", "", problem, "mend the YAML"));
            }
            Ok(documents) => {
                for (i, document) in documents.into_iter().enumerate() {
                    self.document(&format!("{} of {file}", i + 1), document);
                }
            }
        }
    }

    /// Reads one document, or a `List` of them; `place` names it in errors where it has no name.
    pub fn read_value(&mut self, place: &str, document: Value) {
        self.document(place, document);
    }

    /// Takes one written object.
    pub fn push(&mut self, name: &str, spec: raw::Spec) {
        match parse::object(&self.origin, name, spec, &mut self.warnings) {
            Ok(object) => self.insert(object),
            Err(mut errors) => self.errors.append(&mut errors),
        }
    }

    /// Notes an error found elsewhere.
    pub fn fault(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// How many objects were taken so far.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether none was taken so far.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The objects, if nothing was wrong.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of reading.
    pub fn finish(self) -> Result<(Objects, Vec<Warning>), Vec<Error>> {
        if self.errors.is_empty() { Ok((self.objects, self.warnings)) } else { Err(self.errors) }
    }

    fn place(&self, kind: &str, name: String) -> ObjectRef {
        ObjectRef { origin: Some(self.origin.clone()), kind: kind.to_owned(), name }
    }

    fn insert(&mut self, object: Object) {
        let name = object.name.clone();
        let kind = object.kind();
        if self.objects.insert(object).is_some() {
            self.errors.push(Error::new(
                ObjectRef::new(&self.origin, kind, &name),
                "metadata.name",
                &name,
                format!("a second {kind} of this name"),
                "give each its own name, or remove one",
            ));
        }
    }

    fn document(&mut self, place: &str, document: Value) {
        let Value::Object(mut fields) = document else {
            let object = self.place("document", place.to_owned());
            let remedy = "write apiVersion, kind, metadata and spec";
            self.errors.push(Error::new(object, "", value_text(&document), "not an object", remedy));
            return;
        };
        if fields.get("kind").and_then(Value::as_str) == Some("List") {
            if let Some(Value::Array(items)) = fields.remove("items") {
                for (i, item) in items.into_iter().enumerate() {
                    self.document(&format!("{place}, item {}", i + 1), item);
                }
            }
            return;
        }
        self.fields(place, fields);
    }

    fn fields(&mut self, place: &str, mut fields: Map<String, Value>) {
        let before = self.errors.len();
        let word = fields.remove("kind");
        let metadata = fields.remove("metadata");
        let name =
            metadata.as_ref().and_then(|it| it.get("name")).and_then(Value::as_str).unwrap_or_default();
        let name = name.to_owned();
        let object = match (&word, name.is_empty()) {
            (Some(Value::String(kind)), false) => self.place(kind, name.clone()),
            (Some(Value::String(kind)), true) => self.place(kind, format!("(document {place})")),
            _ => self.place("document", place.to_owned()),
        };
        let mut fault = |field: &str, value: &str, problem: &str, remedy: String| {
            self.errors.push(Error::new(object.clone(), field, value, problem, remedy));
        };
        match fields.remove("apiVersion") {
            Some(Value::String(version)) if version == API_VERSION => {}
            Some(other) => {
                fault(
                    "apiVersion",
                    &value_text(&other),
                    "not a version this gateway knows",
                    format!("write {API_VERSION}"),
                );
            }
            None => fault("apiVersion", "", "missing", format!("write {API_VERSION}")),
        }
        let kind = match &word {
            Some(Value::String(word)) => match Kind::named(word) {
                Some(kind) => Some(kind),
                None => {
                    let (problem, remedy) = foreign_kind(word);
                    fault("kind", word, problem, remedy);
                    None
                }
            },
            Some(other) => {
                fault("kind", &value_text(other), "not a kind", kinds_remedy());
                None
            }
            None => {
                fault("kind", "", "missing", kinds_remedy());
                None
            }
        };
        metadata_faults(metadata.as_ref(), &mut fault);
        let spec = fields.remove("spec");
        // The controller writes it, and who copies an object out of a cluster brings it along.
        fields.remove("status");
        for (field, value) in &fields {
            fault(
                field,
                &value_text(value),
                "unknown field",
                "write apiVersion, kind, metadata, spec".to_owned(),
            );
        }
        let Some(spec) = spec else {
            fault("spec", "", "missing", "write what the object is to do".to_owned());
            return;
        };
        let Some(kind) = kind else { return };
        let spec = spec_of(kind, spec, &object, &mut self.errors);
        if let (Some(spec), true) = (spec, self.errors.len() == before) {
            self.push(&name, spec);
        }
    }
}

fn metadata_faults(metadata: Option<&Value>, fault: &mut impl FnMut(&str, &str, &str, String)) {
    let name_remedy = || parse::NAME_REMEDY.to_owned();
    let Some(Value::Object(fields)) = metadata else {
        fault("metadata.name", "", "missing", name_remedy());
        return;
    };
    match fields.get("name") {
        Some(Value::String(name)) if !name.is_empty() => {}
        Some(other) => fault("metadata.name", &value_text(other), "not a name", name_remedy()),
        None => fault("metadata.name", "", "missing", name_remedy()),
    }
    for (field, value) in fields {
        // Labels and annotations are for the cluster's tools; the gateway keeps none.
        if !["name", "labels", "annotations"].contains(&field.as_str()) {
            let remedy = "write name, labels or annotations: objects have no namespace here".to_owned();
            fault(&format!("metadata.{field}"), &value_text(value), "unknown field", remedy);
        }
    }
}

fn kinds_remedy() -> String {
    let kinds: Vec<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
    format!("write one of {}", kinds.join(", "))
}

/// Kinds that exist, but not here.
fn foreign_kind(word: &str) -> (&'static str, String) {
    match word {
        "HttpListener" | "HttpRule" | "Certificate" => {
            ("an object of the HTTP proxy, not of the gateway", "give it to sluice-ingress".to_owned())
        }
        "AddressPool" | "GatewayNode" => {
            ("an object of the cluster's controller, not of the gateway", "apply it with kubectl".to_owned())
        }
        _ => ("not a kind this gateway knows", kinds_remedy()),
    }
}

fn spec_of(kind: Kind, value: Value, object: &ObjectRef, errors: &mut Vec<Error>) -> Option<raw::Spec> {
    // `spec:` with nothing behind it says as much as `{}`.
    let value = if value.is_null() { Value::Object(Map::new()) } else { value };
    Some(match kind {
        Kind::EgressPool => raw::Spec::EgressPool(decode(value, "spec", object, errors)?),
        Kind::EgressPolicy => raw::Spec::EgressPolicy(decode(value, "spec", object, errors)?),
        Kind::LoadBalancer => raw::Spec::LoadBalancer(decode(value, "spec", object, errors)?),
        Kind::StaticMapping => raw::Spec::StaticMapping(decode(value, "spec", object, errors)?),
        Kind::AccessPolicy => raw::Spec::AccessPolicy(decode(value, "spec", object, errors)?),
        Kind::AccessGuard => raw::Spec::AccessGuard(decode(value, "spec", object, errors)?),
        Kind::Route => raw::Spec::Route(decode(value, "spec", object, errors)?),
    })
}

/// Parses one text of objects of `origin`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_objects(text: &str, origin: &Origin) -> Result<(Objects, Vec<Warning>), Vec<Error>> {
    let mut reader = ObjectReader::new(origin.clone());
    reader.read("input", text);
    let (objects, warnings) = reader.finish()?;
    if objects.len() > limits::OBJECTS {
        let object =
            ObjectRef { origin: Some(origin.clone()), kind: "input".to_owned(), name: String::new() };
        let problem = format!("more than {} objects", limits::OBJECTS);
        return Err(vec![Error::new(object, "", objects.len(), problem, "write fewer objects")]);
    }
    Ok((objects, warnings))
}
