//! The highest rate without loss, by halving (RFC 2544 §26.1): trials at rates between the highest
//! that passed and the lowest that did not, until these are as near as wanted.

/// A search that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    passed: u64,
    failed: Option<u64>,
    most: u64,
    resolution: u64,
}

impl Search {
    /// Up to `most` packets a second, to within `resolution` of them, at least 1.
    pub const fn new(most: u64, resolution: u64) -> Self {
        let resolution = if resolution == 0 { 1 } else { resolution };
        Search { passed: 0, failed: None, most, resolution }
    }

    /// The rate to try next; `None`: it is found.
    pub const fn next(&self) -> Option<u64> {
        match self.failed {
            None if self.passed < self.most => Some(self.most),
            Some(failed) if failed - self.passed > self.resolution => Some(self.passed.midpoint(failed)),
            _ => None,
        }
    }

    /// How the trial at `rate` went.
    pub const fn tell(&mut self, rate: u64, passed: bool) {
        if passed && rate > self.passed {
            self.passed = rate;
        } else if !passed && rate > self.passed {
            self.failed = Some(rate);
        }
    }

    /// The highest rate that passed; 0: none did.
    pub const fn found(&self) -> u64 {
        self.passed
    }

    /// Trials that there will be at most.
    pub const fn trials(&self) -> u64 {
        let ratio = self.most / self.resolution;
        1 + if ratio > 1 { (ratio - 1).ilog2() as u64 + 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(most: u64, resolution: u64, limit: u64) -> (u64, u64) {
        let (mut search, mut trials) = (Search::new(most, resolution), 0);
        let bound = search.trials();
        while let Some(rate) = search.next() {
            search.tell(rate, rate <= limit);
            trials += 1;
            assert!(trials <= bound, "{trials} trials of {bound}");
        }
        (search.found(), trials)
    }

    #[test]
    fn the_limit_is_found_to_within_the_resolution() {
        for limit in [1, 999, 500_000, 733_331, 999_999, 1_000_000, 2_000_000] {
            let (found, _) = search(1_000_000, 1_000, limit);
            let limit = limit.min(1_000_000);
            assert!(found <= limit && limit - found <= 1_000, "{found} of {limit}");
        }
    }

    #[test]
    fn all_or_nothing_is_told_at_once_or_with_zero() {
        assert_eq!(search(1_000_000, 10_000, 1_000_000), (1_000_000, 1));
        assert_eq!(search(1_000_000, 10_000, 0).0, 0);
        assert_eq!(search(3, 0, 1).0, 1);
    }
}
