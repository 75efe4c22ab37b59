//! A hash table for the packet path: 64-bit keys, open addressing, one cache line to look at.
//!
//! Keys come from the Config alone, so nobody outside can choose colliding ones, and one
//! multiplication is hash enough. Copying it is copying memory, which is what makes a new
//! snapshot of a hundred thousand endpoints cheap.

/// Odd; the golden ratio of 2^64, so that keys in a row spread evenly (Knuth, TAOCP 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// A key that nobody uses.
const FREE: u64 = u64::MAX;
const LEAST: usize = 16;

/// A map from keys other than `u64::MAX` to small values.
#[derive(Clone, Debug)]
pub(crate) struct FlatMap<V: Copy> {
    slots: Box<[(u64, V)]>,
    len: usize,
    /// 64 − log2 of the number of slots.
    shift: u32,
}

impl<V: Copy + Default> Default for FlatMap<V> {
    fn default() -> Self {
        FlatMap::with_room(0)
    }
}

impl<V: Copy + Default> FlatMap<V> {
    /// An empty map that takes `entries` without growing.
    pub(crate) fn with_room(entries: usize) -> Self {
        // At most half full: a look-up that misses, the common one, ends at once.
        let slots = (entries * 2).next_power_of_two().max(LEAST);
        let free = (FREE, V::default());
        FlatMap { slots: vec![free; slots].into(), len: 0, shift: 64 - slots.trailing_zeros() }
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        // Fold first: the upper half holds the address, which must reach the upper bits of the product.
        ((key ^ (key >> 32)).wrapping_mul(SPREAD) >> self.shift) as usize
    }

    /// Slot of `key`, or the free slot where it would go.
    #[inline]
    fn seat(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(key);
        loop {
            let here = self.slots[at & mask].0;
            if here == key || here == FREE {
                return at & mask;
            }
            at += 1;
        }
    }

    /// The value of `key`.
    #[inline]
    pub(crate) fn find(&self, key: u64) -> Option<V> {
        let (here, value) = self.slots[self.seat(key)];
        (here == key && key != FREE).then_some(value)
    }

    /// The value of `key`, which becomes the default first if there is none. `u64::MAX` is no key.
    pub(crate) fn entry(&mut self, key: u64) -> &mut V {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let at = self.seat(key);
        if self.slots[at].0 == FREE {
            self.slots[at] = (key, V::default());
            self.len += 1;
        }
        &mut self.slots[at].1
    }

    /// Takes `key` out, closing the gap it leaves.
    pub(crate) fn remove(&mut self, key: u64) {
        let mask = self.slots.len() - 1;
        let mut gap = self.seat(key);
        if key == FREE || self.slots[gap].0 == FREE {
            return;
        }
        self.len -= 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let (here, _) = self.slots[at];
            if here == FREE {
                break;
            }
            // An entry may move back to the gap unless its home lies cyclically after the gap.
            let home = self.home(here);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.slots[gap] = self.slots[at];
                gap = at;
            }
        }
        self.slots[gap] = (FREE, V::default());
    }

    fn grow(&mut self) {
        let mut larger = FlatMap::with_room(self.slots.len());
        for (key, value) in self.iter() {
            *larger.entry(key) = value;
        }
        *self = larger;
    }

    /// Every entry, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, V)> + '_ {
        self.slots.iter().copied().filter(|(key, _)| *key != FREE)
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(steps in proptest::collection::vec((0u64..40, any::<bool>()), 0..400)) {
            let (mut flat, mut tree) = (FlatMap::<u32>::default(), BTreeMap::new());
            for (n, (key, put)) in (0u32..).zip(steps) {
                // Keys that share their home with others.
                let key = key << 58 | key & 3;
                if put {
                    *flat.entry(key) = n;
                    tree.insert(key, n);
                } else {
                    flat.remove(key);
                    tree.remove(&key);
                }
                prop_assert_eq!(flat.len(), tree.len());
            }
            for (key, value) in &tree {
                prop_assert_eq!(flat.find(*key), Some(*value));
            }
            prop_assert_eq!(flat.iter().count(), tree.len());
        }
    }

    #[test]
    fn the_key_that_marks_free_slots_is_never_found() {
        assert_eq!(FlatMap::<u32>::default().find(u64::MAX), None);
    }
}
