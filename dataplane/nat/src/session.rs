//! The session records: one hot line each, and what the packet path seldom needs beside it.
//!
//! Both directions share one 64-byte line: each direction's key as its packets arrive. The
//! translation of one direction is the other's key turned round, so SNAT, DNAT, both at once
//! and none are one case. The checksum differences of the reply are the inverse of the
//! original's. Counters are 32 bits here; what they carry over goes aside.

use std::net::Ipv4Addr;

use mem::{Array, plain_struct, prefetch};
use wire::checksum::Delta;
use wire::{Endpoint, Protocol, Tuple};

use crate::index::{Index, KeyHash, Seed};
use crate::tcp::Tcp;
use crate::timeouts::TimerClass;
use crate::units::{Direction, Kind, SessionId, Side, Space, Tick};
use crate::wheel::{NIL, Timers};

/// Both endpoints' addresses (`source << 32 | destination`), ports (`source << 16 | destination`)
/// and protocol: a tuple in three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) addresses: u64,
    pub(crate) ports: u32,
    pub(crate) protocol: u8,
}

impl Key {
    #[inline]
    pub(crate) const fn of(tuple: &Tuple) -> Self {
        Key {
            addresses: (tuple.source.address.to_bits() as u64) << 32
                | tuple.destination.address.to_bits() as u64,
            ports: (tuple.source.port as u32) << 16 | tuple.destination.port as u32,
            protocol: tuple.protocol.0,
        }
    }

    #[inline]
    pub(crate) const fn tuple(self) -> Tuple {
        Tuple {
            protocol: Protocol(self.protocol),
            source: Endpoint {
                address: Ipv4Addr::from_bits((self.addresses >> 32) as u32),
                port: (self.ports >> 16) as u16,
            },
            destination: Endpoint {
                address: Ipv4Addr::from_bits(self.addresses as u32),
                port: self.ports as u16,
            },
        }
    }

    #[inline]
    pub(crate) const fn hash(self, seed: Seed, space: Space) -> KeyHash {
        let rest = self.ports as u64 | (self.protocol as u64) << 32 | (space as u64) << 40;
        seed.hash(self.addresses, rest)
    }
}

/// What a session is, in one octet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    bits: u8,
}

plain_struct!(Flags { bits: u8 });

impl Flags {
    pub(crate) const LIVE: u8 = 1;
    pub(crate) const INGRESS: u8 = 1 << 1;
    const KIND: u8 = 3 << 2;
    pub(crate) const FROM_OUTSIDE: u8 = 1 << 4;
    /// Packets of the original direction refresh it.
    pub(crate) const REFRESH_ORIGINAL: u8 = 1 << 5;
    /// Packets of the reply direction refresh it.
    pub(crate) const REFRESH_REPLY: u8 = 1 << 6;
    /// SNAT: shares another session's outside port. Balanced: its source is leased.
    pub(crate) const BORROWS: u8 = 1 << 7;

    pub(crate) fn new(kind: Kind, from: Side, both: bool, borrows: bool) -> Self {
        let kind_bits = match kind {
            Kind::Snat => 0,
            Kind::Direct => 1,
            Kind::Static => 2,
            Kind::Balanced => 3,
        } << 2;
        let mut bits = Self::LIVE | kind_bits;
        if kind == Kind::Balanced {
            bits |= Self::INGRESS | Self::REFRESH_ORIGINAL | Self::REFRESH_REPLY;
        }
        // Outbound packets refresh (RFC 4787 REQ-6), whoever sent the first one.
        bits |= match (both, from) {
            (true, _) => Self::REFRESH_ORIGINAL | Self::REFRESH_REPLY,
            (false, Side::Inside) => Self::REFRESH_ORIGINAL,
            (false, Side::Outside) => Self::REFRESH_REPLY,
        };
        if from == Side::Outside {
            bits |= Self::FROM_OUTSIDE;
        }
        if borrows {
            bits |= Self::BORROWS;
        }
        Flags { bits }
    }

    #[inline]
    pub(crate) const fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    pub(crate) const fn kind(self) -> Kind {
        match (self.bits & Self::KIND) >> 2 {
            0 => Kind::Snat,
            1 => Kind::Direct,
            2 => Kind::Static,
            _ => Kind::Balanced,
        }
    }

    #[inline]
    pub(crate) const fn refreshed_by(self, direction: Direction) -> bool {
        match direction {
            Direction::Original => self.has(Self::REFRESH_ORIGINAL),
            Direction::Reply => self.has(Self::REFRESH_REPLY),
        }
    }

    #[inline]
    pub(crate) const fn space(self) -> Space {
        if self.has(Self::INGRESS) { Space::Ingress } else { Space::Egress }
    }
}

/// The hot line.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Session {
    pub(crate) addresses: [u64; 2],
    pub(crate) ports: [u32; 2],
    pub(crate) judged: u32,
    pub(crate) protocol: u8,
    pub(crate) flags: Flags,
    pub(crate) timer: TimerClass,
    pub(crate) next_hop: [u32; 2],
    /// Of the original direction: IP header's, transport's.
    pub(crate) header: u16,
    pub(crate) transport: u16,
    pub(crate) deadline: u32,
    pub(crate) packets: [u32; 2],
    pub(crate) bytes: [u32; 2],
}

plain_struct!(Session {
    addresses: [u64; 2],
    ports: [u32; 2],
    judged: u32,
    protocol: u8,
    flags: Flags,
    timer: TimerClass,
    next_hop: [u32; 2],
    header: u16,
    transport: u16,
    deadline: u32,
    packets: [u32; 2],
    bytes: [u32; 2],
});

impl Session {
    #[inline]
    pub(crate) fn key(&self, direction: Direction) -> Key {
        let [a0, a1] = self.addresses;
        let [p0, p1] = self.ports;
        let (addresses, ports) = match direction {
            Direction::Original => (a0, p0),
            Direction::Reply => (a1, p1),
        };
        Key { addresses, ports, protocol: self.protocol }
    }

    #[inline]
    pub(crate) fn is(&self, direction: Direction, key: &Key, space: Space) -> bool {
        self.key(direction) == *key && self.flags.space() == space && self.flags.has(Flags::LIVE)
    }

    /// Header's and transport's checksum differences of a direction.
    #[inline]
    pub(crate) const fn deltas(&self, direction: Direction) -> (Delta, Delta) {
        let (header, transport) = (Delta(self.header), Delta(self.transport));
        match direction {
            Direction::Original => (header, transport),
            Direction::Reply => (header.inverse(), transport.inverse()),
        }
    }

    /// Inside host of an egress session.
    pub(crate) const fn inside(&self) -> Ipv4Addr {
        let [original, reply] = self.addresses;
        let source = if self.flags.has(Flags::FROM_OUTSIDE) { reply } else { original };
        Ipv4Addr::from_bits((source >> 32) as u32)
    }

    /// Remote end of an egress session.
    pub(crate) const fn remote(&self) -> Ipv4Addr {
        let [original, reply] = self.addresses;
        // The remote sends the reply, or the first packet itself.
        let source = if self.flags.has(Flags::FROM_OUTSIDE) { original } else { reply };
        Ipv4Addr::from_bits((source >> 32) as u32)
    }
}

/// What the packet path does not read: 16 octets.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cold {
    /// SNAT: its mapping, or its outside address's number for a protocol without ports.
    /// Balanced: its backend.
    pub(crate) tied: u32,
    /// The engine's policy; a balanced one's VIP.
    pub(crate) policy: u32,
    /// On the wheel; `[next free, ..]` of a free record.
    links: [u32; 2],
}

plain_struct!(Cold { tied: u32, policy: u32, links: [u32; 2] });

/// TCP alone: its state, and its place in a list of half-open or closed ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct TcpRecord {
    pub(crate) state: Tcp,
    pub(crate) links: [u32; 2],
}

plain_struct!(TcpRecord { state: Tcp, links: [u32; 2] });

/// All session records and their index.
pub(crate) struct Sessions {
    hot: Array<Session>,
    cold: Array<Cold>,
    pub(crate) tcp: Array<TcpRecord>,
    /// What packet and octet counters carried over, `[packets, packets, bytes, bytes]`.
    carries: Array<[u16; 4]>,
    index: Index,
    seed: Seed,
    free: u32,
    /// Records used so far; those above were never touched.
    used: u32,
    live: u32,
}

impl Sessions {
    pub(crate) fn new(limit: u32, seed: Seed) -> Self {
        let n = limit.min(1 << 30) as usize;
        Sessions {
            hot: Array::zeroed(n),
            cold: Array::zeroed(n),
            tcp: Array::zeroed(n),
            carries: Array::zeroed(n),
            index: Index::for_entries(2 * n),
            seed,
            free: NIL,
            used: 0,
            live: 0,
        }
    }

    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    /// Numbers at and above this were never used.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn bytes(&self) -> usize {
        self.hot.bytes() + self.cold.bytes() + self.tcp.bytes() + self.carries.bytes() + self.index.bytes()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live as usize >= self.hot.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.hot.get(id.0 as usize).filter(|s| s.flags.has(Flags::LIVE))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.hot.get_mut(id.0 as usize).filter(|s| s.flags.has(Flags::LIVE))
    }

    pub(crate) fn cold(&self, id: SessionId) -> Cold {
        self.cold.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn cold_mut(&mut self, id: SessionId) -> Option<&mut Cold> {
        self.cold.get_mut(id.0 as usize)
    }

    #[inline]
    pub(crate) fn hash(&self, key: &Key, space: Space) -> KeyHash {
        key.hash(self.seed, space)
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: KeyHash) {
        self.index.prefetch(hash);
    }

    /// Brings near the record that `hash` most likely belongs to.
    #[inline]
    pub(crate) fn prefetch_record(&self, hash: KeyHash) {
        if let Some(entry) = self.index.likely(hash) {
            if let Some(session) = self.hot.get((entry >> 1) as usize) {
                prefetch(session);
            }
        }
    }

    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, key: &Key, space: Space) -> Option<(SessionId, Direction)> {
        let entry = self.index.find(hash, |entry| {
            let (id, direction) = parts(entry);
            self.hot.get(id.0 as usize).is_some_and(|s| s.is(direction, key, space))
        })?;
        Some(parts(entry))
    }

    /// Stores a session under both its keys, which are not in use. `None` when the table is full.
    pub(crate) fn insert(&mut self, session: Session, cold: Cold) -> Option<SessionId> {
        let id = if self.free != NIL { self.free } else { self.used };
        let at = id as usize;
        let slot = self.hot.get_mut(at)?;
        *slot = session;
        let next_free = self.cold.get(at).map_or(NIL, |c| c.links[0]);
        for direction in [Direction::Original, Direction::Reply] {
            let hash = session.key(direction).hash(self.seed, session.flags.space());
            let (hot, seed) = (&self.hot, self.seed);
            let stored = self.index.insert(hash, entry(id, direction), |e| {
                let (id, direction) = parts(e);
                hot.get(id.0 as usize).map_or(KeyHash(0), |s| s.key(direction).hash(seed, s.flags.space()))
            });
            if stored.is_err() {
                if direction == Direction::Reply {
                    let hash = session.key(Direction::Original).hash(self.seed, session.flags.space());
                    self.index.remove(hash, entry(id, Direction::Original));
                }
                if let Some(slot) = self.hot.get_mut(at) {
                    *slot = Session::default();
                }
                return None;
            }
        }
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.used += 1;
        }
        if let Some(c) = self.cold.get_mut(at) {
            *c = cold;
        }
        self.live += 1;
        Some(SessionId(id))
    }

    /// Forgets a session. It must be off the wheel and out of every list.
    pub(crate) fn remove(&mut self, id: SessionId) {
        let at = id.0 as usize;
        let Some(session) = self.get(id).copied() else { return };
        for direction in [Direction::Original, Direction::Reply] {
            let hash = session.key(direction).hash(self.seed, session.flags.space());
            self.index.remove(hash, entry(id.0, direction));
        }
        if session.timer.carried()
            && let Some(carry) = self.carries.get_mut(at)
        {
            *carry = [0; 4];
        }
        if let Some(slot) = self.hot.get_mut(at) {
            *slot = Session::default();
        }
        if let Some(cold) = self.cold.get_mut(at) {
            cold.links = [self.free, NIL];
        }
        self.free = id.0;
        self.live -= 1;
    }

    /// Counts a packet of `octets`.
    #[inline]
    pub(crate) fn count(&mut self, id: SessionId, direction: Direction, octets: u16) {
        let at = id.0 as usize;
        let Some(session) = self.hot.get_mut(at) else { return };
        let side = direction.index();
        let (Some(packets), Some(bytes)) = (session.packets.get_mut(side), session.bytes.get_mut(side))
        else {
            return;
        };
        let (p, carried_p) = packets.overflowing_add(1);
        let (b, carried_b) = bytes.overflowing_add(u32::from(octets));
        (*packets, *bytes) = (p, b);
        if carried_p | carried_b {
            session.timer.set_carried();
            if let Some(carry) = self.carries.get_mut(at) {
                for (slot, carried) in [(side, carried_p), (side + 2, carried_b)] {
                    if let Some(c) = carry.get_mut(slot) {
                        *c = c.saturating_add(u16::from(carried));
                    }
                }
            }
        }
    }

    /// Packets and octets of each direction.
    pub(crate) fn totals(&self, id: SessionId, session: &Session) -> ([u64; 2], [u64; 2]) {
        let carry = if session.timer.carried() {
            self.carries.get(id.0 as usize).copied().unwrap_or_default()
        } else {
            [0; 4]
        };
        let whole = |low: u32, high: u16| u64::from(high) << 32 | u64::from(low);
        let ([p0, p1], [b0, b1], [cp0, cp1, cb0, cb1]) = (session.packets, session.bytes, carry);
        ([whole(p0, cp0), whole(p1, cp1)], [whole(b0, cb0), whole(b1, cb1)])
    }
}

const fn entry(id: u32, direction: Direction) -> u32 {
    id << 1 | direction as u32
}

#[inline]
const fn parts(entry: u32) -> (SessionId, Direction) {
    let direction = if entry & 1 == 0 { Direction::Original } else { Direction::Reply };
    (SessionId(entry >> 1), direction)
}

impl Timers for Sessions {
    fn links(&self, id: u32) -> [u32; 2] {
        self.cold.get(id as usize).map_or([NIL; 2], |c| c.links)
    }

    fn set_links(&mut self, id: u32, links: [u32; 2]) {
        if let Some(c) = self.cold.get_mut(id as usize) {
            c.links = links;
        }
    }

    fn deadline(&self, id: u32) -> Tick {
        Tick(self.hot.get(id as usize).map_or(0, |s| s.deadline))
    }
}

impl Cold {
    pub(crate) const fn new(tied: u32, policy: u32) -> Self {
        Cold { tied, policy, links: [NIL; 2] }
    }
}
