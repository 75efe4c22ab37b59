//! The command line.

mod bench;
mod compare;
mod flood;
mod floor;
mod handover;
mod plot;
mod ring;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use perf::machine::{Machine, commit};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  sluice-perf floor                                   what this machine's memory allows
  sluice-perf bench --load established --sessions 1m  cycles a packet at a million sessions
  sluice-perf bench --load established --nat snat --sessions 1048576 --json
  sluice-perf bench --all --json > perf/results/this-machine.json
  sluice-perf compare                                 ours beside nftables, testpmd and VPP, in turn
  sluice-perf flood --from ring --rate 1m             packets over a DPDK port, with latency and loss
  sluice-perf plot                                    pictures of what is recorded

Run it as root: it reserves the hugepages it needs and gives them back at the end.";

/// Measures Sluice on this machine.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One random prefetched line a packet, by table size: what no gateway goes below.
    Floor(floor::Floor),
    /// The engine in process: cycles a packet of one load, or of all.
    Bench(bench::Bench),
    /// Ours and its peers on one CPU in turn, with ratios: nftables, testpmd, VPP.
    Compare(compare::Compare),
    /// A packet generator over any port: rate, latency, loss, the highest rate without loss.
    Flood(flood::Flood),
    /// The engine between DPDK ports in memory: what ports add.
    Ring(ring::Ring),
    /// Two workers on two CPUs: their rate to one's, and what a handed-over packet costs.
    Handover(handover::Options),
    /// Pictures (SVG and PNG) from recorded results.
    Plot(plot::Plot),
}

/// Where to run.
#[derive(Args)]
struct Place {
    /// CPU to pin to [default: the last one allowed]
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
}

impl Place {
    /// Pins the calling thread; gives the CPU.
    fn pin(&self) -> anyhow::Result<usize> {
        let allowed = dpdk::allowed_cpus();
        let cpu = self.cpu.or(allowed.last().copied()).unwrap_or(0);
        dpdk::pin(dpdk::Cpu(cpu)).map_err(|e| anyhow::anyhow!("{e}: {}", e.remedy()))?;
        Ok(cpu)
    }
}

/// A bar on standard error; none where that is no terminal.
fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Prints results as one JSON object, with what they were made on, of and by.
fn print_json(results: impl Serialize) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Report<T> {
        schema: &'static str,
        machine: Machine,
        commit: String,
        command: String,
        #[serde(flatten)]
        results: T,
    }
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let report =
        Report { schema: perf::SCHEMA, machine: Machine::this(), commit: commit(), command, results };
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// A number of sessions or octets: digits, then k, m or g (powers of 2) or nothing.
fn size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, factor) = match lower.chars().last() {
        Some('k') => (&lower[..lower.len() - 1], 1u64 << 10),
        Some('m') => (&lower[..lower.len() - 1], 1 << 20),
        Some('g') => (&lower[..lower.len() - 1], 1 << 30),
        _ => (lower.as_str(), 1),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no number like 65536, 64k or 1m"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    // However the program ends, borrowed hugepages go back.
    let told = ctrlc::set_handler(|| {
        // A generator closes its devices first, and ends by itself.
        if perf::flood::end() {
            return;
        }
        perf::compare::undo_all();
        perf::pages::give_back();
        std::process::exit(130);
    });
    if let Err(e) = told {
        eprintln!("sluice-perf: an interrupt would leave hugepages reserved: {e}");
    }
    let done = match cli.command {
        Command::Floor(floor) => floor.run(),
        Command::Bench(bench) => bench.run(),
        Command::Compare(compare) => compare.run(),
        Command::Flood(flood) => flood.run(),
        Command::Ring(ring) => ring.run(),
        Command::Handover(handover) => handover.run(),
        Command::Plot(plot) => plot.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("sluice-perf: {e:#}");
            ExitCode::FAILURE
        }
    }
}
