//! A session's record: one hot line, and what the packet path seldom needs beside it.
//!
//! Both directions share one 64-byte line: each direction's key as its packets arrive. The
//! translation of one direction is the other's key turned round, so SNAT, DNAT, both at once
//! and none are one case. The checksum differences of the reply are the inverse of the
//! original's. Counters are short here; when they are full they are put aside.

use std::net::Ipv4Addr;

use mem::plain_struct;
use wire::checksum::Delta;
use wire::{Endpoint, Protocol, Tuple};

use crate::index::{KeyHash, Seed};
use crate::tcp::Tcp;
use crate::timeouts::TimerClass;
use crate::units::{Direction, Kind, Side, Space};
use crate::wheel::NIL;

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

    /// Of the key alone: the packet path looks a flow up before it knows its space.
    #[inline]
    pub(crate) const fn hash(self, seed: Seed) -> KeyHash {
        let rest = self.ports as u64 | (self.protocol as u64) << 32;
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

    /// [`Flags::refreshed_by`] of the direction that an index entry's lowest bit names.
    #[inline]
    pub(crate) const fn refreshed_from(self, entry: u32) -> bool {
        const { assert!(Self::REFRESH_REPLY == Self::REFRESH_ORIGINAL << 1) };
        self.bits >> (entry & 1) & Self::REFRESH_ORIGINAL != 0
    }

    #[inline]
    pub(crate) const fn space(self, direction: Direction) -> Space {
        let inward = self.has(Self::FROM_OUTSIDE) != matches!(direction, Direction::Reply);
        match (self.has(Self::INGRESS), inward) {
            (true, _) => Space::Ingress,
            (false, true) => Space::Inbound,
            (false, false) => Space::Egress,
        }
    }
}

/// Packets (24 bits) and octets (40 bits) of a direction since they were last put aside, in one word
/// since a packet adds to both. A packet has fewer than 2^16 octets: packets run out first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    counts: u64,
}

plain_struct!(Traffic { counts: u64 });

impl Traffic {
    const OCTETS: u32 = 40;

    /// With one packet more; `None` when there is no room to count it.
    #[inline]
    pub(crate) const fn with(self, octets: u16) -> Option<Self> {
        match self.counts.checked_add(1 << Self::OCTETS | octets as u64) {
            Some(counts) => Some(Traffic { counts }),
            None => None,
        }
    }

    pub(crate) const fn packets(self) -> u64 {
        self.counts >> Self::OCTETS
    }

    pub(crate) const fn octets(self) -> u64 {
        self.counts & ((1 << Self::OCTETS) - 1)
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
    /// Checksum differences of the original direction, in network order: IP header's, transport's.
    pub(crate) header: u16,
    pub(crate) transport: u16,
    pub(crate) deadline: u32,
    pub(crate) traffic: [Traffic; 2],
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
    traffic: [Traffic; 2],
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

    /// [`Session::key`] of the direction that an index entry's lowest bit names.
    #[inline]
    pub(crate) const fn side(&self, entry: u32) -> Key {
        let at = (entry & 1) as usize;
        Key { addresses: self.addresses[at], ports: self.ports[at], protocol: self.protocol }
    }

    /// Next hop of the direction that an index entry's lowest bit names.
    #[inline]
    pub(crate) const fn hop(&self, entry: u32) -> u32 {
        self.next_hop[(entry & 1) as usize]
    }

    #[inline]
    pub(crate) fn is(&self, direction: Direction, key: &Key, space: Space) -> bool {
        self.key(direction) == *key && self.flags.space(direction) == space && self.flags.has(Flags::LIVE)
    }

    /// Header's and transport's checksum differences of a direction.
    #[inline]
    pub(crate) const fn deltas(&self, direction: Direction) -> (Delta, Delta) {
        let (header, transport) = (Delta(u16::from_be(self.header)), Delta(u16::from_be(self.transport)));
        match direction {
            Direction::Original => (header, transport),
            Direction::Reply => (header.inverse(), transport.inverse()),
        }
    }

    /// Remote end of an egress session.
    pub(crate) const fn remote(&self) -> Ipv4Addr {
        let [original, reply] = self.addresses;
        // The remote sends the reply, or the first packet itself.
        let source = if self.flags.has(Flags::FROM_OUTSIDE) { original } else { reply };
        Ipv4Addr::from_bits((source >> 32) as u32)
    }
}

/// What the packet path does not read: 12 octets.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cold {
    /// SNAT: its mapping, or what it holds without ports (`portless`).
    /// Balanced: its backend.
    pub(crate) tied: u32,
    /// The engine's policy; a balanced one's VIP.
    pub(crate) policy: u32,
    /// Its place on the wheel; of a free record the next free one.
    pub(crate) place: u32,
}

plain_struct!(Cold { tied: u32, policy: u32, place: u32 });

/// TCP alone: its state, and its place in a list of half-open or closed ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct TcpRecord {
    pub(crate) state: Tcp,
    pub(crate) links: [u32; 2],
}

plain_struct!(TcpRecord { state: Tcp, links: [u32; 2] });

impl Cold {
    pub(crate) const fn new(tied: u32, policy: u32) -> Self {
        Cold { tied, policy, place: NIL }
    }
}
