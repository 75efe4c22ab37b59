//! The short way of plain packets of established flows, in stages over a burst.
//!
//! All of a burst is read first, and for each packet its line of the index asked for; then the
//! record that it names; by the time a packet is carried out, both are near. A packet that is
//! anything but plain UDP or TCP of a flow whose way is noted ([`Nat::express`](nat::Nat::express))
//! goes the long way, in its turn: order within a flow holds, and both ways do the same to a packet.

use nat::{KeyHash, Nat, PlainKey};
use snapshot::{Port, Snapshot};
use wire::checksum::Delta;
use wire::{Checksum, MacAddr, PacketBuf, Protocol, TcpFlags, TcpSummary};

use crate::forward::Hop;
use crate::io::Io;
use crate::neighbours::NextHopId;
use crate::worker::Worker;

/// Packets that go through a stage together.
pub(crate) const LANE: usize = 32;
/// Octets of Ethernet, IPv4 and UDP header, or of as much of TCP's.
const HEAD: usize = 42;
/// What one less in the TTL changes in the header's checksum.
const TTL_FELL: Delta = Delta(!0x0100);

/// A plain packet: its key and its place in the index.
#[derive(Clone, Copy)]
struct Glance {
    key: PlainKey,
    hash: KeyHash,
    likely: u32,
    /// Octets of IPv4 packet; 0: it is no plain packet.
    total: u16,
    tcp: bool,
}

impl Glance {
    const NONE: Glance =
        Glance { key: PlainKey::new(0, 0, 0), hash: KeyHash::NONE, likely: 0, total: 0, tcp: false };
}

/// Folds a sum below 2^33.
#[inline]
const fn fold(sum: u64) -> u16 {
    let s = (sum >> 16) + (sum & 0xffff);
    ((s >> 16) + (s & 0xffff)) as u16
}

/// A checksum after two changes; `Delta::and` and `Delta::apply` in one.
#[inline]
fn changed(checksum: [u8; 2], one: Delta, two: Delta) -> u16 {
    !fold(u64::from(!u16::from_be_bytes(checksum)) + u64::from(one.0) + u64::from(two.0))
}

#[inline]
fn word<const N: usize>(head: &[u8; HEAD], at: usize) -> [u8; N] {
    head.get(at..).and_then(|h| h.first_chunk::<N>()).copied().unwrap_or([0; N])
}

/// Reads a frame; `None` unless it is an untagged frame to `port` with a whole UDP or TCP packet without IPv4 options that
/// may pass: every check of the long way on it alone, and for TCP flags that are nothing but ACK.
#[inline]
fn glance<B: PacketBuf>(buf: &B, mac: MacAddr) -> Option<(PlainKey, u16, bool)> {
    let frame = buf.bytes();
    let head = frame.first_chunk::<HEAD>()?;
    let total = u16::from_be_bytes(word(head, 16));
    let fragment = u16::from_be_bytes(word(head, 20));
    let [ttl, protocol] = word(head, 22);
    let udp = protocol == Protocol::UDP.0;
    let shape = u32::from_be_bytes([head[12], head[13], head[14], 0]);
    if word::<6>(head, 0) != mac.0
        || shape != 0x0800_4500
        || fragment & 0x3fff != 0
        || ttl <= 1
        || usize::from(total) + 14 > frame.len()
    {
        return None;
    }
    match buf.offload().ip {
        Checksum::Good => {}
        Checksum::Bad => return None,
        Checksum::Unknown => {
            // The sum does not depend on the order of octets (RFC 1071 §2): no swaps.
            let [a, b] = [u64::from_ne_bytes(word(head, 14)), u64::from_ne_bytes(word(head, 22))];
            let c = u64::from(u32::from_ne_bytes(word(head, 30)));
            let halves = |x: u64| (x >> 32) + (x & 0xffff_ffff);
            if fold(halves(halves(a) + halves(b) + c)) != 0xffff {
                return None;
            }
        }
    }
    if udp {
        let length = u16::from_be_bytes(word(head, 38));
        if length < 8 || length > total.wrapping_sub(20) || total < 28 {
            return None;
        }
    } else {
        let rest = frame.get(34..)?.first_chunk::<20>()?;
        let header = u16::from(rest[12] >> 4) * 4;
        let flags = TcpFlags(rest[13]);
        if protocol != Protocol::TCP.0
            || header < 20
            || header + 20 > total
            || flags.syn()
            || flags.fin()
            || flags.rst()
            || !flags.ack()
        {
            return None;
        }
    }
    let addresses = u64::from_be_bytes(word(head, 26));
    let ports = u32::from_be_bytes(word(head, 34));
    Some((PlainKey::new(addresses, ports, protocol), total, !udp))
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
}

impl<B: PacketBuf> Worker<B> {
    /// Frames from `device`, in order.
    pub fn receive<I: Io<B>>(&mut self, device: u8, frames: impl IntoIterator<Item = B>, io: &mut I) {
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        let port = snapshot.arrival(device, None);
        let mut frames = frames.into_iter();
        let mut lane = std::mem::take(&mut self.lane);
        loop {
            lane.extend(frames.by_ref().take(LANE));
            if lane.is_empty() {
                break;
            }
            self.counters.received += lane.len() as u64;
            match port {
                Some(port) => self.carry(&snapshot, device, port, &mut lane, io),
                None => lane.drain(..).for_each(|buf| self.arrive(&snapshot, device, buf, io)),
            }
        }
        self.lane = lane;
    }

    /// One lane of frames that came in by the device's untagged port, or by a VLAN of it.
    fn carry<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        device: u8,
        port: &Port,
        lane: &mut Vec<B>,
        io: &mut I,
    ) {
        let mut glances = [Glance::NONE; LANE];
        self.read_lane(port.mac, lane, &mut glances);
        self.near_lane(&mut glances);
        for (glance, buf) in glances.iter().zip(lane.drain(..)) {
            let rest = match (glance.total, glance.tcp) {
                (0, _) => Some(buf),
                (_, false) => self.pass_on::<I, false>(port.id.0, glance, buf, io),
                (_, true) => self.pass_tcp_on(port.id.0, glance, buf, io),
            };
            if let Some(buf) = rest {
                self.arrive(snapshot, device, buf, io);
            }
        }
    }

    /// First stage. A function of its own, as the second: what it keeps in registers stays there.
    #[inline(never)]
    fn read_lane(&self, mac: MacAddr, lane: &[B], glances: &mut [Glance; LANE]) {
        for (slot, buf) in glances.iter_mut().zip(lane) {
            if let Some((key, total, tcp)) = glance(buf, mac) {
                *slot = Glance { key, hash: self.nat.prefetch_plain(&key), likely: u32::MAX, total, tcp };
            }
        }
    }

    /// Second stage.
    #[inline(never)]
    fn near_lane(&self, glances: &mut [Glance; LANE]) {
        for glance in glances.iter_mut().filter(|g| g.total != 0) {
            glance.likely = self.nat.prefetch_likely(glance.hash);
        }
        // Those that are not at home: by now the other bucket is near.
        for glance in glances.iter_mut().filter(|g| g.total != 0 && g.likely == Nat::NOT_NEAR) {
            glance.likely = self.nat.prefetch_away(glance.hash);
        }
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

    /// Carries a packet out the short way; gives it back untouched if it must go the long one.
    #[inline(always)]
    fn pass_on<I: Io<B>, const TCP: bool>(
        &mut self,
        port: u8,
        glance: &Glance,
        mut buf: B,
        io: &mut I,
    ) -> Option<B> {
        let Glance { key, hash, likely, total, .. } = *glance;
        let end = 14 + usize::from(total);
        let segment = if TCP { segment(buf.bytes(), total) } else { None };
        if buf.bytes().len() != end && !buf.set_len(end) {
            return Some(buf);
        }
        let frame = buf.bytes_mut();
        let Some(head) = frame.first_chunk_mut::<HEAD>() else { return Some(buf) };
        let (ways, nat) = (&self.ways, &mut self.nat);
        let way = |word| {
            let Some(Hop::Neighbour(id)) = Hop::decode(word) else { return None };
            ways.get(id.0 as usize).filter(|way| total <= way.mtu)
        };
        let done = nat.express(likely, hash, &key, port, self.judged, total, segment.as_ref(), self.now, way);
        let Some((express, way)) = done else { return Some(buf) };
        head[..12].copy_from_slice(&way.macs);
        let device = way.device;
        head[22] = head[22].wrapping_sub(1);
        let sum = changed([head[24], head[25]], express.header, TTL_FELL);
        head[24..26].copy_from_slice(&sum.to_be_bytes());
        head[26..34].copy_from_slice(&express.addresses.to_be_bytes());
        head[34..38].copy_from_slice(&express.ports.to_be_bytes());
        if TCP {
            express.transport.apply_at(frame, 50);
        } else {
            let old = [head[40], head[41]];
            // No checksum stays none, and one that comes out as 0 is written 0xffff (RFC 768).
            let new = match changed(old, express.transport, Delta::NONE) {
                0 => 0xffff,
                c => c,
            };
            if old != [0, 0] {
                head[40..42].copy_from_slice(&new.to_be_bytes());
            }
        }
        self.counters.fast += 1;
        match io.transmit(device, buf) {
            Ok(()) => self.counters.sent += 1,
            Err(buf) => self.drop(buf, crate::DropReason::TxFull),
        }
        None
    }

    /// The same for TCP, apart so that it does not weigh on UDP's.
    #[inline(never)]
    fn pass_tcp_on<I: Io<B>>(&mut self, port: u8, glance: &Glance, buf: B, io: &mut I) -> Option<B> {
        self.pass_on::<I, true>(port, glance, buf, io)
    }
}
