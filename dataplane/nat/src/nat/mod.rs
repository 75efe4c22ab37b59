//! One worker's NAT: the type that the engine holds.

mod acquire;
mod ahead;
mod balanced;
mod ending;
mod express;
mod inbound;
mod listing;
mod opening;
mod phases;

pub use express::{Express, PlainKey};

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::tcp::window_scale;
use wire::{Ipv4, Transport, Tuple};

use crate::blocks::{Addresses, BlockId};
use crate::held::HeldSyns;
use crate::index::{KeyHash, Seed};
use crate::mapping::{Context, Mappings};
use crate::open::Notes;
use crate::pool::Pool;
use crate::portless::PortlessSessions;
use crate::ports::Ports;
use crate::record::{Flags, Key};
use crate::rejections::Rejections;
use crate::rewrite::Rewrite;
use crate::session::Sessions;
use crate::subscriber::List;
use crate::tcp::flags_valid;
use crate::timeouts::{Idle, Profiles};
use crate::units::{Hit, SessionId, Space, Tick, WorkerId};
use crate::wheel::Wheel;

/// How much a worker may hold. Everything is sized by this at start; nothing grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions, at most 2^30.
    pub sessions: u32,
    /// Subscribers with sessions or resting blocks.
    pub subscribers: u32,
    /// Unsolicited SYNs held for 6 s.
    pub held_syns: u32,
}

impl Limits {
    /// For that many sessions: as many subscribers at most, up to a million, and 1,024 held SYNs.
    pub const fn for_sessions(sessions: u32) -> Self {
        let subscribers = if sessions < 1 << 20 { sessions } else { 1 << 20 };
        Limits { sessions, subscribers, held_syns: 1024 }
    }
}

/// A packet of a known session that must not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackDrop {
    /// Flags that no TCP sends: more than one of SYN, FIN and RST, or none of SYN, RST and ACK.
    TcpInvalid,
}

/// An unsolicited SYN whose answer is due: ICMP 3/3 quoting `packet` (RFC 5382 REQ-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Key of the SYN: remote to outside endpoint.
    pub tuple: Tuple,
    /// The SYN from its IPv4 header on, cut after 548 octets.
    pub packet: &'a [u8],
}

/// Half-open sessions of a VIP, the oldest first.
#[derive(Clone, Copy)]
struct HalfOpen {
    list: List,
    count: u32,
}

/// Sessions, mappings, ports and timers of one worker.
pub struct Nat {
    sessions: Sessions,
    mappings: Mappings,
    ports: Ports,
    portless: PortlessSessions,
    wheel: Wheel,
    profiles: Profiles,
    vips: Vec<HalfOpen>,
    backends: Vec<u32>,
    held: HeldSyns,
    rejections: Rejections,
    /// The latest moment seen.
    now: Tick,
    opened: u64,
    ended: u64,
    half_open_evicted: u64,
    expected: ahead::Expected,
}

/// What mappings refer to.
struct Around<'a> {
    addresses: &'a Addresses,
    sessions: &'a Sessions,
}

impl Context for Around<'_> {
    fn block(&self, block: BlockId) -> Option<(u32, Ipv4Addr)> {
        let address = self.addresses.get(block.slot())?.address;
        self.addresses.block(block).map(|b| (b.subscriber, address))
    }

    fn remote(&self, session: SessionId) -> Option<Ipv4Addr> {
        self.sessions.get(session).map(|s| s.remote())
    }
}

/// The context of a [`Nat`]'s mappings, borrowing no more of it than needed.
macro_rules! around {
    ($nat:expr) => {
        $crate::nat::Around { addresses: &$nat.ports.addresses, sessions: &$nat.sessions }
    };
}
use around;

impl Nat {
    /// An empty one. Memory is reserved for `limits` and touched as it is used. `seed` keys the
    /// hashes: from a true random source, so that nobody can choose colliding keys.
    pub fn new(worker: WorkerId, limits: Limits, seed: [u64; 2]) -> Self {
        let seed = Seed(seed);
        let sessions = limits.sessions.clamp(1, 1 << 30);
        Nat {
            sessions: Sessions::new(sessions, seed),
            mappings: Mappings::new(sessions, seed),
            ports: Ports::new(worker, limits.subscribers.clamp(1, 1 << 30), seed),
            portless: PortlessSessions::new(),
            wheel: Wheel::for_timers(sessions),
            profiles: Profiles::new(),
            vips: Vec::new(),
            backends: Vec::new(),
            held: HeldSyns::new(limits.held_syns, seed),
            rejections: Rejections::new(seed),
            now: Tick(0),
            opened: 0,
            ended: 0,
            half_open_evicted: 0,
            expected: ahead::Expected::NOTHING,
        }
    }

    /// Makes room for the addresses of these pools, all that are configured, so that opening
    /// sessions does not; drops what belongs to others once it is empty. Call it for a new snapshot.
    pub fn prepare(&mut self, pools: &[Arc<Pool>]) {
        self.ports.prepare(pools);
    }

    /// The live session of a packet with this key. One whose time is over is released here.
    #[inline]
    pub fn lookup(&mut self, space: Space, tuple: &Tuple, now: Tick) -> Option<Hit> {
        let hash = self.sessions.hash(&Key::of(tuple));
        self.lookup_hashed(hash, space, tuple, now)
    }

    /// [`Nat::lookup`] with the hash that [`Nat::prefetch_plain`] gave for the same key.
    #[inline]
    pub fn lookup_hashed(&mut self, hash: KeyHash, space: Space, tuple: &Tuple, now: Tick) -> Option<Hit> {
        let (session, direction) = self.sessions.find(hash, &Key::of(tuple), space)?;
        if self.sessions.get(session)?.deadline <= now.0 {
            self.pass(now);
            self.release(session);
            return None;
        }
        Some(Hit { session, direction })
    }

    /// Counts a packet, refreshes its session's timer and follows its TCP state. `frame` holds `ip`.
    /// To be called for the first packet too, after opening its session.
    #[inline]
    pub fn track(&mut self, hit: Hit, ip: &Ipv4, frame: &[u8], now: Tick) -> Result<(), TrackDrop> {
        let Some(session) = self.sessions.get_mut(hit.session) else { return Ok(()) };
        match &ip.l4_kind {
            Transport::Tcp(segment) if session.protocol == ip.protocol.0 => {
                if !flags_valid(segment.flags) {
                    return Err(TrackDrop::TcpInvalid);
                }
                self.pass(now);
                let scale = || {
                    let header = usize::from(ip.l4)..usize::from(ip.l4) + usize::from(segment.header);
                    window_scale(frame.get(header)?.get(20..)?)
                };
                self.follow(hit, segment, scale);
            }
            // Errors never refresh (RFC 5508 REQ-6).
            Transport::IcmpError { .. } => {}
            _ => {
                if session.flags.refreshed_by(hit.direction) {
                    session.deadline = (now + self.profiles.span(session.timer)).0;
                }
            }
        }
        self.sessions.count(hit.session, hit.direction, ip.total_len());
        Ok(())
    }

    /// Time never goes back.
    #[inline]
    fn pass(&mut self, now: Tick) {
        self.now = self.now.max(now);
    }

    /// Translation of the hit's direction; of a session that is gone, one that changes nothing but
    /// addresses to 0.0.0.0.
    #[inline]
    pub fn rewrite(&self, hit: Hit) -> Rewrite {
        let Some(session) = self.sessions.get(hit.session) else { return Rewrite::NOWHERE };
        let arriving = session.key(hit.direction).tuple();
        let other = session.key(hit.direction.opposite()).tuple();
        let (header, transport) = session.deltas(hit.direction);
        Rewrite {
            matched_source: arriving.source.address,
            source: other.destination,
            destination: other.source,
            header,
            transport,
        }
    }

    /// The engine's notes on a session; zeros when there is none.
    #[inline]
    pub fn notes(&self, id: SessionId) -> Notes {
        let Some(session) = self.sessions.get(id) else { return Notes::default() };
        Notes { judged: session.judged, policy: self.sessions.cold(id).policy, next_hop: session.next_hop }
    }

    /// Revision that a session was judged under and next hop of the hit's direction: what the fast
    /// path asks for, from the hot line alone.
    #[inline]
    pub fn route(&self, hit: Hit) -> Option<(u32, u32)> {
        let session = self.sessions.get(hit.session)?;
        let [original, reply] = session.next_hop;
        let next_hop = if hit.direction.index() == 0 { original } else { reply };
        Some((session.judged, next_hop))
    }

    /// Replaces them. A balanced session's `policy` stays its VIP's number.
    pub fn set_notes(&mut self, id: SessionId, notes: Notes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.judged = notes.judged;
        session.next_hop = notes.next_hop;
        if !session.flags.has(Flags::INGRESS)
            && let Some(cold) = self.sessions.cold_mut(id)
        {
            cold.policy = notes.policy;
        }
    }

    /// May an ICMP 3/13 be sent to this inside host now? Counts it: 10 at once, then one every 100 ms.
    pub fn may_reject(&mut self, subscriber: Ipv4Addr, now: Tick) -> bool {
        self.rejections.allow(subscriber, now)
    }

    /// The next held SYN whose answer is due; call until `None`.
    pub fn due_syn(&mut self, now: Tick) -> Option<Held<'_>> {
        self.held.due(now)
    }

    /// Idle time of a session now.
    fn span(&self, id: SessionId, idle: Idle) -> crate::units::Ticks {
        self.sessions.get(id).map_or(crate::units::Ticks(0), |s| self.profiles.span(s.timer.with(idle)))
    }

    /// Its number.
    pub const fn worker(&self) -> WorkerId {
        self.ports.worker()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_session_with_a_mapping_of_its_own_has_room_in_a_hundred_and_twenty_eight_octets() {
        // What a UDP session touches, at tables as full as their limits; TCP state and permissions apart.
        let n = 100_000u32;
        let index =
            |entries: u32| crate::index::Index::for_entries(entries as usize).bytes() as f64 / f64::from(n);
        let records = size_of::<crate::record::Session>()
            + size_of::<crate::record::Cold>()
            + 2
            + crate::mapping::RECORD;
        // A block of 512 ports: four bitmaps and its head, half of its ports in use.
        let block = f64::from(4 * 512 / 8 + 32) / 256.0;
        let all = records as f64 + crate::wheel::OCTETS + 2.0 * index(2 * n) + block;
        assert!(all <= 128.0, "{all}");
    }
}
