//! The short way of a packet of an established flow: found, followed and counted from the hot line.
//!
//! The first packet of a direction goes the long way, through every check on its addresses and
//! every table that says whose it is. What that found holds for every later packet with the same
//! key that comes in by the same port, as long as nothing changes that sessions are judged by.
//! So the engine notes the port beside the next hop (in the upper octet of its word, plus one), and
//! [`Nat::express`] takes only a record that is noted for the packet's port. It does not know the
//! space: where an ingress session takes over the key of an egress one, the latter's note goes.

use wire::{TcpSummary, Tuple};

use super::Nat;
use crate::index::KeyHash;
use crate::record::Key;
use crate::session::parts;
use crate::units::{Hit, Space, Tick};

/// How a next hop's word notes a port.
#[inline]
const fn noted(port: u8) -> u32 {
    port as u32 + 1
}

/// A packet's addresses, ports and protocol as they stand in its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainKey(Key);

impl PlainKey {
    /// `addresses` and `ports` hold the source above the destination.
    #[inline]
    pub const fn new(addresses: u64, ports: u32, protocol: u8) -> Self {
        PlainKey(Key { addresses, ports, protocol })
    }

    /// As others have it.
    pub const fn tuple(&self) -> Tuple {
        self.0.tuple()
    }
}

/// What an established packet becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Express {
    /// New addresses, source above destination.
    pub addresses: u64,
    /// New ports, likewise.
    pub ports: u32,
    /// What the addresses change in the IP header's checksum ([`wire::checksum::Delta`]), in network order.
    pub header: u16,
    /// What addresses and ports change in the transport's, in network order.
    pub transport: u16,
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

    /// Where the record of a key that is noted for `port` is, if not at `likely` after all.
    pub fn for_port(&self, likely: u32, hash: KeyHash, key: &PlainKey, port: u8) -> Option<u32> {
        self.sessions.for_port(likely, hash, &key.0, noted(port))
    }

    /// The translation of a packet that came in by `port`, if the record at `entry` is its own and noted for
    /// that port; it is counted. `way` is given the word of the direction's next hop, less the port: above 2^24 is another port's or nobody's. `None` from it or
    /// from here: the packet must go the long way, and nothing is done. One of UDP refreshes its
    /// session; one of TCP is followed by [`Nat::follow_plain`].
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one call a packet, all in registers")]
    pub fn express<const UDP: bool, W>(
        &mut self,
        entry: u32,
        key: &PlainKey,
        port: u8,
        judged: u32,
        octets: u16,
        now: Tick,
        way: impl FnOnce(u32) -> Option<W>,
    ) -> Option<(Express, W)> {
        let session = self.sessions.at(entry)?;
        if session.side(entry) != key.0 || session.judged != judged || session.deadline <= now.0 {
            return None;
        }
        // Of another port's word, and of a free record's, which is zero, something above 2^24 remains.
        let way = way(session.hop(entry).wrapping_sub(noted(port) << 24))?;
        let at = (entry & 1) as usize;
        // Where there is no room to count it, the long way makes some.
        session.traffic[at] = session.traffic[at].with(octets)?;
        let other = session.side(entry ^ 1);
        // The reply's differences are the inverse of the original's.
        let turn = (entry as u16 & 1).wrapping_neg();
        let express = Express {
            addresses: other.addresses.rotate_left(32),
            ports: other.ports.rotate_left(16),
            header: session.header ^ turn,
            transport: session.transport ^ turn,
        };
        if UDP {
            // Without a branch: which direction comes next is anybody's guess.
            let later = (now + self.profiles.span(session.timer)).0;
            let refreshes = session.flags.refreshed_from(entry);
            let all = u32::from(refreshes).wrapping_neg();
            session.deadline ^= (session.deadline ^ later) & all;
        }
        Some((express, way))
    }

    /// Follows a segment, with ACK alone among SYN, FIN, RST and ACK, of the session at `entry`.
    pub fn follow_plain(&mut self, entry: u32, segment: &TcpSummary, now: Tick) {
        let (session, direction) = parts(entry);
        self.pass(now);
        self.follow(Hit { session, direction }, segment, || None);
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
