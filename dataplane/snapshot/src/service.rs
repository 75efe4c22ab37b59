//! One LoadBalancer, compiled: whom its VIPs lead to, and what remains of backends that left.
//!
//! A backend's life needs time: it fills over `slowStart`, drains until its deadline, and its
//! number stays with it. All of that is carried from the service's last compilation to the next.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb::{Backend, BackendId, Service, ServiceId, ServiceSpec, Share, Standing, TableSize, Tables};
use model::{BackendState, HealthCheck, LoadBalancer, Name, OnDeny, Origin, ServicePort};
use nat::{Tick, Ticks};
use policy::Judged;
use wire::{Endpoint, Protocol, V4};

use crate::health::BackendKey;
use crate::numbers::Numbers;

/// A service of a snapshot.
#[derive(Clone, Debug)]
pub struct BalancedService {
    /// Who wrote it.
    pub origin: Origin,
    /// Its name.
    pub name: Name,
    /// Its backends, and how one is chosen.
    pub service: Service<V4>,
    /// Full NAT: place of the pool in the snapshot's list.
    pub source_nat: Option<policy::PoolNumber>,
    /// What is answered when there is no backend.
    pub on_empty: OnDeny,
    /// When time alone changes it next: a backend fills further, or is drained.
    pub next_change: Option<Tick>,
    /// First and last client address of each range; empty: all clients.
    source_ranges: Box<[(Ipv4Addr, Ipv4Addr)]>,
    written: LoadBalancer,
    unhealthy: BTreeSet<BackendKey>,
    lives: Box<[Life]>,
}

/// Where a backend is in its life, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Slow start.
    Filling(Tick),
    Active,
    Draining(Tick),
    Down,
}

/// What is carried over of a backend.
#[derive(Clone, Copy, Debug)]
struct Life {
    key: BackendKey,
    id: BackendId,
    phase: Phase,
    healthy: bool,
}

/// Ports that a backend serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    Port(u16),
    /// The client's port is kept.
    Range(u16, u16),
}

/// What a service is compiled with.
pub(crate) struct ServiceInput<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) name: &'a Name,
    pub(crate) written: &'a LoadBalancer,
    pub(crate) unhealthy: Option<&'a BTreeSet<BackendKey>>,
    pub(crate) source_nat: Option<policy::PoolNumber>,
}

/// IP protocol of a service port.
pub(crate) fn protocol(named: model::Protocol) -> Protocol {
    match named {
        model::Protocol::Tcp => Protocol::TCP,
        model::Protocol::Udp => Protocol::UDP,
        model::Protocol::Icmp => Protocol::ICMP,
        model::Protocol::Sctp => Protocol(132),
        model::Protocol::Other(n) => Protocol(n),
    }
}

/// In ticks, rounded up: no time is shorter than what was asked for.
pub(crate) fn ticks(time: Duration) -> Ticks {
    Ticks(u32::try_from(time.as_millis().div_ceil(100)).unwrap_or(u32::MAX))
}

impl BalancedService {
    /// Compiles a service under its number; `previous` is its last compilation.
    pub(crate) fn compile(
        input: ServiceInput<'_>,
        id: ServiceId,
        previous: Option<&BalancedService>,
        numbers: &mut Numbers,
        tables: &mut Tables,
        now: Tick,
    ) -> Self {
        let written = input.written;
        let unhealthy = input.unhealthy.cloned().unwrap_or_default();
        let single = has_single_port(written);
        let (drain, slow_start) = (ticks(written.drain), ticks(written.slow_start));

        let mut backends: Vec<Backend<V4>> = Vec::with_capacity(written.backends.len());
        let mut lives: Vec<Life> = Vec::with_capacity(written.backends.len());
        let mut next_change: Option<Tick> = None;
        let mut at_latest =
            |tick: Tick| next_change = Some(next_change.map_or(tick, |known| known.min(tick)));
        let mut seen = BTreeSet::new();
        for backend in &written.backends {
            let IpAddr::V4(address) = backend.address else { continue };
            let key = BackendKey { address, port: backend.port.filter(|_| single) };
            if !seen.insert(key) {
                continue;
            }
            let healthy = !unhealthy.contains(&key);
            let before = previous.and_then(|p| p.life(key));
            let phase = match backend.state {
                BackendState::Down => Phase::Down,
                BackendState::Draining => drained(since_draining(before, now), drain, now),
                BackendState::Active => {
                    filled(started(previous.is_some(), before, healthy, now), slow_start, now)
                }
            };
            let id = before.map_or_else(|| BackendId(numbers.take(now)), |life| life.id);
            lives.push(Life { key, id, phase, healthy });
            backends.push(Backend {
                id,
                address,
                port: key.port,
                weight: backend.weight,
                standing: standing(phase, slow_start, drain, now, &mut at_latest),
                healthy,
            });
        }
        let configured = backends.len();
        for life in previous.into_iter().flat_map(|p| p.lives.iter()).filter(|life| !seen.contains(&life.key))
        {
            // A backend that was taken out drains like one that is marked so, unless it was down.
            let phase = match life.phase {
                Phase::Down => Phase::Down,
                _ => drained(since_draining(Some(life), now), drain, now),
            };
            if phase == Phase::Down {
                numbers.give_back(life.id.0, now);
                continue;
            }
            lives.push(Life { phase, ..*life });
            backends.push(Backend {
                id: life.id,
                address: life.key.address,
                port: life.key.port,
                weight: 0,
                standing: standing(phase, slow_start, drain, now, &mut at_latest),
                healthy: life.healthy,
            });
        }
        lives.sort_unstable_by_key(|life| life.key);
        let spec = ServiceSpec {
            id,
            algorithm: written.algorithm,
            affinity: written.affinity,
            panic_threshold: written.panic_threshold,
            table_size: written.table_size.and_then(TableSize::new),
            configured,
            backends,
        };
        BalancedService {
            origin: input.origin.clone(),
            name: input.name.clone(),
            service: Service::compile(spec, tables),
            source_nat: input.source_nat,
            on_empty: written.on_empty,
            next_change,
            source_ranges: written.source_ranges.iter().filter_map(V4::bounds).collect(),
            written: written.clone(),
            unhealthy,
            lives: lives.into(),
        }
    }

    /// Would compiling `input` now give the same?
    pub(crate) fn stands_for(&self, input: &ServiceInput<'_>, now: Tick) -> bool {
        self.next_change.is_none_or(|change| now < change)
            && self.source_nat == input.source_nat
            && input.unhealthy.map_or(self.unhealthy.is_empty(), |u| *u == self.unhealthy)
            && self.written == *input.written
    }

    /// Was it compiled from another object, in anything that decides whether a running session stays? Backends
    /// that come, fill or drain do not count; one that is down or gone does.
    pub(crate) fn ends_sessions_of(&self, before: &BalancedService) -> bool {
        let lost = |life: &&Life| {
            life.phase != Phase::Down && self.life(life.key).is_none_or(|now| now.phase == Phase::Down)
        };
        self.written.vips != before.written.vips
            || self.written.ports != before.written.ports
            || self.written.source_ranges != before.written.source_ranges
            || self.source_nat != before.source_nat
            || before.lives.iter().find(lost).is_some()
    }

    /// Do its VIPs and service ports stand as in `before`?
    pub(crate) fn same_vips(&self, before: &BalancedService) -> bool {
        self.written.vips == before.written.vips && self.written.ports == before.written.ports
    }

    fn life(&self, key: BackendKey) -> Option<&Life> {
        let at = self.lives.binary_search_by_key(&key, |life| life.key).ok()?;
        self.lives.get(at)
    }

    /// Numbers of all its backends.
    pub(crate) fn backend_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.lives.iter().map(|life| life.id.0)
    }

    /// The object that it was compiled from.
    pub fn written(&self) -> &LoadBalancer {
        &self.written
    }

    /// Its port that covers `port`.
    pub fn port_at(&self, ip: Protocol, port: u16) -> Option<&ServicePort> {
        let covers = |it: &&ServicePort| {
            protocol(it.protocol) == ip && (it.ports.first..=it.ports.last).contains(&port)
        };
        self.written.ports.iter().find(covers)
    }

    /// How its backends are checked.
    pub fn health_check(&self) -> Option<&HealthCheck> {
        self.written.health_check.as_ref()
    }

    /// Its number.
    pub fn id(&self) -> ServiceId {
        self.service.id()
    }

    /// May this client use it (`sourceRanges`)?
    #[inline]
    pub fn admits(&self, client: Ipv4Addr) -> bool {
        self.source_ranges.is_empty()
            || self.source_ranges.iter().any(|&(first, last)| (first..=last).contains(&client))
    }

    /// Calls `each` for every endpoint that answers its balanced flows.
    pub(crate) fn each_endpoint(&self, mut each: impl FnMut(Protocol, Ipv4Addr, Served)) {
        for backend in self.service.backends().iter().filter(|b| b.standing.keeps_sessions()) {
            for port in &self.written.ports {
                let served = match backend.port.or(port.target_port) {
                    Some(port) => Served::Port(port),
                    None if port.ports.first == port.ports.last => Served::Port(port.ports.first),
                    None => Served::Range(port.ports.first, port.ports.last),
                };
                each(protocol(port.protocol), backend.address, served);
            }
        }
    }

    /// Where checks of `backend` go: to the check's own port, else to the one that the traffic of the first
    /// service port goes to.
    pub fn checked_at(&self, backend: &Backend<V4>) -> Endpoint {
        let first = self.written.ports.first();
        let traffic = backend.port.or_else(|| first.and_then(|p| p.target_port.or(Some(p.ports.first))));
        let port = self.health_check().and_then(|check| check.port).or(traffic);
        Endpoint::new(backend.address, port.unwrap_or(0))
    }
}

/// Do backends' own ports count? They do where the service has one port.
fn has_single_port(written: &LoadBalancer) -> bool {
    written.ports.len() == 1 && written.ports.iter().all(|p| p.ports.first == p.ports.last)
}

/// Since when a backend drains that is to.
fn since_draining(before: Option<&Life>, now: Tick) -> Option<Tick> {
    match before.map(|life| life.phase) {
        Some(Phase::Draining(since)) => Some(since),
        Some(Phase::Down) => None,
        _ => Some(now),
    }
}

/// Draining since then, or down when that is over.
fn drained(since: Option<Tick>, drain: Ticks, now: Tick) -> Phase {
    match since {
        Some(since) if now < since + drain => Phase::Draining(since),
        _ => Phase::Down,
    }
}

/// Since when an active backend fills; `None`: it is filled. With the service all its backends start at once,
/// so their proportions are right from the first; one that joins, comes back or recovers fills.
fn started(known_service: bool, before: Option<&Life>, healthy: bool, now: Tick) -> Option<Tick> {
    match before {
        None => known_service.then_some(now),
        Some(life) if healthy && !life.healthy => Some(now),
        Some(life) => match life.phase {
            Phase::Filling(since) => Some(since),
            Phase::Active => None,
            Phase::Draining(_) | Phase::Down => Some(now),
        },
    }
}

/// Filling since then, or active when that is over.
fn filled(since: Option<Tick>, slow_start: Ticks, now: Tick) -> Phase {
    match since {
        Some(since) if now < since + slow_start => Phase::Filling(since),
        _ => Phase::Active,
    }
}

/// The standing of a phase now; tells `at_latest` when time changes it.
fn standing(
    phase: Phase,
    slow_start: Ticks,
    drain: Ticks,
    now: Tick,
    at_latest: &mut impl FnMut(Tick),
) -> Standing {
    match phase {
        Phase::Active => Standing::Active,
        Phase::Down => Standing::Down,
        Phase::Draining(since) => {
            at_latest(since + drain);
            Standing::Draining
        }
        Phase::Filling(since) => {
            // A tenth at once, another after each tenth of the time.
            let (past, whole) = (u64::from(now.0.saturating_sub(since.0)), u64::from(slow_start.0.max(1)));
            let tenths = (past * 10 / whole).min(8) + 1;
            let step = (tenths * whole).div_ceil(10);
            at_latest(since + Ticks(u32::try_from(step).unwrap_or(u32::MAX)));
            Standing::Filling(Share::tenths(tenths as u8))
        }
    }
}
