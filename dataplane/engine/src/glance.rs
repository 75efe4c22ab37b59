//! A first look at a packet: is it plain, and what is its key?
//!
//! Plain is an untagged whole UDP or TCP packet without IPv4 options, in order as far as every check of the long way
//! on it alone. All octets it takes are read at once, as whole words where that is one instruction.

use nat::{KeyHash, Nat, PlainKey};
use snapshot::Port;
use wire::{Checksum, PacketBuf, Protocol, TcpFlags, TcpSummary};

use crate::handoff::Tag;

/// Packets that go through a stage together; what a burst has beyond goes the long way.
pub(crate) const LANE: usize = 64;
/// Octets of Ethernet, IPv4 and UDP header, or of as much of TCP's.
pub(crate) const HEAD: usize = 42;

/// What kind of packet a glance saw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// One for the long way.
    Odd,
    /// UDP, and nothing behind it.
    Udp,
    /// Any other that may go the short way.
    Late,
}

/// A packet that was read: its place in the index.
#[derive(Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) hash: KeyHash,
    pub(crate) likely: u32,
    /// Octets of IPv4 packet.
    pub(crate) total: u16,
    pub(crate) sight: Sight,
    /// The port it came in by.
    pub(crate) port: u8,
}

impl Glance {
    pub(crate) const ODD: Glance =
        Glance { hash: KeyHash::NONE, likely: 0, total: 0, sight: Sight::Odd, port: u8::MAX };

    /// May the third stage do?
    #[inline]
    pub(crate) fn is_quick(&self) -> bool {
        self.sight == Sight::Udp && self.likely != Nat::NOT_NEAR
    }
}

/// Glances of a lane, which a worker keeps so that none is made for each.
pub(crate) struct Glances(pub(crate) [Glance; LANE]);

impl Glances {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Glances([Glance::ODD; LANE]))
    }
}

/// Folds a sum: the upper half of it and of itself turned round, with what the lower one carries.
#[inline]
pub(crate) const fn fold(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

#[inline]
fn word<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    head.get(at..).and_then(|h| h.first_chunk::<N>()).copied().unwrap_or([0; N])
}

/// The part of `word` that `mask` shows, both as they stand in a frame.
#[inline]
const fn shown(word: [u8; 4], mask: [u8; 4]) -> u32 {
    u32::from_ne_bytes(word) & u32::from_ne_bytes(mask)
}

/// Is the checksum of an IPv4 header without options right? The sum of its 16-bit words is a multiple
/// of 0xffff then (RFC 1071), and so is that of its 32-bit words, in whatever order of octets.
#[inline]
fn is_valid(head: &[u8; HEAD]) -> bool {
    let quarter = |at| u64::from(u32::from_ne_bytes(word(head, at)));
    (quarter(14) + quarter(18) + quarter(22) + quarter(26) + quarter(30)).is_multiple_of(0xffff)
}

#[inline]
pub(crate) fn key(head: &[u8; HEAD]) -> PlainKey {
    PlainKey::new(u64::from_be_bytes(word(head, 26)), u32::from_be_bytes(word(head, 34)), head[23])
}

/// Ethernet addresses are compared as whole words.
const MAC: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// Reads a frame; `None` unless it is an untagged frame to `mac` (as its first octets load; asked for where `MINE`) with a
/// whole UDP or TCP packet without IPv4 options that may pass: every check of the long way on it
/// alone, and for TCP flags that are nothing but ACK. Gives its key, octets of IPv4 packet, and which kind it is.
#[inline(always)]
fn glance<B: PacketBuf, const MINE: bool>(buf: &B, mac: u64) -> Option<(PlainKey, u16, Sight)> {
    let frame = buf.bytes();
    let head = frame.first_chunk::<HEAD>()?;
    let total = u16::from_be_bytes(word(head, 16));
    if (MINE && u64::from_ne_bytes(word(head, 0)) & MAC != mac)
        || shown(word(head, 12), [0xff, 0xff, 0xff, 0]) != u32::from_ne_bytes([8, 0, 0x45, 0])
        || shown(word(head, 20), [0x3f, 0xff, 0, 0]) != 0
        || head[22] <= 1
        || usize::from(total) + 14 > frame.len()
    {
        return None;
    }
    match buf.offload().ip {
        Checksum::Good => {}
        Checksum::Unknown if is_valid(head) => {}
        Checksum::Unknown | Checksum::Bad => return None,
    }
    let sight = if head[23] == Protocol::UDP.0 {
        let length = i32::from(u16::from_be_bytes(word(head, 38)));
        if length < 8 || length > i32::from(total) - 20 {
            return None;
        }
        if usize::from(total) + 14 == frame.len() { Sight::Udp } else { Sight::Late }
    } else if is_plain_tcp(frame, total) {
        Sight::Late
    } else {
        return None;
    };
    Some((key(head), total, sight))
}

/// Is it TCP with nothing that changes its state but an ACK?
#[inline]
fn is_plain_tcp(frame: &[u8], total: u16) -> bool {
    let Some(rest) = frame.get(34..).and_then(|f| f.first_chunk::<20>()) else { return false };
    let header = u16::from(rest[12] >> 4) * 4;
    let flags = TcpFlags(rest[13]);
    let plain = flags.ack() && !flags.syn() && !flags.fin() && !flags.rst();
    frame.get(23) == Some(&Protocol::TCP.0) && header >= 20 && header + 20 <= total && plain
}

/// The parts of a plain TCP header that its state follows.
#[inline]
pub(crate) fn segment(frame: &[u8], total: u16) -> Option<TcpSummary> {
    let h = frame.get(34..)?.first_chunk::<20>()?;
    let [_, _, _, _, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *h;
    let header = (offset >> 4) * 4;
    Some(TcpSummary {
        flags: TcpFlags(flags),
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        window: u16::from_be_bytes([w0, w1]),
        header,
        payload: total.saturating_sub(20 + u16::from(header)),
    })
}

/// First stage: reads frames that came in by a port, and asks for their lines of the index.
#[inline(never)]
pub(crate) fn read_lane<B: PacketBuf>(glances: &mut Glances, nat: &Nat, port: &Port, lane: &[B]) {
    let [a, b, c, d, e, f] = port.mac.0;
    let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    let number = port.id.0;
    lane.iter().for_each(PacketBuf::prefetch);
    for (slot, buf) in glances.0.iter_mut().zip(lane) {
        let Some((key, total, sight)) = glance::<_, true>(buf, mac) else {
            (slot.sight, slot.likely) = (Sight::Odd, 0);
            continue;
        };
        (slot.hash, slot.total, slot.sight, slot.port) = (nat.prefetch_plain(&key), total, sight, number);
    }
}

/// The same of packets that other workers handed over, each by its tag: whoever took them in has looked at
/// where they were sent to.
#[inline(never)]
pub(crate) fn read_handed<B: PacketBuf>(glances: &mut Glances, nat: &Nat, lane: &[B]) {
    lane.iter().for_each(PacketBuf::prefetch);
    for (slot, buf) in glances.0.iter_mut().zip(lane) {
        let plain = Tag::decode(buf.tag()).filter(Tag::is_plain);
        let seen = plain.and_then(|tag| Some((tag.port, glance::<_, false>(buf, 0)?)));
        let Some((port, (key, total, sight))) = seen else {
            (slot.sight, slot.likely) = (Sight::Odd, 0);
            continue;
        };
        (slot.hash, slot.total, slot.sight, slot.port) = (nat.prefetch_plain(&key), total, sight, port);
    }
}
