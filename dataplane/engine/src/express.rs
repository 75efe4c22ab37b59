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

use nat::{KeyHash, Nat, Side, Tick};
use snapshot::{Port, Snapshot};
use wire::checksum::Delta;
use wire::{Endpoint, Lane, PacketBuf, Protocol};

use crate::glance::{Glance, Glances, HEAD, LANE, Sight, fold, key, read_handed, read_lane, segment};
use crate::handoff::{Tag, Task};
use crate::io::Io;
use crate::outset::Outset;
use crate::ways::Way;
use crate::worker::Worker;

/// What one less in the TTL changes in the header's checksum, in network order.
const TTL_FELL: u16 = (!0x0100_u16).to_be();

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
    let Terms { nat, ways, judged, now } = terms;
    let mut rest = glances.as_slice().iter();
    let left = loop {
        let Some(mut buf) = frames.next() else { break None };
        let Some(glance) = rest.next() else { break Some((Glance::ODD, buf)) };
        if !glance.is_quick() {
            break Some((*glance, buf));
        }
        let Some(head) = buf.bytes_mut().first_chunk_mut::<HEAD>() else { break Some((*glance, buf)) };
        let way = |word| Way::of(ways, word, glance.total);
        let noted =
            nat.express::<true, _>(glance.likely, &key(head), glance.port, judged, glance.total, now, way);
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

impl<B: PacketBuf> Worker<B> {
    /// Frames from `device`, in order.
    pub fn receive<I: Io<B>>(&mut self, device: u8, frames: impl IntoIterator<Item = B>, io: &mut I) {
        let mut frames = frames.into_iter();
        let mut lane = std::mem::take(&mut self.lane);
        loop {
            lane.extend(frames.by_ref().take(LANE));
            if lane.is_empty() {
                break;
            }
            self.receive_burst(device, &mut lane, io);
        }
        self.lane = lane;
    }

    /// A burst of frames from `device`, in order; leaves `lane` empty.
    pub fn receive_burst<I: Io<B>>(&mut self, device: u8, lane: &mut impl Lane<B>, io: &mut I) {
        let snapshot = self.lend();
        self.counters.received += lane.frames().len() as u64;
        // Frames to the device's untagged port, or to a VLAN of it.
        match snapshot.arrival(device, None) {
            Some(port) => {
                let mut glances = self.glances.take().unwrap_or_else(Glances::new);
                read_lane(&mut glances, &self.nat, port, lane.frames());
                self.carry(&snapshot, Some((device, port)), &mut glances, lane, io);
                self.glances = Some(glances);
            }
            None => lane.take_all().for_each(|buf| self.arrive(&snapshot, device, buf, io)),
        }
        self.lent = Some(snapshot);
    }

    /// Packets from other workers, in order.
    pub fn accept<I: Io<B>>(&mut self, packets: impl IntoIterator<Item = B>, io: &mut I) {
        let snapshot = self.lend();
        let mut packets = packets.into_iter();
        let mut lane = std::mem::take(&mut self.lane);
        let mut glances = self.glances.take().unwrap_or_else(Glances::new);
        loop {
            lane.extend(packets.by_ref().take(LANE));
            if lane.is_empty() {
                break;
            }
            self.counters.handed_in += lane.len() as u64;
            read_handed(&mut glances, &self.nat, &lane);
            self.carry(&snapshot, None, &mut glances, &mut lane, io);
        }
        self.glances = Some(glances);
        self.lane = lane;
        self.lent = Some(snapshot);
    }

    /// The second and third stage of packets from a device's port, or else from other workers.
    fn carry<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        from: Option<(u8, &Port)>,
        glances: &mut Glances,
        lane: &mut impl Lane<B>,
        io: &mut I,
    ) {
        let packets = lane.frames().len();
        let unknown = near_lane(glances, &self.nat, packets.min(LANE));
        let inside = from.is_none_or(|(_, port)| port.side == Side::Inside);
        // Where flows that began were refused, others will be: nothing is looked up for them.
        if unknown > 1 && inside && self.ahead > 0 {
            ahead_lane(glances, &self.nat, lane.frames());
        }
        if unknown > 0 {
            self.ahead = 0;
        }
        let (mut rest, mut odd, mut full) = (glances.0.iter(), 0, 0);
        let mut frames = lane.take_all();
        loop {
            // Straight to the long way where it is known to be needed.
            let odd_next = rest.as_slice().first().is_none_or(|g| !g.is_quick());
            let left = if odd_next {
                frames.next().map(|buf| (rest.next().copied().unwrap_or(Glance::ODD), buf))
            } else {
                let Worker { nat, ways, judged, now, .. } = self;
                let terms = Terms { nat, ways, judged: *judged, now: *now };
                pass_on(terms, &mut rest, &mut frames, &mut full, io)
            };
            let Some((glance, buf)) = left else { break };
            odd += 1;
            let Some(buf) = self.pass_late(snapshot, from, &glance, buf, io) else { continue };
            match from {
                Some((device, _)) => self.arrive(snapshot, device, buf, io),
                None => self.take_over(snapshot, buf, io),
            }
        }
        drop(frames);
        let passed = (packets - odd) as u64;
        self.counters.fast += passed;
        self.counters.sent += passed - full;
        self.counters.dropped[crate::DropReason::TxFull.index()] += full;
    }

    /// The same for TCP, for padded packets, for one whose record is elsewhere than its hash made most
    /// likely, for UDP that has none yet, and for what is another worker's; gives it back, without its
    /// padding, if it must go the long way.
    #[inline(never)]
    fn pass_late<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        from: Option<(u8, &Port)>,
        glance: &Glance,
        mut buf: B,
        io: &mut I,
    ) -> Option<B> {
        let Glance { hash, total, sight, port: number, .. } = *glance;
        // What lies beyond the packet is padding.
        if sight == Sight::Odd || !buf.set_len(14 + usize::from(total)) {
            return Some(buf);
        }
        let Some(head) = buf.bytes().first_chunk::<HEAD>() else { return Some(buf) };
        let Some(port) = from.map(|(_, port)| port).or_else(|| snapshot.port(number)) else {
            return Some(buf);
        };
        let key = key(head);
        let segment = if head[23] == Protocol::TCP.0 { segment(buf.bytes(), total) } else { None };
        // What has no record as far as its index line tells is most likely a flow's first packet, or
        // another worker's.
        let new = glance.likely == Nat::NOT_NEAR && segment.is_none() && port.side == Side::Inside;
        let found = if new { None } else { self.nat.for_port(glance.likely, hash, &key, number) };
        let owner = if found.is_none() { self.find_owner(snapshot, port, &key.tuple()) } else { None };
        let sets_out = match owner {
            Some((task, owner)) if owner != self.id => {
                if from.is_none() {
                    // Whoever handed it over saw it otherwise: once is enough.
                    return Some(buf);
                }
                self.hand_off(owner, buf, Tag::new(task, number), io);
                return None;
            }
            owner => segment.is_none() && owner.is_some_and(|(task, _)| task == Task::Egress),
        };
        let (entry, known) = match found {
            Some(entry) => (entry, true),
            None if !sets_out => return Some(buf),
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
}
