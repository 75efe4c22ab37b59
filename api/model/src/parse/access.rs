//! StaticMapping, AccessPolicy, AccessGuard, Route.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::egress::{port_matches, selectors};
use super::report::{At, Report};
use crate::{AccessGuard, AccessPolicy, AccessRule, PortRange, Route, StaticMapping, limits, raw};

pub(super) fn mapping(report: &mut Report<'_>, at: At<'_>, raw: raw::StaticMapping) -> StaticMapping {
    let protocol = raw.protocol.as_ref().map(|word| report.transport(at.field("protocol"), &word.0));
    let before = report.errors.len();
    let (outside, outside_ports) = side(report, at.field("outside"), raw.outside);
    let (inside, inside_ports) = side(report, at.field("inside"), raw.inside);
    match (raw.protocol, outside_ports, inside_ports) {
        _ if report.errors.len() > before => {}
        (None, None, None) => {}
        (Some(_), Some(out), Some(inn)) => {
            let lengths = (out.last - out.first, inn.last - inn.first);
            if lengths.0 != lengths.1 {
                report.fault(
                    at.field("inside").field("endPort"),
                    inn.last,
                    format!(
                        "{} inside ports for {} outside ports",
                        lengths.1 as u32 + 1,
                        lengths.0 as u32 + 1
                    ),
                    format!("write endPort: {}", u32::from(inn.first) + u32::from(lengths.0)),
                );
            }
        }
        (None, ..) => report.fault(
            at.field("protocol"),
            "",
            "a port without a protocol",
            "write protocol: TCP or UDP, or leave the ports out for a 1:1 mapping",
        ),
        (Some(word), out, _) => {
            let missing = if out.is_none() { "outside" } else { "inside" };
            report.fault(
                at.field(missing).field("port"),
                "",
                format!("protocol {} needs a port on both sides", word.0),
                "write the port, or leave protocol out for a 1:1 mapping",
            );
        }
    }
    StaticMapping { protocol, outside, outside_ports, inside, inside_ports }
}

fn side(report: &mut Report<'_>, at: At<'_>, raw: Option<raw::StaticSide>) -> (IpAddr, Option<PortRange>) {
    let Some(raw) = raw else {
        report.fault(at, "", "missing", "write it as {address: 203.0.113.5, port: 2222}");
        return (IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), None);
    };
    let address = report.host(at.field("address"), &raw.address);
    if raw.end_port.is_some() && raw.port.is_none() {
        report.fault(at.field("endPort"), "", "an end without a start", "write port beside it");
    }
    (address, raw.port.map(|port| report.port_range(at, port, raw.end_port)))
}

pub(super) fn policy(report: &mut Report<'_>, at: At<'_>, raw: raw::AccessPolicy) -> AccessPolicy {
    if raw.subjects.is_none() {
        report.fault(
            at.field("subjects"),
            "",
            "missing",
            "write whom it selects, as [{prefix: 10.0.0.7/32}]",
        );
    }
    let subjects = selectors(report, at.field("subjects"), raw.subjects.unwrap_or_default());
    let list = at.field("rules");
    report.length(list, raw.rules.len(), limits::LIST);
    let rules = raw
        .rules
        .into_iter()
        .enumerate()
        .map(|(i, rule)| {
            let here = list.index(i);
            AccessRule {
                to: selectors(report, here.field("to"), rule.to),
                ports: port_matches(report, here.field("ports"), rule.ports),
            }
        })
        .collect();
    AccessPolicy { subjects, rules }
}

pub(super) fn guard(report: &mut Report<'_>, at: At<'_>, raw: raw::AccessGuard) -> AccessGuard {
    if raw.prefixes.is_none() {
        report.fault(at.field("prefixes"), "", "missing", "write the guarded prefixes, as [10.244.0.0/16]");
    }
    AccessGuard { prefixes: report.prefixes(at.field("prefixes"), &raw.prefixes.unwrap_or_default()) }
}

/// Parses a route, of an object or of the node file.
pub(super) fn route(report: &mut Report<'_>, at: At<'_>, raw: raw::Route) -> Route {
    let before = report.errors.len();
    let to = match raw.to {
        Some(text) => report.prefix(at.field("to"), &text),
        None => {
            report.fault(at.field("to"), "", "missing", "write the destination, as 10.244.0.0/16");
            IpNet::default()
        }
    };
    if report.errors.len() == before && matches!(to, IpNet::V6(_)) {
        report.fault(at.field("to"), to, "IPv6 is not served here yet", "write an IPv4 prefix");
    }
    let list = at.field("via");
    if raw.via.is_empty() {
        report.fault(list, "", "missing or empty", "write at least one next hop, as 10.0.0.7");
    }
    report.length(list, raw.via.0.len(), limits::NEXT_HOPS);
    let mut seen = BTreeSet::new();
    let mut via = Vec::with_capacity(raw.via.0.len());
    for (i, text) in raw.via.0.iter().enumerate() {
        let before = report.errors.len();
        let hop = report.host(list.index(i), text);
        if report.errors.len() == before && !seen.insert(hop) {
            report.fault(list.index(i), text, "named twice", "write each next hop once");
        }
        via.push(hop);
    }
    Route { to, via }
}
