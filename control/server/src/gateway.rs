//! What the server asks of the gateway behind it.
//!
//! The daemon implements this over its workers. Every function may wait a little (a worker answers
//! between two bursts), so the server calls them on threads that may block.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Config, Error, Generation, Name, Origin, PortRange, Protocol, Side};

/// The gateway behind the API.
pub trait Gateway: Send + Sync + 'static {
    /// Compiles `config` and makes it what the workers run; returns once it is published, not yet run by all.
    ///
    /// # Errors
    /// It does not fit this gateway; the workers go on with what they had.
    fn publish(&self, config: Arc<Config>) -> Result<(), Vec<Error>>;

    /// Compiles `config` and forgets the result.
    ///
    /// # Errors
    /// It does not fit this gateway.
    fn plan(&self, config: &Config) -> Result<(), Vec<Error>>;

    /// The lowest generation that a worker runs.
    fn applied(&self) -> Generation;

    /// What is missing until the gateway serves: ports down, workers not running. `None`: nothing.
    fn not_ready(&self) -> Option<String>;

    /// Its name and how long it runs.
    fn identity(&self) -> Identity;

    /// Every worker, by number.
    fn workers(&self) -> Vec<WorkerStatus>;

    /// Sums over all workers.
    fn totals(&self) -> Totals;

    /// Every port.
    fn ports(&self) -> Vec<PortStatus>;

    /// Every pool.
    fn pools(&self) -> Vec<PoolStatus>;

    /// Every backend of every service port.
    fn backends(&self) -> Vec<BackendStatus>;

    /// Every service address and port.
    fn vips(&self) -> Vec<VipStatus>;

    /// Every drop reason, counted or not.
    fn drops(&self) -> Vec<DropCount>;

    /// Up to `most` sessions that `filter` selects, from `cursor` on.
    ///
    /// A page may be short or empty though there are more: then `next` is set. Each call looks at
    /// a bounded number of sessions, so that no worker is kept from its packets.
    fn sessions(&self, filter: &SessionFilter, cursor: SessionCursor, most: usize) -> SessionPage;

    /// How many sessions `filter` selects.
    fn count_sessions(&self, filter: &SessionFilter) -> u64;

    /// Ends the sessions that `filter` selects; how many there were.
    fn kill_sessions(&self, filter: &SessionFilter) -> u64;

    /// What would happen to a packet.
    ///
    /// # Errors
    /// The question makes no sense here, as a port that there is not; the text says so.
    fn explain(&self, question: &Question) -> Result<Explanation, String>;
}

/// Which gateway this is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Its name.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// Time since it started.
    pub uptime: Duration,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerStatus {
    /// Its number, from 0.
    pub worker: u16,
    /// The CPU it is pinned to.
    pub cpu: u16,
    /// The generation it runs.
    pub generation: Generation,
    /// Share of its time spent on packets, 0 to 1, over the last second or so.
    pub busy: f64,
    /// CPU cycles a packet, over the same time.
    pub cycles_per_packet: f64,
    /// Live sessions.
    pub sessions: u64,
    /// Packets received from ports.
    pub packets: u64,
    /// Packets taken over from other workers.
    pub handed_in: u64,
    /// Packets handed to other workers.
    pub handed_out: u64,
    /// Bursts of up to 1, 2, 4, 8, 16, 32 and more packets.
    pub bursts: [u64; 7],
    /// Octets of its session tables.
    pub memory: u64,
}

/// Where all packets went, and how many sessions there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets from ports.
    pub received: u64,
    /// Packets that the gateway made itself.
    pub originated: u64,
    /// Packets given to ports.
    pub sent: u64,
    /// Packets on their way between two workers.
    pub handed_off: u64,
    /// Packets given to the host stack.
    pub punted: u64,
    /// Packets that wait.
    pub held: u64,
    /// Packets dropped, over all reasons.
    pub dropped: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Live mappings.
    pub mappings: u64,
    /// Sessions ever opened.
    pub sessions_opened: u64,
    /// Sessions ever ended.
    pub sessions_ended: u64,
}

impl Totals {
    /// Packets that came less packets that went somewhere; 0 whenever the workers are quiet.
    pub fn conservation_error(&self) -> i64 {
        let came = self.received.wrapping_add(self.originated);
        let went = [self.sent, self.handed_off, self.punted, self.held, self.dropped];
        went.into_iter().fold(came, u64::wrapping_sub) as i64
    }
}

/// One port.
#[derive(Clone, Debug, PartialEq)]
pub struct PortStatus {
    /// Its name in the node file.
    pub name: String,
    /// Which side it faces.
    pub side: Side,
    /// Whether its link is up.
    pub up: bool,
    /// The device.
    pub device: String,
    /// Its hardware address, as `02:00:00:00:00:01`.
    pub mac: String,
    /// Its MTU, octets.
    pub mtu: u16,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// Packets received.
    pub received_packets: u64,
    /// Octets received.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Octets sent.
    pub sent_bytes: u64,
    /// Packets that the device lost for want of buffers or room.
    pub missed: u64,
    /// Packets that the device found broken.
    pub errors: u64,
}

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolStatus {
    /// Whose it is.
    pub origin: Origin,
    /// Its name.
    pub name: Name,
    /// How many addresses it has.
    pub addresses: u32,
    /// Port blocks in all.
    pub blocks: u64,
    /// Port blocks that are leased.
    pub blocks_leased: u64,
    /// Ports of all blocks.
    pub ports: u64,
    /// Ports in use.
    pub ports_in_use: u64,
    /// Mappings.
    pub mappings: u64,
    /// Sessions.
    pub sessions: u64,
    /// Subscribers that have a block.
    pub subscribers: u64,
    /// Packets dropped for want of a port, by reason.
    pub out_of_ports: Vec<(String, u64)>,
    /// Time until no block is free at the present rate; `None`: not foreseeable.
    pub exhausted_in: Option<Duration>,
}

/// One backend of one service port.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendStatus {
    /// Whose the service is.
    pub origin: Origin,
    /// Its name.
    pub load_balancer: Name,
    /// The backend's address.
    pub address: IpAddr,
    /// Its port; 0: the client's port is kept.
    pub port: u16,
    /// Where it stands in its life.
    pub state: BackendLife,
    /// Its weight.
    pub weight: u16,
    /// Whether it passes its checks; `None`: it is not checked.
    pub healthy: Option<bool>,
    /// Live sessions.
    pub sessions: u64,
    /// Sessions ever opened.
    pub sessions_opened: u64,
    /// Why the last check failed; empty: it did not.
    pub problem: String,
}

/// Where a backend stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendLife {
    /// Its weight grows to its full one (slow start).
    Filling,
    /// Gets new sessions.
    Active,
    /// Keeps its sessions, gets no new ones.
    Draining,
    /// Gets nothing.
    Down,
}

impl BackendLife {
    /// Every one, in order.
    pub const ALL: [BackendLife; 4] =
        [BackendLife::Filling, BackendLife::Active, BackendLife::Draining, BackendLife::Down];

    /// Its name in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendLife::Filling => "filling",
            BackendLife::Active => "active",
            BackendLife::Draining => "draining",
            BackendLife::Down => "down",
        }
    }
}

/// One service address and port.
#[derive(Clone, Debug, PartialEq)]
pub struct VipStatus {
    /// Whose the service is.
    pub origin: Origin,
    /// Its name.
    pub load_balancer: Name,
    /// The address.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its ports.
    pub ports: PortRange,
    /// Backends that new sessions may go to.
    pub backends: u32,
    /// Live sessions.
    pub sessions: u64,
    /// Sessions ever opened.
    pub sessions_opened: u64,
    /// Whether too few backends are healthy, so that all are used.
    pub panic: bool,
}

/// One drop reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCount {
    /// Its name, as `no_egress_policy`.
    pub reason: String,
    /// The stage of the pipeline.
    pub stage: String,
    /// What happened, in one sentence.
    pub cause: String,
    /// What to do about it, in one sentence.
    pub remedy: String,
    /// Packets.
    pub packets: u64,
}

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
