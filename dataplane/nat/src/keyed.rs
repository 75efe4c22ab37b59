//! Hash maps under the worker's seed: for tables too small to deserve an index of their own.
//!
//! The same folded multiplies as the index's; the standard library's hash would take its key from the operating
//! system, which the packet path's results may not depend on, and ten times as long for such short keys.

use std::hash::{BuildHasher, Hasher};

use crate::index::folded;

/// Makes [`Keyed`] hashers.
#[derive(Clone, Copy)]
pub(crate) struct KeyedState {
    seed: [u64; 2],
}

impl KeyedState {
    pub(crate) const fn new(seed: [u64; 2]) -> Self {
        KeyedState { seed }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = Keyed;

    #[inline]
    fn build_hasher(&self) -> Keyed {
        Keyed { state: self.seed[0], key: self.seed[1] | 1 }
    }
}

/// A hash in the making.
pub(crate) struct Keyed {
    state: u64,
    key: u64,
}

impl Keyed {
    #[inline]
    fn mix(&mut self, word: u64) {
        // Turned, so that words do not change places unseen.
        self.state = folded(self.state ^ word, self.key).rotate_left(23) ^ self.key;
    }
}

impl Hasher for Keyed {
    #[inline]
    fn write(&mut self, octets: &[u8]) {
        let (words, rest) = octets.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            self.mix(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
        }
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        folded(self.state, 0x9e37_79b9_7f4a_7c15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_that_differ_in_little_spread_over_all_places() {
        for seed in [[0, 0], [1, 2], [u64::MAX, 7]] {
            let state = KeyedState::new(seed);
            let mut places = [0u32; 256];
            for n in 0..65_536u32 {
                let hash = state.hash_one((n.to_be_bytes(), 17u8, n ^ 0x0a00_0000));
                places[(hash >> 56) as usize] += 1;
            }
            let (least, most) = (places.iter().min().unwrap(), places.iter().max().unwrap());
            assert!(*least > 150 && *most < 380, "{seed:?}: {least} to {most}, 256 would be even");
        }
    }

    #[test]
    fn the_order_of_words_counts() {
        let state = KeyedState::new([3, 5]);
        assert_ne!(state.hash_one((1u32, 2u32)), state.hash_one((2u32, 1u32)));
    }
}
