//! Measures one load: cycles a packet over several runs, the floor beside it, output checked.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use engine::Counters;
use serde::{Deserialize, Serialize};

use crate::arena::Arena;
use crate::draw::Flows;
use crate::floor;
use crate::load::Load;
use crate::loads::{self, Nat, Recipe};
use crate::machine::{Machine, commit, preemptions, tsc_hz};
use crate::pages::{Reserved, Resident};
use crate::rig::{BUFFERS, Rig};
use crate::spread::Spread;
use crate::world;

/// Octets of tables a session, for the reservation of pages alone.
const ROOM_A_SESSION: u64 = 240;
/// Octets for all else: buffers, snapshot's copies, what rounding to pages takes.
const ROOM: u64 = 160 << 20;
/// One in so many frames of the timed part is checked.
const CHECK_EACH: usize = 61;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the load.
    pub load: String,
    /// What it is made of.
    pub recipe: Recipe,
    /// Runs that count; one before them does not.
    pub runs: usize,
    /// Packets of a run.
    pub packets: u64,
    /// Packets of a burst.
    pub burst: usize,
    /// Devices verify IP header checksums.
    pub offload: bool,
}

impl Plan {
    /// Five runs of that load.
    pub fn new(load: &str, nat: Nat, sessions: u64) -> Self {
        let recipe = Recipe::new(nat, sessions);
        Plan { load: load.to_owned(), recipe, runs: 7, packets: 1 << 20, burst: 32, offload: false }
    }

    /// The same without policies and routes beside those needed; `None` where there are none.
    fn bare(&self) -> Option<Plan> {
        let mut bare = self.clone();
        (bare.recipe.policies, bare.recipe.routes) = (0, 0);
        (self.recipe.policies > 0 || self.recipe.routes > 0).then_some(bare)
    }
}

/// What was measured: one object of `bench --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the load.
    pub load: String,
    /// `snat` or `dnat`.
    pub nat: String,
    /// Sessions live.
    pub sessions: u64,
    /// `uniform` or `zipf`.
    pub flows: String,
    /// Cycles of the time stamp counter a packet, from parse to hand-over to the device.
    pub cycles_per_packet: Spread,
    /// One random prefetched line a packet, in a table of these sessions' bytes, between the runs.
    pub floor_cycles: Spread,
    /// By the median.
    pub packets_per_second: u64,
    /// Resident octets a session, measured over opening them.
    pub bytes_per_session: f64,
    /// Runs.
    pub runs: usize,
    /// Frames whose addresses, ports, hop, TTL and checksums were compared, in the timed runs.
    pub checked: u64,
    /// What it ran on.
    pub machine: Machine,
    /// What was measured; `+`: with changes.
    pub commit: String,
    /// `2M`, `thp` or `4k`: where the tables lie.
    pub pages: String,
    /// Packets of a burst.
    pub burst: usize,
    /// Share of the batches during which the kernel ran another program: they are left out.
    #[serde(default)]
    pub interrupted: f64,
    /// What else was unlike the defaults, for a reader.
    pub note: String,
    /// Cycles of one of what the load counts, where that takes several packets (`tcp`: connections).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycles_per_unit: Option<Spread>,
    /// How much faster than by the clock time passed, where the load needs that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_factor: Option<f64>,
    /// Cycles a packet without the policies and routes that `note` tells of, runs alternating.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bare_cycles: Option<Spread>,
}

/// Measures. `progress` hears what is being done, and how far it is, 0 to 1.
pub fn measure(plan: &Plan, mut progress: impl FnMut(&str, f64)) -> Result<Record> {
    if plan.load == "expiring" {
        return expiring(plan, progress);
    }
    let mut runs = Runs::open(plan, &mut progress)?;
    // The same without what is loaded beside, run by run: of a machine that others use too, only
    // that says what it costs.
    let mut bare = match plan.bare() {
        Some(bare) => Some(Runs::open(&bare, &mut progress)?),
        None => None,
    };
    for run in 0..=plan.runs {
        progress("measuring", run as f64 / (plan.runs + 1) as f64);
        runs.run()?;
        if let Some(bare) = &mut bare {
            bare.run()?;
        }
    }
    let mut record = runs.record()?;
    if let Some(bare) = bare {
        record.bare_cycles = Some(bare.record()?.cycles_per_packet);
    }
    Ok(record)
}

/// A load that is measured run by run, so that others' runs can come in between.
pub struct Runs {
    plan: Plan,
    load: Box<dyn Load>,
    bed: Bed,
    before: Counters,
    warm: bool,
    packets: u64,
    cycles: Vec<f64>,
    floors: Vec<f64>,
    checked: u64,
    interrupted: u32,
    batches: u32,
}

impl Runs {
    /// Opens the load's sessions.
    pub fn open(plan: &Plan, mut progress: impl FnMut(&str, f64)) -> Result<Self> {
        let mut load = loads::by_name(&plan.load, plan.recipe)
            .ok_or_else(|| anyhow!("no load {:?}: one of {}", plan.load, loads::NAMES.join(", ")))?;
        let bed = Bed::new(plan, load.as_mut(), &mut progress)?;
        let before = bed.rig.counters();
        Ok(Runs {
            plan: plan.clone(),
            load,
            bed,
            before,
            warm: false,
            packets: 0,
            cycles: Vec::new(),
            floors: Vec::new(),
            checked: 0,
            interrupted: 0,
            batches: 0,
        })
    }

    /// One run, and the floor's. The first only warms up, and does not count.
    pub fn run(&mut self) -> Result<()> {
        let ran = one_run(&mut self.bed.rig, self.load.as_mut(), self.plan.packets)?;
        let floor = self.bed.floor.run(self.plan.packets);
        self.packets += ran.packets;
        if std::mem::replace(&mut self.warm, true) {
            self.cycles.push(ran.cycles);
            self.floors.push(floor);
            self.checked += ran.checked;
            self.interrupted += ran.interrupted;
            self.batches += ran.batches;
        }
        Ok(())
    }

    /// What the runs gave. An error if a packet was lost or counted wrong in any.
    pub fn record(&self) -> Result<Record> {
        let (plan, load) = (&self.plan, &self.load);
        load.verdict(self.packets, &self.before, &self.bed.rig.counters())
            .map_err(|e| anyhow!("{}: {e}", plan.load))?;
        let lost = self.bed.rig.conservation_error();
        if lost != 0 {
            return Err(anyhow!("{}: {lost} packets came in and did not end", plan.load));
        }
        let mut record = self.bed.record(plan, &self.cycles, &self.floors, self.checked);
        record.interrupted = f64::from(self.interrupted) / f64::from(self.batches.max(1));
        let a_packet = load.ticks_a_packet();
        if a_packet > 0.0 {
            // A tick is 100 ms.
            record.clock_factor = Some((a_packet * record.packets_per_second as f64 / 10.0).round());
        }
        if load.packets_a_unit() > 1 {
            let n = load.packets_a_unit() as f64;
            let units: Vec<_> = self.cycles.iter().map(|c| c * n).collect();
            record.cycles_per_unit = Some(Spread::of(&units));
        }
        Ok(record)
    }
}

/// A gateway with its sessions open, and the floor's table.
struct Bed {
    rig: Rig<Arena>,
    floor: floor::Table,
    bytes_a_session: f64,
    pages: &'static str,
    _reserved: Reserved,
    missing: Option<String>,
}

impl Bed {
    fn new(plan: &Plan, load: &mut dyn Load, progress: &mut dyn FnMut(&str, f64)) -> Result<Self> {
        progress("compiling the configuration", 0.0);
        let snapshot = world::snapshot(&load.spec()).map_err(|e| anyhow!(e))?;
        let limit = u64::from(load.limit());
        // The session tables, and the floor's as large as they.
        let (reserved, got) = Reserved::for_bytes(limit * ROOM_A_SESSION + plan.recipe.sessions * 128 + ROOM);
        let buffers = Arena::new(BUFFERS);
        let before = Resident::now();
        let rig = Rig::new(Arc::clone(&snapshot), load.limit(), buffers, plan.recipe.seed);
        let mut rig = rig.with_burst(plan.burst).with_offload(plan.offload);
        let (mut done, mut shown) = (0u64, 0u64);
        let wanted = plan.recipe.sessions.max(1);
        rig.prepare(load, |n| {
            done += n;
            if done - shown > 1 << 18 {
                shown = done;
                progress("opening sessions", (done as f64 / wanted as f64).min(1.0));
            }
        })
        .map_err(|e| anyhow!(e))
        .context("opening sessions")?;
        let after = Resident::now();
        let live = u64::from(rig.worker().nat().counts().sessions).max(1);
        let bytes = after.total().saturating_sub(before.total());
        progress("touching the floor's table", 0.0);
        let floor = floor::Table::new(bytes);
        Ok(Bed {
            rig,
            floor,
            bytes_a_session: (bytes as f64 / live as f64 * 10.0).round() / 10.0,
            pages: after.mostly_since(before),
            _reserved: reserved,
            missing: got.err(),
        })
    }

    fn record(&self, plan: &Plan, cycles: &[f64], floors: &[f64], checked: u64) -> Record {
        let spread = Spread::of(cycles);
        let r = &plan.recipe;
        let mut notes = Vec::new();
        if r.replies > 0 {
            notes.push(format!("{} % replies", r.replies));
        }
        if r.policies > 0 || r.routes > 0 {
            notes.push(format!("{} policies and {} routes loaded", r.policies, r.routes));
        }
        if plan.offload {
            notes.push("device verifies IP header checksums".to_owned());
        }
        notes.extend(self.missing.clone());
        let fixed = matches!(plan.load.as_str(), "hairpin" | "drops" | "icmp-errors" | "mixed");
        Record {
            load: plan.load.clone(),
            nat: if fixed { Nat::Snat } else { r.nat }.name().to_owned(),
            sessions: r.sessions,
            flows: r.flows.name().to_owned(),
            cycles_per_packet: spread,
            floor_cycles: Spread::of(floors),
            packets_per_second: (tsc_hz() as f64 / spread.median.max(0.1)) as u64,
            bytes_per_session: self.bytes_a_session,
            runs: cycles.len(),
            checked,
            machine: Machine::this(),
            commit: commit(),
            pages: self.pages.to_owned(),
            burst: plan.burst,
            interrupted: 0.0,
            note: notes.join("; "),
            cycles_per_unit: None,
            clock_factor: None,
            bare_cycles: None,
        }
    }
}

/// What one run gave.
struct Ran {
    /// Cycles a packet.
    cycles: f64,
    packets: u64,
    checked: u64,
    batches: u32,
    interrupted: u32,
}

fn one_run(rig: &mut Rig<Arena>, load: &mut dyn Load, packets: u64) -> Result<Ran> {
    let mut ran = Ran { cycles: 0.0, packets: 0, checked: 0, batches: 0, interrupted: 0 };
    let (mut cycles, mut timed, mut empty) = (0u64, 0u64, 0);
    // What another program did in between is not the gateway's: such batches are left out, and counted.
    let (mut all, mut whole) = (0u64, true);
    while ran.packets < packets || (timed == 0 && ran.packets < 4 * packets) {
        let n = rig.fill(load, false) as u64;
        // A load may end a batch where it begins, but not for ever.
        empty = if n == 0 { empty + 1 } else { 0 };
        if empty > 2 {
            return Err(anyhow!("the load wrote no more packets"));
        }
        let switches = preemptions();
        let began = dpdk::tsc();
        rig.run();
        let took = dpdk::tsc().wrapping_sub(began);
        all += took;
        ran.packets += n;
        ran.batches += u32::from(n > 0);
        if preemptions() == switches {
            cycles += took;
            timed += n;
        } else {
            ran.interrupted += 1;
            whole = false;
        }
        ran.checked +=
            rig.settle(load, false, CHECK_EACH).map_err(|e| anyhow!("a wrong packet came out: {e}"))?;
    }
    if whole || timed == 0 {
        (cycles, timed) = (all, ran.packets);
    }
    ran.cycles = cycles as f64 / timed.max(1) as f64;
    Ok(ran)
}

/// Sessions that end by their timeout, all at work on nothing else: cycles a session.
fn expiring(plan: &Plan, mut progress: impl FnMut(&str, f64)) -> Result<Record> {
    let mut load = loads::NewFlows::new(plan.recipe);
    let mut bed = Bed::new(plan, &mut load, &mut progress)?;
    let (mut cycles, mut floors) = (Vec::new(), Vec::new());
    let mut longest = 0;
    for run in 0..=plan.runs {
        progress("measuring", run as f64 / (plan.runs + 1) as f64);
        let ended = |rig: &Rig<Arena>| rig.worker().nat().counts().ended;
        let first = ended(&bed.rig);
        let (mut spent, goal) = (0u64, bed.rig.now() + loads::idle_ticks(plan.recipe.nat) + 1);
        // Tick by tick, as time passes: each call within its budget.
        while bed.rig.now() < goal {
            let now = bed.rig.now() + 1;
            let mut more = true;
            while more {
                let switches = preemptions();
                let began = dpdk::tsc();
                more = bed.rig.pass(now);
                let took = dpdk::tsc().wrapping_sub(began);
                spent += took;
                if preemptions() == switches {
                    longest = longest.max(took);
                }
            }
            bed.rig.answer();
        }
        let gone = ended(&bed.rig) - first;
        let live = bed.rig.worker().nat().counts().sessions;
        if gone == 0 || live != 0 {
            return Err(anyhow!("{gone} sessions ended and {live} live on after their timeout"));
        }
        let f = bed.floor.run(plan.packets);
        if run > 0 {
            cycles.push(spent as f64 / gone as f64);
            floors.push(f);
        }
        load.again();
        bed.rig.prepare(&mut load, |_| {}).map_err(|e| anyhow!(e))?;
    }
    let mut record = bed.record(plan, &cycles, &floors, 0);
    let micros = longest as f64 * 1e6 / tsc_hz() as f64;
    let note = format!("cycles are a session's that ends; longest tick {micros:.0} µs");
    record.note = if record.note.is_empty() { note } else { format!("{note}; {}", record.note) };
    Ok(record)
}

/// Every load and size of `--all`: what `perf/results` is made of.
pub fn all(most: u64) -> Vec<Plan> {
    let mut plans = Vec::new();
    let sizes = [1 << 10, 1 << 16, 1 << 20, 10_000_000];
    for nat in [Nat::Snat, Nat::Dnat] {
        for sessions in sizes.into_iter().filter(|s| *s <= most) {
            plans.push(Plan::new("established", nat, sessions));
        }
    }
    for sessions in [1 << 10, 1 << 20].into_iter().filter(|s| *s <= most) {
        let mut loaded = Plan::new("established", Nat::Snat, sessions);
        (loaded.recipe.policies, loaded.recipe.routes) = (1000, 1000);
        plans.push(loaded);
        let mut replies = Plan::new("established", Nat::Snat, sessions);
        replies.recipe.replies = 50;
        plans.push(replies);
        let mut zipf = Plan::new("established", Nat::Snat, sessions);
        zipf.recipe.flows = Flows::Zipf;
        plans.push(zipf);
    }
    let some = most.min(1 << 20);
    for load in loads::NAMES.into_iter().filter(|l| *l != "established") {
        plans.push(Plan::new(load, Nat::Snat, some));
        if matches!(load, "new" | "tcp") {
            plans.push(Plan::new(load, Nat::Dnat, some));
        }
    }
    plans
}
