//! `sluice-perf compare`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use perf::compare::{self, Absent, Plan, Point};
use perf::loads;
use serde::Serialize;

use super::{Place, bar, print_json, size};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Nat {
    Snat,
    Dnat,
    Both,
}

const EXAMPLES: &str = "\
Peers: nftables masquerade and DNAT always (in namespaces of its own), testpmd in io mode, VPP's NAT44-ED where
installed. All on one CPU, in turn; ratios are of medians of the same run. Settings that were changed for it
(conntrack's sizes, hugepages) are put back, also on an interrupt.

Examples:
  sluice-perf compare
  sluice-perf compare --nat snat --sessions 1k,64k --runs 3
  sluice-perf compare --json > perf/results/peers.json";

/// Options.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compare {
    #[command(flatten)]
    place: Place,
    /// Translation
    #[arg(long, value_enum, default_value = "both")]
    nat: Nat,
    /// Sessions live, several by commas
    #[arg(long, default_value = "1k,64k,1m", value_delimiter = ',', value_parser = size)]
    sessions: Vec<u64>,
    /// Rounds that count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Packets of a run of ours
    #[arg(long, default_value = "1m", value_parser = size)]
    packets: u64,
    /// Packets of a run of the kernel's
    #[arg(long, default_value = "256k", value_parser = size)]
    kernel_packets: u64,
    /// Seed of all draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    compare: Vec<Point>,
    absent: Vec<Absent>,
}

impl Compare {
    pub(super) fn run(self) -> Result<()> {
        if let Some(n) = self.sessions.iter().find(|n| !(64..=20_000_000).contains(*n)) {
            bail!("--sessions {n}: from 64 to 20 million");
        }
        let cpu = self.place.pin()?;
        let nats = match self.nat {
            Nat::Snat => vec![loads::Nat::Snat],
            Nat::Dnat => vec![loads::Nat::Dnat],
            Nat::Both => vec![loads::Nat::Snat, loads::Nat::Dnat],
        };
        let plan = Plan {
            nats,
            sessions: self.sessions,
            runs: usize::from(self.runs),
            packets: self.packets.max(4096),
            kernel_packets: self.kernel_packets.max(4096),
            cpu,
            seed: self.seed,
        };
        let bar = bar(1000);
        let points = compare::compare(&plan, |doing, far| {
            bar.set_position((far * 1000.0) as u64);
            bar.set_message(doing.to_owned());
        })?;
        bar.finish_and_clear();
        let absent = compare::absent(&plan);
        if self.json {
            return print_json(Report { compare: points, absent });
        }
        print(&points);
        for a in &absent {
            println!("{:<20} {}", a.who, a.why);
        }
        Ok(())
    }
}

fn print(points: &[Point]) {
    println!("{:<20} {:<5} {:>9}  {:>28}  {:>7}", "", "", "sessions", "cycles a packet", "times");
    for p in points {
        let sessions = if p.sessions == 0 { String::new() } else { p.sessions.to_string() };
        let mut notes = Vec::new();
        if let (Some(gross), Some(sending)) = (p.gross_cycles, p.sending_cycles) {
            notes.push(format!("{gross} with sending, {sending} sending"));
        }
        if let Some(floor) = p.floor_cycles {
            notes.push(format!("floor {floor}"));
        }
        if !p.note.is_empty() {
            notes.push(p.note.clone());
        }
        println!(
            "{:<20} {:<5} {:>9}  {:>28}  {:>7.2}  {}",
            p.who,
            p.nat,
            sessions,
            p.cycles_per_packet.to_string(),
            p.ratio,
            notes.join("; ")
        );
    }
}
