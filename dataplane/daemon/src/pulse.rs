//! How busy a worker is, published by it for whoever reads.
//!
//! Plain stores of one writer; readers may see figures of two moments side by side, which is
//! all right for what they are.

use std::sync::atomic::{AtomicU64, Ordering};

/// Burst sizes are counted in classes of up to 1, 2, 4, 8, 16, 32 and more packets.
pub(crate) const CLASSES: usize = 7;

/// The published figures.
#[derive(Default)]
pub(crate) struct Pulse {
    busy_permille: AtomicU64,
    millicycles: AtomicU64,
    bursts: [AtomicU64; CLASSES],
    slow: [AtomicU64; 3],
}

/// A reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Share of the last second spent on packets, 0 to 1.
    pub(crate) busy: f64,
    /// Cycles a packet over the last second with packets.
    pub(crate) cycles_per_packet: f64,
    /// Bursts by class.
    pub(crate) bursts: [u64; CLASSES],
    /// Turns of its loop that took over 100 µs, 1 ms and 10 ms.
    pub(crate) slow: [u64; 3],
}

impl Pulse {
    /// The figures now.
    pub(crate) fn read(&self) -> Reading {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Reading {
            busy: load(&self.busy_permille) as f64 / 1e3,
            cycles_per_packet: load(&self.millicycles) as f64 / 1e3,
            bursts: std::array::from_fn(|i| load(&self.bursts[i])),
            slow: std::array::from_fn(|i| load(&self.slow[i])),
        }
    }
}

/// The worker's side: sums up, and publishes once a second.
#[derive(Default)]
pub(crate) struct Meter {
    bursts: [u64; CLASSES],
    slow: [u64; 3],
    packets: u64,
    busy: u64,
    since: u64,
}

impl Meter {
    /// A loop that took `cycles` handled `packets`.
    #[inline]
    pub(crate) fn worked(&mut self, packets: usize, cycles: u64) {
        let class = (usize::BITS - packets.saturating_sub(1).leading_zeros()) as usize;
        self.bursts[class.min(CLASSES - 1)] += 1;
        self.packets += packets as u64;
        self.busy += cycles;
    }

    /// A turn of the loop took `cycles`, of which a second has `second`: what came in meanwhile waited.
    #[inline]
    pub(crate) fn turned(&mut self, cycles: u64, second: u64) {
        if cycles < second / 10_000 {
            return;
        }
        for (count, part) in self.slow.iter_mut().zip([10_000, 1_000, 100]) {
            *count += u64::from(cycles >= second / part);
        }
    }

    /// Publishes once `second` cycles have gone by since the last time.
    #[inline]
    pub(crate) fn publish(&mut self, now: u64, second: u64, pulse: &Pulse) {
        let passed = now.wrapping_sub(self.since);
        if passed < second {
            return;
        }
        let permille = self.busy.saturating_mul(1000) / passed.max(1);
        pulse.busy_permille.store(permille.min(1000), Ordering::Relaxed);
        if let Some(each) = self.busy.saturating_mul(1000).checked_div(self.packets) {
            pulse.millicycles.store(each, Ordering::Relaxed);
        }
        for (shown, counted) in pulse.slow.iter().zip(self.slow).chain(pulse.bursts.iter().zip(self.bursts)) {
            shown.store(counted, Ordering::Relaxed);
        }
        *self = Meter { bursts: self.bursts, slow: self.slow, packets: 0, busy: 0, since: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_publishes_shares_of_the_last_second() {
        let (mut meter, pulse) = (Meter::default(), Pulse::default());
        meter.publish(1_000, 1_000, &pulse);
        meter.worked(1, 100);
        meter.worked(32, 400);
        meter.publish(1_500, 1_000, &pulse);
        assert_eq!(pulse.read().busy, 0.0);
        meter.publish(2_000, 1_000, &pulse);
        let reading = pulse.read();
        assert_eq!(reading.busy, 0.5);
        assert!((reading.cycles_per_packet - 500.0 / 33.0).abs() < 0.001);
        assert_eq!(reading.slow, [0; 3]);
        assert_eq!((reading.bursts[0], reading.bursts[5]), (1, 1));
    }

    #[test]
    fn slow_turns_are_counted_by_how_slow_they_were() {
        let (mut meter, pulse) = (Meter::default(), Pulse::default());
        for microseconds in [50, 99, 100, 900, 1_000, 30_000] {
            meter.turned(microseconds, 1_000_000);
        }
        meter.publish(2_000_000, 1_000_000, &pulse);
        assert_eq!(pulse.read().slow, [4, 2, 1]);
    }
}
