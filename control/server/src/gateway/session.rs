//! Sessions and how to select them.

use std::net::IpAddr;
use std::time::Duration;

use model::{Name, PortRange, Protocol};

/// Address and port, or ICMP query id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, or ICMP query id; 0 where the protocol has none.
    pub port: u16,
}

/// Selects sessions that match every field that is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionFilter {
    /// Inside addresses (of a balanced session: the backend's).
    pub inside: Option<model::IpNet>,
    /// Outside addresses (of a balanced session: the VIP).
    pub outside: Option<model::IpNet>,
    /// Remote addresses (of a balanced session: the client's).
    pub remote: Option<model::IpNet>,
    /// Inside ports.
    pub inside_ports: Option<PortRange>,
    /// Outside ports.
    pub outside_ports: Option<PortRange>,
    /// Remote ports.
    pub remote_ports: Option<PortRange>,
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Name of the object that the session exists by.
    pub policy: Option<Name>,
    /// State, in lower case.
    pub state: Option<String>,
    /// Sessions that are at least this old.
    pub older_than: Option<Duration>,
    /// Sessions without a packet for at least this long.
    pub idle_for: Option<Duration>,
    /// Of one worker.
    pub worker: Option<u16>,
}

impl SessionFilter {
    /// Whether it selects `session`.
    pub fn selects(&self, session: &SessionStatus) -> bool {
        let address =
            |net: &Option<model::IpNet>, end: Endpoint| net.is_none_or(|net| net.contains(&end.address));
        let port = |range: Option<PortRange>, end: Endpoint| {
            range.is_none_or(|range| (range.first..=range.last).contains(&end.port))
        };
        address(&self.inside, session.inside)
            && address(&self.outside, session.outside)
            && address(&self.remote, session.remote)
            && port(self.inside_ports, session.inside)
            && port(self.outside_ports, session.outside)
            && port(self.remote_ports, session.remote)
            && self.protocol.is_none_or(|protocol| protocol == session.protocol)
            && self.policy.as_ref().is_none_or(|policy| *policy == session.policy)
            && self.state.as_ref().is_none_or(|state| state == session.state)
            && self.older_than.is_none_or(|age| session.age >= age)
            && self.idle_for.is_none_or(|idle| session.idle >= idle)
            && self.worker.is_none_or(|worker| worker == session.worker)
    }
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCursor {
    /// The worker whose sessions come next.
    pub worker: u16,
    /// Where in them; the gateway knows what it means, 0 is the start.
    pub position: u64,
}

/// Some sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionStatus>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<SessionCursor>,
}

/// One session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionStatus {
    /// Protocol.
    pub protocol: Protocol,
    /// The inside end; of a balanced session the backend.
    pub inside: Endpoint,
    /// What the remote end sees of the inside one; of a balanced session the VIP.
    pub outside: Endpoint,
    /// The remote end; of a balanced session the client.
    pub remote: Endpoint,
    /// State, in lower case.
    pub state: &'static str,
    /// Name of the object that it exists by.
    pub policy: Name,
    /// The worker that owns it.
    pub worker: u16,
    /// Time since its last packet that counts.
    pub idle: Duration,
    /// Time since it began.
    pub age: Duration,
    /// Time until it ends without a packet.
    pub expires: Duration,
    /// Packets both ways.
    pub packets: u64,
    /// Octets of IP packets both ways.
    pub bytes: u64,
    /// Why it exists.
    pub kind: SessionKind,
}

/// Why a session exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// An EgressPolicy translates it.
    Snat,
    /// An EgressPolicy lets it pass untranslated.
    Direct,
    /// A StaticMapping.
    Static,
    /// A LoadBalancer.
    Balanced,
}
