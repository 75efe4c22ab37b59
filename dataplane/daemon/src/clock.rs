//! The gateway's time: ticks of 100 ms since it started.

use std::time::{Duration, Instant};

use nat::Tick;

/// The same for all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins now, at tick 1: tick 0 is the time before.
    pub(crate) fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Microseconds since the start.
    pub(crate) fn micros(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Now in ticks; 13 years hold.
    pub(crate) fn tick(&self) -> Tick {
        Tick(u32::try_from(self.elapsed().as_millis() / 100 + 1).unwrap_or(u32::MAX))
    }
}
