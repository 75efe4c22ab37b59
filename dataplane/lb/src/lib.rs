//! Choosing a backend for a new flow of a VIP.
//!
//! The default is Maglev's consistent hashing: a [`LookupTable`] is a pure function of its
//! members, so that every gateway with the same Config sends the same flow to the same backend
//! without talking to the others. Round robin and least connections count per worker. A
//! [`Service`] is immutable; what changes from flow to flow is the worker's [`WorkerState`].
//! Pure: no I/O, no clock, no randomness; slow start enters as a share that the caller works out.
#![forbid(unsafe_code)]

mod backend;
mod digest;
mod service;
mod table;
mod tables;
mod worker;

pub use backend::{Backend, BackendId, Share, Standing, members};
pub use digest::{Balanced, CLIENT_SEED, FLOW_SEED, Flow, OFFSET_SEED, SKIP_SEED, digest, mix};
pub use model::{Affinity, Algorithm};
pub use service::{Service, ServiceId, ServiceSpec};
pub use table::{LookupTable, Member, SIZES, TableSize};
pub use tables::Tables;
pub use worker::WorkerState;
