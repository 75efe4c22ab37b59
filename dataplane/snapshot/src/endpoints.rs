//! The endpoints that balanced flows are answered from.
//!
//! Every packet from inside asks whether its source is one, so the answer is one look-up in a
//! flat table. Several services may share a backend: endpoints are counted, and a snapshot
//! takes over its predecessor's table and changes only what changed.

use std::collections::BTreeMap;

use wire::{Endpoint, Protocol};

use crate::flat::FlatMap;
use crate::keys;
use crate::service::{BalancedService, Served};

/// Endpoints of all backends, draining ones too. Immutable once published.
#[derive(Clone, Debug, Default)]
pub struct BackendSet {
    /// How many services have the endpoint.
    exact: FlatMap<u32>,
    /// Where a service keeps the port: ranges by protocol and address, with their count.
    ranges: BTreeMap<u64, Vec<(u16, u16, u32)>>,
}

impl BackendSet {
    /// Is `endpoint` one that a balanced flow may be answered from?
    #[inline]
    pub fn contains(&self, protocol: Protocol, endpoint: Endpoint) -> bool {
        if self.exact.find(keys::endpoint(protocol, endpoint)).is_some() {
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
                *self.exact.entry(keys::endpoint(protocol, Endpoint::new(address, port))) += 1;
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
                let left = self.exact.entry(key);
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.exact.remove(key);
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

    /// How many endpoints with one port there are.
    pub fn len(&self) -> usize {
        self.exact.len()
    }

    /// Are there no endpoints at all?
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.ranges.is_empty()
    }

    /// Its content in an order of its own, to compare two.
    #[cfg(test)]
    pub(crate) fn sorted(&self) -> Vec<(u64, u16, u16, u32)> {
        let exact = self.exact.iter().map(|(key, count)| (key, 0, 0, count));
        let ranges = self.ranges.iter().flat_map(|(&key, all)| all.iter().map(move |r| (key, r.0, r.1, r.2)));
        let mut all: Vec<_> = exact.chain(ranges).collect();
        all.sort_unstable();
        all
    }
}
