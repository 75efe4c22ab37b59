//! Unsolicited SYNs, held for 6 s before they are answered (RFC 5382 REQ-4).
//!
//! A ring in order of arrival, since all wait equally long, and an index to find one that an
//! outbound SYN crosses. When the ring is full a new one is not held, and never answered.
//!
//! A SYN to a port in no leased block waits apart and is answered in any case: its worker is not
//! the one at which a SYN would cross it, and results must not depend on whether it happens to be.

use mem::{Array, plain_struct};
use wire::Tuple;

use crate::index::{Index, KeyHash, Seed};
use crate::nat::Held;
use crate::record::Key;
use crate::units::{Tick, Ticks};

/// RFC 5382 REQ-4: at least six seconds.
const HOLD: Ticks = Ticks::from_secs(6);
/// An ICMP error has 576 octets at most (RFC 1812 §4.3.2.3), 28 of them headers.
const QUOTE: usize = 548;

/// What [`Slot::waiting`] says of one that waits.
const LEASED: u16 = 1;
const UNLEASED: u16 = 2;

#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    addresses: u64,
    ports: u32,
    due: u32,
    len: u16,
    waiting: u16,
    packet: [u8; QUOTE],
}

plain_struct!(Slot { addresses: u64, ports: u32, due: u32, len: u16, waiting: u16, packet: [u8; QUOTE] });

impl Slot {
    const fn key(&self) -> Key {
        Key { addresses: self.addresses, ports: self.ports, protocol: wire::Protocol::TCP.0 }
    }
}

pub(crate) struct HeldSyns {
    slots: Array<Slot>,
    index: Index,
    seed: Seed,
    first: usize,
    /// Slots from `first` on, cancelled ones too.
    queued: usize,
    waiting: u32,
}

impl HeldSyns {
    pub(crate) fn new(limit: u32, seed: Seed) -> Self {
        let n = limit as usize;
        HeldSyns {
            slots: Array::zeroed(n),
            index: Index::for_entries(n),
            seed,
            first: 0,
            queued: 0,
            waiting: 0,
        }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.waiting
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.bytes() + self.index.bytes()
    }

    fn hash(&self, key: &Key) -> KeyHash {
        key.hash(self.seed)
    }

    fn find(&self, key: &Key, class: u16) -> Option<usize> {
        let slot = self.index.find(self.hash(key), |e| {
            self.slots.get(e as usize).is_some_and(|s| s.waiting == class && s.key() == *key)
        })?;
        Some(slot as usize)
    }

    /// Holds a SYN; one that is held already stays as it came first. `leased`: its port is in a
    /// leased block.
    pub(crate) fn hold(&mut self, tuple: &Tuple, leased: bool, packet: &[u8], now: Tick) {
        let key = Key::of(tuple);
        let class = if leased { LEASED } else { UNLEASED };
        self.drop_cancelled();
        if self.find(&key, class).is_some() || self.queued >= self.slots.len() {
            return;
        }
        let at = (self.first + self.queued) % self.slots.len();
        let (slots, seed) = (&self.slots, self.seed);
        let hash_of = |e: u32| slots.get(e as usize).map_or(KeyHash(0), |s| s.key().hash(seed));
        if self.index.insert(key.hash(seed), at as u32, hash_of).is_err() {
            return;
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
        let quote = packet.get(..QUOTE).unwrap_or(packet);
        slot.addresses = key.addresses;
        slot.ports = key.ports;
        slot.due = (now + HOLD).0;
        slot.len = quote.len() as u16;
        slot.waiting = class;
        if let Some(kept) = slot.packet.get_mut(..quote.len()) {
            kept.copy_from_slice(quote);
        }
        self.queued += 1;
        self.waiting += 1;
    }

    /// A SYN with this key needs no answer any more.
    pub(crate) fn cancel(&mut self, tuple: &Tuple) {
        if self.waiting > 0
            && let Some(at) = self.find(&Key::of(tuple), LEASED)
        {
            self.forget(at);
        }
    }

    fn forget(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.waiting = 0;
        let hash = slot.key().hash(self.seed);
        self.index.remove(hash, at as u32);
        self.waiting -= 1;
    }

    fn drop_cancelled(&mut self) {
        while self.queued > 0 && self.slots.get(self.first).is_some_and(|s| s.waiting == 0) {
            self.first = (self.first + 1) % self.slots.len();
            self.queued -= 1;
        }
    }

    /// Takes out the next one whose time is over.
    pub(crate) fn due(&mut self, now: Tick) -> Option<Held<'_>> {
        self.drop_cancelled();
        if self.queued == 0 || self.slots.get(self.first)?.due > now.0 {
            return None;
        }
        let at = self.first;
        self.forget(at);
        self.drop_cancelled();
        let slot = self.slots.get(at)?;
        Some(Held { tuple: slot.key().tuple(), packet: slot.packet.get(..usize::from(slot.len))? })
    }
}
