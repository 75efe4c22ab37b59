//! Objects in a line each, for tests of whole snapshots.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use model::{
    AddressRange, Affinity, Algorithm, Backend, BackendState, Config, EgressAction, EgressPolicy, EgressPool,
    Error, FilteringBehavior, Generation, LoadBalancer, MappingBehavior, Name, Objects, OnDeny, Origin,
    PoolingBehavior, PortRange, PrefixExcept, Protocol as Named, Quotas, Route, ServicePort, StaticMapping,
    Timeouts,
};
use nat::{Side, Tick};
use snapshot::{Health, NodeFacts, Port, PortId, Snapshot, compile};
use wire::{Endpoint, MacAddr};

pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub fn at(text: &str) -> Endpoint {
    let (address, port) = text.split_once(':').unwrap();
    Endpoint::new(v4(address), port.parse().unwrap())
}

pub fn name(text: &str) -> Name {
    Name(Arc::from(text))
}

pub fn origin(text: &str) -> Origin {
    Origin(Arc::from(text))
}

pub fn entry(prefix: &str) -> PrefixExcept {
    PrefixExcept { prefix: prefix.parse().unwrap(), except: Vec::new() }
}

pub fn port(id: u8, side: Side, address: &str) -> Port {
    Port {
        id: PortId(id),
        name: format!("p{id}"),
        side,
        device: id,
        vlan: None,
        mac: MacAddr([2, 0, 0, 0, 0, id]),
        mtu: 1500,
        addresses: vec![address.parse::<Ipv4Net>().unwrap()],
    }
}

pub fn route(to: &str, via: &[&str]) -> Route {
    Route { to: to.parse().unwrap(), via: via.iter().map(|v| v.parse().unwrap()).collect() }
}

/// `in0` 10.0.0.1/24, `out0` 198.51.100.1/24, the default route outside.
pub fn node() -> NodeFacts {
    NodeFacts {
        name: "edge-1".to_owned(),
        ports: vec![port(0, Side::Inside, "10.0.0.1/24"), port(1, Side::Outside, "198.51.100.1/24")],
        routes: vec![route("0.0.0.0/0", &["198.51.100.254"]), route("10.244.0.0/16", &["10.0.0.7"])],
    }
}

pub fn pool(ranges: &[(&str, &str)]) -> EgressPool {
    let range =
        |&(first, last): &(&str, &str)| AddressRange { first: v4(first).into(), last: v4(last).into() };
    EgressPool {
        addresses: ranges.iter().map(range).collect(),
        ports: PortRange { first: 1024, last: 65535 },
        block_size: 512,
        max_blocks_per_subscriber: 64,
        port_rest: Duration::from_secs(120),
        timeouts: Timeouts::default(),
        quotas: Quotas::default(),
    }
}

pub fn snat(pool: &str) -> EgressPolicy {
    EgressPolicy {
        priority: 100,
        from: vec![entry("10.0.0.0/8")],
        to: vec![entry("0.0.0.0/0")],
        ports: Vec::new(),
        action: EgressAction::Snat {
            pool: name(pool),
            mapping: MappingBehavior::EndpointIndependent,
            filtering: FilteringBehavior::AddressDependent,
            pooling: PoolingBehavior::Paired,
        },
        on_deny: OnDeny::Reject,
        adopt_mid_stream: false,
        mss_clamp: None,
    }
}

pub fn backend(address: &str) -> Backend {
    Backend { address: address.parse().unwrap(), port: None, weight: 1, state: BackendState::Active }
}

pub fn service_port(first: u16, last: u16, target: Option<u16>) -> ServicePort {
    ServicePort {
        name: String::new(),
        protocol: Named::Tcp,
        ports: PortRange { first, last },
        target_port: target,
    }
}

/// Port 80 of `vip` to port 8080 of `backends`.
pub fn balancer(vip: &str, backends: &[&str]) -> LoadBalancer {
    LoadBalancer {
        vips: vec![vip.parse().unwrap()],
        ports: vec![service_port(80, 80, Some(8080))],
        algorithm: Algorithm::Maglev,
        affinity: Affinity::None,
        source_nat: None,
        drain: Duration::from_secs(300),
        panic_threshold: 50,
        source_ranges: Vec::new(),
        slow_start: Duration::ZERO,
        on_empty: OnDeny::Reject,
        health_check: None,
        table_size: None,
        backends: backends.iter().map(|b| backend(b)).collect(),
    }
}

pub fn forward(outside: &str, inside: &str) -> StaticMapping {
    let (outside, inside) = (at(outside), at(inside));
    let one = |port| Some(PortRange { first: port, last: port });
    StaticMapping {
        protocol: Some(Named::Tcp),
        outside: outside.address.into(),
        outside_ports: one(outside.port),
        inside: inside.address.into(),
        inside_ports: one(inside.port),
    }
}

pub fn one_to_one(outside: &str, inside: &str) -> StaticMapping {
    StaticMapping {
        protocol: None,
        outside: v4(outside).into(),
        outside_ports: None,
        inside: v4(inside).into(),
        inside_ports: None,
    }
}

/// A gateway under test: what it runs on, changed step by step.
pub struct Lab {
    pub node: NodeFacts,
    pub config: Config,
    pub health: Health,
    pub now: Tick,
    pub snapshot: Option<Snapshot>,
}

impl Lab {
    pub fn new() -> Self {
        Lab {
            node: node(),
            config: Config::default(),
            health: Health::default(),
            now: Tick(0),
            snapshot: None,
        }
    }

    pub fn objects(&mut self) -> &mut Objects {
        self.of("operator")
    }

    pub fn of(&mut self, who: &str) -> &mut Objects {
        self.config.origins.entry(origin(who)).or_default()
    }

    pub fn balance(&mut self, service: &str, vip: &str, backends: &[&str]) -> &mut LoadBalancer {
        let objects = self.objects();
        objects.load_balancers.insert(name(service), balancer(vip, backends));
        objects.load_balancers.get_mut(&name(service)).unwrap()
    }

    /// Compiles; on success the new snapshot runs.
    pub fn apply(&mut self) -> Result<&Snapshot, Vec<Error>> {
        self.config.generation = Generation(self.config.generation.0 + 1);
        let new = compile(&self.config, &self.node, &self.health, self.snapshot.as_ref(), self.now)?;
        Ok(self.snapshot.insert(new))
    }

    pub fn applied(&mut self) -> &Snapshot {
        self.apply().unwrap_or_else(|errors| panic!("{}", errors[0]))
    }

    /// Compiles `seconds` later.
    pub fn later(&mut self, seconds: u32) -> &Snapshot {
        self.now = Tick(self.now.0 + seconds * 10);
        self.applied()
    }

    /// The only error of compiling, as `kind/name field "value"`, with its problem.
    pub fn refused(&mut self) -> (String, String) {
        let errors = self.apply().expect_err("it must be refused");
        assert_eq!(errors.len(), 1, "{errors:?}");
        let e = &errors[0];
        assert!(!e.remedy.is_empty() && !e.problem.is_empty());
        (format!("{}/{} {} {:?}", e.object.kind, e.object.name, e.field, e.value), e.problem.clone())
    }
}
