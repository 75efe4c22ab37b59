//! IPv4 and the transport header behind it, read once with every length checked.
//!
//! RFC 791 for the header; what a hostile sender can say about lengths is checked here and
//! nowhere else, so that later stages index by the offsets they are given. Octets after the
//! total length (Ethernet padding) are outside `end`.

use std::net::Ipv4Addr;

use crate::{Endpoint, ParseError, Protocol, TcpFlags, TcpSummary, Tuple, V4, checksum};

pub use crate::embedded::parse_embedded;

/// Octets of a header without options.
pub const MIN_HEADER: usize = 20;

/// What follows the IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment, or the first fragment of one.
    Tcp(TcpSummary),
    /// A UDP datagram, or the first fragment of one.
    Udp {
        /// The sender computed no checksum.
        checksum_zero: bool,
    },
    /// An ICMP echo request or reply.
    Echo {
        /// Request, else reply.
        request: bool,
        /// Query identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// An ICMP error: destination unreachable, time exceeded or parameter problem, its checksum verified.
    IcmpError {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// Any other ICMP message (a source quench too, RFC 6633).
    IcmpOther {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// A fragment that is not the first: its ports are elsewhere.
    LaterFragment,
    /// Another protocol.
    Other,
}

/// An IPv4 packet within a frame: offsets into the frame and the fields that stages ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Offset of the IPv4 header in the frame.
    pub l3: u16,
    /// Offset of what follows the header and its options.
    pub l4: u16,
    /// Offset after the packet's last octet: `l3` + total length.
    pub end: u16,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// Time to live.
    pub ttl: u8,
    /// Type of service (DSCP and ECN).
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Must not be fragmented.
    pub dont_fragment: bool,
    /// Fragments follow.
    pub more_fragments: bool,
    /// Where in the datagram this fragment belongs, octets.
    pub fragment_offset: u16,
    /// The header has options.
    pub has_options: bool,
    /// What follows.
    pub l4_kind: Transport,
    /// Source port; for an echo its id; else 0.
    pub source_port: u16,
    /// Destination port; for an echo its id; else 0.
    pub destination_port: u16,
}

impl Ipv4 {
    /// The packet's key. Without ports known (later fragments, ICMP errors, other protocols) they are 0.
    #[inline]
    pub const fn tuple(&self) -> Tuple<V4> {
        Tuple {
            protocol: self.protocol,
            source: Endpoint { address: self.source, port: self.source_port },
            destination: Endpoint { address: self.destination, port: self.destination_port },
        }
    }

    /// Is it a part of a datagram?
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Total length, octets.
    #[inline]
    pub const fn total_len(&self) -> u16 {
        self.end - self.l3
    }

    /// Octets of the header, options included.
    #[inline]
    pub const fn header_len(&self) -> u16 {
        self.l4 - self.l3
    }

    /// Octets after the header.
    #[inline]
    pub const fn payload_len(&self) -> u16 {
        self.end - self.l4
    }

    /// Offset in the frame of the transport checksum that covers the pseudo header or message:
    /// TCP's, UDP's or ICMP's. `None` where this packet has none.
    #[inline]
    pub const fn l4_checksum_at(&self) -> Option<u16> {
        match self.l4_kind {
            Transport::Tcp(_) => Some(self.l4 + 16),
            Transport::Udp { .. } => Some(self.l4 + 6),
            Transport::Echo { .. } | Transport::IcmpError { .. } | Transport::IcmpOther { .. } => {
                Some(self.l4 + 2)
            }
            Transport::LaterFragment | Transport::Other => None,
        }
    }
}

/// Sum of a header without options; 0xffff folded when right.
#[inline]
fn header_sum(h: &[u8; MIN_HEADER]) -> u64 {
    let (words, _) = h.as_chunks::<4>();
    words.iter().map(|w| u64::from(u32::from_be_bytes(*w))).sum()
}

/// Reads the packet whose IPv4 header starts at `l3` of `frame`. `checksum_known_good` says that
/// the device verified the header's checksum.
///
/// Errors: `MalformedIp`, `BadIpChecksum`, `MalformedL4`, and `BadIcmpChecksum` for an ICMP error
/// (whole, not a fragment) whose own checksum is wrong. Other transport checksums are end to end.
#[inline]
pub fn parse(frame: &[u8], l3: usize, checksum_known_good: bool) -> Result<Ipv4, ParseError> {
    use ParseError::{BadIpChecksum, MalformedIp};
    let packet = frame.get(l3..).ok_or(MalformedIp)?;
    let h = packet.first_chunk::<MIN_HEADER>().ok_or(MalformedIp)?;
    let [vihl, tos, t0, t1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *h;
    let header = usize::from(vihl & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([t0, t1]));
    if vihl >> 4 != 4 || header < MIN_HEADER || total < header || total > packet.len() {
        return Err(MalformedIp);
    }
    if l3 + total > usize::from(u16::MAX) {
        return Err(MalformedIp);
    }
    let has_options = header > MIN_HEADER;
    if !checksum_known_good {
        let options = if has_options { packet.get(MIN_HEADER..header).map_or(0, checksum::sum) } else { 0 };
        if checksum::fold(header_sum(h) + options) != 0xffff {
            return Err(BadIpChecksum);
        }
    }
    let flags = u16::from_be_bytes([f0, f1]);
    let fragment_offset = (flags & 0x1fff) << 3;
    let more_fragments = flags & 0x2000 != 0;
    let payload = total - header;
    if more_fragments || fragment_offset != 0 {
        // A fragment carries something; all but the last carry whole units of 8 octets, and
        // none reaches beyond the largest datagram (RFC 791 §3.2).
        let beyond = header + usize::from(fragment_offset) + payload > usize::from(u16::MAX);
        if payload == 0 || beyond || (more_fragments && payload % 8 != 0) {
            return Err(MalformedIp);
        }
    }
    let mut ip = Ipv4 {
        l3: l3 as u16,
        l4: (l3 + header) as u16,
        end: (l3 + total) as u16,
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        protocol: Protocol(protocol),
        ttl,
        tos,
        id: u16::from_be_bytes([i0, i1]),
        dont_fragment: flags & 0x4000 != 0,
        more_fragments,
        fragment_offset,
        has_options,
        l4_kind: Transport::Other,
        source_port: 0,
        destination_port: 0,
    };
    if fragment_offset != 0 {
        ip.l4_kind = Transport::LaterFragment;
        return Ok(ip);
    }
    let segment = packet.get(header..total).ok_or(MalformedIp)?;
    transport(&mut ip, segment)?;
    Ok(ip)
}

/// Reads the transport header at the start of `segment` into `ip`.
#[inline]
fn transport(ip: &mut Ipv4, segment: &[u8]) -> Result<(), ParseError> {
    use ParseError::MalformedL4;
    match ip.protocol {
        Protocol::TCP => {
            // A first fragment must hold the whole header (RFC 1858 §3).
            let h = segment.first_chunk::<20>().ok_or(MalformedL4)?;
            let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *h;
            let header = usize::from(offset >> 4) * 4;
            if header < 20 || header > segment.len() {
                return Err(MalformedL4);
            }
            ip.source_port = u16::from_be_bytes([s0, s1]);
            ip.destination_port = u16::from_be_bytes([d0, d1]);
            ip.l4_kind = Transport::Tcp(TcpSummary {
                flags: TcpFlags(flags),
                seq: u32::from_be_bytes([q0, q1, q2, q3]),
                ack: u32::from_be_bytes([a0, a1, a2, a3]),
                window: u16::from_be_bytes([w0, w1]),
                header: header as u8,
                payload: (segment.len() - header) as u16,
            });
        }
        Protocol::UDP => {
            let h = segment.first_chunk::<8>().ok_or(MalformedL4)?;
            let [s0, s1, d0, d1, l0, l1, c0, c1] = *h;
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            // The length counts the whole datagram, of which a first fragment holds a part.
            if length < 8 || (length > segment.len() && !ip.more_fragments) {
                return Err(MalformedL4);
            }
            ip.source_port = u16::from_be_bytes([s0, s1]);
            ip.destination_port = u16::from_be_bytes([d0, d1]);
            ip.l4_kind = Transport::Udp { checksum_zero: c0 | c1 == 0 };
        }
        Protocol::ICMP => {
            let h = segment.first_chunk::<8>().ok_or(MalformedL4)?;
            let [kind, code, _, _, i0, i1, q0, q1] = *h;
            let id = u16::from_be_bytes([i0, i1]);
            ip.l4_kind = match (kind, code) {
                (0 | 8, 0) => {
                    (ip.source_port, ip.destination_port) = (id, id);
                    Transport::Echo { request: kind == 8, id, seq: u16::from_be_bytes([q0, q1]) }
                }
                (3 | 11 | 12, _) => {
                    if !ip.more_fragments && !checksum::is_valid(segment) {
                        return Err(ParseError::BadIcmpChecksum);
                    }
                    Transport::IcmpError { kind, code }
                }
                _ => Transport::IcmpOther { kind, code },
            };
        }
        _ => {}
    }
    Ok(())
}
