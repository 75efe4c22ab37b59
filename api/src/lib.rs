//! Sluice's gRPC API `sluice.v1`: messages, clients and servers made from `api/proto`.

/// Messages, clients and servers of `sluice.v1`; documented by the proto files.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("sluice.v1");
}

/// The descriptors of every file of the API, encoded, as gRPC reflection serves them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sluice.v1.bin"));
