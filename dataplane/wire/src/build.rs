//! Packets that the gateway itself originates, each with room for Ethernet in front.
//!
//! A built frame has [`FRONT`] zeroed octets and then the IP packet; the sender writes the
//! Ethernet header over them (a tagged port grows the front by four more). Checksums are whole.

use std::net::Ipv4Addr;

use crate::ipv4::{Ipv4, MIN_HEADER, Transport};
use crate::{Endpoint, PacketBuf, Protocol, TcpFlags, checksum, ethernet};

/// Octets in front of a built IP packet.
pub const FRONT: usize = ethernet::LEN;

/// Longest ICMP error, IP header included (RFC 1812 §4.3.2.3).
pub const ICMP_ERROR_MAX: usize = 576;

/// Fields of an IPv4 header that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// What it carries.
    pub protocol: Protocol,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Must not be fragmented.
    pub dont_fragment: bool,
}

impl Header {
    /// What the gateway's own packets have: TTL 64, TOS 0, id 0, DF set (RFC 6864 allows id 0 with DF).
    pub const fn own(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol) -> Self {
        Header { source, destination, protocol, ttl: 64, tos: 0, id: 0, dont_fragment: true }
    }
}

/// Makes `out` a frame of [`FRONT`] octets, an IPv4 header and `payload`; false if there is no room.
pub fn ip(out: &mut impl PacketBuf, header: &Header, payload: &[&[u8]]) -> bool {
    let body: usize = payload.iter().map(|p| p.len()).sum();
    let total = MIN_HEADER + body;
    let Ok(total_len) = u16::try_from(total) else { return false };
    if !out.set_len(FRONT + total) {
        return false;
    }
    let frame = out.bytes_mut();
    let Some((front, packet)) = frame.split_at_mut_checked(FRONT) else { return false };
    front.fill(0);
    let Some((head, mut rest)) = packet.split_at_mut_checked(MIN_HEADER) else { return false };
    head.copy_from_slice(&header_bytes(header, total_len));
    for part in payload {
        let Some((here, after)) = rest.split_at_mut_checked(part.len()) else { return false };
        here.copy_from_slice(part);
        rest = after;
    }
    true
}

/// An IPv4 header without options, its checksum filled in.
pub fn header_bytes(header: &Header, total_len: u16) -> [u8; MIN_HEADER] {
    let [t0, t1] = total_len.to_be_bytes();
    let [i0, i1] = header.id.to_be_bytes();
    let flags = if header.dont_fragment { 0x40 } else { 0 };
    let [s0, s1, s2, s3] = header.source.octets();
    let [d0, d1, d2, d3] = header.destination.octets();
    let (ttl, protocol) = (header.ttl, header.protocol.0);
    let mut h =
        [0x45, header.tos, t0, t1, i0, i1, flags, 0, ttl, protocol, 0, 0, s0, s1, s2, s3, d0, d1, d2, d3];
    let [c0, c1] = checksum::of(&h).to_be_bytes();
    (h[10], h[11]) = (c0, c1);
    h
}

/// An ICMP error about `original` (an IP packet from its first octet; what lies beyond its total
/// length is ignored), from `source` to the original's source. `mtu` is the next hop's for 3/4, else
/// 0. False if `original` is no IPv4 header or there is no room.
pub fn icmp_error(
    out: &mut impl PacketBuf,
    original: &[u8],
    kind: u8,
    code: u8,
    mtu: u16,
    source: Ipv4Addr,
) -> bool {
    let Some(h) = original.first_chunk::<MIN_HEADER>() else { return false };
    let [_, _, t0, t1, .., s0, s1, s2, s3, _, _, _, _] = *h;
    let total = usize::from(u16::from_be_bytes([t0, t1])).min(original.len());
    let quoted = original.get(..total.min(ICMP_ERROR_MAX - MIN_HEADER - 8)).unwrap_or(original);
    let [m0, m1] = mtu.to_be_bytes();
    let mut icmp = [kind, code, 0, 0, 0, 0, m0, m1];
    let [c0, c1] = (!checksum::fold(checksum::sum(&icmp) + checksum::sum(quoted))).to_be_bytes();
    (icmp[2], icmp[3]) = (c0, c1);
    let header = Header::own(source, Ipv4Addr::new(s0, s1, s2, s3), Protocol::ICMP);
    ip(out, &header, &[&icmp, quoted])
}

/// The RST that answers the TCP segment `original` (RFC 9293 §3.10.7.1), from the endpoint it was
/// sent to. False for anything but TCP, for a RST (nothing answers one), or without room.
pub fn tcp_rst(out: &mut impl PacketBuf, original: &Ipv4) -> bool {
    let Transport::Tcp(tcp) = original.l4_kind else { return false };
    if tcp.flags.rst() {
        return false;
    }
    let (seq, ack, flags) = if tcp.flags.ack() {
        (tcp.ack, 0, TcpFlags::RST)
    } else {
        (0, tcp.seq.wrapping_add(tcp.segment_len()), TcpFlags::RST | TcpFlags::ACK)
    };
    let tuple = original.tuple().reversed();
    tcp_segment(out, tuple.source, tuple.destination, &Segment { seq, ack, flags, window: 0 })
}

/// Fields of a TCP segment without options or data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window.
    pub window: u16,
}

/// A bare TCP segment.
pub fn tcp_segment(out: &mut impl PacketBuf, from: Endpoint, to: Endpoint, segment: &Segment) -> bool {
    let mut t = [0u8; 20];
    t[0..2].copy_from_slice(&from.port.to_be_bytes());
    t[2..4].copy_from_slice(&to.port.to_be_bytes());
    t[4..8].copy_from_slice(&segment.seq.to_be_bytes());
    t[8..12].copy_from_slice(&segment.ack.to_be_bytes());
    t[12] = 5 << 4;
    t[13] = segment.flags.0;
    t[14..16].copy_from_slice(&segment.window.to_be_bytes());
    let sum = checksum::transport(from.address, to.address, Protocol::TCP, &t);
    t[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(out, &Header::own(from.address, to.address, Protocol::TCP), &[&t])
}

/// A UDP datagram with a checksum.
pub fn udp(out: &mut impl PacketBuf, from: Endpoint, to: Endpoint, data: &[u8]) -> bool {
    let Ok(length) = u16::try_from(8 + data.len()) else { return false };
    let mut u = [0u8; 8];
    u[0..2].copy_from_slice(&from.port.to_be_bytes());
    u[2..4].copy_from_slice(&to.port.to_be_bytes());
    u[4..6].copy_from_slice(&length.to_be_bytes());
    let sum = checksum::pseudo_header(from.address, to.address, Protocol::UDP, length)
        + checksum::sum(&u)
        + checksum::sum(data);
    let sum = match !checksum::fold(sum) {
        0 => 0xffff,
        c => c,
    };
    u[6..8].copy_from_slice(&sum.to_be_bytes());
    ip(out, &Header::own(from.address, to.address, Protocol::UDP), &[&u, data])
}

/// An ICMP echo request or reply.
pub fn icmp_echo(
    out: &mut impl PacketBuf,
    from: Ipv4Addr,
    to: Ipv4Addr,
    request: bool,
    (id, seq): (u16, u16),
    data: &[u8],
) -> bool {
    let [i0, i1] = id.to_be_bytes();
    let [q0, q1] = seq.to_be_bytes();
    let mut icmp = [if request { 8 } else { 0 }, 0, 0, 0, i0, i1, q0, q1];
    let [c0, c1] = (!checksum::fold(checksum::sum(&icmp) + checksum::sum(data))).to_be_bytes();
    (icmp[2], icmp[3]) = (c0, c1);
    ip(out, &Header::own(from, to, Protocol::ICMP), &[&icmp, data])
}
