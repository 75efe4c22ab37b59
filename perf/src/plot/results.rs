//! What is recorded in `perf/results`: files of `bench --all --json` and `floor --json`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::bench::Record;
use crate::floor::FloorPoint;
use crate::machine::Machine;

/// One file.
#[derive(Clone, Debug, Deserialize)]
struct File {
    schema: String,
    #[serde(default)]
    machine: Machine,
    #[serde(default)]
    commit: String,
    #[serde(default)]
    bench: Vec<Record>,
    #[serde(default)]
    floor: Vec<FloorPoint>,
}

/// All of a folder.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Measured loads.
    pub bench: Vec<Record>,
    /// The floor by table size.
    pub floor: Vec<FloorPoint>,
    /// Under the charts: on what, at which commit.
    pub caption: String,
}

impl Results {
    /// Reads every `.json` file in `folder`. A file of another schema is an error that names it.
    pub fn read(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
        let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
        paths.sort();
        let mut all = Results::default();
        for path in paths {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let file: File = serde_json::from_str(&text)
                .with_context(|| format!("{} is no results file: record it again", path.display()))?;
            if file.schema != crate::SCHEMA {
                bail!(
                    "{} has schema {:?}, not {:?}: record it again",
                    path.display(),
                    file.schema,
                    crate::SCHEMA
                );
            }
            let m = &file.machine;
            all.caption =
                format!("{}, TSC {} MHz, L3 {} MB; {}", m.cpu, m.tsc_mhz, m.l3_kb / 1024, file.commit);
            all.bench.extend(file.bench);
            all.floor.extend(file.floor);
        }
        Ok(all)
    }
}
