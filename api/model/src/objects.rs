//! The objects that a network team or a cluster writes, after validation.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use ipnet::IpNet;

/// Number of one accepted configuration; rises by one with every accepted `Apply`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Name of an object, unique per origin and kind: 1 to 253 of `[a-z0-9.-]` (an RFC 1123 name).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub Arc<str>);

/// Who wrote a set of objects: `file`, `operator`, `cluster-…`. Each replaces only its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub Arc<str>);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is accepted, by origin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Number of this configuration.
    pub generation: Generation,
    /// The objects of each origin.
    pub origins: BTreeMap<Origin, Objects>,
}

/// The objects of one origin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Outside addresses to translate to.
    pub egress_pools: BTreeMap<Name, EgressPool>,
    /// Which traffic leaves, and how.
    pub egress_policies: BTreeMap<Name, EgressPolicy>,
    /// Service addresses and their servers.
    pub load_balancers: BTreeMap<Name, LoadBalancer>,
    /// Fixed mappings.
    pub static_mappings: BTreeMap<Name, StaticMapping>,
    /// Who may talk to whom.
    pub access_policies: BTreeMap<Name, AccessPolicy>,
    /// Prefixes whose sources need an [`AccessPolicy`].
    pub access_guards: BTreeMap<Name, AccessGuard>,
    /// Static routes.
    pub routes: BTreeMap<Name, Route>,
}

/// Inclusive range of ports (or ICMP query ids); `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, inclusive.
    pub last: u16,
}

/// Inclusive range of addresses of one family; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// First address.
    pub first: IpAddr,
    /// Last address, inclusive.
    pub last: IpAddr,
}

/// A transport protocol that can be named in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP (no ports).
    Icmp,
    /// SCTP (policy only).
    Sctp,
    /// Any other IP protocol by number.
    Other(u8),
}

/// `{prefix, except}`: addresses in `prefix` but in none of `except`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrefixExcept {
    /// The prefix; host bits are zero.
    pub prefix: IpNet,
    /// Prefixes inside it that are no match.
    pub except: Vec<IpNet>,
}

/// `{protocol, port, endPort}`: `ports` absent means every port of the protocol;
/// `protocol` absent (with ports absent) means every protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortMatch {
    /// Protocol, or all.
    pub protocol: Option<Protocol>,
    /// Destination ports, or all.
    pub ports: Option<PortRange>,
}

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

/// How a denied packet is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDeny {
    /// ICMP, or TCP RST where it applies.
    #[default]
    Reject,
    /// Silence.
    Drop,
}

/// A service: addresses and ports that are balanced over backends.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    /// Service addresses; not empty.
    pub vips: Vec<IpAddr>,
    /// Service ports; not empty.
    pub ports: Vec<ServicePort>,
    /// How a backend is chosen.
    pub algorithm: Algorithm,
    /// Whether a client stays with a backend.
    pub affinity: Affinity,
    /// Full NAT: the pool that the source is taken from.
    pub source_nat: Option<Name>,
    /// How long a draining backend keeps its sessions; default 300 s.
    pub drain: Duration,
    /// Percent of healthy backends under which all are used; default 50.
    pub panic_threshold: u8,
    /// Clients' prefixes; empty: all.
    pub source_ranges: Vec<IpNet>,
    /// Over which time a new backend reaches its weight; default 0.
    pub slow_start: Duration,
    /// Without a backend: ICMP port unreachable (TCP: RST), or silence.
    pub on_empty: OnDeny,
    /// Active check.
    pub health_check: Option<HealthCheck>,
    /// Overrides the size of the look-up table (one of the primes of behaviour.md).
    pub table_size: Option<u32>,
    /// The servers; at most 10,000.
    pub backends: Vec<Backend>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name, unique within the service; may be empty with one port.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Ports; 0-65535 with `all` semantics when `port: 0` was given.
    pub ports: PortRange,
    /// Port at the backend; `None`: the port is kept.
    pub target_port: Option<u16>,
}

/// How a backend is chosen for a new session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Consistent hashing (Maglev).
    #[default]
    Maglev,
    /// In turn, by weight, per worker.
    RoundRobin,
    /// Fewest sessions by weight, per worker.
    LeastConnections,
}

/// Whether a client stays with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Affinity {
    /// Each flow by itself.
    #[default]
    None,
    /// By the client's address.
    ClientAddress,
}

/// A server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port, instead of `target_port`, where the service has one port.
    pub port: Option<u16>,
    /// Share of new sessions, 0 to 256; default 1.
    pub weight: u16,
    /// Where it stands in its life.
    pub state: BackendState,
}

/// Where a backend stands in its life (GLB's words; `Filling` arises from slow start).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// Gets new sessions.
    #[default]
    Active,
    /// Keeps its sessions, gets no new ones.
    Draining,
    /// Gets nothing.
    Down,
}

/// Active check of a service's backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Port that is asked; `None`: the port that traffic goes to.
    pub port: Option<u16>,
    /// Time between two checks; default 2 s.
    pub interval: Duration,
    /// Time for an answer; default 1 s.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy; default 3.
    pub unhealthy_after: u32,
    /// Successes in a row that make it healthy; default 2.
    pub healthy_after: u32,
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A connection opens.
    Tcp,
    /// A GET is answered with 200 to 399.
    Http {
        /// Path of the request; default `/`.
        path: String,
        /// Host header; default the address.
        host: Option<String>,
    },
    /// A datagram is answered.
    Udp {
        /// What is sent.
        send: String,
        /// What the answer starts with; empty: anything.
        expect: String,
    },
}

/// A fixed mapping between an outside and an inside endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMapping {
    /// TCP or UDP with ports; `None`: 1:1 address mapping.
    pub protocol: Option<Protocol>,
    /// Outside address.
    pub outside: IpAddr,
    /// Outside ports; `None`: 1:1.
    pub outside_ports: Option<PortRange>,
    /// Inside address.
    pub inside: IpAddr,
    /// Inside ports, as many as outside ones; `None`: 1:1.
    pub inside_ports: Option<PortRange>,
}

/// A NetworkPolicy, resolved to prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPolicy {
    /// Whom it selects.
    pub subjects: Vec<PrefixExcept>,
    /// What they may reach; empty: nothing.
    pub rules: Vec<AccessRule>,
}

/// One allowance; both empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// Destinations; empty: all.
    pub to: Vec<PrefixExcept>,
    /// Destination ports; empty: all.
    pub ports: Vec<PortMatch>,
}

/// Sources inside need an [`AccessPolicy`], else `policy_pending`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessGuard {
    /// The guarded prefixes.
    pub prefixes: Vec<IpNet>,
}

/// A static route; several next hops are ECMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination.
    pub to: IpNet,
    /// Next hops; not empty.
    pub via: Vec<IpAddr>,
}
