//! The gateway under test: its ports, its Config, the snapshot that comes of it.
//!
//! Two ports. Inside hosts and backends live behind one router, remotes behind another, so
//! that next hops are few, as at a real gateway.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use engine::Neighbour;
use model::{
    AddressRange, Affinity, Algorithm, Backend, BackendState, Config, EgressAction, EgressPolicy, EgressPool,
    FilteringBehavior, Generation, IpNet, LoadBalancer, MappingBehavior, Name, Objects, OnDeny, Origin,
    PoolingBehavior, PortRange, PrefixExcept, Protocol, Quotas, Route, ServicePort, Timeouts,
};
use nat::{Side, Tick};
use snapshot::{Health, NodeFacts, Port, PortId, Snapshot, compile};
use wire::MacAddr;

use crate::flows;
use crate::frame::Link;

/// Device of the inside port.
pub const INSIDE: u8 = 0;
/// Device of the outside port.
pub const OUTSIDE: u8 = 1;
/// Destinations that policy denies.
pub const DENIED: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);

const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(172, 16, 0, 2), Ipv4Addr::new(198, 51, 100, 2)];

/// Hardware address of a port.
pub const fn port_mac(device: u8) -> MacAddr {
    MacAddr([0x02, 0xbb, 0, 0, 0, device])
}

/// Hardware address of the router behind a port.
pub const fn router_mac(device: u8) -> MacAddr {
    MacAddr([0x02, 0xaa, 0, 0, 0, device])
}

/// The hop by which frames reach a device.
pub const fn link(device: u8) -> Link {
    Link { source: router_mac(device), destination: port_mac(device) }
}

/// What is to be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Addresses of the pool.
    pub pool_addresses: u64,
    /// All VIPs with all their backends.
    pub balanced: bool,
    /// Policies that match nothing.
    pub policies: u32,
    /// Routes that lead nowhere that anyone goes.
    pub routes: u32,
    /// Everybody may send to a mapping, as hairpins need.
    pub open: bool,
    /// Idle times: UDP, and TCP that is opening or closing.
    pub idle: Duration,
}

impl Spec {
    /// For so many sessions at once: a pool that is half full then.
    pub const fn for_sessions(sessions: u64) -> Self {
        let blocks = flows::subscribers(sessions) * 2;
        let addresses = blocks / 126 + 2;
        Spec {
            pool_addresses: if addresses > 4096 { 4096 } else { addresses },
            balanced: false,
            policies: 0,
            routes: 0,
            open: false,
            idle: Duration::from_secs(3600),
        }
    }
}

/// The node's ports and routes.
pub fn node() -> NodeFacts {
    let port = |device: u8, side, address: [u8; 4], name: &str| Port {
        id: PortId(device),
        name: name.to_owned(),
        side,
        device,
        vlan: None,
        mac: port_mac(device),
        mtu: 1500,
        addresses: ipnet::Ipv4Net::new(address.into(), 24).into_iter().collect(),
    };
    NodeFacts {
        name: "perf".to_owned(),
        ports: vec![
            port(INSIDE, Side::Inside, [172, 16, 0, 1], "inside"),
            port(OUTSIDE, Side::Outside, [198, 51, 100, 1], "outside"),
        ],
        routes: vec![
            route(Ipv4Addr::new(10, 0, 0, 0), 8, ROUTERS[0]),
            route(Ipv4Addr::UNSPECIFIED, 0, ROUTERS[1]),
        ],
    }
}

/// The neighbours that a worker is to know.
pub fn neighbours() -> [Neighbour; 2] {
    [INSIDE, OUTSIDE].map(|device| Neighbour {
        port: device,
        address: ROUTERS[usize::from(device)],
        mac: Some(router_mac(device)),
    })
}

fn name(n: impl AsRef<str>) -> Name {
    Name(n.as_ref().into())
}

fn net(address: Ipv4Addr, len: u8) -> IpNet {
    IpNet::new(IpAddr::V4(address), len).unwrap_or(IpNet::from(IpAddr::V4(address)))
}

fn route(to: Ipv4Addr, len: u8, via: Ipv4Addr) -> Route {
    Route { to: net(to, len), via: vec![IpAddr::V4(via)] }
}

fn prefix(address: Ipv4Addr, len: u8) -> PrefixExcept {
    PrefixExcept { prefix: net(address, len), except: vec![] }
}

fn policy(from: PrefixExcept, to: PrefixExcept, priority: i32, action: EgressAction) -> EgressPolicy {
    EgressPolicy {
        priority,
        from: vec![from],
        to: vec![to],
        ports: vec![],
        action,
        on_deny: OnDeny::Drop,
        adopt_mid_stream: false,
        mss_clamp: None,
    }
}

fn pool(spec: &Spec) -> EgressPool {
    let last = flows::pool_address(spec.pool_addresses.saturating_sub(1));
    EgressPool {
        addresses: vec![AddressRange { first: IpAddr::V4(flows::pool_address(0)), last: IpAddr::V4(last) }],
        ports: PortRange { first: 1024, last: 65535 },
        block_size: 512,
        max_blocks_per_subscriber: 64,
        port_rest: Duration::from_secs(120),
        timeouts: Timeouts {
            udp: spec.idle,
            tcp_opening: spec.idle,
            tcp_closing: spec.idle,
            ..Timeouts::default()
        },
        quotas: Quotas::default(),
    }
}

fn balancer(n: u64) -> LoadBalancer {
    let backend = |k| Backend {
        address: IpAddr::V4(flows::backend(n, k).address),
        port: None,
        weight: 1,
        state: BackendState::Active,
    };
    let ports = PortRange { first: flows::VIP_PORT, last: flows::VIP_PORT };
    let service = |protocol, name: &str| ServicePort {
        name: name.to_owned(),
        protocol,
        ports,
        target_port: Some(flows::BACKEND_PORT),
    };
    LoadBalancer {
        vips: vec![IpAddr::V4(flows::vip(n).address)],
        ports: vec![service(Protocol::Udp, "udp"), service(Protocol::Tcp, "tcp")],
        algorithm: Algorithm::Maglev,
        affinity: Affinity::None,
        source_nat: None,
        drain: Duration::from_secs(300),
        panic_threshold: 50,
        source_ranges: vec![],
        slow_start: Duration::ZERO,
        on_empty: OnDeny::Reject,
        health_check: None,
        table_size: None,
        backends: (0..flows::BACKENDS).map(backend).collect(),
    }
}

fn config(spec: &Spec) -> Config {
    let mut o = Objects::default();
    o.egress_pools.insert(name("internet"), pool(spec));
    let filtering =
        if spec.open { FilteringBehavior::EndpointIndependent } else { FilteringBehavior::AddressDependent };
    let snat = || EgressAction::Snat {
        pool: name("internet"),
        mapping: MappingBehavior::EndpointIndependent,
        filtering,
        pooling: PoolingBehavior::Paired,
    };
    let (inside, everywhere) = (prefix(Ipv4Addr::new(10, 0, 0, 0), 8), prefix(Ipv4Addr::UNSPECIFIED, 0));
    let all = &mut o.egress_policies;
    all.insert(name("all"), policy(inside.clone(), everywhere.clone(), 100, snat()));
    all.insert(name("denied"), policy(inside, prefix(DENIED, 16), 200, EgressAction::Deny));
    for n in 0..spec.policies {
        let from = prefix(Ipv4Addr::from_bits(u32::from_be_bytes([172, 20, 0, 0]) + n * 256), 24);
        all.insert(name(format!("p{n}")), policy(from, everywhere.clone(), 150, snat()));
    }
    for n in 0..spec.routes {
        let to = Ipv4Addr::from_bits(u32::from_be_bytes([130, 0, 0, 0]) + n * 4096);
        o.routes.insert(name(format!("r{n}")), route(to, 20, ROUTERS[1]));
    }
    if spec.balanced {
        for n in 0..flows::VIPS {
            o.load_balancers.insert(name(format!("s{n:04}")), balancer(n));
        }
    }
    Config { generation: Generation(1), origins: BTreeMap::from([(Origin("perf".into()), o)]) }
}

/// The snapshot. Errors are those of compiling it.
pub fn snapshot(spec: &Spec) -> Result<Arc<Snapshot>, String> {
    compile(&config(spec), &node(), &Health::default(), None, Tick(0))
        .map(Arc::new)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
