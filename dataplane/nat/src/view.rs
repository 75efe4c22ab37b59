//! Sessions as operators see them: listing, counting, killing.

use std::net::Ipv4Addr;

use wire::{Protocol, Tuple};

use crate::{BackendId, Kind, PoolId, SessionId, Side, Space, Tick, VipId};

/// How far a TCP session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpPhase {
    /// Not both SYNs acknowledged yet.
    Opening,
    /// Both SYNs acknowledged.
    Established,
    /// Both FINs seen.
    Closing,
    /// Both FINs acknowledged, or a valid RST: its port may be taken back.
    Closed,
}

/// One session, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its number.
    pub id: SessionId,
    /// Its set of keys.
    pub space: Space,
    /// How it came to be.
    pub kind: Kind,
    /// Who sent the first packet.
    pub from: Side,
    /// Key of packets in the original direction, as they arrive.
    pub original: Tuple,
    /// Key of packets in the reply direction, as they arrive.
    pub reply: Tuple,
    /// TCP state.
    pub tcp: Option<TcpPhase>,
    /// Pool of its mapping or leased source.
    pub pool: Option<PoolId>,
    /// Backend, of a balanced one.
    pub backend: Option<BackendId>,
    /// Service, of a balanced one.
    pub vip: Option<VipId>,
    /// When it began, to 10 s; of sessions older than a week it is too late.
    pub opened: Tick,
    /// When a packet last refreshed it.
    pub last_seen: Tick,
    /// When it ends unless refreshed.
    pub deadline: Tick,
    /// Revision that it was judged under.
    pub judged: u32,
    /// The engine's policy number.
    pub policy: u32,
    /// Next hop of each direction.
    pub next_hop: [u32; 2],
    /// Packets of each direction.
    pub packets: [u64; 2],
    /// Octets of each direction, IP headers included.
    pub bytes: [u64; 2],
}

impl SessionView {
    /// Inside host of an egress session; client of a balanced one.
    pub const fn subscriber(&self) -> Ipv4Addr {
        match self.from {
            Side::Outside if !matches!(self.kind, Kind::Balanced) => self.reply.source.address,
            _ => self.original.source.address,
        }
    }

    /// Protocol.
    pub const fn protocol(&self) -> Protocol {
        self.original.protocol
    }
}

/// Sessions from a walk, and where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u32);

/// Sessions and what stands behind them, of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live sessions.
    pub sessions: u32,
    /// Mappings.
    pub mappings: u32,
    /// Subscribers known.
    pub subscribers: u32,
    /// Unsolicited SYNs held.
    pub held_syns: u32,
    /// Sessions opened since the start.
    pub opened: u64,
    /// Sessions ended since the start.
    pub ended: u64,
    /// Half-open balanced sessions ended over their VIP's bound.
    pub half_open_evicted: u64,
}

/// What this worker uses of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Blocks leased by this worker, resting ones too.
    pub blocks: u32,
    /// Ports in use by protocol: TCP, UDP, ICMP ids.
    pub ports: [u32; 3],
    /// Subscribers known to this worker.
    pub subscribers: u32,
    /// Sessions with an address of it.
    pub sessions: u32,
    /// TCP sessions that share another one's outside port.
    pub shared: u32,
    /// New flows refused for want of a port, by [`crate::PortShortage`] in the order of its `ALL`.
    pub out_of_ports: [u64; 3],
}
