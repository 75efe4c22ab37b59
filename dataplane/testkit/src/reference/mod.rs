//! The reference gateway: the same behaviour, written to be read.
//!
//! One pass over a packet, whole-list searches, every checksum summed again, no workers. It
//! shares with the gateway the object types, the addresses and the pure parse, nothing else.
//! Where the gateway may choose freely (an outside port), the reference asks what was chosen
//! ([`Oracle`]) and says whether that was allowed ([`Reference::complaints`]).

mod arrive;
mod balanced;
mod errors;
mod flows;
mod forward;
mod fragments;
mod judge;
mod lives;
mod maglev;
mod neighbours;
mod open;
mod policy;
mod ports;
mod rewrite;
mod scarcity;
mod sessions;
mod tcp;
mod view;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use model::{Config, Name, Origin};
use wire::{Embedded, Endpoint, Ipv4, Tuple};

pub use sessions::Space;
use view::View;
pub use view::{LabPort, Side, Topology};

use fragments::Fragments;
use neighbours::Neighbours;
use ports::{PoolKey, Ports};
use sessions::Sessions;

/// What the gateway chose where it was free to.
pub trait Oracle {
    /// Both keys, original and reply, of the gateway's live session with this key.
    fn session(&mut self, space: Space, key: &Tuple) -> Option<(Tuple, Tuple)>;
}

/// What comes out of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Frames: device and octets.
    pub sent: Vec<(u8, Vec<u8>)>,
    /// IP packets for the host stack.
    pub punted: Vec<Vec<u8>>,
}

/// A packet on its way: its IPv4 packet (so all offsets count from its first octet).
#[derive(Clone, Debug)]
struct Packet {
    port: u8,
    octets: Vec<u8>,
    ip: Ipv4,
    key: Tuple,
    inner: Option<Embedded>,
    hairpin: bool,
}

/// A SYN that nothing asked for, to be answered.
#[derive(Clone, Debug)]
struct HeldSyn {
    due: u32,
    key: Tuple,
    /// Its port was in a leased block: a SYN from inside can cross it.
    leased: bool,
    octets: Vec<u8>,
}

/// Where a backend of a service is in its life; one that comes back after it was down and gone
/// lives anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    number: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Active,
    /// Since that tick.
    Draining(u32),
    Down,
}

/// A backend within its service: address, and its own port where that counts.
type BackendKey = (Ipv4Addr, Option<u16>);

/// The reference gateway.
#[derive(Debug, Default)]
pub struct Reference {
    view: View,
    judged: u32,
    now: u32,
    sessions: Sessions,
    ports: Ports,
    fragments: Fragments,
    neighbours: Neighbours,
    held_syns: Vec<HeldSyn>,
    /// ICMP 3/13 left to each inside host, and when that was counted.
    rejects: BTreeMap<Ipv4Addr, (u32, u32)>,
    pool_keys: Vec<(Origin, Name)>,
    /// Backends of each service, those that left and still drain too.
    lives: BTreeMap<(Origin, Name), BTreeMap<BackendKey, Life>>,
    lives_seen: u64,
    /// TCP sessions that changed phase so far: numbers the order in which they closed.
    closings: u64,
    /// Mappings for one session alone so far.
    scopes: u64,
    counters: BTreeMap<&'static str, u64>,
    out: Output,
    complaints: Vec<String>,
}

impl Reference {
    /// A gateway without configuration, at tick `now`.
    pub fn new(topology: &Topology, now: u32) -> Self {
        let view = View::new(&Config::default(), topology);
        Reference { view, now, ..Reference::default() }
    }

    /// Runs under another configuration from now on. `judged` is the gateway's number of what
    /// sessions are judged under: a session judged under another is judged again.
    pub fn configure(&mut self, config: &Config, judged: u32) {
        let topology = self.view.topology.clone();
        self.view = View::new(config, &topology);
        self.judged = judged;
        self.live_on();
        let pools = self.view.pools.clone();
        for pool in &pools {
            let key = self.pool_key(&pool.id);
            let rest = ticks(pool.object.port_rest);
            self.ports.configure(key, rest, pool.object.block_size);
        }
    }

    /// Time goes on to tick `now`: what is over ends, what is due is sent.
    pub fn tick(&mut self, now: u32, oracle: &mut dyn Oracle) -> Output {
        self.now = now;
        while let Some(id) = self.sessions.due(now) {
            self.end(id);
        }
        self.ports.rest(now);
        for _ in self.fragments.expire(now) {
            self.drop("fragment_timeout");
        }
        self.ask_neighbours();
        self.answer_held_syns(oracle);
        std::mem::take(&mut self.out)
    }

    /// A frame from a device.
    pub fn receive(&mut self, device: u8, frame: &[u8], oracle: &mut dyn Oracle) -> Output {
        self.count("received");
        self.arrive(device, frame, oracle);
        std::mem::take(&mut self.out)
    }

    /// Counters by name; drops as `dropped.REASON`.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let mut all = self.counters.clone();
        all.insert("held", (self.fragments.held() + self.neighbours.waiting()) as u64);
        all.retain(|_, n| *n > 0);
        all
    }

    /// Choices of the gateway that were not allowed; empties the list.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Live sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    fn drop(&mut self, reason: &'static str) {
        self.count(reason);
    }

    fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    fn send(&mut self, device: u8, frame: Vec<u8>) {
        self.count("sent");
        self.out.sent.push((device, frame));
    }

    /// Number of a pool, the same as long as the run.
    fn pool_key(&mut self, id: &(Origin, Name)) -> PoolKey {
        let at = self.pool_keys.iter().position(|p| p == id).unwrap_or_else(|| {
            self.pool_keys.push(id.clone());
            self.pool_keys.len() - 1
        });
        PoolKey(at as u32)
    }

    /// Is it an address of ours: a port's, a pool's, a VIP or a static mapping's outside?
    fn is_ours(&self, address: Ipv4Addr) -> bool {
        let v = &self.view;
        v.is_own(address)
            || v.is_vip_address(address)
            || v.is_static_address(address)
            || v.pool_of(address).is_some()
    }

    /// May a balanced flow be answered from this endpoint?
    fn is_backend(&self, protocol: wire::Protocol, at: Endpoint) -> bool {
        self.view.vips.iter().any(|v| {
            v.protocol == protocol
                && self.lives_of(v).any(|((address, own_port), life)| {
                    life.stage != Stage::Down
                        && *address == at.address
                        && match own_port.or(v.target) {
                            Some(port) => port == at.port,
                            None => v.ports.0 <= at.port && at.port <= v.ports.1,
                        }
                })
        })
    }
}

/// A time in ticks, rounded up.
fn ticks(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(100)).unwrap_or(u32::MAX)
}
