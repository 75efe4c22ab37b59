//! The gRPC API and the metrics of a gateway.
//!
//! [`Store`] holds the accepted configuration of every origin, in memory and on disk; [`Server`]
//! answers calls from it and from the [`Gateway`] that forwards the packets.
#![forbid(unsafe_code)]

mod gateway;

pub use gateway::*;
