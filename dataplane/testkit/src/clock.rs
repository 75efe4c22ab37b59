//! A clock that stands still unless it is moved.

/// Virtual time in ticks of 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualClock {
    ticks: u32,
}

impl VirtualClock {
    /// A clock at that tick.
    pub const fn at(ticks: u32) -> Self {
        VirtualClock { ticks }
    }

    /// Ticks of 100 ms since it began.
    pub const fn ticks(&self) -> u32 {
        self.ticks
    }

    /// Moves on by that many ticks.
    pub const fn advance(&mut self, ticks: u32) {
        self.ticks = self.ticks.saturating_add(ticks);
    }

    /// Moves on by that many seconds.
    pub const fn advance_secs(&mut self, seconds: u32) {
        self.advance(seconds.saturating_mul(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_clock_moves_only_when_told() {
        let mut c = VirtualClock::at(5);
        c.advance_secs(2);
        assert_eq!(c.ticks(), 25);
        c.advance(u32::MAX);
        assert_eq!(c.ticks(), u32::MAX);
    }
}
