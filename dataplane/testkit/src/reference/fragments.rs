//! Datagrams in pieces, kept in plain lists.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What a datagram's fragments share: source, destination, protocol, identification.
pub(super) type Datagram = (Ipv4Addr, Ipv4Addr, u8, u16);

/// A fragment: where it arrived and its IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Port it came by.
    pub(super) port: u8,
    /// The packet from its IPv4 header on.
    pub(super) packet: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Seen {
    born: u32,
    ports: Option<(u16, u16)>,
    ranges: Vec<(u32, u32)>,
    /// Where the datagram ends, once its last fragment came.
    end: Option<u32>,
    held: Vec<Piece>,
    /// Why the whole datagram is dropped.
    doomed: Option<&'static str>,
}

/// What becomes of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// These go on, in this order, with these ports.
    Go(Vec<Piece>, (u16, u16)),
    /// It waits.
    Held,
    /// It and these others are dropped.
    Drop(&'static str, Vec<Piece>),
}

/// All datagrams in pieces.
#[derive(Debug, Default)]
pub(super) struct Fragments(BTreeMap<Datagram, Seen>);

/// Time that a datagram's fragments have to come together: 2 s.
const HOLD: u32 = 20;
/// Fragments of a datagram.
const PIECES: usize = 64;
/// Datagrams of a source.
const PER_SOURCE: usize = 16;

impl Fragments {
    /// Takes one fragment: its place `first..after` in the datagram and, of the first one, its ports.
    pub(super) fn offer(
        &mut self,
        datagram: Datagram,
        (first, after): (u32, u32),
        more: bool,
        ports: Option<(u16, u16)>,
        piece: Piece,
        now: u32,
    ) -> Fate {
        if !self.0.contains_key(&datagram) {
            let of_source = self.0.keys().filter(|d| d.0 == datagram.0).count();
            if of_source >= PER_SOURCE {
                return Fate::Drop("fragment_limit", vec![piece]);
            }
            let seen = Seen { born: now, ports: None, ranges: vec![], end: None, held: vec![], doomed: None };
            self.0.insert(datagram, seen);
        }
        let Some(seen) = self.0.get_mut(&datagram) else { return Fate::Held };
        let overlaps = seen.ranges.iter().any(|(a, b)| first < *b && *a < after);
        let beyond = seen.end.is_some_and(|end| after > end || !more);
        let before = !more && seen.ranges.iter().any(|(_, b)| *b > after);
        let reason = match seen.doomed {
            Some(reason) => Some(reason),
            None if overlaps || beyond || before => Some("fragment_overlap"),
            None if seen.ranges.len() >= PIECES => Some("fragment_limit"),
            None => None,
        };
        if let Some(reason) = reason {
            seen.doomed = Some(reason);
            let mut all = vec![piece];
            all.append(&mut seen.held);
            return Fate::Drop(reason, all);
        }
        seen.ranges.push((first, after));
        if !more {
            seen.end = Some(after);
        }
        seen.ports = seen.ports.or(ports);
        let Some(known) = seen.ports else {
            seen.held.push(piece);
            return Fate::Held;
        };
        let mut all = vec![piece];
        all.append(&mut seen.held);
        let seen_octets: u32 = seen.ranges.iter().map(|(a, b)| b - a).sum();
        if seen.end == Some(seen_octets) {
            self.0.remove(&datagram);
        }
        Fate::Go(all, known)
    }

    /// Forgets datagrams whose time is over; what they held is dropped.
    pub(super) fn expire(&mut self, now: u32) -> Vec<Piece> {
        let over: Vec<Datagram> =
            self.0.iter().filter(|(_, s)| now >= s.born + HOLD).map(|(d, _)| *d).collect();
        over.iter().filter_map(|d| self.0.remove(d)).flat_map(|s| s.held).collect()
    }

    /// Fragments that wait.
    pub(super) fn held(&self) -> usize {
        self.0.values().map(|s| s.held.len()).sum()
    }
}
