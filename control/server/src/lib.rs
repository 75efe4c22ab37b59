//! The gRPC API and the metrics of a gateway.
//!
//! [`Store`] holds the accepted configuration of every origin, in memory and on disk; [`Server`]
//! answers calls from it and from the [`Gateway`] that forwards the packets.
#![forbid(unsafe_code)]

mod door;
mod gateway;
mod http;
mod metrics;
mod server;
mod service;
mod start;
mod state;
mod store;

pub use gateway::*;
pub use metrics::render as render_metrics;
pub use server::{Options, Server};
pub use start::StartError;
pub use state::{FILE_ORIGIN, read_directory};
pub use store::{Applied, Head, Refusal, Store};
