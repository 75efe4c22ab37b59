//! Static mappings of the Config, checked against each other, the VIPs and the node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use model::{Error, Kind, Name, ObjectRef, Origin, StaticMapping};

use crate::compile::format_ports;
use crate::node::NodeFacts;
use crate::routes::Routes;
use crate::service::protocol;
use crate::statics::{StaticEntry, Statics};
use crate::vips::Vips;

/// Compiles static mappings, which come by origin and name.
pub(crate) fn compile<'a>(
    mappings: impl Iterator<Item = (&'a Origin, &'a Name, &'a StaticMapping)>,
    node: &NodeFacts,
    routes: Option<&Routes>,
    previous: Option<&Arc<Statics>>,
) -> Result<Arc<Statics>, Vec<Error>> {
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    for (origin, name, mapping) in mappings {
        match fixed(origin, name, mapping, node, routes) {
            Ok(entry) => entries.push(entry),
            Err(error) => errors.push(*error),
        }
    }
    errors.extend(overlapping(&entries));
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(match previous {
        Some(p) if p.mappings() == entries => Arc::clone(p),
        _ => Arc::new(Statics::compile(entries)),
    })
}

fn fixed(
    origin: &Origin,
    name: &Name,
    mapping: &StaticMapping,
    node: &NodeFacts,
    routes: Option<&Routes>,
) -> Result<StaticEntry, Box<Error>> {
    let fault = |field: &str, address: IpAddr, problem: &str, remedy: &str| {
        let object = ObjectRef::new(origin, Kind::StaticMapping, name);
        Box::new(Error::new(object, field, address, problem, remedy))
    };
    let v4 = |address: IpAddr, field: &str| match address {
        IpAddr::V4(v4) => Ok(v4),
        IpAddr::V6(_) => Err(fault(field, address, "IPv6 is not mapped yet", "give an IPv4 address")),
    };
    let outside = v4(mapping.outside, "spec.outside.address")?;
    let inside = v4(mapping.inside, "spec.inside.address")?;
    let ports = match (mapping.outside_ports, mapping.inside_ports) {
        (Some(o), Some(i)) => {
            Some((o.first, i.first, o.last.saturating_sub(o.first).min(i.last.saturating_sub(i.first))))
        }
        (Some(o), None) => Some((o.first, o.first, o.last.saturating_sub(o.first))),
        _ => None,
    };
    let own = node.ports.iter().any(|p| p.addresses.iter().any(|net| net.addr() == outside));
    if own && ports.is_none() {
        let problem = "this is the gateway's own address, and a 1:1 mapping would take all of its ports";
        let remedy = "map ports of it, or another address";
        return Err(fault("spec.outside.address", mapping.outside, problem, remedy));
    }
    if routes.is_some_and(|r| r.side_of(inside).is_none()) {
        let remedy = "apply a Route to it, or mend the address";
        return Err(fault("spec.inside.address", mapping.inside, "no route leads there", remedy));
    }
    Ok(StaticEntry {
        origin: origin.clone(),
        name: name.clone(),
        protocol: mapping.protocol.map(protocol),
        outside,
        inside,
        ports,
    })
}

/// Do two uses of an outside address meet?
fn meet(a: &StaticEntry, b: &StaticEntry) -> bool {
    let protocols = a.protocol.is_none() || b.protocol.is_none() || a.protocol == b.protocol;
    let ports = match (a.ports, b.ports) {
        (Some((a, _, more_a)), Some((b, _, more_b))) => {
            a <= b.saturating_add(more_b) && b <= a.saturating_add(more_a)
        }
        _ => true,
    };
    a.outside == b.outside && protocols && ports
}

/// Static mappings that hold one outside endpoint twice.
fn overlapping(entries: &[StaticEntry]) -> Vec<Error> {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<&StaticEntry>> = BTreeMap::new();
    let mut errors = Vec::new();
    for entry in entries {
        let others = by_address.entry(entry.outside).or_default();
        if let Some(other) = others.iter().find(|other| meet(other, entry)) {
            let earlier = ObjectRef::new(&other.origin, Kind::StaticMapping, &other.name);
            errors.push(taken(entry, format!("the outside endpoint belongs to {earlier} already")));
        }
        others.push(entry);
    }
    errors
}

fn taken(entry: &StaticEntry, problem: String) -> Error {
    let value = match entry.ports {
        Some((first, _, more)) => {
            format!("{}:{}", entry.outside, format_ports(first, first.saturating_add(more)))
        }
        None => entry.outside.to_string(),
    };
    let object = ObjectRef::new(&entry.origin, Kind::StaticMapping, &entry.name);
    Error::new(object, "spec.outside", value, problem, "give one of them another address or port")
}

/// Static mappings on endpoints of VIPs.
pub(crate) fn clashes(statics: &Statics, vips: &Vips) -> Vec<Error> {
    if statics.mappings().is_empty() {
        return Vec::new();
    }
    let mut on: BTreeMap<Ipv4Addr, Vec<(wire::Protocol, u16, u16)>> = BTreeMap::new();
    vips.iter().for_each(|(address, protocol, first, last)| {
        on.entry(address).or_default().push((protocol, first, last));
    });
    let clash = |entry: &&StaticEntry| {
        on.get(&entry.outside).is_some_and(|all| {
            all.iter().any(|&(protocol, first, last)| {
                entry.protocol.is_none_or(|p| p == protocol)
                    && entry
                        .ports
                        .is_none_or(|(port, _, more)| port <= last && first <= port.saturating_add(more))
            })
        })
    };
    let taken = |entry| taken(entry, "a LoadBalancer has a VIP on this endpoint".to_owned());
    statics.mappings().iter().filter(clash).map(taken).collect()
}
