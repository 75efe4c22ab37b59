//! How fast pools fill: blocks leased over the last minute, so that the API can say when none
//! will be free.
//!
//! The slow thread looks every few seconds at the lease tables, which all workers share; no
//! worker is asked and no packet pays for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nat::{PoolId, PoolUse};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// What counts as recent.
const WINDOW: Duration = Duration::from_secs(60);
/// Growth over less than this is a burst and no rate.
const SHORTEST: Duration = Duration::from_secs(10);

/// Blocks leased at a time since the start.
type Look = (Duration, u32);

/// Recent looks at every pool.
#[derive(Default)]
pub(crate) struct Trend {
    pools: Mutex<HashMap<PoolId, VecDeque<Look>>>,
}

impl Trend {
    /// Looks at `pools` if it is time; one that is not among them is forgotten.
    pub(crate) fn look<'a>(&self, pools: impl Iterator<Item = &'a nat::Pool>, now: Duration) {
        self.note(pools.map(|pool| (pool.id, || pool.usage().leased)), now);
    }

    fn note(&self, pools: impl Iterator<Item = (PoolId, impl FnOnce() -> u32)>, now: Duration) {
        let mut known = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *known);
        for (id, leased) in pools {
            let mut looks = before.remove(&id).unwrap_or_default();
            if looks.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= EVERY) {
                looks.push_back((now, leased()));
            }
            while looks.front().is_some_and(|(first, _)| now.saturating_sub(*first) > WINDOW) {
                looks.pop_front();
            }
            known.insert(id, looks);
        }
    }

    /// Time until no block of a pool is free if it goes on as in the last minute: zero when none is,
    /// `None` when the pool does not grow or has not been watched for ten seconds.
    pub(crate) fn exhausted_in(&self, id: PoolId, usage: PoolUse, now: Duration) -> Option<Duration> {
        let free = usage.blocks.saturating_sub(usage.leased);
        if free == 0 {
            return Some(Duration::ZERO);
        }
        let known = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let &(since, leased) = known.get(&id)?.front()?;
        let watched = now.saturating_sub(since);
        let grown = usage.leased.checked_sub(leased).filter(|n| *n > 0 && watched >= SHORTEST)?;
        Some(watched.saturating_mul(free) / grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: PoolId = PoolId(7);
    const BLOCKS: u32 = 126;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A pool that was looked at every second with so many blocks leased.
    fn watched(leased: impl Fn(u64) -> u32, until: u64) -> (Trend, impl Fn() -> Option<Duration>) {
        let trend = Trend::default();
        for second in 0..=until {
            trend.note([(POOL, || leased(second))].into_iter(), seconds(second));
        }
        let usage = PoolUse { blocks: BLOCKS, leased: leased(until) };
        let known = trend.pools.lock().unwrap().clone();
        let copy = Trend { pools: Mutex::new(known) };
        (trend, move || copy.exhausted_in(POOL, usage, seconds(until)))
    }

    #[test]
    fn a_pool_that_grows_by_a_block_a_second_is_full_after_as_many_seconds_as_blocks_are_free() {
        let (_, foreseen) = watched(|second| second as u32, 30);
        assert_eq!(foreseen(), Some(seconds(96)));
    }

    #[test]
    fn nothing_is_foreseen_of_a_pool_that_stands_or_shrinks() {
        assert_eq!(watched(|_| 40, 30).1(), None);
        assert_eq!(watched(|second| 100 - second as u32, 30).1(), None);
    }

    #[test]
    fn growth_that_is_over_for_a_minute_is_forgotten() {
        let grown = |second: u64| second.min(20) as u32;
        assert!(watched(grown, 60).1().is_some());
        assert_eq!(watched(grown, 90).1(), None);
    }

    #[test]
    fn a_burst_within_the_first_ten_seconds_is_no_rate() {
        let grown = |second: u64| second as u32 * 10;
        assert_eq!(watched(grown, 9).1(), None);
        assert_eq!(watched(grown, 10).1(), Some(seconds(10) * 26 / 100));
    }

    #[test]
    fn a_full_pool_is_exhausted_now() {
        assert_eq!(watched(|_| BLOCKS, 1).1(), Some(Duration::ZERO));
    }

    #[test]
    fn a_pool_that_is_gone_is_forgotten() {
        let (trend, _) = watched(|second| second as u32, 30);
        trend.note(std::iter::empty::<(PoolId, fn() -> u32)>(), seconds(31));
        let usage = PoolUse { blocks: BLOCKS, leased: 31 };
        assert_eq!(trend.exhausted_in(POOL, usage, seconds(31)), None);
    }

    #[test]
    fn at_most_a_minute_of_looks_is_kept() {
        let (trend, _) = watched(|second| second as u32, 600);
        assert!(trend.pools.lock().unwrap()[&POOL].len() <= 13);
    }
}
