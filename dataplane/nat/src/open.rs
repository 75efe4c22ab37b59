//! What is asked for when a session opens, and why it may be refused.

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::{Endpoint, TcpFlags, Tuple};

use crate::{
    BackendId, FilteringBehavior, MappingBehavior, Pool, PoolId, PoolingBehavior, Side, Timeouts, VipId,
};

/// What the engine keeps with a session and nat does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Revision that the session was judged under.
    pub judged: u32,
    /// The policy it was judged by.
    pub policy: u32,
    /// Next hop of each direction, by [`crate::Direction`].
    pub next_hop: [u32; 2],
}

/// How an outbound flow leaves.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Source translated.
    Snat {
        /// From this pool, whose settings give timeouts and quotas.
        pool: &'a Arc<Pool>,
        /// RFC 4787 §4.1.
        mapping: MappingBehavior,
        /// RFC 4787 §5. A mapping keeps that of the session that made it.
        filtering: FilteringBehavior,
        /// RFC 4787 §4.1.
        pooling: PoolingBehavior,
        /// UDP's idle time instead of the pool's (well-known services).
        udp: Option<crate::Ticks>,
    },
    /// Untranslated; replies are admitted by the session alone.
    Direct {
        /// Idle times.
        timeouts: &'a Timeouts,
    },
}

/// A first packet from an inside host to a remote.
#[derive(Clone, Copy, Debug)]
pub struct OpenEgress<'a> {
    /// The packet's key.
    pub tuple: Tuple,
    /// TCP: its flags.
    pub tcp: Option<TcpFlags>,
    /// TCP: take over a flow seen in mid-stream.
    pub adopt: bool,
    /// How it leaves.
    pub action: Action<'a>,
    /// The engine's own.
    pub notes: Notes,
}

/// A first packet that a static mapping translates, in either direction.
#[derive(Clone, Copy, Debug)]
pub struct OpenStatic<'a> {
    /// The packet's key.
    pub tuple: Tuple,
    /// Its key after translation.
    pub translated: Tuple,
    /// The sender's side.
    pub from: Side,
    /// TCP: its flags.
    pub tcp: Option<TcpFlags>,
    /// TCP: take over a flow seen in mid-stream.
    pub adopt: bool,
    /// Idle times.
    pub timeouts: &'a Timeouts,
    /// The engine's own.
    pub notes: Notes,
}

/// Where a balanced flow's source comes from under full NAT.
#[derive(Clone, Copy, Debug)]
pub struct SourceNat<'a> {
    /// The pool.
    pub pool: &'a Arc<Pool>,
    /// In whose name the blocks are leased (no client's: many clients share them). For results
    /// that do not depend on the number of workers: a function of the owner's hash.
    pub lessee: Ipv4Addr,
}

/// A client's first packet to a VIP, its backend chosen.
#[derive(Clone, Copy, Debug)]
pub struct OpenBalanced<'a> {
    /// The packet's key: client to VIP.
    pub tuple: Tuple,
    /// TCP: its flags.
    pub tcp: Option<TcpFlags>,
    /// TCP: take over a flow seen in mid-stream (another gateway may have had it).
    pub adopt: bool,
    /// Where it goes.
    pub backend: Endpoint,
    /// Number of that backend, for [`crate::Nat::backend_sessions`].
    pub backend_id: BackendId,
    /// Full NAT.
    pub source_nat: Option<SourceNat<'a>>,
    /// The service, for its bound on half-open sessions.
    pub vip: VipId,
    /// Most TCP sessions of this VIP not yet established on this worker; 0: no bound.
    pub half_open_limit: u32,
    /// Idle times.
    pub timeouts: &'a Timeouts,
    /// The engine's own.
    pub notes: Notes,
}

/// Why no port could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortShortage {
    /// The subscriber has as many blocks as it may, and no port of them is free.
    MaxBlocks,
    /// Under a quarter of the pool's blocks are free: they are kept for subscribers that have none.
    KeptForNewcomers,
    /// Every block of the pool (with strict pairing: of the subscriber's address) is leased.
    PoolFull,
}

impl PortShortage {
    /// All, in the order in which they are counted.
    pub const ALL: [PortShortage; 3] =
        [PortShortage::MaxBlocks, PortShortage::KeptForNewcomers, PortShortage::PoolFull];

    /// The word in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            PortShortage::MaxBlocks => "max_blocks",
            PortShortage::KeptForNewcomers => "kept_for_newcomers",
            PortShortage::PoolFull => "pool_full",
        }
    }
}

/// Why a session was not opened. Nothing has changed then, except that stale sessions may have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No port (RFC 6888: counted, answered 3/13, never untranslated).
    OutOfPorts {
        /// Of this pool.
        pool: PoolId,
        /// Why.
        reason: PortShortage,
    },
    /// The subscriber's quota of ports is used up.
    QuotaPorts,
    /// The subscriber's quota of sessions is used up.
    QuotaSessions,
    /// The subscriber opens sessions faster than allowed.
    QuotaRate,
    /// The subscriber has too many half-open TCP sessions.
    QuotaHalfOpen,
    /// The worker's session table is full.
    TableFull,
    /// A protocol without ports whose outside address is taken towards this remote.
    NoTranslation,
    /// TCP that does not begin with a SYN, and is not to be adopted.
    TcpNotSyn,
    /// A live session has one of the two keys already.
    Exists,
}

/// A packet from outside to an outside endpoint, for which no session was found.
#[derive(Clone, Copy, Debug)]
pub struct Unsolicited<'a> {
    /// The packet's key: remote to outside endpoint.
    pub tuple: Tuple,
    /// TCP: its flags.
    pub tcp: Option<TcpFlags>,
    /// Its port is in a leased block, so that a SYN from inside that crosses it comes here too.
    pub leased: bool,
    /// The packet from its IPv4 header on, quoted in the ICMP error that answers a held SYN.
    pub packet: &'a [u8],
    /// The engine's own, if a session opens.
    pub notes: Notes,
}

/// What becomes of such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A mapping admits it: a session was opened; the packet goes its `Original` way.
    Admit(crate::SessionId),
    /// A mapping exists and does not admit it.
    Filtered,
    /// No mapping.
    NoMapping,
    /// A SYN that nothing asked for; noted, to be answered after 6 s (RFC 5382 REQ-4). The packet is dropped.
    HoldSyn,
    /// A mapping admits it, but no session could be opened.
    Refused(OpenError),
}
