//! The engine's surroundings on DPDK: queues this worker fills, rings to the others, the pool.
//!
//! Frames for a queue of this worker wait in a small burst until the end of the loop. A frame
//! that neither queue nor burst takes goes back to the engine, which counts it as `tx_full`.

use crossbeam_channel::{Sender, TrySendError};
use dpdk::{Burst, Mbuf, Mempool, TxQueue};
use engine::{Io, Neighbour};
use nat::WorkerId;

use crate::mesh::Outlet;

/// How frames reach a device.
pub(crate) enum Door {
    /// This worker fills a queue of its own.
    Own {
        /// The queue.
        queue: TxQueue,
        /// Frames that wait for the end of the loop.
        burst: Box<Burst>,
    },
    /// Another worker fills the only queue.
    Through(WorkerId),
}

/// What a worker's engine sends into.
pub(crate) struct Outward {
    /// By device.
    pub(crate) doors: Vec<Door>,
    /// To the other workers, by number.
    pub(crate) outlets: Vec<Option<Outlet>>,
    /// To the host stack.
    pub(crate) punts: Sender<Mbuf>,
    /// Where new packets come from.
    pub(crate) pool: Mempool,
    /// Frames given to other workers' queues since the last look.
    pub(crate) relayed: u64,
}

impl Outward {
    fn outlet(&mut self, worker: WorkerId) -> Option<&mut Outlet> {
        self.outlets.get_mut(usize::from(worker.0))?.as_mut()
    }

    /// Gives what waits to the queues. What they do not take waits on.
    pub(crate) fn flush(&mut self) {
        for door in &mut self.doors {
            if let Door::Own { queue, burst } = door
                && !burst.is_empty()
            {
                queue.send(burst);
            }
        }
        for outlet in self.outlets.iter_mut().flatten() {
            if std::mem::take(&mut outlet.filled) {
                outlet.waker.wake();
            }
        }
    }

    /// Frames that still wait for a queue.
    pub(crate) fn waiting(&self) -> usize {
        let waits = |door: &Door| match door {
            Door::Own { burst, .. } => burst.len(),
            Door::Through(_) => 0,
        };
        self.doors.iter().map(waits).sum()
    }

    /// Puts a frame into the burst of a queue of this worker.
    pub(crate) fn send_own(&mut self, device: u8, frame: Mbuf) -> Result<(), Mbuf> {
        let Some(Door::Own { queue, burst }) = self.doors.get_mut(usize::from(device)) else {
            return Err(frame);
        };
        if burst.is_full() {
            queue.send(burst);
        }
        burst.push(frame)
    }
}

impl Io<Mbuf> for Outward {
    fn transmit(&mut self, device: u8, packet: Mbuf) -> Result<(), Mbuf> {
        let Some(Door::Through(owner)) = self.doors.get(usize::from(device)) else {
            return self.send_own(device, packet);
        };
        let owner = *owner;
        let Some(outlet) = self.outlet(owner) else { return Err(packet) };
        match outlet.frames.push((device, packet)) {
            Ok(()) => {
                outlet.filled = true;
                self.relayed += 1;
                Ok(())
            }
            Err(rtrb::PushError::Full((_, packet))) => Err(packet),
        }
    }

    fn hand_off(&mut self, worker: WorkerId, packet: Mbuf) -> Result<(), Mbuf> {
        let Some(outlet) = self.outlet(worker) else { return Err(packet) };
        match outlet.packets.push(packet) {
            Ok(()) => {
                outlet.filled = true;
                Ok(())
            }
            Err(rtrb::PushError::Full(packet)) => Err(packet),
        }
    }

    fn punt(&mut self, packet: Mbuf) -> Result<(), Mbuf> {
        self.punts.try_send(packet).map_err(|e| match e {
            TrySendError::Full(packet) | TrySendError::Disconnected(packet) => packet,
        })
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn announce(&mut self, neighbour: Neighbour) {
        for outlet in self.outlets.iter_mut().flatten() {
            // Full: that worker asks for itself when it needs to.
            if outlet.news.push(neighbour).is_ok() {
                outlet.filled = true;
            }
        }
    }
}
