//! A token bucket in ticks.

/// Lets `per_second` things pass in a second, and as many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limiter {
    per_second: u32,
    /// Tenths of a token.
    tenths: u32,
}

impl Limiter {
    /// A full bucket.
    pub(crate) fn new(per_second: u32) -> Self {
        Limiter { per_second, tenths: per_second.saturating_mul(10) }
    }

    /// `ticks` of 100 ms went by.
    pub(crate) fn refill(&mut self, ticks: u32) {
        let full = self.per_second.saturating_mul(10);
        self.tenths = self.tenths.saturating_add(ticks.saturating_mul(self.per_second)).min(full);
    }

    /// May one pass?
    pub(crate) fn pass(&mut self) -> bool {
        let enough = self.tenths >= 10;
        if enough {
            self.tenths -= 10;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_one_second_and_fills_by_tenths() {
        let mut l = Limiter::new(10);
        assert_eq!((0..20).filter(|_| l.pass()).count(), 10);
        l.refill(1);
        assert!(l.pass());
        assert!(!l.pass());
        l.refill(1000);
        assert_eq!((0..20).filter(|_| l.pass()).count(), 10);
    }
}
