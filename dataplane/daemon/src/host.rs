//! The slow thread: the host stack, health checks, and what is due by time.
//!
//! It never touches a worker's state: punted packets come by a bounded channel, what the stack
//! sends goes by another to worker 0, findings go to the publisher.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use hoststack::{Addresses, HealthEvent, HostStack, Settings, Target, TargetKey};
use model::{Name, Origin};
use nat::{PoolId, Side};
use snapshot::{BackendKey, Snapshot};
use wire::PacketBuf;

use crate::clock::Clock;
use crate::publish::Publisher;
use crate::wake::Waker;

/// Most time between two looks at what is due.
const BEAT: Duration = Duration::from_millis(20);

/// What the thread works with.
pub(crate) struct Host {
    /// Snapshots, and where findings go.
    pub(crate) publisher: Arc<Publisher>,
    /// Packets that workers punt.
    pub(crate) punted: Receiver<dpdk::Mbuf>,
    /// IP packets for worker 0 to send.
    pub(crate) sends: Sender<Vec<u8>>,
    /// Worker 0.
    pub(crate) waker: Waker,
    /// The gateway's time.
    pub(crate) clock: Clock,
    /// Set when the program ends.
    pub(crate) stop: Arc<AtomicBool>,
    /// Why backends fail their checks now, for the API.
    pub(crate) findings: Arc<crate::findings::Findings>,
    /// How fast pools fill, for the API.
    pub(crate) trend: Arc<crate::trend::Trend>,
}

/// Which backend a target of the stack is.
type Targets = HashMap<TargetKey, Vec<(Origin, Name, BackendKey)>>;

impl Host {
    /// Runs until `stop`.
    pub(crate) fn run(self, seed: u64) {
        let instant = || hoststack::Instant::from_micros(self.clock.micros() as i64);
        let mut stack = HostStack::new(Settings::default(), seed, instant());
        let mut targets = Targets::new();
        let mut revision = None;
        while !self.stop.load(Ordering::Relaxed) {
            let current = self.publisher.revision();
            if revision != Some(current) {
                revision = Some(current);
                let snapshot = self.publisher.current();
                let (addresses, wanted, named) = configuration(&snapshot);
                targets = named;
                stack.configure(instant(), addresses, wanted);
                let unhealthy: Vec<_> = stack.unhealthy().map(|(target, _)| target.clone()).collect();
                self.findings.keep(&unhealthy);
                let backends = unhealthy.iter().filter_map(|target| targets.get(target)).flatten().cloned();
                self.publisher.set_unhealthy(backends, self.clock.tick());
            }
            let delay = stack.poll_delay(instant()).map_or(BEAT, |d| Duration::from_micros(d.total_micros()));
            match self.punted.recv_timeout(delay.min(BEAT)) {
                Ok(packet) => {
                    stack.receive(packet.bytes().to_vec());
                    while let Ok(packet) = self.punted.try_recv() {
                        stack.receive(packet.bytes().to_vec());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let mut sent = false;
            let events = stack.poll(instant(), &mut |packet| {
                // A full channel loses the packet, as a wire would.
                sent |= self.sends.try_send(packet).is_ok();
            });
            if sent {
                self.waker.wake();
            }
            self.report(&events, &targets);
            self.publisher.tend(self.clock.tick());
            self.trend.look(self.clock.elapsed(), || leased(&self.publisher.current()));
        }
    }

    fn report(&self, events: &[HealthEvent], targets: &Targets) {
        let mut found = Vec::new();
        for event in events {
            self.findings.note(&event.target, event.healthy, event.finding);
            for (origin, name, backend) in targets.get(&event.target).into_iter().flatten() {
                tracing::info!(
                    service = %name.0, backend = %event.target.address, port = event.target.port,
                    healthy = event.healthy, finding = %event.finding, "health of a backend changed"
                );
                found.push((origin.clone(), name.clone(), *backend, event.healthy));
            }
        }
        if !found.is_empty() {
            self.publisher.note_health(&found, self.clock.tick());
        }
    }
}

/// Blocks that are leased of every pool.
fn leased(snapshot: &Snapshot) -> Vec<(PoolId, u32)> {
    snapshot.pools.iter().map(|pool| (pool.id, pool.usage().leased)).collect()
}

/// Name of a service in the stack's keys.
pub(crate) fn service_key(origin: &Origin, name: &Name) -> Arc<str> {
    format!("{}/{}", origin.0, name.0).into()
}

/// What the stack answers for and checks under `snapshot`.
fn configuration(snapshot: &Snapshot) -> (Addresses, Vec<Target>, Targets) {
    let mut addresses = Addresses { own: HashSet::new(), vips: HashSet::new() };
    for (address, local) in snapshot.locals() {
        if local.is_own() {
            addresses.own.insert(address);
        } else if local.is_vip() {
            addresses.vips.insert(address);
        }
    }
    let (mut wanted, mut named) = (Vec::new(), Targets::new());
    for service in snapshot.services() {
        let Some(check) = service.health_check() else { continue };
        for backend in service.service.backends().iter().filter(|b| b.standing.keeps_sessions()) {
            let at = service.checked_at(backend);
            let hop = snapshot.next_hop(at.address, 0, Side::Inside);
            let source = hop.and_then(|hop| snapshot.port(hop.port)?.address_towards(at.address));
            // Without a way there is nothing to ask; traffic finds no way either.
            let Some(source) = source else { continue };
            let key = TargetKey {
                service: service_key(&service.origin, &service.name),
                address: at.address,
                port: at.port,
            };
            let backend = BackendKey { address: backend.address, port: backend.port };
            let who = (service.origin.clone(), service.name.clone(), backend);
            let others = named.entry(key.clone()).or_default();
            if others.is_empty() {
                wanted.push(Target { key, source, check: check.clone() });
            }
            others.push(who);
        }
    }
    (addresses, wanted, named)
}
