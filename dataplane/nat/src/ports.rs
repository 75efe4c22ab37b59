//! Choosing an outside port, in the order of the rules.
//!
//! For a subscriber of a pool (`r` is the session's random number, cut into 16-bit draws from its low end:
//! port, shared port, address, block; a draw `d` picks `d * n >> 16` of `n`):
//!
//! 1. *Own blocks*, from the one leased last to the one leased first; in a block the first free port at or
//!    after the drawn one, cyclically (RFC 6056 algorithm 2: random start, no retries).
//! 2. *A new block*, unless the subscriber has `max_blocks`, or has any while under a quarter of the
//!    pool's blocks are free. The first free block of the address at or after the drawn one.
//! 3. TCP: the port of *its longest closed session* (see `nat::acquire`).
//! 4. TCP: *sharing* a port of its own towards another remote (RFC 7857 §3; see `nat::acquire`).
//!
//! `Paired` takes 1 and 2 on the paired address, and after 4 goes on with 1 and 2 on the others.
//! `PairedStrict` stops before that, and takes 3 and 4 on the paired address alone. `Arbitrary` takes 1 and 2
//! on any address. Where several addresses may give a new block, they are tried in the pool's order
//! from the drawn one, cyclically.
//! A subscriber without a paired address (or whose address left the pool) is paired with that of
//! the first block it leases then.
//!
//! Step 4 is only reached when the subscriber's blocks are full and it gets no other one, which over 75 % of
//! the pool leased is so for all who have one: so sharing begins and ends with that pressure by itself.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::blocks::{Addresses, BlockId, Ported};
use crate::index::Seed;
use crate::open::PortShortage;
use crate::pool::Pool;
use crate::subscriber::Subscribers;
use crate::units::{PoolId, Tick, WorkerId};
use crate::view::PoolUsage;
use crate::wheel::{NIL, Step, Wheel};

/// A random number cut into draws.
#[derive(Clone, Copy)]
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    const fn scaled(draw: u64, n: usize) -> usize {
        (((draw & 0xffff) * n as u64) >> 16) as usize
    }

    pub(crate) const fn port(self, size: u16) -> u16 {
        Self::scaled(self.0, size as usize) as u16
    }

    pub(crate) const fn shared(self, size: u16) -> u16 {
        Self::scaled(self.0 >> 16, size as usize) as u16
    }

    const fn address(self, addresses: usize) -> usize {
        Self::scaled(self.0 >> 32, addresses)
    }

    const fn block(self, blocks: u16) -> u16 {
        Self::scaled(self.0 >> 48, blocks as usize) as u16
    }
}

/// Which outside addresses may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Only(u32),
    Except(u32),
    Any,
}

impl Which {
    pub(crate) fn allows(self, slot: u32) -> bool {
        match self {
            Which::Only(one) => slot == one,
            Which::Except(one) => slot != one,
            Which::Any => true,
        }
    }
}

/// A port taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) block: BlockId,
    pub(crate) port: u16,
}

pub(crate) struct PoolState {
    pub(crate) pool: Arc<Pool>,
    /// Numbers of its addresses, in their order.
    slots: Vec<u32>,
    pub(crate) usage: PoolUsage,
    /// In the newest snapshot.
    current: bool,
}

/// Pools, addresses, blocks and subscribers of one worker.
pub(crate) struct Ports {
    pub(crate) addresses: Addresses,
    pub(crate) subscribers: Subscribers,
    pools: Vec<PoolState>,
    /// Their identities, close together to be searched.
    ids: Vec<PoolId>,
    by_address: HashMap<Ipv4Addr, u32>,
    rest: Wheel,
    worker: WorkerId,
}

impl Ports {
    pub(crate) fn new(worker: WorkerId, subscribers: u32, seed: Seed) -> Self {
        Ports {
            addresses: Addresses::new(worker),
            subscribers: Subscribers::new(subscribers, seed),
            pools: Vec::new(),
            ids: Vec::new(),
            by_address: HashMap::new(),
            // Makes room as blocks begin to rest.
            rest: Wheel::for_timers(0),
            worker,
        }
    }

    /// These are all pools there are now.
    pub(crate) fn prepare(&mut self, pools: &[Arc<Pool>]) {
        for state in &mut self.pools {
            state.current = false;
        }
        for pool in pools {
            self.attach(pool);
        }
        let slots: std::collections::HashSet<u32> =
            self.pools.iter().filter(|p| p.current).flat_map(|p| p.slots.iter().copied()).collect();
        self.addresses.retain(|slot| slots.contains(&slot));
        let addresses = &self.addresses;
        self.by_address.retain(|_, slot| addresses.get(*slot).is_some());
    }

    /// Number of a pool, made ready if it is new or has changed.
    pub(crate) fn attach(&mut self, pool: &Arc<Pool>) -> u32 {
        let known = self.ids.iter().position(|id| *id == pool.id);
        if let Some(at) = known
            && let Some(state) = self.pools.get_mut(at)
            && Arc::ptr_eq(&state.pool, pool)
        {
            state.current = true;
            return at as u32;
        }
        let at = known.or_else(|| self.pools.iter().position(|p| !p.current && p.usage.subscribers == 0));
        let number = at.unwrap_or(self.pools.len()) as u32;
        let mut slots = Vec::with_capacity(pool.addresses.len());
        for outside in &pool.addresses {
            let held = self.by_address.get(&outside.address).copied();
            let slot = self.addresses.attach(held, outside.address, &outside.leases, number);
            self.by_address.insert(outside.address, slot);
            slots.push(slot);
        }
        let usage = known.and_then(|k| self.pools.get(k)).map(|p| p.usage).unwrap_or_default();
        let state = PoolState { pool: pool.clone(), slots, usage, current: true };
        match at.and_then(|at| Some((self.pools.get_mut(at)?, self.ids.get_mut(at)?))) {
            Some((place, id)) => (*place, *id) = (state, pool.id),
            None => {
                self.pools.push(state);
                self.ids.push(pool.id);
            }
        }
        number
    }

    pub(crate) fn pool(&self, number: u32) -> Option<&PoolState> {
        self.pools.get(number as usize)
    }

    pub(crate) fn pool_mut(&mut self, number: u32) -> Option<&mut PoolState> {
        self.pools.get_mut(number as usize)
    }

    pub(crate) fn usage(&self, id: PoolId) -> PoolUsage {
        self.pools.iter().find(|p| p.pool.id == id).map(|p| p.usage).unwrap_or_default()
    }

    /// Counts a session of a subscriber in its pool: one more, or one fewer.
    pub(crate) fn count_session(&mut self, subscriber: u32, more: bool) {
        let pool = self.subscribers.get(subscriber).map(|s| s.pool as usize);
        if let Some(state) = pool.and_then(|pool| self.pools.get_mut(pool)) {
            let sessions = &mut state.usage.sessions;
            *sessions = if more { sessions.saturating_add(1) } else { sessions.saturating_sub(1) };
        }
    }

    /// Counts a flow refused for want of a port; the pool's identity.
    pub(crate) fn count_shortage(&mut self, pool: u32, reason: PortShortage) -> Option<PoolId> {
        let state = self.pools.get_mut(pool as usize)?;
        state.usage.out_of_ports[reason as usize] += 1;
        Some(state.pool.id)
    }

    /// Number of an outside address.
    pub(crate) fn slot(&self, address: Ipv4Addr) -> Option<u32> {
        self.by_address.get(&address).copied()
    }

    /// The block that holds a port which `kind` uses here. Right after a change of layout an address may be
    /// known twice; then the block is where the port is in use.
    pub(crate) fn leased_block(&self, address: Ipv4Addr, port: u16, kind: Ported) -> Option<BlockId> {
        let used = |slot| {
            let (block, offset) = self.addresses.locate(slot, port)?;
            self.addresses.is_used(block, kind, offset).then_some(block)
        };
        self.slot(address).and_then(used).or_else(|| {
            self.addresses.slots().filter(|(_, a)| *a == address).find_map(|(slot, _)| used(slot))
        })
    }

    /// The subscriber's record, made if need be. `None` when there is no room for it.
    pub(crate) fn subscriber(&mut self, pool: u32, address: Ipv4Addr, now: Tick) -> Option<u32> {
        if let Some(known) = self.subscribers.find(pool, address) {
            return Some(known);
        }
        let state = self.pools.get_mut(pool as usize)?;
        let id = self.subscribers.add(pool, address, &state.pool.settings.quotas, now)?;
        state.usage.subscribers += 1;
        Some(id)
    }

    /// Forgets a subscriber that has nothing.
    pub(crate) fn forget_if_idle(&mut self, subscriber: u32) {
        let Some(pool) = self.subscribers.get(subscriber).map(|s| s.pool) else { return };
        if self.subscribers.forget_if_idle(subscriber)
            && let Some(state) = self.pools.get_mut(pool as usize)
        {
            state.usage.subscribers -= 1;
        }
    }

    /// The subscriber's paired address, while it is in the pool.
    pub(crate) fn paired(&self, subscriber: u32) -> Option<u32> {
        let s = self.subscribers.get(subscriber)?;
        let slot = (s.paired != NIL).then_some(s.paired)?;
        self.addresses.get(slot).filter(|a| a.pool == s.pool).map(|_| slot)
    }

    /// Pairs a subscriber that has no address yet.
    pub(crate) fn pair(&mut self, subscriber: u32, slot: u32) {
        if self.paired(subscriber).is_none()
            && let Some(s) = self.subscribers.get_mut(subscriber)
        {
            s.paired = slot;
        }
    }

    /// How many addresses a pool has.
    pub(crate) fn addresses_of(&self, pool: u32) -> usize {
        self.pools.get(pool as usize).map_or(0, |p| p.slots.len())
    }

    /// The `i`th of the pool's addresses from the drawn one on, cyclically.
    pub(crate) fn slot_from(&self, pool: u32, draws: Draws, i: usize) -> Option<u32> {
        let slots = &self.pools.get(pool as usize)?.slots;
        slots.get((draws.address(slots.len()) + i).checked_rem(slots.len())?).copied()
    }

    /// A subscriber's blocks, the newest first.
    pub(crate) fn blocks(&self, subscriber: u32) -> impl Iterator<Item = BlockId> + '_ {
        let newest = self.subscribers.get(subscriber).map_or(NIL, |s| s.newest);
        std::iter::successors((newest != NIL).then_some(BlockId(newest)), |id| {
            let older = self.addresses.block(*id)?.older;
            (older != NIL).then_some(BlockId(older))
        })
    }

    /// Step 1: a free port of the subscriber's own blocks.
    pub(crate) fn take_own(
        &mut self,
        subscriber: u32,
        kind: Ported,
        which: Which,
        draws: Draws,
    ) -> Option<Taken> {
        let pool = self.subscribers.get(subscriber)?.pool;
        let (block, offset) = self.blocks(subscriber).find_map(|id| {
            let held = self.addresses.get(id.slot())?;
            if !which.allows(id.slot()) || held.pool != pool {
                return None;
            }
            let start = draws.port(self.addresses.size(id.slot()));
            self.addresses.first_free(id, kind, start).map(|offset| (id, offset))
        })?;
        Some(self.take(subscriber, block, kind, offset))
    }

    /// Step 2: a port of a new block. `bounded`: under the rules for subscribers.
    pub(crate) fn take_new(
        &mut self,
        subscriber: u32,
        kind: Ported,
        which: Which,
        bounded: bool,
        draws: Draws,
    ) -> Result<Taken, PortShortage> {
        let Some(s) = self.subscribers.get(subscriber).copied() else { return Err(PortShortage::PoolFull) };
        let Some(state) = self.pools.get(s.pool as usize) else { return Err(PortShortage::PoolFull) };
        if bounded {
            let most = u32::from(state.pool.settings.max_blocks);
            if most != 0 && s.blocks >= most {
                return Err(PortShortage::MaxBlocks);
            }
            if s.blocks > 0 && state.pool.usage().newcomers_only() {
                return Err(PortShortage::KeptForNewcomers);
            }
        }
        let leased = (0..state.slots.len()).find_map(|i| {
            let slot = self.slot_from(s.pool, draws, i).filter(|slot| which.allows(*slot))?;
            let blocks = self.addresses.get(slot)?.leases.layout().blocks();
            self.addresses.lease(slot, draws.block(blocks), subscriber)
        });
        let Some(id) = leased else { return Err(PortShortage::PoolFull) };
        self.pair(subscriber, id.slot());
        if let Some(block) = self.addresses.block_mut(id) {
            block.older = s.newest;
        }
        if s.newest != NIL
            && let Some(older) = self.addresses.block_mut(BlockId(s.newest))
        {
            older.newer = id.0;
        }
        if let Some(s) = self.subscribers.get_mut(subscriber) {
            s.newest = id.0;
            s.blocks += 1;
        }
        if let Some(state) = self.pools.get_mut(s.pool as usize) {
            state.usage.blocks += 1;
        }
        let start = draws.port(self.addresses.size(id.slot()));
        match self.addresses.first_free(id, kind, start) {
            Some(offset) => Ok(self.take(subscriber, id, kind, offset)),
            None => Err(PortShortage::PoolFull),
        }
    }

    /// A certain port, if it is free.
    pub(crate) fn take_exact(
        &mut self,
        subscriber: u32,
        kind: Ported,
        block: BlockId,
        port: u16,
    ) -> Option<Taken> {
        let (block, offset) = self.addresses.locate(block.slot(), port).filter(|(id, _)| *id == block)?;
        (!self.addresses.is_taken(block, kind, offset)).then(|| self.take(subscriber, block, kind, offset))
    }

    fn take(&mut self, subscriber: u32, block: BlockId, kind: Ported, offset: u16) -> Taken {
        if self.addresses.take(block, kind, offset) {
            self.rest.remove(&mut self.addresses, block.0);
        }
        if let Some(s) = self.subscribers.get_mut(subscriber) {
            s.ports += 1;
            if let Some(ports) =
                self.pools.get_mut(s.pool as usize).and_then(|p| p.usage.ports.get_mut(kind as usize))
            {
                *ports += 1;
            }
        }
        Taken { block, port: self.addresses.port(block, offset) }
    }

    /// Frees a port. An emptied block rests (RFC 6888 REQ-8).
    pub(crate) fn give(&mut self, kind: Ported, taken: Taken, now: Tick) {
        let Some((_, offset)) = self.addresses.locate(taken.block.slot(), taken.port) else { return };
        let Some(subscriber) = self.addresses.block(taken.block).map(|b| b.subscriber) else { return };
        let Some(s) = self.subscribers.get_mut(subscriber) else { return };
        s.ports = s.ports.saturating_sub(1);
        let Some(state) = self.pools.get_mut(s.pool as usize) else { return };
        if let Some(ports) = state.usage.ports.get_mut(kind as usize) {
            *ports = ports.saturating_sub(1);
        }
        let rest = state.pool.settings.port_rest;
        if self.addresses.give(taken.block, kind, offset, now + rest) {
            self.rest.insert(&mut self.addresses, taken.block.0);
        }
    }

    /// The lease of an empty block goes back.
    fn drop_block(&mut self, id: BlockId) {
        let Some(block) = self.addresses.block(id).copied() else { return };
        let Some(s) = self.subscribers.get_mut(block.subscriber) else { return };
        s.blocks = s.blocks.saturating_sub(1);
        if s.newest == id.0 {
            s.newest = block.older;
        }
        if let Some(state) = self.pools.get_mut(s.pool as usize) {
            state.usage.blocks = state.usage.blocks.saturating_sub(1);
        }
        if block.older != NIL
            && let Some(older) = self.addresses.block_mut(BlockId(block.older))
        {
            older.newer = block.newer;
        }
        if block.newer != NIL
            && let Some(newer) = self.addresses.block_mut(BlockId(block.newer))
        {
            newer.older = block.older;
        }
        self.addresses.give_back(id);
        self.forget_if_idle(block.subscriber);
    }

    /// One step of giving back what has rested; false when nothing is due.
    pub(crate) fn expire_step(&mut self, now: Tick) -> bool {
        match self.rest.step(&mut self.addresses, now) {
            Step::Due(id) => {
                self.drop_block(BlockId(id));
                true
            }
            Step::Moved => true,
            Step::Idle => false,
        }
    }

    pub(crate) const fn worker(&self) -> WorkerId {
        self.worker
    }

    pub(crate) fn bytes(&self) -> usize {
        self.addresses.bytes() + self.subscribers.bytes() + self.rest.bytes()
    }
}
