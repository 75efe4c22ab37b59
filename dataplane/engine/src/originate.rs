//! Packets that the gateway makes itself: ICMP errors and resets.
//!
//! RFC 1812 §4.3.2.7: never about an ICMP error, a later fragment, or what was broadcast; such
//! packets do not get here or are looked at below. A packet that is answered is dropped and
//! counted as that; its answer counts as originated.

use std::net::Ipv4Addr;

use nat::Side;
use snapshot::Snapshot;
use wire::{PacketBuf, Transport, build, ipv4};

use crate::handoff::{Tag, Task};
use crate::io::Io;
use crate::reason::DropReason;
use crate::worker::{Transit, Worker};

/// Octets of a packet that an error quotes at most: 576 less its own headers.
const QUOTE: usize = build::ICMP_ERROR_MAX - 28;

impl<B: PacketBuf> Worker<B> {
    /// Drops a packet whose TTL ran out, telling its sender (RFC 1812 §5.3.1).
    pub(crate) fn ttl_expired<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        self.originate_error(snapshot, &transit, 11, 0, 0, io);
        self.drop(transit.buf, DropReason::TtlExpired);
    }

    /// Drops a packet that policy or a limit refuses; `reject`: tell its sender by ICMP 3/13, at
    /// most 10 a second each (RFC 5508 REQ-8).
    pub(crate) fn refuse<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        transit: Transit<B>,
        reason: DropReason,
        reject: bool,
        io: &mut I,
    ) {
        if reject && self.nat.may_reject(transit.ip.source, self.now) {
            self.originate_error(snapshot, &transit, 3, 13, 0, io);
        }
        self.drop(transit.buf, reason);
    }

    /// An ICMP error about `transit` to its source.
    pub(crate) fn originate_error<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        transit: &Transit<B>,
        kind: u8,
        code: u8,
        mtu: u16,
        io: &mut I,
    ) {
        let ip = &transit.ip;
        let errors = matches!(ip.l4_kind, Transport::IcmpError { .. } | Transport::IcmpOther { .. });
        if errors || ip.fragment_offset != 0 {
            return;
        }
        let port = snapshot.port(transit.tag.port);
        let Some(source) = port.and_then(|p| p.address_towards(ip.source)) else { return };
        let (l3, end) = (usize::from(ip.l3), usize::from(ip.end));
        let quote = transit.buf.bytes().get(l3..end.min(l3 + QUOTE)).unwrap_or(&[]);
        if !self.errors.pass() {
            return;
        }
        let Some(mut out) = io.alloc() else { return };
        if build::icmp_error(&mut out, quote, kind, code, mtu, source) {
            self.send_originated(snapshot, out, transit.tag.port, io);
        }
    }

    /// The RST that answers a TCP segment to a VIP without a backend.
    pub(crate) fn originate_rst<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: &Transit<B>, io: &mut I) {
        if !self.errors.pass() {
            return;
        }
        let Some(mut out) = io.alloc() else { return };
        if build::tcp_rst(&mut out, &transit.ip) {
            self.send_originated(snapshot, out, transit.tag.port, io);
        }
    }

    /// ICMP 3/3 for SYNs from outside that nothing asked for within 6 s (RFC 5382 REQ-4).
    pub(crate) fn answer_held_syns<I: Io<B>>(&mut self, snapshot: &Snapshot, io: &mut I) {
        loop {
            let Some(held) = self.nat.due_syn(self.now) else { return };
            let remote = held.tuple.source.address;
            let Some(hop) = snapshot.next_hop(remote, 0, Side::Outside) else { continue };
            let port = snapshot.port(hop.port);
            let Some(source) = port.and_then(|p| p.address_towards(remote)) else { continue };
            if !self.errors.pass() {
                continue;
            }
            let Some(mut out) = io.alloc() else { continue };
            if build::icmp_error(&mut out, held.packet, 3, 3, 0, source) {
                self.send_originated(snapshot, out, hop.port.0, io);
            }
        }
    }

    /// Sends what was made here. To an outside address of our own it goes the way of a packet
    /// from outside: an error about a hairpinned packet finds its inside sender so.
    fn send_originated<I: Io<B>>(&mut self, snapshot: &Snapshot, buf: B, port: u8, io: &mut I) {
        self.counters.originated += 1;
        let ip = match ipv4::parse(buf.bytes(), build::FRONT, true) {
            Ok(ip) => ip,
            Err(e) => return self.drop(buf, e.into()),
        };
        if snapshot.local(ip.destination).is_none() {
            let side = snapshot.port(port).map_or(Side::Outside, |p| p.side);
            return self.send_own(snapshot, buf, ip.l3, ip.destination, side, io);
        }
        let tag = Tag { hairpin: true, ..Tag::new(Task::Inbound, port) };
        match crate::steer::key(buf.bytes(), &ip, tag) {
            Ok((key, error)) => self.steer_on(snapshot, Transit { buf, ip, key, error, tag }, io),
            Err(reason) => self.drop(buf, reason),
        }
    }

    /// Routes a packet of the gateway's own; where two defaults lead away, to `side`.
    pub(crate) fn send_own<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        buf: B,
        l3: u16,
        destination: Ipv4Addr,
        side: Side,
        io: &mut I,
    ) {
        let hash = wire::toeplitz::address(destination);
        let Some(hop) = snapshot.next_hop(destination, hash, side) else {
            return self.drop(buf, DropReason::NoRoute);
        };
        match self.neighbours.intern(hop.port.0, hop.address) {
            Some(id) => self.send(snapshot, buf, l3, id, io),
            None => self.drop(buf, DropReason::NeighbourQueueFull),
        }
    }
}

/// The hash that picks one of several next hops: the same for all packets of a flow.
pub(crate) fn flow_hash(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    source_port: u16,
    destination_port: u16,
) -> u32 {
    wire::toeplitz::words([
        u32::from(source),
        u32::from(destination),
        u32::from(source_port) << 16 | u32::from(destination_port),
    ])
}
