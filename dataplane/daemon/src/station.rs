//! A worker's loop: poll, run to completion, flush, and rest when there is nothing to do.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use dpdk::{Burst, RxQueue};
use wire::{PacketBuf, build};

use crate::cell::Cell;
use crate::clock::Clock;
use crate::desk::{Job, Worker};
use crate::io::Outward;
use crate::mesh::Inlet;
use crate::pulse::{Meter, Pulse};
use crate::wake::Sleeper;

/// Most packets taken from a ring in one loop.
const RING_BURST: usize = 64;
/// Loops between two looks at clock, jobs and snapshots while there is traffic.
const LOOK: u32 = 16;
/// Empty loops before an adaptive worker pauses between polls, and before it sleeps.
const PAUSE_AFTER: u32 = 256;
const SLEEP_AFTER: u32 = 4_096;
/// Longest sleep of a worker whose devices can wake it, and of one that must poll.
const LONG_SLEEP: Duration = Duration::from_millis(20);
const SHORT_SLEEP: Duration = Duration::from_micros(500);

/// Everything a worker's thread holds.
pub(crate) struct Station {
    /// The engine.
    pub(crate) worker: Worker,
    /// What it sends into.
    pub(crate) io: Outward,
    /// Queues it polls, with their devices.
    pub(crate) queues: Vec<(u8, RxQueue)>,
    /// From the other workers.
    pub(crate) inlets: Vec<Inlet>,
    /// Snapshots.
    pub(crate) cell: Arc<Cell>,
    /// Questions.
    pub(crate) jobs: Receiver<Job>,
    /// IP packets of the host stack; worker 0 alone has it.
    pub(crate) sends: Option<Receiver<Vec<u8>>>,
    /// The time.
    pub(crate) clock: Clock,
    /// How it sleeps; `None`: it spins.
    pub(crate) sleeper: Option<Sleeper>,
    /// Sockets of its devices to sleep on.
    pub(crate) sockets: Vec<RawFd>,
    /// Whether every device it polls has such a socket.
    pub(crate) wakeable: bool,
    /// What it reports.
    pub(crate) pulse: Arc<Pulse>,
    /// Cycles a second of the time stamp counter.
    pub(crate) hz: u64,
    /// Set when the program ends.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Station {
    /// Runs until `stop`.
    pub(crate) fn run(mut self) {
        let (mut burst, mut meter) = (Burst::new(), Meter::default());
        let (mut loops, mut idle, mut due) = (0u32, 0u32, false);
        if self.sends.is_some() {
            self.worker.announce_addresses(None, &mut self.io);
        }
        while !self.stop.load(Ordering::Relaxed) {
            let began = dpdk::tsc();
            let mut packets = self.poll_rings();
            for at in 0..self.queues.len() {
                packets += self.poll_queue(at, &mut burst);
            }
            loops = loops.wrapping_add(1);
            if due || idle > 0 || loops.is_multiple_of(LOOK) {
                due = self.look();
            }
            self.flush();
            meter.turned(dpdk::tsc().wrapping_sub(began), self.hz);
            if packets > 0 {
                idle = 0;
                meter.worked(packets, dpdk::tsc().wrapping_sub(began));
            } else {
                idle = idle.saturating_add(1);
                self.rest(idle, due);
            }
            meter.publish(began, self.hz, &self.pulse);
        }
        self.worker.unsent(self.io.waiting() as u64);
    }

    /// One burst from a device.
    fn poll_queue(&mut self, at: usize, burst: &mut Burst) -> usize {
        let Some((device, queue)) = self.queues.get_mut(at) else { return 0 };
        let n = queue.receive(burst);
        if n > 0 {
            self.worker.receive_burst(*device, burst, &mut self.io);
        }
        n
    }

    /// What other workers gave.
    fn poll_rings(&mut self) -> usize {
        let mut packets = 0;
        for inlet in &mut self.inlets {
            while let Ok(news) = inlet.news.pop() {
                self.worker.hear(news, &mut self.io);
            }
            let n = inlet.packets.slots().min(RING_BURST);
            if n > 0 {
                let taken = inlet.packets.read_chunk(n).into_iter().flatten();
                self.worker.accept(taken, &mut self.io);
            }
            let (mut frames, mut refused) = (0, 0);
            while frames < RING_BURST as u64 {
                let Ok((device, frame)) = inlet.frames.pop() else { break };
                frames += 1;
                refused += u64::from(self.io.send_own(device, frame).is_err());
            }
            if frames > 0 {
                // All count as sent; those that found no room are taken back from that.
                self.worker.relayed_in(frames);
                self.worker.unsent(refused);
            }
            packets += n + frames as usize;
        }
        packets
    }

    /// Time, snapshots, questions and the host stack. True: there is more to expire.
    fn look(&mut self) -> bool {
        if self.cell.is_new() {
            let (worker, io, speaks) = (&mut self.worker, &mut self.io, self.sends.is_some());
            self.cell.take(|snapshot| {
                let before = worker.adopt(snapshot);
                if speaks {
                    worker.announce_addresses(Some(&before), io);
                }
                before
            });
        }
        while let Ok(job) = self.jobs.try_recv() {
            job(&mut self.worker);
        }
        if let Some(sends) = &self.sends {
            while let Ok(packet) = sends.try_recv() {
                if let Some(frame) = framed(&mut self.io, &packet) {
                    self.worker.inject(frame, &mut self.io);
                }
            }
        }
        self.worker.tick(self.clock.tick(), &mut self.io)
    }

    fn flush(&mut self) {
        self.io.flush();
        let relayed = std::mem::take(&mut self.io.relayed);
        if relayed > 0 {
            self.worker.relayed_out(relayed);
        }
    }

    /// Nothing to do for `idle` loops.
    fn rest(&mut self, idle: u32, due: bool) {
        let Some(sleeper) = &mut self.sleeper else { return };
        if idle < PAUSE_AFTER || due || self.io.waiting() > 0 {
            return;
        }
        if idle < SLEEP_AFTER {
            std::hint::spin_loop();
            return;
        }
        sleeper.doze();
        let busy =
            self.inlets.iter().any(|i| !i.packets.is_empty() || !i.frames.is_empty() || !i.news.is_empty())
                || !self.jobs.is_empty()
                || self.sends.as_ref().is_some_and(|s| !s.is_empty())
                || self.cell.is_new()
                || self.stop.load(Ordering::Relaxed);
        if !busy {
            dpdk::wait(&self.sockets, if self.wakeable { LONG_SLEEP } else { SHORT_SLEEP });
        }
        sleeper.rise();
    }
}

/// An IP packet of the host stack in a buffer with room for Ethernet in front.
fn framed(io: &mut Outward, packet: &[u8]) -> Option<dpdk::Mbuf> {
    let mut frame = io.pool.alloc()?;
    if !frame.set_len(build::FRONT + packet.len()) {
        return None;
    }
    let (front, body) = frame.bytes_mut().split_at_mut_checked(build::FRONT)?;
    front.fill(0);
    body.copy_from_slice(packet);
    Some(frame)
}
