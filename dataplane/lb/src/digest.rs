//! The hash functions of the look-up table, fixed for good: gateways of different versions that
//! serve one VIP must agree, and the reference model writes them anew from this text.
//!
//! - `mix(x)` is the finaliser of SplitMix64: `x ^= x >> 30; x *= 0xbf58476d1ce4e5b9;
//!   x ^= x >> 27; x *= 0x94d049bb133111eb; x ^= x >> 31`, all modulo 2^64.
//! - `digest(seed, words)`: `h = seed`; for each word `w`: `h = mix((h + 0x9e3779b97f4a7c15) ^ w)`,
//!   the sum modulo 2^64; the result is `h`.
//! - An address is two words: the upper and the lower half of its 128 bits; an IPv4 address
//!   counts as its IPv4-mapped IPv6 address `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2), so the
//!   upper word is 0 and the lower `0xffff_0000_0000 | address`.
//! - A backend's words are its address and its own port (0 where it has none of its own).
//!   `offset = digest(OFFSET_SEED, backend) mod M`,
//!   `skip = digest(SKIP_SEED, backend) mod (M - 1) + 1`.
//! - A flow's words without affinity are the client's address, the VIP's address, and
//!   `protocol << 32 | client port << 16 | VIP port`; its slot is
//!   `digest(FLOW_SEED, words) mod M`.
//! - With affinity by client address they are the client's address alone, and the slot is
//!   `digest(CLIENT_SEED, words) mod M`.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{Endpoint, Family, Protocol, V4, V6};

/// Seed of `offset`: "offset" in ASCII.
pub const OFFSET_SEED: u64 = 0x6f66_6673_6574;
/// Seed of `skip`: "skip" in ASCII.
pub const SKIP_SEED: u64 = 0x736b_6970;
/// Seed of a flow's slot: "flow" in ASCII.
pub const FLOW_SEED: u64 = 0x666c_6f77;
/// Seed of a client's slot: "client" in ASCII.
pub const CLIENT_SEED: u64 = 0x636c_6965_6e74;

/// A family whose flows can be balanced.
pub trait Balanced: Family {
    /// The address's 128 bits as it is hashed.
    fn bits(address: Self::Addr) -> u128;
}

impl Balanced for V4 {
    #[inline]
    fn bits(address: Ipv4Addr) -> u128 {
        0xffff_0000_0000 | u128::from(address.to_bits())
    }
}

impl Balanced for V6 {
    #[inline]
    fn bits(address: Ipv6Addr) -> u128 {
        address.to_bits()
    }
}

/// What of a client's packet to a VIP decides about its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow<F: Family = V4> {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who asks.
    pub client: Endpoint<F>,
    /// Who is asked.
    pub vip: Endpoint<F>,
}

impl<F: Balanced> Flow<F> {
    /// Hash of the whole flow.
    #[inline]
    pub fn digest(&self) -> u64 {
        let [ch, cl] = halves(F::bits(self.client.address));
        let [vh, vl] = halves(F::bits(self.vip.address));
        let ports =
            u64::from(self.protocol.0) << 32 | u64::from(self.client.port) << 16 | u64::from(self.vip.port);
        digest(FLOW_SEED, [ch, cl, vh, vl, ports])
    }

    /// Hash of the client's address alone.
    #[inline]
    pub fn client_digest(&self) -> u64 {
        digest(CLIENT_SEED, halves(F::bits(self.client.address)))
    }
}

/// Upper and lower word of an address.
#[inline]
pub(crate) const fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

/// Finaliser of SplitMix64: every bit of the result depends on every bit of `x`.
#[inline]
pub const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hash of `words` under `seed`; the order counts.
#[inline]
pub fn digest<const N: usize>(seed: u64, words: [u64; N]) -> u64 {
    words.iter().fold(seed, |h, w| mix(h.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ w))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(client: &str, port: u16) -> Flow {
        Flow {
            protocol: Protocol::TCP,
            client: Endpoint::new(client.parse().unwrap(), port),
            vip: Endpoint::new(Ipv4Addr::new(203, 0, 113, 10), 80),
        }
    }

    #[test]
    fn the_mix_is_that_of_splitmix64() {
        // First three outputs of SplitMix64 seeded with 0, as its author publishes them.
        let golden = 0x9e37_79b9_7f4a_7c15u64;
        assert_eq!(mix(golden), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(golden.wrapping_mul(2)), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(mix(golden.wrapping_mul(3)), 0x06c4_5d18_8009_454f);
    }

    #[test]
    fn the_client_alone_decides_its_own_hash() {
        assert_eq!(flow("192.0.2.1", 1).client_digest(), flow("192.0.2.1", 2).client_digest());
        assert_ne!(flow("192.0.2.1", 1).client_digest(), flow("192.0.2.2", 1).client_digest());
        assert_ne!(flow("192.0.2.1", 1).digest(), flow("192.0.2.1", 2).digest());
    }

    #[test]
    fn an_ipv4_address_hashes_as_its_mapped_ipv6_address() {
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(V4::bits(Ipv4Addr::new(192, 0, 2, 1)), V6::bits(mapped));
    }
}
