//! A faulty wire: seeded loss, reorder, duplication and corruption of a stream of frames.

use std::collections::VecDeque;

use crate::Rng;

/// How often each fault happens, per mille of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    /// The frame vanishes.
    pub loss: u64,
    /// The frame comes after one to eight later ones.
    pub reorder: u64,
    /// The frame comes twice.
    pub duplicate: u64,
    /// One octet is changed.
    pub corrupt: u64,
    /// The frame is cut short.
    pub truncate: u64,
}

/// Frames in flight on a faulty wire. `T` says where a frame is going.
#[derive(Clone, Debug)]
pub struct FaultInjector<T> {
    rates: FaultRates,
    rng: Rng,
    ready: VecDeque<(T, Vec<u8>)>,
    /// Delayed frames and how many sends they still wait for.
    late: Vec<(u64, T, Vec<u8>)>,
}

impl<T: Copy> FaultInjector<T> {
    /// A wire with those faults.
    pub fn new(rates: FaultRates, seed: u64) -> Self {
        FaultInjector { rates, rng: Rng::new(seed), ready: VecDeque::new(), late: Vec::new() }
    }

    /// Changes how often faults happen.
    pub fn set_rates(&mut self, rates: FaultRates) {
        self.rates = rates;
    }

    /// Sends a frame into the wire.
    pub fn send(&mut self, to: T, mut frame: Vec<u8>) {
        let mut i = 0;
        while let Some((wait, ..)) = self.late.get_mut(i) {
            *wait -= 1;
            if *wait == 0 {
                let (_, to, frame) = self.late.swap_remove(i);
                self.ready.push_back((to, frame));
            } else {
                i += 1;
            }
        }
        if self.rng.per_mille(self.rates.loss) {
            return;
        }
        if self.rng.per_mille(self.rates.corrupt) && !frame.is_empty() {
            let at = self.rng.below(frame.len() as u64) as usize;
            frame[at] ^= self.rng.range(1, 255) as u8;
        }
        if self.rng.per_mille(self.rates.truncate) {
            frame.truncate(self.rng.below(frame.len() as u64 + 1) as usize);
        }
        if self.rng.per_mille(self.rates.duplicate) {
            self.ready.push_back((to, frame.clone()));
        }
        if self.rng.per_mille(self.rates.reorder) {
            self.late.push((self.rng.range(1, 8), to, frame));
        } else {
            self.ready.push_back((to, frame));
        }
    }

    /// The next frame that comes out, if one is ready.
    pub fn receive(&mut self) -> Option<(T, Vec<u8>)> {
        self.ready.pop_front()
    }

    /// Frames in flight.
    pub fn in_flight(&self) -> usize {
        self.ready.len() + self.late.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(rates: FaultRates, n: u8) -> Vec<Vec<u8>> {
        let mut wire = FaultInjector::new(rates, 5);
        for i in 0..n {
            wire.send((), vec![i; 4]);
        }
        std::iter::from_fn(|| wire.receive().map(|(_, f)| f)).collect()
    }

    #[test]
    fn a_sound_wire_changes_nothing() {
        assert_eq!(through(FaultRates::default(), 50), (0..50).map(|i| vec![i; 4]).collect::<Vec<_>>());
    }

    #[test]
    fn each_fault_does_its_harm_and_only_that() {
        let sound = through(FaultRates::default(), 200);
        let lossy = through(FaultRates { loss: 300, ..Default::default() }, 200);
        assert!((80..190).contains(&lossy.len()));
        let twice = through(FaultRates { duplicate: 300, ..Default::default() }, 200);
        assert!(twice.len() > 220 && twice.iter().all(|f| sound.contains(f)));
        let late = through(FaultRates { reorder: 300, ..Default::default() }, 200);
        assert!(!late.is_sorted() && late.len() > 190);
        let wrong = through(FaultRates { corrupt: 300, ..Default::default() }, 200);
        assert!(wrong.len() == 200 && wrong != sound);
        let cut = through(FaultRates { truncate: 300, ..Default::default() }, 200);
        assert!(cut.len() == 200 && cut.iter().any(|f| f.len() < 4));
    }
}
