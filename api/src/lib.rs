//! Sluice's gRPC API `sluice.v1`: messages, clients and servers made from `api/proto`, and the way
//! between messages and domain objects.
//!
//! A message becomes a written object ([`model::raw`]) and is judged there, so that a fault has the
//! same name whether the object came as YAML or over the wire.
#![forbid(unsafe_code)]

mod read;
mod write;

pub use read::{kind_of, object_key, read_object};
pub use write::{
    duration_message, error_from_message, error_message, key_message, kind_message, object_message,
    warnings_messages,
};

/// Messages, clients and servers of `sluice.v1`; documented by the proto files.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("sluice.v1");
}

/// The descriptors of every file of the API, encoded, as gRPC reflection serves them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sluice.v1.bin"));
