//! The snapshot as workers see it: facts and look-ups, none of which allocates.

use std::net::Ipv4Addr;
use std::sync::Arc;

use lb::{ServiceId, Tables};
use model::{Generation, Name, Origin};
use nat::{Pool, Side, Tick};
use policy::{AccessRules, EgressRules, PoolNumber};
use wire::{Endpoint, Protocol};

use crate::addresses::{Local, Locals};
use crate::endpoints::BackendSet;
use crate::node::{NodeFacts, Port, PortId};
use crate::numbers::Numbers;
use crate::pools::{OutsideAddress, Pools};
use crate::routes::{NextHop, Routes};
use crate::service::BalancedService;
use crate::statics::{StaticHit, Statics};
use crate::vips::{VipHit, Vips};

/// Octets of an IPv4 and a TCP header without options: what an MTU loses to become an MSS (RFC 9293 §3.7.1).
const HEADERS: u16 = 40;

/// Everything that workers read, of one generation. Immutable; shared by all of them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Config that it was compiled from.
    pub generation: Generation,
    /// Rises by one with every snapshot, also when only health, time or the node changed.
    pub revision: u64,
    /// What sessions were judged under. It rises by one when egress or access policies, pools, static mappings,
    /// routes, ports, or a service's VIPs, ports, client ranges or `sourceNat` change, and when a service or
    /// backend with sessions is gone or down. It stays when backends come, fill, drain or change health, since
    /// sessions stay then too.
    pub judged: u32,
    /// Egress policies.
    pub egress: Arc<EgressRules>,
    /// Access policies and guards.
    pub access: Arc<AccessRules>,
    /// Routes, connected ones too.
    pub routes: Arc<Routes>,
    /// Static mappings.
    pub statics: Arc<Statics>,
    /// Endpoints that balanced flows are answered from.
    pub backends: Arc<BackendSet>,
    /// Pools by [`PoolNumber`], in order of origin and name.
    pub pools: Vec<Arc<Pool>>,
    pub(crate) node: Arc<NodeFacts>,
    pub(crate) pool_entries: Arc<Pools>,
    pub(crate) outside: Arc<[OutsideAddress]>,
    pub(crate) locals: Arc<Locals>,
    pub(crate) vips: Arc<Vips>,
    /// By origin and name.
    pub(crate) services: Vec<Arc<BalancedService>>,
    /// Place in `services` by number; `u32::MAX`: nobody has that number now.
    pub(crate) by_number: Arc<[u32]>,
    pub(crate) tables: Tables,
    pub(crate) service_numbers: Numbers,
    pub(crate) backend_numbers: Numbers,
    pub(crate) next_change: Option<Tick>,
}

impl Snapshot {
    /// The node's ports, by number.
    pub fn ports(&self) -> &[Port] {
        &self.node.ports
    }

    /// Name of the node.
    pub fn node_name(&self) -> &str {
        &self.node.name
    }

    /// A port by number.
    #[inline]
    pub fn port(&self, id: impl Into<PortId>) -> Option<&Port> {
        self.node.ports.get(usize::from(id.into().0))
    }

    /// The port that a frame with this tag arrives by on this device.
    #[inline]
    pub fn arrival(&self, device: u8, vlan: Option<u16>) -> Option<&Port> {
        self.node.ports.iter().find(|p| p.device == device && p.vlan == vlan)
    }

    /// What `address` is used for here; `None`: it is not one of ours.
    #[inline]
    pub fn local(&self, address: Ipv4Addr) -> Option<Local> {
        self.locals.find(address)
    }

    /// Has it the other's backends?
    pub fn has_backends_of(&self, other: &Snapshot) -> bool {
        self.backends.is_taken_over(&other.backends)
    }

    /// Is `address` one of a port's?
    #[inline]
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.local(address).is_some_and(Local::is_own)
    }

    /// Has a service a VIP on `address`?
    #[inline]
    pub fn is_vip_address(&self, address: Ipv4Addr) -> bool {
        self.local(address).is_some_and(Local::is_vip)
    }

    /// `address` as one that sources are translated to.
    #[inline]
    pub fn outside_address(&self, address: Ipv4Addr) -> Option<&OutsideAddress> {
        self.outside.get(self.local(address)?.outside()? as usize)
    }

    /// All addresses that sources are translated to, by pool and address.
    pub fn outside_addresses(&self) -> &[OutsideAddress] {
        &self.outside
    }

    /// Every address of ours with what it is used for, ascending. Allocates.
    pub fn locals(&self) -> Vec<(Ipv4Addr, Local)> {
        self.locals.all()
    }

    /// Does `port` answer ARP for `address`: is it ours and in one of the port's subnets?
    #[inline]
    pub fn answers(&self, port: &Port, address: Ipv4Addr) -> bool {
        self.local(address).is_some() && port.reaches(address)
    }

    /// Addresses that `port` announces by gratuitous ARP when it comes up: all that it answers for. Allocates.
    pub fn announced(&self, port: &Port) -> Vec<Ipv4Addr> {
        self.locals().into_iter().map(|(address, _)| address).filter(|a| port.reaches(*a)).collect()
    }

    /// What an endpoint of a VIP leads to.
    #[inline]
    pub fn vip(&self, protocol: Protocol, endpoint: Endpoint) -> Option<VipHit<'_>> {
        let entry = self.vips.find(protocol, endpoint)?;
        Some(VipHit { service: self.service(entry.service)?, target: entry.target })
    }

    /// A service by number; `None`: it is gone, so that its sessions end.
    #[inline]
    pub fn service(&self, id: ServiceId) -> Option<&Arc<BalancedService>> {
        self.services.get(*self.by_number.get(id.0 as usize)? as usize)
    }

    /// All services, by origin and name.
    pub fn services(&self) -> &[Arc<BalancedService>] {
        &self.services
    }

    /// Numbers of services are below the first, those of backends below the second: for
    /// [`lb::WorkerState::fit`].
    pub fn bounds(&self) -> (u32, u32) {
        (self.service_numbers.bound(), self.backend_numbers.bound())
    }

    /// May a balanced flow be answered from `endpoint`? True for draining and lately removed backends too.
    #[inline]
    pub fn is_backend(&self, protocol: Protocol, endpoint: Endpoint) -> bool {
        self.backends.contains(protocol, endpoint)
    }

    /// The static mapping of an outside endpoint.
    #[inline]
    pub fn static_by_outside(&self, protocol: Protocol, outside: Endpoint) -> Option<StaticHit> {
        if !self.local(outside.address)?.is_static() {
            return None;
        }
        self.statics.by_outside(protocol, outside)
    }

    /// The static mapping of an inside endpoint.
    #[inline]
    pub fn static_by_inside(&self, protocol: Protocol, inside: Endpoint) -> Option<StaticHit> {
        self.statics.by_inside(protocol, inside)
    }

    /// See [`Routes::next_hop`].
    #[inline]
    pub fn next_hop(&self, destination: Ipv4Addr, hash: u32, prefer: Side) -> Option<NextHop> {
        self.routes.next_hop(destination, hash, prefer)
    }

    /// See [`Routes::side_of`].
    #[inline]
    pub fn side_of(&self, address: Ipv4Addr) -> Option<Side> {
        self.routes.side_of(address)
    }

    /// See [`Routes::leads`].
    #[inline]
    pub fn leads(&self, address: Ipv4Addr, side: Side) -> bool {
        self.routes.leads(address, side)
    }

    /// A pool by number.
    #[inline]
    pub fn pool(&self, number: PoolNumber) -> Option<&Arc<Pool>> {
        self.pools.get(number.0 as usize)
    }

    /// Origin and name of a pool.
    pub fn pool_name(&self, number: PoolNumber) -> Option<(&Origin, &Name)> {
        self.pool_entries.entries.get(number.0 as usize).map(|e| (&e.origin, &e.name))
    }

    /// The pool of that identity, which stays over snapshots where numbers may not.
    pub fn pool_by_id(&self, id: nat::PoolId) -> Option<PoolNumber> {
        let at = self.pools.iter().position(|pool| pool.id == id)?;
        Some(PoolNumber(at as u32))
    }

    /// The largest segment that TCP between two ports may announce; `None`: leave it as it is. `setting` is an
    /// egress rule's `mss_clamp`; `None` for flows without one: clamp where the ports' MTUs differ.
    #[inline]
    pub fn mss_clamp(&self, setting: Option<u16>, one: PortId, other: PortId) -> Option<u16> {
        let (one, other) = (self.port(one)?.mtu, self.port(other)?.mtu);
        let smaller = one.min(other).saturating_sub(HEADERS);
        match setting {
            None => (one != other).then_some(smaller),
            Some(0) => Some(smaller),
            Some(octets) => Some(octets),
        }
    }

    /// When time alone changes the snapshot (a backend fills further or has drained): compile again then.
    pub fn next_change(&self) -> Option<Tick> {
        self.next_change
    }

    /// How many different look-up tables its services share.
    pub fn tables(&self) -> usize {
        self.tables.live()
    }
}

/// Snapshots are shared by all workers.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Snapshot>();
};
