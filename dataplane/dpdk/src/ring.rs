//! Rings of packets between two threads, by DPDK's `rte_ring`, one producer and one consumer.

use std::cell::Cell;
use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys::{self as sys, rte_ring};

use crate::burst::Burst;
use crate::eal::Eal;
use crate::error::Error;
use crate::log;

/// The memory both ends share; what is left in it when both are gone is freed.
#[derive(Debug)]
pub(crate) struct RawRing(NonNull<rte_ring>);

// SAFETY: producer and consumer are kept apart by the two end types (or by a device).
unsafe impl Send for RawRing {}
// SAFETY: as above; the counts may be read by anyone.
unsafe impl Sync for RawRing {}

impl RawRing {
    /// Room for `capacity` packets or a little more.
    pub(crate) fn new(name: &str, capacity: u32) -> Result<Self, Error> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name: String = name.chars().filter(char::is_ascii_graphic).take(14).collect();
        let name = CString::new(format!("{name}_{number}"))?;
        // One slot of the power of two stays empty.
        let slots = capacity.max(1).checked_add(1).and_then(u32::checked_next_power_of_two);
        let Some(slots) = slots.filter(|&slots| slots <= 1 << 30) else {
            return Err(Error::Invalid { what: format!("a ring of {capacity} packets is too large") });
        };
        let mut raw = std::ptr::null_mut();
        log::attempt(
            || format!("make a ring of {capacity} packets"),
            || {
                // SAFETY: the name is terminated; DPDK is initialised, as callers hold an `Eal`.
                unsafe {
                    raw = sys::rte_ring_create(
                        name.as_ptr(),
                        slots,
                        -1,
                        sys::RING_F_SP_ENQ | sys::RING_F_SC_DEQ,
                    );
                    if raw.is_null() { -sys::shim_errno().abs().max(1) } else { 0 }
                }
            },
        )?;
        NonNull::new(raw)
            .map(RawRing)
            .ok_or_else(|| Error::NoMemory { doing: "make a ring".into(), said: String::new() })
    }

    pub(crate) fn as_ptr(&self) -> *mut rte_ring {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        // SAFETY: valid while `self` lives; reads two indices.
        unsafe { sys::shim_ring_count(self.as_ptr()) as usize }
    }

    fn capacity(&self) -> usize {
        // SAFETY: valid while `self` lives.
        unsafe { sys::shim_ring_capacity(self.as_ptr()) as usize }
    }

    /// # Safety
    /// The caller is the only consumer.
    unsafe fn receive(&self, burst: &mut Burst) -> usize {
        // SAFETY: the ring holds mbufs that senders gave up, and gives at most `room` of them.
        unsafe {
            burst.fill_with(|array, room| {
                sys::shim_ring_sc_dequeue(self.as_ptr(), array, u32::from(room)) as usize
            })
        }
    }
}

impl Drop for RawRing {
    fn drop(&mut self) {
        let mut burst = Burst::new();
        // SAFETY: both ends are gone, so nobody else consumes.
        while unsafe { self.receive(&mut burst) } > 0 {
            burst.clear();
        }
        // SAFETY: empty and unused from here on.
        unsafe { sys::rte_ring_free(self.as_ptr()) };
    }
}

/// Makes rings.
#[derive(Debug)]
pub struct Ring;

impl Ring {
    /// Both ends of a ring for at least `capacity` packets. Fails without memory.
    pub fn channel(_: &Eal, name: &str, capacity: u32) -> Result<(RingSender, RingReceiver), Error> {
        let raw = Arc::new(RawRing::new(name, capacity)?);
        let sender = RingSender { raw: Arc::clone(&raw), _one_thread: PhantomData };
        Ok((sender, RingReceiver { raw, _one_thread: PhantomData }))
    }
}

/// The end that packets go in by; one thread at a time has it.
#[derive(Debug)]
pub struct RingSender {
    raw: Arc<RawRing>,
    _one_thread: PhantomData<Cell<()>>,
}

impl RingSender {
    /// Moves as many packets as there is room for from the front of `burst`; the rest stays in it.
    /// Gives how many went.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        // SAFETY: we are the only producer; the ring takes the first so many, and its pointers
        // become packets again at the other end only.
        unsafe {
            burst.send_with(|array, count| {
                sys::shim_ring_sp_enqueue(self.raw.as_ptr(), array, u32::from(count)) as usize
            })
        }
    }

    /// Packets in the ring.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Packets it holds when full.
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }
}

/// The end that packets come out by; one thread at a time has it.
#[derive(Debug)]
pub struct RingReceiver {
    raw: Arc<RawRing>,
    _one_thread: PhantomData<Cell<()>>,
}

impl RingReceiver {
    /// Adds waiting packets to `burst` as far as they fit. Gives how many came.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        // SAFETY: we are the only consumer.
        unsafe { self.raw.receive(burst) }
    }

    /// Packets in the ring.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
