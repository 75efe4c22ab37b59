//! Checksums, written the long way: what the builder and the reference use instead of deltas.

use std::net::Ipv4Addr;

/// The Internet checksum of `bytes` (RFC 1071), word by word.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        sum += u32::from(word);
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !(sum as u16)
}

/// The checksum of a TCP or UDP segment under its pseudo header, as if its own field were zero.
pub fn segment_checksum(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    let mut all = Vec::with_capacity(segment.len() + 12);
    all.extend(source.octets());
    all.extend(destination.octets());
    all.extend([0, protocol]);
    all.extend((segment.len() as u16).to_be_bytes());
    all.extend(segment);
    let at = 12 + checksum_offset(protocol);
    if let Some(field) = all.get_mut(at..at + 2) {
        field.fill(0);
    }
    match checksum(&all) {
        0 if protocol == 17 => 0xffff,
        c => c,
    }
}

/// Where a protocol keeps its checksum: TCP 16, UDP 6, ICMP 2.
pub const fn checksum_offset(protocol: u8) -> usize {
    match protocol {
        6 => 16,
        17 => 6,
        _ => 2,
    }
}

/// Writes the IPv4 header's checksum into `packet`, whose header is `header` octets long.
pub fn seal_header(packet: &mut [u8], header: usize) {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header]).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
}
