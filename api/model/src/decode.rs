//! YAML and JSON become written objects, with every misfit named by its field.
//!
//! serde stops at the first misfit. Here that field is taken out and the rest tried again, so that
//! a file with three spelling mistakes is refused once and not three times.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::options::Options;
use serde_saphyr::{Budget, Error as YamlError};

use crate::{Error, ObjectRef};

/// Most misfits that are named of one object.
const MOST: usize = 64;

/// Parses a text of YAML or JSON documents; empty documents are left out.
///
/// # Errors
/// The text is no YAML; the message says where.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, String> {
    // The bounds stop an alias bomb, not a large configuration.
    let mut budget = Budget::default();
    budget.max_events = 100_000_000;
    budget.max_nodes = 50_000_000;
    budget.max_documents = crate::limits::OBJECTS;
    budget.max_total_scalar_bytes = 1 << 30;
    budget.max_aliases = 10_000;
    budget.max_anchors = 10_000;
    budget.max_recorded_anchor_events = 100_000;
    budget.max_depth = 32;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.strict_booleans = true;
    options.with_snippet = false;
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| yaml_problem(&error))
}

fn yaml_problem(error: &YamlError) -> String {
    let text = error.without_snippet().to_string();
    // What the library says about its own options is no help to the one who wrote the file.
    let (what, rest) = text.split_once(", set DuplicateKeyPolicy").unwrap_or((&text, ""));
    match (error.location(), what.contains(" at line ")) {
        (Some(place), false) if !rest.is_empty() || !what.contains("line") => {
            format!("{what} at line {}, column {}", place.line(), place.column())
        }
        _ => what.to_owned(),
    }
}

/// Takes `value` apart into `T`; `root` is the path that its fields hang from.
pub(crate) fn decode<T: DeserializeOwned>(
    value: Value,
    root: &str,
    object: &ObjectRef,
    errors: &mut Vec<Error>,
) -> Option<T> {
    let mut value = value;
    let mut taken: Vec<String> = Vec::new();
    for _ in 0..MOST {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(decoded) => return taken.is_empty().then_some(decoded),
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let mut path: Vec<Segment> = error.path().iter().cloned().collect();
        if let Some(field) = missing_field(&message) {
            path.push(Segment::Map { key: field.to_owned() });
        }
        let field = path_text(root, &path);
        if taken.contains(&field) {
            return None;
        }
        let removed = remove(&mut value, &path);
        errors.push(misfit(object, &field, &path, &message, removed.as_ref()));
        removed?;
        taken.push(field);
    }
    None
}

fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

fn misfit(object: &ObjectRef, field: &str, path: &[Segment], message: &str, value: Option<&Value>) -> Error {
    let shown = value.map_or_else(String::new, value_text);
    let error = |problem: &str, remedy: String| Error::new(object.clone(), field, &shown, problem, remedy);
    if missing_field(message).is_some() {
        return error("missing", "write it".to_owned());
    }
    let (problem, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    if problem.starts_with("unknown field") {
        let name = path.last().map(|segment| segment.to_string()).unwrap_or_default();
        return match name.as_str() {
            "podSelector" | "namespaceSelector" => error(
                "selectors mean something only on a cluster, where the controller resolves them",
                "write prefixes here".to_owned(),
            ),
            _ => error("unknown field", fields_remedy(expected)),
        };
    }
    match expected {
        "" => error(problem, "write it as the documentation shows".to_owned()),
        _ => error(problem, format!("write {expected}")),
    }
}

fn fields_remedy(expected: &str) -> String {
    match expected {
        "" | "there are no fields" => "leave it out: no fields stand here".to_owned(),
        _ => format!("write {} or leave it out", expected.replace('`', "")),
    }
}

/// A value in one line, cut where it is long.
pub(crate) fn value_text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn path_text(root: &str, path: &[Segment]) -> String {
    let mut text = root.to_owned();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            other if text.is_empty() => text.push_str(&other.to_string()),
            other => text.push_str(&format!(".{other}")),
        }
    }
    text
}

/// Takes the value at `path` out of `value`. `None`: it is not there.
fn remove(value: &mut Value, path: &[Segment]) -> Option<Value> {
    let (last, way) = path.split_last()?;
    let mut here = value;
    for segment in way {
        here = match segment {
            Segment::Seq { index } => here.get_mut(*index)?,
            Segment::Map { key } => here.get_mut(key.as_str())?,
            _ => return None,
        };
    }
    match last {
        Segment::Map { key } => here.as_object_mut()?.remove(key.as_str()),
        // An element keeps its place, so that the indices of the others stay true.
        Segment::Seq { index } => here.get_mut(*index).map(std::mem::take),
        _ => None,
    }
}
