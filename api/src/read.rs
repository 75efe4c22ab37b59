//! Messages become written objects. Nothing is judged here.

use std::time::Duration;

use model::raw;
use model::text::{duration_text, parse_protocol, protocol_text};
use model::{Kind, Name, ObjectKey, Protocol};
use prost_types::Duration as DurationMessage;

use crate::v1;

/// The written form of an object's message; `None`: of a kind this program does not know.
pub fn read_object(object: v1::Object) -> (String, Option<raw::Spec>) {
    use v1::object::Spec;
    let spec = object.spec.map(|spec| match spec {
        Spec::EgressPool(it) => raw::Spec::EgressPool(pool(it)),
        Spec::EgressPolicy(it) => raw::Spec::EgressPolicy(policy(it)),
        Spec::LoadBalancer(it) => raw::Spec::LoadBalancer(balancer(it)),
        Spec::StaticMapping(it) => raw::Spec::StaticMapping(mapping(it)),
        Spec::AccessPolicy(it) => raw::Spec::AccessPolicy(access(it)),
        Spec::AccessGuard(it) => raw::Spec::AccessGuard(raw::AccessGuard { prefixes: Some(it.prefixes) }),
        Spec::Route(it) => {
            let to = Some(it.to).filter(|to| !to.is_empty());
            raw::Spec::Route(raw::Route { to, via: raw::OneOrMany(it.via) })
        }
    });
    (object.name, spec)
}

/// The kind of a message; `None`: unspecified, or not known.
pub fn kind_of(kind: i32) -> Option<Kind> {
    match v1::Kind::try_from(kind).unwrap_or_default() {
        v1::Kind::Unspecified => None,
        v1::Kind::EgressPool => Some(Kind::EgressPool),
        v1::Kind::EgressPolicy => Some(Kind::EgressPolicy),
        v1::Kind::LoadBalancer => Some(Kind::LoadBalancer),
        v1::Kind::StaticMapping => Some(Kind::StaticMapping),
        v1::Kind::AccessPolicy => Some(Kind::AccessPolicy),
        v1::Kind::AccessGuard => Some(Kind::AccessGuard),
        v1::Kind::Route => Some(Kind::Route),
    }
}

/// The key of a message; `None`: of a kind this program does not know.
pub fn object_key(key: &v1::ObjectKey) -> Option<ObjectKey> {
    Some(ObjectKey { kind: kind_of(key.kind)?, name: Name(key.name.as_str().into()) })
}

/// A duration as text; a negative one becomes text that no duration has, and is refused as such.
fn duration(message: Option<DurationMessage>) -> Option<raw::Text> {
    message.map(|message| match Duration::try_from(message) {
        Ok(duration) => raw::Text(duration_text(duration)),
        Err(_) => raw::Text(format!("{}.{:09}s", message.seconds, message.nanos.abs())),
    })
}

fn protocol(number: Option<u32>) -> Option<raw::Text> {
    number.map(|number| {
        let known = u8::try_from(number).ok().filter(|&number| number > 0).map(Protocol::from_number);
        let text = known.map_or_else(|| number.to_string(), protocol_text);
        // A number that has a name is the same protocol by either.
        raw::Text(parse_protocol(&text).map_or(text, protocol_text))
    })
}

/// The word of an enum's value: none for unspecified, its number for one that is not known.
fn word<E: TryFrom<i32>>(value: i32, words: impl Fn(E) -> Option<&'static str>) -> Option<String> {
    match E::try_from(value) {
        Ok(known) => words(known).map(str::to_owned),
        Err(_) => Some(value.to_string()),
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn pool(it: v1::EgressPool) -> raw::EgressPool {
    raw::EgressPool {
        addresses: it.addresses,
        ports: it.ports.map(|range| raw::Text(format!("{}-{}", range.first, range.last))),
        block_size: it.block_size,
        max_blocks_per_subscriber: it.max_blocks_per_subscriber,
        port_rest: duration(it.port_rest),
        timeouts: it.timeouts.map(|it| raw::Timeouts {
            udp: duration(it.udp),
            tcp_established: duration(it.tcp_established),
            tcp_opening: duration(it.tcp_opening),
            tcp_closing: duration(it.tcp_closing),
            icmp: duration(it.icmp),
        }),
        quotas: it.quotas.map(|it| raw::Quotas {
            ports: Some(it.ports),
            sessions: Some(it.sessions),
            new_sessions_per_second: Some(it.new_sessions_per_second),
            burst: Some(it.burst),
            half_open: Some(it.half_open),
        }),
    }
}

fn behavior(value: i32) -> Option<String> {
    word(value, |it| match it {
        v1::Behavior::Unspecified => None,
        v1::Behavior::EndpointIndependent => Some("EndpointIndependent"),
        v1::Behavior::AddressDependent => Some("AddressDependent"),
        v1::Behavior::AddressAndPortDependent => Some("AddressAndPortDependent"),
    })
}

fn on_deny(value: i32) -> Option<String> {
    word(value, |it| match it {
        v1::OnDeny::Unspecified => None,
        v1::OnDeny::Reject => Some("Reject"),
        v1::OnDeny::Drop => Some("Drop"),
    })
}

fn policy(it: v1::EgressPolicy) -> raw::EgressPolicy {
    use v1::egress_policy::Action;
    raw::EgressPolicy {
        priority: it.priority,
        from: Some(selectors(it.from)),
        to: Some(selectors(it.to)),
        ports: port_matches(it.ports),
        action: word(it.action, |it| match it {
            Action::Unspecified => None,
            Action::Snat => Some("Snat"),
            Action::Direct => Some("Direct"),
            Action::Deny => Some("Deny"),
        }),
        pool: some(it.pool),
        mapping: behavior(it.mapping),
        filtering: behavior(it.filtering),
        pooling: word(it.pooling, |it| match it {
            v1::Pooling::Unspecified => None,
            v1::Pooling::Paired => Some("Paired"),
            v1::Pooling::PairedStrict => Some("PairedStrict"),
            v1::Pooling::Arbitrary => Some("Arbitrary"),
        }),
        on_deny: on_deny(it.on_deny),
        adopt_mid_stream: Some(it.adopt_mid_stream),
        mss_clamp: it.mss_clamp,
    }
}

fn selectors(all: Vec<v1::PrefixExcept>) -> Vec<raw::PrefixExcept> {
    all.into_iter().map(|it| raw::PrefixExcept { prefix: it.prefix, except: it.except }).collect()
}

fn port_matches(all: Vec<v1::PortMatch>) -> Vec<raw::PortMatch> {
    all.into_iter()
        .map(|it| raw::PortMatch { protocol: protocol(it.protocol), port: it.port, end_port: it.end_port })
        .collect()
}

fn balancer(it: v1::LoadBalancer) -> raw::LoadBalancer {
    use v1::load_balancer::{Affinity, Algorithm};
    raw::LoadBalancer {
        vips: it.vips,
        ports: it
            .ports
            .into_iter()
            .map(|it| raw::ServicePort {
                name: some(it.name),
                protocol: protocol(it.protocol),
                port: Some(it.port),
                end_port: it.end_port,
                target_port: it.target_port,
            })
            .collect(),
        algorithm: word(it.algorithm, |it| match it {
            Algorithm::Unspecified => None,
            Algorithm::Maglev => Some("Maglev"),
            Algorithm::RoundRobin => Some("RoundRobin"),
            Algorithm::LeastConnections => Some("LeastConnections"),
        }),
        affinity: word(it.affinity, |it| match it {
            Affinity::Unspecified => None,
            Affinity::None => Some("None"),
            Affinity::ClientAddress => Some("ClientAddress"),
        }),
        source_nat: it.source_nat.map(|it| raw::SourceNat { pool: it.pool }),
        drain: duration(it.drain),
        panic_threshold: it.panic_threshold,
        source_ranges: it.source_ranges,
        slow_start: duration(it.slow_start),
        on_empty: on_deny(it.on_empty),
        health_check: it.health_check.map(health_check),
        table_size: it.table_size,
        backends: it
            .backends
            .into_iter()
            .map(|it| raw::Backend {
                address: it.address,
                port: it.port,
                weight: it.weight,
                state: word(it.state, |it| match it {
                    v1::backend::State::Unspecified => None,
                    v1::backend::State::Active => Some("Active"),
                    v1::backend::State::Draining => Some("Draining"),
                    v1::backend::State::Down => Some("Down"),
                }),
            })
            .collect(),
    }
}

fn health_check(it: v1::HealthCheck) -> raw::HealthCheck {
    use v1::health_check::Probe;
    let mut out = raw::HealthCheck {
        interval: duration(it.interval),
        timeout: duration(it.timeout),
        unhealthy_after: it.unhealthy_after,
        healthy_after: it.healthy_after,
        ..raw::HealthCheck::default()
    };
    match it.probe {
        None => {}
        Some(Probe::Tcp(_)) => out.tcp = Some(raw::Tcp { port: it.port }),
        Some(Probe::Http(http)) => {
            out.http = Some(raw::Http { path: some(http.path), host: some(http.host), port: it.port });
        }
        Some(Probe::Udp(udp)) => {
            out.udp = Some(raw::Udp { send: Some(udp.send), expect: Some(udp.expect), port: it.port });
        }
    }
    out
}

fn mapping(it: v1::StaticMapping) -> raw::StaticMapping {
    let side = |it: v1::static_mapping::Side| raw::StaticSide {
        address: it.address,
        port: it.port,
        end_port: it.end_port,
    };
    raw::StaticMapping {
        protocol: protocol(it.protocol),
        outside: it.outside.map(side),
        inside: it.inside.map(side),
    }
}

fn access(it: v1::AccessPolicy) -> raw::AccessPolicy {
    raw::AccessPolicy {
        subjects: Some(selectors(it.subjects)),
        rules: it
            .rules
            .into_iter()
            .map(|rule| raw::AccessRule { to: selectors(rule.to), ports: port_matches(rule.ports) })
            .collect(),
    }
}
