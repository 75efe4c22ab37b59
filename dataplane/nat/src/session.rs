//! All session records of a worker, and the index over both their keys.

use mem::Array;

use crate::index::{Index, KeyHash, Seed};
use crate::record::{Cold, Flags, Key, Session, TcpRecord, Traffic};
use crate::units::{Direction, SessionId, Space, Tick};
use crate::wheel::{NIL, Timers};

/// All session records and their index.
pub(crate) struct Sessions {
    hot: Array<Session>,
    cold: Array<Cold>,
    pub(crate) tcp: Array<TcpRecord>,
    /// What was counted before the records' own counters began anew, `[packets, packets, octets, octets]`.
    carries: Array<[u64; 4]>,
    /// When each session began, in steps of 10 s that wrap after a week.
    opened: Array<u16>,
    index: Index,
    seed: Seed,
    free: u32,
    /// Records used so far; those above were never touched.
    used: u32,
    live: u32,
}

/// Ticks of a step of [`Sessions::opened`].
const OPENED_STEP: u32 = 100;

impl Sessions {
    pub(crate) fn new(limit: u32, seed: Seed) -> Self {
        let n = limit.min(1 << 30) as usize;
        Sessions {
            hot: Array::zeroed(n),
            cold: Array::zeroed(n),
            tcp: Array::zeroed(n),
            carries: Array::zeroed(n),
            opened: Array::zeroed(n),
            index: Index::for_entries(2 * n),
            seed,
            free: NIL,
            used: 0,
            live: 0,
        }
    }

    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    /// Numbers at and above this were never used.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn bytes(&self) -> usize {
        let aside = self.tcp.bytes() + self.carries.bytes() + self.opened.bytes();
        self.hot.bytes() + self.cold.bytes() + aside + self.index.bytes()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.live as usize >= self.hot.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.hot.get(id.0 as usize).filter(|s| s.flags.has(Flags::LIVE))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.hot.get_mut(id.0 as usize).filter(|s| s.flags.has(Flags::LIVE))
    }

    pub(crate) fn cold(&self, id: SessionId) -> Cold {
        self.cold.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn cold_mut(&mut self, id: SessionId) -> Option<&mut Cold> {
        self.cold.get_mut(id.0 as usize)
    }

    #[inline]
    pub(crate) fn hash(&self, key: &Key) -> KeyHash {
        key.hash(self.seed)
    }

    #[inline]
    pub(crate) fn prefetch(&self, hash: KeyHash) {
        self.index.prefetch(hash);
    }

    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, key: &Key, space: Space) -> Option<(SessionId, Direction)> {
        let entry = self.index.find(hash, |entry| {
            let (id, direction) = parts(entry);
            self.hot.get(id.0 as usize).is_some_and(|s| s.is(direction, key, space))
        })?;
        Some(parts(entry))
    }

    /// Brings near the record that `hash` most likely belongs to, and gives its index entry; without
    /// one, a number that no entry has.
    #[inline(always)]
    pub(crate) fn prefetch_likely(&self, hash: KeyHash) -> u32 {
        let entry = self.index.likely(hash).unwrap_or(u32::MAX);
        self.hot.prefetch((entry >> 1) as usize);
        entry
    }

    /// [`Sessions::prefetch_likely`] for what is not at home.
    pub(crate) fn prefetch_away(&self, hash: KeyHash) -> u32 {
        let entry = self.index.likely_away(hash).unwrap_or(u32::MAX);
        self.hot.prefetch((entry >> 1) as usize);
        entry
    }

    /// The record of an index entry, live or not.
    #[inline]
    pub(crate) fn at(&mut self, entry: u32) -> Option<&mut Session> {
        self.hot.get_mut((entry >> 1) as usize)
    }

    /// The index entry of a key whose next hop's word notes a port so; `likely` is looked at first.
    pub(crate) fn for_port(&self, likely: u32, hash: KeyHash, key: &Key, noted: u32) -> Option<u32> {
        // A free record's words are zero, which no port's are.
        let is = |entry: u32| {
            let session = self.hot.get((entry >> 1) as usize);
            session.is_some_and(|s| s.side(entry) == *key && s.hop(entry) >> 24 == noted)
        };
        if is(likely) { Some(likely) } else { self.index.find(hash, is) }
    }

    /// Brings near a record, all of it.
    #[inline]
    pub(crate) fn prefetch_whole(&self, id: SessionId) {
        self.hot.prefetch(id.0 as usize);
        self.cold.prefetch(id.0 as usize);
    }

    /// Hashes of both keys of a session, of which the index lines are brought near.
    #[inline]
    pub(crate) fn prefetch_keys(&self, session: &Session) -> [KeyHash; 2] {
        [Direction::Original, Direction::Reply].map(|direction| {
            let hash = self.hash(&session.key(direction));
            self.prefetch(hash);
            hash
        })
    }

    /// The other index line of a hash, where it may be needed.
    #[inline]
    pub(crate) fn prefetch_other(&self, hash: KeyHash) {
        self.index.prefetch_other(hash);
    }

    /// Stores a session under both its keys, which are not in use. `None` when the table is full.
    pub(crate) fn insert(&mut self, session: Session, cold: Cold, now: Tick) -> Option<SessionId> {
        let id = if self.free != NIL { self.free } else { self.used };
        let at = id as usize;
        let slot = self.hot.get_mut(at)?;
        *slot = session;
        let next_free = self.cold.get(at).map_or(NIL, |c| c.place);
        let hashes = [Direction::Original, Direction::Reply].map(|d| session.key(d).hash(self.seed));
        for hash in hashes {
            self.index.prefetch_room(hash);
        }
        for (direction, hash) in [Direction::Original, Direction::Reply].into_iter().zip(hashes) {
            let (hot, seed) = (&self.hot, self.seed);
            let stored = self.index.insert(hash, entry(id, direction), |e| {
                let (id, direction) = parts(e);
                hot.get(id.0 as usize).map_or(KeyHash(0), |s| s.key(direction).hash(seed))
            });
            if stored.is_err() {
                if direction == Direction::Reply {
                    let [original, _] = hashes;
                    self.index.remove(original, entry(id, Direction::Original));
                }
                if let Some(slot) = self.hot.get_mut(at) {
                    *slot = Session::default();
                }
                return None;
            }
        }
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.used += 1;
        }
        if let Some(opened) = self.opened.get_mut(at) {
            *opened = (now.0 / OPENED_STEP) as u16;
        }
        if let Some(c) = self.cold.get_mut(at) {
            *c = cold;
        }
        // The next one comes soon.
        let next = if self.free != NIL { self.free } else { self.used };
        self.prefetch_whole(SessionId(next));
        self.opened.prefetch(next as usize);
        self.live += 1;
        Some(SessionId(id))
    }

    /// Forgets a session. It must be off the wheel and out of every list.
    pub(crate) fn remove(&mut self, id: SessionId) {
        let at = id.0 as usize;
        let Some(session) = self.get(id).copied() else { return };
        for direction in [Direction::Original, Direction::Reply] {
            let hash = session.key(direction).hash(self.seed);
            self.index.remove(hash, entry(id.0, direction));
        }
        if session.timer.carried()
            && let Some(carry) = self.carries.get_mut(at)
        {
            *carry = [0; 4];
        }
        if let Some(slot) = self.hot.get_mut(at) {
            *slot = Session::default();
        }
        if let Some(cold) = self.cold.get_mut(at) {
            cold.place = self.free;
        }
        self.free = id.0;
        self.live -= 1;
    }

    /// Counts a packet of `octets`.
    #[inline]
    pub(crate) fn count(&mut self, id: SessionId, direction: Direction, octets: u16) {
        let at = id.0 as usize;
        let Some(session) = self.hot.get_mut(at) else { return };
        let side = direction.index();
        let Some(traffic) = session.traffic.get_mut(side) else { return };
        let Some(more) = traffic.with(octets) else {
            let before = std::mem::replace(traffic, Traffic::default().with(octets).unwrap_or_default());
            session.timer.set_carried();
            if let Some(carry) = self.carries.get_mut(at) {
                for (slot, n) in [(side, before.packets()), (side + 2, before.octets())] {
                    if let Some(c) = carry.get_mut(slot) {
                        *c = c.saturating_add(n);
                    }
                }
            }
            return;
        };
        *traffic = more;
    }

    /// When a session began, to 10 s.
    pub(crate) fn opened(&self, id: SessionId, now: Tick) -> Tick {
        let step = self.opened.get(id.0 as usize).copied().unwrap_or(0);
        let age = ((now.0 / OPENED_STEP) as u16).wrapping_sub(step);
        Tick((now.0 / OPENED_STEP).saturating_sub(u32::from(age)) * OPENED_STEP)
    }

    /// Packets and octets of each direction.
    pub(crate) fn totals(&self, id: SessionId, session: &Session) -> ([u64; 2], [u64; 2]) {
        let carry = if session.timer.carried() {
            self.carries.get(id.0 as usize).copied().unwrap_or_default()
        } else {
            [0; 4]
        };
        let ([t0, t1], [p0, p1, b0, b1]) = (session.traffic, carry);
        ([p0 + t0.packets(), p1 + t1.packets()], [b0 + t0.octets(), b1 + t1.octets()])
    }
}

const fn entry(id: u32, direction: Direction) -> u32 {
    id << 1 | direction as u32
}

#[inline]
pub(crate) const fn parts(entry: u32) -> (SessionId, Direction) {
    let direction = if entry & 1 == 0 { Direction::Original } else { Direction::Reply };
    (SessionId(entry >> 1), direction)
}

impl Timers for Sessions {
    fn place(&self, id: u32) -> u32 {
        self.cold.get(id as usize).map_or(NIL, |c| c.place)
    }

    fn set_place(&mut self, id: u32, place: u32) {
        if let Some(c) = self.cold.get_mut(id as usize) {
            c.place = place;
        }
    }

    fn deadline(&self, id: u32) -> Tick {
        Tick(self.hot.get(id as usize).map_or(0, |s| s.deadline))
    }
}
