//! LoadBalancer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::egress::on_deny;
use super::report::{At, Report};
use crate::{
    Affinity, Algorithm, Backend, BackendState, HealthCheck, LoadBalancer, PortRange, Probe, Protocol,
    ServicePort, limits, raw, text,
};

pub(super) fn balancer(report: &mut Report<'_>, at: At<'_>, raw: raw::LoadBalancer) -> LoadBalancer {
    let day = Duration::from_secs(86_400);
    let span = |text: &Option<raw::Text>| text.as_ref().map(|text| text.0.clone());
    let vips = vips(report, at.field("vips"), &raw.vips);
    let ports = ports(report, at.field("ports"), raw.ports);
    let algorithm = report.choice(
        at.field("algorithm"),
        raw.algorithm.as_deref(),
        Algorithm::default(),
        &[
            ("Maglev", Algorithm::Maglev),
            ("RoundRobin", Algorithm::RoundRobin),
            ("LeastConnections", Algorithm::LeastConnections),
        ],
    );
    let affinity = report.choice(
        at.field("affinity"),
        raw.affinity.as_deref(),
        Affinity::default(),
        &[("None", Affinity::None), ("ClientAddress", Affinity::ClientAddress)],
    );
    let source_nat = raw.source_nat.map(|it| report.reference(at.field("sourceNat").field("pool"), &it.pool));
    let drain = span(&raw.drain);
    let drain =
        report.duration(at.field("drain"), drain.as_deref(), Duration::from_secs(300), Duration::ZERO, day);
    let slow_start = span(&raw.slow_start);
    let slow_start =
        report.duration(at.field("slowStart"), slow_start.as_deref(), Duration::ZERO, Duration::ZERO, day);
    let panic_threshold = report.number(at.field("panicThreshold"), raw.panic_threshold, 50, 0..=100) as u8;
    let source_ranges = report.prefixes(at.field("sourceRanges"), &raw.source_ranges);
    let on_empty = on_deny(report, at.field("onEmpty"), raw.on_empty.as_deref());
    let table_size = table_size(report, at.field("tableSize"), raw.table_size);
    let backends = backends(report, at.field("backends"), &raw.backends, &ports);
    let health_check =
        raw.health_check.and_then(|it| health_check(report, at.field("healthCheck"), it, &ports, &backends));
    LoadBalancer {
        vips,
        ports,
        algorithm,
        affinity,
        source_nat,
        drain,
        panic_threshold,
        source_ranges,
        slow_start,
        on_empty,
        health_check,
        table_size,
        backends,
    }
}

fn vips(report: &mut Report<'_>, at: At<'_>, texts: &[String]) -> Vec<IpAddr> {
    if texts.is_empty() {
        report.fault(at, "", "missing or empty", "write at least one service address");
    }
    report.length(at, texts.len(), limits::VIPS);
    let mut seen = BTreeSet::new();
    let mut all = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let before = report.errors.len();
        let vip = report.host(at.index(i), text);
        if report.errors.len() == before && !seen.insert(vip) {
            report.fault(at.index(i), text, "named twice", "write each address once");
        }
        all.push(vip);
    }
    all
}

fn ports(report: &mut Report<'_>, at: At<'_>, raw: Vec<raw::ServicePort>) -> Vec<ServicePort> {
    if raw.is_empty() {
        report.fault(at, "", "missing or empty", "write at least one port, as [{protocol: TCP, port: 80}]");
    }
    report.length(at, raw.len(), limits::SERVICE_PORTS);
    let mut names = BTreeSet::new();
    let mut all: Vec<ServicePort> = Vec::with_capacity(raw.len());
    for (i, one) in raw.into_iter().enumerate() {
        let port = service_port(report, at.index(i), one);
        if !port.name.is_empty() && !names.insert(port.name.clone()) {
            report.fault(at.index(i).field("name"), &port.name, "named twice", "give each port its own name");
        }
        // Bounded by SERVICE_PORTS squared at worst, a million comparisons; else `check` would blame the object alone.
        let twin = all.iter().find(|it| {
            it.protocol == port.protocol
                && it.ports.first <= port.ports.last
                && port.ports.first <= it.ports.last
        });
        if let (Some(twin), true) = (twin, all.len() < limits::SERVICE_PORTS) {
            report.fault(
                at.index(i).field("port"),
                text::ports_text(port.ports),
                format!("overlaps port {} of the same service", text::ports_text(twin.ports)),
                "write each protocol and port once",
            );
        }
        all.push(port);
    }
    all
}

fn service_port(report: &mut Report<'_>, at: At<'_>, raw: raw::ServicePort) -> ServicePort {
    let protocol = match &raw.protocol {
        Some(word) => report.transport(at.field("protocol"), &word.0),
        None => Protocol::Tcp,
    };
    let ports = match raw.port {
        None => {
            report.fault(at.field("port"), "", "missing", "write a port, or 0 for all of them");
            PortRange { first: 1, last: 1 }
        }
        Some(0) => {
            if let Some(end) = raw.end_port {
                report.fault(at.field("endPort"), end, "port 0 means all ports already", "leave endPort out");
            }
            PortRange { first: 0, last: u16::MAX }
        }
        Some(port) => report.port_range(at, port, raw.end_port),
    };
    let target_port = raw.target_port.map(|port| report.port(at.field("targetPort"), port));
    if let (Some(target), true) = (target_port, ports.first != ports.last) {
        report.fault(
            at.field("targetPort"),
            target,
            "a range of ports is kept as it is at the backend",
            "leave targetPort out, or write one port",
        );
    }
    ServicePort { name: raw.name.unwrap_or_default(), protocol, ports, target_port }
}

fn table_size(report: &mut Report<'_>, at: At<'_>, size: Option<u32>) -> Option<u32> {
    if let Some(size) = size
        && !limits::TABLE_SIZES.contains(&size)
    {
        let larger = limits::TABLE_SIZES.into_iter().find(|&prime| prime > size);
        report.fault(
            at,
            size,
            "not one of the primes that a look-up table can have",
            format!("write {}, or leave it out", larger.unwrap_or(1_048_573)),
        );
    }
    size
}

fn backends(
    report: &mut Report<'_>,
    at: At<'_>,
    raw: &[raw::Backend],
    ports: &[ServicePort],
) -> Vec<Backend> {
    report.length(at, raw.len(), limits::BACKENDS);
    let one_port = matches!(ports, [port] if port.ports.first == port.ports.last);
    let mut seen = BTreeSet::new();
    let mut all = Vec::with_capacity(raw.len());
    for (i, one) in raw.iter().enumerate() {
        let here = at.index(i);
        let before = report.errors.len();
        let address = report.host(here.field("address"), &one.address);
        let port = one.port.map(|port| report.port(here.field("port"), port));
        if let (Some(port), false) = (port, one_port) {
            report.fault(
                here.field("port"),
                port,
                "a backend has its own port only where the service has one port",
                "leave it out, or write one LoadBalancer a port",
            );
        }
        let weight = report.number(here.field("weight"), one.weight, 1, 0..=limits::WEIGHT) as u16;
        let state = report.choice(
            here.field("state"),
            one.state.as_deref(),
            BackendState::default(),
            &[
                ("Active", BackendState::Active),
                ("Draining", BackendState::Draining),
                ("Down", BackendState::Down),
            ],
        );
        if report.errors.len() == before && !seen.insert((address, port)) {
            report.fault(
                here.field("address"),
                address,
                "the same backend twice",
                "write it once, with a weight",
            );
        }
        all.push(Backend { address, port, weight, state });
    }
    all
}

fn health_check(
    report: &mut Report<'_>,
    at: At<'_>,
    raw: raw::HealthCheck,
    ports: &[ServicePort],
    backends: &[Backend],
) -> Option<HealthCheck> {
    let ways =
        [raw.http.is_some(), raw.tcp.is_some(), raw.udp.is_some()].into_iter().filter(|way| *way).count();
    if ways != 1 {
        report.fault(at, "", "not exactly one way to check", "write one of http: {}, tcp: {} or udp: {}");
        return None;
    }
    let (way, probe, port) = if let Some(http) = raw.http {
        let here = at.field("http");
        let path = http.path.unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
            report.fault(here.field("path"), &path, "not a path of a URL", "write it as /healthz");
        }
        if let Some(host) = &http.host
            && (host.is_empty() || !host.bytes().all(|b| b.is_ascii_graphic()))
        {
            report.fault(here.field("host"), host, "not a host name", "write it as www.example.com");
        }
        ("http", Probe::Http { path, host: http.host }, http.port)
    } else if let Some(udp) = raw.udp {
        let probe = Probe::Udp { send: udp.send.unwrap_or_default(), expect: udp.expect.unwrap_or_default() };
        ("udp", probe, udp.port)
    } else {
        ("tcp", Probe::Tcp, raw.tcp.and_then(|tcp| tcp.port))
    };
    let way = at.field(way);
    let port = port.map(|port| report.port(way.field("port"), port));
    let kept = ports.iter().all(|port| port.ports.first != port.ports.last);
    if port.is_none() && kept && backends.iter().any(|backend| backend.port.is_none()) {
        report.fault(
            way.field("port"),
            "",
            "a range of ports says not which one to ask",
            "write the port to ask",
        );
    }
    let duration = |report: &mut Report<'_>, at: At<'_>, text: Option<raw::Text>, default: u64| {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(3600));
        report.duration(at, text.as_ref().map(|it| it.0.as_str()), Duration::from_secs(default), least, most)
    };
    let interval = duration(report, at.field("interval"), raw.interval, 2);
    // An interval under the default timeout shortens it: the two would contradict each other otherwise.
    let asked = raw.timeout.is_some();
    let mut timeout = duration(report, at.field("timeout"), raw.timeout, 1);
    if timeout > interval {
        if asked {
            report.fault(
                at.field("timeout"),
                text::duration_text(timeout),
                format!("longer than the interval of {}", text::duration_text(interval)),
                "make it shorter than the interval",
            );
        }
        timeout = interval;
    }
    Some(HealthCheck {
        probe,
        port,
        interval,
        timeout,
        unhealthy_after: report.number(at.field("unhealthyAfter"), raw.unhealthy_after, 3, 1..=1000),
        healthy_after: report.number(at.field("healthyAfter"), raw.healthy_after, 2, 1..=1000),
    })
}
