//! A worker with a device on both sides of it, in memory.
//!
//! A batch of buffers is written, then carried through the worker in bursts (that alone is
//! timed: parse to hand-over to the device, and the tick that a worker does between bursts),
//! then looked at and given back. Buffers rotate as a device's do.

use std::sync::Arc;

use engine::{Counters, Io, Neighbour, Settings, Worker};
use nat::{Limits, Tick, WorkerId};
use snapshot::Snapshot;
use wire::PacketBuf;

use crate::arena::Buffers;
use crate::load::Load;
use crate::world;

/// Packets of a burst.
pub const BURST: usize = 32;
/// Buffers in rotation.
pub const BUFFERS: usize = 4096;
/// Bursts between two looks at the clock, as the daemon's worker does.
const LOOK: u32 = 16;
/// Room that a load may write a frame into.
const FRAME: usize = 1514;

/// The devices, as the engine sees them.
pub struct Nic<B: Buffers> {
    buffers: B,
    sent: Vec<(u8, B::Packet)>,
}

impl<B: Buffers> Io<B::Packet> for Nic<B> {
    #[inline]
    fn transmit(&mut self, device: u8, packet: B::Packet) -> Result<(), B::Packet> {
        self.sent.push((device, packet));
        Ok(())
    }

    fn hand_off(&mut self, _: WorkerId, packet: B::Packet) -> Result<(), B::Packet> {
        Err(packet)
    }

    fn punt(&mut self, packet: B::Packet) -> Result<(), B::Packet> {
        Err(packet)
    }

    fn alloc(&mut self) -> Option<B::Packet> {
        self.buffers.take()
    }

    fn announce(&mut self, _: Neighbour) {}
}

/// What a device has received: bursts, as the daemon takes them from it.
struct Waiting<P> {
    bursts: Vec<Vec<P>>,
    packets: usize,
    /// The next burst.
    next: usize,
}

impl<P> Waiting<P> {
    fn new() -> Self {
        Waiting { bursts: Vec::new(), packets: 0, next: 0 }
    }

    fn push(&mut self, packet: P, burst: usize) {
        let at = self.packets / burst;
        if self.bursts.len() <= at {
            self.bursts.push(Vec::with_capacity(burst));
        }
        if let Some(last) = self.bursts.get_mut(at) {
            last.push(packet);
            self.packets += 1;
        }
    }

    /// The next burst, if there is one.
    #[inline]
    fn next(&mut self) -> Option<&mut Vec<P>> {
        let burst = self.bursts.get_mut(self.next).filter(|burst| !burst.is_empty())?;
        self.next += 1;
        Some(burst)
    }
}

/// One worker between two devices.
pub struct Rig<B: Buffers> {
    worker: Worker<B::Packet>,
    nic: Nic<B>,
    /// By device.
    pending: [Waiting<B::Packet>; 2],
    burst: usize,
    batch: usize,
    offload: bool,
    bursts: u32,
    /// There is more to expire: tick again after the next burst.
    due: bool,
    ticks: f64,
    now: Tick,
}

impl<B: Buffers> Rig<B> {
    /// A worker under `snapshot` that knows its neighbours. `limit`: sessions.
    pub fn new(snapshot: Arc<Snapshot>, limit: u32, buffers: B, seed: u64) -> Self {
        let seed = [crate::draw::mix(seed), crate::draw::mix(seed ^ 1)];
        let settings = Settings { id: WorkerId(0), workers: 1, limits: Limits::for_sessions(limit), seed };
        let mut nic = Nic { buffers, sent: Vec::with_capacity(2 * BUFFERS) };
        let mut worker = Worker::new(settings, snapshot);
        for neighbour in world::neighbours() {
            worker.hear(neighbour, &mut nic);
        }
        let pending = [Waiting::new(), Waiting::new()];
        let (batch, burst) = (BUFFERS - 64, BURST);
        Rig {
            worker,
            nic,
            pending,
            burst,
            batch,
            offload: false,
            bursts: 0,
            due: false,
            ticks: 0.0,
            now: Tick(0),
        }
    }

    /// Bursts of so many packets, 1 to 256.
    #[must_use]
    pub fn with_burst(mut self, packets: usize) -> Self {
        self.burst = packets.clamp(1, 256);
        self
    }

    /// Devices that verify IP header checksums.
    #[must_use]
    pub fn with_offload(mut self, offload: bool) -> Self {
        self.offload = offload;
        self
    }

    /// The worker.
    pub fn worker(&self) -> &Worker<B::Packet> {
        &self.worker
    }

    /// What it counted.
    pub fn counters(&self) -> Counters {
        self.worker.counters().clone()
    }

    /// Writes a batch; gives how many packets.
    pub fn fill(&mut self, load: &mut dyn Load, preparing: bool) -> usize {
        let mut n = 0;
        while n < self.batch {
            let Some(mut packet) = self.nic.buffers.take() else { break };
            if !packet.set_len(FRAME) {
                break;
            }
            let out = packet.bytes_mut();
            let written = if preparing { load.prepare(out) } else { load.write(out) };
            let Some(written) = written else {
                self.nic.buffers.give(packet);
                break;
            };
            packet.set_len(written.len);
            B::verified(&mut packet, self.offload);
            if let Some(pending) = self.pending.get_mut(usize::from(written.device)) {
                pending.push(packet, self.burst);
            }
            n += 1;
        }
        self.ticks += n as f64 * load.ticks_a_packet();
        n
    }

    /// Carries what was written through the worker: the timed part.
    #[inline]
    pub fn run(&mut self) {
        let Rig { worker, nic, pending: [inside, outside], .. } = self;
        // The batch's time passes evenly over its bursts.
        let (from, to) = (self.now.0, self.ticks as u32);
        let (all, mut done) = (inside.packets + outside.packets, 0);
        while done < all {
            if let Some(burst) = inside.next() {
                done += burst.len();
                worker.receive_burst(world::INSIDE, burst, nic);
            }
            if let Some(burst) = outside.next() {
                done += burst.len();
                worker.receive_burst(world::OUTSIDE, burst, nic);
            }
            self.bursts = self.bursts.wrapping_add(1);
            if self.due || self.bursts.is_multiple_of(LOOK) {
                self.now =
                    Tick(from + (u64::from(to.saturating_sub(from)) * done as u64 / all as u64) as u32);
                let sent = nic.sent.len();
                self.due = worker.tick(self.now, nic);
                if nic.sent.len() > sent {
                    // Where time passes fast the routers are asked often whether they are still there: they are.
                    for neighbour in world::neighbours() {
                        worker.hear(neighbour, nic);
                    }
                }
            }
        }
        for waiting in [inside, outside] {
            (waiting.packets, waiting.next) = (0, 0);
        }
    }

    /// [`Rig::run`] under a name of its own, by which callgrind knows what to count.
    #[inline(never)]
    pub fn run_counted(&mut self) {
        self.run();
    }

    /// Looks at what came out and gives the buffers back; gives how many frames were checked:
    /// one in `each`, or none for 0.
    pub fn settle(&mut self, load: &mut dyn Load, preparing: bool, each: usize) -> Result<u64, String> {
        let (mut checked, listens) = (0, preparing || load.listens());
        for (n, (device, packet)) in self.nic.sent.drain(..).enumerate() {
            // What it asked of its neighbours is no part of the load.
            if packet.bytes().get(12..14) == Some(&[8, 6]) {
                self.nic.buffers.give(packet);
                continue;
            }
            if listens {
                load.learn(device, packet.bytes())?;
            }
            if each > 0 && n % each == 0 {
                load.check(device, packet.bytes())?;
                checked += 1;
            }
            self.nic.buffers.give(packet);
        }
        Ok(checked)
    }

    /// Does all that comes before the timed part. `progress` hears of packets.
    pub fn prepare(&mut self, load: &mut dyn Load, mut progress: impl FnMut(u64)) -> Result<(), String> {
        let before = self.counters();
        loop {
            let n = self.fill(load, true);
            if n == 0 {
                break;
            }
            self.run();
            self.settle(load, true, 0)?;
            progress(n as u64);
        }
        let after = self.counters();
        match after.dropped_total() - before.dropped_total() {
            0 => Ok(()),
            n => Err(format!(
                "{n} packets of the preparation were dropped{}",
                crate::load::drops(&before, &after)
            )),
        }
    }

    /// Time goes on to `now` at once; true: there is more to expire.
    pub fn pass(&mut self, now: u32) -> bool {
        self.now = Tick(now.max(self.now.0));
        self.ticks = f64::from(self.now.0);
        self.worker.tick(self.now, &mut self.nic)
    }

    /// Answers what the gateway asked of its neighbours while time passed.
    pub fn answer(&mut self) {
        for (_, packet) in self.nic.sent.drain(..) {
            self.nic.buffers.give(packet);
        }
        for neighbour in world::neighbours() {
            self.worker.hear(neighbour, &mut self.nic);
        }
    }

    /// The worker's time.
    pub fn now(&self) -> u32 {
        self.now.0
    }

    /// Packets that came in and did not end: zero, or the engine is wrong.
    pub fn conservation_error(&self) -> i64 {
        self.worker.counters().conservation_error()
    }
}
