//! Validated domain types of Sluice's configuration.
//!
//! Both ends of the gRPC API and the YAML files parse into these types: what reaches a
//! function as a [`Config`] has been checked, so nothing further inward checks it again.
//! Pure: no I/O, no clock, no randomness.
#![forbid(unsafe_code)]

mod apply;
mod check;
mod decode;
mod document;
mod error;
mod kind;
pub mod limits;
mod node;
mod objects;
mod parse;
pub mod raw;
mod render;
pub mod text;

pub use apply::{Change, Plan, PlannedChange};
pub use check::check;
pub use document::{API_VERSION, ObjectReader, parse_objects};
pub use error::{Error, ObjectRef, Warning};
pub use kind::{Kind, Object, ObjectKey, Spec};
pub use node::{Api, Attachment, Hugepages, Idle, Listener, Memory, Node, PortSpec, Side, Tls, Workers};
pub use objects::*;
pub use parse::{object as parse_object, origin as parse_origin, parse_node};
pub use render::{object_value, objects_yaml, value_yaml, written};
