//! What the reference reads of a configuration: flat lists, searched from end to end.

use std::net::{IpAddr, Ipv4Addr};

use model::{AddressRange, Config, EgressAction, IpNet, Name, Objects, Origin, PortMatch, PrefixExcept};
use wire::{Endpoint, MacAddr, Protocol};

use super::maglev;

/// A side of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Towards the hosts that are served.
    Inside,
    /// Towards everybody else.
    Outside,
}

/// One port of the gateway under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabPort {
    /// Its number, and its place in [`Topology::ports`].
    pub number: u8,
    /// Device that its frames come from and go to.
    pub device: u8,
    /// Its side.
    pub side: Side,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its VLAN on that device.
    pub vlan: Option<u16>,
    /// Its own addresses, each with its subnet's prefix length.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// Largest IP packet it sends.
    pub mtu: u16,
}

/// The gateway's place in the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Its ports, by number.
    pub ports: Vec<LabPort>,
    /// Static routes of the node: prefix, length, next hops.
    pub routes: Vec<(Ipv4Addr, u8, Vec<Ipv4Addr>)>,
}

/// Is `address` in `prefix/len`?
pub(super) fn within(address: Ipv4Addr, prefix: Ipv4Addr, len: u8) -> bool {
    let shift = 32 - u32::from(len.min(32));
    u64::from(address.to_bits()) >> shift == u64::from(prefix.to_bits()) >> shift
}

fn net_holds(net: &IpNet, address: Ipv4Addr) -> bool {
    net.contains(&IpAddr::V4(address))
}

/// Does one of these prefixes, less its exceptions, hold `address`? If so the length of the longest.
pub(super) fn longest(prefixes: &[PrefixExcept], address: Ipv4Addr) -> Option<u8> {
    prefixes
        .iter()
        .filter(|p| net_holds(&p.prefix, address) && !p.except.iter().any(|e| net_holds(e, address)))
        .map(|p| p.prefix.prefix_len())
        .max()
}

/// Does a list of matches hold this protocol and destination port? An empty list holds all.
pub(super) fn ports_match(matches: &[PortMatch], protocol: Protocol, port: u16) -> bool {
    let number = |p: model::Protocol| match p {
        model::Protocol::Tcp => 6,
        model::Protocol::Udp => 17,
        model::Protocol::Icmp => 1,
        model::Protocol::Sctp => 132,
        model::Protocol::Other(n) => n,
    };
    matches.is_empty()
        || matches.iter().any(|m| {
            m.protocol.is_none_or(|p| number(p) == protocol.0)
                && m.ports.is_none_or(|r| r.first <= port && port <= r.last)
        })
}

/// A pool.
#[derive(Clone, Debug)]
pub(super) struct PoolFacts {
    /// Who wrote it and its name: its identity.
    pub(super) id: (Origin, Name),
    /// Its object.
    pub(super) object: model::EgressPool,
    /// All its addresses.
    pub(super) addresses: Vec<Ipv4Addr>,
}

/// An egress policy.
#[derive(Clone, Debug)]
pub(super) struct PolicyFacts {
    /// Who wrote it and its name.
    pub(super) id: (Origin, Name),
    /// Its object.
    pub(super) object: model::EgressPolicy,
    /// Its pool, as a place in [`View::pools`].
    pub(super) pool: Option<usize>,
}

/// One port (range) of a service on one address.
#[derive(Clone, Debug)]
pub(super) struct VipFacts {
    /// Identity of the service: origin, name, number of the port in it.
    pub(super) id: (Origin, Name, usize),
    /// The address.
    pub(super) address: Ipv4Addr,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// Ports.
    pub(super) ports: (u16, u16),
    /// Port at the backend; `None`: kept.
    pub(super) target: Option<u16>,
    /// Its object.
    pub(super) object: model::LoadBalancer,
    /// Pool of full NAT.
    pub(super) source_nat: Option<usize>,
    /// Where its flows go.
    pub(super) table: maglev::Table,
}

impl VipFacts {
    /// May this client use it?
    pub(super) fn admits(&self, client: Ipv4Addr) -> bool {
        let ranges = &self.object.source_ranges;
        ranges.is_empty() || ranges.iter().any(|r| net_holds(r, client))
    }

    /// The endpoint of backend number `at` of the object for a flow to `vip_port`.
    pub(super) fn backend_endpoint(&self, at: usize, vip_port: u16) -> Option<Endpoint> {
        let backend = self.object.backends.get(at)?;
        let IpAddr::V4(address) = backend.address else { return None };
        Some(Endpoint::new(address, backend.port.or(self.target).unwrap_or(vip_port)))
    }
}

/// A configuration, flattened.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// All pools.
    pub(super) pools: Vec<PoolFacts>,
    /// All egress policies.
    pub(super) policies: Vec<PolicyFacts>,
    /// All service ports.
    pub(super) vips: Vec<VipFacts>,
    /// All static mappings.
    pub(super) statics: Vec<model::StaticMapping>,
    /// All access policies.
    pub(super) access: Vec<(Origin, model::AccessPolicy)>,
    /// All guarded prefixes.
    pub(super) guards: Vec<IpNet>,
    /// Routes: prefix, next hops; the node's and the objects'.
    pub(super) routes: Vec<(IpNet, Vec<Ipv4Addr>)>,
    /// Ports and static routes.
    pub(super) topology: Topology,
}

fn addresses(ranges: &[AddressRange]) -> Vec<Ipv4Addr> {
    let mut all = Vec::new();
    for r in ranges {
        if let (IpAddr::V4(a), IpAddr::V4(b)) = (r.first, r.last) {
            all.extend((a.to_bits()..=b.to_bits()).map(Ipv4Addr::from_bits));
        }
    }
    all.sort_unstable();
    all
}

impl View {
    /// Flattens `config` for a gateway placed by `topology`.
    pub(super) fn new(config: &Config, topology: &Topology) -> View {
        let mut view = View { topology: topology.clone(), ..View::default() };
        for (origin, objects) in &config.origins {
            for (name, object) in &objects.egress_pools {
                view.pools.push(PoolFacts {
                    id: (origin.clone(), name.clone()),
                    object: object.clone(),
                    addresses: addresses(&object.addresses),
                });
            }
        }
        for (to, len, via) in &topology.routes {
            view.routes.extend(net(*to, *len).map(|n| (n, via.clone())));
        }
        for (origin, objects) in &config.origins {
            view.add(origin, objects);
        }
        view
    }

    fn add(&mut self, origin: &Origin, objects: &Objects) {
        for (name, object) in &objects.egress_policies {
            let pool = match &object.action {
                EgressAction::Snat { pool, .. } => self.pool(origin, pool),
                _ => None,
            };
            self.policies.push(PolicyFacts {
                id: (origin.clone(), name.clone()),
                object: object.clone(),
                pool,
            });
        }
        for (name, object) in &objects.load_balancers {
            let table = maglev::Table::new(object);
            let source_nat = object.source_nat.as_ref().and_then(|p| self.pool(origin, p));
            for (number, port) in object.ports.iter().enumerate() {
                for vip in &object.vips {
                    let IpAddr::V4(address) = *vip else { continue };
                    self.vips.push(VipFacts {
                        id: (origin.clone(), name.clone(), number),
                        address,
                        protocol: if port.protocol == model::Protocol::Tcp {
                            Protocol::TCP
                        } else {
                            Protocol::UDP
                        },
                        ports: (port.ports.first, port.ports.last),
                        target: port.target_port,
                        object: object.clone(),
                        source_nat,
                        table: table.clone(),
                    });
                }
            }
        }
        self.statics.extend(objects.static_mappings.values().cloned());
        self.access.extend(objects.access_policies.values().map(|p| (origin.clone(), p.clone())));
        self.guards.extend(objects.access_guards.values().flat_map(|g| g.prefixes.iter().copied()));
        for route in objects.routes.values() {
            let via = route.via.iter().filter_map(|v| if let IpAddr::V4(a) = v { Some(*a) } else { None });
            self.routes.push((route.to, via.collect()));
        }
    }

    /// A pool by name: of the same origin first, then of any.
    fn pool(&self, origin: &Origin, name: &Name) -> Option<usize> {
        let named = |p: &PoolFacts| p.id.1 == *name;
        self.pools
            .iter()
            .position(|p| named(p) && p.id.0 == *origin)
            .or_else(|| self.pools.iter().position(named))
    }

    /// Is it an address of one of the gateway's ports?
    pub(super) fn is_own(&self, address: Ipv4Addr) -> bool {
        self.topology.ports.iter().any(|p| p.addresses.iter().any(|(a, _)| *a == address))
    }

    /// The pool that holds an address.
    pub(super) fn pool_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.pools.iter().position(|p| p.addresses.contains(&address))
    }

    /// Is the port never handed out: a VIP's, a static mapping's or the host stack's?
    pub(super) fn is_reserved(&self, address: Ipv4Addr, port: u16) -> bool {
        let of_vip = |v: &VipFacts| v.address == address && v.ports.0 <= port && port <= v.ports.1;
        let of_static = |s: &model::StaticMapping| {
            s.outside == IpAddr::V4(address)
                && s.outside_ports.is_none_or(|r| r.first <= port && port <= r.last)
        };
        self.vips.iter().any(of_vip)
            || self.statics.iter().any(of_static)
            || (self.is_own(address) && port >= 64_512)
    }

    /// The service at an endpoint.
    pub(super) fn vip(&self, protocol: Protocol, at: Endpoint) -> Option<&VipFacts> {
        self.vips.iter().find(|v| {
            v.protocol == protocol && v.address == at.address && v.ports.0 <= at.port && at.port <= v.ports.1
        })
    }

    /// Is it the address of a service?
    pub(super) fn is_vip_address(&self, address: Ipv4Addr) -> bool {
        self.vips.iter().any(|v| v.address == address)
    }

    /// Is it the outside address of a static mapping?
    pub(super) fn is_static_address(&self, address: Ipv4Addr) -> bool {
        self.statics.iter().any(|s| s.outside == IpAddr::V4(address))
    }
}

/// The prefix `to/len` without host bits; `None` if `len` is over 32.
pub(super) fn net(to: Ipv4Addr, len: u8) -> Option<IpNet> {
    IpNet::new(IpAddr::V4(to), len).ok().map(|n| n.trunc())
}
