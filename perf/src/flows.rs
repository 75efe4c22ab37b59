//! Numbers to endpoints: flow n is a function of n, so that the generator touches no memory.

use std::net::Ipv4Addr;

use wire::Endpoint;

use crate::draw::mix;

/// Flows of one inside host: half of a port block of 512.
pub const PER_SUBSCRIBER: u64 = 256;
/// Services of the balanced loads.
pub const VIPS: u64 = 1000;
/// Backends of each.
pub const BACKENDS: u64 = 100;
/// Port of every VIP and of its backends.
pub const VIP_PORT: u16 = 443;
/// What backends listen on.
pub const BACKEND_PORT: u16 = 8443;

const INSIDE: u32 = u32::from_be_bytes([10, 0, 1, 0]);
const REMOTE: u32 = u32::from_be_bytes([93, 0, 0, 0]);
const VIP: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const BACKEND: u32 = u32::from_be_bytes([10, 128, 0, 0]);
const POOL: u32 = u32::from_be_bytes([203, 0, 0, 0]);

/// The two ends of a flow, as its first packet names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who sends the first packet.
    pub source: Endpoint,
    /// To whom.
    pub destination: Endpoint,
}

/// Inside host `n`.
pub fn host(n: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(INSIDE + n as u32)
}

/// One of 1,024 remote servers.
pub fn remote(n: u64) -> Endpoint {
    Endpoint::new(Ipv4Addr::from_bits(REMOTE + ((mix(n) as u32 & 0x3ff) << 8) + 1), 443)
}

/// Flow `n` from inside: [`PER_SUBSCRIBER`] flows a host, each from a port of its own.
pub fn egress(n: u64) -> Flow {
    let (subscriber, k) = (n / PER_SUBSCRIBER, n % PER_SUBSCRIBER);
    let source = Endpoint::new(host(subscriber), source_port(k));
    Flow { source, destination: remote(n) }
}

/// Port of a host's `k`-th flow; no two of the first 40,000 are alike.
pub const fn source_port(k: u64) -> u16 {
    20_000 + (k * 157 % 40_000) as u16
}

/// Hosts that `flows` flows come from.
pub const fn subscribers(flows: u64) -> u64 {
    flows.div_ceil(PER_SUBSCRIBER)
}

/// Flow `n` from a remote client to one of the VIPs.
pub fn balanced(n: u64) -> Flow {
    let client = Ipv4Addr::from_bits(REMOTE + 0x0100_0000 + (n / 1024) as u32);
    Flow { source: Endpoint::new(client, 30_000 + (n % 1024) as u16), destination: vip(mix(n) % VIPS) }
}

/// VIP `n`.
pub fn vip(n: u64) -> Endpoint {
    Endpoint::new(Ipv4Addr::from_bits(VIP + n as u32 + 1), VIP_PORT)
}

/// Backend `k` of VIP `n`.
pub fn backend(n: u64, k: u64) -> Endpoint {
    Endpoint::new(Ipv4Addr::from_bits(BACKEND + (n * BACKENDS + k) as u32), BACKEND_PORT)
}

/// Is this a backend of that VIP?
pub fn is_backend_of(endpoint: Endpoint, vip: Endpoint) -> bool {
    let n = u64::from(vip.address.to_bits().wrapping_sub(VIP + 1));
    let at = u64::from(endpoint.address.to_bits().wrapping_sub(BACKEND));
    endpoint.port == BACKEND_PORT && n < VIPS && at / BACKENDS == n
}

/// Address `n` of the pool.
pub fn pool_address(n: u64) -> Ipv4Addr {
    Ipv4Addr::from_bits(POOL + n as u32)
}

/// Is it one of the pool's first `addresses`?
pub fn in_pool(address: Ipv4Addr, addresses: u64) -> bool {
    u64::from(address.to_bits().wrapping_sub(POOL)) < addresses
}

/// A number below 2^`bits` that no other `n` below that gives: neighbours come far apart.
pub const fn scatter(n: u64, bits: u32) -> u64 {
    let mask = (1u64 << bits) - 1;
    let half = bits / 2;
    let mut x = n & mask;
    x = x.wrapping_mul(0x9e37_79b1) & mask;
    x ^= x >> half;
    x = x.wrapping_mul(0x85eb_ca6b) & mask;
    x ^ (x >> half)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_flows_are_alike() {
        let all: HashSet<_> = (0..50_000u64).map(|n| egress(n).source).collect();
        assert_eq!(all.len(), 50_000);
        let all: HashSet<_> = (0..50_000u64).map(|n| balanced(n).source).collect();
        assert_eq!(all.len(), 50_000);
        let all: HashSet<_> = (0..1u64 << 16).map(|n| scatter(n, 16)).collect();
        assert_eq!(all.len(), 1 << 16);
    }
}
