//! Outside ports of the reference. It never chooses: it is told what the gateway chose and says
//! whether that was allowed, and when the gateway found nothing, whether there was nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::{FilteringBehavior, PoolingBehavior};
use wire::{Endpoint, Protocol};

/// Has the protocol ports, or query ids?
pub(super) fn ported(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMP)
}

/// Number of a pool, by its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PoolKey(pub(super) u32);

/// What a mapping holds for (RFC 4787 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    /// All remotes.
    Any,
    /// One remote address.
    Address(Ipv4Addr),
    /// One session and those that remotes open on it, by a number: another session towards the
    /// same remote has a mapping of its own.
    Session(u64),
    /// One balanced flow alone, from that client to that VIP: a leased source of full NAT.
    Flow(Endpoint, Endpoint),
}

/// What a mapping is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MappingKey {
    /// Its pool.
    pub(super) pool: PoolKey,
    /// Its protocol.
    pub(super) protocol: Protocol,
    /// The inside end; of full NAT the lessee's address and the client's port.
    pub(super) inside: Endpoint,
    /// For whom it holds.
    pub(super) scope: Scope,
}

/// A mapping.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// The outside end.
    pub(super) outside: Endpoint,
    /// Who may answer; that of the session that made it.
    pub(super) filtering: FilteringBehavior,
    /// Who holds its block.
    pub(super) subscriber: Ipv4Addr,
    /// Its sessions.
    pub(super) sessions: BTreeSet<u64>,
    /// Sessions of other inside ends that share its outside port (RFC 7857 §3).
    pub(super) guests: BTreeSet<u64>,
}

/// A leased block.
#[derive(Clone, Debug)]
struct Block {
    pool: PoolKey,
    subscriber: Ipv4Addr,
    in_use: usize,
    /// When its rest is over, while it is empty.
    due: Option<u32>,
}

/// An inside host as a pool's customer.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriber {
    /// The address its flows leave from.
    pub(super) paired: Option<Ipv4Addr>,
    blocks: BTreeSet<(Ipv4Addr, u16)>,
    ports: u32,
    /// Its sessions.
    pub(super) sessions: u32,
    /// Its half-open TCP sessions.
    pub(super) half_open: u32,
    /// Tenths of new sessions that it may open, and when they were counted.
    pub(super) tokens: (u64, u32),
}

impl Subscriber {
    /// Has it neither session nor block?
    pub(super) fn is_idle(&self) -> bool {
        self.sessions == 0 && self.blocks.is_empty()
    }
}

/// What a choice is judged by.
pub(super) struct Terms<'a> {
    /// The pool.
    pub(super) pool: PoolKey,
    /// Its addresses.
    pub(super) addresses: &'a [Ipv4Addr],
    /// First and last port.
    pub(super) range: (u16, u16),
    /// Ports of a block.
    pub(super) block_size: u16,
    /// Most blocks of a subscriber; 0: no bound.
    pub(super) max_blocks: usize,
    /// May this port of this address never be handed out?
    pub(super) reserved: &'a dyn Fn(Ipv4Addr, u16) -> bool,
    /// How addresses are chosen.
    pub(super) pooling: PoolingBehavior,
    /// Ticks that an emptied block rests.
    pub(super) rest: u32,
    /// The rules for subscribers bound it; not so the gateway's own flows (full NAT).
    pub(super) bounded: bool,
}

impl Terms<'_> {
    fn allows(&self, address: Ipv4Addr, port: u16) -> bool {
        self.addresses.contains(&address)
            && self.range.0 <= port
            && port <= self.range.1
            && !(self.reserved)(address, port)
    }

    fn block_of(&self, port: u16) -> u16 {
        port / self.block_size
    }

    fn ports_of(&self, block: u16) -> impl Iterator<Item = u16> {
        let start = u32::from(block) * u32::from(self.block_size);
        (start..start + u32::from(self.block_size)).filter_map(|p| u16::try_from(p).ok())
    }

    /// Blocks of an address that have a port to hand out.
    fn usable(&self, address: Ipv4Addr) -> impl Iterator<Item = u16> + '_ {
        let (first, last) = (self.block_of(self.range.0), self.block_of(self.range.1));
        (first..=last).filter(move |b| self.ports_of(*b).any(|p| self.allows(address, p)))
    }
}

/// Ports, blocks, mappings and subscribers.
#[derive(Debug, Default)]
pub(super) struct Ports {
    mappings: BTreeMap<MappingKey, Mapping>,
    by_outside: BTreeMap<(Protocol, Endpoint), BTreeSet<MappingKey>>,
    blocks: BTreeMap<(Ipv4Addr, u16), Block>,
    subscribers: BTreeMap<(PoolKey, Ipv4Addr), Subscriber>,
    /// Rest time and block size of each pool.
    settings: BTreeMap<PoolKey, (u32, u16)>,
}

impl Ports {
    /// A mapping.
    pub(super) fn mapping(&self, key: &MappingKey) -> Option<&Mapping> {
        self.mappings.get(key)
    }

    /// Mappings at an outside endpoint.
    pub(super) fn at(
        &self,
        protocol: Protocol,
        outside: Endpoint,
    ) -> impl Iterator<Item = (&MappingKey, &Mapping)> {
        let keys = self.by_outside.get(&(protocol, outside));
        keys.into_iter().flatten().filter_map(|k| self.mappings.get(k).map(|m| (k, m)))
    }

    /// A subscriber's record.
    pub(super) fn subscriber(&mut self, pool: PoolKey, address: Ipv4Addr) -> &mut Subscriber {
        self.subscribers.entry((pool, address)).or_default()
    }

    /// Is the port in a leased block (of whomever)?
    pub(super) fn is_leased(&self, address: Ipv4Addr, port: u16) -> bool {
        self.blocks.iter().any(|((a, block), b)| {
            let size = self.settings.get(&b.pool).map_or(1, |(_, size)| (*size).max(1));
            *a == address && *block == port / size
        })
    }

    /// Is the port in use?
    pub(super) fn used(&self, protocol: Protocol, at: Endpoint) -> bool {
        self.by_outside.contains_key(&(protocol, at))
    }

    /// Has this block a port to hand out for `protocol`?
    fn has_free(&self, terms: &Terms, protocol: Protocol, (address, block): (Ipv4Addr, u16)) -> bool {
        terms
            .ports_of(block)
            .any(|p| terms.allows(address, p) && !self.used(protocol, Endpoint::new(address, p)))
    }

    fn may_lease(&self, terms: &Terms, subscriber: &Subscriber) -> bool {
        if !terms.bounded {
            return true;
        }
        if terms.max_blocks != 0 && subscriber.blocks.len() >= terms.max_blocks {
            return false;
        }
        if subscriber.blocks.is_empty() {
            return true;
        }
        // Under a quarter of the blocks free: they are kept for newcomers.
        let all: usize = terms.addresses.iter().map(|a| terms.usable(*a).count()).sum();
        let leased = self.blocks.keys().filter(|(a, _)| terms.addresses.contains(a)).count();
        all.saturating_sub(leased) * 4 >= all
    }

    /// The paired address of a subscriber, while it is in the pool.
    fn paired(&self, terms: &Terms, who: Ipv4Addr) -> Option<Ipv4Addr> {
        let paired = self.subscribers.get(&(terms.pool, who))?.paired?;
        terms.addresses.contains(&paired).then_some(paired)
    }

    /// Mappings of a subscriber.
    pub(super) fn of(&self, pool: PoolKey, who: Ipv4Addr) -> impl Iterator<Item = (&MappingKey, &Mapping)> {
        self.mappings.iter().filter(move |(k, m)| k.pool == pool && m.subscriber == who)
    }

    /// Is there no port under steps 1 and 2 where they look before others' ports are taken?
    pub(super) fn exhausted(&self, terms: &Terms, who: Ipv4Addr, protocol: Protocol) -> bool {
        let paired = self.paired(terms, who).filter(|_| terms.pooling != PoolingBehavior::Arbitrary);
        self.source(terms, who, protocol, &|a| paired.is_none_or(|p| p == a)).is_none()
    }

    /// Where a port may come from under steps 1 and 2 for addresses that `which` admits: `Some(true)` from
    /// an own block, `Some(false)` from a new one, `None` from nowhere.
    fn source(
        &self,
        terms: &Terms,
        who: Ipv4Addr,
        protocol: Protocol,
        which: &dyn Fn(Ipv4Addr) -> bool,
    ) -> Option<bool> {
        let none = Subscriber::default();
        let subscriber = self.subscribers.get(&(terms.pool, who)).unwrap_or(&none);
        let own = |b: &&(Ipv4Addr, u16)| which(b.0) && self.has_free(terms, protocol, **b);
        if subscriber.blocks.iter().find(own).is_some() {
            return Some(true);
        }
        let new = || {
            terms
                .addresses
                .iter()
                .filter(|a| which(**a))
                .any(|a| terms.usable(*a).any(|b| !self.blocks.contains_key(&(*a, b))))
        };
        (self.may_lease(terms, subscriber) && new()).then_some(false)
    }

    /// Judges a choice that the gateway made for `who`: its port, or `None` for "there is none".
    pub(super) fn judge(
        &self,
        terms: &Terms,
        who: Ipv4Addr,
        protocol: Protocol,
        chosen: Option<Endpoint>,
    ) -> Result<(), String> {
        let paired = self.paired(terms, who);
        let strict = terms.pooling != PoolingBehavior::Arbitrary;
        let near = |a: Ipv4Addr| !strict || paired.is_none_or(|p| p == a);
        let far = |a: Ipv4Addr| !near(a);
        let stays = terms.pooling == PoolingBehavior::PairedStrict;
        if let Some(port) = chosen.filter(|c| stays && far(c.address)) {
            return Err(format!("{port} is not on {who}'s only address"));
        }
        let Some(port) = chosen else {
            let more = terms.pooling == PoolingBehavior::Paired;
            let found = self.source(terms, who, protocol, &near).is_some()
                || (more && self.source(terms, who, protocol, &far).is_some());
            return if found { Err(format!("{who} was refused a port while one was free")) } else { Ok(()) };
        };
        if !terms.allows(port.address, port.port) {
            return Err(format!("{port} is not the pool's to hand out"));
        }
        if self.used(protocol, port) {
            return Err(format!("{port} is in use for {protocol}"));
        }
        let block = (port.address, terms.block_of(port.port));
        let own = match self.blocks.get(&block) {
            Some(b) if b.subscriber == who && b.pool == terms.pool => true,
            Some(b) => return Err(format!("{port} lies in a block of {}, not of {who}", b.subscriber)),
            None => false,
        };
        let which: &dyn Fn(Ipv4Addr) -> bool = if near(port.address) { &near } else { &far };
        if own && near(port.address) {
            return Ok(());
        }
        if !near(port.address) && self.source(terms, who, protocol, &near).is_some() {
            return Err(format!("{port} is not on {who}'s paired address, where a port was free"));
        }
        match self.source(terms, who, protocol, which) {
            Some(from_own) if from_own == own => Ok(()),
            Some(true) => Err(format!("{port} opens a block while an own one had a port")),
            _ => Err(format!("{port} lies in a block that {who} may not lease")),
        }
    }

    /// Makes a mapping on a port that was judged.
    pub(super) fn map(
        &mut self,
        terms: &Terms,
        who: Ipv4Addr,
        key: MappingKey,
        outside: Endpoint,
        filtering: FilteringBehavior,
    ) {
        self.settings.insert(terms.pool, (terms.rest, terms.block_size));
        if !ported(key.protocol) {
            let paired = self.paired(terms, who);
            let subscriber = self.subscribers.entry((terms.pool, who)).or_default();
            subscriber.paired = paired.or(Some(outside.address));
        } else {
            let at = (outside.address, terms.block_of(outside.port));
            let block = self.blocks.entry(at).or_insert(Block {
                pool: terms.pool,
                subscriber: who,
                in_use: 0,
                due: None,
            });
            let fresh = !self.by_outside.contains_key(&(key.protocol, outside));
            block.in_use += usize::from(fresh);
            block.due = None;
            let paired = self.paired(terms, who);
            let subscriber = self.subscribers.entry((terms.pool, who)).or_default();
            subscriber.ports += u32::from(fresh);
            if subscriber.blocks.insert(at) && paired.is_none() {
                subscriber.paired = Some(outside.address);
            }
        }
        self.by_outside.entry((key.protocol, outside)).or_default().insert(key);
        let (sessions, guests) = (BTreeSet::new(), BTreeSet::new());
        self.mappings.insert(key, Mapping { outside, filtering, subscriber: who, sessions, guests });
    }

    /// A session stands on a mapping.
    pub(super) fn hold(&mut self, key: &MappingKey, session: u64) {
        if let Some(m) = self.mappings.get_mut(key) {
            m.sessions.insert(session);
        }
    }

    /// A session shares a mapping's outside port.
    pub(super) fn share(&mut self, key: &MappingKey, session: u64) {
        if let Some(m) = self.mappings.get_mut(key) {
            m.guests.insert(session);
        }
    }

    /// A session of a mapping ended; with the last one the mapping goes.
    pub(super) fn leave(&mut self, key: &MappingKey, session: u64, now: u32) {
        let Some(m) = self.mappings.get_mut(key) else { return };
        m.sessions.remove(&session);
        m.guests.remove(&session);
        if !m.sessions.is_empty() || !m.guests.is_empty() {
            return;
        }
        let (outside, who) = (m.outside, m.subscriber);
        self.mappings.remove(key);
        let at = (key.protocol, outside);
        let Some(here) = self.by_outside.get_mut(&at) else { return };
        here.remove(key);
        if !here.is_empty() {
            return;
        }
        self.by_outside.remove(&at);
        if !ported(key.protocol) {
            return;
        }
        let (rest, size) = self.settings.get(&key.pool).copied().unwrap_or((0, 1));
        if let Some(s) = self.subscribers.get_mut(&(key.pool, who)) {
            s.ports = s.ports.saturating_sub(1);
        }
        if let Some(block) = self.blocks.get_mut(&(outside.address, outside.port / size.max(1))) {
            block.in_use = block.in_use.saturating_sub(1);
            if block.in_use == 0 {
                block.due = Some(now + rest);
            }
        }
        self.rest(now);
    }

    /// Gives blocks back whose rest is over.
    pub(super) fn rest(&mut self, now: u32) {
        let over: Vec<_> =
            self.blocks.iter().filter(|(_, b)| b.due.is_some_and(|d| d <= now)).map(|(k, _)| *k).collect();
        for at in over {
            let Some(block) = self.blocks.remove(&at) else { continue };
            if let Some(s) = self.subscribers.get_mut(&(block.pool, block.subscriber)) {
                s.blocks.remove(&at);
            }
            self.forget(block.pool, block.subscriber);
        }
    }

    /// Forgets a subscriber that has neither session nor block.
    pub(super) fn forget(&mut self, pool: PoolKey, who: Ipv4Addr) {
        if self.subscribers.get(&(pool, who)).is_some_and(Subscriber::is_idle) {
            self.subscribers.remove(&(pool, who));
        }
    }

    /// Ports that a subscriber holds.
    pub(super) fn ports_of(&self, pool: PoolKey, who: Ipv4Addr) -> u32 {
        self.subscribers.get(&(pool, who)).map_or(0, |s| s.ports)
    }

    /// A pool's settings changed.
    pub(super) fn configure(&mut self, pool: PoolKey, rest: u32, block_size: u16) {
        self.settings.insert(pool, (rest, block_size));
    }
}
