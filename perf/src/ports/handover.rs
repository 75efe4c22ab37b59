//! Two workers on two CPUs, and what it costs that a packet arrives at the one and belongs to the other.
//!
//! Three ways in turn: one worker; two, all packets arriving at their owners; two, packets arriving
//! anywhere, so that half go over a ring as in the daemon. A batch begins at both at once and ends
//! when both have nothing left; what counts is the time from the first's begin to the last's end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use engine::{Settings, Worker};
use nat::{Limits, WorkerId};
use serde::{Deserialize, Serialize};

use super::side::{Arrival, Shared, Side};
use crate::loads::{Established, Recipe, Sizes};
use crate::machine::preemptions;
use crate::pages::Reserved;
use crate::spread::Spread;
use crate::{load::Load, load::drops, world};

/// Packets of a batch a worker: should all be the other's, they fit the ring between the two.
const BATCH: usize = 1984;
/// Packets in hand-over, as in the daemon.
const RING: usize = 2048;
/// Buffers of a worker.
const BUFFERS: usize = 4096;
/// One in so many frames is checked.
const CHECK_EACH: usize = 61;
/// Octets of tables a session, for the reservation of pages alone.
const ROOM_A_SESSION: u64 = 240;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    /// Sessions live.
    pub sessions: u64,
    /// Cycles a packet, one worker.
    pub one: Spread,
    /// Cycles of one worker a packet, two workers, packets arriving at their owners.
    pub at_owner: Spread,
    /// The same, packets arriving anywhere.
    pub anywhere: Spread,
    /// Share of those packets that were handed over.
    pub handed: f64,
    /// What a hand-over costs, cycles of both workers together.
    pub handover_cycles: f64,
    /// Packets a second of two workers, packets arriving anywhere, to those of one.
    pub speed_up: f64,
    /// Packets a second of two workers, packets arriving at their owners, to those of one.
    pub speed_up_at_owner: f64,
    /// Runs.
    pub runs: usize,
    /// Frames that were checked.
    pub checked: u64,
}

/// A place where both wait for each other, spinning: a sleep would take longer than a batch.
#[derive(Default)]
struct Meeting {
    arrived: AtomicUsize,
    round: AtomicUsize,
    /// One has failed: nobody will come.
    broken: AtomicBool,
}

impl Meeting {
    fn wait(&self, of: usize) {
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == of {
            self.arrived.store(0, Ordering::Release);
            self.round.store(round + 1, Ordering::Release);
            return;
        }
        // Without a hint that it spins: a hypervisor may take the CPU of one that says so.
        while self.round.load(Ordering::Acquire) == round && !self.broken.load(Ordering::Acquire) {}
    }
}

/// Workers with their sessions open.
struct Team {
    sides: Vec<Side>,
    shared: Shared,
    packets: u64,
}

/// What a run of a team gave.
#[derive(Clone, Copy, Debug, Default)]
struct Ran {
    /// Cycles a packet and worker; `None`: another program ran in every batch.
    cycles: Option<f64>,
    checked: u64,
}

impl Team {
    fn new(workers: u16, recipe: Recipe) -> Result<Self> {
        let load = Established::new(recipe, Sizes::Smallest);
        let snapshot = world::snapshot(&load.spec()).map_err(|e| anyhow!(e))?;
        // Hosts spread over two unevenly.
        let limit = if workers == 1 { load.limit() } else { load.limit() / 8 * 5 + 4096 };
        let limits = Limits::for_sessions(limit);
        let seed = [crate::draw::mix(recipe.seed), crate::draw::mix(recipe.seed ^ 1)];
        let worker = |id| Worker::new(Settings { id: WorkerId(id), workers, limits, seed }, snapshot.clone());
        let mut sides = Vec::new();
        if workers == 1 {
            sides.push(Side::new(0, worker(0), BUFFERS, None));
        } else {
            let (to_one, from_zero) = rtrb::RingBuffer::new(RING);
            let (to_zero, from_one) = rtrb::RingBuffer::new(RING);
            sides.push(Side::new(0, worker(0), BUFFERS, Some((to_one, from_one))));
            sides.push(Side::new(1, worker(1), BUFFERS, Some((to_zero, from_zero))));
        }
        let done = [AtomicBool::new(false), AtomicBool::new(false)];
        let shared = Shared { load: Mutex::new(Box::new(load)), spare: Mutex::default(), done };
        let mut team = Team { sides, shared, packets: 0 };
        team.prepare()?;
        Ok(team)
    }

    /// Opens the sessions, one worker after the other in this thread.
    fn prepare(&mut self) -> Result<()> {
        let Team { sides, shared, .. } = self;
        // It opens at worker 0; what is not that one's goes over the ring.
        for done in &shared.done {
            done.store(true, Ordering::Relaxed);
        }
        while sides.first_mut().map_or(0, |s| s.fill(shared, BATCH, None)) > 0 {
            if let Some(first) = sides.first_mut() {
                first.carry(shared);
            }
            for side in sides.iter_mut() {
                while side.accept() > 0 {}
                side.settle(shared, true, 1).map_err(|e| anyhow!(e))?;
            }
        }
        let dropped: u64 = sides.iter().map(|s| s.worker.counters().dropped_total()).sum();
        ensure!(dropped == 0, "{dropped} packets of the preparation were dropped");
        Ok(())
    }

    /// One run of so many packets a worker, each worker on its CPU.
    fn run(&mut self, cpus: &[usize], packets: u64, arrival: Arrival) -> Result<Ran> {
        let of = self.sides.len();
        let meeting = Meeting::default();
        let [ends, clean] = [(); 2].map(|()| [AtomicU64::new(0), AtomicU64::new(0)]);
        let begins = [AtomicU64::new(0), AtomicU64::new(0)];
        let shared = &self.shared;
        let (meeting, ends, begins, clean) = (&meeting, &ends, &begins, &clean);
        let rounds = packets.div_ceil(BATCH as u64);
        let one = |side: &mut Side, id: usize, cpu: usize| -> Result<(u64, u64, u64)> {
            dpdk::pin(dpdk::Cpu(cpu)).map_err(|e| anyhow!("{e}: {}", e.remedy()))?;
            let (mut cycles, mut timed, mut checked) = (0, 0, 0);
            for _ in 0..rounds {
                let n = side.fill(shared, BATCH, Some(arrival));
                ensure!(n == BATCH, "worker {id} has buffers for {n} packets alone");
                shared.done[id].store(false, Ordering::Release);
                meeting.wait(of);
                let switches = preemptions();
                meeting.wait(of);
                begins[id].store(dpdk::tsc(), Ordering::Relaxed);
                side.carry(shared);
                ends[id].store(dpdk::tsc(), Ordering::Relaxed);
                clean[id].store(u64::from(preemptions() == switches), Ordering::Relaxed);
                meeting.wait(of);
                // The first speaks for both. A batch in which another program ran at either is left out.
                if id == 0 && clean.iter().take(of).all(|c| c.load(Ordering::Relaxed) == 1) {
                    let load = |all: &[AtomicU64; 2]| [0, of - 1].map(|n| all[n].load(Ordering::Relaxed));
                    let (begin, end) = (load(begins), load(ends));
                    cycles += end[0].max(end[1]).saturating_sub(begin[0].min(begin[1]));
                    timed += BATCH as u64;
                }
                checked += side.settle(shared, false, CHECK_EACH).map_err(|e| anyhow!(e))?;
                meeting.wait(of);
                ensure!(!meeting.broken.load(Ordering::Acquire), "the other worker failed");
            }
            Ok((cycles, timed, checked))
        };
        let guarded = |side: &mut Side, id: usize, cpu: usize| {
            let done = one(side, id, cpu);
            if done.is_err() {
                meeting.broken.store(true, Ordering::Release);
                shared.done[id].store(true, Ordering::Release);
            }
            done
        };
        let results: Vec<Result<(u64, u64, u64)>> = std::thread::scope(|scope| {
            let started: Vec<_> = (self.sides.iter_mut().zip(cpus).enumerate())
                .map(|(id, (side, cpu))| scope.spawn(move || guarded(side, id, *cpu)))
                .collect();
            let ended = started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(anyhow!("a panic"))));
            ended.collect()
        });
        let mut ran = Ran::default();
        for (id, result) in results.into_iter().enumerate() {
            let (cycles, timed, checked) = result?;
            ran.checked += checked;
            if id == 0 && timed > 0 {
                ran.cycles = Some(cycles as f64 / timed as f64);
            }
        }
        self.packets += rounds * (BATCH * of) as u64;
        Ok(ran)
    }

    /// Packets that went from one worker to the other.
    fn handed(&self) -> u64 {
        self.sides.iter().map(|s| s.worker.counters().handed_in).sum()
    }

    /// Nothing was lost.
    fn verdict(&self) -> Result<()> {
        let nothing = engine::Counters::default();
        for side in &self.sides {
            let counters = side.worker.counters();
            ensure!(counters.dropped_total() == 0, "packets were dropped{}", drops(&nothing, counters));
            let lost = counters.conservation_error();
            ensure!(lost == 0, "{lost} packets came in and did not end");
        }
        Ok(())
    }
}

/// Measures on these two CPUs: `runs` of `packets` packets a worker after one that warms up.
pub fn measure(
    cpus: [usize; 2],
    recipe: Recipe,
    runs: usize,
    packets: u64,
    mut progress: impl FnMut(&str, f64),
) -> Result<Handover> {
    // Three tables of all sessions: that of one worker, and those of two.
    let (_reserved, _) = Reserved::for_bytes(3 * recipe.sessions * ROOM_A_SESSION + (160 << 20));
    progress("opening sessions", 0.0);
    let (mut one, mut two) = (Team::new(1, recipe)?, Team::new(2, recipe)?);
    let mut figures = [Vec::new(), Vec::new(), Vec::new()];
    let (mut checked, mut handed, mut carried) = (0, 0, 0);
    for run in 0..=runs {
        progress("measuring", run as f64 / (runs + 1) as f64);
        let alone = one.run(&cpus[..1], packets, Arrival::Anywhere)?;
        let at_owner = two.run(&cpus, packets, Arrival::AtOwner)?;
        let before = (two.handed(), two.packets);
        let anywhere = two.run(&cpus, packets, Arrival::Anywhere)?;
        if run > 0 {
            handed += two.handed() - before.0;
            carried += two.packets - before.1;
            for (figures, ran) in figures.iter_mut().zip([alone, at_owner, anywhere]) {
                let cycles = ran.cycles.context("another program ran all the time: measure on idle CPUs")?;
                figures.push(cycles);
                checked += ran.checked;
            }
        }
    }
    one.verdict()?;
    two.verdict()?;
    let [one, at_owner, anywhere] = figures.map(|f| Spread::of(&f));
    let handed = handed as f64 / carried.max(1) as f64;
    let rounded = |x: f64| (x * 100.0).round() / 100.0;
    Ok(Handover {
        sessions: recipe.sessions,
        one,
        at_owner,
        anywhere,
        handed: rounded(handed),
        handover_cycles: rounded((anywhere.median - at_owner.median) / handed.max(0.01)),
        speed_up: rounded(2.0 * one.median / anywhere.median.max(0.1)),
        speed_up_at_owner: rounded(2.0 * one.median / at_owner.median.max(0.1)),
        runs,
        checked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loads::Nat;

    #[test]
    fn half_the_packets_that_arrive_anywhere_are_handed_over_and_none_that_arrive_at_their_owner() {
        let cpus = dpdk::allowed_cpus();
        let [first, .., last] = cpus.as_slice() else {
            eprintln!("skipped: two workers need two CPUs");
            return;
        };
        let mut two = Team::new(2, Recipe::new(Nat::Snat, 1 << 14)).unwrap();
        let opened = two.handed();
        let cpus = [*first, *last];
        two.run(&cpus, 3 * BATCH as u64, Arrival::AtOwner).unwrap();
        assert_eq!(two.handed(), opened);
        two.run(&cpus, 3 * BATCH as u64, Arrival::Anywhere).unwrap();
        let share = (two.handed() - opened) as f64 / (6 * BATCH) as f64;
        assert!((0.3..0.7).contains(&share), "{share}");
        two.verdict().unwrap();
    }
}
