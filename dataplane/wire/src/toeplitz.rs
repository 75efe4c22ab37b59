//! The Toeplitz hash of receive-side scaling: it names a flow's owner.
//!
//! The owner function is the hash a NIC can compute itself, so that a device which hashes the
//! source alone delivers packets at home. Tables for the default key make it one look-up an octet.

use std::net::Ipv4Addr;

use crate::Protocol;

/// The default key of the Microsoft RSS specification.
pub const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Octets of input that the tables cover: two addresses and two ports.
const COVERED: usize = 12;

static TABLE: [[u32; 256]; COVERED] = tables();

/// The 32 bits of the key that start at bit `at`.
const fn window(at: usize) -> u32 {
    let (byte, bit) = (at / 8, at % 8);
    let mut w = 0u64;
    let mut i = 0;
    while i < 5 {
        let k = if byte + i < KEY.len() { KEY[byte + i] } else { 0 };
        w = (w << 8) | k as u64;
        i += 1;
    }
    (w >> (8 - bit)) as u32
}

const fn tables() -> [[u32; 256]; COVERED] {
    let mut t = [[0u32; 256]; COVERED];
    let mut position = 0;
    while position < COVERED {
        let mut value = 0;
        while value < 256 {
            let mut bit = 0;
            while bit < 8 {
                if value & (0x80 >> bit) != 0 {
                    t[position][value] ^= window(position * 8 + bit);
                }
                bit += 1;
            }
            value += 1;
        }
        position += 1;
    }
    t
}

/// Hash of up to 36 octets, bit by bit: the definition. Octets beyond are not hashed.
pub fn hash(input: &[u8]) -> u32 {
    let mut h = 0;
    for (i, byte) in input.iter().take(KEY.len() - 4).enumerate() {
        for bit in 0..8 {
            if byte & (0x80 >> bit) != 0 {
                h ^= window(i * 8 + bit);
            }
        }
    }
    h
}

#[inline]
fn word(position: usize, value: u32) -> u32 {
    let [a, b, c, d] = value.to_be_bytes();
    TABLE[position][a as usize]
        ^ TABLE[position + 1][b as usize]
        ^ TABLE[position + 2][c as usize]
        ^ TABLE[position + 3][d as usize]
}

/// Hash of one address: the owner of an inside host's egress.
#[inline]
pub fn address(address: Ipv4Addr) -> u32 {
    word(0, address.to_bits())
}

/// Hash of an address followed by a port: the owner of a balanced flow.
#[inline]
pub fn endpoint(address: Ipv4Addr, port: u16) -> u32 {
    let [a, b] = port.to_be_bytes();
    word(0, address.to_bits()) ^ TABLE[4][a as usize] ^ TABLE[5][b as usize]
}

/// Hash of three 32-bit words in network order (a whole IPv4 tuple: source, destination, ports).
#[inline]
pub fn words(input: [u32; 3]) -> u32 {
    word(0, input[0]) ^ word(4, input[1]) ^ word(8, input[2])
}

/// Hash of what a datagram's fragments share (RFC 791 §3.2): the worker where they meet.
#[inline]
pub fn fragment(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, id: u16) -> u32 {
    words([source.to_bits(), destination.to_bits(), (u32::from(protocol.0) << 16) | u32::from(id)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verification suite of the RSS specification: destination, source, hash of the
    /// addresses, hash with ports.
    const SUITE: [(Ipv4Addr, u16, Ipv4Addr, u16, u32, u32); 5] = [
        (
            Ipv4Addr::new(161, 142, 100, 80),
            1766,
            Ipv4Addr::new(66, 9, 149, 187),
            2794,
            0x323e8fc2,
            0x51ccc178,
        ),
        (Ipv4Addr::new(65, 69, 140, 83), 4739, Ipv4Addr::new(199, 92, 111, 2), 14230, 0xd718262a, 0xc626b0ea),
        (
            Ipv4Addr::new(12, 22, 207, 184),
            38024,
            Ipv4Addr::new(24, 19, 198, 95),
            12898,
            0xd2d0a5de,
            0x5c2b394a,
        ),
        (
            Ipv4Addr::new(209, 142, 163, 6),
            2217,
            Ipv4Addr::new(38, 27, 205, 30),
            48228,
            0x82989176,
            0xafc7327f,
        ),
        (
            Ipv4Addr::new(202, 188, 127, 2),
            1303,
            Ipv4Addr::new(153, 39, 163, 191),
            44251,
            0x5d1809c5,
            0x10e828a2,
        ),
    ];

    fn octets(src: Ipv4Addr, dst: Ipv4Addr, ports: Option<(u16, u16)>) -> Vec<u8> {
        let mut v = [src.octets(), dst.octets()].concat();
        if let Some((s, d)) = ports {
            v.extend(s.to_be_bytes());
            v.extend(d.to_be_bytes());
        }
        v
    }

    #[test]
    fn the_rss_verification_suite_holds() {
        for (dst, dport, src, sport, addresses, all) in SUITE {
            assert_eq!(hash(&octets(src, dst, None)), addresses);
            assert_eq!(hash(&octets(src, dst, Some((sport, dport)))), all);
            assert_eq!(words([src.to_bits(), dst.to_bits(), u32::from(sport) << 16 | u32::from(dport)]), all);
        }
    }

    #[test]
    fn the_tables_agree_with_the_definition() {
        for (a, p, b, ..) in SUITE {
            assert_eq!(address(a), hash(&a.octets()));
            assert_eq!(endpoint(a, p), hash(&[&a.octets()[..], &p.to_be_bytes()].concat()));
            let fragments = [&octets(a, b, None)[..], &[0, 17], &p.to_be_bytes()].concat();
            assert_eq!(fragment(a, b, Protocol::UDP, p), hash(&fragments));
        }
    }
}
