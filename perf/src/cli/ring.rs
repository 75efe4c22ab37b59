//! `sluice-perf ring`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use perf::bench::{Plan, Record, Runs};
use perf::compare::{IN_FLIGHT, Mover};
use perf::loads::Nat;
use perf::ports::ring::RingRuns;
use perf::spread::Spread;
use serde::Serialize;

use super::{Place, bar, print_json, size};

const EXAMPLES: &str = "\
Examples:
  sluice-perf ring
  sluice-perf ring --sessions 64k --burst 64 --json";

/// Options.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Ring {
    #[command(flatten)]
    place: Place,
    /// Sessions live
    #[arg(long, default_value = "1k", value_parser = size)]
    sessions: u64,
    /// Packets of a burst
    #[arg(long, default_value = "32", value_parser = ["32", "64"])]
    burst: String,
    /// Runs that count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Packets of a run
    #[arg(long, default_value = "1m", value_parser = size)]
    packets: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    ring: Figures,
}

#[derive(Serialize)]
struct Figures {
    sessions: u64,
    burst: usize,
    /// Through ports.
    ports: Spread,
    /// Handed over in memory.
    memory: Record,
    /// What ports add, by the medians.
    more: f64,
    /// `testpmd`, if the machine has it.
    testpmd: Option<Spread>,
    checked: u64,
    note: String,
}

impl Ring {
    pub(super) fn run(self) -> Result<()> {
        if !(4..=100_000_000).contains(&self.sessions) {
            bail!("--sessions {}: from 4 to 100 million", self.sessions);
        }
        let mover = Mover::found();
        let mut plan = Plan::new("established", Nat::Snat, self.sessions);
        (plan.runs, plan.packets) = (usize::from(self.runs), self.packets.max(4096));
        plan.burst = if self.burst == "64" { 64 } else { 32 };
        let bar = bar(100);
        let mut told = |doing: &str, far: f64| {
            bar.set_position((far * 100.0) as u64);
            bar.set_message(doing.to_owned());
        };
        let mut ports = RingRuns::open(&plan, &mut told)?;
        // After DPDK has started, which moves its thread about.
        let cpu = self.place.pin()?;
        let mut memory = Runs::open(&plan, &mut told)?;
        let mut moves = Vec::new();
        for run in 0..=plan.runs {
            told("measuring", run as f64 / (plan.runs + 1) as f64);
            memory.run()?;
            ports.run()?;
            if let Some(mover) = &mover
                && let Some(cycles) = mover.run(cpu, Duration::from_millis(300))?
                && run > 0
            {
                moves.push(cycles);
            }
        }
        bar.finish_and_clear();
        let (figures, checked) = ports.figures()?;
        let through = Spread::of(figures);
        let memory = memory.record()?;
        let more = ((through.median - memory.cycles_per_packet.median) * 10.0).round() / 10.0;
        let figures = Figures {
            sessions: self.sessions,
            burst: plan.burst,
            ports: through,
            memory,
            more,
            testpmd: (!moves.is_empty()).then(|| Spread::of(&moves)),
            checked,
            note: ports.memory().to_owned(),
        };
        if self.json {
            return print_json(Report { ring: figures });
        }
        println!("{:<28} {:>26}  ({}, {checked} frames checked)", "through net_ring", through, figures.note);
        println!("{:<28} {:>26}", "in memory, same run", figures.memory.cycles_per_packet);
        println!("{:<28} {more:>26.1}", "more");
        match figures.testpmd {
            Some(moves) => println!("{:<28} {moves:>26}  ({IN_FLIGHT} packets under way)", "testpmd io"),
            None => println!(
                "testpmd io                   absent: it needs dpdk-testpmd in PATH and a second CPU"
            ),
        }
        Ok(())
    }
}
