//! How often a subscriber is told that it was refused: 10 at once, then one every 100 ms.
//!
//! A small table of those told within the last second; older entries are as good as none, since
//! their buckets are full again. When all places for an address are taken by others, it is not told.

use std::net::Ipv4Addr;

use crate::index::Seed;
use crate::units::Tick;

const PLACES: usize = 1 << 14;
const PROBES: usize = 16;
/// Answers at once; one comes back every tick.
const BURST: u32 = 10;

#[derive(Clone, Copy)]
struct Told {
    address: u32,
    left: u32,
    at: Tick,
}

impl Told {
    fn left(&self, now: Tick) -> u32 {
        self.left.saturating_add(now.0.saturating_sub(self.at.0)).min(BURST)
    }
}

pub(crate) struct Rejections {
    places: Vec<Told>,
    seed: Seed,
}

impl Rejections {
    pub(crate) fn new(seed: Seed) -> Self {
        Rejections { places: vec![Told { address: 0, left: BURST, at: Tick(0) }; PLACES], seed }
    }

    pub(crate) fn allow(&mut self, subscriber: Ipv4Addr, now: Tick) -> bool {
        let address = subscriber.to_bits();
        let from = self.seed.hash(u64::from(address), 4 << 40).0 as usize;
        let probes = (0..PROBES).map(|i| (from + i) % PLACES);
        let places = &self.places;
        let full = |i: &usize| places.get(*i).is_some_and(|t| t.left(now) >= BURST);
        let own = |i: &usize| places.get(*i).is_some_and(|t| t.address == address && t.left(now) < BURST);
        let Some(at) = probes.clone().find(own).or_else(|| probes.clone().find(full)) else { return false };
        let Some(place) = self.places.get_mut(at) else { return false };
        let left = if place.address == address { place.left(now) } else { BURST };
        let allowed = left > 0;
        *place = Told { address, left: left.saturating_sub(1), at: now };
        allowed
    }
}
