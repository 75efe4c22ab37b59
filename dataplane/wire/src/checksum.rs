//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A NAT changes a few words of a header and never the payload: it adds the difference
//! instead of summing the packet again, which also keeps a wrong checksum wrong (end to end).

use std::net::Ipv4Addr;

use crate::Protocol;

/// One's complement sum of `bytes` as big-endian words, unfolded; an odd last octet is padded with zero.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    let (words, rest) = bytes.as_chunks::<4>();
    for w in words {
        total += u64::from(u32::from_be_bytes(*w));
    }
    match *rest {
        [a] => total += u64::from(u16::from_be_bytes([a, 0])) << 16,
        [a, b] => total += u64::from(u16::from_be_bytes([a, b])) << 16,
        [a, b, c] => total += u64::from(u32::from_be_bytes([a, b, c, 0])),
        _ => {}
    }
    total
}

/// Folds a sum to 16 bits.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    let s = (sum >> 32) + (sum & 0xffff_ffff);
    let s = (s >> 16) + (s & 0xffff);
    let s = (s >> 16) + (s & 0xffff);
    let s = (s >> 16) + (s & 0xffff);
    s as u16
}

/// The checksum of `bytes`, whose checksum field is zero or left out.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// Is the checksum inside `bytes` right?
#[inline]
pub fn is_valid(bytes: &[u8]) -> bool {
    fold(sum(bytes)) == 0xffff
}

/// Sum of the pseudo header (RFC 768, RFC 9293 §3.1); `length` in octets of header and data.
#[inline]
pub fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, length: u16) -> u64 {
    u64::from(source.to_bits()) + u64::from(destination.to_bits()) + u64::from(protocol.0) + u64::from(length)
}

/// Checksum of a transport segment (its checksum field zero) with its pseudo header. A UDP
/// checksum that comes out as 0 is sent as 0xffff (RFC 768).
pub fn transport(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let c = !fold(pseudo_header(source, destination, protocol, length) + sum(segment));
    if protocol == Protocol::UDP && c == 0 { 0xffff } else { c }
}

/// What a change of header words adds to a checksum: the folded sum of `~old + new` (RFC 1624 eqn 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Delta(pub u16);

impl Delta {
    /// No change.
    pub const NONE: Delta = Delta(0);

    /// Adds a change of one 16-bit word.
    #[inline]
    #[must_use]
    pub const fn replace16(self, old: u16, new: u16) -> Delta {
        Delta(fold(self.0 as u64 + (!old) as u64 + new as u64))
    }

    /// Adds a change of one 32-bit word.
    #[inline]
    #[must_use]
    pub const fn replace32(self, old: u32, new: u32) -> Delta {
        Delta(fold(self.0 as u64 + (!old) as u64 + new as u64))
    }

    /// Adds a change of an address.
    #[inline]
    #[must_use]
    pub const fn replace_address(self, old: Ipv4Addr, new: Ipv4Addr) -> Delta {
        self.replace32(old.to_bits(), new.to_bits())
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Delta) -> Delta {
        Delta(fold(self.0 as u64 + other.0 as u64))
    }

    /// The change back.
    #[inline]
    #[must_use]
    pub const fn inverse(self) -> Delta {
        Delta(!self.0)
    }

    /// The checksum after the change: `HC' = ~(~HC + ~m + m')`.
    #[inline]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold((!checksum) as u64 + self.0 as u64)
    }

    /// The same for UDP: 0 means "none" and stays; a result of 0 is written 0xffff (RFC 768).
    #[inline]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            c => c,
        }
    }

    /// Applies it to the big-endian checksum at `at` in `frame`; false if it lies beyond the end.
    #[inline]
    pub fn apply_at(self, frame: &mut [u8], at: usize) -> bool {
        let Some(field) = frame.get_mut(at..).and_then(|f| f.first_chunk_mut::<2>()) else { return false };
        *field = self.apply(u16::from_be_bytes(*field)).to_be_bytes();
        true
    }

    /// The same by UDP's rules.
    #[inline]
    pub fn apply_udp_at(self, frame: &mut [u8], at: usize) -> bool {
        let Some(field) = frame.get_mut(at..).and_then(|f| f.first_chunk_mut::<2>()) else { return false };
        *field = self.apply_udp(u16::from_be_bytes(*field)).to_be_bytes();
        true
    }
}
