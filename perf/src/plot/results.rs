//! What is recorded in `perf/results`: files of `bench --all --json`, `floor --json` and `flood --json`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::bench::Record;
use crate::compare::Point;
use crate::flood::record::{Found, Record as Trial};
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
    compare: Vec<Point>,
    #[serde(default)]
    floor: Vec<FloorPoint>,
    #[serde(default)]
    flood: Vec<Trial>,
    #[serde(default)]
    search: Option<Found>,
}

/// All of a folder.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Measured loads.
    pub bench: Vec<Record>,
    /// Ours and peers, by runs in turn.
    pub compare: Vec<Point>,
    /// The floor by table size.
    pub floor: Vec<FloorPoint>,
    /// Packets over DPDK ports, with what is to be written under them; those of searches left out.
    pub flood: Vec<(String, Trial)>,
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
            let caption =
                format!("{}, TSC {} MHz, L3 {} MB; {}", m.cpu, m.tsc_mhz, m.l3_kb / 1024, file.commit);
            if file.search.is_none() {
                all.flood.extend(file.flood.into_iter().map(|trial| (caption.clone(), trial)));
            }
            if !(file.bench.is_empty() && file.floor.is_empty()) {
                all.caption = caption;
            }
            all.bench.extend(file.bench);
            all.compare.extend(file.compare);
            all.floor.extend(file.floor);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flood::tally::{Account, Latency};

    #[test]
    fn trials_are_drawn_and_those_of_a_search_are_not() {
        let folder = std::env::temp_dir().join(format!("sluice-perf-results-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let latency_us =
            Latency { p50: 8.0, p90: 10.0, p99: 53.0, p999: 400.0, p9999: 900.0, ..Latency::default() };
        let account = Account { latency_us, ..Account::default() };
        let trial =
            Trial { from: "a".to_owned(), to: "b".to_owned(), rate: Some(2000), account, ..Trial::default() };
        let file = |search: Option<Found>| {
            let (schema, machine, flood) = (crate::SCHEMA, Machine::default(), [trial.clone()]);
            serde_json::json!({"schema": schema, "machine": machine, "commit": "c0ffee", "command": "flood",
                "flood": flood, "search": search})
        };
        fs::write(folder.join("one.json"), file(None).to_string()).unwrap();
        fs::write(folder.join("search.json"), file(Some(Found::default())).to_string()).unwrap();
        let results = Results::read(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let results = results.unwrap();
        assert_eq!(results.flood.len(), 1);
        assert_eq!(results.flood[0].1, trial);
        let charts = crate::plot::charts(&results);
        let (name, chart) = &charts[0];
        assert_eq!((charts.len(), *name), (1, "latency"));
        assert!(chart.svg().contains("2000 pps") && chart.caption.contains("c0ffee"));
    }
}
