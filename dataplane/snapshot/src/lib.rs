//! From a validated Config to the one immutable value that workers run on.
//!
//! [`compile`] turns a [`model::Config`], the facts of the node and what health checks say into
//! a [`Snapshot`]: routes, addresses, VIPs, services, static mappings, pools and policies, all
//! of one generation. It either yields a whole snapshot or errors that name object, field,
//! value and remedy; nothing is half applied. What did not change is shared with the snapshot
//! before. Pure: no I/O, no clock, no randomness; time is an argument.
#![forbid(unsafe_code)]

mod addresses;
mod compile;
mod endpoints;
mod fixed;
mod flat;
mod health;
mod keys;
mod lpm;
mod node;
mod numbers;
mod pools;
mod routes;
mod service;
mod services;
mod snapshot;
mod statics;
mod vips;

pub use addresses::Local;
pub use compile::compile;
pub use endpoints::BackendSet;
pub use health::{BackendKey, Health};
pub use node::{NodeFacts, Port, PortId};
pub use pools::OutsideAddress;
pub use routes::{NextHop, Routes};
pub use service::BalancedService;
pub use snapshot::Snapshot;
pub use statics::{StaticEntry, StaticHit, Statics};
pub use vips::VipHit;

/// Ports of the gateway's own addresses that its host stack uses; never handed out to subscribers there.
pub const HOST_PORTS: std::ops::RangeInclusive<u16> = 64_512..=65_535;
