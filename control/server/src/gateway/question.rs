//! A packet that need not exist, and what would happen to it.

use std::net::IpAddr;

use model::{Generation, Name, Protocol};

use super::{DropCount, Endpoint, SessionStatus};

/// A packet that need not exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Protocol.
    pub protocol: Protocol,
    /// Its source.
    pub source: Endpoint,
    /// Its destination.
    pub destination: Endpoint,
    /// Name of the port it arrives on; `None`: the one its source is routed to.
    pub port: Option<String>,
    /// TCP flags of the header's flag octet.
    pub tcp_flags: u8,
    /// Octets of the IP packet.
    pub length: u16,
    /// Whether it must not be fragmented.
    pub dont_fragment: bool,
    /// Its time to live.
    pub ttl: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves.
    Forward,
    /// It is dropped.
    Drop,
    /// It goes to the host stack.
    Punt,
    /// It waits.
    Hold,
}

/// What would happen to a packet, and how that comes about.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What becomes of it.
    pub fate: Fate,
    /// How that came about, in order.
    pub steps: Vec<Step>,
    /// The worker that owns the flow.
    pub worker: u16,
    /// The generation that was asked.
    pub generation: Generation,
    /// The session it belongs to.
    pub session: Option<SessionStatus>,
    /// Source as it leaves; port 0: it would be chosen at random.
    pub source: Option<Endpoint>,
    /// Destination as it leaves.
    pub destination: Option<Endpoint>,
    /// The port it leaves by.
    pub egress_port: Option<String>,
    /// The next hop.
    pub next_hop: Option<IpAddr>,
    /// The next hop's hardware address, where known.
    pub next_hop_mac: Option<String>,
    /// Why it is dropped: only the words count, not the counter.
    pub dropped: Option<DropCount>,
    /// Name of the EgressPolicy, LoadBalancer or StaticMapping that decides.
    pub policy: Option<Name>,
    /// The pool its source is taken from.
    pub pool: Option<Name>,
    /// The backend, of a balanced packet.
    pub backend: Option<Endpoint>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The stage, as `parse`, `session`, `policy`, `route`.
    pub stage: String,
    /// The object that was asked, as `EgressPolicy/default`; empty: none.
    pub object: String,
    /// Whose object it is; empty: nobody's.
    pub origin: String,
    /// Whether it matched.
    pub matched: bool,
    /// What was found, in one sentence.
    pub text: String,
}
