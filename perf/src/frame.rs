//! Frames written and read back, in the generator's own words: independent of `wire`, so that
//! an error there cannot hide behind itself.
//!
//! Every packet carries a number in its payload, by which its flow is known when it comes out.

use std::net::Ipv4Addr;

use wire::{Endpoint, MacAddr};

/// Octets of Ethernet header.
pub const ETHERNET: usize = 14;
/// Octets of the smallest frame without FCS: what a 64-byte frame leaves in a buffer.
pub const SMALLEST: usize = 60;
const L4: usize = ETHERNET + 20;

/// The hop that frames of one device travel towards the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// From whom.
    pub source: MacAddr,
    /// To whom.
    pub destination: MacAddr,
}

/// What is in a packet that is neither an error nor a fragment.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// 6 or 17.
    pub protocol: u8,
    /// From whom.
    pub source: Endpoint,
    /// To whom.
    pub destination: Endpoint,
    /// Its number.
    pub id: u64,
    /// TCP: flags, sequence number, acknowledgement.
    pub tcp: (u8, u32, u32),
    /// Octets of frame, at least [`SMALLEST`].
    pub len: usize,
}

impl Packet {
    /// A UDP packet of the smallest size.
    pub const fn udp(source: Endpoint, destination: Endpoint, id: u64) -> Self {
        Packet { protocol: 17, source, destination, id, tcp: (0, 0, 0), len: SMALLEST }
    }

    /// A TCP packet of the smallest size; its number is the sequence number's.
    pub const fn tcp(source: Endpoint, destination: Endpoint, flags: u8, seq: u32, ack: u32) -> Self {
        Packet { protocol: 6, source, destination, id: seq as u64, tcp: (flags, seq, ack), len: SMALLEST }
    }
}

/// Sum of big-endian words, not folded.
#[inline]
pub(crate) fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<2>();
    let all: u64 = words.iter().map(|w| u64::from(u16::from_be_bytes(*w))).sum();
    all + rest.first().map_or(0, |b| u64::from(*b) << 8)
}

#[inline]
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: usize) -> u64 {
    sum(&source.octets()) + sum(&destination.octets()) + u64::from(protocol) + len as u64
}

pub(crate) fn put(out: &mut [u8], at: usize, octets: &[u8]) {
    out[at..at + octets.len()].copy_from_slice(octets);
}

/// Ethernet and IPv4 header for `payload` octets behind them; gives the frame's length.
fn headers(
    out: &mut [u8],
    link: &Link,
    ends: (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    payload: usize,
    fragment: (u16, u16),
) -> usize {
    put(out, 0, &link.destination.0);
    put(out, 6, &link.source.0);
    put(out, 12, &[8, 0, 0x45, 0]);
    put(out, 16, &((20 + payload) as u16).to_be_bytes());
    put(out, 18, &fragment.0.to_be_bytes());
    put(out, 20, &fragment.1.to_be_bytes());
    put(out, 22, &[64, protocol, 0, 0]);
    put(out, 26, &ends.0.octets());
    put(out, 30, &ends.1.octets());
    let check = !fold(sum(&out[ETHERNET..L4]));
    put(out, 24, &check.to_be_bytes());
    L4 + payload
}

/// Writes a packet; gives its length.
pub fn write(out: &mut [u8], link: &Link, p: &Packet) -> usize {
    let len =
        headers(out, link, (p.source.address, p.destination.address), p.protocol, p.len - L4, (0, 0x4000));
    put(out, L4, &p.source.port.to_be_bytes());
    put(out, L4 + 2, &p.destination.port.to_be_bytes());
    let segment = len - L4;
    let at = if p.protocol == 17 {
        put(out, L4 + 4, &(segment as u16).to_be_bytes());
        put(out, L4 + 6, &[0, 0]);
        put(out, L4 + 8, &p.id.to_be_bytes());
        out[L4 + 16..len].fill(0);
        6
    } else {
        put(out, L4 + 4, &p.tcp.1.to_be_bytes());
        put(out, L4 + 8, &p.tcp.2.to_be_bytes());
        put(out, L4 + 12, &[0x50, p.tcp.0, 0x20, 0, 0, 0, 0, 0]);
        out[L4 + 20..len].fill(0);
        16
    };
    let all = sum(&out[L4..len]) + pseudo(p.source.address, p.destination.address, p.protocol, segment);
    let check = match !fold(all) {
        0 if p.protocol == 17 => 0xffff,
        c => c,
    };
    put(out, L4 + at, &check.to_be_bytes());
    len
}

/// Octets of UDP datagram in the first of two fragments, and in the second.
const PIECES: (usize, usize) = (32, 24);

/// One of two fragments of a UDP datagram; gives its length.
pub fn write_fragment(out: &mut [u8], link: &Link, p: &Packet, ip_id: u16, second: bool) -> usize {
    let ends = (p.source.address, p.destination.address);
    let whole = PIECES.0 + PIECES.1;
    if second {
        let len = headers(out, link, ends, 17, PIECES.1, (ip_id, (PIECES.0 / 8) as u16));
        put(out, L4, &p.id.to_be_bytes());
        out[L4 + 8..len.max(SMALLEST)].fill(0);
        return len.max(SMALLEST);
    }
    let len = headers(out, link, ends, 17, PIECES.0, (ip_id, 0x2000));
    put(out, L4, &p.source.port.to_be_bytes());
    put(out, L4 + 2, &p.destination.port.to_be_bytes());
    put(out, L4 + 4, &(whole as u16).to_be_bytes());
    put(out, L4 + 6, &[0, 0]);
    put(out, L4 + 8, &p.id.to_be_bytes());
    out[L4 + 16..len].fill(0);
    // Both pieces hold the number; the rest is zero.
    let all = sum(&out[L4..len]) + sum(&p.id.to_be_bytes()) + pseudo(ends.0, ends.1, 17, whole);
    // 0 would say that there is none (RFC 768).
    let check = match !fold(all) {
        0 => 0xffff,
        c => c,
    };
    put(out, L4 + 6, &check.to_be_bytes());
    len
}

/// ICMP 3/1 from `router` to `to` about `inner`, which is quoted with 28 octets and its number; gives the length.
pub fn write_error(out: &mut [u8], link: &Link, router: Ipv4Addr, to: Ipv4Addr, inner: &Packet) -> usize {
    let mut quoted = [0u8; 128];
    let quoted_len = write(&mut quoted, link, inner) - ETHERNET;
    let len = headers(out, link, (router, to), 1, 8 + quoted_len, (0, 0));
    put(out, L4, &[3, 1, 0, 0, 0, 0, 0, 0]);
    put(out, L4 + 8, &quoted[ETHERNET..ETHERNET + quoted_len]);
    let check = !fold(sum(&out[L4..len]));
    put(out, L4 + 2, &check.to_be_bytes());
    len
}

/// A packet that came out, its checksums found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// To whom the frame is addressed.
    pub mac: MacAddr,
    /// Protocol.
    pub protocol: u8,
    /// From whom; an ICMP error's port is 0.
    pub source: Endpoint,
    /// To whom.
    pub destination: Endpoint,
    /// Time to live.
    pub ttl: u8,
    /// Its number; an ICMP error's, the quoted packet's.
    pub id: u64,
    /// TCP flags.
    pub flags: u8,
    /// An ICMP error: ends of the quoted packet.
    pub quoted: Option<(Endpoint, Endpoint)>,
    /// A fragment: is it the second one?
    pub second: Option<bool>,
}

fn array<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], String> {
    frame
        .get(at..)
        .and_then(|f| f.first_chunk::<N>())
        .copied()
        .ok_or_else(|| format!("a frame of {} octets ends before {at}", frame.len()))
}

fn number(frame: &[u8], at: usize) -> Result<u16, String> {
    array(frame, at).map(u16::from_be_bytes)
}

fn address(frame: &[u8], at: usize) -> Result<Ipv4Addr, String> {
    array::<4>(frame, at).map(Ipv4Addr::from)
}

/// Reads a frame that came out, and checks all its checksums in full.
pub fn read(frame: &[u8]) -> Result<Seen, String> {
    let ip = &array::<20>(frame, ETHERNET)?;
    if number(frame, 12)? != 0x0800 || ip[0] != 0x45 {
        return Err("no plain IPv4 packet".to_owned());
    }
    if fold(sum(ip)) != 0xffff {
        return Err("wrong IP header checksum".to_owned());
    }
    let end = ETHERNET + usize::from(number(frame, 16)?);
    let segment = frame.get(L4..end).ok_or("total length beyond the frame")?;
    let (source, destination) = (address(frame, 26)?, address(frame, 30)?);
    let mut seen = Seen {
        mac: MacAddr(array(frame, 0)?),
        protocol: ip[9],
        source: Endpoint::new(source, 0),
        destination: Endpoint::new(destination, 0),
        ttl: ip[8],
        id: 0,
        flags: 0,
        quoted: None,
        second: None,
    };
    let fragment = number(frame, 20)? & 0x3fff;
    if fragment & 0x1fff != 0 {
        seen.second = Some(true);
        seen.id = u64::from_be_bytes(array(frame, L4)?);
        return Ok(seen);
    }
    let wrong = |what: &str| format!("wrong {what} checksum, {source} to {destination}");
    match seen.protocol {
        1 => {
            if fold(sum(segment)) != 0xffff {
                return Err(wrong("ICMP"));
            }
            let inner = L4 + 8;
            let from = Endpoint::new(address(frame, inner + 12)?, number(frame, inner + 20)?);
            let to = Endpoint::new(address(frame, inner + 16)?, number(frame, inner + 22)?);
            if fold(sum(&array::<20>(frame, inner)?)) != 0xffff {
                return Err(wrong("quoted IP header's"));
            }
            let quoted = segment.get(28..).unwrap_or(&[]);
            if fold(sum(quoted) + pseudo(from.address, to.address, 17, quoted.len())) != 0xffff {
                return Err(wrong("quoted UDP"));
            }
            seen.quoted = Some((from, to));
            seen.id = u64::from_be_bytes(array(frame, inner + 28)?);
        }
        6 | 17 => {
            seen.source.port = number(frame, L4)?;
            seen.destination.port = number(frame, L4 + 2)?;
            let udp = seen.protocol == 17;
            let first = udp && fragment & 0x2000 != 0;
            let len = if first { usize::from(number(frame, L4 + 4)?) } else { segment.len() };
            seen.id = match udp {
                true => u64::from_be_bytes(array(frame, L4 + 8)?),
                false => u64::from(u32::from_be_bytes(array(frame, L4 + 4)?)),
            };
            seen.flags = if udp { 0 } else { array::<1>(frame, L4 + 13)?[0] };
            // The other piece of a datagram holds the number and zeros.
            let elsewhere = if first { sum(&seen.id.to_be_bytes()) } else { 0 };
            let all = sum(segment) + elsewhere + pseudo(source, destination, seen.protocol, len);
            if fold(all) != 0xffff {
                return Err(wrong(if udp { "UDP" } else { "TCP" }));
            }
            seen.second = first.then_some(false);
        }
        other => return Err(format!("protocol {other}")),
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };
    const A: Endpoint = Endpoint::new(Ipv4Addr::new(10, 0, 0, 1), 4000);
    const B: Endpoint = Endpoint::new(Ipv4Addr::new(93, 0, 0, 1), 443);

    #[test]
    fn what_is_written_is_what_wire_reads_too() {
        let mut out = [0u8; 2048];
        for len in [SMALLEST, 590, 1514] {
            let p = Packet { len, ..Packet::udp(A, B, 77) };
            let n = write(&mut out, &LINK, &p);
            let ip = wire::ipv4::parse(&out[..n], ETHERNET, false).unwrap();
            assert_eq!((n, ip.source_port, ip.destination), (len, 4000, B.address));
            let seen = read(&out[..n]).unwrap();
            assert_eq!((seen.id, seen.source, seen.destination), (77, A, B));
        }
        let n = write(&mut out, &LINK, &Packet::tcp(A, B, 2, 5, 0));
        assert_eq!(read(&out[..n]).map(|s| (s.id, s.flags)), Ok((5, 2)));
        let n = write_error(&mut out, &LINK, B.address, A.address, &Packet::udp(A, B, 9));
        assert!(wire::ipv4::parse(&out[..n], ETHERNET, false).is_ok());
        assert_eq!(read(&out[..n]).map(|s| (s.id, s.quoted)), Ok((9, Some((A, B)))));
        for second in [false, true] {
            let n = write_fragment(&mut out, &LINK, &Packet::udp(A, B, 3), 1, second);
            assert!(wire::ipv4::parse(&out[..n], ETHERNET, false).is_ok());
            assert_eq!(read(&out[..n]).map(|s| (s.id, s.second)), Ok((3, Some(second))));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_behind_ethernet_is_seen_but_in_padding() {
        let mut out = [0u8; 64];
        let n = write(&mut out, &LINK, &Packet::udp(A, B, 77));
        for at in ETHERNET..n {
            out[at] ^= 4;
            assert!(read(&out[..n]).is_err(), "octet {at}");
            out[at] ^= 4;
        }
    }
}
