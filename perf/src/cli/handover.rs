//! `sluice-perf handover`.

use anyhow::{Result, bail};
use clap::Args;
use perf::loads::{Nat, Recipe};
use perf::ports::handover::{self, Handover};
use serde::Serialize;

use super::{bar, print_json, size};

const EXAMPLES: &str = "\
Examples:
  sluice-perf handover
  sluice-perf handover --sessions 1m --cpus 2,3 --json";

/// Options.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The two CPUs; each should be a core of its own [default: the first and the last allowed]
    #[arg(long, value_delimiter = ',', num_args = 2, value_name = "N,N")]
    cpus: Vec<usize>,
    /// Sessions live
    #[arg(long, default_value = "64k", value_parser = size)]
    sessions: u64,
    /// Runs that count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Packets of a run, for each worker
    #[arg(long, default_value = "1m", value_parser = size)]
    packets: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    handover: Handover,
}

impl Options {
    pub(super) fn run(self) -> Result<()> {
        let allowed = dpdk::allowed_cpus();
        let cpus = match (self.cpus.as_slice(), allowed.as_slice()) {
            ([a, b], _) | ([], [a, .., b]) if a != b => [*a, *b],
            _ => bail!("two workers need two CPUs, and {} are allowed: see taskset", allowed.len()),
        };
        // Of fewer hosts too many may be one worker's.
        if !(1 << 14..=50_000_000).contains(&self.sessions) {
            bail!("--sessions {}: from 16k to 50 million", self.sessions);
        }
        let bar = bar(100);
        let recipe = Recipe::new(Nat::Snat, self.sessions);
        let figures = handover::measure(cpus, recipe, usize::from(self.runs), self.packets, |doing, far| {
            bar.set_position((far * 100.0) as u64);
            bar.set_message(doing.to_owned());
        })?;
        bar.finish_and_clear();
        if self.json {
            return print_json(Report { handover: figures });
        }
        let f = &figures;
        println!("cycles a packet and worker, {} sessions, CPUs {} and {}", f.sessions, cpus[0], cpus[1]);
        println!("{:<40} {:>26}", "one worker", f.one);
        println!(
            "{:<40} {:>26}  {:.2} times the rate of one",
            "two, packets arriving at their owners", f.at_owner, f.speed_up_at_owner
        );
        println!(
            "{:<40} {:>26}  {:.2} times the rate of one",
            "two, packets arriving anywhere", f.anywhere, f.speed_up
        );
        let share = f.handed * 100.0;
        println!(
            "{share:.0} % handed over: {:.0} cycles each; {} frames checked",
            f.handover_cycles, f.checked
        );
        Ok(())
    }
}
