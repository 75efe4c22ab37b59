//! The engine between ports of DPDK's: real buffers through `net_ring`, as the daemon carries them.
//!
//! Beside `bench`, which hands buffers over in memory, this has all that a port adds: the receive and
//! send calls of the driver, buffers of DPDK's, frames that wait in a burst for the end of the loop.
//! A ring is the cheapest port there is, so what is measured is our side of it.

use anyhow::{Context, Result, anyhow, ensure};
use dpdk::{Burst, Device, Eal, EalConfig, Level, Mbuf, Mempool, PoolConfig, PortConfig, RxQueue, TxQueue};
use engine::{Counters, Io, Neighbour, Settings, Worker};
use nat::{Limits, WorkerId};
use wire::PacketBuf;

use crate::bench::Plan;
use crate::load::Load;
use crate::loads;
use crate::machine::preemptions;
use crate::pages::Reserved;
use crate::world;

/// Buffers in rotation.
const BUFFERS: u32 = 4095;
/// Packets that wait in a queue at most.
const RING: u32 = 4096;
/// Packets of a batch where a queue gives bursts of 64, as the daemon's do.
const BATCH: usize = 4032;
/// Most queues that `net_ring` has.
const QUEUES: u16 = 16;
/// Memory for buffers and rings, MB.
const MEMORY: u32 = 96;
/// Bursts between two looks at the clock, as the daemon's worker does.
const LOOK: u32 = 16;
/// Room that a load may write a frame into.
const FRAME: usize = 1514;
/// One in so many frames of the timed part is checked.
const CHECK_EACH: usize = 61;

/// One device: the gateway's end and the end of who is behind it.
struct Pair {
    receive: Vec<RxQueue>,
    outside_send: Vec<TxQueue>,
    outside_receive: RxQueue,
}

/// What the engine sends into: a queue a device, and frames that wait for the end of the loop.
struct Doors {
    queues: [TxQueue; 2],
    bursts: [Burst; 2],
    pool: Mempool,
}

impl Doors {
    fn flush(&mut self) {
        for (queue, burst) in self.queues.iter_mut().zip(&mut self.bursts) {
            if !burst.is_empty() {
                queue.send(burst);
            }
        }
    }
}

impl Io<Mbuf> for Doors {
    fn transmit(&mut self, device: u8, packet: Mbuf) -> Result<(), Mbuf> {
        let at = usize::from(device);
        let (Some(queue), Some(burst)) = (self.queues.get_mut(at), self.bursts.get_mut(at)) else {
            return Err(packet);
        };
        if burst.is_full() {
            queue.send(burst);
        }
        burst.push(packet)
    }

    fn hand_off(&mut self, _: WorkerId, packet: Mbuf) -> Result<(), Mbuf> {
        Err(packet)
    }

    fn punt(&mut self, packet: Mbuf) -> Result<(), Mbuf> {
        Err(packet)
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn announce(&mut self, _: Neighbour) {}
}

/// A worker between two `net_ring` devices, its sessions open.
pub struct RingRuns {
    worker: Worker<Mbuf>,
    doors: Doors,
    pairs: [Pair; 2],
    load: Box<dyn Load>,
    packets: u64,
    burst: usize,
    before: Counters,
    carried: u64,
    warm: bool,
    cycles: Vec<f64>,
    checked: u64,
    memory: String,
    _reserved: Reserved,
}

fn told(e: &dpdk::Error) -> anyhow::Error {
    anyhow!("{e}; {}", e.remedy())
}

impl RingRuns {
    /// Starts DPDK and its devices, and opens the sessions. Bursts are of 32 or of 64 packets.
    pub fn open(plan: &Plan, mut progress: impl FnMut(&str, f64)) -> Result<Self> {
        progress("starting DPDK", 0.0);
        let (reserved, _) = Reserved::for_bytes(u64::from(MEMORY) << 20);
        let config = EalConfig { memory_mib: MEMORY, log: Level::Error, ..EalConfig::default() };
        let eal = Eal::init(&config, |_, _| {}).map_err(|e| told(&e))?;
        let pool = PoolConfig { name: "perf".into(), mbufs: BUFFERS, cache: 0, ..PoolConfig::default() };
        let pool = Mempool::new(&eal, &pool).map_err(|e| told(&e))?;
        // A queue gives what it has up to 64. So bursts of 32 are queues that hold no more.
        let queues = if plan.burst == 64 { 1 } else { QUEUES };
        let (inside, to_inside) = pair(&eal, &pool, "inside", queues)?;
        let (outside, to_outside) = pair(&eal, &pool, "outside", queues)?;
        let bursts = [Burst::new(), Burst::new()];
        let mut doors = Doors { queues: [to_inside, to_outside], bursts, pool };
        let load = loads::by_name(&plan.load, plan.recipe)
            .ok_or_else(|| anyhow!("no load {:?}: one of {}", plan.load, loads::NAMES.join(", ")))?;
        let snapshot = world::snapshot(&load.spec()).map_err(|e| anyhow!(e))?;
        let seed = [crate::draw::mix(plan.recipe.seed), crate::draw::mix(plan.recipe.seed ^ 1)];
        let limits = Limits::for_sessions(load.limit());
        let settings = Settings { id: WorkerId(0), workers: 1, limits, seed };
        let mut worker = Worker::new(settings, snapshot);
        for neighbour in world::neighbours() {
            worker.hear(neighbour, &mut doors);
        }
        let memory = match eal.memory() {
            dpdk::Memory::Hugepages => "buffers in hugepages".to_owned(),
            dpdk::Memory::NormalPages { reason } => format!("buffers in normal pages ({reason})"),
        };
        let before = worker.counters().clone();
        progress("opening sessions", 0.0);
        let mut runs = RingRuns {
            worker,
            doors,
            pairs: [inside, outside],
            load,
            packets: plan.packets,
            burst: plan.burst,
            before,
            carried: 0,
            warm: false,
            cycles: Vec::new(),
            checked: 0,
            memory,
            _reserved: reserved,
        };
        while runs.fill(true)? > 0 {
            runs.carry();
            runs.settle(true)?;
        }
        let opened = runs.worker.counters();
        ensure!(
            opened.dropped_total() == runs.before.dropped_total(),
            "packets of the preparation were dropped{}",
            crate::load::drops(&runs.before, opened)
        );
        runs.before = opened.clone();
        Ok(runs)
    }

    /// Where buffers lie, in words.
    pub fn memory(&self) -> &str {
        &self.memory
    }

    /// Puts a batch into the ports; gives how many packets.
    fn fill(&mut self, preparing: bool) -> Result<usize> {
        let queues = self.pairs[0].receive.len();
        // With several queues, what one holds is one burst.
        let (each, mut n) = (if queues == 1 { BATCH } else { self.burst }, 0);
        for queue in 0..queues {
            let mut bursts = [Burst::new(), Burst::new()];
            for _ in 0..each {
                let mut packet = self.doors.pool.alloc().context("a buffer did not come back")?;
                ensure!(packet.set_len(FRAME), "buffers are too small");
                let out = packet.bytes_mut();
                let written = if preparing { self.load.prepare(out) } else { self.load.write(out) };
                let Some(written) = written else { break };
                packet.set_len(written.len);
                n += 1;
                let at = usize::from(written.device).min(1);
                if bursts[at].push(packet).is_err() {
                    return Err(anyhow!("a burst was full before it was sent"));
                }
                if bursts[at].is_full() {
                    self.pairs[at].send(queue, &mut bursts[at])?;
                }
            }
            for (pair, burst) in self.pairs.iter_mut().zip(&mut bursts) {
                pair.send(queue, burst)?;
            }
        }
        Ok(n)
    }

    /// Carries all that the ports hold: the timed part, as the daemon's worker does it.
    fn carry(&mut self) {
        let RingRuns { worker, doors, pairs, .. } = self;
        let now = worker.now();
        let (mut loops, mut due, mut burst) = (0u32, false, Burst::new());
        for queue in 0..pairs[0].receive.len() {
            loop {
                let mut got = 0;
                for (device, pair) in (0u8..).zip(pairs.iter_mut()) {
                    let Some(receive) = pair.receive.get_mut(queue) else { continue };
                    let n = receive.receive(&mut burst);
                    if n > 0 {
                        worker.receive_burst(device, &mut burst, doors);
                    }
                    got += n;
                }
                if got == 0 {
                    break;
                }
                loops = loops.wrapping_add(1);
                if due || loops.is_multiple_of(LOOK) {
                    due = worker.tick(now, doors);
                }
                doors.flush();
                // Its queue holds one burst: to ask again would count an empty call a burst.
                if pairs[0].receive.len() > 1 {
                    break;
                }
            }
        }
    }

    /// Takes what came out of the ports, and looks at some of it.
    fn settle(&mut self, preparing: bool) -> Result<()> {
        let mut burst = Burst::new();
        for (device, pair) in (0u8..).zip(&mut self.pairs) {
            let mut n = 0;
            while pair.outside_receive.receive(&mut burst) > 0 {
                for packet in burst.drain() {
                    if packet.bytes().get(12..14) == Some(&[8, 6]) {
                        continue;
                    }
                    if preparing {
                        self.load.learn(device, packet.bytes()).map_err(|e| anyhow!(e))?;
                    } else if n % CHECK_EACH == 0 {
                        self.load.check(device, packet.bytes()).map_err(|e| anyhow!("wrong packet: {e}"))?;
                        self.checked += 1;
                    }
                    n += 1;
                }
            }
        }
        Ok(())
    }

    /// One run; the first only warms up, and does not count.
    pub fn run(&mut self) -> Result<()> {
        let (mut packets, mut cycles, mut timed) = (0u64, 0u64, 0u64);
        while packets < self.packets || (timed == 0 && packets < 16 * self.packets) {
            let n = self.fill(false)? as u64;
            let switches = preemptions();
            let began = dpdk::tsc();
            self.carry();
            let took = dpdk::tsc().wrapping_sub(began);
            packets += n;
            if preemptions() == switches {
                (cycles, timed) = (cycles + took, timed + n);
            }
            self.settle(false)?;
        }
        ensure!(timed > 0, "another program ran all the time: measure on an idle CPU (--cpu)");
        self.carried += packets;
        if std::mem::replace(&mut self.warm, true) {
            self.cycles.push(cycles as f64 / timed as f64);
        }
        Ok(())
    }

    /// Cycles a packet of each run, and frames checked. An error if a packet was lost in any.
    pub fn figures(&self) -> Result<(&[f64], u64)> {
        let after = self.worker.counters();
        self.load.verdict(self.carried, &self.before, after).map_err(|e| anyhow!("ring: {e}"))?;
        let lost = after.conservation_error();
        ensure!(lost == 0, "{lost} packets came in and did not end");
        Ok((&self.cycles, self.checked))
    }
}

impl Pair {
    fn send(&mut self, queue: usize, burst: &mut Burst) -> Result<()> {
        if burst.is_empty() {
            return Ok(());
        }
        let queue = self.outside_send.get_mut(queue).context("a device has too few queues")?;
        queue.send(burst);
        ensure!(burst.is_empty(), "a ring was full");
        Ok(())
    }
}

/// Two devices back to back: the gateway's end, and its queue to send by.
fn pair(eal: &Eal, pool: &Mempool, name: &str, queues: u16) -> Result<(Pair, TxQueue)> {
    let (near, far) = Device::ring_pair(eal, name, queues, RING).map_err(|e| told(&e))?;
    let config = PortConfig { rx_queues: queues, tx_queues: queues, ..PortConfig::default() };
    let near = near.start(&config, pool).map_err(|e| told(&e))?;
    let far = far.start(&config, pool).map_err(|e| told(&e))?;
    let send = near.tx.into_iter().next().context("a device without a queue")?;
    let outside_receive = far.rx.into_iter().next().context("a device without a queue")?;
    ensure!(near.rx.len() == usize::from(queues), "net_ring gave {} queues of {queues}", near.rx.len());
    Ok((Pair { receive: near.rx, outside_send: far.tx, outside_receive }, send))
}
