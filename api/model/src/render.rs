//! Domain objects written back in the documented shape, with every default filled in.

use serde_json::{Value, json};

use crate::text::{address_range_text, duration_text, ports_text, protocol_text};
use crate::{
    AccessGuard, AccessPolicy, Affinity, Algorithm, Backend, BackendState, EgressAction, EgressPolicy,
    EgressPool, FilteringBehavior, HealthCheck, LoadBalancer, MappingBehavior, Object, OnDeny,
    PoolingBehavior, PortMatch, PrefixExcept, Probe, Protocol, Route, ServicePort, Spec, StaticMapping, raw,
};

fn duration(duration: std::time::Duration) -> Option<raw::Text> {
    Some(raw::Text(duration_text(duration)))
}

fn protocol(protocol: Protocol) -> raw::Text {
    raw::Text(protocol_text(protocol))
}

fn word(word: &str) -> Option<String> {
    Some(word.to_owned())
}

/// The written form of a domain object.
pub fn written(spec: &Spec) -> raw::Spec {
    match spec {
        Spec::EgressPool(it) => raw::Spec::EgressPool(pool(it)),
        Spec::EgressPolicy(it) => raw::Spec::EgressPolicy(policy(it)),
        Spec::LoadBalancer(it) => raw::Spec::LoadBalancer(balancer(it)),
        Spec::StaticMapping(it) => raw::Spec::StaticMapping(mapping(it)),
        Spec::AccessPolicy(it) => raw::Spec::AccessPolicy(access(it)),
        Spec::AccessGuard(it) => raw::Spec::AccessGuard(guard(it)),
        Spec::Route(it) => raw::Spec::Route(route(it)),
    }
}

/// The object as a JSON value: `apiVersion`, `kind`, `metadata.name`, `spec`.
pub fn object_value(object: &Object) -> Value {
    // The written types hold only text, numbers and lists, which serde_json always takes.
    let spec = match written(&object.spec) {
        raw::Spec::EgressPool(it) => serde_json::to_value(it),
        raw::Spec::EgressPolicy(it) => serde_json::to_value(it),
        raw::Spec::LoadBalancer(it) => serde_json::to_value(it),
        raw::Spec::StaticMapping(it) => serde_json::to_value(it),
        raw::Spec::AccessPolicy(it) => serde_json::to_value(it),
        raw::Spec::AccessGuard(it) => serde_json::to_value(it),
        raw::Spec::Route(it) => serde_json::to_value(it),
    };
    json!({
        "apiVersion": crate::API_VERSION,
        "kind": object.kind().as_str(),
        "metadata": {"name": &*object.name.0},
        "spec": spec.unwrap_or_default(),
    })
}

/// Objects as YAML documents, each led by `---`; nothing for no objects.
pub fn objects_yaml<'a>(objects: impl IntoIterator<Item = &'a Object>) -> String {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&value_yaml(&object_value(object)));
    }
    text
}

/// One value as a YAML document without `---`; ends with a newline.
pub fn value_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn pool(it: &EgressPool) -> raw::EgressPool {
    raw::EgressPool {
        addresses: it.addresses.iter().map(|range| address_range_text(*range)).collect(),
        ports: Some(raw::Text(ports_text(it.ports))),
        block_size: Some(it.block_size.into()),
        max_blocks_per_subscriber: Some(it.max_blocks_per_subscriber.into()),
        port_rest: duration(it.port_rest),
        timeouts: Some(raw::Timeouts {
            udp: duration(it.timeouts.udp),
            tcp_established: duration(it.timeouts.tcp_established),
            tcp_opening: duration(it.timeouts.tcp_opening),
            tcp_closing: duration(it.timeouts.tcp_closing),
            icmp: duration(it.timeouts.icmp),
        }),
        quotas: Some(raw::Quotas {
            ports: Some(it.quotas.ports),
            sessions: Some(it.quotas.sessions),
            new_sessions_per_second: Some(it.quotas.new_sessions_per_second),
            burst: Some(it.quotas.burst),
            half_open: Some(it.quotas.half_open),
        }),
    }
}

fn policy(it: &EgressPolicy) -> raw::EgressPolicy {
    let mut out = raw::EgressPolicy {
        priority: Some(it.priority),
        from: Some(selectors(&it.from)),
        to: Some(selectors(&it.to)),
        ports: it.ports.iter().map(port_match).collect(),
        on_deny: on_deny(it.on_deny),
        adopt_mid_stream: Some(it.adopt_mid_stream),
        mss_clamp: it.mss_clamp.map(u32::from),
        ..raw::EgressPolicy::default()
    };
    match &it.action {
        EgressAction::Direct => out.action = word("Direct"),
        EgressAction::Deny => out.action = word("Deny"),
        EgressAction::Snat { pool, mapping, filtering, pooling } => {
            out.action = word("Snat");
            out.pool = Some(pool.to_string());
            out.mapping = word(match mapping {
                MappingBehavior::EndpointIndependent => "EndpointIndependent",
                MappingBehavior::AddressDependent => "AddressDependent",
                MappingBehavior::AddressAndPortDependent => "AddressAndPortDependent",
            });
            out.filtering = word(match filtering {
                FilteringBehavior::EndpointIndependent => "EndpointIndependent",
                FilteringBehavior::AddressDependent => "AddressDependent",
                FilteringBehavior::AddressAndPortDependent => "AddressAndPortDependent",
            });
            out.pooling = word(match pooling {
                PoolingBehavior::Paired => "Paired",
                PoolingBehavior::PairedStrict => "PairedStrict",
                PoolingBehavior::Arbitrary => "Arbitrary",
            });
        }
    }
    out
}

fn on_deny(it: OnDeny) -> Option<String> {
    word(match it {
        OnDeny::Reject => "Reject",
        OnDeny::Drop => "Drop",
    })
}

fn selectors(all: &[PrefixExcept]) -> Vec<raw::PrefixExcept> {
    all.iter()
        .map(|it| raw::PrefixExcept {
            prefix: it.prefix.to_string(),
            except: it.except.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

fn port_match(it: &PortMatch) -> raw::PortMatch {
    raw::PortMatch {
        protocol: it.protocol.map(protocol),
        port: it.ports.map(|range| range.first.into()),
        end_port: it.ports.filter(|range| range.last != range.first).map(|range| range.last.into()),
    }
}

fn balancer(it: &LoadBalancer) -> raw::LoadBalancer {
    raw::LoadBalancer {
        vips: it.vips.iter().map(ToString::to_string).collect(),
        ports: it.ports.iter().map(service_port).collect(),
        algorithm: word(match it.algorithm {
            Algorithm::Maglev => "Maglev",
            Algorithm::RoundRobin => "RoundRobin",
            Algorithm::LeastConnections => "LeastConnections",
        }),
        affinity: word(match it.affinity {
            Affinity::None => "None",
            Affinity::ClientAddress => "ClientAddress",
        }),
        source_nat: it.source_nat.as_ref().map(|pool| raw::SourceNat { pool: pool.to_string() }),
        drain: duration(it.drain),
        panic_threshold: Some(it.panic_threshold.into()),
        source_ranges: it.source_ranges.iter().map(ToString::to_string).collect(),
        slow_start: duration(it.slow_start),
        on_empty: on_deny(it.on_empty),
        health_check: it.health_check.as_ref().map(health_check),
        table_size: it.table_size,
        backends: it.backends.iter().map(backend).collect(),
    }
}

fn service_port(it: &ServicePort) -> raw::ServicePort {
    let all = it.ports.first == 0;
    raw::ServicePort {
        name: Some(it.name.clone()).filter(|name| !name.is_empty()),
        protocol: Some(protocol(it.protocol)),
        port: Some(it.ports.first.into()),
        end_port: (!all && it.ports.first != it.ports.last).then(|| it.ports.last.into()),
        target_port: it.target_port.map(u32::from),
    }
}

fn backend(it: &Backend) -> raw::Backend {
    raw::Backend {
        address: it.address.to_string(),
        port: it.port.map(u32::from),
        weight: Some(it.weight.into()),
        state: word(match it.state {
            BackendState::Active => "Active",
            BackendState::Draining => "Draining",
            BackendState::Down => "Down",
        }),
    }
}

fn health_check(it: &HealthCheck) -> raw::HealthCheck {
    let port = it.port.map(u32::from);
    let mut out = raw::HealthCheck {
        interval: duration(it.interval),
        timeout: duration(it.timeout),
        unhealthy_after: Some(it.unhealthy_after),
        healthy_after: Some(it.healthy_after),
        ..raw::HealthCheck::default()
    };
    match &it.probe {
        Probe::Tcp => out.tcp = Some(raw::Tcp { port }),
        Probe::Http { path, host } => {
            out.http = Some(raw::Http { path: Some(path.clone()), host: host.clone(), port });
        }
        Probe::Udp { send, expect } => {
            out.udp = Some(raw::Udp { send: Some(send.clone()), expect: Some(expect.clone()), port });
        }
    }
    out
}

fn mapping(it: &StaticMapping) -> raw::StaticMapping {
    let side = |address: std::net::IpAddr, ports: Option<crate::PortRange>| raw::StaticSide {
        address: address.to_string(),
        port: ports.map(|range| range.first.into()),
        end_port: ports.filter(|range| range.last != range.first).map(|range| range.last.into()),
    };
    raw::StaticMapping {
        protocol: it.protocol.map(protocol),
        outside: Some(side(it.outside, it.outside_ports)),
        inside: Some(side(it.inside, it.inside_ports)),
    }
}

fn access(it: &AccessPolicy) -> raw::AccessPolicy {
    raw::AccessPolicy {
        subjects: Some(selectors(&it.subjects)),
        rules: it
            .rules
            .iter()
            .map(|rule| raw::AccessRule {
                to: selectors(&rule.to),
                ports: rule.ports.iter().map(port_match).collect(),
            })
            .collect(),
    }
}

fn guard(it: &AccessGuard) -> raw::AccessGuard {
    raw::AccessGuard { prefixes: Some(it.prefixes.iter().map(ToString::to_string).collect()) }
}

fn route(it: &Route) -> raw::Route {
    raw::Route {
        to: Some(it.to.to_string()),
        via: raw::OneOrMany(it.via.iter().map(ToString::to_string).collect()),
    }
}
