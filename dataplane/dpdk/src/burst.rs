//! Up to 64 packets in a fixed array: what queues and rings take and give.

use std::mem::{self, MaybeUninit};
use std::ptr::NonNull;
use std::{fmt, slice};

use dpdk_sys::{self as sys, rte_mbuf};

use wire::Lane;

use crate::mbuf::Mbuf;

/// A row of packets. What is left in it when it is dropped goes back to the pools.
pub struct Burst {
    /// The first `len` are initialised.
    mbufs: [MaybeUninit<Mbuf>; Burst::SIZE],
    len: usize,
}

impl Burst {
    /// Most packets it holds.
    pub const SIZE: usize = 64;

    /// An empty one.
    pub const fn new() -> Self {
        Burst { mbufs: [const { MaybeUninit::uninit() }; Burst::SIZE], len: 0 }
    }

    /// Packets in it.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no more fit.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == Burst::SIZE
    }

    /// Packets that still fit.
    #[inline]
    pub fn room(&self) -> usize {
        Burst::SIZE - self.len
    }

    /// Adds one at the end; gives it back when the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.mbufs.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last one.
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        let slot = self.mbufs.get(self.len)?;
        // SAFETY: it was initialised, and is out of `len` now.
        Some(unsafe { slot.assume_init_read() })
    }

    /// Takes all, first to last. What the iterator has not given when dropped is freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let end = mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }

    /// The packets.
    #[inline]
    pub fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: the first `len` are initialised, and `MaybeUninit<Mbuf>` is laid out as `Mbuf`.
        unsafe { slice::from_raw_parts(self.mbufs.as_ptr().cast(), self.len) }
    }

    /// The packets, to edit.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: as in `as_slice`, and `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.mbufs.as_mut_ptr().cast(), self.len) }
    }

    /// Gives all back to their pools.
    pub fn clear(&mut self) {
        let count = mem::take(&mut self.len);
        // SAFETY: the first `count` are initialised and, being out of `len` now, freed once.
        unsafe { sys::shim_mbuf_free_bulk(self.mbufs.as_mut_ptr().cast(), count as u32) };
    }

    /// Has `fill(array, room)` write packets behind the last one; it says how many, and so do we.
    ///
    /// # Safety
    /// `fill` writes that many valid mbufs of one segment and one reference each, not more than `room`.
    #[inline]
    pub(crate) unsafe fn fill_with(&mut self, fill: impl FnOnce(*mut *mut rte_mbuf, u16) -> usize) -> usize {
        let room = self.room();
        let Some(free) = self.mbufs.get_mut(self.len..) else { return 0 };
        // An `Mbuf` is one non-null pointer.
        let filled = fill(free.as_mut_ptr().cast(), room as u16).min(room);
        self.len += filled;
        filled
    }

    /// Has `send(array, count)` take a prefix of the packets; it says how many. The rest moves to
    /// the front. Gives how many went.
    ///
    /// # Safety
    /// `send` takes ownership of exactly the first so many.
    #[inline]
    pub(crate) unsafe fn send_with(&mut self, send: impl FnOnce(*mut *mut rte_mbuf, u16) -> usize) -> usize {
        let count = self.len;
        if count == 0 {
            return 0;
        }
        let sent = send(self.mbufs.as_mut_ptr().cast(), count as u16).min(count);
        self.mbufs.copy_within_uninit(sent..count);
        self.len = count - sent;
        sent
    }
}

/// `copy_within` to the front for slots that are moved, not copied.
trait MoveFront {
    fn copy_within_uninit(&mut self, range: std::ops::Range<usize>);
}

impl MoveFront for [MaybeUninit<Mbuf>; Burst::SIZE] {
    #[inline]
    fn copy_within_uninit(&mut self, range: std::ops::Range<usize>) {
        debug_assert!(range.end <= Burst::SIZE);
        if range.start == 0 || range.is_empty() {
            return;
        }
        let base = self.as_mut_ptr();
        // SAFETY: both ranges lie in the array; `MaybeUninit` may be moved bitwise.
        unsafe { std::ptr::copy(base.add(range.start), base, range.len()) };
    }
}

impl Lane<Mbuf> for Burst {
    #[inline]
    fn frames(&mut self) -> &mut [Mbuf] {
        self.as_mut_slice()
    }

    #[inline]
    fn take_all(&mut self) -> impl Iterator<Item = Mbuf> {
        self.drain()
    }
}

impl Default for Burst {
    fn default() -> Self {
        Burst::new()
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Takes the packets of a burst; see [`Burst::drain`].
#[derive(Debug)]
pub struct Drain<'a> {
    burst: &'a mut Burst,
    next: usize,
    end: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        let slot = self.burst.mbufs.get(self.next)?;
        self.next += 1;
        // SAFETY: initialised when `drain` took the burst's length, and given once.
        Some(unsafe { slot.assume_init_read() })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        self.by_ref().for_each(drop);
    }
}

const _: () = assert!(size_of::<Mbuf>() == size_of::<NonNull<rte_mbuf>>());
