//! From the node file to running workers.
//!
//! EAL, pool, devices, first snapshot, workers, slow thread: in this order, each step saying
//! what is wrong and what to do. Nothing is left behind when one fails.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use dpdk::{Eal, Mempool, RxQueue};
use engine::Settings;
use model::{Idle, Node};
use nat::{Limits, WorkerId};
use snapshot::Snapshot;

use crate::cell::Cell;
use crate::clock::Clock;
use crate::desk::{Worker, desk};
use crate::devices::{Device, Queues, open};
use crate::findings::Findings;
use crate::gateway::{Edge, Seat};
use crate::host::Host;
use crate::io::{Door, Outward};
use crate::mesh::{Ends, mesh};
use crate::node::{DeviceFacts, attachments, facts, name, worker_cpus};
use crate::publish::{Publisher, first};
use crate::pulse::Pulse;
use crate::station::Station;
use crate::trend::Trend;
use crate::wake::{Sleeper, Waker, pair};

/// Packets that may wait for the host stack, and the other way.
const PUNTS: usize = 1_024;

/// A running data plane.
pub(crate) struct Running {
    /// The gateway behind the API.
    pub(crate) edge: Arc<Edge>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    host: JoinHandle<()>,
    wakers: Vec<Waker>,
}

impl Running {
    /// Ends workers, then ports.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wakers.iter().for_each(Waker::wake);
        for thread in self.workers.into_iter().chain([self.host]) {
            if thread.join().is_err() {
                tracing::error!("a thread ended by a panic");
            }
        }
        drop(self.edge);
    }
}

/// One worker's share of the queues.
struct Share {
    queues: Vec<(u8, RxQueue)>,
    doors: Vec<Door>,
    sockets: Vec<RawFd>,
    wakeable: bool,
}

/// Starts everything.
///
/// # Errors
/// What is missing or wrong, and what to do about it.
pub(crate) fn boot(node: &Node) -> anyhow::Result<Running> {
    let cpus = worker_cpus(&node.workers);
    crate::check_cpus(&cpus)?;
    // This thread starts all others, and workers pin themselves: what else there is to do, such as
    // compiling thousands of objects, must not take a worker's time. With no other CPU it has to.
    let workers: Vec<_> = cpus.iter().map(|cpu| dpdk::Cpu(usize::from(*cpu))).collect();
    if !dpdk::keep_off(&workers) {
        tracing::warn!(
            "every CPU has a worker: API and compiler share them; leave one out of `workers` for these"
        );
    }
    let clock = Clock::start();
    let (eal, pool) = crate::devices::eal(node, cpus.len())?;
    let mut devices = Vec::new();
    let mut shares: Vec<Share> = cpus
        .iter()
        .map(|_| Share { queues: Vec::new(), doors: Vec::new(), sockets: Vec::new(), wakeable: true })
        .collect();
    for (number, attachment) in attachments(node).into_iter().enumerate() {
        let (device, queues) = open(&eal, &pool, node, attachment, cpus.len())?;
        share_out(number as u8, &device, queues, &mut shares);
        devices.push(device);
    }
    let known: Vec<DeviceFacts> = devices.iter().map(Device::facts).collect();
    let node_facts = facts(node, &known);
    let snapshot = first(&node_facts).map_err(crate::lines)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sleepers, wakers) = sleepers(cpus.len())?;
    let (retired, collected) = unbounded();
    let cells: Vec<Arc<Cell>> =
        cpus.iter().map(|_| Arc::new(Cell::new(&snapshot, retired.clone()))).collect();
    let published = cells.iter().cloned().zip(wakers.iter().cloned()).collect();
    let publisher = Arc::new(Publisher::new(node_facts, Arc::clone(&snapshot), published, collected));
    let (punts, punted) = bounded(PUNTS);
    let (sends, sent) = bounded(PUNTS);

    let mut plan = Plan {
        node,
        eal,
        snapshot,
        clock,
        stop: Arc::clone(&stop),
        pool: pool.clone(),
        punts,
        sent: Some(sent),
    };
    let (mut seats, mut workers) = (Vec::new(), Vec::new());
    let parts = cpus.iter().zip(shares).zip(mesh(&wakers)).zip(sleepers).zip(cells).zip(&wakers);
    for (number, (((((cpu, share), ends), sleeper), cell), waker)) in parts.enumerate() {
        let place = Place { number, cpu: *cpu, share, ends, sleeper, cell, waker: waker.clone() };
        let (seat, thread) = plan.start(place)?;
        seats.push(seat);
        workers.push(thread);
    }
    let (findings, trend) = (Arc::new(Findings::default()), Arc::new(Trend::default()));
    let host = Host {
        publisher: Arc::clone(&publisher),
        punted,
        sends,
        waker: wakers[0].clone(),
        clock,
        stop: Arc::clone(&stop),
        findings: Arc::clone(&findings),
        trend: Arc::clone(&trend),
    };
    let host = slow_thread(eal, host)?;
    let edge = Edge { node: name(node), clock, publisher, seats, devices, findings, trend };
    tracing::info!(workers = cpus.len(), ports = node.ports.len(), "forwarding");
    Ok(Running { edge: Arc::new(edge), stop, workers, host, wakers })
}

/// Gives each worker its queues. Where a device has a queue for every worker each has at least
/// one; a device with fewer is polled and filled by one worker, another one for each device.
fn share_out(number: u8, device: &Device, queues: Queues, shares: &mut [Share]) {
    let workers = shares.len();
    let only = usize::from(number) % workers;
    let place = |queue: usize, of: usize| if of < workers { only } else { queue % workers };
    let of = queues.rx.len();
    for (queue, rx) in queues.rx.into_iter().enumerate() {
        let share = &mut shares[place(queue, of)];
        match rx.socket() {
            Some(socket) => share.sockets.push(socket),
            None if !device.sockets().is_empty() => share.sockets.extend(device.sockets()),
            None => share.wakeable = false,
        }
        share.queues.push((number, rx));
    }
    let single = queues.tx.len() < workers;
    let mut tx = queues.tx.into_iter();
    for (worker, share) in shares.iter_mut().enumerate() {
        let mine = if single && worker != only { None } else { tx.next() };
        share.doors.push(match mine {
            Some(queue) => Door::Own { queue, burst: Box::default() },
            None => Door::Through(WorkerId(only as u16)),
        });
    }
}

fn sleepers(n: usize) -> anyhow::Result<(Vec<Sleeper>, Vec<Waker>)> {
    let pairs: Result<Vec<_>, _> = (0..n).map(|_| pair()).collect();
    Ok(pairs.context("cannot make a socket pair to wake a worker")?.into_iter().unzip())
}

/// What all workers are started with.
struct Plan<'a> {
    node: &'a Node,
    eal: Eal,
    snapshot: Arc<Snapshot>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    pool: Mempool,
    punts: Sender<dpdk::Mbuf>,
    sent: Option<Receiver<Vec<u8>>>,
}

/// What one worker is started with.
struct Place {
    number: usize,
    cpu: u16,
    share: Share,
    ends: Ends,
    sleeper: Sleeper,
    cell: Arc<Cell>,
    waker: Waker,
}

impl Plan<'_> {
    fn start(&mut self, place: Place) -> anyhow::Result<(Seat, JoinHandle<()>)> {
        let Place { number, cpu, share, ends, sleeper, cell, waker } = place;
        let (desk, jobs) = desk(waker);
        let pulse = Arc::new(Pulse::default());
        let settings = Settings {
            id: WorkerId(number as u16),
            workers: u16::try_from(ends.out.len()).unwrap_or(u16::MAX),
            limits: Limits::for_sessions(self.node.memory.sessions),
            seed: seed()?,
        };
        let mut sockets = share.sockets;
        sockets.push(sleeper.fd());
        let io = Outward {
            doors: share.doors,
            outlets: ends.out,
            punts: self.punts.clone(),
            pool: self.pool.clone(),
            relayed: 0,
        };
        let spins = self.node.idle == Idle::Spin;
        let (snapshot, clock, stop) = (Arc::clone(&self.snapshot), self.clock, Arc::clone(&self.stop));
        let sends = self.sent.take();
        let seat = Seat { desk, pulse: Arc::clone(&pulse), cpu };
        let inlets = ends.from.into_iter().flatten().collect();
        let (queues, wakeable, eal) = (share.queues, share.wakeable, self.eal);
        let thread = std::thread::Builder::new().name(format!("sluice-w{number}")).spawn(move || {
            if let Err(error) = dpdk::pin(dpdk::Cpu(usize::from(cpu))) {
                tracing::error!(worker = number, %error, "not pinned");
            }
            // The guard gives the thread's number back to DPDK when the worker ends.
            let lcore = dpdk::Lcore::register(&eal);
            if let Err(error) = &lcore {
                tracing::error!(worker = number, %error, "not registered with DPDK: slower buffers");
            }
            // Tables are touched first by the thread that uses them: near its memory.
            let worker = Worker::new(settings, snapshot);
            let station = Station {
                worker,
                io,
                queues,
                inlets,
                cell,
                jobs,
                sends,
                clock,
                sleeper: (!spins).then_some(sleeper),
                sockets,
                wakeable,
                pulse,
                hz: dpdk::Clock::new(&eal).hz(),
                stop,
            };
            station.run();
        });
        Ok((seat, thread.with_context(|| format!("cannot start the thread of worker {number}"))?))
    }
}

fn slow_thread(eal: Eal, host: Host) -> anyhow::Result<JoinHandle<()>> {
    let seed = seed()?[0];
    let run = move || {
        // Freeing what workers punted is quicker with a cache of its own.
        let _lcore = dpdk::Lcore::register(&eal);
        host.run(seed);
    };
    std::thread::Builder::new()
        .name("sluice-host".to_owned())
        .spawn(run)
        .context("cannot start the slow thread")
}

/// Random numbers of the kernel's, for hash keys.
fn seed() -> anyhow::Result<[u64; 2]> {
    use std::io::Read;
    let mut octets = [0u8; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut octets))
        .map_err(|e| anyhow!("/dev/urandom: {e}: without it hash keys could be guessed"))?;
    let [a, b] = [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|i| octets[at + i])));
    Ok([a, b])
}
