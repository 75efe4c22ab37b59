//! VIPs: which service an address, protocol and port belong to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lb::{Backend, ServiceId};
use wire::{Endpoint, Protocol, V4};

use crate::flat::FlatMap;
use crate::keys;
use crate::service::{BalancedService, protocol};

/// What an endpoint of a VIP leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VipEntry {
    pub(crate) service: ServiceId,
    /// Port at the backend; `None`: kept.
    pub(crate) target: Option<u16>,
}

impl Default for VipEntry {
    fn default() -> Self {
        VipEntry { service: ServiceId(u32::MAX), target: None }
    }
}

/// An endpoint of a VIP, found.
#[derive(Clone, Copy, Debug)]
pub struct VipHit<'a> {
    /// The service behind it.
    pub service: &'a Arc<BalancedService>,
    /// Port at the backend; `None`: the port is kept.
    pub target: Option<u16>,
}

impl VipHit<'_> {
    /// Where a packet to `port` of the VIP goes at `backend`: its own port, else the target port, else the same.
    #[inline]
    pub fn endpoint(&self, backend: &Backend<V4>, port: u16) -> Endpoint {
        Endpoint::new(backend.address, backend.port.or(self.target).unwrap_or(port))
    }
}

/// Ports of a VIP that more than one port of a service covers.
type Range = (u16, u16, VipEntry);

/// All VIPs of a snapshot. Immutable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vips {
    exact: FlatMap<VipEntry>,
    /// By address and protocol; disjoint, ascending.
    ranges: BTreeMap<u64, Vec<Range>>,
}

/// Two services want one endpoint.
pub(crate) struct VipClash {
    /// Place of the later service in the list given.
    pub(crate) later: usize,
    /// Place of the earlier one; equal to `later` where a service clashes with itself.
    pub(crate) earlier: usize,
    /// Places of VIP and service port in the later one.
    pub(crate) vip: usize,
    pub(crate) port: usize,
}

impl Vips {
    /// Indexes the VIPs of `services`. No two may hold the same port of one address and protocol.
    pub(crate) fn compile(services: &[Arc<BalancedService>]) -> Result<Self, Vec<VipClash>> {
        // (address and protocol, first, last, service, vip, port): sorted, neighbours tell of overlaps.
        let mut all: Vec<(u64, u16, u16, usize, usize, usize)> = Vec::new();
        for (n, service) in services.iter().enumerate() {
            let written = service.written();
            for (v, vip) in written.vips.iter().enumerate() {
                let IpAddr::V4(address) = *vip else { continue };
                for (p, port) in written.ports.iter().enumerate() {
                    let key = keys::host(protocol(port.protocol), address);
                    all.push((key, port.ports.first, port.ports.last, n, v, p));
                }
            }
        }
        all.sort_unstable();
        let mut clashes = Vec::new();
        let mut vips = Vips { exact: FlatMap::with_room(all.len()), ranges: BTreeMap::new() };
        // The entry that reaches furthest among those of the same address and protocol so far.
        let mut furthest: Option<(u64, u16, usize, usize, usize)> = None;
        for &(key, first, last, n, v, p) in &all {
            if let Some((k, reach, other, ov, op)) = furthest
                && k == key
                && first <= reach
            {
                let ((later, vip, port), earlier) =
                    if (n, v, p) > (other, ov, op) { ((n, v, p), other) } else { ((other, ov, op), n) };
                clashes.push(VipClash { later, earlier, vip, port });
            }
            if furthest.is_none_or(|(k, reach, ..)| k != key || last >= reach) {
                furthest = Some((key, last, n, v, p));
            }
            let Some((service, port)) = services.get(n).and_then(|s| Some((s, s.written().ports.get(p)?)))
            else {
                continue;
            };
            let entry = VipEntry { service: service.id(), target: port.target_port };
            match first == last {
                true => *vips.exact.entry(key | u64::from(first) << 16) = entry,
                false => vips.ranges.entry(key).or_default().push((first, last, entry)),
            }
        }
        if clashes.is_empty() { Ok(vips) } else { Err(clashes) }
    }

    /// What `endpoint` leads to.
    #[inline]
    pub(crate) fn find(&self, protocol: Protocol, endpoint: Endpoint) -> Option<VipEntry> {
        let exact = self.exact.find(keys::endpoint(protocol, endpoint));
        if exact.is_some() || self.ranges.is_empty() {
            return exact;
        }
        let ranges = self.ranges.get(&keys::host(protocol, endpoint.address))?;
        let after = ranges.partition_point(|&(first, ..)| first <= endpoint.port);
        let &(_, last, entry) = ranges.get(after.checked_sub(1)?)?;
        (endpoint.port <= last).then_some(entry)
    }

    /// Every address, protocol and port range.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, Protocol, u16, u16)> + '_ {
        let of = |key: u64| (Ipv4Addr::from_bits((key >> 32) as u32), Protocol(key as u8));
        let exact = self.exact.iter().map(move |(key, _)| {
            let ((address, protocol), port) = (of(key), (key >> 16) as u16);
            (address, protocol, port, port)
        });
        let ranges = self.ranges.iter().flat_map(move |(&key, all)| {
            let (address, protocol) = of(key);
            all.iter().map(move |&(first, last, _)| (address, protocol, first, last))
        });
        exact.chain(ranges)
    }
}
