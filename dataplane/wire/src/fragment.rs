//! Splitting a datagram that may be fragmented into pieces that fit an MTU (RFC 791 §3.2).
//!
//! The packet's own buffer becomes the first piece; the others are written to new buffers.
//! Options go into later pieces only where their copied flag is set.

use crate::ipv4::{Ipv4, MIN_HEADER};
use crate::{PacketBuf, checksum};

/// How a packet is split: made once, then each piece is written by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    l3: usize,
    l4: usize,
    end: usize,
    /// Offset of the original in its datagram and its "more fragments".
    offset: u16,
    more: bool,
    id: u16,
    /// Header of pieces after the first: 20 octets and the copied options, padded.
    later: [u8; 60],
    later_len: usize,
    /// Payload octets of the first piece and of each full later one.
    first_payload: usize,
    later_payload: usize,
}

impl Pieces {
    /// Plans the split of `ip` in `frame` for `mtu`; the pieces carry `id`. `None` if it fits as
    /// it is or the MTU has no room for even eight octets of data.
    pub fn plan(frame: &[u8], ip: &Ipv4, mtu: u16, id: u16) -> Option<Pieces> {
        let mtu = usize::from(mtu);
        let (l3, l4, end) = (usize::from(ip.l3), usize::from(ip.l4), usize::from(ip.end));
        if end - l3 <= mtu {
            return None;
        }
        let header = frame.get(l3..l4)?;
        let (later, later_len) = later_header(header)?;
        let first_payload = mtu.checked_sub(l4 - l3)? / 8 * 8;
        let later_payload = mtu.checked_sub(later_len)? / 8 * 8;
        if first_payload == 0 || later_payload == 0 {
            return None;
        }
        let (offset, more) = (ip.fragment_offset, ip.more_fragments);
        Some(Pieces { l3, l4, end, offset, more, id, later, later_len, first_payload, later_payload })
    }

    /// How many pieces there are, the first included; at least 2.
    pub fn count(&self) -> usize {
        1 + (self.end - self.l4 - self.first_payload).div_ceil(self.later_payload)
    }

    /// Writes piece `number` (1 to `count() - 1`) of the whole `frame` into `out`, with the frame's
    /// octets before the IP header in front. False if there is no such piece or no room.
    pub fn write(&self, frame: &[u8], number: usize, out: &mut impl PacketBuf) -> bool {
        if number == 0 || number >= self.count() {
            return false;
        }
        let skip = self.first_payload + (number - 1) * self.later_payload;
        let start = self.l4 + skip;
        let stop = (start + self.later_payload).min(self.end);
        let (Some(front), Some(data)) = (frame.get(..self.l3), frame.get(start..stop)) else { return false };
        let total = self.later_len + data.len();
        if !out.set_len(self.l3 + total) {
            return false;
        }
        let to = out.bytes_mut();
        let Some((to_front, packet)) = to.split_at_mut_checked(self.l3) else { return false };
        to_front.copy_from_slice(front);
        let Some((head, body)) = packet.split_at_mut_checked(self.later_len) else { return false };
        let Some(later) = self.later.get(..self.later_len) else { return false };
        head.copy_from_slice(later);
        body.copy_from_slice(data);
        let more = self.more || stop < self.end;
        set_fields(head, total, self.id, self.offset as usize + skip, more)
    }

    /// Makes `buf`, which holds the whole frame, the first piece. Call it after the others are written.
    pub fn cut_first(&self, buf: &mut impl PacketBuf) -> bool {
        if !buf.set_len(self.l4 + self.first_payload) {
            return false;
        }
        let total = self.l4 - self.l3 + self.first_payload;
        let Some(head) = buf.bytes_mut().get_mut(self.l3..self.l4) else { return false };
        set_fields(head, total, self.id, usize::from(self.offset), true)
    }
}

/// Header of pieces after the first: options whose copied flag is set, padded to whole words.
fn later_header(header: &[u8]) -> Option<([u8; 60], usize)> {
    let mut out = [0u8; 60];
    let (fixed, mut options) = header.split_at_checked(MIN_HEADER)?;
    out.get_mut(..MIN_HEADER)?.copy_from_slice(fixed);
    let mut len = MIN_HEADER;
    loop {
        match *options {
            [] | [0, ..] => break,
            [1, ref rest @ ..] => options = rest,
            [kind, size, ..] => {
                // A malformed option ends the list: nothing behind it can be read.
                let Some((option, rest)) = options.split_at_checked(usize::from(size)) else { break };
                if size < 2 {
                    break;
                }
                if kind & 0x80 != 0 {
                    out.get_mut(len..len + option.len())?.copy_from_slice(option);
                    len += option.len();
                }
                options = rest;
            }
            [_] => break,
        }
    }
    let padded = len.div_ceil(4) * 4;
    out[0] = 0x40 | (padded / 4) as u8;
    Some((out, padded))
}

fn set_fields(head: &mut [u8], total: usize, id: u16, offset: usize, more: bool) -> bool {
    let Ok(total) = u16::try_from(total) else { return false };
    let Some(h) = head.first_chunk_mut::<MIN_HEADER>() else { return false };
    h[2..4].copy_from_slice(&total.to_be_bytes());
    h[4..6].copy_from_slice(&id.to_be_bytes());
    let flags = (offset / 8) as u16 & 0x1fff | if more { 0x2000 } else { 0 };
    h[6..8].copy_from_slice(&flags.to_be_bytes());
    h[10..12].fill(0);
    let sum = checksum::of(head);
    head.get_mut(10..12).is_some_and(|c| {
        c.copy_from_slice(&sum.to_be_bytes());
        true
    })
}
