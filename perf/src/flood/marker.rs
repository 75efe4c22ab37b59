//! The mark in a packet's payload, by which it is known again whatever NAT made of its headers:
//! whose it is, of which flow, which one, and when it went. 18 octets: all that a 64-octet frame
//! of UDP has.

use crate::flows::Flow;
use crate::frame::{self, ETHERNET, Link, Packet};
use wire::Endpoint;

/// Octets of a marker.
pub const OCTETS: usize = 18;
const IP: usize = ETHERNET;
const UDP: usize = IP + 20;
const AT: usize = UDP + 8;

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Of which trial of which generator: stragglers of the one before are none of this one's.
    pub stamp: u32,
    /// Its flow.
    pub flow: u32,
    /// Which packet of the trial, the lower 32 bits.
    pub number: u32,
    /// When it was given to the device, ns from the trial's start; 78 hours hold.
    pub sent: u64,
}

impl Marker {
    fn octets(&self) -> [u8; OCTETS] {
        let mut octets = [0; OCTETS];
        octets[..4].copy_from_slice(&self.stamp.to_be_bytes());
        octets[4..8].copy_from_slice(&self.flow.to_be_bytes());
        octets[8..12].copy_from_slice(&self.number.to_be_bytes());
        octets[12..].copy_from_slice(&self.sent.to_be_bytes()[2..]);
        octets
    }

    /// Reads the marker of a frame: of an unfragmented UDP packet without IP options. Checks nothing else.
    #[inline]
    pub fn read(frame: &[u8]) -> Option<Marker> {
        let head = frame.first_chunk::<AT>()?;
        let fragment = u16::from_be_bytes([head[IP + 6], head[IP + 7]]) & 0x3fff;
        if head[12..15] != [8, 0, 0x45] || head[IP + 9] != 17 || fragment != 0 {
            return None;
        }
        let m = frame.get(AT..)?.first_chunk::<OCTETS>()?;
        let word = |at: usize| u32::from_be_bytes([m[at], m[at + 1], m[at + 2], m[at + 3]]);
        let sent = u64::from_be_bytes([0, 0, m[12], m[13], m[14], m[15], m[16], m[17]]);
        Some(Marker { stamp: word(0), flow: word(4), number: word(8), sent })
    }
}

/// A frame of one length that lacks its addresses, ports and marker, and the sums of what it has:
/// so a long packet costs a copy and not a sum.
#[derive(Debug)]
pub struct Template {
    frame: Vec<u8>,
    ip: u64,
    udp: u64,
}

impl Template {
    /// Frames of `len` octets without FCS, at least [`frame::SMALLEST`].
    pub fn new(len: usize, link: &Link) -> Self {
        let nobody = Endpoint::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        let mut octets = vec![0; len];
        frame::write(&mut octets, link, &Packet { len, ..Packet::udp(nobody, nobody, 0) });
        let sum_at = |at: usize| u64::from(!u16::from_be_bytes([octets[at], octets[at + 1]]));
        let (ip, udp) = (sum_at(IP + 10), sum_at(UDP + 6));
        Template { frame: octets, ip, udp }
    }

    /// Octets of its frames.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Never: a frame has headers.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// Writes a packet of `flow`. False, and nothing done, where `out` is of another length.
    #[inline]
    pub fn write(&self, out: &mut [u8], flow: &Flow, marker: &Marker) -> bool {
        if out.len() != self.frame.len() {
            return false;
        }
        out.copy_from_slice(&self.frame);
        let (source, destination) = (flow.source, flow.destination);
        frame::put(out, IP + 12, &source.address.octets());
        frame::put(out, IP + 16, &destination.address.octets());
        frame::put(out, UDP, &source.port.to_be_bytes());
        frame::put(out, UDP + 2, &destination.port.to_be_bytes());
        let mark = marker.octets();
        frame::put(out, AT, &mark);
        let addresses = frame::sum(&out[IP + 12..IP + 20]);
        let ip = !frame::fold(self.ip + addresses);
        frame::put(out, IP + 10, &ip.to_be_bytes());
        let ports = u64::from(source.port) + u64::from(destination.port);
        // 0 would say that there is none (RFC 768).
        let udp = match !frame::fold(self.udp + addresses + ports + frame::sum(&mark)) {
            0 => 0xffff,
            sum => sum,
        };
        frame::put(out, UDP + 6, &udp.to_be_bytes());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::mix;
    use wire::MacAddr;

    const LINK: Link = Link { source: MacAddr([2; 6]), destination: MacAddr([4; 6]) };

    fn marker(n: u64) -> Marker {
        let (a, b) = (mix(n), mix(n ^ 0xff));
        Marker { stamp: a as u32, flow: (a >> 32) as u32, number: b as u32, sent: b >> 16 }
    }

    #[test]
    fn a_marked_packet_has_right_checksums_at_every_size_and_is_read_back() {
        for len in [60, 61, 127, 590, 1514] {
            let template = Template::new(len, &LINK);
            let mut out = vec![0xaa; len];
            for n in 0..500 {
                let flow = crate::flows::egress(n * 977);
                assert!(template.write(&mut out, &flow, &marker(n)));
                let seen = frame::read(&out).unwrap();
                assert_eq!(
                    (seen.source, seen.destination, seen.mac),
                    (flow.source, flow.destination, LINK.destination)
                );
                assert_eq!(Marker::read(&out), Some(marker(n)));
            }
            assert!(!template.write(&mut out[1..], &crate::flows::egress(0), &marker(0)));
        }
    }

    #[test]
    fn other_frames_carry_no_marker() {
        let mut out = [0u8; 60];
        assert!(Template::new(60, &LINK).write(&mut out, &crate::flows::egress(3), &marker(1)));
        for cut in 0..60 {
            assert_eq!(Marker::read(&out[..cut]), None, "{cut}");
        }
        // ARP, IPv4 with options, TCP, a fragment.
        for (at, octet) in [(13, 6), (14, 0x46), (23, 6), (20, 0x20), (21, 1)] {
            let mut other = out;
            other[at] = octet;
            assert_eq!(Marker::read(&other), None, "octet {at}");
        }
    }
}
