//! The numbers and small words that cross function borders.

use std::ops::Add;

/// A moment, in steps of 100 ms since the gateway's clock began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u32);

/// A span of time in ticks of 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u32);

impl Ticks {
    /// That many seconds; at most 13 years.
    pub const fn from_secs(seconds: u32) -> Self {
        Ticks(seconds.saturating_mul(10))
    }
}

impl Add<Ticks> for Tick {
    type Output = Tick;

    /// Saturates at the end of time.
    fn add(self, span: Ticks) -> Tick {
        Tick(self.0.saturating_add(span.0))
    }
}

/// Number of a worker, 0 to 65,534.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

/// Number of a session within its worker, below the configured limit. Used again after the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// Identity of a pool: stays with its name over generations, so that quotas and pairing do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

/// Dense number of a VIP, for the bound on half-open sessions; stable while its sessions live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipId(pub u32);

/// Dense number of a backend, for counting its sessions; stable while its sessions live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// Which set of keys a tuple belongs to: a flow of a VIP is `Ingress`, everything else `Egress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Packets from an inside host, of SNAT, direct and static sessions.
    Egress,
    /// Packets of such sessions to the inside host. Between two inside hosts one flow's replies
    /// may look like another's first packets: they are found apart, as they have other owners.
    Inbound,
    /// Both ways of balanced sessions.
    Ingress,
}

/// A packet's way through its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The way of the first packet.
    Original,
    /// The other way.
    Reply,
}

impl Direction {
    /// The other way.
    #[inline]
    pub const fn opposite(self) -> Self {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// A session found, and which way the packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The session.
    pub session: SessionId,
    /// The packet's way.
    pub direction: Direction,
}

impl Hit {
    /// The first packet's way through `session`.
    pub const fn original(session: SessionId) -> Self {
        Hit { session, direction: Direction::Original }
    }
}

/// How a session came to be; decides what the engine judges again after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Source translated from a pool, or admitted inbound on such a mapping.
    Snat,
    /// Routed untranslated.
    Direct,
    /// By a static mapping.
    Static,
    /// By a VIP.
    Balanced,
}

/// The side of the first packet's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards the hosts that the gateway serves.
    Inside,
    /// Towards everybody else.
    Outside,
}

/// Idle times after which a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// UDP (RFC 4787 REQ-5).
    pub udp: Ticks,
    /// TCP until both SYNs are acknowledged (RFC 7857 §2.1).
    pub tcp_opening: Ticks,
    /// TCP established (RFC 5382 REQ-5).
    pub tcp_established: Ticks,
    /// TCP after both FINs or a valid RST (RFC 7857 §2.1, §2.2).
    pub tcp_closing: Ticks,
    /// ICMP queries (RFC 5508 REQ-2).
    pub icmp: Ticks,
    /// Other protocols.
    pub other: Ticks,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            udp: Ticks::from_secs(300),
            tcp_opening: Ticks::from_secs(240),
            tcp_established: Ticks::from_secs(7440),
            tcp_closing: Ticks::from_secs(240),
            icmp: Ticks::from_secs(60),
            other: Ticks::from_secs(300),
        }
    }
}
