//! The world of a differential run: one gateway, its neighbours, and configurations that change.
//!
//! Small on purpose: few addresses and ports, so that flows meet, blocks fill up and rules bite.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use model::{
    AccessGuard, AccessPolicy, AccessRule, AddressRange, Affinity, Algorithm, Backend, BackendState, Config,
    EgressAction, EgressPolicy, EgressPool, FilteringBehavior, Generation, IpNet, LoadBalancer,
    MappingBehavior, Name, Objects, OnDeny, Origin, PoolingBehavior, PortMatch, PortRange, PrefixExcept,
    Protocol, Quotas, Route, ServicePort, StaticMapping, Timeouts,
};
use wire::MacAddr;

use crate::Rng;
use crate::reference::{LabPort, Side, Topology};

/// Shorthand for an address.
pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The hardware address of every host but the gateway: made from its IP address.
pub fn host_mac(address: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = address.octets();
    MacAddr([0x02, 0xaa, a, b, c, d])
}

/// The gateway: an inside port, a VLAN on the same device, an outside port, and one with a smaller MTU.
pub fn topology() -> Topology {
    let port = |number, device, side, vlan, address, mtu| LabPort {
        number,
        device,
        side,
        mac: MacAddr([0x02, 0xbb, 0, 0, 0, device]),
        vlan,
        addresses: vec![(address, 24)],
        mtu,
    };
    Topology {
        ports: vec![
            port(0, 0, Side::Inside, None, ip(10, 0, 0, 1), 1500),
            port(1, 0, Side::Inside, Some(100), ip(10, 0, 1, 1), 1400),
            port(2, 1, Side::Outside, None, ip(198, 51, 100, 1), 1500),
            port(3, 2, Side::Outside, None, ip(198, 18, 0, 1), 1300),
        ],
        routes: vec![
            (ip(0, 0, 0, 0), 0, vec![ip(198, 51, 100, 254), ip(198, 51, 100, 253)]),
            (ip(192, 0, 2, 0), 24, vec![ip(198, 18, 0, 254)]),
            (ip(10, 244, 0, 0), 16, vec![ip(10, 0, 0, 7)]),
        ],
    }
}

/// Does a host with this address answer ARP?
pub fn alive(address: Ipv4Addr) -> bool {
    // The last few of each subnet are switched off.
    let [_, _, _, d] = address.octets();
    !(230..=250).contains(&d)
}

/// Inside hosts, by what policies say of them.
pub fn inside_hosts() -> Vec<Ipv4Addr> {
    let mut all: Vec<Ipv4Addr> = (2..12).map(|n| ip(10, 0, 0, n)).collect();
    all.extend((20..24).map(|n| ip(10, 0, 0, n)));
    all.extend((33..37).map(|n| ip(10, 0, 0, n)));
    all.extend((65..69).map(|n| ip(10, 0, 0, n)));
    all.extend((2..10).map(|n| ip(10, 0, 1, n)));
    all.extend((1..9).map(|n| ip(10, 244, 0, n)));
    all.extend((1..5).map(|n| ip(10, 244, 1, n)));
    all.push(ip(10, 0, 0, 240));
    all
}

/// Remote hosts: behind the default route, on the outside subnets, behind the small MTU.
pub fn remotes() -> Vec<Ipv4Addr> {
    let mut all: Vec<Ipv4Addr> = (1..9).map(|n| ip(1, 1, 1, n)).collect();
    all.extend((1..5).map(|n| ip(8, 8, n, 8)));
    all.extend((10..14).map(|n| ip(198, 51, 100, n)));
    all.extend((10..13).map(|n| ip(198, 18, 0, n)));
    all.extend([1, 2, 3, 66].map(|n| ip(192, 0, 2, n)));
    all.push(ip(198, 51, 100, 240));
    all
}

fn name(s: &str) -> Name {
    Name(s.into())
}

fn prefix(address: Ipv4Addr, len: u8) -> IpNet {
    // Lengths here are literals of at most 32.
    IpNet::new(IpAddr::V4(address), len).map_or(IpNet::from(IpAddr::V4(address)), |n| n.trunc())
}

fn whole(address: Ipv4Addr, len: u8) -> PrefixExcept {
    PrefixExcept { prefix: prefix(address, len), except: vec![] }
}

fn everywhere() -> PrefixExcept {
    whole(ip(0, 0, 0, 0), 0)
}

fn pool(first: Ipv4Addr, last: Ipv4Addr, ports: (u16, u16), block_size: u16, blocks: u16) -> EgressPool {
    EgressPool {
        addresses: vec![AddressRange { first: IpAddr::V4(first), last: IpAddr::V4(last) }],
        ports: PortRange { first: ports.0, last: ports.1 },
        block_size,
        max_blocks_per_subscriber: blocks,
        port_rest: Duration::from_secs(120),
        timeouts: Timeouts::default(),
        quotas: Quotas::default(),
    }
}

fn policy(from: PrefixExcept, to: PrefixExcept, action: EgressAction) -> EgressPolicy {
    EgressPolicy {
        priority: 100,
        from: vec![from],
        to: vec![to],
        ports: vec![],
        action,
        on_deny: OnDeny::Reject,
        adopt_mid_stream: false,
        mss_clamp: None,
    }
}

fn snat(pool: &str) -> EgressAction {
    EgressAction::Snat {
        pool: name(pool),
        mapping: MappingBehavior::EndpointIndependent,
        filtering: FilteringBehavior::AddressDependent,
        pooling: PoolingBehavior::Paired,
    }
}

fn backends(rng: &mut Rng, all: &[Ipv4Addr], port: Option<u16>) -> Vec<Backend> {
    let state = |rng: &mut Rng| match rng.below(10) {
        0 => BackendState::Draining,
        1 => BackendState::Down,
        _ => BackendState::Active,
    };
    all.iter()
        .map(|a| Backend {
            address: IpAddr::V4(*a),
            port,
            weight: *rng.pick(&[0, 1, 1, 1, 2, 5]),
            state: state(rng),
        })
        .collect()
}

fn balancer(vip: Ipv4Addr, ports: Vec<ServicePort>, backends: Vec<Backend>) -> LoadBalancer {
    LoadBalancer {
        vips: vec![IpAddr::V4(vip)],
        ports,
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
        backends,
    }
}

fn service(protocol: Protocol, ports: (u16, u16), target: Option<u16>) -> ServicePort {
    let ports = PortRange { first: ports.0, last: ports.1 };
    ServicePort {
        name: format!("{protocol:?}-{}", ports.first).to_lowercase(),
        protocol,
        ports,
        target_port: target,
    }
}

fn pools(o: &mut Objects, rng: &mut Rng) {
    let mut internet = pool(ip(203, 0, 113, 1), ip(203, 0, 113, 4), (1024, 65535), 512, 64);
    if rng.percent(30) {
        internet.timeouts.udp = Duration::from_secs(120);
    }
    // Unlike times show at once when a connection is thought further than it is.
    internet.timeouts.tcp_closing = Duration::from_secs(30);
    internet.timeouts.tcp_opening = Duration::from_secs(90);
    let mut small = pool(ip(203, 0, 113, 64), ip(203, 0, 113, 65), (2000, 2400), 64, 2);
    match rng.below(10) {
        0 => small.quotas.sessions = 20,
        1 => (small.quotas.new_sessions_per_second, small.quotas.burst) = (2, 5),
        2 => small.quotas.half_open = 4,
        3 => small.quotas.ports = 40,
        _ => {}
    }
    // The gateway's own address: its pool, and a VIP on it.
    let own = pool(ip(198, 51, 100, 1), ip(198, 51, 100, 1), (1024, 65535), 256, 8);
    o.egress_pools.insert(name("internet"), internet);
    o.egress_pools.insert(name("small"), small);
    o.egress_pools.insert(name("own"), own);
}

fn policies(o: &mut Objects, rng: &mut Rng) {
    let mut add = |n: &str, p: EgressPolicy| o.egress_policies.insert(name(n), p);
    let mut to = everywhere();
    to.except = vec![prefix(ip(192, 0, 2, 3), 32)];
    add("default", policy(whole(ip(10, 0, 0, 0), 24), to, snat("internet")));
    add("pods", policy(whole(ip(10, 244, 0, 0), 16), everywhere(), snat("internet")));
    let mut open = policy(
        whole(ip(10, 0, 0, 64), 28),
        everywhere(),
        EgressAction::Snat {
            pool: name("internet"),
            mapping: *rng.pick(&[
                MappingBehavior::AddressAndPortDependent,
                MappingBehavior::AddressDependent,
                MappingBehavior::EndpointIndependent,
            ]),
            filtering: *rng
                .pick(&[FilteringBehavior::EndpointIndependent, FilteringBehavior::AddressAndPortDependent]),
            pooling: *rng.pick(&[
                PoolingBehavior::Paired,
                PoolingBehavior::PairedStrict,
                PoolingBehavior::Arbitrary,
            ]),
        },
    );
    open.adopt_mid_stream = rng.percent(50);
    add("open", open);
    add("tiny", policy(whole(ip(10, 0, 0, 32), 28), everywhere(), snat("small")));
    add("own", policy(whole(ip(10, 0, 1, 0), 28), everywhere(), snat("own")));
    if rng.percent(70) {
        add("direct", policy(whole(ip(10, 0, 1, 8), 31), whole(ip(1, 1, 1, 0), 30), EgressAction::Direct));
    }
    // Between inside hosts some go as they are.
    let mut lan = policy(whole(ip(10, 0, 1, 4), 30), whole(ip(10, 0, 0, 0), 8), EgressAction::Direct);
    lan.on_deny = OnDeny::Drop;
    add("lan", lan);
    let mut deny = policy(everywhere(), whole(ip(192, 0, 2, 66), 32), EgressAction::Deny);
    deny.priority = 200;
    if rng.percent(50) {
        deny.on_deny = OnDeny::Drop;
    }
    add("deny", deny);
    if rng.percent(60) {
        let mut web = policy(whole(ip(10, 0, 0, 0), 29), everywhere(), snat("own"));
        web.priority = 150;
        web.ports =
            vec![PortMatch { protocol: Some(Protocol::Tcp), ports: Some(PortRange { first: 80, last: 81 }) }];
        web.mss_clamp = Some(*rng.pick(&[0, 1200]));
        add("web", web);
    }
}

fn services(o: &mut Objects, rng: &mut Rng) {
    let mut add = |n: &str, lb: LoadBalancer| o.load_balancers.insert(name(n), lb);
    let inside: Vec<Ipv4Addr> = (2..6).map(|n| ip(10, 0, 1, n)).collect();
    let mut web = balancer(
        ip(203, 0, 113, 10),
        vec![service(Protocol::Tcp, (80, 80), Some(8080))],
        backends(rng, &inside, None),
    );
    if rng.percent(20) {
        web.backends.iter_mut().for_each(|b| b.state = BackendState::Draining);
    }
    if rng.percent(30) {
        web.source_ranges = vec![prefix(ip(1, 1, 1, 0), 24), prefix(ip(10, 0, 0, 0), 8)];
    }
    add("web", web);
    let mut dns = balancer(
        ip(203, 0, 113, 11),
        vec![service(Protocol::Udp, (53, 60), None), service(Protocol::Tcp, (53, 53), None)],
        backends(rng, &[ip(10, 0, 0, 9), ip(10, 0, 0, 10), ip(10, 244, 0, 3)], None),
    );
    if rng.percent(50) {
        dns.affinity = Affinity::ClientAddress;
    }
    add("dns", dns);
    // On the gateway's own address, which is a pool's too.
    add(
        "own",
        balancer(
            ip(198, 51, 100, 1),
            vec![service(Protocol::Tcp, (443, 443), Some(8443))],
            backends(rng, &[ip(10, 0, 0, 8), ip(10, 0, 1, 3)], None),
        ),
    );
    let mut full = balancer(
        ip(203, 0, 113, 12),
        vec![service(Protocol::Tcp, (8000, 8000), None)],
        backends(rng, &[ip(10, 0, 0, 11), ip(10, 0, 1, 5)], Some(9000)),
    );
    full.source_nat = Some(name("own"));
    add("full", full);
    let mut empty = balancer(ip(203, 0, 113, 13), vec![service(Protocol::Tcp, (0, 65535), None)], vec![]);
    empty.on_empty = *rng.pick(&[OnDeny::Reject, OnDeny::Drop]);
    add("empty", empty);
}

fn statics(o: &mut Objects, rng: &mut Rng) {
    let range = |first, last| Some(PortRange { first, last });
    let mut add = |n: &str, s: StaticMapping| o.static_mappings.insert(name(n), s);
    add(
        "host",
        StaticMapping {
            protocol: None,
            outside: IpAddr::V4(ip(203, 0, 113, 20)),
            outside_ports: None,
            inside: IpAddr::V4(ip(10, 0, 0, 20)),
            inside_ports: None,
        },
    );
    add(
        "ssh",
        StaticMapping {
            protocol: Some(Protocol::Tcp),
            outside: IpAddr::V4(ip(203, 0, 113, 1)),
            outside_ports: range(2222, 2222),
            inside: IpAddr::V4(ip(10, 0, 0, 21)),
            inside_ports: range(22, 22),
        },
    );
    if rng.percent(80) {
        add(
            "games",
            StaticMapping {
                protocol: Some(Protocol::Udp),
                outside: IpAddr::V4(ip(198, 51, 100, 1)),
                outside_ports: range(5000, 5003),
                inside: IpAddr::V4(ip(10, 0, 0, 22)),
                inside_ports: range(6000, 6003),
            },
        );
    }
}

fn access(o: &mut Objects, rng: &mut Rng) {
    let rule = |to: Vec<PrefixExcept>, ports: Vec<PortMatch>| AccessRule { to, ports };
    o.access_guards.insert(name("pods"), AccessGuard { prefixes: vec![prefix(ip(10, 244, 0, 0), 16)] });
    let all =
        AccessPolicy { subjects: vec![whole(ip(10, 244, 0, 0), 30)], rules: vec![AccessRule::default()] };
    o.access_policies.insert(name("free"), all);
    let tcp = PortMatch { protocol: Some(Protocol::Tcp), ports: Some(PortRange { first: 80, last: 90 }) };
    let udp = PortMatch { protocol: Some(Protocol::Udp), ports: None };
    let some = AccessPolicy {
        subjects: vec![whole(ip(10, 244, 0, 4), 30)],
        rules: vec![rule(vec![whole(ip(1, 1, 1, 0), 24)], vec![]), rule(vec![everywhere()], vec![tcp, udp])],
    };
    o.access_policies.insert(name("some"), some);
    if rng.percent(50) {
        let nothing = AccessPolicy { subjects: vec![whole(ip(10, 244, 0, 2), 32)], rules: vec![] };
        o.access_policies.insert(name("nothing"), nothing);
    }
}

/// A configuration with the given generation; which one of many is the generator's choice.
pub fn config(generation: u64, rng: &mut Rng) -> Config {
    let mut file = Objects::default();
    pools(&mut file, rng);
    policies(&mut file, rng);
    services(&mut file, rng);
    statics(&mut file, rng);
    let mut cluster = Objects::default();
    access(&mut cluster, rng);
    if rng.percent(30) {
        let to = prefix(ip(8, 8, 4, 0), 24);
        cluster.routes.insert(name("eight"), Route { to, via: vec![IpAddr::V4(ip(198, 18, 0, 253))] });
    }
    if rng.percent(20) {
        // A second origin must agree too.
        let strict = AccessPolicy {
            subjects: vec![whole(ip(10, 244, 0, 0), 24)],
            rules: vec![AccessRule { to: vec![whole(ip(1, 0, 0, 0), 8)], ports: vec![] }],
        };
        file.access_policies.insert(name("strict"), strict);
    }
    let origins = BTreeMap::from([(Origin("cluster-a".into()), cluster), (Origin("file".into()), file)]);
    Config { generation: Generation(generation), origins }
}
