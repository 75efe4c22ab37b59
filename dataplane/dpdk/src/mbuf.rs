//! A packet buffer of DPDK's: one owner, never cloned, given back when dropped.
//!
//! Only single-segment mbufs with a reference count of one are made into an [`Mbuf`]; so its
//! bytes are contiguous and nobody else sees them.

use std::fmt;
use std::ptr::NonNull;

use dpdk_sys::{self as sys, rte_mbuf};
use wire::{Checksum, ChecksumRequest, L4Checksum, Offload, PacketBuf};

use crate::error::Error;
use crate::log;

/// One packet buffer. Dropping gives it back to its pool, from any thread.
#[repr(transparent)]
pub struct Mbuf(NonNull<rte_mbuf>);

// SAFETY: an mbuf is memory with one owner; pools take mbufs back from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only reads.
unsafe impl Sync for Mbuf {}

/// Claims eight octets of every mbuf for the tag. Drivers claim theirs the same way, so nobody
/// else writes there.
pub(crate) fn claim_tag() -> Result<(), Error> {
    log::attempt(
        || "claim 8 octets of the packet buffers: a device's driver has them".into(),
        // SAFETY: called once, after init.
        || match unsafe { sys::shim_mbuf_claim_tag(sys::MBUF_TAG_OFFSET) } {
            code if code < 0 => -libc::EBUSY,
            _ => 0,
        },
    )
    .map(drop)
}

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `mbuf` is a valid single-segment mbuf that nobody else refers to.
    #[inline]
    pub(crate) unsafe fn from_raw(mbuf: NonNull<rte_mbuf>) -> Self {
        Mbuf(mbuf)
    }

    #[inline]
    fn header(&self) -> &rte_mbuf {
        // SAFETY: valid and ours while `self` lives.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: valid and ours alone while `self` lives.
        unsafe { self.0.as_mut() }
    }

    /// Frame's first octet.
    #[inline]
    fn data(&self) -> *mut u8 {
        let header = self.header();
        // SAFETY: `data_off` ≤ `buf_len`, which is the size of the allocation at `buf_addr`.
        unsafe { header.buf_addr.add(usize::from(header.data_off)) }
    }

    /// Octets that [`PacketBuf::grow_front`] can still add.
    pub fn headroom(&self) -> usize {
        usize::from(self.header().data_off)
    }

    /// Octets between the frame's end and the buffer's.
    pub fn tailroom(&self) -> usize {
        let header = self.header();
        usize::from(header.buf_len.saturating_sub(header.data_off).saturating_sub(header.data_len))
    }

    /// Number of the device it came in by, as DPDK counts.
    pub fn port(&self) -> u16 {
        self.header().port
    }

    #[inline]
    fn set_shape(&mut self, offset: u16, length: u16) {
        let header = self.header_mut();
        header.data_off = offset;
        header.data_len = length;
        header.pkt_len = u32::from(length);
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: ours; nobody uses it afterwards. Pools are never freed.
        unsafe { sys::shim_mbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("len", &self.bytes().len()).field("port", &self.port()).finish()
    }
}

/// One checksum's state by the two flags that a mask holds: neither is "unknown", both "none".
#[inline]
fn checksum(flags: u64, mask: u64, good: u64, bad: u64) -> Checksum {
    match flags & mask {
        seen if seen == good => Checksum::Good,
        seen if seen == bad => Checksum::Bad,
        _ => Checksum::Unknown,
    }
}

impl PacketBuf for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `data_len` octets from here lie in the buffer, initialised by a driver, by an
        // earlier owner or by allocation; nobody else writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.data(), usize::from(self.header().data_len)) }
    }

    #[inline]
    fn prefetch(&self) {
        if let Some(first) = self.bytes().first() {
            mem::prefetch(first);
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.data(), usize::from(self.header().data_len)) }
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let (offset, length) = (self.header().data_off, self.header().data_len);
        match u16::try_from(n).ok().and_then(|n| Some((offset.checked_add(n)?, length.checked_sub(n)?))) {
            Some((offset, length)) => {
                self.set_shape(offset, length);
                true
            }
            None => false,
        }
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> bool {
        let (offset, length) = (self.header().data_off, self.header().data_len);
        match u16::try_from(n).ok().and_then(|n| Some((offset.checked_sub(n)?, length.checked_add(n)?))) {
            Some((offset, length)) => {
                self.set_shape(offset, length);
                true
            }
            None => false,
        }
    }

    #[inline]
    fn set_len(&mut self, n: usize) -> bool {
        let offset = self.header().data_off;
        match u16::try_from(n).ok().filter(|&n| n <= self.header().buf_len.saturating_sub(offset)) {
            Some(length) => {
                self.set_shape(offset, length);
                true
            }
            None => false,
        }
    }

    #[inline]
    fn offload(&self) -> Offload {
        let header = self.header();
        let flags = header.ol_flags;
        Offload {
            rss: (flags & sys::SHIM_MBUF_RX_RSS_HASH != 0).then_some(header.rss),
            ip: checksum(
                flags,
                sys::SHIM_MBUF_RX_IP_CKSUM_MASK,
                sys::SHIM_MBUF_RX_IP_CKSUM_GOOD,
                sys::SHIM_MBUF_RX_IP_CKSUM_BAD,
            ),
            l4: checksum(
                flags,
                sys::SHIM_MBUF_RX_L4_CKSUM_MASK,
                sys::SHIM_MBUF_RX_L4_CKSUM_GOOD,
                sys::SHIM_MBUF_RX_L4_CKSUM_BAD,
            ),
        }
    }

    #[inline]
    fn request_checksums(&mut self, request: ChecksumRequest) {
        const ALL: u64 = sys::SHIM_MBUF_TX_IPV4 | sys::SHIM_MBUF_TX_IP_CKSUM | sys::SHIM_MBUF_TX_L4_MASK;
        let l4 = match request.l4 {
            L4Checksum::None => 0,
            L4Checksum::Tcp => sys::SHIM_MBUF_TX_TCP_CKSUM,
            L4Checksum::Udp => sys::SHIM_MBUF_TX_UDP_CKSUM,
        };
        let ip = if request.ip { sys::SHIM_MBUF_TX_IP_CKSUM } else { 0 };
        let wanted = if ip | l4 == 0 { 0 } else { sys::SHIM_MBUF_TX_IPV4 | ip | l4 };
        let l2 = u64::from(request.l2_len) & ((1 << sys::MBUF_L2_LEN_BITS) - 1);
        let l3 = u64::from(request.l3_len) & ((1 << sys::MBUF_L3_LEN_BITS) - 1);
        let header = self.header_mut();
        header.ol_flags = (header.ol_flags & !ALL) | wanted;
        header.tx_offload = l2 | l3 << sys::MBUF_L2_LEN_BITS;
    }

    #[inline]
    fn tag(&self) -> u64 {
        self.header().tag
    }

    #[inline]
    fn set_tag(&mut self, tag: u64) {
        self.header_mut().tag = tag;
    }
}
