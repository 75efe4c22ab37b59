//! Inside hosts as customers of a pool: their paired address, blocks and quotas (RFC 6888).
//!
//! A subscriber is known from its first session until it has neither session nor block; its
//! rate of new sessions is forgotten with it.

use std::net::Ipv4Addr;

use mem::{Array, plain_struct};

use crate::blocks::BlockId;
use crate::index::{Index, KeyHash, Seed};
use crate::open::OpenError;
use crate::pool::Quotas;
use crate::units::{SessionId, Tick};
use crate::wheel::NIL;

/// Tokens of one new session: a rate a second is so many tokens a tick.
const SESSION_TOKENS: u64 = 10;

#[derive(Clone, Copy, Default)]
pub(crate) struct Subscriber {
    address: u32,
    /// Number of its pool.
    pub(crate) pool: u32,
    /// Number of the outside address that its flows leave from; `NIL`: none yet.
    pub(crate) paired: u32,
    /// Its newest block; the list goes on to older ones.
    pub(crate) newest: u32,
    pub(crate) blocks: u32,
    pub(crate) ports: u32,
    pub(crate) sessions: u32,
    pub(crate) half_open: u32,
    tokens: u32,
    tokens_at: u32,
    /// Its closed TCP sessions, the longest closed first.
    pub(crate) closed: List,
    live: u32,
}

plain_struct!(Subscriber {
    address: u32,
    pool: u32,
    paired: u32,
    newest: u32,
    blocks: u32,
    ports: u32,
    sessions: u32,
    half_open: u32,
    tokens: u32,
    tokens_at: u32,
    closed: List,
    live: u32,
});

/// First and last of a list linked through the TCP records; all zero: not set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

plain_struct!(List { first: u32, last: u32 });

impl List {
    pub(crate) const EMPTY: List = List { first: NIL, last: NIL };

    pub(crate) fn first(self) -> Option<SessionId> {
        (self.first != NIL).then_some(SessionId(self.first))
    }
}

impl Subscriber {
    pub(crate) const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address)
    }

    fn is_idle(&self) -> bool {
        self.sessions == 0 && self.blocks == 0
    }

    /// Capacity of its bucket of tokens.
    const fn full(quotas: &Quotas) -> u64 {
        let burst = if quotas.burst == 0 { quotas.new_sessions_per_second } else { quotas.burst };
        burst as u64 * SESSION_TOKENS
    }

    fn tokens(&self, quotas: &Quotas, now: Tick) -> u64 {
        let passed = u64::from(now.0.saturating_sub(self.tokens_at));
        let gained = passed.saturating_mul(u64::from(quotas.new_sessions_per_second));
        u64::from(self.tokens).saturating_add(gained).min(Self::full(quotas))
    }

    /// May it open one more session? In this order: sessions, rate, half-open.
    pub(crate) fn allows(&self, quotas: &Quotas, half_open: bool, now: Tick) -> Result<(), OpenError> {
        if quotas.sessions != 0 && self.sessions >= quotas.sessions {
            return Err(OpenError::QuotaSessions);
        }
        if quotas.new_sessions_per_second != 0 && self.tokens(quotas, now) < SESSION_TOKENS {
            return Err(OpenError::QuotaRate);
        }
        if half_open && quotas.half_open != 0 && self.half_open >= quotas.half_open {
            return Err(OpenError::QuotaHalfOpen);
        }
        Ok(())
    }

    /// Counts a new session.
    pub(crate) fn charge(&mut self, quotas: &Quotas, half_open: bool, now: Tick) {
        if quotas.new_sessions_per_second != 0 {
            let left = self.tokens(quotas, now).saturating_sub(SESSION_TOKENS);
            self.tokens = u32::try_from(left).unwrap_or(u32::MAX);
            self.tokens_at = now.0;
        }
        self.sessions = self.sessions.saturating_add(1);
        self.half_open = self.half_open.saturating_add(u32::from(half_open));
    }
}

pub(crate) struct Subscribers {
    records: Array<Subscriber>,
    index: Index,
    seed: Seed,
    free: u32,
    used: u32,
    live: u32,
}

impl Subscribers {
    pub(crate) fn new(limit: u32, seed: Seed) -> Self {
        Subscribers {
            records: Array::zeroed(limit as usize),
            index: Index::for_entries(limit as usize),
            seed,
            free: NIL,
            used: 0,
            live: 0,
        }
    }

    fn hash(seed: Seed, pool: u32, address: u32) -> KeyHash {
        seed.hash(u64::from(address), 0x5ab5_c21b_0000_0000 | u64::from(pool))
    }

    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.bytes() + self.index.bytes()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Subscriber> {
        self.records.get(id as usize).filter(|s| s.live != 0)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Subscriber> {
        self.records.get_mut(id as usize).filter(|s| s.live != 0)
    }

    pub(crate) fn find(&self, pool: u32, address: Ipv4Addr) -> Option<u32> {
        let address = address.to_bits();
        self.index.find(Self::hash(self.seed, pool, address), |id| {
            self.get(id).is_some_and(|s| s.address == address && s.pool == pool)
        })
    }

    /// Brings near the index line of a subscriber.
    #[inline]
    pub(crate) fn prefetch(&self, pool: u32, address: u32) -> KeyHash {
        let hash = Self::hash(self.seed, pool, address);
        self.index.prefetch(hash);
        hash
    }

    /// Brings near the record that this hash most likely belongs to; its number, if there is any.
    #[inline]
    pub(crate) fn prefetch_likely(&self, hash: KeyHash) -> u32 {
        let id = self.index.likely(hash).unwrap_or(NIL);
        self.records.prefetch(id as usize);
        id
    }

    /// Brings a record near.
    #[inline]
    pub(crate) fn prefetch_record(&self, id: u32) {
        self.records.prefetch(id as usize);
    }

    /// Makes one known; it must not be yet. `None` when there is no room.
    pub(crate) fn add(&mut self, pool: u32, address: Ipv4Addr, quotas: &Quotas, now: Tick) -> Option<u32> {
        let address = address.to_bits();
        let id = if self.free != NIL { self.free } else { self.used };
        let record = self.records.get_mut(id as usize)?;
        let next_free = record.newest;
        let full = u32::try_from(Subscriber::full(quotas)).unwrap_or(u32::MAX);
        *record = Subscriber {
            address,
            pool,
            paired: NIL,
            newest: BlockId::NONE.0,
            tokens: full,
            tokens_at: now.0,
            closed: List::EMPTY,
            live: 1,
            ..Subscriber::default()
        };
        let (records, seed) = (&self.records, self.seed);
        let stored = self.index.insert(Self::hash(seed, pool, address), id, |id| {
            records.get(id as usize).map_or(KeyHash(0), |s| Self::hash(seed, s.pool, s.address))
        });
        if stored.is_err() {
            if let Some(record) = self.records.get_mut(id as usize) {
                *record = Subscriber { newest: next_free, ..Subscriber::default() };
            }
            return None;
        }
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.used += 1;
        }
        self.live += 1;
        Some(id)
    }

    /// Forgets it if it has nothing; true if it did.
    pub(crate) fn forget_if_idle(&mut self, id: u32) -> bool {
        let Some(s) = self.get(id).filter(|s| s.is_idle()) else { return false };
        self.index.remove(Self::hash(self.seed, s.pool, s.address), id);
        if let Some(record) = self.records.get_mut(id as usize) {
            *record = Subscriber { newest: self.free, ..Subscriber::default() };
        }
        self.free = id;
        self.live -= 1;
        true
    }
}
