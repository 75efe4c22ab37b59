//! When each packet is due. Packet n is due at n times the interval, whatever became of those
//! before it: latency counts from then, so that a stall of whom is measured, or of the generator,
//! is not left out because nothing was sent during it (coordinated omission).

/// When packets are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// One after each interval, in units of 2^-32 ns.
    Steady {
        /// The interval.
        interval: u64,
    },
    /// Whenever the device takes one. There is no time at which a packet would be due but when it goes.
    Flat,
}

impl Schedule {
    /// So many packets a second, at least one.
    pub const fn of_rate(per_second: u64) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        // Rounded up, so that a second has no more packets than wanted.
        Schedule::Steady { interval: (1_000_000_000u128 << 32).div_ceil(per_second as u128) as u64 }
    }

    /// When packet `n` is due, nanoseconds from the start.
    #[inline]
    pub const fn due(self, n: u64) -> u64 {
        match self {
            Schedule::Steady { interval } => ((n as u128 * interval as u128) >> 32) as u64,
            Schedule::Flat => 0,
        }
    }

    /// Packets that are due before `end`; `None`: as many as go.
    pub const fn planned(self, end: u64) -> Option<u64> {
        match self {
            Schedule::Steady { interval } => Some(((end as u128) << 32).div_ceil(interval as u128) as u64),
            Schedule::Flat => None,
        }
    }
}

/// A wanted rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Packets a second.
    PerSecond(u64),
    /// Of what the wire takes, 0 to 1.
    Share(f64),
    /// As many as go.
    Max,
}

/// Octets that a frame takes on the wire beside itself: preamble, FCS and gap (IEEE 802.3).
const BESIDE: f64 = 8.0 + 4.0 + 12.0;

/// Frames a second of a wire of `mbps`, for frames of `octets` on average, without FCS.
pub fn wire_rate(mbps: u32, octets: f64) -> f64 {
    f64::from(mbps) * 1e6 / ((octets + BESIDE) * 8.0)
}

impl Rate {
    /// Packets a second, `None` as many as go. `Err` where a share is asked for of a wire whose speed is unknown.
    pub fn per_second(self, mbps: Option<u32>, octets: f64) -> Result<Option<u64>, String> {
        match (self, mbps) {
            (Rate::PerSecond(n), _) => Ok(Some(n)),
            (Rate::Max, _) => Ok(None),
            (Rate::Share(share), Some(mbps)) => Ok(Some(((wire_rate(mbps, octets) * share) as u64).max(1))),
            (Rate::Share(_), None) => {
                Err("the device does not tell its speed, so a share of it is unknown: \
                                           give packets a second, such as --rate 100k"
                    .to_owned())
            }
        }
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// `2000`, `250k`, `1.5m` (thousands and millions a second), `50%` of the wire, or `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate like 2000, 250k, 1.5m, 50% or max");
        if text == "max" {
            return Ok(Rate::Max);
        }
        let (digits, factor) = match text.chars().last() {
            Some('k') => (&text[..text.len() - 1], 1e3),
            Some('m') => (&text[..text.len() - 1], 1e6),
            Some('%') => (&text[..text.len() - 1], 0.01),
            _ => (text, 1.0),
        };
        let number: f64 = digits.parse().map_err(|_| wrong())?;
        let value = number * factor;
        if text.ends_with('%') {
            return if value > 0.0 && value <= 1.0 { Ok(Rate::Share(value)) } else { Err(wrong()) };
        }
        if (1.0..=1e9).contains(&value) { Ok(Rate::PerSecond(value as u64)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_due_evenly_and_drift_less_than_a_microsecond_in_an_hour() {
        for rate in [1u64, 7, 2_000, 999_983, 14_880_952] {
            let schedule = Schedule::of_rate(rate);
            assert_eq!(schedule.due(0), 0);
            let hour = schedule.due(rate * 3600);
            assert!(hour.abs_diff(3_600_000_000_000) < 1_000, "{rate}: {hour}");
            assert_eq!(schedule.planned(1_000_000_000), Some(rate), "{rate}");
        }
        assert_eq!(Schedule::Flat.planned(1), None);
    }

    #[test]
    fn what_is_planned_is_what_is_due_before_the_end() {
        let schedule = Schedule::of_rate(3);
        let n = schedule.planned(700_000_000).unwrap();
        assert!(schedule.due(n - 1) < 700_000_000 && schedule.due(n) >= 700_000_000);
    }

    #[test]
    fn a_rate_is_a_number_a_share_or_max() {
        assert_eq!("2000".parse(), Ok(Rate::PerSecond(2000)));
        assert_eq!("1.5m".parse(), Ok(Rate::PerSecond(1_500_000)));
        assert_eq!("max".parse(), Ok(Rate::Max));
        for wrong in ["", "0", "-3", "fast", "120%", "0%", "k", "1e30", "NaN", "é"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        // 64 octets at 10 Gbit/s: 14.88 million frames a second.
        let all = Rate::Share(1.0).per_second(Some(10_000), 60.0).unwrap().unwrap();
        assert_eq!(all, 14_880_952);
        let half: Rate = "50%".parse().unwrap();
        assert_eq!(half.per_second(Some(10_000), 60.0), Ok(Some(all / 2)));
        assert!(half.per_second(None, 60.0).unwrap_err().contains("--rate"));
    }
}
