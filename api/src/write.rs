//! Domain objects and errors become messages, every default filled in.

use std::time::Duration;

use model::text::address_range_text;
use model::{
    Affinity, Algorithm, BackendState, EgressAction, Error, FilteringBehavior, Kind, MappingBehavior, Object,
    ObjectKey, ObjectRef, OnDeny, Origin, PoolingBehavior, PortMatch, PortRange, PrefixExcept, Probe, Spec,
    Warning,
};
use prost_types::Duration as DurationMessage;

use crate::v1;

/// The message of a duration; one beyond what a message holds becomes the longest that it does.
pub fn duration_message(duration: Duration) -> DurationMessage {
    DurationMessage::try_from(duration).unwrap_or(DurationMessage { seconds: 315_576_000_000, nanos: 0 })
}

/// The message of a kind.
pub fn kind_message(kind: Kind) -> v1::Kind {
    match kind {
        Kind::EgressPool => v1::Kind::EgressPool,
        Kind::EgressPolicy => v1::Kind::EgressPolicy,
        Kind::LoadBalancer => v1::Kind::LoadBalancer,
        Kind::StaticMapping => v1::Kind::StaticMapping,
        Kind::AccessPolicy => v1::Kind::AccessPolicy,
        Kind::AccessGuard => v1::Kind::AccessGuard,
        Kind::Route => v1::Kind::Route,
    }
}

/// The message of a key.
pub fn key_message(key: &ObjectKey) -> v1::ObjectKey {
    v1::ObjectKey { kind: kind_message(key.kind).into(), name: key.name.to_string() }
}

/// The message of an error.
pub fn error_message(error: &Error) -> v1::ObjectError {
    v1::ObjectError {
        origin: error.object.origin.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: error.object.kind.clone(),
        name: error.object.name.clone(),
        field: error.field.clone(),
        value: error.value.clone(),
        problem: error.problem.clone(),
        remedy: error.remedy.clone(),
    }
}

/// The messages of warnings.
pub fn warnings_messages(warnings: &[Warning]) -> Vec<v1::ObjectError> {
    warnings.iter().map(|warning| error_message(&warning.0)).collect()
}

/// The error of a message, for a client to show.
pub fn error_from_message(message: v1::ObjectError) -> Error {
    let origin = Some(message.origin).filter(|origin| !origin.is_empty());
    Error {
        object: ObjectRef {
            origin: origin.map(|origin| Origin(origin.into())),
            kind: message.kind,
            name: message.name,
        },
        field: message.field,
        value: message.value,
        problem: message.problem,
        remedy: message.remedy,
    }
}

/// The message of an object.
pub fn object_message(object: &Object) -> v1::Object {
    use v1::object::Spec as Message;
    let spec = match &object.spec {
        Spec::EgressPool(it) => Message::EgressPool(pool(it)),
        Spec::EgressPolicy(it) => Message::EgressPolicy(policy(it)),
        Spec::LoadBalancer(it) => Message::LoadBalancer(balancer(it)),
        Spec::StaticMapping(it) => Message::StaticMapping(mapping(it)),
        Spec::AccessPolicy(it) => Message::AccessPolicy(access(it)),
        Spec::AccessGuard(it) => Message::AccessGuard(v1::AccessGuard { prefixes: texts(&it.prefixes) }),
        Spec::Route(it) => Message::Route(v1::Route { to: it.to.to_string(), via: texts(&it.via) }),
    };
    v1::Object { name: object.name.to_string(), spec: Some(spec) }
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn duration(duration: Duration) -> Option<DurationMessage> {
    Some(duration_message(duration))
}

fn end(range: PortRange) -> Option<u32> {
    (range.first != range.last).then_some(range.last.into())
}

fn pool(it: &model::EgressPool) -> v1::EgressPool {
    v1::EgressPool {
        addresses: it.addresses.iter().map(|range| address_range_text(*range)).collect(),
        ports: Some(v1::PortRange { first: it.ports.first.into(), last: it.ports.last.into() }),
        block_size: Some(it.block_size.into()),
        max_blocks_per_subscriber: Some(it.max_blocks_per_subscriber.into()),
        port_rest: duration(it.port_rest),
        timeouts: Some(v1::Timeouts {
            udp: duration(it.timeouts.udp),
            tcp_established: duration(it.timeouts.tcp_established),
            tcp_opening: duration(it.timeouts.tcp_opening),
            tcp_closing: duration(it.timeouts.tcp_closing),
            icmp: duration(it.timeouts.icmp),
        }),
        quotas: Some(v1::Quotas {
            ports: it.quotas.ports,
            sessions: it.quotas.sessions,
            new_sessions_per_second: it.quotas.new_sessions_per_second,
            burst: it.quotas.burst,
            half_open: it.quotas.half_open,
        }),
    }
}

fn policy(it: &model::EgressPolicy) -> v1::EgressPolicy {
    use v1::egress_policy::Action;
    let mut out = v1::EgressPolicy {
        priority: Some(it.priority),
        from: selectors(&it.from),
        to: selectors(&it.to),
        ports: port_matches(&it.ports),
        on_deny: on_deny(it.on_deny),
        adopt_mid_stream: it.adopt_mid_stream,
        mss_clamp: it.mss_clamp.map(u32::from),
        ..v1::EgressPolicy::default()
    };
    match &it.action {
        EgressAction::Direct => out.set_action(Action::Direct),
        EgressAction::Deny => out.set_action(Action::Deny),
        EgressAction::Snat { pool, mapping, filtering, pooling } => {
            out.set_action(Action::Snat);
            out.pool = pool.to_string();
            out.set_mapping(match mapping {
                MappingBehavior::EndpointIndependent => v1::Behavior::EndpointIndependent,
                MappingBehavior::AddressDependent => v1::Behavior::AddressDependent,
                MappingBehavior::AddressAndPortDependent => v1::Behavior::AddressAndPortDependent,
            });
            out.set_filtering(match filtering {
                FilteringBehavior::EndpointIndependent => v1::Behavior::EndpointIndependent,
                FilteringBehavior::AddressDependent => v1::Behavior::AddressDependent,
                FilteringBehavior::AddressAndPortDependent => v1::Behavior::AddressAndPortDependent,
            });
            out.set_pooling(match pooling {
                PoolingBehavior::Paired => v1::Pooling::Paired,
                PoolingBehavior::PairedStrict => v1::Pooling::PairedStrict,
                PoolingBehavior::Arbitrary => v1::Pooling::Arbitrary,
            });
        }
    }
    out
}

fn on_deny(it: OnDeny) -> i32 {
    match it {
        OnDeny::Reject => v1::OnDeny::Reject,
        OnDeny::Drop => v1::OnDeny::Drop,
    }
    .into()
}

fn selectors(all: &[PrefixExcept]) -> Vec<v1::PrefixExcept> {
    all.iter()
        .map(|it| v1::PrefixExcept { prefix: it.prefix.to_string(), except: texts(&it.except) })
        .collect()
}

fn port_matches(all: &[PortMatch]) -> Vec<v1::PortMatch> {
    all.iter()
        .map(|it| v1::PortMatch {
            protocol: it.protocol.map(|protocol| protocol.number().into()),
            port: it.ports.map(|range| range.first.into()),
            end_port: it.ports.and_then(end),
        })
        .collect()
}

fn balancer(it: &model::LoadBalancer) -> v1::LoadBalancer {
    use v1::load_balancer as message;
    v1::LoadBalancer {
        vips: texts(&it.vips),
        ports: it.ports.iter().map(service_port).collect(),
        algorithm: match it.algorithm {
            Algorithm::Maglev => message::Algorithm::Maglev,
            Algorithm::RoundRobin => message::Algorithm::RoundRobin,
            Algorithm::LeastConnections => message::Algorithm::LeastConnections,
        }
        .into(),
        affinity: match it.affinity {
            Affinity::None => message::Affinity::None,
            Affinity::ClientAddress => message::Affinity::ClientAddress,
        }
        .into(),
        source_nat: it.source_nat.as_ref().map(|pool| message::SourceNat { pool: pool.to_string() }),
        drain: duration(it.drain),
        panic_threshold: Some(it.panic_threshold.into()),
        source_ranges: texts(&it.source_ranges),
        slow_start: duration(it.slow_start),
        on_empty: on_deny(it.on_empty),
        health_check: it.health_check.as_ref().map(health_check),
        table_size: it.table_size,
        backends: it.backends.iter().map(backend).collect(),
    }
}

fn service_port(it: &model::ServicePort) -> v1::ServicePort {
    v1::ServicePort {
        name: it.name.clone(),
        protocol: Some(it.protocol.number().into()),
        port: it.ports.first.into(),
        end_port: end(it.ports).filter(|_| it.ports.first != 0),
        target_port: it.target_port.map(u32::from),
    }
}

fn backend(it: &model::Backend) -> v1::Backend {
    use v1::backend::State;
    v1::Backend {
        address: it.address.to_string(),
        port: it.port.map(u32::from),
        weight: Some(it.weight.into()),
        state: match it.state {
            BackendState::Active => State::Active,
            BackendState::Draining => State::Draining,
            BackendState::Down => State::Down,
        }
        .into(),
    }
}

fn health_check(it: &model::HealthCheck) -> v1::HealthCheck {
    use v1::health_check as message;
    let probe = match &it.probe {
        Probe::Tcp => message::Probe::Tcp(message::Tcp {}),
        Probe::Http { path, host } => {
            message::Probe::Http(message::Http { path: path.clone(), host: host.clone().unwrap_or_default() })
        }
        Probe::Udp { send, expect } => {
            message::Probe::Udp(message::Udp { send: send.clone(), expect: expect.clone() })
        }
    };
    v1::HealthCheck {
        probe: Some(probe),
        port: it.port.map(u32::from),
        interval: duration(it.interval),
        timeout: duration(it.timeout),
        unhealthy_after: Some(it.unhealthy_after),
        healthy_after: Some(it.healthy_after),
    }
}

fn mapping(it: &model::StaticMapping) -> v1::StaticMapping {
    let side = |address: std::net::IpAddr, ports: Option<PortRange>| v1::static_mapping::Side {
        address: address.to_string(),
        port: ports.map(|range| range.first.into()),
        end_port: ports.and_then(end),
    };
    v1::StaticMapping {
        protocol: it.protocol.map(|protocol| protocol.number().into()),
        outside: Some(side(it.outside, it.outside_ports)),
        inside: Some(side(it.inside, it.inside_ports)),
    }
}

fn access(it: &model::AccessPolicy) -> v1::AccessPolicy {
    v1::AccessPolicy {
        subjects: selectors(&it.subjects),
        rules: it
            .rules
            .iter()
            .map(|rule| v1::access_policy::Rule { to: selectors(&rule.to), ports: port_matches(&rule.ports) })
            .collect(),
    }
}
