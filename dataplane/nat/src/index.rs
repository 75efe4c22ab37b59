//! From a keyed hash to small numbers: the index of sessions, mappings and subscribers.
//!
//! Buckets of one cache line hold ten (tag, entry) pairs. An entry lives in its home bucket or,
//! when that is full, in one other bucket that the same hash names; the home counts how many
//! of its entries are away, so that a look-up reads a second line only where it must. Inserts
//! move entries between their two buckets, three deep at most, which fills tables past 90 %.
//! The keys themselves are not here: the caller compares them in its records.

use mem::{Array, matches, plain_struct};

const SLOTS: usize = 10;
/// How deep an insert moves others.
const KICKS: u32 = 3;

/// Where things are in a bucket's words: ten tags (0: empty), how many entries whose home this is live
/// in their other bucket, a spare word, ten entries of two words each. The compare looks at the
/// first sixteen words and forgets those that are no tags.
const AWAY: usize = 10;
const ENTRIES: usize = 12;
const TAGS: u32 = (1 << SLOTS) - 1;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    words: [u16; 32],
}

plain_struct!(Bucket { words: [u16; 32] });

impl Bucket {
    /// One bit a slot whose tag is `tag`.
    #[inline]
    fn matches(&self, tag: u16) -> u32 {
        self.words.first_chunk::<16>().map_or(0, |tags| matches(tags, tag) & TAGS)
    }

    #[inline]
    fn free(&self) -> Option<usize> {
        let free = self.matches(0);
        (free != 0).then_some(free.trailing_zeros() as usize)
    }

    /// What the entry's words hold, whether or not there is one.
    #[inline]
    fn raw(&self, slot: usize) -> Option<u32> {
        let [low, high] = *self.words.get(ENTRIES + 2 * slot..)?.first_chunk::<2>()?;
        Some(u32::from(low) | u32::from(high) << 16)
    }

    fn entry(&self, slot: usize) -> Option<u32> {
        self.words.get(slot).filter(|tag| **tag != 0 && slot < SLOTS).and_then(|_| self.raw(slot))
    }

    fn put(&mut self, slot: usize, tag: u16, entry: u32) {
        if slot < SLOTS
            && let Some(t) = self.words.get_mut(slot)
        {
            *t = tag;
            if let Some(e) = self.words.get_mut(ENTRIES + 2 * slot..).and_then(|w| w.first_chunk_mut::<2>()) {
                *e = [entry as u16, (entry >> 16) as u16];
            }
        }
    }

    fn position(&self, tag: u16, entry: u32) -> Option<usize> {
        let mut mask = self.matches(tag);
        while mask != 0 {
            let slot = mask.trailing_zeros() as usize;
            if self.raw(slot) == Some(entry) {
                return Some(slot);
            }
            mask &= mask - 1;
        }
        None
    }

    #[inline]
    const fn away(&self) -> u16 {
        self.words[AWAY]
    }
}

/// A key's hash under the table's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub(crate) u64);

/// Two folded multiplies, keyed: who does not know the seed cannot choose colliding keys.
#[derive(Clone, Copy)]
pub(crate) struct Seed(pub(crate) [u64; 2]);

#[inline]
pub(crate) const fn folded(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Seed {
    #[inline]
    pub(crate) const fn hash(self, a: u64, b: u64) -> KeyHash {
        let [s0, s1] = self.0;
        let m = folded(a ^ s0, b ^ s1);
        KeyHash(folded(m ^ s1.rotate_left(32), 0x9e37_79b9_7f4a_7c15))
    }
}

impl KeyHash {
    /// Of no key.
    pub const NONE: KeyHash = KeyHash(0);

    #[inline]
    const fn tag(self) -> u16 {
        // Never 0, which is no tag.
        self.0 as u16 | 1
    }
}

/// The table is too full for one more entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

pub(crate) struct Index {
    buckets: Array<Bucket>,
    len: usize,
}

impl Index {
    /// Room for `entries`, filling 90 % of the slots then.
    pub(crate) fn for_entries(entries: usize) -> Self {
        let slots = entries.saturating_mul(10).div_ceil(9);
        Index { buckets: Array::zeroed(slots.div_ceil(SLOTS).max(2)), len: 0 }
    }

    #[inline]
    fn home(&self, hash: KeyHash) -> usize {
        // Fewer than 2^32 buckets: entries are numbers of 32 bits.
        (((hash.0 >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The other bucket, never the home.
    #[inline]
    fn other(&self, hash: KeyHash, home: usize) -> usize {
        let n = self.buckets.len();
        let mixed = hash.0.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        // One of the n - 1 others.
        let step = ((u128::from(mixed) * (n as u128).saturating_sub(1)) >> 32) as usize + 1;
        let other = home + step;
        if other >= n { other - n } else { other }
    }

    #[inline]
    fn search(bucket: &Bucket, tag: u16, is: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let mut mask = bucket.matches(tag);
        while mask != 0 {
            if let Some(entry) = bucket.raw(mask.trailing_zeros() as usize)
                && is(entry)
            {
                return Some(entry);
            }
            mask &= mask - 1;
        }
        None
    }

    /// The entry of this hash that `is` recognises by its key.
    #[inline]
    pub(crate) fn find(&self, hash: KeyHash, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let home = self.home(hash);
        let bucket = self.buckets.get(home)?;
        if let Some(entry) = Self::search(bucket, hash.tag(), &mut is) {
            return Some(entry);
        }
        if bucket.away() == 0 {
            return None;
        }
        Self::search(self.buckets.get(self.other(hash, home))?, hash.tag(), &mut is)
    }

    /// The first entry in the home bucket whose tag fits: most likely the one. `None`: if it is
    /// anywhere it is in the other bucket, which is asked for.
    #[inline]
    pub(crate) fn likely(&self, hash: KeyHash) -> Option<u32> {
        let home = self.home(hash);
        let bucket = self.buckets.get(home)?;
        let mask = bucket.matches(hash.tag());
        if mask == 0 {
            std::hint::cold_path();
            if bucket.away() != 0 {
                self.buckets.prefetch(self.other(hash, home));
            }
            return None;
        }
        bucket.raw(mask.trailing_zeros() as usize)
    }

    /// The same in the other bucket.
    pub(crate) fn likely_away(&self, hash: KeyHash) -> Option<u32> {
        let home = self.home(hash);
        if self.buckets.get(home)?.away() == 0 {
            return None;
        }
        let bucket = self.buckets.get(self.other(hash, home))?;
        let mask = bucket.matches(hash.tag());
        if mask == 0 { None } else { bucket.raw(mask.trailing_zeros() as usize) }
    }

    /// Brings the home bucket near.
    #[inline]
    pub(crate) fn prefetch(&self, hash: KeyHash) {
        self.buckets.prefetch(self.home(hash));
    }

    /// Brings the other bucket near if entries whose home is full are in it.
    #[inline]
    pub(crate) fn prefetch_other(&self, hash: KeyHash) {
        let home = self.home(hash);
        if self.buckets.get(home).is_some_and(|b| b.away() != 0) {
            self.buckets.prefetch(self.other(hash, home));
        }
    }

    /// Brings the other bucket near if an insert will find its home full.
    #[inline]
    pub(crate) fn prefetch_room(&self, hash: KeyHash) {
        let home = self.home(hash);
        if self.free_in(home).is_none() {
            self.buckets.prefetch(self.other(hash, home));
        }
    }

    /// Adds an entry, which must not be there. `hash_of` tells the hash of any entry in the table.
    pub(crate) fn insert(
        &mut self,
        hash: KeyHash,
        entry: u32,
        hash_of: impl Fn(u32) -> KeyHash,
    ) -> Result<(), Full> {
        let home = self.home(hash);
        let other = self.other(hash, home);
        let place = self
            .free_in(home)
            .map(|slot| (home, slot))
            .or_else(|| self.free_in(other).map(|slot| (other, slot)))
            .or_else(|| self.make_room(home, KICKS, &hash_of).map(|slot| (home, slot)))
            .or_else(|| self.make_room(other, KICKS, &hash_of).map(|slot| (other, slot)));
        let (at, slot) = place.ok_or(Full)?;
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.put(slot, hash.tag(), entry);
        }
        if at != home {
            self.count_away(home, 1);
        }
        self.len += 1;
        Ok(())
    }

    /// Lines that [`Index::find`] reads for an entry.
    #[cfg(test)]
    pub(crate) fn lines_read(&self, hash: KeyHash, entry: u32) -> u32 {
        let home = self.buckets.get(self.home(hash));
        let here = home.is_some_and(|b| b.position(hash.tag(), entry).is_some());
        if here || home.is_none_or(|b| b.away() == 0) { 1 } else { 2 }
    }

    fn free_in(&self, at: usize) -> Option<usize> {
        self.buckets.get(at)?.free()
    }

    fn count_away(&mut self, home: usize, change: i16) {
        if let Some(bucket) = self.buckets.get_mut(home) {
            bucket.words[AWAY] = bucket.words[AWAY].saturating_add_signed(change);
        }
    }

    /// Moves one entry of bucket `at` to its other place, and others before it where need be.
    fn make_room(&mut self, at: usize, depth: u32, hash_of: &impl Fn(u32) -> KeyHash) -> Option<usize> {
        if let Some(slot) = self.free_in(at) {
            return Some(slot);
        }
        for deep in [false, true] {
            for slot in 0..SLOTS {
                let Some(entry) = self.buckets.get(at)?.entry(slot) else { return Some(slot) };
                let hash = hash_of(entry);
                let home = self.home(hash);
                let to = if home == at { self.other(hash, home) } else { home };
                let room = match deep {
                    false => self.free_in(to),
                    true if depth > 1 => self.make_room(to, depth - 1, hash_of),
                    true => None,
                };
                let Some(room) = room else { continue };
                // Making room may have moved this entry itself.
                let bucket = self.buckets.get(at)?;
                if let Some(free) = bucket.free() {
                    return Some(free);
                }
                if bucket.entry(slot) != Some(entry) {
                    continue;
                }
                self.buckets.get_mut(to)?.put(room, hash.tag(), entry);
                self.buckets.get_mut(at)?.put(slot, 0, 0);
                self.count_away(home, if at == home { 1 } else { -1 });
                return Some(slot);
            }
        }
        None
    }

    /// Takes an entry out; false if it is not there.
    pub(crate) fn remove(&mut self, hash: KeyHash, entry: u32) -> bool {
        let home = self.home(hash);
        for at in [home, self.other(hash, home)] {
            let Some(bucket) = self.buckets.get_mut(at) else { continue };
            if let Some(slot) = bucket.position(hash.tag(), entry) {
                bucket.put(slot, 0, 0);
                if at != home {
                    self.count_away(home, -1);
                }
                self.len -= 1;
                return true;
            }
        }
        false
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buckets.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const SEED: Seed = Seed([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);

    /// Entry n has key n.
    fn hash_of(n: u32) -> KeyHash {
        SEED.hash(u64::from(n), 7)
    }

    #[test]
    fn a_bucket_is_one_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }

    #[test]
    fn ninety_percent_of_the_slots_fill_without_a_failed_insert() {
        let n = 200_000u32;
        let mut index = Index::for_entries(n as usize);
        assert!(f64::from(n) / (index.buckets.len() * SLOTS) as f64 > 0.899);
        for i in 0..n {
            assert_eq!(index.insert(hash_of(i), i, hash_of), Ok(()), "insert {i}");
        }
        for i in 0..n {
            assert_eq!(index.find(hash_of(i), |e| e == i), Some(i));
        }
        assert!(index.find(hash_of(n), |e| e == n).is_none());
        // Replaced one by one at that fill, as sessions come and go.
        for i in 0..n {
            assert!(index.remove(hash_of(i), i));
            assert_eq!(index.insert(hash_of(n + i), n + i, hash_of), Ok(()));
        }
        for i in 0..n {
            assert_eq!(index.find(hash_of(n + i), |e| e == n + i), Some(n + i));
            assert!(index.remove(hash_of(n + i), n + i));
        }
        assert_eq!(index.len(), 0);
        assert!(index.buckets.iter().all(|b| b.away() == 0 && b.matches(0) == TAGS));
    }

    #[test]
    fn a_table_past_its_size_refuses_and_keeps_what_it_has() {
        let mut index = Index::for_entries(18);
        let held: Vec<u32> = (0..1000).filter(|i| index.insert(hash_of(*i), *i, hash_of).is_ok()).collect();
        assert!(held.len() >= 18 && held.len() <= index.buckets.len() * SLOTS);
        assert!(held.iter().all(|i| index.find(hash_of(*i), |e| e == *i) == Some(*i)));
    }

    proptest! {
        // Refused inserts are what takes time here.
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_index_agrees_with_a_hash_map(
            ops in prop::collection::vec((0u32..300, any::<bool>()), 1..1_000),
            capacity in 1usize..300,
        ) {
            let mut index = Index::for_entries(capacity);
            let mut model = HashMap::new();
            for (key, add) in ops {
                if add && !model.contains_key(&key) {
                    if index.insert(hash_of(key), key, hash_of).is_ok() {
                        model.insert(key, ());
                    } else {
                        prop_assert!(model.len() > capacity * 6 / 10, "refused at {} of {}", model.len(), capacity);
                    }
                } else if !add {
                    prop_assert_eq!(index.remove(hash_of(key), key), model.remove(&key).is_some());
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for key in 0..300 {
                prop_assert_eq!(index.find(hash_of(key), |e| e == key).is_some(), model.contains_key(&key));
            }
        }
    }
}
