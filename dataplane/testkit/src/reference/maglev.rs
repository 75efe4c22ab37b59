//! Maglev's look-up table, built naively from the text of the paper and of the hash functions.

use std::net::{IpAddr, Ipv4Addr};

use model::{Affinity, BackendState, LoadBalancer};
use wire::{Endpoint, Protocol};

/// The table sizes, smallest first.
const SIZES: [u64; 11] =
    [1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_537, 131_071, 262_139, 524_287, 1_048_573];

fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `seed` is spelled: its ASCII octets are the number.
fn digest(seed: &str, words: &[u64]) -> u64 {
    let mut h = seed.bytes().fold(0, |n, b| n << 8 | u64::from(b));
    for w in words {
        h = mix(h.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ w);
    }
    h
}

/// Lower word of the address as IPv4-mapped IPv6; its upper word is 0.
fn mapped(address: Ipv4Addr) -> u64 {
    0xffff_0000_0000 | u64::from(address.to_bits())
}

/// Which backend each slot leads to, as a place in the object's list; `None` slots never: empty without backends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(Vec<usize>);

impl Table {
    /// The table of a service whose backends are all healthy.
    pub(super) fn new(object: &LoadBalancer) -> Table {
        let mut members: Vec<(Ipv4Addr, u16, u64, usize)> = Vec::new();
        for (at, b) in object.backends.iter().enumerate() {
            let IpAddr::V4(address) = b.address else { continue };
            if b.state == BackendState::Active && b.weight > 0 {
                members.push((address, b.port.unwrap_or(0), u64::from(b.weight), at));
            }
        }
        members.sort_unstable();
        if members.is_empty() {
            return Table::default();
        }
        let least = object.backends.len() as u64 * 200;
        let fitting = SIZES.into_iter().find(|s| *s >= least).unwrap_or(SIZES[10]);
        let size = object.table_size.map_or(fitting, u64::from);
        let largest = members.iter().map(|m| m.2).max().unwrap_or(1);
        let mut slots: Vec<Option<usize>> = vec![None; size as usize];
        let mut next = vec![0u64; members.len()];
        let mut credit = vec![0u64; members.len()];
        let mut filled = 0;
        loop {
            for (i, (address, port, weight, at)) in members.iter().enumerate() {
                credit[i] += weight;
                if credit[i] < largest {
                    continue;
                }
                credit[i] -= largest;
                let words = [0, mapped(*address), u64::from(*port)];
                let offset = digest("offset", &words) % size;
                let skip = digest("skip", &words) % (size - 1) + 1;
                loop {
                    let slot = ((offset + next[i] * skip) % size) as usize;
                    next[i] += 1;
                    if slots[slot].is_none() {
                        slots[slot] = Some(*at);
                        break;
                    }
                }
                filled += 1;
                if filled == size {
                    return Table(slots.into_iter().flatten().collect());
                }
            }
        }
    }

    /// The backend of a flow, as a place in the object's list.
    pub(super) fn choose(
        &self,
        affinity: Affinity,
        protocol: Protocol,
        client: Endpoint,
        vip: Endpoint,
    ) -> Option<usize> {
        let hash = match affinity {
            Affinity::ClientAddress => digest("client", &[0, mapped(client.address)]),
            Affinity::None => {
                let ports = u64::from(protocol.0) << 32 | u64::from(client.port) << 16 | u64::from(vip.port);
                digest("flow", &[0, mapped(client.address), 0, mapped(vip.address), ports])
            }
        };
        self.0.get((hash % (self.0.len() as u64).max(1)) as usize).copied()
    }
}
