//! A builder for every kind of frame, the wrong ones too.
//!
//! Independent of what `wire` writes, so that one checks the other.

use std::net::Ipv4Addr;

use wire::{Endpoint, MacAddr};

use crate::naive;

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Udp { from: u16, to: u16, length: Option<u16>, checksum: bool },
    Tcp { from: u16, to: u16, seq: u32, ack: u32, flags: u8, window: u16, options: Vec<u8> },
    Icmp { kind: u8, code: u8, rest: [u8; 4] },
    Raw,
}

/// An IPv4 packet being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    body: Body,
    payload: Vec<u8>,
    ttl: u8,
    tos: u8,
    id: u16,
    flags: u16,
    options: Vec<u8>,
    trailing: usize,
    bad_ip_checksum: bool,
    bad_l4_checksum: bool,
    total_len: Option<u16>,
    version_and_length: Option<u8>,
}

/// TCP control bits.
pub mod flags {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// PSH.
    pub const PSH: u8 = 8;
    /// ACK.
    pub const ACK: u8 = 16;
}

impl Packet {
    fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: Body) -> Self {
        Packet {
            source,
            destination,
            protocol,
            body,
            payload: Vec::new(),
            ttl: 64,
            tos: 0,
            id: 0,
            flags: 0x4000,
            options: Vec::new(),
            trailing: 0,
            bad_ip_checksum: false,
            bad_l4_checksum: false,
            total_len: None,
            version_and_length: None,
        }
    }

    /// A UDP datagram.
    pub fn udp(from: Endpoint, to: Endpoint) -> Self {
        let body = Body::Udp { from: from.port, to: to.port, length: None, checksum: true };
        Self::new(from.address, to.address, 17, body)
    }

    /// A TCP segment with those [`flags`].
    pub fn tcp(from: Endpoint, to: Endpoint, flags: u8) -> Self {
        let (from_port, to_port) = (from.port, to.port);
        let body = Body::Tcp {
            from: from_port,
            to: to_port,
            seq: 0,
            ack: 0,
            flags,
            window: 8192,
            options: Vec::new(),
        };
        Self::new(from.address, to.address, 6, body)
    }

    /// An ICMP echo request or reply.
    pub fn echo(from: Ipv4Addr, to: Ipv4Addr, request: bool, id: u16, seq: u16) -> Self {
        let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
        let kind = if request { 8 } else { 0 };
        Self::icmp(from, to, kind, 0, [a, b, c, d])
    }

    /// An ICMP error about `original`, an IP packet or as much of it as is quoted.
    pub fn icmp_error(from: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, mtu: u16, original: &[u8]) -> Self {
        let [a, b] = mtu.to_be_bytes();
        Self::icmp(from, to, kind, code, [0, 0, a, b]).payload(original)
    }

    /// Any ICMP message; `rest` is the header's second word.
    pub fn icmp(from: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, rest: [u8; 4]) -> Self {
        Self::new(from, to, 1, Body::Icmp { kind, code, rest })
    }

    /// A packet of any protocol; its payload is all that follows the IP header.
    pub fn raw(from: Ipv4Addr, to: Ipv4Addr, protocol: u8) -> Self {
        Self::new(from, to, protocol, Body::Raw)
    }

    /// What it carries behind its headers.
    #[must_use]
    pub fn payload(mut self, octets: &[u8]) -> Self {
        self.payload = octets.to_vec();
        self
    }

    /// Time to live; 64 unless set.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Type of service.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// May be fragmented on its way.
    #[must_use]
    pub fn may_fragment(mut self) -> Self {
        self.flags &= !0x4000;
        self
    }

    /// IPv4 options; padded to whole words with zeros.
    #[must_use]
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().div_ceil(4) * 4, 0);
        self
    }

    /// Sequence and acknowledgement numbers; TCP only.
    #[must_use]
    pub fn numbers(mut self, new_seq: u32, new_ack: u32) -> Self {
        if let Body::Tcp { seq, ack, .. } = &mut self.body {
            (*seq, *ack) = (new_seq, new_ack);
        }
        self
    }

    /// Window; TCP only.
    #[must_use]
    pub fn window(mut self, new: u16) -> Self {
        if let Body::Tcp { window, .. } = &mut self.body {
            *window = new;
        }
        self
    }

    /// TCP options; padded to whole words with zeros.
    #[must_use]
    pub fn tcp_options(mut self, new: &[u8]) -> Self {
        if let Body::Tcp { options, .. } = &mut self.body {
            *options = new.to_vec();
            options.resize(new.len().div_ceil(4) * 4, 0);
        }
        self
    }

    /// A UDP checksum of 0: none.
    #[must_use]
    pub fn no_checksum(mut self) -> Self {
        if let Body::Udp { checksum, .. } = &mut self.body {
            *checksum = false;
        }
        self
    }

    /// A UDP length that may lie.
    #[must_use]
    pub fn udp_length(mut self, new: u16) -> Self {
        if let Body::Udp { length, .. } = &mut self.body {
            *length = Some(new);
        }
        self
    }

    /// Octets of Ethernet padding behind the packet.
    #[must_use]
    pub fn trailing(mut self, octets: usize) -> Self {
        self.trailing = octets;
        self
    }

    /// A wrong IP header checksum.
    #[must_use]
    pub fn bad_ip_checksum(mut self) -> Self {
        self.bad_ip_checksum = true;
        self
    }

    /// A wrong TCP, UDP or ICMP checksum.
    #[must_use]
    pub fn bad_l4_checksum(mut self) -> Self {
        self.bad_l4_checksum = true;
        self
    }

    /// A total length that may lie.
    #[must_use]
    pub fn total_len(mut self, total: u16) -> Self {
        self.total_len = Some(total);
        self
    }

    /// A first octet that may lie.
    #[must_use]
    pub fn version_and_length(mut self, octet: u8) -> Self {
        self.version_and_length = Some(octet);
        self
    }

    /// Transport header and payload, checksummed.
    fn segment(&self) -> Vec<u8> {
        let mut s = Vec::with_capacity(64 + self.payload.len());
        match &self.body {
            Body::Udp { from, to, length, .. } => {
                let length = length.unwrap_or((8 + self.payload.len()) as u16);
                for word in [*from, *to, length, 0] {
                    s.extend(word.to_be_bytes());
                }
            }
            Body::Tcp { from, to, seq, ack, flags, window, options } => {
                s.extend(from.to_be_bytes());
                s.extend(to.to_be_bytes());
                s.extend(seq.to_be_bytes());
                s.extend(ack.to_be_bytes());
                s.extend([(((20 + options.len()) / 4) << 4) as u8, *flags]);
                s.extend(window.to_be_bytes());
                s.extend([0; 4]);
                s.extend(options);
            }
            Body::Icmp { kind, code, rest } => {
                s.extend([*kind, *code, 0, 0]);
                s.extend(rest);
            }
            Body::Raw => {}
        }
        s.extend(&self.payload);
        let sum = match self.body {
            Body::Raw | Body::Udp { checksum: false, .. } => return s,
            Body::Icmp { .. } => naive::checksum(&s),
            _ => naive::segment_checksum(self.source, self.destination, self.protocol, &s),
        };
        let sum = if self.bad_l4_checksum { sum ^ 0x0101 } else { sum };
        let at = naive::checksum_offset(self.protocol);
        s[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        s
    }

    fn header(&self, payload: usize, fragment: u16) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = self.total_len.unwrap_or((header + payload) as u16);
        let mut h = vec![self.version_and_length.unwrap_or(0x40 | (header / 4) as u8), self.tos];
        h.extend(total.to_be_bytes());
        h.extend(self.id.to_be_bytes());
        h.extend((self.flags | fragment).to_be_bytes());
        h.extend([self.ttl, self.protocol, 0, 0]);
        h.extend(self.source.octets());
        h.extend(self.destination.octets());
        h.extend(&self.options);
        naive::seal_header(&mut h, header);
        if self.bad_ip_checksum {
            h[10] ^= 0x55;
        }
        h
    }

    /// The IP packet, without Ethernet or padding.
    pub fn ip(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut packet = self.header(segment.len(), 0);
        packet.extend(segment);
        packet
    }

    /// The packet as an Ethernet frame.
    pub fn frame(&self, link: &Link) -> Vec<u8> {
        let mut f = link.wrap(0x0800, &self.ip());
        f.resize(f.len() + self.trailing, 0xee);
        f
    }

    /// The packet as fragments of at most `payload` octets each (a multiple of 8), in order, as frames.
    pub fn fragments(&self, link: &Link, payload: usize) -> Vec<Vec<u8>> {
        let segment = self.segment();
        let chunks: Vec<&[u8]> = segment.chunks(payload).collect();
        let frame = |(i, chunk): (usize, &&[u8])| {
            let more = if i + 1 < chunks.len() { 0x2000 } else { 0 };
            let mut packet = self.header(chunk.len(), (i * payload / 8) as u16 | more);
            packet.extend(*chunk);
            link.wrap(0x0800, &packet)
        };
        chunks.iter().enumerate().map(frame).collect()
    }
}

/// The Ethernet hop that a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// From whom.
    pub source: MacAddr,
    /// To whom.
    pub destination: MacAddr,
    /// 802.1Q tag.
    pub vlan: Option<u16>,
}

impl Link {
    /// A frame of that type around `payload`.
    pub fn wrap(&self, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut f = Vec::with_capacity(18 + payload.len());
        f.extend(self.destination.0);
        f.extend(self.source.0);
        if let Some(id) = self.vlan {
            f.extend([0x81, 0x00]);
            f.extend(id.to_be_bytes());
        }
        f.extend(ether_type.to_be_bytes());
        f.extend(payload);
        f
    }

    /// An ARP message: operation 1 asks, 2 answers.
    pub fn arp(&self, operation: u16, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Vec<u8> {
        let mut m = vec![0, 1, 8, 0, 6, 4];
        m.extend(operation.to_be_bytes());
        for (mac, ip) in [sender, target] {
            m.extend(mac.0);
            m.extend(ip.octets());
        }
        self.wrap(0x0806, &m)
    }
}
