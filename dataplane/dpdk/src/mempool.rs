//! Pools of packet buffers. They live as long as the process: an [`Mbuf`] does not count its
//! pool's users, so nothing could tell safely when the last one is gone.

use std::ffi::CString;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk_sys::{self as sys, rte_mempool};
use wire::BufPool;

use crate::burst::Burst;
use crate::eal::Eal;
use crate::error::Error;
use crate::log;
use crate::mbuf::Mbuf;

/// What a pool is to be.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Names it in DPDK's log; a number is added.
    pub name: String,
    /// Buffers in it; a power of two less one is kindest to memory.
    pub mbufs: u32,
    /// Octets of a buffer, 128 of headroom among them. AF_XDP wants 2,176 or more.
    pub data_room: u16,
    /// Buffers that each registered thread keeps for itself, at most 512.
    pub cache: u16,
    /// NUMA socket of its memory; `None`: any.
    pub socket: Option<u32>,
    /// Side by side, without regard to pages. AF_XDP needs that: its driver tells the kernel of
    /// as many octets as packed buffers take, and the kernel refuses those beyond in silence.
    /// Hardware that is given addresses of its own cannot use such a pool.
    pub packed: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            name: "mbufs".into(),
            mbufs: 16_383,
            data_room: sys::RTE_MBUF_DEFAULT_BUF_SIZE as u16,
            cache: 256,
            socket: None,
            packed: true,
        }
    }
}

/// A pool of packet buffers. A handle: cloning it does not copy buffers.
#[derive(Clone, Debug)]
pub struct Mempool {
    raw: NonNull<rte_mempool>,
    mbufs: u32,
    data_room: u16,
}

// SAFETY: DPDK's pools take and give from any thread.
unsafe impl Send for Mempool {}
// SAFETY: as above; nothing here is changed after the pool is made.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool. Fails when there is not enough memory.
    pub fn new(_: &Eal, config: &PoolConfig) -> Result<Self, Error> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // DPDK takes 25 octets.
        let name: String = config.name.chars().filter(char::is_ascii_graphic).take(14).collect();
        let name = CString::new(format!("{name}_{number}"))?;
        let socket = config.socket.and_then(|socket| i32::try_from(socket).ok()).unwrap_or(-1);
        let cache = u32::from(config.cache).min(config.mbufs / 3 * 2).min(sys::RTE_MEMPOOL_CACHE_MAX_SIZE);
        let mut raw = std::ptr::null_mut();
        log::attempt(
            || format!("make a pool of {} packet buffers of {} octets", config.mbufs, config.data_room),
            || {
                // SAFETY: DPDK is initialised, the name terminated.
                raw = unsafe {
                    let (name, mbufs, room) = (name.as_ptr(), config.mbufs, config.data_room);
                    if config.packed {
                        sys::shim_pool_packed(name, mbufs, cache, room, socket)
                    } else {
                        sys::rte_pktmbuf_pool_create(name, mbufs, cache, 0, room, socket)
                    }
                };
                if raw.is_null() {
                    // SAFETY: reads a thread-local number.
                    -unsafe { sys::shim_errno() }.abs().max(1)
                } else {
                    0
                }
            },
        )?;
        match NonNull::new(raw) {
            Some(raw) => Ok(Mempool { raw, mbufs: config.mbufs, data_room: config.data_room }),
            None => Err(Error::NoMemory { doing: "make a pool".into(), said: String::new() }),
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut rte_mempool {
        self.raw.as_ptr()
    }

    /// An empty buffer with headroom, or `None` when the pool is empty.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives for ever; a new mbuf has one segment and one owner.
        unsafe { NonNull::new(sys::shim_mbuf_alloc(self.as_ptr())).map(|mbuf| Mbuf::from_raw(mbuf)) }
    }

    /// Adds `count` empty buffers to a burst; false, and nothing done, if the pool has not so many
    /// or the burst no room for them.
    #[inline]
    pub fn alloc_bulk(&self, burst: &mut Burst, count: usize) -> bool {
        if count > burst.room() {
            return false;
        }
        // SAFETY: on success DPDK writes `count` new mbufs, which is not more than the room.
        let got = unsafe {
            burst.fill_with(|array, _| {
                if sys::shim_mbuf_alloc_bulk(self.as_ptr(), array, count as u32) == 0 { count } else { 0 }
            })
        };
        got == count
    }

    /// Buffers it was made with.
    pub fn capacity(&self) -> usize {
        self.mbufs as usize
    }

    /// Octets of a buffer, headroom among them.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// Longest frame a new buffer takes, octets.
    pub fn frame_room(&self) -> usize {
        usize::from(self.data_room).saturating_sub(sys::RTE_PKTMBUF_HEADROOM as usize)
    }

    /// Buffers that nobody has, those in threads' caches among them. Walks the caches: not for the packet path.
    pub fn available(&self) -> usize {
        // SAFETY: the pool lives for ever; the count is approximate while others use it.
        unsafe { sys::rte_mempool_avail_count(self.as_ptr()) as usize }
    }

    /// Buffers that somebody has: programs, rings or devices. Not for the packet path.
    pub fn in_use(&self) -> usize {
        // SAFETY: as in `available`.
        unsafe { sys::rte_mempool_in_use_count(self.as_ptr()) as usize }
    }

    /// Says whether exactly `held` buffers are out, where all who hold some are counted. While
    /// packets move the answer is approximate.
    pub fn audit(&self, held: usize) -> Result<(), Leak> {
        let in_use = self.in_use();
        if in_use == held { Ok(()) } else { Err(Leak { held, in_use }) }
    }
}

impl BufPool for Mempool {
    type Buf = Mbuf;

    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        Mempool::alloc(self)
    }
}

/// More or fewer buffers are out of a pool than are known to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Buffers known to be held.
    pub held: usize,
    /// Buffers out of the pool.
    pub in_use: usize,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packet buffers are out of the pool, {} are accounted for", self.in_use, self.held)
    }
}

impl std::error::Error for Leak {}
