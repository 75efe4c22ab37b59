//! Translation of a packet by writing the new words and summing everything again.

use std::net::Ipv4Addr;

use wire::{Embedded, EmbeddedTransport, Ipv4, Transport, Tuple};

use crate::naive;

/// The checksum that stands after a change of the summed words from `before` to `after` (whole
/// checksums): right stays right, and one that was wrong stays wrong by as much.
fn carried(old: u16, before: u16, after: u16) -> u16 {
    let error = u32::from(!old) + u32::from(before);
    let sum = (u32::from(!after) + error) % 65_535;
    if sum == 0 { 0 } else { !(sum as u16) }
}

fn set(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Checksum of a transport segment or ICMP message as if its own field (at `field`) were zero.
fn whole(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    if protocol != 1 {
        return naive::segment_checksum(source, destination, protocol, segment);
    }
    let mut s = segment.to_vec();
    set(&mut s, 2, 0);
    naive::checksum(&s)
}

/// Writes new ends into the segment `packet[l4..end]`, whose IP addresses are still the old ones.
/// `checksum` says whether it has one within reach.
fn ends(
    packet: &mut [u8],
    (l4, end): (usize, usize),
    protocol: u8,
    old: &Tuple,
    new: &Tuple,
    checksum: bool,
) {
    let before =
        checksum.then(|| whole(old.source.address, old.destination.address, protocol, &packet[l4..end]));
    if protocol == 1 {
        set(packet, l4 + 4, new.source.port);
    } else {
        set(packet, l4, new.source.port);
        set(packet, l4 + 2, new.destination.port);
    }
    let Some(before) = before else { return };
    let after = whole(new.source.address, new.destination.address, protocol, &packet[l4..end]);
    let at = l4 + naive::checksum_offset(protocol);
    let sum = carried(word(packet, at), before, after);
    set(packet, at, if protocol == 17 && sum == 0 { 0xffff } else { sum });
}

/// Writes addresses (and the TTL) into the header at `l3` and sums it again.
fn addresses(packet: &mut [u8], l3: usize, l4: usize, source: Ipv4Addr, destination: Ipv4Addr) {
    packet[l3 + 12..l3 + 16].copy_from_slice(&source.octets());
    packet[l3 + 16..l3 + 20].copy_from_slice(&destination.octets());
    naive::seal_header(&mut packet[l3..], l4 - l3);
}

/// Lowers the TTL and sums the header again.
pub(super) fn lower_ttl(packet: &mut [u8], ip: &Ipv4) {
    let l3 = usize::from(ip.l3);
    packet[l3 + 8] -= 1;
    naive::seal_header(&mut packet[l3..], usize::from(ip.l4 - ip.l3));
}

/// Translates `packet` (any but an ICMP error) from `old` to `new`.
pub(super) fn translate(packet: &mut [u8], ip: &Ipv4, old: &Tuple, new: &Tuple) {
    let segment = (usize::from(ip.l4), usize::from(ip.end));
    match ip.l4_kind {
        Transport::Tcp(_) | Transport::Echo { .. } => ends(packet, segment, ip.protocol.0, old, new, true),
        Transport::Udp { checksum_zero } => ends(packet, segment, 17, old, new, !checksum_zero),
        _ => {}
    }
    addresses(packet, usize::from(ip.l3), usize::from(ip.l4), new.source.address, new.destination.address);
}

/// Translates an ICMP error that goes the way `old` to `new` about the packet `inner`, which
/// went the other way.
pub(super) fn translate_error(packet: &mut [u8], ip: &Ipv4, inner: &Embedded, old: &Tuple, new: &Tuple) {
    let quoted = (usize::from(inner.l4), usize::from(inner.end));
    let (was, is) = (old.reversed(), new.reversed());
    let checksum = inner.l4_checksum_at.is_some();
    match inner.transport {
        EmbeddedTransport::Tcp => ends(packet, quoted, 6, &was, &is, checksum),
        EmbeddedTransport::Udp { .. } => ends(packet, quoted, 17, &was, &is, checksum),
        EmbeddedTransport::Echo { .. } => ends(packet, quoted, 1, &was, &is, checksum),
        _ => {}
    }
    let (l3, l4) = (usize::from(inner.l3), usize::from(inner.l4));
    addresses(packet, l3, l4, is.source.address, is.destination.address);
    let (icmp, end) = (usize::from(ip.l4), usize::from(ip.end));
    set(packet, icmp + 2, 0);
    let sum = naive::checksum(&packet[icmp..end]);
    set(packet, icmp + 2, sum);
    // A router's own address is seen as it is, unless this way hides sources (RFC 5508 REQ-5c).
    let source = if old.source.address == new.source.address { ip.source } else { new.source.address };
    addresses(packet, usize::from(ip.l3), icmp, source, new.destination.address);
}

/// Carries a TCP checksum at `at` over a change of what it sums.
pub(super) fn carry(packet: &mut [u8], at: usize, before: u16, after: u16) {
    let sum = carried(word(packet, at), before, after);
    set(packet, at, sum);
}
