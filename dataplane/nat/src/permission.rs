//! Which remote addresses were sent to through a mapping that has several sessions (RFC 4787 §5).

use std::net::Ipv4Addr;

use mem::{Array, plain_struct};

use crate::index::{Full, Index, KeyHash, Seed};
use crate::wheel::NIL;

#[derive(Clone, Copy, Default)]
struct Permission {
    mapping: u32,
    remote: u32,
    /// Sessions; of a free record 0.
    sessions: u32,
    /// Next free.
    next: u32,
}

plain_struct!(Permission { mapping: u32, remote: u32, sessions: u32, next: u32 });

/// Sessions by mapping and remote address.
pub(crate) struct Permissions {
    records: Array<Permission>,
    index: Index,
    seed: Seed,
    free: u32,
    used: u32,
}

impl Permissions {
    pub(crate) fn new(limit: u32, seed: Seed) -> Self {
        let n = limit as usize;
        Permissions { records: Array::zeroed(n), index: Index::for_entries(n), seed, free: NIL, used: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.bytes() + self.index.bytes()
    }

    /// Remote address of a permission.
    pub(crate) fn remote(&self, number: u32) -> Option<Ipv4Addr> {
        self.records.get(number as usize).map(|p| Ipv4Addr::from_bits(p.remote))
    }

    fn hash(seed: Seed, mapping: u32, remote: u32) -> KeyHash {
        seed.hash(u64::from(mapping) << 32 | u64::from(remote), 3 << 40)
    }

    /// The permission of a remote address on a mapping.
    pub(crate) fn find(&self, mapping: u32, remote: Ipv4Addr) -> Option<u32> {
        let remote = remote.to_bits();
        self.index.find(Self::hash(self.seed, mapping, remote), |e| {
            self.records
                .get(e as usize)
                .is_some_and(|p| p.sessions > 0 && p.mapping == mapping && p.remote == remote)
        })
    }

    /// Counts one more session towards `remote`; the permission's number.
    pub(crate) fn permit(&mut self, mapping: u32, remote: Ipv4Addr) -> Result<u32, Full> {
        if let Some(known) = self.find(mapping, remote) {
            if let Some(p) = self.records.get_mut(known as usize) {
                p.sessions = p.sessions.saturating_add(1);
            }
            return Ok(known);
        }
        let at = if self.free != NIL { self.free } else { self.used };
        let slot = self.records.get_mut(at as usize).ok_or(Full)?;
        let next_free = slot.next;
        let remote = remote.to_bits();
        let (records, seed) = (&self.records, self.seed);
        self.index.insert(Self::hash(seed, mapping, remote), at, |e| {
            records.get(e as usize).map_or(KeyHash(0), |p| Self::hash(seed, p.mapping, p.remote))
        })?;
        if let Some(slot) = self.records.get_mut(at as usize) {
            *slot = Permission { mapping, remote, sessions: 1, next: NIL };
        }
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.used += 1;
        }
        Ok(at)
    }

    /// Counts one session fewer.
    pub(crate) fn forbid(&mut self, mapping: u32, remote: Ipv4Addr) {
        let Some(at) = self.find(mapping, remote) else { return };
        let Some(p) = self.records.get_mut(at as usize) else { return };
        p.sessions -= 1;
        if p.sessions == 0 {
            p.next = self.free;
            self.free = at;
            self.index.remove(Self::hash(self.seed, mapping, remote.to_bits()), at);
        }
    }
}
