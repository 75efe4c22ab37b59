//! Sessions, mappings, ports, TCP state and fragments of one worker.
//!
//! A worker owns all its state; only [`LeaseTable`] is shared, and on the packet path it is
//! only read. Nothing here knows of ports of the box, routes or policy: the engine asks
//! [`Nat::lookup`] for a packet's session, or opens one, and applies its [`Rewrite`]. Pure: time
//! ([`Tick`]) and randomness (one `u64` an opened session) are arguments, so that everything
//! depends only on what it is given.
#![forbid(unsafe_code)]

mod blocks;
mod held;
mod index;
#[cfg(test)]
mod index_flood;
mod keyed;
mod lease;
mod mapping;
mod nat;
mod open;
mod permission;
mod pool;
mod portless;
mod ports;
mod record;
mod rejections;
mod rewrite;
mod session;
mod statics;
mod subscriber;
mod tcp;
mod timeouts;
mod units;
mod view;
mod wheel;

pub mod fragments;

pub use index::KeyHash;
pub use lease::{BlockLayout, LeaseTable};
pub use nat::{Express, Held, Limits, Nat, PlainKey, TrackDrop};
pub use open::{
    Action, Inbound, Notes, OpenBalanced, OpenEgress, OpenError, OpenStatic, PortShortage, SourceNat,
    Unsolicited,
};
pub use pool::{
    FilteringBehavior, MappingBehavior, Pool, PoolAddress, PoolSettings, PoolUse, PoolingBehavior, Quotas,
};
pub use rewrite::{Rewrite, Ttl};
pub use statics::{StaticMapping, StaticPorts};
pub use units::{
    BackendId, Direction, Hit, Kind, PoolId, SessionId, Side, Space, Tick, Ticks, Timeouts, VipId, WorkerId,
};
pub use view::{Counts, Cursor, PoolUsage, SessionView, TcpPhase};
