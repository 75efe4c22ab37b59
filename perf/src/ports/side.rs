//! One of two workers that hand packets to each other: its engine, its rings, its buffers.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, TryLockError};

use engine::{Io, Neighbour, Worker};
use nat::WorkerId;
use rtrb::{Consumer, Producer};
use wire::PacketBuf;

use crate::arena::{Arena, Buffers, Packet};
use crate::draw::{Draw, Flows};
use crate::load::Load;
use crate::rig::BURST;
use crate::world;

/// Most packets taken from a ring in one loop, as the daemon does.
const RING_BURST: usize = 64;
/// Bursts between two looks at the clock, as the daemon's worker does.
const LOOK: u32 = 16;
/// Room that a load may write a frame into.
const FRAME: usize = 1514;

/// Who packets arrive at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Whoever: half of them have to be handed over.
    Anywhere,
    /// Their owner.
    AtOwner,
}

/// What both workers share while nothing is timed.
pub(super) struct Shared {
    /// The load, which both draw from and check by.
    pub(super) load: Mutex<Box<dyn Load + Send>>,
    /// Buffers that one had too many of.
    pub(super) spare: Mutex<Vec<Packet>>,
    /// Of each worker: it has no more packets of its own in this batch.
    pub(super) done: [AtomicBool; 2],
}

/// Locks without sleep: a CPU that slept begins the next batch with cold caches, or slowly.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

/// Where a worker's packets go.
pub(super) struct Outward {
    arena: Arena,
    sent: Vec<(u8, Packet)>,
    other: Option<Producer<Packet>>,
    filled: bool,
}

impl Io<Packet> for Outward {
    #[inline]
    fn transmit(&mut self, device: u8, packet: Packet) -> Result<(), Packet> {
        self.sent.push((device, packet));
        Ok(())
    }

    fn hand_off(&mut self, _: WorkerId, packet: Packet) -> Result<(), Packet> {
        let Some(other) = &mut self.other else { return Err(packet) };
        self.filled = true;
        other.push(packet).map_err(|rtrb::PushError::Full(packet)| packet)
    }

    fn punt(&mut self, packet: Packet) -> Result<(), Packet> {
        Err(packet)
    }

    fn alloc(&mut self) -> Option<Packet> {
        self.arena.take()
    }

    fn announce(&mut self, _: Neighbour) {}
}

/// One worker. Neither's lines hold anything of the other's.
#[repr(align(128))]
pub(super) struct Side {
    id: usize,
    pub(super) worker: Worker<Packet>,
    io: Outward,
    inlet: Option<Consumer<Packet>>,
    pending: Vec<(u8, Packet)>,
    workers: u32,
    /// Buffers at home, and how many are kept at most: what is handed over comes home to the other.
    free: usize,
    buffers: usize,
}

impl Side {
    pub(super) fn new(
        id: usize,
        mut worker: Worker<Packet>,
        buffers: usize,
        rings: Option<(Producer<Packet>, Consumer<Packet>)>,
    ) -> Self {
        let (other, inlet) = rings.unzip();
        let sent = Vec::with_capacity(2 * buffers);
        let mut io = Outward { arena: mixed(buffers), sent, other, filled: false };
        for neighbour in world::neighbours() {
            worker.hear(neighbour, &mut io);
        }
        let workers = if inlet.is_some() { 2 } else { 1 };
        let pending = Vec::with_capacity(buffers);
        Side { id, worker, io, inlet, pending, workers, free: buffers, buffers }
    }

    /// Is this worker the owner of the frame's flow? Egress flows belong by their source.
    fn owns(&self, frame: &[u8]) -> bool {
        let source = frame.get(26..).and_then(|f| f.first_chunk::<4>()).copied().unwrap_or_default();
        wire::toeplitz::address(source.into()) % self.workers == self.id as u32
    }

    fn keep(&mut self, packet: Packet) {
        self.free += 1;
        self.io.arena.give(packet);
    }

    /// Writes a batch; gives how many packets.
    pub(super) fn fill(&mut self, shared: &Shared, batch: usize, arrival: Option<Arrival>) -> usize {
        let mut load = lock(&shared.load);
        while self.pending.len() < batch {
            if self.free == 0 {
                let Some(packet) = lock(&shared.spare).pop() else { break };
                self.keep(packet);
            }
            let Some(mut packet) = self.io.arena.take() else { break };
            self.free -= 1;
            if !packet.set_len(FRAME) {
                continue;
            }
            let written = loop {
                let out = packet.bytes_mut();
                let written = match arrival {
                    None => load.prepare(out),
                    Some(_) => load.write(out),
                };
                if arrival != Some(Arrival::AtOwner) || written.is_none() || self.owns(packet.bytes()) {
                    break written;
                }
            };
            let Some(written) = written else {
                self.keep(packet);
                break;
            };
            packet.set_len(written.len);
            self.pending.push((written.device, packet));
        }
        self.pending.len()
    }

    /// Carries the batch, and what the other hands over, as the daemon's loop does: the timed part.
    pub(super) fn carry(&mut self, shared: &Shared) {
        let Side { id, worker, io, inlet, pending, .. } = self;
        let now = worker.now();
        let device = pending.first().map_or(world::INSIDE, |p| p.0);
        let mut own = pending.drain(..).map(|(_, packet)| packet);
        let (mut loops, mut due, mut told) = (0u32, false, false);
        loop {
            // Asked before the ring: what was put in before that is seen.
            let last = shared.done[1 - *id].load(Ordering::Acquire);
            let handed = inlet.as_mut().map_or(0, |inlet| take(worker, io, inlet));
            if own.len() > 0 {
                worker.receive(device, own.by_ref().take(BURST), io);
            } else if !told {
                told = true;
                shared.done[*id].store(true, Ordering::Release);
            } else if handed == 0 && (last || inlet.is_none()) {
                break;
            }
            loops = loops.wrapping_add(1);
            if due || loops.is_multiple_of(LOOK) {
                due = worker.tick(now, io);
            }
            if std::mem::take(&mut io.filled) {
                // What the daemon pays to see whether the other sleeps.
                fence(Ordering::SeqCst);
            }
        }
    }

    /// What the other handed over, while nothing is timed; gives how many.
    pub(super) fn accept(&mut self) -> usize {
        let Side { worker, io, inlet, .. } = self;
        inlet.as_mut().map_or(0, |inlet| take(worker, io, inlet))
    }

    /// Looks at what came out, one frame in `each`, and keeps the buffers; gives how many were checked.
    pub(super) fn settle(&mut self, shared: &Shared, preparing: bool, each: usize) -> Result<u64, String> {
        let (mut load, mut checked) = (lock(&shared.load), 0);
        for (n, (device, packet)) in self.io.sent.drain(..).enumerate() {
            if packet.bytes().get(12..14) != Some(&[8, 6]) {
                if preparing {
                    load.learn(device, packet.bytes())?;
                } else if n % each.max(1) == 0 {
                    load.check(device, packet.bytes())?;
                    checked += 1;
                }
            }
            if self.free < self.buffers {
                self.free += 1;
                self.io.arena.give(packet);
            } else {
                lock(&shared.spare).push(packet);
            }
        }
        Ok(checked)
    }
}

/// Buffers in no order, as a pool's are that two workers give back to. In order, a processor would
/// fetch the next one's lines by itself, and hand-over would pay for the end of that too.
fn mixed(buffers: usize) -> Arena {
    let mut arena = Arena::new(buffers);
    let mut all: Vec<Packet> = std::iter::from_fn(|| arena.take()).collect();
    let mut draw = Draw::new(Flows::Uniform, 1);
    for last in (1..all.len()).rev() {
        all.swap(last, draw.below(last as u64 + 1) as usize);
    }
    for packet in all {
        arena.give(packet);
    }
    arena
}

/// Some of what the ring holds.
fn take(worker: &mut Worker<Packet>, io: &mut Outward, inlet: &mut Consumer<Packet>) -> usize {
    let n = inlet.slots().min(RING_BURST);
    if n > 0 {
        let taken = inlet.read_chunk(n).into_iter().flatten();
        worker.accept(taken, io);
    }
    n
}
