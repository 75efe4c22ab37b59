//! The slow thread's IP stack: ICMP echo to the gateway, and health checks of backends.
//!
//! Workers punt IP packets that are addressed to the gateway itself; this crate answers them with
//! smoltcp, on a control thread and never on a worker. ARP is not here: neighbours belong to the
//! packet path, so the pure engine resolves them (docs/adr/0004-what-smoltcp-does.md). What goes out
//! is IP packets as well; a worker routes them and adds the Ethernet header.
//!
//! Time and randomness are arguments: an [`Instant`] with every call, a seed once. Nothing here reads
//! a clock or blocks.
//!
//! Not done: reassembly. A fragment is not answered, so an echo request larger than one MTU is lost.
#![forbid(unsafe_code)]

mod admission;
mod http;
mod lane;
mod ports;
mod probe;
mod schedule;
mod stack;

pub use smoltcp::time::{Duration, Instant};

pub use admission::Counters;
pub use ports::SOURCE_PORTS;
pub use probe::Finding;
pub use schedule::{HealthEvent, Target, TargetKey};
pub use stack::{Addresses, HostStack, Settings};
