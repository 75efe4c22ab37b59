//! Services that are balanced over backends, and how those are checked.

use std::net::IpAddr;
use std::time::Duration;

use super::{IpNet, Name, OnDeny, PortRange, Protocol};

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
