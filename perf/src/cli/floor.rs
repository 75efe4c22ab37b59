//! `sluice-perf floor`.

use anyhow::Result;
use clap::Args;
use perf::floor::{self, FloorPoint};
use serde::Serialize;

use super::{Place, bar, print_json, size};

/// Options.
#[derive(Args)]
pub(super) struct Floor {
    #[command(flatten)]
    place: Place,
    /// Largest table, octets
    #[arg(long, default_value = "2g", value_parser = size)]
    most: u64,
    /// Runs of each size
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    floor: Vec<FloorPoint>,
}

impl Floor {
    pub(super) fn run(self) -> Result<()> {
        self.place.pin()?;
        // From what lies in the first cache to what lies in none.
        let sizes: Vec<u64> = (17..=40).map(|bits| 1u64 << bits).filter(|s| *s <= self.most).collect();
        let bar = bar(sizes.len() as u64);
        let mut points = Vec::new();
        for bytes in sizes {
            bar.set_message(format!("{} KB", bytes >> 10));
            points.push(floor::measure(bytes, usize::from(self.runs), 1 << 21));
            bar.inc(1);
        }
        bar.finish_and_clear();
        if self.json {
            return print_json(Report { floor: points });
        }
        println!("{:>12}  {:>26}  pages", "table", "cycles a line");
        for p in points {
            println!("{:>9} KB  {:>26}  {}", p.bytes >> 10, p.cycles.to_string(), p.pages);
        }
        Ok(())
    }
}
