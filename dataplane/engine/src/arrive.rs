//! Arrival: from a frame to a packet with a known owner.

use std::net::Ipv4Addr;

use nat::Side;
use nat::fragments::{FragmentDrop, FragmentKey, Outcome, Piece};
use snapshot::{Port, Snapshot};
use wire::{Checksum, Ipv4, MacAddr, PacketBuf, ParseError, Transport, ethernet, ipv4, toeplitz};

use crate::handoff::{Tag, Task};
use crate::io::Io;
use crate::reason::DropReason;
use crate::worker::{Transit, Worker};

impl From<ParseError> for DropReason {
    fn from(error: ParseError) -> DropReason {
        match error {
            ParseError::MalformedEthernet => DropReason::MalformedEthernet,
            ParseError::MalformedArp => DropReason::MalformedArp,
            ParseError::MalformedIp => DropReason::MalformedIp,
            ParseError::BadIpChecksum => DropReason::BadIpChecksum,
            ParseError::MalformedL4 => DropReason::MalformedL4,
            ParseError::BadIcmpChecksum => DropReason::BadIcmpChecksum,
        }
    }
}

/// A frame that is served.
enum Frame {
    Arp { port: u8, header: ethernet::Header },
    Ip { port: u8, ip: Ipv4 },
}

/// Reads a frame of `device` as far as every check on it that needs no session.
fn admit<B: PacketBuf>(snapshot: &Snapshot, device: u8, buf: &B) -> Result<Frame, DropReason> {
    let frame = buf.bytes();
    let header = ethernet::parse(frame)?;
    let port = snapshot.arrival(device, header.vlan).ok_or(DropReason::WrongVlan)?;
    let number = port.id.0;
    let for_all = header.destination == MacAddr::BROADCAST;
    if header.destination != port.mac && !(for_all && header.ether_type == ethernet::ARP) {
        return Err(DropReason::NotForUs);
    }
    match header.ether_type {
        ethernet::ARP => return Ok(Frame::Arp { port: number, header }),
        ethernet::IPV4 => {}
        ethernet::IPV6 => return Err(DropReason::Ipv6Unsupported),
        _ => return Err(DropReason::UnknownEthertype),
    }
    let offload = buf.offload();
    if offload.ip == Checksum::Bad {
        return Err(DropReason::BadIpChecksum);
    }
    let ip = ipv4::parse(frame, header.len, offload.ip == Checksum::Good)?;
    check_addresses(snapshot, port, ip.source, ip.destination)?;
    Ok(Frame::Ip { port: number, ip })
}

/// Martians and spoofed sources (RFC 1812 §5.3.7, RFC 2827).
pub(crate) fn check_addresses(
    snapshot: &Snapshot,
    port: &Port,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> Result<(), DropReason> {
    let [s, s1, ..] = source.octets();
    let link_local = s == 169 && s1 == 254 && port.side == Side::Outside;
    if matches!(s, 0 | 127 | 224..) || link_local {
        return Err(DropReason::MartianSource);
    }
    if matches!(destination.octets()[0], 0 | 127 | 224..) || port.is_broadcast(destination) {
        return Err(DropReason::MartianDestination);
    }
    // An inside port takes sources that inside routes lead to, an outside port none of those.
    let home = match port.side {
        Side::Inside => snapshot.leads(source, Side::Inside),
        Side::Outside => snapshot.side_of(source) != Some(Side::Inside),
    };
    if !home || snapshot.local(source).is_some() {
        return Err(DropReason::SpoofedSource);
    }
    Ok(())
}

impl<B: PacketBuf> Worker<B> {
    /// A frame from a device.
    pub(crate) fn arrive<I: Io<B>>(&mut self, snapshot: &Snapshot, device: u8, mut buf: B, io: &mut I) {
        let (port, ip) = match admit(snapshot, device, &buf) {
            Ok(Frame::Ip { port, ip }) => (port, ip),
            Ok(Frame::Arp { port, header }) => return self.arp(snapshot, port, &header, buf, io),
            Err(reason) => return self.drop(buf, reason),
        };
        // What lies beyond the packet is padding.
        if !buf.set_len(usize::from(ip.end)) {
            return self.drop(buf, DropReason::MalformedIp);
        }
        if ip.is_fragment() {
            let tag = Tag::new(Task::Meet, port);
            let meeting = toeplitz::fragment(ip.source, ip.destination, ip.protocol, ip.id);
            let owner = nat::WorkerId((meeting % u32::from(self.workers)) as u16);
            if owner != self.id {
                return self.hand_off(owner, buf, tag, io);
            }
            return self.meet(snapshot, buf, ip, tag, io);
        }
        self.go(snapshot, buf, ip, Tag::new(Task::Egress, port), io);
    }

    /// A whole packet, or a fragment whose ports are known: to its owner.
    fn go<I: Io<B>>(&mut self, snapshot: &Snapshot, buf: B, ip: Ipv4, tag: Tag, io: &mut I) {
        match crate::steer::key(buf.bytes(), &ip, tag) {
            Ok((key, error)) => self.steer_on(snapshot, Transit { buf, ip, key, error, tag }, io),
            Err(reason) => self.drop(buf, reason),
        }
    }

    /// A fragment at the worker where its datagram's fragments meet.
    pub(crate) fn meet<I: Io<B>>(&mut self, snapshot: &Snapshot, mut buf: B, ip: Ipv4, tag: Tag, io: &mut I) {
        let key = FragmentKey {
            source: ip.source,
            destination: ip.destination,
            protocol: ip.protocol,
            id: u32::from(ip.id),
        };
        let first = ip.fragment_offset == 0;
        let piece = Piece {
            offset: ip.fragment_offset,
            len: ip.payload_len(),
            more: ip.more_fragments,
            ports: first.then_some((ip.source_port, ip.destination_port)),
        };
        // Held fragments are read again when they are released: the port must survive.
        buf.set_tag(tag.encode());
        match self.fragments.offer(key, piece, buf, self.now) {
            Outcome::Forward(buf, ports) => {
                self.go_fragment(snapshot, buf, ports, io);
                while let Some((buf, ports)) = self.fragments.released() {
                    self.counters.held -= 1;
                    self.go_fragment(snapshot, buf, ports, io);
                }
            }
            Outcome::Held => self.counters.held += 1,
            Outcome::Drop(why, buf) => self.drop(buf, fragment_reason(why)),
        }
        self.drain_fragments();
    }

    fn go_fragment<I: Io<B>>(&mut self, snapshot: &Snapshot, buf: B, ports: (u16, u16), io: &mut I) {
        let read = ethernet::parse(buf.bytes()).and_then(|h| ipv4::parse(buf.bytes(), h.len, true));
        let (ip, port) = match (read, Tag::decode(buf.tag())) {
            (Ok(ip), Some(tag)) => (ip, tag.port),
            _ => return self.drop(buf, DropReason::MalformedIp),
        };
        let mut tag = Tag::new(Task::Egress, port);
        if ip.l4_kind == Transport::LaterFragment {
            tag = tag.with_ports(ports.0, ports.1);
        }
        self.go(snapshot, buf, ip, tag, io);
    }

    /// Held fragments that are dropped now.
    pub(crate) fn drain_fragments(&mut self) {
        while let Some((buf, why)) = self.fragments.dropped() {
            self.counters.held -= 1;
            self.drop(buf, fragment_reason(why));
        }
    }
}

fn fragment_reason(why: FragmentDrop) -> DropReason {
    match why {
        FragmentDrop::Overlap => DropReason::FragmentOverlap,
        FragmentDrop::Timeout => DropReason::FragmentTimeout,
        FragmentDrop::Limit => DropReason::FragmentLimit,
    }
}
