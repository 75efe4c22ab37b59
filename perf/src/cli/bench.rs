//! `sluice-perf bench`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use perf::bench::{self, Plan, Record};
use perf::draw;
use perf::loads;
use serde::Serialize;

use super::{Place, bar, print_json, size};

#[derive(Clone, Copy, ValueEnum)]
enum Nat {
    Snat,
    Dnat,
}

#[derive(Clone, Copy, ValueEnum)]
enum Flows {
    Uniform,
    Zipf,
}

const EXAMPLES: &str = "\
Loads: established, new, expiring, tcp, fragments, hairpin, drops, icmp-errors, imix, mixed.

Examples:
  sluice-perf bench --load established --nat dnat --sessions 64k
  sluice-perf bench --load established --sessions 1m --policies 1000 --routes 1000
  sluice-perf bench --load new --sessions 1m --json
  sluice-perf bench --all --json > perf/results/this-machine.json";

/// Options.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    #[command(flatten)]
    place: Place,
    /// Kind of traffic
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(loads::NAMES), required_unless_present = "all")]
    load: Option<String>,
    /// Every load and size
    #[arg(long, conflicts_with = "load")]
    all: bool,
    /// With --all: no more sessions than this
    #[arg(long, default_value = "10000000", value_parser = size)]
    most: u64,
    /// Translation: from inside behind a pool, or to 1,000 VIPs of 100 backends
    #[arg(long, value_enum, default_value = "snat")]
    nat: Nat,
    /// Sessions live
    #[arg(long, default_value = "1m", value_parser = size)]
    sessions: u64,
    /// How flows are drawn
    #[arg(long, value_enum, default_value = "uniform")]
    flows: Flows,
    /// Of 100 packets of established sessions, how many are replies
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    replies: u8,
    /// Policies that match nothing, beside
    #[arg(long, default_value_t = 0)]
    policies: u32,
    /// Routes that nobody takes, beside
    #[arg(long, default_value_t = 0)]
    routes: u32,
    /// Devices that verify IP header checksums
    #[arg(long)]
    offload: bool,
    /// Packets of a burst
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    burst: u16,
    /// Runs that count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Packets of a run
    #[arg(long, default_value = "1m", value_parser = size)]
    packets: u64,
    /// Seed of all draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    bench: Vec<Record>,
}

impl Bench {
    fn plan(&self, load: &str) -> Result<Plan> {
        if !(4..=100_000_000).contains(&self.sessions) {
            bail!("--sessions {}: from 4 to 100 million", self.sessions);
        }
        let nat = match self.nat {
            Nat::Snat => loads::Nat::Snat,
            Nat::Dnat => loads::Nat::Dnat,
        };
        let mut plan = Plan::new(load, nat, self.sessions);
        let r = &mut plan.recipe;
        r.flows = match self.flows {
            Flows::Uniform => draw::Flows::Uniform,
            Flows::Zipf => draw::Flows::Zipf,
        };
        r.replies = u64::from(self.replies);
        (r.policies, r.routes, r.seed) = (self.policies, self.routes, self.seed);
        (plan.burst, plan.offload) = (usize::from(self.burst), self.offload);
        (plan.runs, plan.packets) = (usize::from(self.runs), self.packets.max(4096));
        Ok(plan)
    }

    pub(super) fn run(self) -> Result<()> {
        self.place.pin()?;
        let plans = match &self.load {
            Some(load) => vec![self.plan(load)?],
            None => bench::all(self.most),
        };
        let bar = bar(100 * plans.len() as u64);
        let mut records = Vec::new();
        for (n, plan) in plans.iter().enumerate() {
            let record = bench::measure(plan, |doing, far| {
                bar.set_position(100 * n as u64 + (far * 100.0) as u64);
                bar.set_message(format!("{} {}: {doing}", plan.load, plan.recipe.sessions));
            })?;
            if !self.json {
                bar.suspend(|| print(&record));
            }
            records.push(record);
        }
        bar.finish_and_clear();
        if !self.json {
            return Ok(());
        }
        match (self.all, records.first()) {
            (false, Some(record)) => println!("{}", serde_json::to_string(record)?),
            _ => {
                print_json(Report { bench: records })?;
            }
        }
        Ok(())
    }
}

fn print(r: &Record) {
    println!(
        "{:<12} {} {:>9} {:<8} {:>22} cycles, floor {:>20}, {:>6.2} Mpps, {:>6.1} B/session, {} checked, {}{}{}",
        r.load,
        r.nat,
        r.sessions,
        r.flows,
        r.cycles_per_packet.to_string(),
        r.floor_cycles.to_string(),
        r.packets_per_second as f64 / 1e6,
        r.bytes_per_session,
        r.checked,
        r.pages,
        if r.note.is_empty() { "" } else { "; " },
        r.note,
    );
    if let Some(unit) = r.cycles_per_unit {
        println!("{:12} {unit} cycles a connection", "");
    }
    if let Some(bare) = r.bare_cycles {
        let more = (r.cycles_per_packet.median / bare.median.max(0.1) - 1.0) * 100.0;
        println!("{:12} {bare} cycles without them in the same run: {more:+.1} %", "");
    }
    if let Some(factor) = r.clock_factor {
        println!("{:12} time passed {factor} times as fast as the clock", "");
    }
}
