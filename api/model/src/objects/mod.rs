//! The objects that a network team or a cluster writes, after validation.

mod balancing;
mod egress;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

pub use balancing::*;
pub use egress::*;
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

/// How a denied packet is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDeny {
    /// ICMP, or TCP RST where it applies.
    #[default]
    Reject,
    /// Silence.
    Drop,
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
