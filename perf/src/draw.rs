//! Which flow the next packet belongs to.
//!
//! At random, never in turn: in turn, the next flow's lines would already be on their way.

/// How flows are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flows {
    /// All alike.
    #[default]
    Uniform,
    /// Zipf's law with exponent 1: the k-th most popular flow 1/k as often as the first.
    Zipf,
}

impl Flows {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Flows::Uniform => "uniform",
            Flows::Zipf => "zipf",
        }
    }
}

/// One step of SplitMix64: a well-mixed function of `x`.
#[inline]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A seeded source of flow numbers.
#[derive(Clone, Debug)]
pub struct Draw {
    flows: Flows,
    state: u64,
}

impl Draw {
    /// The sequence of that seed.
    pub const fn new(flows: Flows, seed: u64) -> Self {
        Draw { flows, state: mix(seed) }
    }

    /// The next 64 bits.
    #[inline]
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number below `n`, all alike; 0 for `n` = 0.
    #[inline]
    pub const fn below(&mut self, n: u64) -> u64 {
        ((self.bits() as u128 * n as u128) >> 64) as u64
    }

    /// The number of a flow of `n`.
    #[inline]
    pub fn flow(&mut self, n: u64) -> u64 {
        match self.flows {
            Flows::Uniform => self.below(n),
            // Popular flows lie scattered over the table: an odd factor without one of n's permutes.
            Flows::Zipf => (self.rank(n) * 2_654_435_761) % n.max(1),
        }
    }

    /// A rank below `n` by Zipf's law, exactly: drawn by the integral of 1/x, and accepted in
    /// proportion to what 1/k is to that integral over k..k+1.
    fn rank(&mut self, n: u64) -> u64 {
        if n < 2 {
            return 0;
        }
        let log = ((n + 1) as f64).ln();
        loop {
            let u = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
            let k = ((u * log).exp() as u64).clamp(1, n);
            let ratio = 1.0 / (k as f64 * (1.0 + 1.0 / k as f64).ln());
            let v = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
            if v * std::f64::consts::LOG2_E <= ratio {
                return k - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_draws_the_first_as_often_as_its_law_says() {
        let (n, draws) = (1000u64, 200_000);
        let mut draw = Draw::new(Flows::Zipf, 7);
        let mut seen = vec![0u32; 1000];
        for _ in 0..draws {
            seen[draw.rank(n) as usize] += 1;
        }
        let harmonic: f64 = (1..=n).map(|k| 1.0 / k as f64).sum();
        for k in [1usize, 2, 3, 10] {
            let wanted = f64::from(draws) / harmonic / k as f64;
            let got = f64::from(seen[k - 1]);
            assert!((got - wanted).abs() < 6.0 * wanted.sqrt(), "rank {k}: {got} of {wanted}");
        }
    }

    #[test]
    fn every_flow_is_drawn_by_both() {
        for flows in [Flows::Uniform, Flows::Zipf] {
            let mut draw = Draw::new(flows, 1);
            let seen: std::collections::BTreeSet<u64> = (0..20_000).map(|_| draw.flow(64)).collect();
            assert_eq!(seen.len(), 64);
        }
    }
}
