//! Port blocks that this worker leases: which ports are used, by protocol, and whose they are.
//!
//! Every outside address has three bitmaps a block (TCP, UDP, ICMP ids: their numbers are
//! independent) and a fourth of ports that may not be handed out. An emptied block rests with
//! its subscriber, who may use it again at once, before its lease goes back (RFC 6888 REQ-8).

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::Protocol;

use crate::lease::LeaseTable;
use crate::units::{Tick, WorkerId};
use crate::wheel::{NIL, Timers};

/// Protocols whose ports or ids are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ported {
    Tcp,
    Udp,
    Icmp,
}

impl Ported {
    pub(crate) const fn of(protocol: Protocol) -> Option<Self> {
        match protocol {
            Protocol::TCP => Some(Ported::Tcp),
            Protocol::UDP => Some(Ported::Udp),
            Protocol::ICMP => Some(Ported::Icmp),
            _ => None,
        }
    }

    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Ported::Tcp => Protocol::TCP,
            Ported::Udp => Protocol::UDP,
            Ported::Icmp => Protocol::ICMP,
        }
    }
}

/// Bitmaps of a block: three protocols and the barred ports.
const MAPS: usize = 4;
const BARRED: usize = 3;

/// A block of an outside address: `address number << 10 | block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockId(pub(crate) u32);

impl BlockId {
    pub(crate) const NONE: BlockId = BlockId(NIL);

    const fn new(slot: u32, block: u16) -> Self {
        BlockId(slot << 10 | block as u32)
    }

    /// Number of its address.
    pub(crate) const fn slot(self) -> u32 {
        self.0 >> 10
    }

    pub(crate) const fn block(self) -> u16 {
        (self.0 & 1023) as u16
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Block {
    /// Holder.
    pub(crate) subscriber: u32,
    /// The same holder's next older and next newer block.
    pub(crate) older: u32,
    pub(crate) newer: u32,
    /// Ports to hand out, by protocol.
    free: [u16; 3],
    /// Ports in use, over all protocols.
    in_use: u16,
    leased: bool,
    resting: bool,
    due: u32,
    place: u32,
}

/// One outside address, as far as this worker leases of it.
pub(crate) struct OutsideAddress {
    pub(crate) address: Ipv4Addr,
    pub(crate) leases: Arc<LeaseTable>,
    /// Number of the pool that holds it now; `NIL`: none any more.
    pub(crate) pool: u32,
    blocks: Vec<Block>,
    words: Vec<u64>,
    /// Blocks leased by this worker, and sessions of protocols without ports.
    leased: u32,
}

impl OutsideAddress {
    fn new(address: Ipv4Addr, leases: Arc<LeaseTable>, pool: u32) -> Self {
        OutsideAddress { address, leases, pool, blocks: Vec::new(), words: Vec::new(), leased: 0 }
    }

    /// Makes room for blocks at the first lease, not when a pool of thousands of addresses is configured.
    fn make_room(&mut self) {
        if self.blocks.is_empty() {
            let layout = self.leases.layout();
            let blocks = usize::from(layout.blocks());
            self.blocks = vec![Block::default(); blocks];
            self.words = vec![0; usize::from(layout.size() / 64) * MAPS * blocks];
        }
    }

    fn map(&self, block: u16, map: usize) -> (usize, usize) {
        let words = usize::from(self.leases.layout().size() / 64);
        ((usize::from(block) * MAPS + map) * words, words)
    }

    fn word(&self, block: u16, map: usize, word: usize) -> u64 {
        let (start, _) = self.map(block, map);
        self.words.get(start + word).copied().unwrap_or(0)
    }

    fn is_set(&self, block: u16, map: usize, offset: u16) -> bool {
        self.word(block, map, usize::from(offset / 64)) & 1 << (offset % 64) != 0
    }

    fn set(&mut self, block: u16, map: usize, offset: u16, to: bool) {
        let (start, _) = self.map(block, map);
        if let Some(word) = self.words.get_mut(start + usize::from(offset / 64)) {
            let bit = 1 << (offset % 64);
            *word = if to { *word | bit } else { *word & !bit };
        }
    }

    /// First position at or after `start`, cyclically, whose word (by `bits`) has a bit set.
    fn first(&self, block: u16, start: u16, bits: impl Fn(usize) -> u64) -> Option<u16> {
        let (_, words) = self.map(block, 0);
        let (from, within) = (usize::from(start / 64), start % 64);
        (0..=words).find_map(|i| {
            let word = (from + i) % words;
            let mask = match i {
                0 => u64::MAX << within,
                _ if i == words => !(u64::MAX << within),
                _ => u64::MAX,
            };
            let found = bits(word) & mask;
            (found != 0).then(|| (word * 64) as u16 + found.trailing_zeros() as u16)
        })
    }

    /// First port free for `kind` at or after `start`, cyclically; offsets in the block.
    fn first_free(&self, block: u16, kind: Ported, start: u16) -> Option<u16> {
        self.first(block, start, |w| !(self.word(block, kind as usize, w) | self.word(block, BARRED, w)))
    }

    /// The same of ports in use.
    fn first_used(&self, block: u16, kind: Ported, start: u16) -> Option<u16> {
        self.first(block, start, |w| self.word(block, kind as usize, w))
    }

    /// Reads the reservations again; ports in use stay in use.
    fn bar(&mut self, block: u16) {
        let layout = self.leases.layout();
        let start = layout.start(block);
        let mut free = [0u16; 3];
        for offset in 0..layout.size() {
            let barred = !self.leases.allows(start + offset);
            self.set(block, BARRED, offset, barred);
            for (kind, free) in free.iter_mut().enumerate() {
                *free += u16::from(!barred && !self.is_set(block, kind, offset));
            }
        }
        if let Some(b) = self.blocks.get_mut(usize::from(block)) {
            b.free = free;
        }
    }
}

/// All outside addresses of this worker, by number.
pub(crate) struct Addresses {
    worker: WorkerId,
    all: Vec<Option<OutsideAddress>>,
}

impl Addresses {
    pub(crate) const fn new(worker: WorkerId) -> Self {
        Addresses { worker, all: Vec::new() }
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&OutsideAddress> {
        self.all.get(slot as usize)?.as_ref()
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut OutsideAddress> {
        self.all.get_mut(slot as usize)?.as_mut()
    }

    /// Brings near a block's record and the first line of its ports of `kind`.
    #[inline]
    pub(crate) fn prefetch(&self, id: BlockId, kind: Ported) {
        let Some(outside) = self.get(id.slot()) else { return };
        if let Some(block) = outside.blocks.get(usize::from(id.block())) {
            mem::prefetch(block);
        }
        if let Some(word) = outside.words.get(outside.map(id.block(), kind as usize).0) {
            mem::prefetch(word);
        }
    }

    /// Brings near a block's record and the word of one of its ports.
    #[inline]
    pub(crate) fn prefetch_port(&self, id: BlockId, kind: Ported, port: u16) {
        let Some(outside) = self.get(id.slot()) else { return };
        if let Some(block) = outside.blocks.get(usize::from(id.block())) {
            mem::prefetch(block);
        }
        let offset = port.wrapping_sub(outside.leases.layout().start(id.block()));
        let (start, _) = outside.map(id.block(), kind as usize);
        if let Some(word) = outside.words.get(start + usize::from(offset / 64)) {
            mem::prefetch(word);
        }
    }

    pub(crate) fn block(&self, id: BlockId) -> Option<&Block> {
        self.get(id.slot())?.blocks.get(usize::from(id.block()))
    }

    pub(crate) fn block_mut(&mut self, id: BlockId) -> Option<&mut Block> {
        self.get_mut(id.slot())?.blocks.get_mut(usize::from(id.block()))
    }

    /// The address number for these leases: the known one at `known` if its leases are the same,
    /// else a new one.
    pub(crate) fn attach(
        &mut self,
        known: Option<u32>,
        address: Ipv4Addr,
        leases: &Arc<LeaseTable>,
        pool: u32,
    ) -> u32 {
        if let Some(slot) = known
            && let Some(held) = self.get_mut(slot)
            && held.leases.shares_leases_with(leases)
        {
            held.pool = pool;
            if !Arc::ptr_eq(&held.leases, leases) {
                held.leases = leases.clone();
                for block in 0..leases.layout().blocks() {
                    if held.blocks.get(usize::from(block)).is_some_and(|b| b.leased) {
                        held.bar(block);
                    }
                }
            }
            return slot;
        }
        if let Some(old) = known.and_then(|slot| self.get_mut(slot)) {
            old.pool = NIL;
        }
        let fresh = OutsideAddress::new(address, leases.clone(), pool);
        let at = self.all.iter().position(Option::is_none).unwrap_or(self.all.len());
        match self.all.get_mut(at) {
            Some(place) => *place = Some(fresh),
            None => self.all.push(Some(fresh)),
        }
        at as u32
    }

    /// Takes addresses out of every pool that `keep` does not know, and forgets those without leases.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        for (slot, place) in self.all.iter_mut().enumerate() {
            let Some(held) = place else { continue };
            if !keep(slot as u32) {
                held.pool = NIL;
            }
            if held.pool == NIL && held.leased == 0 {
                *place = None;
            }
        }
    }

    /// Leases a block of an address, the first free one from `start` on. It has a free port of every protocol.
    pub(crate) fn lease(&mut self, slot: u32, start: u16, subscriber: u32) -> Option<BlockId> {
        let worker = self.worker;
        let held = self.get_mut(slot)?;
        let block = held.leases.lease(worker, start)?;
        held.make_room();
        held.leased += 1;
        if let Some(b) = held.blocks.get_mut(usize::from(block)) {
            *b = Block { subscriber, older: NIL, newer: NIL, leased: true, ..Block::default() };
        }
        held.bar(block);
        Some(BlockId::new(slot, block))
    }

    /// One more session has the whole address for a protocol without ports towards its remote.
    pub(crate) fn hold(&mut self, slot: u32) {
        if let Some(held) = self.get_mut(slot) {
            held.leased += 1;
        }
    }

    /// Gives that back.
    pub(crate) fn release_remote(&mut self, slot: u32, protocol: Protocol, remote: Ipv4Addr) {
        let worker = self.worker;
        if let Some(held) = self.get_mut(slot) {
            held.leases.release_remote(worker, protocol, remote);
            held.leased = held.leased.saturating_sub(1);
        }
    }

    /// Gives an empty block back.
    pub(crate) fn give_back(&mut self, id: BlockId) {
        let worker = self.worker;
        let Some(held) = self.get_mut(id.slot()) else { return };
        if let Some(b) = held.blocks.get_mut(usize::from(id.block()))
            && b.leased
        {
            *b = Block::default();
            held.leased -= 1;
            held.leases.release(worker, id.block());
        }
    }

    /// The port at an offset of a block.
    pub(crate) fn port(&self, id: BlockId, offset: u16) -> u16 {
        self.get(id.slot()).map_or(0, |a| a.leases.layout().start(id.block()).wrapping_add(offset))
    }

    /// The block and offset of a port, if this worker leases it.
    pub(crate) fn locate(&self, slot: u32, port: u16) -> Option<(BlockId, u16)> {
        let held = self.get(slot)?;
        let layout = held.leases.layout();
        let block = layout.block(port)?;
        held.blocks.get(usize::from(block)).filter(|b| b.leased)?;
        Some((BlockId::new(slot, block), port - layout.start(block)))
    }

    /// A port of the block that is free for `kind`, near `start`.
    pub(crate) fn first_free(&self, id: BlockId, kind: Ported, start: u16) -> Option<u16> {
        let held = self.get(id.slot())?;
        let block = held.blocks.get(usize::from(id.block()))?;
        if block.free.get(kind as usize) == Some(&0) {
            return None;
        }
        held.first_free(id.block(), kind, start)
    }

    /// A port of the block that `kind` uses, near `start`.
    pub(crate) fn first_used(&self, id: BlockId, kind: Ported, start: u16) -> Option<u16> {
        self.get(id.slot())?.first_used(id.block(), kind, start)
    }

    /// Ports of a block of this address.
    pub(crate) fn size(&self, slot: u32) -> u16 {
        self.get(slot).map_or(64, |a| a.leases.layout().size())
    }

    /// All addresses with their numbers.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, Ipv4Addr)> + '_ {
        let numbered = self.all.iter().enumerate();
        numbered.filter_map(|(slot, a)| a.as_ref().map(|a| (slot as u32, a.address)))
    }

    /// Is this port used for `kind`?
    pub(crate) fn is_used(&self, id: BlockId, kind: Ported, offset: u16) -> bool {
        self.get(id.slot()).is_some_and(|a| a.is_set(id.block(), kind as usize, offset))
    }

    /// Is this port barred or used for `kind`?
    pub(crate) fn is_taken(&self, id: BlockId, kind: Ported, offset: u16) -> bool {
        self.get(id.slot()).is_none_or(|a| {
            a.is_set(id.block(), kind as usize, offset) || a.is_set(id.block(), BARRED, offset)
        })
    }

    /// Marks a free port used. True when the block rested until now: take it off the resting ones.
    pub(crate) fn take(&mut self, id: BlockId, kind: Ported, offset: u16) -> bool {
        let Some(held) = self.get_mut(id.slot()) else { return false };
        held.set(id.block(), kind as usize, offset, true);
        let Some(b) = held.blocks.get_mut(usize::from(id.block())) else { return false };
        if let Some(free) = b.free.get_mut(kind as usize) {
            *free = free.saturating_sub(1);
        }
        b.in_use = b.in_use.saturating_add(1);
        std::mem::take(&mut b.resting)
    }

    /// Marks a used port free. True when the block is empty now and rests until `due`: put it
    /// on the resting ones.
    pub(crate) fn give(&mut self, id: BlockId, kind: Ported, offset: u16, due: Tick) -> bool {
        let Some(held) = self.get_mut(id.slot()) else { return false };
        if !held.is_set(id.block(), kind as usize, offset) {
            return false;
        }
        held.set(id.block(), kind as usize, offset, false);
        let barred = held.is_set(id.block(), BARRED, offset);
        let Some(b) = held.blocks.get_mut(usize::from(id.block())) else { return false };
        if let Some(free) = b.free.get_mut(kind as usize) {
            *free = free.saturating_add(u16::from(!barred));
        }
        b.in_use = b.in_use.saturating_sub(1);
        if b.in_use == 0 {
            b.resting = true;
            b.due = due.0;
        }
        b.in_use == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.all
            .iter()
            .flatten()
            .map(|a| size_of_val(a.blocks.as_slice()) + size_of_val(a.words.as_slice()))
            .sum()
    }
}

impl Timers for Addresses {
    fn place(&self, id: u32) -> u32 {
        self.block(BlockId(id)).map_or(NIL, |b| b.place)
    }

    fn set_place(&mut self, id: u32, place: u32) {
        if let Some(b) = self.block_mut(BlockId(id)) {
            b.place = place;
        }
    }

    fn deadline(&self, id: u32) -> Tick {
        Tick(self.block(BlockId(id)).map_or(0, |b| b.due))
    }
}
