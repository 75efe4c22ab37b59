//! Mappings between inside and outside endpoints (RFC 4787 §4.1), and who may use them from outside (§5).
//!
//! A mapping lives as long as it has sessions. It holds one outside port; its inside address is that of
//! the block's subscriber. It is found by its outside endpoint, and by its inside endpoint (for
//! address-dependent ones: and the remote address) unless it is address-and-port-dependent,
//! whose only key is its session's.
//!
//! Filtering asks one question of a remote without a session: was anything sent to its address
//! through this mapping? While a mapping has one session that is that session's remote; from
//! the second on, remote addresses are counted in a table of permissions.

use std::net::Ipv4Addr;

use mem::{Array, plain_struct};

use crate::blocks::{BlockId, Ported};
use crate::index::{Full, Index, KeyHash, Seed};
use crate::permission::Permissions;
use crate::pool::{FilteringBehavior, MappingBehavior};
use crate::units::SessionId;
use crate::wheel::NIL;

/// Number of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MappingId(pub(crate) u32);

/// What a mapping is, in one octet: protocol, mapping, filtering, whether permissions are counted.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Traits(u8);

impl Traits {
    const COUNTED: u8 = 1 << 6;
    const LIVE: u8 = 1 << 7;

    const fn new(kind: Ported, mapping: MappingBehavior, filtering: FilteringBehavior) -> Self {
        Traits(kind as u8 | (mapping as u8) << 2 | (filtering as u8) << 4 | Self::LIVE)
    }

    const fn kind(self) -> Ported {
        match self.0 & 3 {
            0 => Ported::Tcp,
            1 => Ported::Udp,
            _ => Ported::Icmp,
        }
    }

    const fn mapping(self) -> MappingBehavior {
        match self.0 >> 2 & 3 {
            0 => MappingBehavior::EndpointIndependent,
            1 => MappingBehavior::AddressDependent,
            _ => MappingBehavior::AddressAndPortDependent,
        }
    }

    const fn filtering(self) -> FilteringBehavior {
        match self.0 >> 4 & 3 {
            0 => FilteringBehavior::EndpointIndependent,
            1 => FilteringBehavior::AddressDependent,
            _ => FilteringBehavior::AddressAndPortDependent,
        }
    }
}

/// Sixteen octets.
#[derive(Clone, Copy, Default)]
struct Record {
    inside_port: u16,
    outside_port: u16,
    block: u32,
    /// Sessions in the low 24 bits, traits above.
    uses: u32,
    /// While permissions are not counted, its own session; of a free record the next free one.
    sole: u32,
}

plain_struct!(Record { inside_port: u16, outside_port: u16, block: u32, uses: u32, sole: u32 });

/// Octets of a mapping.
#[cfg(test)]
pub(crate) const RECORD: usize = size_of::<Record>();

const USES: u32 = (1 << 24) - 1;

impl Record {
    const fn traits(&self) -> Traits {
        Traits((self.uses >> 24) as u8)
    }

    const fn has(&self, bit: u8) -> bool {
        self.traits().0 & bit != 0
    }

    /// Are its remotes' addresses counted once it has two sessions?
    const fn counts_remotes(&self) -> bool {
        matches!(self.traits().mapping(), MappingBehavior::AddressDependent)
            || matches!(self.traits().filtering(), FilteringBehavior::AddressDependent)
    }
}

/// A mapping, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) kind: Ported,
    pub(crate) inside_port: u16,
    pub(crate) outside_port: u16,
    pub(crate) block: BlockId,
    pub(crate) behavior: MappingBehavior,
    pub(crate) filtering: FilteringBehavior,
    pub(crate) sessions: u32,
}

/// Key of a mapping from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InsideKey {
    pub(crate) subscriber: u32,
    pub(crate) port: u16,
    pub(crate) kind: Ported,
    pub(crate) behavior: MappingBehavior,
    /// Of address-dependent ones; else unspecified.
    pub(crate) remote: Ipv4Addr,
}

pub(crate) struct Mappings {
    records: Array<Record>,
    /// `mapping << 1`, + 1 for the key from outside.
    index: Index,
    permissions: Permissions,
    seed: Seed,
    free: u32,
    used: u32,
    live: u32,
}

/// What a mapping refers to and does not hold itself.
pub(crate) trait Context {
    /// Subscriber and outside address of a block.
    fn block(&self, block: BlockId) -> Option<(u32, Ipv4Addr)>;
    /// Remote address of a session.
    fn remote(&self, session: SessionId) -> Option<Ipv4Addr>;
}

/// What the hash of an index entry is computed from.
#[derive(Clone, Copy)]
struct Known<'a> {
    records: &'a [Record],
    permissions: &'a Permissions,
    seed: Seed,
}

impl Known<'_> {
    fn record(self, id: MappingId) -> Option<Record> {
        self.records.get(id.0 as usize).filter(|r| r.has(Traits::LIVE)).copied()
    }

    fn inside_key(self, id: MappingId, context: &impl Context) -> Option<InsideKey> {
        let r = self.record(id)?;
        let (subscriber, _) = context.block(BlockId(r.block))?;
        let traits = r.traits();
        let remote = match traits.mapping() {
            MappingBehavior::EndpointIndependent => Ipv4Addr::UNSPECIFIED,
            // All its sessions go to one address, counted in the one permission that `sole` names.
            MappingBehavior::AddressDependent if r.has(Traits::COUNTED) => self.permissions.remote(r.sole)?,
            MappingBehavior::AddressDependent => context.remote(SessionId(r.sole))?,
            MappingBehavior::AddressAndPortDependent => return None,
        };
        let (kind, behavior) = (traits.kind(), traits.mapping());
        Some(InsideKey { subscriber, port: r.inside_port, kind, behavior, remote })
    }

    fn entry_hash(self, entry: u32, context: &impl Context) -> KeyHash {
        let id = MappingId(entry >> 1);
        let hash = if entry & 1 == 0 {
            self.inside_key(id, context).map(|key| Mappings::inside_hash(self.seed, &key))
        } else {
            self.record(id).and_then(|r| {
                let (_, address) = context.block(BlockId(r.block))?;
                Some(Mappings::outside_hash(self.seed, address, r.outside_port, r.traits().kind()))
            })
        };
        hash.unwrap_or(KeyHash(0))
    }
}

impl Mappings {
    pub(crate) fn new(limit: u32, seed: Seed) -> Self {
        let n = limit as usize;
        Mappings {
            records: Array::zeroed(n),
            index: Index::for_entries(2 * n),
            permissions: Permissions::new(limit, seed),
            seed,
            free: NIL,
            used: 0,
            live: 0,
        }
    }

    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.bytes() + self.index.bytes() + self.permissions.bytes()
    }

    fn record(&self, id: MappingId) -> Option<&Record> {
        self.records.get(id.0 as usize).filter(|r| r.has(Traits::LIVE))
    }

    pub(crate) fn get(&self, id: MappingId) -> Option<Mapping> {
        let r = self.record(id)?;
        Some(Mapping {
            kind: r.traits().kind(),
            inside_port: r.inside_port,
            outside_port: r.outside_port,
            block: BlockId(r.block),
            behavior: r.traits().mapping(),
            filtering: r.traits().filtering(),
            sessions: r.uses & USES,
        })
    }

    /// Brings near what [`Mappings::add`] writes first for this outside endpoint.
    #[inline]
    pub(crate) fn prefetch_outside(&self, address: Ipv4Addr, port: u16, kind: Ported) {
        self.index.prefetch(Self::outside_hash(self.seed, address, port, kind));
    }

    fn inside_hash(seed: Seed, key: &InsideKey) -> KeyHash {
        let remote = u64::from(key.remote.to_bits());
        let rest = u64::from(key.port) | (key.kind as u64) << 16 | (key.behavior as u64) << 18 | 1 << 40;
        seed.hash(u64::from(key.subscriber) << 32 | remote, rest)
    }

    fn outside_hash(seed: Seed, address: Ipv4Addr, port: u16, kind: Ported) -> KeyHash {
        seed.hash(u64::from(address.to_bits()), u64::from(port) | (kind as u64) << 16 | 2 << 40)
    }

    fn known(&self) -> Known<'_> {
        Known { records: &self.records, permissions: &self.permissions, seed: self.seed }
    }

    /// The key that a record was stored under from inside.
    fn inside_key(&self, id: MappingId, context: &impl Context) -> Option<InsideKey> {
        self.known().inside_key(id, context)
    }

    /// Brings near a mapping's record.
    #[inline]
    pub(crate) fn prefetch(&self, id: MappingId) {
        self.records.prefetch(id.0 as usize);
    }

    /// Brings near where [`Mappings::leave`] finds a mapping by its keys.
    pub(crate) fn prefetch_keys(&self, id: MappingId, context: &impl Context) {
        for side in [0, 1] {
            self.index.prefetch(self.known().entry_hash(id.0 << 1 | side, context));
        }
    }

    /// Brings near where [`Mappings::by_inside`] looks first.
    #[inline]
    pub(crate) fn prefetch_inside(&self, key: &InsideKey) {
        self.index.prefetch(Self::inside_hash(self.seed, key));
    }

    /// The mapping of an inside endpoint. Not for address-and-port-dependent ones.
    pub(crate) fn by_inside(&self, key: &InsideKey, context: &impl Context) -> Option<MappingId> {
        let entry = self.index.find(Self::inside_hash(self.seed, key), |entry| {
            // Most others differ in what needs no look at their block.
            entry & 1 == 0
                && self.record(MappingId(entry >> 1)).is_some_and(|r| r.inside_port == key.port)
                && self.inside_key(MappingId(entry >> 1), context).as_ref() == Some(key)
        })?;
        Some(MappingId(entry >> 1))
    }

    /// The mapping of an outside endpoint.
    pub(crate) fn by_outside(
        &self,
        address: Ipv4Addr,
        port: u16,
        kind: Ported,
        context: &impl Context,
    ) -> Option<MappingId> {
        let entry = self.index.find(Self::outside_hash(self.seed, address, port, kind), |entry| {
            entry & 1 == 1
                && self.record(MappingId(entry >> 1)).is_some_and(|r| {
                    r.outside_port == port
                        && r.traits().kind() == kind
                        && context.block(BlockId(r.block)).is_some_and(|b| b.1 == address)
                })
        })?;
        Some(MappingId(entry >> 1))
    }

    /// Makes a mapping for its first session, which `context` knows already.
    pub(crate) fn add(
        &mut self,
        key: &InsideKey,
        outside_port: u16,
        block: BlockId,
        filtering: FilteringBehavior,
        session: SessionId,
        context: &impl Context,
    ) -> Result<MappingId, Full> {
        let id = MappingId(if self.free != NIL { self.free } else { self.used });
        let (_, address) = context.block(block).ok_or(Full)?;
        let slot = self.records.get_mut(id.0 as usize).ok_or(Full)?;
        let next_free = slot.sole;
        let traits = Traits::new(key.kind, key.behavior, filtering);
        *slot = Record {
            inside_port: key.port,
            outside_port,
            block: block.0,
            uses: u32::from(traits.0) << 24 | 1,
            sole: session.0,
        };
        let outside = Self::outside_hash(self.seed, address, outside_port, key.kind);
        let by_inside = key.behavior != MappingBehavior::AddressAndPortDependent;
        let mut stored = self.index_entry(outside, id.0 << 1 | 1, context);
        if stored.is_ok() && by_inside {
            stored = self.index_entry(Self::inside_hash(self.seed, key), id.0 << 1, context);
            if stored.is_err() {
                self.index.remove(outside, id.0 << 1 | 1);
            }
        }
        if let Err(full) = stored {
            if let Some(slot) = self.records.get_mut(id.0 as usize) {
                *slot = Record { sole: next_free, ..Record::default() };
            }
            return Err(full);
        }
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.used += 1;
        }
        // The next one comes soon.
        self.records.prefetch(if self.free != NIL { self.free } else { self.used } as usize);
        self.live += 1;
        Ok(id)
    }

    fn index_entry(&mut self, hash: KeyHash, entry: u32, context: &impl Context) -> Result<(), Full> {
        // The index asks for the hashes of others while it moves them.
        let known = Known { records: &self.records, permissions: &self.permissions, seed: self.seed };
        self.index.insert(hash, entry, |e| known.entry_hash(e, context))
    }

    /// One more session on a mapping. `own`: of its inside endpoint, which permits `remote` to answer;
    /// else one that shares its outside port.
    pub(crate) fn join(
        &mut self,
        id: MappingId,
        session: SessionId,
        remote: Ipv4Addr,
        own: bool,
        context: &impl Context,
    ) -> Result<(), Full> {
        let Some(r) = self.record(id).copied() else { return Err(Full) };
        if r.uses & USES == USES {
            return Err(Full);
        }
        let mut now = r;
        if own && r.counts_remotes() {
            if r.has(Traits::COUNTED) {
                self.permissions.permit(id.0, remote)?;
            } else if r.sole == NIL {
                now.sole = session.0;
            } else if let Some(first) = context.remote(SessionId(r.sole)) {
                let counted = self.permissions.permit(id.0, first)?;
                if let Err(full) = self.permissions.permit(id.0, remote) {
                    self.permissions.forbid(id.0, first);
                    return Err(full);
                }
                if r.traits().mapping() == MappingBehavior::AddressDependent {
                    // Its key from inside holds this address as long as it lives, even when the
                    // session that made it ends before one that another remote opened.
                    self.permissions.permit(id.0, first)?;
                }
                now.sole = counted;
                now.uses |= u32::from(Traits::COUNTED) << 24;
            }
        }
        now.uses += 1;
        if let Some(slot) = self.records.get_mut(id.0 as usize) {
            *slot = now;
        }
        Ok(())
    }

    /// One session fewer, of the same `own` and `remote` as it joined with. Gives the mapping that ended with it.
    /// The session is still known to `context`.
    pub(crate) fn leave(
        &mut self,
        id: MappingId,
        session: SessionId,
        remote: Ipv4Addr,
        own: bool,
        context: &impl Context,
    ) -> Option<Mapping> {
        let mapping = self.get(id)?;
        if mapping.sessions <= 1 {
            // Found by its keys, which its last session may be a part of.
            let (_, address) = context.block(mapping.block)?;
            self.index.remove(
                Self::outside_hash(self.seed, address, mapping.outside_port, mapping.kind),
                id.0 << 1 | 1,
            );
            if let Some(key) = self.inside_key(id, context) {
                self.index.remove(Self::inside_hash(self.seed, &key), id.0 << 1);
            }
        }
        let r = self.record(id).copied()?;
        let mut sole = r.sole;
        if own && r.counts_remotes() {
            if r.has(Traits::COUNTED) {
                self.permissions.forbid(id.0, remote);
            } else if sole == session.0 {
                sole = NIL;
            }
        }
        if mapping.sessions <= 1
            && r.has(Traits::COUNTED)
            && mapping.behavior == MappingBehavior::AddressDependent
            && let Some(kept) = self.permissions.remote(r.sole)
        {
            self.permissions.forbid(id.0, kept);
        }
        let slot = self.records.get_mut(id.0 as usize)?;
        if mapping.sessions > 1 {
            slot.sole = sole;
            slot.uses -= 1;
            return None;
        }
        *slot = Record { sole: self.free, ..Record::default() };
        self.free = id.0;
        self.live -= 1;
        Some(mapping)
    }

    /// May `remote`, which has no session on it, send to this mapping (RFC 4787 §5)?
    pub(crate) fn admits(&self, id: MappingId, remote: Ipv4Addr, context: &impl Context) -> bool {
        let Some(r) = self.record(id) else { return false };
        match r.traits().filtering() {
            FilteringBehavior::EndpointIndependent => true,
            FilteringBehavior::AddressDependent if r.has(Traits::COUNTED) => {
                self.permissions.find(id.0, remote).is_some()
            }
            FilteringBehavior::AddressDependent => context.remote(SessionId(r.sole)) == Some(remote),
            // Whoever has address and port sent to has a session.
            FilteringBehavior::AddressAndPortDependent => false,
        }
    }
}
