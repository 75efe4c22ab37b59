//! A change of one origin, merged into what is accepted: all of it or nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::check::check;
use crate::{Config, Error, Generation, Object, ObjectKey, ObjectRef, Objects, Origin, render};

/// A change of one origin's objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// These become the origin's whole content.
    Whole(Objects),
    /// The rest stays.
    Delta {
        /// Objects to create or replace.
        upserts: Objects,
        /// Objects to delete; what is not there is no error.
        deletes: BTreeSet<ObjectKey>,
    },
}

/// What a change would do, object by object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The changes, by origin, kind and name.
    pub changes: Vec<PlannedChange>,
}

/// One object that would change: created without `before`, deleted without `after`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedChange {
    /// Whose it is.
    pub origin: Origin,
    /// Which it is.
    pub key: ObjectKey,
    /// As it is.
    pub before: Option<Object>,
    /// As it would be.
    pub after: Option<Object>,
}

impl Config {
    /// This configuration with `change` made to `origin`: the next generation, or this same one where nothing differs.
    ///
    /// # Errors
    /// Everything that does not go together. Nothing has changed then.
    pub fn apply(&self, origin: &Origin, change: Change) -> Result<Config, Vec<Error>> {
        let before = self.origins.get(origin);
        let after = match change {
            Change::Whole(objects) => objects,
            Change::Delta { upserts, deletes } => {
                let mut objects = before.cloned().unwrap_or_default();
                let both: Vec<Error> = deletes
                    .iter()
                    .filter(|key| upserts.contains(key))
                    .map(|key| {
                        let object = ObjectRef::new(origin, key.kind, &key.name);
                        let remedy = "write it in one of the two lists";
                        Error::new(object, "", "", "both written and deleted in one change", remedy)
                    })
                    .collect();
                if !both.is_empty() {
                    return Err(both);
                }
                for key in &deletes {
                    objects.remove(key);
                }
                objects.merge(upserts);
                objects
            }
        };
        if before.is_some_and(|before| *before == after) || (before.is_none() && after.is_empty()) {
            return Ok(self.clone());
        }
        let mut config = Config {
            generation: Generation(self.generation.0.saturating_add(1)),
            origins: self
                .origins
                .iter()
                .filter(|(name, _)| *name != origin)
                .map(|(name, it)| (name.clone(), it.clone()))
                .collect(),
        };
        if !after.is_empty() {
            config.origins.insert(origin.clone(), after);
        }
        let errors = check(&config, Some(origin));
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

impl Plan {
    /// What differs between two configurations.
    pub fn between(before: &Config, after: &Config) -> Plan {
        let origins: BTreeSet<&Origin> = before.origins.keys().chain(after.origins.keys()).collect();
        Plan {
            changes: origins.into_iter().flat_map(|origin| Plan::of(origin, before, after).changes).collect(),
        }
    }

    /// What differs in one origin.
    pub fn of(origin: &Origin, before: &Config, after: &Config) -> Plan {
        let empty = Objects::default();
        let old = before.origins.get(origin).unwrap_or(&empty);
        let new = after.origins.get(origin).unwrap_or(&empty);
        let change = |key: ObjectKey| PlannedChange {
            origin: origin.clone(),
            before: old.object(&key),
            after: new.object(&key),
            key,
        };
        Plan { changes: old.differing(new).into_iter().map(change).collect() }
    }
}

impl PlannedChange {
    /// The fields that differ, as `spec.backends[2].weight`; none where an object comes or goes.
    pub fn fields(&self) -> Vec<String> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Vec::new() };
        let mut fields = Vec::new();
        let (before, after) = (render::object_value(before), render::object_value(after));
        differences("spec", before.get("spec"), after.get("spec"), &mut fields);
        fields
    }
}

fn differences(path: &str, before: Option<&Value>, after: Option<&Value>, fields: &mut Vec<String>) {
    match (before, after) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(&format!("{path}.{key}"), a.get(key), b.get(key), fields);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for i in 0..a.len().max(b.len()) {
                differences(&format!("{path}[{i}]"), a.get(i), b.get(i), fields);
            }
        }
        _ if before == after => {}
        _ => fields.push(path.to_owned()),
    }
}
