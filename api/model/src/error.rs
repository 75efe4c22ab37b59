//! What is wrong with an object, said so that whoever wrote it can mend it.

use std::fmt;

use crate::{Kind, Name, Origin};

/// A fault of one field of one object: which object, which field, what stands there, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The object.
    pub object: ObjectRef,
    /// The field, as `spec.ports[0].port`; empty: the object as a whole.
    pub field: String,
    /// The value found there, as text; empty: none.
    pub value: String,
    /// What is wrong with it, in a clause without a full stop.
    pub problem: String,
    /// What to do about it, in a clause without a full stop.
    pub remedy: String,
}

/// Something accepted that is doubtful, as a timer under an RFC's minimum; the same fields as [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Error);

/// Which object an [`Error`] is about; kind and name are text, since either may be what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Whose it is, where known.
    pub origin: Option<Origin>,
    /// Its kind as written, or a word as `document`.
    pub kind: String,
    /// Its name as written, or a number.
    pub name: String,
}

impl ObjectRef {
    /// The object of `kind` and `name` of `origin`.
    pub fn new(origin: &Origin, kind: Kind, name: &Name) -> Self {
        ObjectRef { origin: Some(origin.clone()), kind: kind.as_str().to_owned(), name: name.0.to_string() }
    }
}

impl Error {
    /// An error about `field` of `object`.
    pub fn new(
        object: ObjectRef,
        field: impl Into<String>,
        value: impl fmt::Display,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Error {
            object,
            field: field.into(),
            value: value.to_string(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.is_empty() {
            true => write!(f, "{}", self.kind)?,
            false => write!(f, "{}/{}", self.kind, self.name)?,
        }
        match &self.origin {
            Some(origin) => write!(f, " ({})", origin.0),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        if !self.value.is_empty() {
            write!(f, "{:?}: ", self.value)?;
        }
        write!(f, "{}", self.problem)?;
        match self.remedy.is_empty() {
            true => Ok(()),
            false => write!(f, "; {}", self.remedy),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
