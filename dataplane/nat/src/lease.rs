//! Who leases which block of an outside address: shared by all workers, read on the packet path.
//!
//! An address's ports are cut into blocks of a power of two. A worker leases a block by
//! compare-and-swap when one of its subscribers needs one (rare), and every worker reads the
//! owner of a reply's port. Ports that VIPs, static mappings or the host stack use are
//! reserved: nobody owns them here. When only the reservations change, the next generation's
//! table shares the leases of the last one.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use wire::Protocol;

use crate::WorkerId;

/// Size and range of an address's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    first: u16,
    last: u16,
    shift: u8,
}

impl BlockLayout {
    /// Blocks of `size` ports (a power of two, 64 to 4,096) over the ports `first` to `last`; blocks begin at
    /// multiples of `size`. `None` if the size or the range is wrong.
    pub fn new(first: u16, last: u16, size: u16) -> Option<Self> {
        let right = size.is_power_of_two() && (64..=4096).contains(&size) && first <= last;
        right.then(|| BlockLayout { first, last, shift: size.trailing_zeros() as u8 })
    }

    /// Ports of a block.
    pub const fn size(&self) -> u16 {
        1 << self.shift
    }

    /// How many blocks there are, the first and last maybe in part outside the range.
    pub const fn blocks(&self) -> u16 {
        (self.last >> self.shift) - (self.first >> self.shift) + 1
    }

    /// The block that holds `port`.
    pub const fn block(&self, port: u16) -> Option<u16> {
        if port < self.first || port > self.last {
            return None;
        }
        Some((port >> self.shift) - (self.first >> self.shift))
    }

    /// First port of `block`, maybe outside the range.
    pub const fn start(&self, block: u16) -> u16 {
        ((self.first >> self.shift) + block) << self.shift
    }

    /// Is `port` in the range?
    pub const fn holds(&self, port: u16) -> bool {
        port >= self.first && port <= self.last
    }
}

/// Slots for protocols without ports: groups of 8, one group a (protocol, remote).
const GROUPS: usize = 32;
const GROUP: usize = 8;

const fn remote_key(protocol: Protocol, remote: Ipv4Addr) -> u64 {
    (remote.to_bits() as u64) << 32 | (protocol.0 as u64) << 16
}

#[derive(Debug)]
struct Shared {
    /// Owner + 1 of each block; 0: free.
    owners: Box<[AtomicU16]>,
    leased: AtomicU16,
    /// `remote << 32 | protocol << 16 | owner + 1`; 0: free.
    remotes: Box<[AtomicU64]>,
}

/// Leases of one outside address.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    layout: BlockLayout,
    /// Sorted, not overlapping.
    reserved: Vec<(u16, u16)>,
    /// Blocks with a port to hand out.
    open: Vec<bool>,
    usable: u16,
    shared: Arc<Shared>,
}

impl LeaseTable {
    /// A table with nothing leased. `reserved` ranges of ports are never handed out.
    pub fn new(layout: BlockLayout, reserved: &[RangeInclusive<u16>]) -> Self {
        let shared = Shared {
            owners: (0..layout.blocks()).map(|_| AtomicU16::new(0)).collect(),
            leased: AtomicU16::new(0),
            remotes: (0..GROUPS * GROUP).map(|_| AtomicU64::new(0)).collect(),
        };
        Self::over(layout, reserved, Arc::new(shared))
    }

    /// The same leases under other reservations, for the next generation. Ports in use that
    /// became reserved stay with their sessions until these end.
    pub fn with_reserved(&self, reserved: &[RangeInclusive<u16>]) -> Self {
        Self::over(self.layout, reserved, self.shared.clone())
    }

    fn over(layout: BlockLayout, reserved: &[RangeInclusive<u16>], shared: Arc<Shared>) -> Self {
        let mut sorted: Vec<_> =
            reserved.iter().map(|r| (*r.start(), *r.end())).filter(|r| r.0 <= r.1).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.0 <= last.1.saturating_add(1) => last.1 = last.1.max(range.1),
                _ => merged.push(range),
            }
        }
        let mut table = LeaseTable { layout, reserved: merged, open: Vec::new(), usable: 0, shared };
        table.open = (0..layout.blocks()).map(|b| table.has_ports(b)).collect();
        table.usable = table.open.iter().filter(|open| **open).count() as u16;
        table
    }

    /// Size and range of the blocks.
    pub const fn layout(&self) -> BlockLayout {
        self.layout
    }

    /// Do both stand on the same leases?
    pub fn shares_leases_with(&self, other: &LeaseTable) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// May `port` be handed out: in range and not reserved?
    pub fn allows(&self, port: u16) -> bool {
        self.layout.holds(port) && !self.is_reserved(port)
    }

    /// Is `port` reserved?
    #[inline]
    pub fn is_reserved(&self, port: u16) -> bool {
        let after = self.reserved.partition_point(|r| r.0 <= port);
        after.checked_sub(1).and_then(|at| self.reserved.get(at)).is_some_and(|r| r.1 >= port)
    }

    fn has_ports(&self, block: u16) -> bool {
        let start = self.layout.start(block);
        let last = start + (self.layout.size() - 1);
        (start..=last).any(|port| self.allows(port))
    }

    /// Blocks with at least one port to hand out.
    pub const fn usable(&self) -> u16 {
        self.usable
    }

    /// Blocks leased now, resting ones too.
    pub fn leased(&self) -> u16 {
        self.shared.leased.load(Ordering::Relaxed)
    }

    /// Leases the first free block at or after block `start` (cyclically) that has a port to
    /// hand out. `None` when there is none.
    pub fn lease(&self, worker: WorkerId, start: u16) -> Option<u16> {
        let n = self.layout.blocks();
        if self.leased() >= n {
            return None;
        }
        let mine = worker.0.checked_add(1)?;
        (0..n).map(|i| ((u32::from(start) + u32::from(i)) % u32::from(n)) as u16).find(|block| {
            let Some(owner) = self.shared.owners.get(usize::from(*block)) else { return false };
            owner.load(Ordering::Relaxed) == 0
                && self.open.get(usize::from(*block)) == Some(&true)
                && owner.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                && {
                    self.shared.leased.fetch_add(1, Ordering::Relaxed);
                    true
                }
        })
    }

    /// Gives `block` back. Does nothing if `worker` does not lease it.
    pub fn release(&self, worker: WorkerId, block: u16) {
        let Some(owner) = self.shared.owners.get(usize::from(block)) else { return };
        let mine = worker.0.wrapping_add(1);
        if owner.compare_exchange(mine, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.shared.leased.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Who owns a reply to `port`; nobody if it is reserved, out of range or in no leased block.
    #[inline]
    pub fn owner(&self, port: u16) -> Option<WorkerId> {
        let block = self.layout.block(port)?;
        if self.is_reserved(port) {
            return None;
        }
        let owner = self.shared.owners.get(usize::from(block))?.load(Ordering::Acquire);
        owner.checked_sub(1).map(WorkerId)
    }

    fn group(&self, protocol: Protocol, remote: Ipv4Addr) -> &[AtomicU64] {
        let mixed =
            (u64::from(remote.to_bits()) << 8 | u64::from(protocol.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let group = (mixed >> 32) as usize % GROUPS;
        self.shared.remotes.get(group * GROUP..(group + 1) * GROUP).unwrap_or(&[])
    }

    /// Takes the whole address for `protocol` (one without ports) towards `remote`. False when
    /// it is taken already, by whomever, or the few places for that are full.
    pub fn lease_remote(&self, worker: WorkerId, protocol: Protocol, remote: Ipv4Addr) -> bool {
        let key = remote_key(protocol, remote);
        let Some(mine) = worker.0.checked_add(1) else { return false };
        let group = self.group(protocol, remote);
        let held = |slot: &AtomicU64| {
            let value = slot.load(Ordering::SeqCst);
            value != 0 && value & !0xffff == key
        };
        if group.iter().any(held) {
            return false;
        }
        let value = key | u64::from(mine);
        let place =
            group.iter().find(|s| s.compare_exchange(0, value, Ordering::SeqCst, Ordering::SeqCst).is_ok());
        let Some(place) = place else { return false };
        // Another worker may have taken it in another place since: then neither has it.
        if group.iter().filter(|s| held(s)).count() > 1 {
            place.store(0, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Gives it back. Does nothing if `worker` does not hold it.
    pub fn release_remote(&self, worker: WorkerId, protocol: Protocol, remote: Ipv4Addr) {
        let held = remote_key(protocol, remote) | u64::from(worker.0.wrapping_add(1));
        for slot in self.group(protocol, remote) {
            let _ = slot.compare_exchange(held, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Who owns a reply of `protocol` (one without ports) from `remote`.
    pub fn owner_remote(&self, protocol: Protocol, remote: Ipv4Addr) -> Option<WorkerId> {
        let key = remote_key(protocol, remote);
        self.group(protocol, remote).iter().find_map(|slot| {
            let value = slot.load(Ordering::Acquire);
            if value & !0xffff == key { (value as u16).checked_sub(1).map(WorkerId) } else { None }
        })
    }
}
