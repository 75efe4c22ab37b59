//! What a trial gave: one object of `flood --json`.

use serde::{Deserialize, Serialize};

use super::generator::Outcome;
use super::tally::Account;

/// A trial, as results keep it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Device that it was sent by, with its driver.
    pub from: String,
    /// Device that it was received by.
    pub to: String,
    /// Flows.
    pub flows: u64,
    /// `uniform`, `zipf` or `turn`.
    pub order: String,
    /// Octets of a frame with FCS, or `imix`.
    pub size: String,
    /// Packets a second that were asked for; `null`: as many as go.
    pub rate: Option<u64>,
    /// Seconds of sending.
    pub seconds: f64,
    /// Packets that the device took.
    pub sent: u64,
    /// Packets that were due and that the device did not take in time: then the generator was too slow.
    pub unsent: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Of those sent, percent.
    pub loss_percent: f64,
    /// Packets a second that went.
    pub sent_per_second: u64,
    /// Packets a second that came.
    pub received_per_second: u64,
    /// Gbit/s that came, of frames with FCS.
    pub received_gbits: f64,
    /// The longest that a packet was sent after it was due, µs.
    pub worst_lag_us: f64,
    /// Marked packets that came back to where they were sent.
    pub astray: u64,
    /// Other frames that came.
    pub others: u64,
    /// What came.
    #[serde(flatten)]
    pub account: Account,
    /// What a reader should know.
    pub note: String,
}

impl Record {
    /// Of an outcome; names and the like are the caller's to add.
    pub fn of(outcome: Outcome) -> Self {
        let Outcome { rate, seconds, sent, unsent, worst_lag, astray, others, account } = outcome;
        let lost = sent.saturating_sub(account.received);
        let percent = if sent == 0 { 0.0 } else { lost as f64 * 100.0 / sent as f64 };
        let a_second = |n: u64| if seconds > 0.0 { (n as f64 / seconds).round() as u64 } else { 0 };
        let mut notes = Vec::new();
        if unsent > 0 {
            notes.push(format!("the generator was too slow: {unsent} packets were due and not sent"));
        }
        if account.wrong > 0 {
            notes.push(format!(
                "{} of {} checked were wrong: {}",
                account.wrong, account.checked, account.first_wrong
            ));
        }
        if astray > 0 {
            notes.push(format!("{astray} came back to where they were sent"));
        }
        Record {
            rate,
            seconds,
            sent,
            unsent,
            lost,
            loss_percent: percent,
            sent_per_second: a_second(sent),
            received_per_second: a_second(account.received),
            received_gbits: (account.octets as f64 * 8.0 / seconds.max(1e-9) / 1e6).round() / 1e3,
            worst_lag_us: (worst_lag as f64 / 100.0).round() / 10.0,
            astray,
            others,
            account,
            note: notes.join("; "),
            ..Record::default()
        }
    }

    /// Did all go that were due, and no more of them get lost than `percent`?
    pub fn passes(&self, percent: f64) -> bool {
        self.sent > 0 && self.unsent == 0 && self.loss_percent <= percent
    }

    /// The driver of the device that it was received by.
    pub fn driver(&self) -> &str {
        let named = self.to.rsplit_once('(').and_then(|(_, driver)| driver.strip_suffix(')'));
        named.unwrap_or(&self.to)
    }

    /// How it went, in a line.
    pub fn line(&self) -> String {
        let l = &self.account.latency_us;
        format!(
            "{:>9} pps sent, {:>9} received, {:>7} lost ({:.4} %), {} reordered; latency p50 {:.1} p99 {:.1} p99.9 {:.1} max {:.1} µs{}{}",
            self.sent_per_second,
            self.received_per_second,
            self.lost,
            self.loss_percent,
            self.account.reordered,
            l.p50,
            l.p99,
            l.p999,
            l.max,
            if self.note.is_empty() { "" } else { "; " },
            self.note,
        )
    }
}

/// What a search gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Loss that was let pass, percent.
    pub loss_percent: f64,
    /// The highest rate that passed, packets a second; 0: none did.
    pub rate: u64,
    /// To within so many.
    pub resolution: u64,
    /// Seconds of a trial.
    pub seconds: f64,
    /// Trials.
    pub trials: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_passes_by_its_loss_and_not_when_the_generator_was_too_slow() {
        let outcome = |sent, unsent, received| Outcome {
            rate: Some(1000),
            seconds: 1.0,
            sent,
            unsent,
            worst_lag: 0,
            astray: 0,
            others: 0,
            account: Account { received, ..Account::default() },
        };
        assert!(Record::of(outcome(1000, 0, 1000)).passes(0.0));
        assert!(!Record::of(outcome(1000, 0, 999)).passes(0.0));
        assert!(Record::of(outcome(1000, 0, 999)).passes(0.1));
        assert!(!Record::of(outcome(900, 100, 900)).passes(0.0));
        assert!(!Record::of(outcome(0, 0, 0)).passes(0.0));
    }
}
