//! Validated domain types of Sluice's configuration.
//!
//! Both ends of the gRPC API and the YAML files parse into these types: what reaches a
//! function as a [`Config`] has been checked, so nothing further inward checks it again.
//! Pure: no I/O, no clock, no randomness.
#![forbid(unsafe_code)]

mod error;
mod kind;
mod objects;

pub use error::{Error, ObjectRef, Warning};
pub use kind::{Kind, Object, ObjectKey, Spec};
pub use objects::*;
