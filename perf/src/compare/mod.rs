//! Sluice and its peers on one CPU in one run, the same flows, run by run in turn.
//!
//! Machines differ by more than designs do, and one machine from hour to hour: only what runs in
//! turn can be set in relation. A peer that the machine has not is said to be absent.

mod kernel;
mod ruleset;
mod sender;
mod testpmd;
mod undo;
mod vpp;

pub use testpmd::{IN_FLIGHT, Mover};
pub use undo::undo_all;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::{self, Runs};
use crate::loads::Nat;
use crate::spread::Spread;
use kernel::Kernel;
use vpp::Vpp;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Translations.
    pub nats: Vec<Nat>,
    /// Sessions live.
    pub sessions: Vec<u64>,
    /// Rounds that count; one before them does not.
    pub runs: usize,
    /// Packets of a run of ours and of VPP's.
    pub packets: u64,
    /// Packets of a run of the kernel's.
    pub kernel_packets: u64,
    /// The CPU that all run on.
    pub cpu: usize,
    /// Seed of all draws.
    pub seed: u64,
}

/// One gateway at one number of sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// `Sluice`, or a peer's name.
    pub who: String,
    /// `snat`, `dnat`, or nothing where packets are not even looked at.
    pub nat: String,
    /// Sessions live.
    pub sessions: u64,
    /// Cycles a packet by the time stamp counter, from the device to the hand-over to the device.
    pub cycles_per_packet: Spread,
    /// The kernel: with what sending costs on the same CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross_cycles: Option<Spread>,
    /// The kernel: what sending costs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_cycles: Option<Spread>,
    /// Ours: the memory floor between the runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_cycles: Option<Spread>,
    /// How many times ours, by the medians of the same run.
    pub ratio: f64,
    /// Rounds.
    pub runs: usize,
    /// What else there is to know.
    pub note: String,
}

/// A peer that did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// Its name.
    pub who: String,
    /// Why not.
    pub why: String,
}

/// Is there such a program in the path?
fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

/// Names of the kernel's two.
const fn kernel_name(nat: Nat) -> &'static str {
    match nat {
        Nat::Snat => "nftables masquerade",
        Nat::Dnat => "nftables DNAT",
    }
}

/// The peers that this machine has not.
pub fn absent(plan: &Plan) -> Vec<Absent> {
    let mut all = Vec::new();
    let mut missing = |who: &str, why: String| all.push(Absent { who: who.to_owned(), why });
    let no_program = |p: &str| format!("absent: no {p} in PATH");
    if testpmd::found().is_none() {
        missing("testpmd io", no_program("dpdk-testpmd"));
    } else if second_cpu(plan.cpu).is_none() {
        missing("testpmd io", "not run: it needs a second CPU".to_owned());
    }
    if !in_path("vpp") || !in_path("vppctl") {
        missing("VPP NAT44-ED", no_program("vpp and vppctl"));
    }
    if in_path("grout") {
        let why = "installed, not run: it has no generator of its own; compare end to end over its ports";
        missing("grout SNAT44", why.to_owned());
    } else {
        missing("grout SNAT44", no_program("grout"));
    }
    all
}

fn second_cpu(first: usize) -> Option<usize> {
    dpdk::allowed_cpus().into_iter().find(|c| *c != first)
}

/// Runs the rounds. `progress` hears what is being done, and how far it is, 0 to 1.
pub fn compare(plan: &Plan, mut progress: impl FnMut(&str, f64)) -> Result<Vec<Point>> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the kernel's gateway needs namespaces and rules of its own: run as root");
    }
    let mut points = Vec::new();
    let cells: Vec<(Nat, u64)> =
        plan.nats.iter().flat_map(|nat| plan.sessions.iter().map(|n| (*nat, *n))).collect();
    for (n, (nat, sessions)) in cells.iter().enumerate() {
        let name = format!("{} {sessions}", nat.name());
        let cell = one(plan, *nat, *sessions, |doing, far| {
            progress(&format!("{name}: {doing}"), (n as f64 + far) / cells.len() as f64);
        });
        points.extend(cell.with_context(|| name.clone())?);
    }
    Ok(points)
}

/// All gateways for one translation and number of sessions.
fn one(plan: &Plan, nat: Nat, sessions: u64, mut progress: impl FnMut(&str, f64)) -> Result<Vec<Point>> {
    let mut ours = bench::Plan::new("established", nat, sessions);
    (ours.packets, ours.runs, ours.recipe.seed) = (plan.packets, plan.runs, plan.seed);
    let mut ours = Runs::open(&ours, |doing, far| progress(doing, far * 0.1))?;
    let mut kernel = Kernel::open(nat, sessions, plan.seed, |n| {
        progress("opening the kernel's sessions", 0.1 + 0.2 * n as f64 / sessions as f64);
    })?;
    let vpp = if nat == Nat::Snat && in_path("vpp") && in_path("vppctl") {
        progress("opening VPP's sessions", 0.3);
        Some(Vpp::open(plan.cpu, sessions, plan.packets).context("VPP")?)
    } else {
        None
    };
    // Sessions are nothing to it: once is enough.
    let mover = Mover::found().filter(|_| nat == Nat::Snat && Some(&sessions) == plan.sessions.first());
    let (mut costs, mut clocks, mut moves) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=plan.runs {
        progress("rounds", 0.35 + 0.65 * round as f64 / (plan.runs + 1) as f64);
        ours.run()?;
        let cost = kernel.run(plan.kernel_packets)?;
        let clock = vpp.as_ref().map(Vpp::run).transpose()?;
        let moved = match &mover {
            Some(mover) => mover.run(plan.cpu, Duration::from_millis(500))?,
            None => None,
        };
        // The first round only warms up.
        if round > 0 {
            costs.push(cost);
            clocks.extend(clock);
            moves.extend(moved);
        }
    }
    let record = ours.record()?;
    let base = record.cycles_per_packet.median;
    let point = |who: &str, nat: &str, figures: &[f64]| {
        let cycles = Spread::of(figures);
        Point {
            who: who.to_owned(),
            nat: nat.to_owned(),
            sessions,
            cycles_per_packet: cycles,
            gross_cycles: None,
            sending_cycles: None,
            floor_cycles: None,
            ratio: ratio(cycles.median, base),
            runs: figures.len(),
            note: String::new(),
        }
    };
    let mut points = vec![Point {
        cycles_per_packet: record.cycles_per_packet,
        floor_cycles: Some(record.floor_cycles),
        runs: record.runs,
        ratio: 1.0,
        note: format!("{} pages, {} frames checked", record.pages, record.checked),
        ..point("Sluice", nat.name(), &[])
    }];
    let figures = |of: fn(&kernel::Cost) -> f64| costs.iter().map(of).collect::<Vec<_>>();
    let net = figures(|c| c.net());
    let gross = Spread::of(&figures(|c| c.gross));
    points.push(Point {
        gross_cycles: Some(gross),
        sending_cycles: Some(Spread::of(&figures(|c| c.sending))),
        note: format!("{:.1}x with sending", ratio(gross.median, base)),
        ..point(kernel_name(nat), nat.name(), &net)
    });
    if let Some(vpp) = &vpp {
        let note = format!("{}, vectors of 256", vpp.version()?);
        points.push(Point { note, ..point("VPP NAT44-ED", nat.name(), &clocks) });
    }
    if !moves.is_empty() {
        let note = format!("{IN_FLIGHT} packets under way, none looked at");
        points.push(Point { sessions: 0, note, ..point("testpmd io", "", &moves) });
    }
    Ok(points)
}

fn ratio(theirs: f64, ours: f64) -> f64 {
    (theirs / ours.max(0.1) * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_path_alone() {
        assert!(in_path("sh"));
        assert!(!in_path("no-such-program-here") && !in_path(""));
    }

    #[test]
    fn a_ratio_of_nothing_is_no_infinity() {
        assert!(ratio(10.0, 0.0).is_finite());
        assert!((ratio(10.0, 4.0) - 2.5).abs() < 1e-9);
    }
}
