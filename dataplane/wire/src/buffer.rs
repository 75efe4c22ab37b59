//! The buffer seam: what the pure core knows of a packet buffer, and one made of plain memory.

/// State of a checksum as the receiving device saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// The device did not look.
    #[default]
    Unknown,
    /// The device verified it.
    Good,
    /// The device found it wrong.
    Bad,
}

/// What the receiving device found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Its RSS hash.
    pub rss: Option<u32>,
    /// The IPv4 header checksum.
    pub ip: Checksum,
    /// The TCP or UDP checksum.
    pub l4: Checksum,
}

/// Which transport checksum a device is to fill in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum L4Checksum {
    /// None: the bytes are right as they are.
    #[default]
    None,
    /// TCP's; the field holds the pseudo header's sum.
    Tcp,
    /// UDP's; the field holds the pseudo header's sum.
    Udp,
}

/// What the sending device is to compute. Only asked of ports that can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumRequest {
    /// The IPv4 header's checksum.
    pub ip: bool,
    /// The transport checksum.
    pub l4: L4Checksum,
    /// Octets of Ethernet (and VLAN) header.
    pub l2_len: u16,
    /// Octets of IPv4 header, options included.
    pub l3_len: u16,
}

/// All that is known of a buffer: one contiguous frame with room around it.
pub trait PacketBuf: Sized {
    /// The frame.
    fn bytes(&self) -> &[u8];
    /// Asks for the frame's first line to be brought near.
    #[inline]
    fn prefetch(&self) {}
    /// The frame, to edit.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Takes `n` octets off the front; false, and nothing done, if there are fewer.
    fn trim_front(&mut self, n: usize) -> bool;
    /// Adds `n` unspecified octets in front from the headroom; false, and nothing done, if it is smaller.
    fn grow_front(&mut self, n: usize) -> bool;
    /// Cuts the frame, or extends it into the tailroom by unspecified octets; false, and nothing
    /// done, if there is not that much room.
    fn set_len(&mut self, n: usize) -> bool;
    /// What the receiving device found out.
    fn offload(&self) -> Offload;
    /// Asks the sending device for checksums; the caller knows that the port can.
    fn request_checksums(&mut self, request: ChecksumRequest);
    /// Eight octets that travel with the packet over a hand-over ring.
    fn tag(&self) -> u64;
    /// Sets them.
    fn set_tag(&mut self, tag: u64);
}

/// A burst of received frames, in order.
pub trait Lane<B: PacketBuf> {
    /// The frames.
    fn frames(&mut self) -> &mut [B];
    /// Takes all, first to last; none is left behind.
    fn take_all(&mut self) -> impl Iterator<Item = B>;
}

impl<B: PacketBuf> Lane<B> for Vec<B> {
    #[inline]
    fn frames(&mut self) -> &mut [B] {
        self
    }

    #[inline]
    fn take_all(&mut self) -> impl Iterator<Item = B> {
        self.drain(..)
    }
}

/// Where buffers come from. Giving back is dropping.
pub trait BufPool {
    /// Its buffers.
    type Buf: PacketBuf;
    /// An empty buffer with headroom, or `None` when the pool is empty.
    fn alloc(&mut self) -> Option<Self::Buf>;
}

/// A buffer in plain memory: tests, the lab and the host stack use it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeapBuf {
    data: Vec<u8>,
    front: usize,
    offload: Offload,
    request: Option<ChecksumRequest>,
    tag: u64,
}

impl HeapBuf {
    /// Octets in front of a new frame.
    pub const HEADROOM: usize = 128;
    /// Longest frame, octets.
    pub const MAX_LEN: usize = 9_216;

    /// An empty frame with full headroom.
    pub fn new() -> Self {
        Self::from_frame(&[])
    }

    /// A frame of these octets, cut at [`HeapBuf::MAX_LEN`].
    pub fn from_frame(frame: &[u8]) -> Self {
        let frame = frame.get(..Self::MAX_LEN).unwrap_or(frame);
        let mut data = Vec::with_capacity(Self::HEADROOM + frame.len());
        data.resize(Self::HEADROOM, 0);
        data.extend_from_slice(frame);
        HeapBuf { data, front: Self::HEADROOM, offload: Offload::default(), request: None, tag: 0 }
    }

    /// The same, as if a device had found out `offload`.
    pub fn with_offload(mut self, offload: Offload) -> Self {
        self.offload = offload;
        self
    }

    /// The checksums asked for, if any were.
    pub fn requested(&self) -> Option<ChecksumRequest> {
        self.request
    }
}

impl PacketBuf for HeapBuf {
    fn bytes(&self) -> &[u8] {
        self.data.get(self.front..).unwrap_or(&[])
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.front..).unwrap_or(&mut [])
    }

    fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= self.bytes().len();
        if fits {
            self.front += n;
        }
        fits
    }

    fn grow_front(&mut self, n: usize) -> bool {
        let fits = n <= self.front;
        if fits {
            self.front -= n;
        }
        fits
    }

    fn set_len(&mut self, n: usize) -> bool {
        let fits = n <= Self::MAX_LEN;
        if fits {
            self.data.resize(self.front + n, 0);
        }
        fits
    }

    fn offload(&self) -> Offload {
        self.offload
    }

    fn request_checksums(&mut self, request: ChecksumRequest) {
        self.request = Some(request);
    }

    fn tag(&self) -> u64 {
        self.tag
    }

    fn set_tag(&mut self, tag: u64) {
        self.tag = tag;
    }
}

/// Hands out [`HeapBuf`]s, as many as it was given leave to.
#[derive(Debug, Clone, Copy)]
pub struct HeapPool {
    /// Buffers it will still hand out.
    pub left: usize,
}

impl BufPool for HeapPool {
    type Buf = HeapBuf;

    fn alloc(&mut self) -> Option<HeapBuf> {
        self.left = self.left.checked_sub(1)?;
        Some(HeapBuf::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_into_its_headroom_and_no_further() {
        let mut b = HeapBuf::from_frame(&[1, 2, 3]);
        assert!(b.grow_front(HeapBuf::HEADROOM));
        assert!(!b.grow_front(1));
        assert_eq!(b.bytes().len(), HeapBuf::HEADROOM + 3);
        assert!(b.trim_front(HeapBuf::HEADROOM + 1));
        assert_eq!(b.bytes(), &[2, 3]);
        assert!(!b.trim_front(3));
        assert_eq!(b.bytes(), &[2, 3]);
    }

    #[test]
    fn a_buffer_is_cut_and_extended_within_its_room() {
        let mut b = HeapBuf::from_frame(&[1, 2, 3]);
        assert!(b.set_len(1));
        assert_eq!(b.bytes(), &[1]);
        assert!(b.set_len(HeapBuf::MAX_LEN));
        assert!(!b.set_len(HeapBuf::MAX_LEN + 1));
        assert_eq!(b.bytes().len(), HeapBuf::MAX_LEN);
    }

    #[test]
    fn an_empty_pool_says_so() {
        let mut p = HeapPool { left: 1 };
        assert!(p.alloc().is_some());
        assert!(p.alloc().is_none());
    }
}
