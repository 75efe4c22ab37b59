//! The time stamp counter: the only clock a worker reads per burst.

use crate::eal::Eal;

/// The counter now, in cycles. It wraps; take differences by `wrapping_sub`.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a register.
    unsafe { dpdk_sys::shim_rdtsc() }
}

/// Turns cycles into nanoseconds since the clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    hz: u64,
    start: u64,
}

impl Clock {
    /// A clock that starts at zero now. DPDK measured the frequency in init.
    pub fn new(_: &Eal) -> Self {
        // SAFETY: reads what init measured.
        let hz = unsafe { dpdk_sys::rte_get_tsc_hz() };
        Clock { hz: hz.max(1), start: tsc() }
    }

    /// Cycles a second.
    pub fn hz(&self) -> u64 {
        self.hz
    }

    /// Nanoseconds since the clock was made.
    #[inline]
    pub fn now(&self) -> u64 {
        self.nanoseconds(tsc().wrapping_sub(self.start))
    }

    /// Cycles as nanoseconds, rounded down; at most `u64::MAX`.
    #[inline]
    pub fn nanoseconds(&self, cycles: u64) -> u64 {
        let nanoseconds = u128::from(cycles) * 1_000_000_000 / u128::from(self.hz);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_become_nanoseconds_over_the_whole_range() {
        let clock = Clock { hz: 2_500_000_000, start: 0 };
        assert_eq!(clock.nanoseconds(5), 2);
        assert_eq!(clock.nanoseconds(2_500_000_000), 1_000_000_000);
        assert_eq!(clock.nanoseconds(u64::MAX), u64::MAX / 5 * 2);
    }
}
