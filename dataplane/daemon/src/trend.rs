//! How fast pools fill: blocks leased over the last minute, so that the API can say when none
//! will be free.
//!
//! The slow thread looks every few seconds at the lease tables, which all workers share; no
//! worker is asked and no packet pays for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nat::{PoolId, PoolUse};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// What counts as recent.
const WINDOW: Duration = Duration::from_secs(60);
/// Growth over less than this is a burst and no rate.
const SHORTEST: Duration = Duration::from_secs(10);

/// Recent looks at every pool.
#[derive(Default)]
pub(crate) struct Trend {
    looks: Mutex<Looks>,
}

#[derive(Default)]
struct Looks {
    last: Option<Duration>,
    /// When, and how many blocks were leased; times are since the start.
    pools: HashMap<PoolId, VecDeque<(Duration, u32)>>,
}

impl Trend {
    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all pools if it is time; one that is gone is forgotten.
    pub(crate) fn look(&self, now: Duration, leased: impl FnOnce() -> Vec<(PoolId, u32)>) {
        let mut looks = self.lock();
        if looks.last.is_some_and(|last| now.saturating_sub(last) < EVERY) {
            return;
        }
        looks.last = Some(now);
        let mut before = std::mem::take(&mut looks.pools);
        for (id, leased) in leased() {
            let mut recent = before.remove(&id).unwrap_or_default();
            recent.push_back((now, leased));
            while recent.front().is_some_and(|(then, _)| now.saturating_sub(*then) > WINDOW) {
                recent.pop_front();
            }
            looks.pools.insert(id, recent);
        }
    }

    /// Time until no block of a pool is free if it goes on as in the last minute: zero when none is,
    /// `None` when the pool does not grow or has not been watched for ten seconds.
    pub(crate) fn exhausted_in(&self, id: PoolId, usage: PoolUse, now: Duration) -> Option<Duration> {
        let free = usage.blocks.saturating_sub(usage.leased);
        if free == 0 {
            return Some(Duration::ZERO);
        }
        let (then, leased) = self.lock().pools.get(&id)?.front().copied()?;
        let watched = now.saturating_sub(then);
        let grown = usage.leased.checked_sub(leased).filter(|n| *n > 0 && watched >= SHORTEST)?;
        Some(watched.saturating_mul(free) / grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: PoolId = PoolId(7);
    const BLOCKS: u32 = 126;

    /// What is foreseen after so many seconds of a pool with so many blocks leased in each.
    fn foreseen(trend: &Trend, leased: impl Fn(u64) -> u32, until: u64) -> Option<Duration> {
        for second in 0..=until {
            trend.look(Duration::from_secs(second), || vec![(POOL, leased(second))]);
        }
        let usage = PoolUse { blocks: BLOCKS, leased: leased(until) };
        trend.exhausted_in(POOL, usage, Duration::from_secs(until))
    }

    fn afresh(leased: impl Fn(u64) -> u32, until: u64) -> Option<Duration> {
        foreseen(&Trend::default(), leased, until)
    }

    #[test]
    fn a_pool_that_grows_by_a_block_a_second_is_full_after_as_many_seconds_as_blocks_are_free() {
        assert_eq!(afresh(|second| second as u32, 30), Some(Duration::from_secs(96)));
    }

    #[test]
    fn nothing_is_foreseen_of_a_pool_that_stands_or_shrinks() {
        assert_eq!(afresh(|_| 40, 30), None);
        assert_eq!(afresh(|second| 100 - second as u32, 30), None);
    }

    #[test]
    fn growth_that_is_over_for_a_minute_is_forgotten() {
        let grown = |second: u64| second.min(20) as u32;
        assert!(afresh(grown, 60).is_some());
        assert_eq!(afresh(grown, 90), None);
    }

    #[test]
    fn a_burst_within_the_first_ten_seconds_is_no_rate() {
        let grown = |second: u64| second as u32 * 10;
        assert_eq!(afresh(grown, 9), None);
        assert_eq!(afresh(grown, 10), Some(Duration::from_secs(10) * 26 / 100));
    }

    #[test]
    fn a_full_pool_is_exhausted_now() {
        assert_eq!(afresh(|_| BLOCKS, 1), Some(Duration::ZERO));
    }

    #[test]
    fn a_pool_that_is_gone_is_forgotten() {
        let trend = Trend::default();
        assert!(foreseen(&trend, |second| second as u32, 30).is_some());
        trend.look(Duration::from_secs(35), Vec::new);
        let usage = PoolUse { blocks: BLOCKS, leased: 31 };
        assert_eq!(trend.exhausted_in(POOL, usage, Duration::from_secs(36)), None);
    }

    #[test]
    fn at_most_a_minute_of_looks_is_kept() {
        let trend = Trend::default();
        foreseen(&trend, |second| second as u32 % 100, 600);
        assert!(trend.lock().pools[&POOL].len() <= 13);
    }
}
