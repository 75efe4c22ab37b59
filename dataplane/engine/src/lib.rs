//! The pipeline: a burst of packets in, verdicts out.
//!
//! ```text
//! arrive → steer → (hand-over) → egress | balanced | inbound → session, or policy + open → forward
//! ```
//!
//! A [`Worker`] is a function of packets, its own state, the snapshot, the time and the
//! randomness it was given; the world around it is the [`Io`] trait. Results do not depend on
//! which worker a packet arrives at.
#![forbid(unsafe_code)]

mod arp;
mod arrive;
mod balanced;
mod change;
mod counters;
mod egress;
mod explain;
mod express;
mod forward;
mod glance;
mod handoff;
mod inbound;
mod io;
mod judge;
mod limiter;
mod neighbours;
mod opened;
mod originate;
mod outset;
mod reason;
mod steer;
mod ways;
mod worker;

pub use balanced::HALF_OPEN_PER_VIP;
pub use counters::{Counters, Volume};
pub use explain::{Asked, Explanation, Fact, Outcome};
pub use handoff::{Tag, Task};
pub use io::Io;
pub use neighbours::{NEXT_HOPS, Neighbour, Neighbours, NextHopId, WAITING_PER_NEXT_HOP, WAITING_TOTAL};
pub use opened::{BackendOf, Opened, VipPort};
pub use reason::{DropReason, REASONS, Stage};
pub use worker::{Settings, Worker};
