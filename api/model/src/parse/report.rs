//! Where faults are gathered while an object is parsed: all of them, not only the first.

use std::fmt;

use crate::{Error, ObjectRef, Warning};

/// Path of a field, as `spec.ports[0].port`: a chain of steps on the stack, put into words only for a fault.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The outermost field, as `spec`; empty for a document that has none around its fields.
    pub(crate) fn root(name: &'a str) -> Self {
        At { parent: None, step: Step::Field(name) }
    }

    /// A field of this one.
    pub(crate) fn field<'b>(&'b self, name: &'b str) -> At<'b> {
        At { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of this list.
    pub(crate) fn index<'b>(&'b self, index: usize) -> At<'b> {
        At { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unnamed_root = |at: &At<'_>| at.parent.is_none() && matches!(at.step, Step::Field(""));
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent) {
            (Step::Field(name), Some(parent)) if !unnamed_root(parent) => write!(f, ".{name}"),
            (Step::Field(name), _) => f.write_str(name),
            (Step::Index(index), _) => write!(f, "[{index}]"),
        }
    }
}

/// Faults and warnings of one object.
pub(crate) struct Report<'a> {
    object: &'a ObjectRef,
    pub(crate) errors: Vec<Error>,
    pub(crate) warnings: Vec<Warning>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(object: &'a ObjectRef) -> Self {
        Report { object, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Notes a fault.
    pub(crate) fn fault(
        &mut self,
        at: At<'_>,
        value: impl fmt::Display,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(Error::new(self.object.clone(), at.to_string(), value, problem, remedy));
    }

    /// Notes a doubt.
    pub(crate) fn warn(
        &mut self,
        at: At<'_>,
        value: impl fmt::Display,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let error = Error::new(self.object.clone(), at.to_string(), value, problem, remedy);
        self.warnings.push(Warning(error));
    }

    /// Notes that a list is longer than `most`.
    pub(crate) fn length(&mut self, at: At<'_>, length: usize, most: usize) {
        if length > most {
            self.fault(
                at,
                length,
                format!("more than {most} entries"),
                format!("spread them over several objects of at most {most}"),
            );
        }
    }
}
