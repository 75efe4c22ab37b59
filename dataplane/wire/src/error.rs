//! Why bytes are no packet.

use std::fmt;

/// Why bytes could not be parsed; the names are those of the drop reasons they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// Shorter than its Ethernet header.
    MalformedEthernet,
    /// ARP cut short or not IPv4 over Ethernet.
    MalformedArp,
    /// IPv4 version, lengths or fragment fields contradict the frame.
    MalformedIp,
    /// The IPv4 header's checksum is wrong.
    BadIpChecksum,
    /// The TCP, UDP or ICMP header does not fit, or contradicts the packet.
    MalformedL4,
    /// The checksum of an ICMP error, or of the IP header it quotes, is wrong (RFC 5508 REQ-3).
    BadIcmpChecksum,
}

impl ParseError {
    /// The drop reason's name.
    pub const fn name(self) -> &'static str {
        match self {
            ParseError::MalformedEthernet => "malformed_ethernet",
            ParseError::MalformedArp => "malformed_arp",
            ParseError::MalformedIp => "malformed_ip",
            ParseError::BadIpChecksum => "bad_ip_checksum",
            ParseError::MalformedL4 => "malformed_l4",
            ParseError::BadIcmpChecksum => "bad_icmp_checksum",
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for ParseError {}
