//! The short way of a packet of an established flow: found, followed and counted from the hot line.
//!
//! The first packet of a direction goes the long way, through every check on its addresses and
//! every table that says whose it is. What that found holds for every later packet with the same
//! key that comes in by the same port, as long as nothing changes that sessions are judged by.
//! So the engine notes the port beside the next hop (in the upper octet of its word, plus one), and
//! [`Nat::express`] takes only a record that is noted for the packet's port. It does not know the
//! space: where an ingress session takes over the key of an egress one, the latter's note goes.

use wire::TcpSummary;
use wire::checksum::Delta;

use super::Nat;
use crate::index::KeyHash;
use crate::record::Key;
use crate::session::parts;
use crate::units::{Hit, Space, Tick};

/// A packet's addresses, ports and protocol as they stand in its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainKey(Key);

impl PlainKey {
    /// `addresses` and `ports` hold the source above the destination.
    #[inline]
    pub const fn new(addresses: u64, ports: u32, protocol: u8) -> Self {
        PlainKey(Key { addresses, ports, protocol })
    }
}

/// What an established packet becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Express {
    /// New addresses, source above destination.
    pub addresses: u64,
    /// New ports, likewise.
    pub ports: u32,
    /// What the addresses change in the IP header's checksum.
    pub header: Delta,
    /// What addresses and ports change in the transport's.
    pub transport: Delta,
}

impl Nat {
    /// No entry of the index.
    pub const NOT_NEAR: u32 = u32::MAX;

    /// Brings the key's index line near; the hash serves the calls that follow.
    #[inline]
    pub fn prefetch_plain(&self, key: &PlainKey) -> KeyHash {
        let hash = self.sessions.hash(&key.0);
        self.sessions.prefetch(hash);
        hash
    }

    /// Brings near the record that this hash most likely belongs to; gives where it is, a hint for
    /// [`Nat::express`]. [`Nat::NOT_NEAR`]: [`Nat::prefetch_away`] may know, a little later.
    #[inline]
    pub fn prefetch_likely(&self, hash: KeyHash) -> u32 {
        self.sessions.prefetch_likely(hash)
    }

    /// The second try of [`Nat::prefetch_likely`].
    #[inline(never)]
    pub fn prefetch_away(&self, hash: KeyHash) -> u32 {
        self.sessions.prefetch_away(hash)
    }

    /// The translation of a UDP packet (`tcp`: of a segment with ACK alone among SYN, FIN, RST and ACK) that
    /// came in by `port`, which is counted and refreshes its session. `way` says where the
    /// direction's next hop leads now; `None` from it or from here: it must go the long way, and nothing is done.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call a packet, all in registers")]
    pub fn express<W>(
        &mut self,
        likely: u32,
        hash: KeyHash,
        key: &PlainKey,
        port: u8,
        judged: u32,
        octets: u16,
        tcp: Option<&TcpSummary>,
        now: Tick,
        way: impl FnOnce(u32) -> Option<W>,
    ) -> Option<(Express, W)> {
        let (entry, session) = self.sessions.for_port(likely, hash, &key.0, port)?;
        if session.deadline <= now.0 || session.judged != judged {
            return None;
        }
        let way = way(session.hop(entry) & 0x00ff_ffff)?;
        let other = session.side(entry ^ 1);
        // The reply's differences are the inverse of the original's.
        let turn = (entry as u16 & 1).wrapping_neg();
        let express = Express {
            addresses: other.addresses.rotate_left(32),
            ports: other.ports.rotate_left(16),
            header: Delta(session.header ^ turn),
            transport: Delta(session.transport ^ turn),
        };
        let (id, direction) = parts(entry);
        let at = (entry & 1) as usize;
        let (packets, carried_p) = session.packets[at].overflowing_add(1);
        let (bytes, carried_b) = session.bytes[at].overflowing_add(u32::from(octets));
        let carries = carried_p | carried_b;
        if !carries {
            (session.packets[at], session.bytes[at]) = (packets, bytes);
        }
        match tcp {
            None => {
                if session.flags.refreshed_by(direction) {
                    session.deadline = (now + self.profiles.span(session.timer)).0;
                }
            }
            Some(segment) => {
                self.pass(now);
                self.follow(Hit { session: id, direction }, segment, || None);
            }
        }
        if carries {
            self.sessions.count(id, direction, octets);
        }
        Some((express, way))
    }

    /// Forgets for which port another session with this key was noted: an ingress one has it now.
    pub(super) fn displace(&mut self, key: &Key) {
        let hash = self.sessions.hash(key);
        for space in [Space::Egress, Space::Inbound] {
            if let Some((id, direction)) = self.sessions.find(hash, key, space)
                && let Some(session) = self.sessions.get_mut(id)
                && let Some(word) = session.next_hop.get_mut(direction.index())
            {
                *word &= 0x00ff_ffff;
            }
        }
    }
}
