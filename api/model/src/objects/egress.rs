//! Which traffic leaves, under which addresses, and what of them a subscriber may take.

use std::time::Duration;

use super::{AddressRange, Name, OnDeny, PortMatch, PortRange, PrefixExcept};

/// Addresses and limits for source translation.
#[derive(Clone, Debug, PartialEq)]
pub struct EgressPool {
    /// Ranges, sorted, not overlapping within or between pools; 1 to 4,096 addresses.
    pub addresses: Vec<AddressRange>,
    /// Usable ports; default 1024-65535.
    pub ports: PortRange,
    /// Ports of a block: power of two, 64 to 4,096; default 512.
    pub block_size: u16,
    /// Most blocks of one subscriber; default 64.
    pub max_blocks_per_subscriber: u16,
    /// How long a freed port rests before another subscriber gets it (RFC 6888 REQ-8); default 120 s.
    pub port_rest: Duration,
    /// Idle times.
    pub timeouts: Timeouts,
    /// Limits per subscriber.
    pub quotas: Quotas,
}

/// Idle times after which a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP (RFC 4787 REQ-5); default 300 s.
    pub udp: Duration,
    /// TCP established (RFC 5382 REQ-5); default 7,440 s.
    pub tcp_established: Duration,
    /// TCP half-open (RFC 7857 §2.1); default 240 s.
    pub tcp_opening: Duration,
    /// TCP closing (RFC 7857 §2.1); default 240 s.
    pub tcp_closing: Duration,
    /// ICMP queries (RFC 5508 REQ-2); default 60 s.
    pub icmp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let s = Duration::from_secs;
        Timeouts {
            udp: s(300),
            tcp_established: s(7440),
            tcp_opening: s(240),
            tcp_closing: s(240),
            icmp: s(60),
        }
    }
}

/// Limits per subscriber; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Ports over all protocols (RFC 6888 REQ-4).
    pub ports: u32,
    /// Sessions.
    pub sessions: u32,
    /// New sessions a second.
    pub new_sessions_per_second: u32,
    /// How many may come at once; 0 with a rate set: the rate.
    pub burst: u32,
    /// TCP sessions not yet established.
    pub half_open: u32,
}

/// Which traffic leaves, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct EgressPolicy {
    /// Higher is judged first; default 100.
    pub priority: i32,
    /// Inside sources; not empty.
    pub from: Vec<PrefixExcept>,
    /// Destinations; not empty.
    pub to: Vec<PrefixExcept>,
    /// Destination ports; empty: all.
    pub ports: Vec<PortMatch>,
    /// What happens.
    pub action: EgressAction,
    /// When denied: answer with ICMP 3/13 or be silent; default Reject.
    pub on_deny: OnDeny,
    /// Adopt TCP sessions seen in mid-stream; default no.
    pub adopt_mid_stream: bool,
    /// `None`: clamp only where the ports' MTUs differ; `Some(0)`: to the ports' MTU; `Some(n)`: to n.
    pub mss_clamp: Option<u16>,
}

/// What an [`EgressPolicy`] does.
#[derive(Clone, Debug, PartialEq)]
pub enum EgressAction {
    /// Translate the source.
    Snat {
        /// Name of the pool, looked up in the same origin, then in all others.
        pool: Name,
        /// RFC 4787 §4.1.
        mapping: MappingBehavior,
        /// RFC 4787 §5.
        filtering: FilteringBehavior,
        /// RFC 4787 §4.1.
        pooling: PoolingBehavior,
    },
    /// Route untranslated.
    Direct,
    /// Drop.
    Deny,
}

/// RFC 4787 §4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MappingBehavior {
    /// One mapping for all remotes.
    #[default]
    EndpointIndependent,
    /// One mapping a remote address.
    AddressDependent,
    /// One mapping a remote address and port.
    AddressAndPortDependent,
}

/// RFC 4787 §5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FilteringBehavior {
    /// Every remote may answer.
    EndpointIndependent,
    /// Remotes whose address was sent to may answer.
    #[default]
    AddressDependent,
    /// Remotes whose address and port was sent to may answer.
    AddressAndPortDependent,
}

/// RFC 4787 §4.1 "IP address pooling".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PoolingBehavior {
    /// All flows of a subscriber leave from one address, from another only when it is full.
    #[default]
    Paired,
    /// All flows of a subscriber leave from one address; dropped when it is full.
    PairedStrict,
    /// Any address.
    Arbitrary,
}
