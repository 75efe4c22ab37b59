//! The short way of plain packets of established flows, in stages over a burst.
//!
//! All of a burst is read first, and for each packet its line of the index asked for; then the
//! record that it names; by the time a packet is carried out, both are near. A packet that is
//! anything but plain UDP or TCP of a flow whose way is noted ([`Nat::express`](nat::Nat::express))
//! goes the long way, in its turn: order within a flow holds, and both ways do the same to a packet.
//!
//! Each stage is a function of its own, so that what it keeps in registers stays there.

use std::net::Ipv4Addr;
use std::slice;

use nat::{KeyHash, Nat, PlainKey, Side, Tick};
use snapshot::{Port, Snapshot};
use wire::checksum::Delta;
use wire::{Checksum, Endpoint, Lane, MacAddr, PacketBuf, Protocol, TcpFlags, TcpSummary};

use crate::forward::Hop;
use crate::io::Io;
use crate::neighbours::NextHopId;
use crate::outset::Outset;
use crate::worker::Worker;

/// Packets that go through a stage together; what a burst has beyond goes the long way.
pub(crate) const LANE: usize = 64;
/// Octets of Ethernet, IPv4 and UDP header, or of as much of TCP's.
const HEAD: usize = 42;
/// What one less in the TTL changes in the header's checksum, in network order.
const TTL_FELL: u16 = (!0x0100_u16).to_be();

/// What kind of packet a glance saw.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
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
    hash: KeyHash,
    likely: u32,
    /// Octets of IPv4 packet, which end the frame.
    total: u16,
    sight: Sight,
}

impl Glance {
    const ODD: Glance = Glance { hash: KeyHash::NONE, likely: 0, total: 0, sight: Sight::Odd };

    /// May the third stage do?
    #[inline]
    fn is_quick(&self) -> bool {
        self.sight == Sight::Udp && self.likely != Nat::NOT_NEAR
    }
}

/// Glances of a lane, which a worker keeps so that none is made for each.
pub(crate) struct Glances([Glance; LANE]);

impl Glances {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Glances([Glance::ODD; LANE]))
    }
}

/// Folds a sum: the upper half of it and of itself turned round, with what the lower one carries.
#[inline]
const fn fold(sum: u32) -> u16 {
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
fn key(head: &[u8; HEAD]) -> PlainKey {
    PlainKey::new(u64::from_be_bytes(word(head, 26)), u32::from_be_bytes(word(head, 34)), head[23])
}

/// Ethernet addresses are compared as whole words.
const MAC: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);

/// Reads a frame; `None` unless it is an untagged frame to `mac` (as its first octets load) with a
/// whole UDP or TCP packet without IPv4 options that may pass: every check of the long way on it
/// alone, and for TCP flags that are nothing but ACK. Gives its key, octets of IPv4 packet, and which kind it is.
#[inline(always)]
fn glance<B: PacketBuf>(buf: &B, mac: u64) -> Option<(PlainKey, u16, Sight)> {
    let frame = buf.bytes();
    let head = frame.first_chunk::<HEAD>()?;
    let total = u16::from_be_bytes(word(head, 16));
    if u64::from_ne_bytes(word(head, 0)) & MAC != mac
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

/// First stage: reads frames and asks for their lines of the index.
#[inline(never)]
fn read_lane<B: PacketBuf>(glances: &mut Glances, nat: &Nat, mac: MacAddr, lane: &[B]) {
    let [a, b, c, d, e, f] = mac.0;
    let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    for (slot, buf) in glances.0.iter_mut().zip(lane) {
        let Some((key, total, sight)) = glance(buf, mac) else {
            (slot.sight, slot.likely) = (Sight::Odd, 0);
            continue;
        };
        (slot.hash, slot.total, slot.sight) = (nat.prefetch_plain(&key), total, sight);
    }
}

/// Second stage: asks for records; gives how many seem to have none.
#[inline(never)]
fn near_lane(glances: &mut Glances, nat: &Nat, packets: usize) -> usize {
    let mut unknown = 0;
    let glances = glances.0.get_mut(..packets).unwrap_or_default();
    for glance in glances.iter_mut().filter(|g| g.sight != Sight::Odd) {
        glance.likely = nat.prefetch_likely(glance.hash);
    }
    // Those that are not at home: by now the other bucket is near.
    for glance in glances.iter_mut().filter(|g| g.likely == Nat::NOT_NEAR) {
        glance.likely = nat.prefetch_away(glance.hash);
        unknown += usize::from(glance.likely == Nat::NOT_NEAR);
    }
    unknown
}

/// Between them, where packets seem to be the first of their flows: asks for what opening those takes.
#[inline(never)]
fn ahead_lane<B: PacketBuf>(glances: &Glances, nat: &Nat, lane: &[B]) {
    let new = |(glance, buf): (&Glance, &B)| {
        let new = glance.likely == Nat::NOT_NEAR && glance.sight != Sight::Odd;
        let head = buf.bytes().first_chunk::<HEAD>().filter(|_| new)?;
        Some(key(head).tuple().source)
    };
    let mut senders = [(Endpoint::new(Ipv4Addr::UNSPECIFIED, 0), KeyHash::NONE, 0); LANE];
    let mut n = 0;
    for (source, slot) in glances.0.iter().zip(lane).filter_map(new).zip(&mut senders) {
        *slot = (source, nat.near_sender(source.address), 0);
        n += 1;
    }
    for (_, hash, sender) in senders.iter_mut().take(n) {
        *sender = nat.near_record(*hash);
    }
    for (source, _, sender) in senders.iter().take(n) {
        nat.near_mapping(*sender, *source);
    }
}

/// What the third stage asks of the worker.
struct Terms<'a> {
    nat: &'a mut Nat,
    ways: &'a [Way],
    port: u8,
    judged: u32,
    now: Tick,
}

/// Third stage: carries UDP out the short way up to the first packet, which it gives back untouched,
/// that must go another. `full` counts what a device did not take.
#[inline(never)]
fn pass_on<B: PacketBuf, I: Io<B>>(
    terms: Terms<'_>,
    glances: &mut slice::Iter<'_, Glance>,
    frames: &mut impl Iterator<Item = B>,
    full: &mut u64,
    io: &mut I,
) -> Option<(Glance, B)> {
    let Terms { nat, ways, port, judged, now } = terms;
    let mut rest = glances.as_slice().iter();
    let left = loop {
        let Some(mut buf) = frames.next() else { break None };
        let Some(glance) = rest.next() else { break Some((Glance::ODD, buf)) };
        if !glance.is_quick() {
            break Some((*glance, buf));
        }
        let Some(head) = buf.bytes_mut().first_chunk_mut::<HEAD>() else { break Some((*glance, buf)) };
        let way = |word| Way::of(ways, word, glance.total);
        let noted = nat.express::<true, _>(glance.likely, &key(head), port, judged, glance.total, now, way);
        let Some((express, way)) = noted else { break Some((*glance, buf)) };
        head[..12].copy_from_slice(&way.macs);
        translate(head, &express);
        // No checksum stays none, and one that comes out as 0 is written 0xffff (RFC 768).
        let old = u16::from_ne_bytes([head[40], head[41]]);
        if old != 0 {
            let new = match !fold(u32::from(!old) + u32::from(express.transport)) {
                0 => 0xffff,
                c => c,
            };
            head[40..42].copy_from_slice(&new.to_ne_bytes());
        }
        if let Err(buf) = io.transmit(way.device, buf) {
            *full += 1;
            drop(buf);
        }
    };
    *glances = rest;
    left
}

/// TTL, IPv4 checksum, addresses and ports.
#[inline(always)]
fn translate(head: &mut [u8; HEAD], express: &nat::Express) {
    head[22] = head[22].wrapping_sub(1);
    let old = u16::from_ne_bytes([head[24], head[25]]);
    let sum = u32::from(!old) + u32::from(express.header) + u32::from(TTL_FELL);
    head[24..26].copy_from_slice(&(!fold(sum)).to_ne_bytes());
    head[26..34].copy_from_slice(&express.addresses.to_be_bytes());
    head[34..38].copy_from_slice(&express.ports.to_be_bytes());
}

/// The parts of a plain TCP header that its state follows.
#[inline]
fn segment(frame: &[u8], total: u16) -> Option<TcpSummary> {
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

/// Where packets to a next hop leave: its number's place in [`Worker::ways`].
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Destination and source address of the frames.
    macs: [u8; 12],
    /// Longest IPv4 packet; 0: not known, or a VLAN's.
    mtu: u16,
    device: u8,
}

impl Way {
    const UNKNOWN: Way = Way { macs: [0; 12], mtu: 0, device: 0 };

    /// The way that a next hop's word, less the port it is noted for, names, if it is known and takes
    /// packets of so many octets.
    #[inline(always)]
    fn of(ways: &[Way], word: u32, total: u16) -> Option<&Way> {
        let at = word.wrapping_sub(Hop::FIRST) as usize;
        ways.get(at).filter(|way| total <= way.mtu)
    }
}

impl<B: PacketBuf> Worker<B> {
    /// Frames from `device`, in order.
    pub fn receive<I: Io<B>>(&mut self, device: u8, frames: impl IntoIterator<Item = B>, io: &mut I) {
        let mut frames = frames.into_iter();
        loop {
            let mut lane: Vec<B> = frames.by_ref().take(LANE).collect();
            if lane.is_empty() {
                break;
            }
            self.receive_burst(device, &mut lane, io);
        }
    }

    /// A burst of frames from `device`, in order; leaves `lane` empty.
    pub fn receive_burst<I: Io<B>>(&mut self, device: u8, lane: &mut impl Lane<B>, io: &mut I) {
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        self.counters.received += lane.frames().len() as u64;
        // Frames to the device's untagged port, or to a VLAN of it.
        match snapshot.arrival(device, None) {
            Some(port) => self.carry(&snapshot, device, port, lane, io),
            None => lane.take_all().for_each(|buf| self.arrive(&snapshot, device, buf, io)),
        }
    }

    fn carry<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        device: u8,
        port: &Port,
        lane: &mut impl Lane<B>,
        io: &mut I,
    ) {
        let packets = lane.frames().len();
        let mut glances = self.glances.take().unwrap_or_else(Glances::new);
        read_lane(&mut glances, &self.nat, port.mac, lane.frames());
        let unknown = near_lane(&mut glances, &self.nat, packets.min(LANE));
        // Where flows that began were refused, others will be: nothing is looked up for them.
        if unknown > 1 && port.side == Side::Inside && self.ahead > 0 {
            ahead_lane(&glances, &self.nat, lane.frames());
        }
        if unknown > 0 {
            self.ahead = 0;
        }
        let (mut rest, mut frames, mut odd, mut full) = (glances.0.iter(), lane.take_all(), 0, 0);
        loop {
            // Straight to the long way where it is known to be needed.
            let odd_next = rest.as_slice().first().is_none_or(|g| !g.is_quick());
            let left = if odd_next {
                frames.next().map(|buf| (rest.next().copied().unwrap_or(Glance::ODD), buf))
            } else {
                let Worker { nat, ways, judged, now, .. } = self;
                let terms = Terms { nat, ways, port: port.id.0, judged: *judged, now: *now };
                pass_on(terms, &mut rest, &mut frames, &mut full, io)
            };
            let Some((glance, buf)) = left else { break };
            odd += 1;
            if let Some(buf) = self.pass_late(snapshot, port, &glance, buf, io) {
                self.arrive(snapshot, device, buf, io);
            }
        }
        let passed = (packets - odd) as u64;
        self.counters.fast += passed;
        self.counters.sent += passed - full;
        self.counters.dropped[crate::DropReason::TxFull.index()] += full;
        drop(frames);
        self.glances = Some(glances);
    }

    /// The same for TCP, for padded packets, for one whose record is elsewhere than its hash made most
    /// likely, and for UDP that has none yet; gives it back, without its padding, if it must go the long way.
    #[inline(never)]
    fn pass_late<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        port: &Port,
        glance: &Glance,
        mut buf: B,
        io: &mut I,
    ) -> Option<B> {
        let Glance { hash, total, sight, .. } = *glance;
        // What lies beyond the packet is padding.
        if sight == Sight::Odd || !buf.set_len(14 + usize::from(total)) {
            return Some(buf);
        }
        let Some(head) = buf.bytes().first_chunk::<HEAD>() else { return Some(buf) };
        let (key, number) = (key(head), port.id.0);
        let segment = if head[23] == Protocol::TCP.0 { segment(buf.bytes(), total) } else { None };
        // UDP that has no record as far as its index line tells is most likely a flow's first packet.
        let new = segment.is_none() && glance.likely == Nat::NOT_NEAR && port.side == Side::Inside;
        let found = if new { None } else { self.nat.for_port(glance.likely, hash, &key, number) };
        let (entry, known) = match found {
            Some(entry) => (entry, true),
            None if segment.is_some() => return Some(buf),
            None => match self.set_out(snapshot, port, &key.tuple(), hash) {
                Outset::Open(entry) => (entry, false),
                Outset::Known(entry) => (entry, true),
                Outset::Refused(reason, reject) => {
                    self.turn_away(snapshot, number, buf, (reason, reject), io);
                    return None;
                }
                Outset::NotPlain => return Some(buf),
            },
        };
        self.ahead += u32::from(!known);
        let Worker { nat, ways, judged, now, .. } = self;
        let way = |word| Way::of(ways, word, total);
        let noted = match segment {
            Some(_) => nat.express::<false, _>(entry, &key, number, *judged, total, *now, way),
            None => nat.express::<true, _>(entry, &key, number, *judged, total, *now, way),
        };
        let Some((express, way)) = noted else {
            if known {
                return Some(buf);
            }
            self.send_first(snapshot, number, buf, entry, io);
            return None;
        };
        let frame = buf.bytes_mut();
        if let Some(head) = frame.first_chunk_mut::<HEAD>() {
            head[..12].copy_from_slice(&way.macs);
            translate(head, &express);
        }
        let device = way.device;
        let transport = Delta(u16::from_be(express.transport));
        match segment {
            Some(segment) => {
                nat.follow_plain(entry, &segment, *now);
                transport.apply_at(frame, 50);
            }
            None => {
                transport.apply_udp_at(frame, 40);
            }
        }
        self.counters.fast += u64::from(known);
        match io.transmit(device, buf) {
            Ok(()) => self.counters.sent += 1,
            Err(buf) => self.drop(buf, crate::DropReason::TxFull),
        }
        None
    }

    /// Notes where a next hop leads, known and resolved as it is. [`Worker::forget_ways`] ends that.
    pub(crate) fn note_way(&mut self, hop: NextHopId, port: &Port, mac: MacAddr) {
        let at = hop.0 as usize;
        if port.vlan.is_some() || self.ways.get(at).is_some_and(|w| w.mtu != 0) {
            return;
        }
        if self.ways.len() <= at {
            self.ways.resize(at + 1, Way::UNKNOWN);
        }
        if let Some(way) = self.ways.get_mut(at) {
            way.macs[..6].copy_from_slice(&mac.0);
            way.macs[6..].copy_from_slice(&port.mac.0);
            (way.mtu, way.device) = (port.mtu, port.device);
        }
    }

    /// Ports or neighbours changed: the next packet to each next hop goes the long way.
    pub(crate) fn forget_ways(&mut self) {
        self.ways.clear();
    }
}
