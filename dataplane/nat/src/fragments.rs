//! Fragments follow their datagram, without being copied or put together (RFC 4787 REQ-14).
//!
//! Only the first fragment has ports. Those that come before it are held, at most 2 s and
//! within bounds; those that come after it go the same way at once. Overlapping fragments drop
//! the whole datagram (RFC 5722's lesson: they are attacks).

use wire::{Family, PacketBuf, Protocol, V4};

use crate::Tick;

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

/// Datagrams in pieces.
pub struct FragmentTable<B: PacketBuf, F: Family = V4> {
    gone: Vec<(B, FragmentKey<F>)>,
}

#[allow(unused_variables)]
impl<B: PacketBuf, F: Family> FragmentTable<B, F> {
    /// An empty table for 1,024 datagrams.
    pub fn new() -> Self {
        FragmentTable { gone: Vec::new() }
    }

    /// Takes one fragment.
    pub fn offer(&mut self, key: FragmentKey<F>, piece: Piece, buf: B, now: Tick) -> Outcome<B> {
        Outcome::Drop(FragmentDrop::Limit, buf)
    }

    /// A fragment that was held until its first one came, in order of arrival, with its ports.
    pub fn released(&mut self) -> Option<(B, (u16, u16))> {
        None
    }

    /// A held fragment that is dropped now, and why.
    pub fn dropped(&mut self) -> Option<(B, FragmentDrop)> {
        None
    }

    /// Forgets datagrams whose 2 s are over; what they held comes out of [`FragmentTable::dropped`].
    pub fn expire(&mut self, now: Tick) {}

    /// Fragments held now.
    pub fn held(&self) -> usize {
        self.gone.len()
    }
}

impl<B: PacketBuf, F: Family> Default for FragmentTable<B, F> {
    fn default() -> Self {
        Self::new()
    }
}
