//! Receive and send queues: each a handle that one worker has. They move between threads, but
//! are not shared.

use std::cell::Cell;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::burst::Burst;
use crate::device::{Owned, PortNumber};

/// Number of a queue of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueNumber(pub u16);

/// A receive queue.
#[derive(Debug)]
pub struct RxQueue {
    owned: Arc<Owned>,
    queue: QueueNumber,
    socket: Option<RawFd>,
    too_long: u64,
    _one_thread: PhantomData<Cell<()>>,
}

impl RxQueue {
    pub(crate) fn new(owned: Arc<Owned>, queue: QueueNumber, socket: Option<RawFd>) -> Self {
        RxQueue { owned, queue, socket, too_long: 0, _one_thread: PhantomData }
    }

    /// Adds received packets to `burst` as far as they fit. Gives how many came.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        let (port, queue, too_long) = (self.owned.number.0, self.queue.0, &raw mut self.too_long);
        // SAFETY: the device runs while `owned` lives, the queue is ours alone, and a driver gives
        // up the mbufs it hands out, which the shim makes of one segment.
        unsafe {
            burst.fill_with(|array, room| {
                usize::from(sys::shim_rx_burst_joined(port, queue, array, room, too_long))
            })
        }
    }

    /// Frames that were dropped because no buffer of the pool holds them.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// The device's number.
    pub fn port(&self) -> PortNumber {
        self.owned.number
    }

    /// Its number in the device.
    pub fn queue(&self) -> QueueNumber {
        self.queue
    }

    /// A socket that can be read when this queue has packets, if there is one to each queue.
    pub fn socket(&self) -> Option<RawFd> {
        self.socket
    }
}

/// A send queue.
#[derive(Debug)]
pub struct TxQueue {
    owned: Arc<Owned>,
    queue: QueueNumber,
    _one_thread: PhantomData<Cell<()>>,
}

impl TxQueue {
    pub(crate) fn new(owned: Arc<Owned>, queue: QueueNumber) -> Self {
        TxQueue { owned, queue, _one_thread: PhantomData }
    }

    /// Sends as many packets as the queue takes from the front of `burst`; the rest stays in it, and
    /// is ours still. Gives how many went. Never waits.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let (port, queue) = (self.owned.number.0, self.queue.0);
        // SAFETY: the device runs while `owned` lives, the queue is ours alone, and a driver takes
        // exactly the prefix it reports.
        unsafe { burst.send_with(|array, count| usize::from(sys::shim_tx_burst(port, queue, array, count))) }
    }

    /// Prepares packets whose checksums are left to the device, as some devices need (a partial
    /// sum, say). Gives how many from the front may be sent; the next one asks for something the
    /// device cannot do.
    pub fn prepare(&mut self, burst: &mut Burst) -> usize {
        let (port, queue) = (self.owned.number.0, self.queue.0);
        let packets = burst.as_mut_slice();
        // SAFETY: a packet is one pointer; the driver edits them but takes none.
        usize::from(unsafe {
            sys::shim_tx_prepare(port, queue, packets.as_mut_ptr().cast(), packets.len() as u16)
        })
    }

    /// The device's number.
    pub fn port(&self) -> PortNumber {
        self.owned.number
    }

    /// Its number in the device.
    pub fn queue(&self) -> QueueNumber {
        self.queue
    }
}
