//! `sluice-perf plot`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

/// Options.
#[derive(Args)]
pub(super) struct Plot {
    /// Folder of recorded results
    #[arg(long, default_value = "perf/results")]
    results: PathBuf,
    /// Folder for the pictures
    #[arg(long, default_value = "docs/performance")]
    out: PathBuf,
}

impl Plot {
    pub(super) fn run(self) -> Result<()> {
        for path in perf::plot::draw(&self.results, &self.out)? {
            println!("{}", path.display());
        }
        Ok(())
    }
}
