//! When each target is asked, and what its answers make of it.
//!
//! One heap of due times; a target under way is not in it, so that two checks of one target never
//! overlap. First times are spread over the interval by the seed and the target's key: a thousand
//! targets configured at once are not asked at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use model::HealthCheck;
use smoltcp::time::{Duration, Instant};

use crate::ports::{PortSet, SOURCE_PORTS};
use crate::probe::Finding;

/// Shorter intervals would only make load.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Who is checked: one backend of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// The service, as its owner names it; opaque here.
    pub service: Arc<str>,
    /// The backend's address.
    pub address: Ipv4Addr,
    /// The port that traffic goes to.
    pub port: u16,
}

/// A backend and how it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who.
    pub key: TargetKey,
    /// The own address that the check comes from: that of the port which leads to the backend.
    pub source: Ipv4Addr,
    /// What is asked, how often, and how answers count. `check.port` overrides the key's port.
    pub check: HealthCheck,
}

/// A target changed its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthEvent {
    /// Whose.
    pub target: TargetKey,
    /// What it is now.
    pub healthy: bool,
    /// What the last check found.
    pub finding: Finding,
}

/// Place of a target in the schedule; valid until the next `replace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetIndex(u32);

impl TargetIndex {
    /// Where this target is after a `replace`, which returned `kept`.
    pub(crate) fn moved(self, kept: &[Option<TargetIndex>]) -> Option<TargetIndex> {
        kept.get(self.0 as usize).copied().flatten()
    }
}

struct Entry {
    target: Target,
    healthy: bool,
    /// Findings in a row that speak against `healthy`.
    streak: u32,
    last: Finding,
    under_way: bool,
    due: Instant,
    last_port: u16,
}

pub(crate) struct Schedule {
    seed: u64,
    entries: Vec<Entry>,
    due: BinaryHeap<Reverse<(Instant, TargetIndex)>>,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Schedule { seed, entries: Vec::new(), due: BinaryHeap::new() }
    }

    /// Returns where each old target is now; `None`: gone, or to be asked otherwise.
    pub(crate) fn replace(&mut self, now: Instant, targets: Vec<Target>) -> Vec<Option<TargetIndex>> {
        let mut old: Vec<Option<Entry>> = std::mem::take(&mut self.entries).into_iter().map(Some).collect();
        let places: HashMap<TargetKey, usize> =
            old.iter().flatten().enumerate().map(|(at, entry)| (entry.target.key.clone(), at)).collect();
        let mut kept = vec![None; old.len()];
        let mut seen = std::collections::HashSet::new();
        for target in targets {
            if !seen.insert(target.key.clone()) {
                continue;
            }
            let index = TargetIndex(self.entries.len() as u32);
            let place = places.get(&target.key).copied();
            let entry = match place.and_then(|at| old.get_mut(at)?.take()) {
                Some(entry) if entry.target == target => {
                    place.and_then(|at| kept.get_mut(at)).into_iter().for_each(|slot| *slot = Some(index));
                    entry
                }
                Some(before) => {
                    Entry { healthy: before.healthy, last: before.last, ..self.fresh(now, target) }
                }
                None => self.fresh(now, target),
            };
            self.entries.push(entry);
        }
        let waiting = self.entries.iter().zip(0..).filter(|(entry, _)| !entry.under_way);
        self.due = waiting.map(|(entry, at)| Reverse((entry.due, TargetIndex(at)))).collect();
        kept
    }

    /// When the next target is to be asked.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The target that has been due longest at `now`; it counts as under way until `conclude`.
    /// Comes with the source port of its last check, to be replaced.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(TargetIndex, &Target, &mut u16)> {
        self.next_due().filter(|due| *due <= now)?;
        let Reverse((_, index)) = self.due.pop()?;
        let entry = self.entries.get_mut(index.0 as usize)?;
        entry.under_way = true;
        Some((index, &entry.target, &mut entry.last_port))
    }

    /// Counts a finding and plans the next check one interval after the last was due, or now.
    pub(crate) fn conclude(
        &mut self,
        index: TargetIndex,
        now: Instant,
        finding: Finding,
    ) -> Option<HealthEvent> {
        let entry = self.entries.get_mut(index.0 as usize)?;
        entry.under_way = false;
        entry.last = finding;
        entry.due = now.max(entry.due + interval(&entry.target.check));
        self.due.push(Reverse((entry.due, index)));
        if finding.is_success() == entry.healthy {
            entry.streak = 0;
            return None;
        }
        entry.streak += 1;
        let check = &entry.target.check;
        let enough = if entry.healthy { check.unhealthy_after } else { check.healthy_after };
        if entry.streak < enough.max(1) {
            return None;
        }
        entry.healthy = !entry.healthy;
        entry.streak = 0;
        Some(HealthEvent { target: entry.target.key.clone(), healthy: entry.healthy, finding })
    }

    pub(crate) fn unhealthy(&self) -> impl Iterator<Item = (&TargetKey, Finding)> {
        self.entries.iter().filter(|entry| !entry.healthy).map(|entry| (&entry.target.key, entry.last))
    }

    fn fresh(&self, now: Instant, target: Target) -> Entry {
        let chance = spread(self.seed, &target.key);
        let wait = Duration::from_micros(chance % interval(&target.check).total_micros().max(1));
        let last_port = *SOURCE_PORTS.start() + (chance >> 32) as u16 % PortSet::SIZE as u16;
        Entry {
            target,
            healthy: true,
            streak: 0,
            last: Finding::Answered,
            under_way: false,
            due: now + wait,
            last_port,
        }
    }
}

/// A check's interval, as smoltcp counts time.
fn interval(check: &HealthCheck) -> Duration {
    Duration::from(check.interval).max(SHORTEST_INTERVAL)
}

/// The same number for the same seed and key, on every machine: FNV-1a, then splitmix64's finish.
fn spread(seed: u64, key: &TargetKey) -> u64 {
    let octets = key.service.bytes().chain(key.address.octets()).chain(key.port.to_be_bytes());
    let hash = octets.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash: u64, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
