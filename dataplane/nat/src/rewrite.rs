//! A session's translation of one direction, applied to packets in place.
//!
//! The differences are worked out when the session opens (RFC 1624), so that applying them
//! adds two numbers whatever the packet's length; a checksum that was wrong stays wrong. The
//! TTL falls in the same pass.

use std::net::Ipv4Addr;

use wire::checksum::Delta;
use wire::{Embedded, EmbeddedTransport, Endpoint, Ipv4, Protocol, Transport, Tuple};

/// Whether the packet's TTL falls by one (RFC 1812 §5.3.1); a hairpinned packet's falls once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Falls by one. The packet's TTL is at least 2.
    Decrement,
    /// Stays.
    Keep,
}

/// Translation of one direction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Source of packets as they arrive.
    pub matched_source: Ipv4Addr,
    /// New source.
    pub source: Endpoint,
    /// New destination.
    pub destination: Endpoint,
    /// What the addresses change in the IP header's checksum.
    pub(crate) header: Delta,
    /// What addresses and ports change in the transport's checksum (ICMP: the id alone).
    pub(crate) transport: Delta,
}

#[inline]
fn write<const N: usize>(frame: &mut [u8], at: usize, bytes: [u8; N]) -> bool {
    let Some(field) = frame.get_mut(at..).and_then(|f| f.first_chunk_mut::<N>()) else { return false };
    *field = bytes;
    true
}

#[inline]
fn read16(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk::<2>().map(|b| u16::from_be_bytes(*b))
}

/// Writes a word and adds the change to `delta`.
fn replace(frame: &mut [u8], at: usize, new: u16, delta: &mut Delta) -> bool {
    let Some(old) = read16(frame, at) else { return false };
    *delta = delta.replace16(old, new);
    write(frame, at, new.to_be_bytes())
}

impl Rewrite {
    /// The translation from `arriving` to `leaving`.
    pub fn new(arriving: &Tuple, leaving: &Tuple) -> Self {
        let header = Delta::NONE
            .replace_address(arriving.source.address, leaving.source.address)
            .replace_address(arriving.destination.address, leaving.destination.address);
        let transport = match arriving.protocol {
            // An echo's sum has no pseudo header, and its id is one word (RFC 792).
            Protocol::ICMP => Delta::NONE.replace16(id(arriving), id(leaving)),
            _ => header
                .replace16(arriving.source.port, leaving.source.port)
                .replace16(arriving.destination.port, leaving.destination.port),
        };
        Rewrite {
            matched_source: arriving.source.address,
            source: leaving.source,
            destination: leaving.destination,
            header,
            transport,
        }
    }

    /// The translation of a session that is gone.
    pub(crate) const NOWHERE: Rewrite = {
        let nowhere = Endpoint { address: Ipv4Addr::UNSPECIFIED, port: 0 };
        Rewrite {
            matched_source: Ipv4Addr::UNSPECIFIED,
            source: nowhere,
            destination: nowhere,
            header: Delta::NONE,
            transport: Delta::NONE,
        }
    };

    /// Translates the addresses of the header at `l3`, and its TTL.
    #[inline]
    fn addresses(&self, frame: &mut [u8], l3: usize, ttl: Ttl) -> bool {
        let Some(header) = frame.get_mut(l3..).and_then(|f| f.first_chunk_mut::<20>()) else { return false };
        let mut delta = self.header;
        if ttl == Ttl::Decrement {
            let old = u16::from_be_bytes([header[8], header[9]]);
            header[8] = header[8].saturating_sub(1);
            delta = delta.replace16(old, u16::from_be_bytes([header[8], header[9]]));
        }
        let sum = delta.apply(u16::from_be_bytes([header[10], header[11]])).to_be_bytes();
        let (s, d) = (self.source.address.octets(), self.destination.address.octets());
        header[10..].copy_from_slice(&[sum[0], sum[1], s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3]]);
        true
    }

    /// Translates a TCP, UDP or ICMP echo packet, or one of another protocol (addresses alone);
    /// a later fragment as [`Rewrite::apply_later_fragment`] does. False if `ip` is not of this frame.
    #[inline]
    pub fn apply(&self, frame: &mut [u8], ip: &Ipv4, ttl: Ttl) -> bool {
        let l4 = usize::from(ip.l4);
        let ports = u32::from(self.source.port) << 16 | u32::from(self.destination.port);
        let right = match ip.l4_kind {
            Transport::Tcp(_) => {
                self.transport.apply_at(frame, l4 + 16) && write(frame, l4, ports.to_be_bytes())
            }
            // UDP 0 is "no checksum" and stays (RFC 768; RFC 4787 leaves it to end systems).
            Transport::Udp { .. } => {
                self.transport.apply_udp_at(frame, l4 + 6) && write(frame, l4, ports.to_be_bytes())
            }
            Transport::Echo { .. } => {
                self.transport.apply_at(frame, l4 + 2) && write(frame, l4 + 4, self.query_id().to_be_bytes())
            }
            _ => true,
        };
        right && self.addresses(frame, usize::from(ip.l3), ttl)
    }

    /// Translates the addresses of a fragment without ports. False if `ip` is not of this frame.
    #[inline]
    pub fn apply_later_fragment(&self, frame: &mut [u8], ip: &Ipv4, ttl: Ttl) -> bool {
        self.addresses(frame, usize::from(ip.l3), ttl)
    }

    /// An echo's id after translation: the outside end's on the way out, the inside end's on the way in.
    const fn query_id(&self) -> u16 {
        self.source.port
    }
}

const fn id(tuple: &Tuple) -> u16 {
    tuple.source.port
}

impl Rewrite {
    /// Translates an ICMP error that goes this way about a packet that went the other way
    /// (RFC 5508 REQ-3 to REQ-5): the outer addresses, the quoted packet's addresses, ports or
    /// id, and every checksum on the way as far as it was quoted. Lengths, padding and
    /// extensions (RFC 4884) stay as they are.
    ///
    /// `embedded` is the quoted packet as it arrived; its session was found by its reversed
    /// key. The outer source becomes the new source where this way translates sources (REQ-5c:
    /// an inside router is not to be seen outside), else it stays the router's own.
    pub fn apply_embedded(&self, frame: &mut [u8], ip: &Ipv4, embedded: &Embedded, ttl: Ttl) -> bool {
        // The quoted packet goes the other way: its source is this way's destination.
        let (source, destination) = (self.destination, self.source);
        let mut message = Delta::NONE;
        let mut header = Delta::NONE;
        let l3 = usize::from(embedded.l3);
        let [s, d] = [source.address, destination.address].map(|a| {
            let [a, b, c, d] = a.octets();
            [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
        });
        let words = [(12, s[0]), (14, s[1]), (16, d[0]), (18, d[1])];
        if !words.iter().all(|(offset, word)| replace(frame, l3 + offset, *word, &mut header)) {
            return false;
        }
        message = message.and(header);
        let Some(sum) = read16(frame, l3 + 10) else { return false };
        replace(frame, l3 + 10, header.apply(sum), &mut message);

        let l4 = usize::from(embedded.l4);
        // What the ports or the id change; a pseudo header adds what the addresses change.
        let mut words = Delta::NONE;
        let mut udp = false;
        let (written, pseudo) = match embedded.transport {
            EmbeddedTransport::Tcp | EmbeddedTransport::Udp { .. } => {
                udp = matches!(embedded.transport, EmbeddedTransport::Udp { .. });
                let ports = replace(frame, l4, source.port, &mut words)
                    && replace(frame, l4 + 2, destination.port, &mut words);
                (ports, header)
            }
            EmbeddedTransport::Echo { .. } => (replace(frame, l4 + 4, source.port, &mut words), Delta::NONE),
            _ => (true, Delta::NONE),
        };
        if !written {
            return false;
        }
        message = message.and(words);
        let transport = pseudo.and(words);
        if let Some(at) = embedded.l4_checksum_at.map(usize::from) {
            let Some(sum) = read16(frame, at) else { return false };
            let new = if udp { transport.apply_udp(sum) } else { transport.apply(sum) };
            replace(frame, at, new, &mut message);
        }
        if !message.apply_at(frame, usize::from(ip.l4) + 2) {
            return false;
        }
        let outer_source =
            if self.source.address == self.matched_source { ip.source } else { self.source.address };
        let outer = Rewrite {
            matched_source: ip.source,
            source: Endpoint { address: outer_source, port: 0 },
            destination: Endpoint { address: self.destination.address, port: 0 },
            header: Delta::NONE
                .replace_address(ip.source, outer_source)
                .replace_address(ip.destination, self.destination.address),
            transport: Delta::NONE,
        };
        outer.addresses(frame, usize::from(ip.l3), ttl)
    }
}
