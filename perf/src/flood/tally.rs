//! The account of a trial: what came, what did not, in which order, and how late.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::marker::Marker;
use super::schedule::Schedule;
use super::window::{Noted, Window};
use crate::frame;

/// Nanoseconds up to which latency is recorded as it is; beyond, as this.
const LONGEST: u64 = 100_000_000_000;
/// One in so many of the packets that came is read in full, its checksums summed again.
const CHECK_EACH: u64 = 61;

/// Latency, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Least.
    pub min: f64,
    /// Average.
    pub mean: f64,
    /// Of half of the packets no more.
    pub p50: f64,
    /// Of 90 %.
    pub p90: f64,
    /// Of 99 %.
    pub p99: f64,
    /// Of 99.9 %.
    pub p999: f64,
    /// Of 99.99 %.
    pub p9999: f64,
    /// Most.
    pub max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Latency::default();
        }
        let micros = |ns: f64| (ns / 100.0).round() / 10.0;
        let at = |q: f64| micros(histogram.value_at_quantile(q) as f64);
        Latency {
            min: micros(histogram.min() as f64),
            mean: micros(histogram.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max() as f64),
        }
    }
}

/// The account of a trial that goes on.
pub struct Tally {
    stamp: u32,
    schedule: Schedule,
    from_due: Histogram<u64>,
    from_sending: Histogram<u64>,
    window: Window,
    /// One more than the highest number that came, by flow.
    last: Vec<u64>,
    received: u64,
    octets: u64,
    reordered: u64,
    repeated: u64,
    late: u64,
    alien: u64,
    checked: u64,
    wrong: u64,
    first_wrong: String,
    worst: Vec<u64>,
}

/// The account of a trial that is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Packets that came, each counted once.
    pub received: u64,
    /// Octets of their frames with FCS.
    pub octets: u64,
    /// Packets that came after a later one of their flow (RFC 4737 §3).
    pub reordered: u64,
    /// Copies of packets that had come.
    pub repeated: u64,
    /// Packets so late that they count as lost.
    pub late: u64,
    /// Frames with this trial's stamp that it did not send.
    pub alien: u64,
    /// Packets whose checksums were summed again.
    pub checked: u64,
    /// Those of them that were wrong.
    pub wrong: u64,
    /// What was wrong with the first of these.
    pub first_wrong: String,
    /// From when a packet was due to when it came, µs: corrected for coordinated omission.
    pub latency_us: Latency,
    /// From when it was given to the device, µs: what the generator's own delay adds is the difference.
    pub from_sending_us: Latency,
    /// The longest latency of each second's packets, µs.
    pub worst_us_by_second: Vec<f64>,
}

fn histogram() -> Histogram<u64> {
    // Three digits; the bounds are constants that are in order, so it cannot fail.
    Histogram::new_with_bounds(1, LONGEST, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

impl Tally {
    /// Of the trial of that stamp, with so many flows.
    pub fn new(stamp: u32, schedule: Schedule, flows: u64) -> Self {
        Tally {
            stamp,
            schedule,
            from_due: histogram(),
            from_sending: histogram(),
            window: Window::default(),
            last: vec![0; usize::try_from(flows).unwrap_or(0)],
            received: 0,
            octets: 0,
            reordered: 0,
            repeated: 0,
            late: 0,
            alien: 0,
            checked: 0,
            wrong: 0,
            first_wrong: String::new(),
            worst: Vec::new(),
        }
    }

    /// Packets that came, each counted once.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// A frame came at `now`, ns from the start, when numbers below `sent` had gone. False: it is
    /// none of this trial's.
    #[inline]
    pub fn note(&mut self, frame: &[u8], now: u64, sent: u64) -> bool {
        let Some(marker) = Marker::read(frame).filter(|m| m.stamp == self.stamp) else { return false };
        let number = match self.window.note(marker.number, sent) {
            Noted::New(number) => number,
            Noted::Again => {
                self.repeated += 1;
                return true;
            }
            Noted::Forgotten => {
                self.late += 1;
                return true;
            }
            Noted::Unsent => {
                self.alien += 1;
                return true;
            }
        };
        let Some(last) = self.last.get_mut(marker.flow as usize) else {
            self.alien += 1;
            return true;
        };
        if number < *last {
            self.reordered += 1;
        } else {
            *last = number + 1;
        }
        self.received += 1;
        self.octets += frame.len() as u64 + 4;
        let due = match self.schedule {
            Schedule::Steady { .. } => self.schedule.due(number),
            Schedule::Flat => marker.sent,
        };
        let latency = now.saturating_sub(due);
        self.from_due.saturating_record(latency);
        self.from_sending.saturating_record(now.saturating_sub(marker.sent));
        let second = (due / 1_000_000_000) as usize;
        // A sending time beyond the present is a wrong one.
        if second >= self.worst.len() && due <= now {
            self.worst.resize(second + 1, 0);
        }
        if let Some(worst) = self.worst.get_mut(second) {
            *worst = latency.max(*worst);
        }
        if self.received.is_multiple_of(CHECK_EACH) {
            self.checked += 1;
            if let Err(wrong) = frame::read(frame) {
                self.wrong += 1;
                if self.first_wrong.is_empty() {
                    self.first_wrong = wrong;
                }
            }
        }
        true
    }

    /// The account.
    pub fn close(self) -> Account {
        Account {
            received: self.received,
            octets: self.octets,
            reordered: self.reordered,
            repeated: self.repeated,
            late: self.late,
            alien: self.alien,
            checked: self.checked,
            wrong: self.wrong,
            first_wrong: self.first_wrong,
            latency_us: Latency::of(&self.from_due),
            from_sending_us: Latency::of(&self.from_sending),
            worst_us_by_second: self.worst.iter().map(|ns| (*ns as f64 / 100.0).round() / 10.0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::marker::Template;
    use super::*;
    use crate::frame::Link;
    use wire::MacAddr;

    const MS: u64 = 1_000_000;

    fn frame(stamp: u32, flow: u32, number: u32, sent: u64) -> Vec<u8> {
        let link = Link { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };
        let mut out = vec![0; 60];
        let marker = Marker { stamp, flow, number, sent };
        assert!(Template::new(60, &link).write(&mut out, &crate::flows::egress(u64::from(flow)), &marker));
        out
    }

    #[test]
    fn a_stall_counts_for_every_packet_that_was_due_during_it() {
        // One packet a millisecond; a sender that stands still for 100 ms, then catches up; each packet
        // takes 10 µs from when it is sent.
        let mut tally = Tally::new(7, Schedule::of_rate(1000), 1);
        for n in 0..1000u32 {
            let due = u64::from(n) * MS;
            let sent = if (500..600).contains(&n) { 600 * MS } else { due };
            assert!(tally.note(&frame(7, 0, n, sent), sent + 10_000, 1000));
        }
        let account = tally.close();
        // Of what was measured from sending, nothing tells of the stall.
        assert!((account.from_sending_us.max - 10.0).abs() < 0.1, "{:?}", account.from_sending_us);
        // From when they were due, one in ten waited: 100 ms the first, half of that the middle one.
        let latency = account.latency_us;
        assert!((latency.max - 100_010.0).abs() < 100.0, "{latency:?}");
        assert!((latency.p99 - 90_010.0).abs() < 1_100.0, "{latency:?}");
        assert!((latency.p50 - 10.0).abs() < 0.1, "{latency:?}");
        assert!((latency.mean - 5_060.0).abs() < 20.0, "{latency:?}");
        assert_eq!(account.worst_us_by_second.len(), 1);
    }

    #[test]
    fn loss_order_and_copies_are_told_apart() {
        let mut tally = Tally::new(7, Schedule::of_rate(1000), 2);
        // Packet 3 is lost, 5 comes before 4 of the same flow, 6 of the other flow after 7, 8 twice.
        for (number, flow) in [(0, 0), (1, 1), (2, 0), (5, 0), (4, 0), (7, 0), (6, 1), (8, 1), (8, 1)] {
            assert!(tally.note(&frame(7, flow, number, 0), 10 * MS, 9));
        }
        assert!(!tally.note(&frame(8, 0, 0, 0), 10 * MS, 9), "another trial's");
        assert!(!tally.note(&[0; 60], 10 * MS, 9));
        // Numbers and flows that nobody sent.
        assert!(tally.note(&frame(7, 0, 9, 0), 10 * MS, 9) && tally.note(&frame(7, 2, 3, 0), 10 * MS, 9));
        let account = tally.close();
        assert_eq!((account.received, account.reordered, account.repeated), (8, 1, 1));
        assert_eq!((account.alien, account.late, account.wrong), (2, 0, 0));
    }

    #[test]
    fn a_wrong_checksum_is_seen_in_what_is_checked() {
        let mut tally = Tally::new(7, Schedule::Flat, 1);
        for n in 0..CHECK_EACH as u32 {
            let mut bytes = frame(7, 0, n, 0);
            bytes[40] ^= 1;
            assert!(tally.note(&bytes, MS, 1000));
        }
        let account = tally.close();
        assert_eq!((account.checked, account.wrong), (1, 1));
        assert!(account.first_wrong.contains("UDP"), "{}", account.first_wrong);
    }
}
