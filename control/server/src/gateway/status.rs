//! What a gateway counts and the state of what it counts.

use std::net::IpAddr;
use std::time::Duration;

use model::{Generation, Name, Origin, PortRange, Protocol, Side};

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
    /// Turns of its loop that took over 100 µs, 1 ms and 10 ms: what came in meanwhile waited.
    pub slow_turns: [u64; 3],
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
    /// Time until no block is free, if blocks are leased on as in the last minute; zero: none is free;
    /// `None`: the pool does not grow.
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
    /// Live sessions of the service, over all its addresses and ports.
    pub sessions: u64,
    /// Sessions ever opened by this address and port.
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
