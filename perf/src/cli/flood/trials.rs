//! One trial after the other: the warm-up, the one that counts, or the search's.

use anyhow::{Result, anyhow, bail};
use indicatif::ProgressBar;
use perf::flood;
use perf::flood::generator::{Generator, Trial};
use perf::flood::record::{Found, Record};
use perf::flood::schedule::Schedule;
use perf::flood::search::Search;
use perf::flood::traffic::Order;

/// Seconds between two trials: what is queued anywhere drains.
const REST: f64 = 1.0;

/// A generator with its trial, and what is to be printed.
pub(super) struct Run {
    pub(super) generator: Generator,
    pub(super) trial: Trial,
    pub(super) bar: ProgressBar,
    pub(super) json: bool,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) note: String,
    pub(super) records: Vec<Record>,
}

impl Run {
    /// One trial at that rate; its record is the last.
    pub(super) fn one(&mut self, rate: Option<u64>, doing: &str) -> Result<&Record> {
        self.trial.stamp = self.trial.stamp.wrapping_add(1);
        self.trial.rate = rate;
        self.trial.schedule = rate.map_or(Schedule::Flat, Schedule::of_rate);
        let (bar, seconds) = (&self.bar, self.trial.seconds);
        let asked = rate.map_or("as fast as it goes".to_owned(), |r| format!("at {r} pps"));
        let outcome = self.generator.run(&self.trial, &mut |far| {
            bar.set_position((1000.0 * far.seconds / seconds.max(0.001)).min(1000.0) as u64);
            let missing = far.sent.saturating_sub(far.received);
            bar.set_message(format!("{doing} {asked}: {} sent, {missing} not back yet", far.sent));
        });
        if flood::ended() {
            bail!("interrupted");
        }
        let mut record = Record::of(outcome);
        (record.from, record.to) = (self.from.clone(), self.to.clone());
        record.flows = self.trial.ends.flows;
        record.order = self.trial.order.name().to_owned();
        record.size = self.trial.size.to_string();
        if !self.note.is_empty() {
            let more = if record.note.is_empty() { String::new() } else { format!("; {}", record.note) };
            record.note = format!("{}{more}", self.note);
        }
        self.records.push(record);
        self.records.last().ok_or_else(|| anyhow!("no trial ran"))
    }

    /// Opens flows one after the other. A search does so at a tenth of its most, or as fast as all take.
    pub(super) fn warm_up(&mut self, seconds: f64, search: bool) -> Result<()> {
        let (order, counted) = (self.trial.order, self.trial.seconds);
        let flows = self.trial.ends.flows;
        let rate = match self.trial.rate {
            Some(most) if search => Some((most / 10).max((flows as f64 / seconds) as u64 + 1).min(most)),
            rate => rate,
        };
        if let Some(rate) = rate.filter(|r| (*r as f64 * seconds) < flows as f64) {
            let opened = (rate as f64 * seconds) as u64;
            self.bar.suspend(|| {
                eprintln!(
                    "sluice-perf: the warm-up opens {opened} of {flows} flows, the rest open while it counts: \
                     --warm-up {} opens all",
                    flows.div_ceil(rate)
                );
            });
        }
        (self.trial.order, self.trial.seconds) = (Order::InTurn, seconds);
        let wanted = self.trial.rate;
        let (sent, received) = {
            let record = self.one(rate, "warming up")?;
            (record.sent, record.account.received)
        };
        self.records.clear();
        (self.trial.order, self.trial.seconds, self.trial.rate) = (order, counted, wanted);
        if received == 0 {
            bail!(
                "none of {sent} packets came back by {}: see the gateway's drops (`sluicectl drops`), its policy for {}, \
                 and that its route to {} leads to {}",
                self.to,
                self.trial.ends.sources,
                self.trial.ends.targets,
                self.to
            );
        }
        self.generator.rest(REST);
        Ok(())
    }

    pub(super) fn search(&mut self, loss: f64, resolution: f64) -> Result<Found> {
        let most = match self.trial.rate {
            Some(most) => most,
            // What the generator and its device can do at all.
            None => {
                let record = self.one(None, "as fast as it goes")?;
                let (sent, line) = (record.sent_per_second, record.line());
                self.say(&line, "what the generator sends");
                sent.max(1)
            }
        };
        let step = ((most as f64 * resolution / 100.0) as u64).max(1);
        let mut search = Search::new(most, step);
        let (mut trials, all) = (0, search.trials());
        while let Some(rate) = search.next() {
            self.generator.rest(REST);
            trials += 1;
            let record = self.one(Some(rate), &format!("trial {trials} of at most {all},"))?;
            let (passed, line) = (record.passes(loss), record.line());
            search.tell(rate, passed);
            self.say(&line, &format!("trial {trials}: {}", if passed { "passed" } else { "failed" }));
        }
        let seconds = self.trial.seconds;
        Ok(Found { loss_percent: loss, rate: search.found(), resolution: step, seconds, trials })
    }

    /// A line for people; with --json on standard error.
    fn say(&self, line: &str, of: &str) {
        self.bar
            .suspend(|| if self.json { eprintln!("{of:<17} {line}") } else { println!("{of:<17} {line}") });
    }
}

/// A trial's record, for people.
pub(super) fn print(r: &Record) {
    let a = &r.account;
    println!("from {} to {}, {} flows {}, {} octets", r.from, r.to, r.flows, r.order, r.size);
    println!(
        "sent      {:>12}  {:>10} pps, at most {:.1} µs after it was due",
        r.sent, r.sent_per_second, r.worst_lag_us
    );
    println!(
        "received  {:>12}  {:>10} pps, {:.3} Gbit/s, {} of {} checked right",
        a.received,
        r.received_per_second,
        r.received_gbits,
        a.checked - a.wrong,
        a.checked
    );
    println!("lost      {:>12}  {:.4} %, of them {} came too late to count", r.lost, r.loss_percent, a.late);
    println!(
        "reordered {:>12}  repeated {}, astray {}, others {}",
        a.reordered, a.repeated, r.astray, r.others
    );
    println!(
        "{:28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "latency, µs", "min", "mean", "p50", "p90", "p99", "p99.9", "max"
    );
    for (from, l) in [("from when it was due", &a.latency_us), ("from when it was sent", &a.from_sending_us)]
    {
        println!(
            "  {from:26} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
            l.min, l.mean, l.p50, l.p90, l.p99, l.p999, l.max
        );
    }
    if !r.note.is_empty() {
        println!("{}", r.note);
    }
}
