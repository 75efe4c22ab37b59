//! The packet inside an ICMP error (RFC 792, RFC 1812 §4.3.2.3, RFC 5508 §4, RFC 4884).
//!
//! It is a quotation: cut wherever its author liked, as short as eight octets after its IP
//! header, maybe padded and followed by extensions. It is read leniently, and every offset
//! handed out lies inside the quoted part.

use std::net::Ipv4Addr;

use crate::ipv4::{Ipv4, MIN_HEADER, Transport};
use crate::{Endpoint, ParseError, Protocol, Tuple, V4, checksum};

/// What the quoted packet carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddedTransport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp {
        /// The sender computed no checksum.
        checksum_zero: bool,
    },
    /// ICMP echo.
    Echo {
        /// Request, else reply.
        request: bool,
    },
    /// Another ICMP message, an error too: nothing may answer it.
    IcmpOther,
    /// A fragment that is not the first.
    LaterFragment,
    /// Another protocol.
    Other,
}

/// The quoted packet: offsets into the frame and fields as quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// Offset of the quoted IPv4 header.
    pub l3: u16,
    /// Offset of what follows it.
    pub l4: u16,
    /// Offset after the last quoted octet of the packet: extensions and padding (RFC 4884) lie beyond.
    pub end: u16,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// What it carried.
    pub transport: EmbeddedTransport,
    /// Source port; for an echo its id; else 0.
    pub source_port: u16,
    /// Destination port; for an echo its id; else 0.
    pub destination_port: u16,
    /// Offset of the transport checksum, if it was quoted (a TCP one often is not) and computed.
    pub l4_checksum_at: Option<u16>,
}

impl Embedded {
    /// The quoted packet's own key.
    #[inline]
    pub const fn tuple(&self) -> Tuple<V4> {
        Tuple {
            protocol: self.protocol,
            source: Endpoint { address: self.source, port: self.source_port },
            destination: Endpoint { address: self.destination, port: self.destination_port },
        }
    }
}

/// Reads the packet quoted by the ICMP error `ip` of `frame`.
///
/// Errors: `MalformedL4` where there is no such packet or it is cut before its ports;
/// `BadIcmpChecksum` where the quoted IP header's checksum is wrong (RFC 5508 REQ-3a).
pub fn parse_embedded(frame: &[u8], ip: &Ipv4) -> Result<Embedded, ParseError> {
    use ParseError::{BadIcmpChecksum, MalformedL4};
    let Transport::IcmpError { .. } = ip.l4_kind else { return Err(MalformedL4) };
    let (icmp, end) = (usize::from(ip.l4), usize::from(ip.end));
    let l3 = icmp + 8;
    let message = frame.get(icmp..end).ok_or(MalformedL4)?;
    // RFC 4884 §4: octet 5 counts the quotation in 32-bit words when extensions follow it;
    // 0 means none, and a quotation before extensions has at least 128 octets.
    let words = usize::from(message.get(5).copied().ok_or(MalformedL4)?);
    let quoted = message.get(8..).ok_or(MalformedL4)?;
    let quoted = match words * 4 {
        n if n >= 128 => quoted.get(..n).unwrap_or(quoted),
        _ => quoted,
    };
    let h = quoted.first_chunk::<MIN_HEADER>().ok_or(MalformedL4)?;
    let [vihl, _, t0, t1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *h;
    let header = usize::from(vihl & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([t0, t1]));
    if vihl >> 4 != 4 || header < MIN_HEADER || total < header {
        return Err(MalformedL4);
    }
    let quoted = quoted.get(..total).unwrap_or(quoted);
    let (head, segment) = quoted.split_at_checked(header).ok_or(MalformedL4)?;
    if !checksum::is_valid(head) {
        return Err(BadIcmpChecksum);
    }
    let l4 = l3 + header;
    let mut embedded = Embedded {
        l3: l3 as u16,
        l4: l4 as u16,
        end: (l3 + quoted.len()) as u16,
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        protocol: Protocol(protocol),
        transport: EmbeddedTransport::Other,
        source_port: 0,
        destination_port: 0,
        l4_checksum_at: None,
    };
    if u16::from_be_bytes([f0, f1]) & 0x1fff != 0 {
        embedded.transport = EmbeddedTransport::LaterFragment;
        return Ok(embedded);
    }
    let ported = matches!(embedded.protocol, Protocol::TCP | Protocol::UDP | Protocol::ICMP);
    if !ported {
        return Ok(embedded);
    }
    // "The first 64 bits of the original datagram's data" (RFC 792) always hold the ports.
    let [b0, b1, b2, b3, b4, b5, b6, b7] = *segment.first_chunk::<8>().ok_or(MalformedL4)?;
    let at = |offset: usize| (segment.len() >= offset + 2).then_some((l4 + offset) as u16);
    if embedded.protocol == Protocol::ICMP {
        embedded.transport = match (b0, b1) {
            (0 | 8, 0) => {
                let id = u16::from_be_bytes([b4, b5]);
                (embedded.source_port, embedded.destination_port) = (id, id);
                embedded.l4_checksum_at = at(2);
                EmbeddedTransport::Echo { request: b0 == 8 }
            }
            _ => EmbeddedTransport::IcmpOther,
        };
        return Ok(embedded);
    }
    embedded.source_port = u16::from_be_bytes([b0, b1]);
    embedded.destination_port = u16::from_be_bytes([b2, b3]);
    if embedded.protocol == Protocol::TCP {
        embedded.transport = EmbeddedTransport::Tcp;
        embedded.l4_checksum_at = at(16);
    } else {
        let checksum_zero = b6 | b7 == 0;
        embedded.transport = EmbeddedTransport::Udp { checksum_zero };
        embedded.l4_checksum_at = if checksum_zero { None } else { at(6) };
    }
    Ok(embedded)
}
