//! Fragments follow their datagram, without being copied or put together (RFC 4787 REQ-14).
//!
//! Only the first fragment has ports. Those that come before it are held, at most 2 s and
//! within bounds; those that come after it go the same way at once. Overlapping fragments drop
//! the whole datagram (RFC 5722's lesson: they are attacks).
//!
//! Rules, for each fragment in order of arrival:
//!
//! 1. A datagram is known from its first arriving fragment until all its octets were seen, or for 2 s.
//! 2. A new one is refused (`Limit`) while 1,024 are known, or 16 of its source.
//! 3. A fragment that shares an octet with one seen, or contradicts the datagram's end (beyond it, or a
//!    second last one that ends elsewhere), drops the datagram (`Overlap`); a 65th one does too
//!    (`Limit`), and so does one that would be held while 2,048 are. Whatever follows of a dropped
//!    datagram within its 2 s is dropped for the same reason.
//! 4. The first fragment gives the ports: it goes on, then those held, in order of arrival.

use std::collections::{HashMap, VecDeque};

use wire::{Family, PacketBuf, Protocol, V4};

use crate::keyed::KeyedState;
use crate::{Tick, Ticks};

/// What fragments of one datagram have in common (RFC 791).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey<F: Family = V4> {
    /// Sender.
    pub source: F::Addr,
    /// Receiver.
    pub destination: F::Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// Identification.
    pub id: u32,
}

/// One fragment's place in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where its data begins, octets.
    pub offset: u16,
    /// Octets of data.
    pub len: u16,
    /// More fragments follow.
    pub more: bool,
    /// Source and destination port (query id twice), known from the first fragment alone.
    pub ports: Option<(u16, u16)>,
}

/// Why fragments are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FragmentDrop {
    /// They overlap.
    Overlap,
    /// The first one did not come within 2 s.
    Timeout,
    /// More wait than the bounds allow.
    Limit,
}

/// What becomes of a fragment.
#[derive(Debug)]
pub enum Outcome<B> {
    /// It goes on, with its datagram's ports. After a first fragment, ask
    /// [`FragmentTable::released`] until it is empty: those held before it.
    Forward(B, (u16, u16)),
    /// It waits for the first one.
    Held,
    /// It is dropped; so are those held with it: ask [`FragmentTable::dropped`].
    Drop(FragmentDrop, B),
}

/// How long a datagram's fragments are waited for.
const HOLD: Ticks = Ticks::from_secs(2);
const DATAGRAMS: usize = 1024;
const DATAGRAMS_OF_A_SOURCE: u32 = 16;
const FRAGMENTS_OF_A_DATAGRAM: usize = 64;
const HELD: usize = 2048;

struct Datagram<B> {
    until: Tick,
    ports: Option<(u16, u16)>,
    /// `[start, end)` of the octets seen.
    seen: Vec<(u32, u32)>,
    /// Octets of the whole, once its last fragment was seen.
    total: Option<u32>,
    held: Vec<B>,
    /// Dropped, for this reason.
    doomed: Option<FragmentDrop>,
}

impl<B> Datagram<B> {
    fn contradicts(&self, start: u32, end: u32, more: bool) -> bool {
        let overlaps = self.seen.iter().any(|(s, e)| start < *e && *s < end);
        let beyond = match self.total {
            Some(total) => end > total || !more,
            None => !more && self.seen.iter().any(|(_, e)| *e > end),
        };
        overlaps || beyond
    }

    fn is_whole(&self) -> bool {
        let seen: u32 = self.seen.iter().map(|(s, e)| e - s).sum();
        self.total == Some(seen)
    }
}

/// Datagrams in pieces.
pub struct FragmentTable<B: PacketBuf, F: Family = V4> {
    known: HashMap<FragmentKey<F>, Datagram<B>, KeyedState>,
    /// Keys in order of their ends, since all are waited for equally long; some are gone already.
    order: VecDeque<(Tick, FragmentKey<F>)>,
    sources: HashMap<F::Addr, u32, KeyedState>,
    released: VecDeque<(B, (u16, u16))>,
    dropped: VecDeque<(B, FragmentDrop)>,
    held: usize,
}

impl<B: PacketBuf, F: Family> FragmentTable<B, F> {
    /// An empty table for 1,024 datagrams.
    pub fn new(seed: [u64; 2]) -> Self {
        FragmentTable {
            known: HashMap::with_capacity_and_hasher(DATAGRAMS, KeyedState::new(seed)),
            order: VecDeque::with_capacity(DATAGRAMS),
            sources: HashMap::with_capacity_and_hasher(DATAGRAMS, KeyedState::new(seed)),
            released: VecDeque::new(),
            dropped: VecDeque::new(),
            held: 0,
        }
    }

    /// Takes one fragment.
    pub fn offer(&mut self, key: FragmentKey<F>, piece: Piece, buf: B, now: Tick) -> Outcome<B> {
        self.expire(now);
        if !self.known.contains_key(&key) {
            let of_source = self.sources.get(&key.source).copied().unwrap_or(0);
            if self.known.len() >= DATAGRAMS || of_source >= DATAGRAMS_OF_A_SOURCE {
                return Outcome::Drop(FragmentDrop::Limit, buf);
            }
            self.sources.insert(key.source, of_source + 1);
            // Whole datagrams leave their keys here until their time is over.
            if self.order.len() >= 2 * DATAGRAMS {
                let known = &self.known;
                self.order.retain(|(until, key)| known.get(key).is_some_and(|d| d.until == *until));
            }
            self.order.push_back((now + HOLD, key));
        }
        let datagram = self.known.entry(key).or_insert_with(|| Datagram {
            until: now + HOLD,
            ports: None,
            seen: Vec::new(),
            total: None,
            held: Vec::new(),
            doomed: None,
        });
        let (start, end) = (u32::from(piece.offset), u32::from(piece.offset) + u32::from(piece.len));
        let held = &mut self.held;
        let reason = if let Some(reason) = datagram.doomed {
            Some(reason)
        } else if datagram.contradicts(start, end, piece.more) {
            Some(FragmentDrop::Overlap)
        } else if datagram.seen.len() >= FRAGMENTS_OF_A_DATAGRAM
            || (start != 0 && datagram.ports.is_none() && *held >= HELD)
        {
            Some(FragmentDrop::Limit)
        } else {
            None
        };
        if let Some(reason) = reason {
            datagram.doomed = Some(reason);
            *held -= datagram.held.len();
            self.dropped.extend(datagram.held.drain(..).map(|b| (b, reason)));
            return Outcome::Drop(reason, buf);
        }
        datagram.seen.push((start, end));
        if !piece.more {
            datagram.total = Some(end);
        }
        if start == 0 {
            let ports = piece.ports.unwrap_or((0, 0));
            datagram.ports = Some(ports);
            *held -= datagram.held.len();
            self.released.extend(datagram.held.drain(..).map(|b| (b, ports)));
        }
        let Some(ports) = datagram.ports else {
            datagram.held.push(buf);
            *held += 1;
            return Outcome::Held;
        };
        if datagram.is_whole() {
            self.forget(&key);
        }
        Outcome::Forward(buf, ports)
    }

    fn forget(&mut self, key: &FragmentKey<F>) {
        let Some(datagram) = self.known.remove(key) else { return };
        self.held -= datagram.held.len();
        self.dropped.extend(datagram.held.into_iter().map(|b| (b, FragmentDrop::Timeout)));
        if let Some(count) = self.sources.get_mut(&key.source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&key.source);
            }
        }
    }

    /// A fragment that was held until its first one came, in order of arrival, with its ports.
    pub fn released(&mut self) -> Option<(B, (u16, u16))> {
        self.released.pop_front()
    }

    /// A held fragment that is dropped now, and why.
    pub fn dropped(&mut self) -> Option<(B, FragmentDrop)> {
        self.dropped.pop_front()
    }

    /// Forgets datagrams whose 2 s are over; what they held comes out of [`FragmentTable::dropped`].
    pub fn expire(&mut self, now: Tick) {
        while let Some((until, key)) = self.order.front().copied()
            && until <= now
        {
            self.order.pop_front();
            // The key may have come back for a later datagram.
            if self.known.get(&key).is_some_and(|d| d.until == until) {
                self.forget(&key);
            }
        }
    }

    /// Fragments held now, released and dropped ones that were not asked for too.
    pub fn held(&self) -> usize {
        self.held + self.released.len() + self.dropped.len()
    }
}
