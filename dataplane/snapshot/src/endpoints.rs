//! The endpoints that balanced flows are answered from.
//!
//! Every packet from inside asks whether its source is one, so the answer is one look-up in a
//! flat table. Several services may share a backend: endpoints are counted. A snapshot takes
//! over its predecessor's table, which is cut into shards, and copies only shards that change.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::{Endpoint, Protocol};

use crate::flat::FlatMap;
use crate::keys;
use crate::service::{BalancedService, Served};

/// Few enough that taking all over costs nothing, enough that a copied one is small.
const SHARDS: usize = 64;

/// Endpoints of all backends, draining ones too. Immutable once published.
#[derive(Clone, Debug)]
pub struct BackendSet {
    /// How many services have the endpoint, by the upper bits of the key's hash.
    exact: [Arc<FlatMap<u32>>; SHARDS],
    /// Where a service keeps the port: ranges by protocol and address, with their count.
    ranges: BTreeMap<u64, Vec<(u16, u16, u32)>>,
}

impl Default for BackendSet {
    fn default() -> Self {
        let empty = Arc::new(FlatMap::default());
        BackendSet { exact: std::array::from_fn(|_| Arc::clone(&empty)), ranges: BTreeMap::new() }
    }
}

/// The shard of a key. Another multiplier than that of the shard's own hash, or its keys would crowd.
#[inline]
fn shard(key: u64) -> usize {
    ((key ^ (key >> 29)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 58) as usize
}

impl BackendSet {
    /// Is `endpoint` one that a balanced flow may be answered from?
    #[inline]
    pub fn contains(&self, protocol: Protocol, endpoint: Endpoint) -> bool {
        let key = keys::endpoint(protocol, endpoint);
        if self.exact[shard(key)].find(key).is_some() {
            return true;
        }
        !self.ranges.is_empty() && self.in_range(protocol, endpoint)
    }

    fn in_range(&self, protocol: Protocol, endpoint: Endpoint) -> bool {
        let ranges = self.ranges.get(&keys::host(protocol, endpoint.address));
        ranges.is_some_and(|all| all.iter().any(|&(first, last, _)| (first..=last).contains(&endpoint.port)))
    }

    /// Adds every endpoint of a service.
    pub(crate) fn add(&mut self, service: &BalancedService) {
        service.each_endpoint(|protocol, address, served| match served {
            Served::Port(port) => {
                let key = keys::endpoint(protocol, Endpoint::new(address, port));
                *Arc::make_mut(&mut self.exact[shard(key)]).entry(key) += 1;
            }
            Served::Range(first, last) => {
                let all = self.ranges.entry(keys::host(protocol, address)).or_default();
                match all.iter_mut().find(|r| (r.0, r.1) == (first, last)) {
                    Some(known) => known.2 += 1,
                    None => all.push((first, last, 1)),
                }
            }
        });
    }

    /// Takes every endpoint of a service out, which was added before.
    pub(crate) fn subtract(&mut self, service: &BalancedService) {
        service.each_endpoint(|protocol, address, served| match served {
            Served::Port(port) => {
                let key = keys::endpoint(protocol, Endpoint::new(address, port));
                let exact = Arc::make_mut(&mut self.exact[shard(key)]);
                let left = exact.entry(key);
                *left = left.saturating_sub(1);
                if *left == 0 {
                    exact.remove(key);
                }
            }
            Served::Range(first, last) => {
                let key = keys::host(protocol, address);
                let Some(all) = self.ranges.get_mut(&key) else { return };
                if let Some(known) = all.iter_mut().find(|r| (r.0, r.1) == (first, last)) {
                    known.2 = known.2.saturating_sub(1);
                }
                all.retain(|r| r.2 > 0);
                if all.is_empty() {
                    self.ranges.remove(&key);
                }
            }
        });
    }

    /// Is it the other's contents, taken over? False tells nothing.
    pub fn is_taken_over(&self, other: &BackendSet) -> bool {
        self.exact.iter().zip(&other.exact).all(|(a, b)| Arc::ptr_eq(a, b)) && self.ranges == other.ranges
    }

    /// How many endpoints with one port there are.
    pub fn len(&self) -> usize {
        self.exact.iter().map(|shard| shard.len()).sum()
    }

    /// Are there no endpoints at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.ranges.is_empty()
    }
}
