//! Packet buffers as a device has them: made once, in rotation, in hugepages where there are any.
//!
//! A buffer is laid out as DPDK's: two lines of its own (lengths, tag) and, behind 128 octets of
//! headroom, the frame. So a packet touches the lines that it touches behind a real device.
//! The engine drops a buffer to end a packet; it comes back by a list of its thread.

use std::cell::RefCell;

use mem::{Array, plain_struct};
use wire::{Checksum, ChecksumRequest, Offload, PacketBuf};

/// Octets of frame and headroom.
const SPACE: usize = 1920;
/// Octets in front of a new frame.
pub const HEADROOM: usize = 128;

/// One buffer, 2 KB.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Room {
    front: u16,
    len: u16,
    /// 1: the device found the IP header's checksum right.
    good: u16,
    asked: u16,
    tag: u64,
    rest: [u64; 14],
    space: [u8; SPACE],
}

plain_struct!(Room {
    front: u16,
    len: u16,
    good: u16,
    asked: u16,
    tag: u64,
    rest: [u64; 14],
    space: [u8; SPACE],
});

thread_local! {
    /// Buffers that were dropped: where the arena finds them again.
    static DROPPED: RefCell<Vec<&'static mut Room>> = const { RefCell::new(Vec::new()) };
}

/// A packet in a buffer of an [`Arena`]; dropping gives the buffer back.
pub struct Packet(Option<&'static mut Room>);

impl Drop for Packet {
    fn drop(&mut self) {
        if let Some(room) = self.0.take() {
            DROPPED.with_borrow_mut(|all| all.push(room));
        }
    }
}

/// Where packets get their buffers: this module's arena, or a pool of DPDK's.
pub trait Buffers {
    /// Its packets.
    type Packet: PacketBuf;
    /// An empty packet with headroom; `None` when all are out.
    fn take(&mut self) -> Option<Self::Packet>;
    /// Gives one back, as a device does that has sent it.
    fn give(&mut self, packet: Self::Packet);
    /// Says what a device would have found out about the frame.
    fn verified(packet: &mut Self::Packet, ip_checksum: bool);
}

/// A fixed number of buffers of one thread. Their memory stays until the process ends.
pub struct Arena {
    free: Vec<Packet>,
}

impl Arena {
    /// `buffers` buffers of 2 KB.
    pub fn new(buffers: usize) -> Self {
        let rooms: &'static mut Array<Room> = Box::leak(Box::new(Array::zeroed(buffers)));
        DROPPED.with_borrow_mut(|all| all.reserve(buffers));
        let mut free = Vec::with_capacity(buffers);
        free.extend(rooms.iter_mut().map(|room| Packet(Some(room))));
        // As a pool is after a while: in no order that a cache could foresee.
        for at in (1..free.len()).rev() {
            free.swap(at, (crate::draw::mix(at as u64) % (at as u64 + 1)) as usize);
        }
        Arena { free }
    }
}

impl Buffers for Arena {
    type Packet = Packet;

    fn take(&mut self) -> Option<Packet> {
        if self.free.is_empty() {
            DROPPED.with_borrow_mut(|all| self.free.extend(all.drain(..).map(|room| Packet(Some(room)))));
        }
        let mut packet = self.free.pop()?;
        if let Some(room) = &mut packet.0 {
            (room.front, room.len, room.good, room.asked, room.tag) = (HEADROOM as u16, 0, 0, 0, 0);
        }
        Some(packet)
    }

    fn give(&mut self, packet: Packet) {
        self.free.push(packet);
    }

    fn verified(packet: &mut Packet, ip_checksum: bool) {
        if let Some(room) = &mut packet.0 {
            room.good = u16::from(ip_checksum);
        }
    }
}

impl PacketBuf for Packet {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let Some(room) = &self.0 else { return &[] };
        let (front, len) = (usize::from(room.front), usize::from(room.len));
        room.space.get(front..front + len).unwrap_or(&[])
    }

    #[inline]
    fn prefetch(&self) {
        if let Some(first) = self.0.as_ref().and_then(|room| room.space.get(usize::from(room.front))) {
            mem::prefetch(first);
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let Some(room) = &mut self.0 else { return &mut [] };
        let (front, len) = (usize::from(room.front), usize::from(room.len));
        room.space.get_mut(front..front + len).unwrap_or(&mut [])
    }

    #[inline]
    fn trim_front(&mut self, n: usize) -> bool {
        let Some(room) = self.0.as_deref_mut().filter(|r| n <= usize::from(r.len)) else { return false };
        room.front += n as u16;
        room.len -= n as u16;
        true
    }

    #[inline]
    fn grow_front(&mut self, n: usize) -> bool {
        let Some(room) = self.0.as_deref_mut().filter(|r| n <= usize::from(r.front)) else { return false };
        room.front -= n as u16;
        room.len += n as u16;
        true
    }

    #[inline]
    fn set_len(&mut self, n: usize) -> bool {
        let Some(room) = self.0.as_deref_mut() else { return false };
        let fits = n <= SPACE - usize::from(room.front).min(SPACE);
        if fits {
            room.len = n as u16;
        }
        fits
    }

    #[inline]
    fn offload(&self) -> Offload {
        let good = self.0.as_ref().is_some_and(|r| r.good != 0);
        let ip = if good { Checksum::Good } else { Checksum::Unknown };
        Offload { rss: None, ip, l4: Checksum::Unknown }
    }

    fn request_checksums(&mut self, request: ChecksumRequest) {
        if let Some(room) = &mut self.0 {
            room.asked = u16::from(request.ip) | (request.l4 as u16) << 1;
        }
    }

    #[inline]
    fn tag(&self) -> u64 {
        self.0.as_ref().map_or(0, |r| r.tag)
    }

    #[inline]
    fn set_tag(&mut self, tag: u64) {
        if let Some(room) = &mut self.0 {
            room.tag = tag;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_handed_out_again() {
        let mut arena = Arena::new(2);
        let (a, b) = (arena.take(), arena.take());
        assert!(a.is_some() && b.is_some() && arena.take().is_none());
        drop(a);
        let again = arena.take();
        assert!(again.is_some_and(|p| p.bytes().is_empty()));
        drop(b);
    }

    #[test]
    fn a_buffer_grows_into_its_headroom_and_to_its_end_and_no_further() {
        let mut arena = Arena::new(1);
        let mut p = arena.take().unwrap();
        assert!(p.set_len(SPACE - HEADROOM) && !p.set_len(SPACE - HEADROOM + 1));
        assert!(p.grow_front(HEADROOM) && !p.grow_front(1));
        assert_eq!(p.bytes().len(), SPACE);
        assert!(p.trim_front(SPACE) && !p.trim_front(1));
    }
}
