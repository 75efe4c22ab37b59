//! Routes: connected subnets and static routes, compiled to next hops.
//!
//! Each side may have its own default route, so one prefix may lead to both sides; a packet
//! from one side then prefers the other. Otherwise the longest prefix decides alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use model::{Error, Kind, Name, ObjectRef, Origin, Route};
use nat::Side;

use crate::lpm::Lpm;
use crate::node::{NodeFacts, PortId};

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The port that it leaves by.
    pub port: PortId,
    /// Whose hardware address it is sent to: a gateway, or in a connected subnet its destination.
    pub address: Ipv4Addr,
}

/// One of several equal ways; `None`: the destination itself is the neighbour.
type Way = (PortId, Option<Ipv4Addr>);

/// What one prefix leads to, by side; a side may have no ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ways {
    inside: Vec<Way>,
    outside: Vec<Way>,
}

impl Ways {
    fn of(&self, side: Side) -> &[Way] {
        match side {
            Side::Inside => &self.inside,
            Side::Outside => &self.outside,
        }
    }

    fn of_mut(&mut self, side: Side) -> &mut Vec<Way> {
        match side {
            Side::Inside => &mut self.inside,
            Side::Outside => &mut self.outside,
        }
    }
}

/// All routes of a snapshot. Immutable.
#[derive(Clone, Debug)]
pub struct Routes {
    lpm: Lpm,
    ways: Vec<Ways>,
    /// What they were compiled from: node and objects.
    node: NodeFacts,
    objects: Vec<(Origin, Name, Route)>,
}

impl Routes {
    /// Compiles connected subnets of the ports, routes of the node file and objects of kind Route.
    ///
    /// Errors name routes whose next hop is in no port's subnet or is the gateway itself, IPv6 ones, and second
    /// routes to a prefix on one side (with several next hops a route is ECMP; two routes are a contradiction).
    pub fn compile<'a>(
        node: &NodeFacts,
        objects: impl IntoIterator<Item = (&'a Origin, &'a Name, &'a Route)>,
    ) -> Result<Self, Vec<Error>> {
        let objects: Vec<(Origin, Name, Route)> =
            objects.into_iter().map(|(o, n, r)| (o.clone(), n.clone(), r.clone())).collect();
        let mut ways: BTreeMap<Ipv4Net, Ways> = BTreeMap::new();
        let mut errors = Vec::new();
        let of_node = || ObjectRef { origin: None, kind: "node".to_owned(), name: node.name.clone() };
        let from_file = node.routes.iter().enumerate().map(|(n, r)| (of_node(), format!("routes[{n}]"), r));
        let from_objects =
            objects.iter().map(|(o, n, r)| (ObjectRef::new(o, Kind::Route, n), "spec".to_owned(), r));
        for (object, field, route) in from_file.chain(from_objects) {
            if let Err(error) = add(node, &mut ways, object, &field, route) {
                errors.push(*error);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        // A connected subnet is nearer than any route to the same prefix.
        for port in node.ports.iter().rev() {
            for net in &port.addresses {
                let mut near = Ways::default();
                near.of_mut(port.side).push((port.id, None));
                ways.insert(net.trunc(), near);
            }
        }
        let prefixes = ways.keys().zip(0u32..).map(|(net, number)| (net.network(), net.prefix_len(), number));
        Ok(Routes {
            lpm: Lpm::compile(prefixes),
            ways: ways.into_values().collect(),
            node: node.clone(),
            objects,
        })
    }

    /// Were they compiled from exactly this?
    pub(crate) fn stands_for<'a>(
        &self,
        node: &NodeFacts,
        mut objects: impl Iterator<Item = (&'a Origin, &'a Name, &'a Route)>,
    ) -> bool {
        self.node == *node
            && self.objects.iter().all(|(o, n, r)| objects.next() == Some((o, n, r)))
            && objects.next().is_none()
    }

    fn ways(&self, address: Ipv4Addr) -> Option<&Ways> {
        self.ways.get(self.lpm.find(address)? as usize)
    }

    /// The next hop towards `destination`; among several by `hash`, the flow's Toeplitz hash, so that a flow
    /// keeps its way. Where the best prefix leads to both sides, `prefer` decides. `None`: no route.
    #[inline]
    pub fn next_hop(&self, destination: Ipv4Addr, hash: u32, prefer: Side) -> Option<NextHop> {
        let ways = self.ways(destination)?;
        let preferred = ways.of(prefer);
        let equal = if preferred.is_empty() { ways.of(other(prefer)) } else { preferred };
        let at = (u64::from(hash) * equal.len() as u64) >> 32;
        let (port, gateway) = *equal.get(at as usize)?;
        Some(NextHop { port, address: gateway.unwrap_or(destination) })
    }

    /// Does the best route to `address` lead out of a port of `side`?
    #[inline]
    pub fn leads(&self, address: Ipv4Addr, side: Side) -> bool {
        self.ways(address).is_some_and(|ways| !ways.of(side).is_empty())
    }

    /// The side that the best route to `address` leads to; outside where it leads to both. `None`: no route.
    #[inline]
    pub fn side_of(&self, address: Ipv4Addr) -> Option<Side> {
        let ways = self.ways(address)?;
        Some(if ways.outside.is_empty() { Side::Inside } else { Side::Outside })
    }
}

/// The side across the gateway.
fn other(side: Side) -> Side {
    match side {
        Side::Inside => Side::Outside,
        Side::Outside => Side::Inside,
    }
}

fn add(
    node: &NodeFacts,
    ways: &mut BTreeMap<Ipv4Net, Ways>,
    object: ObjectRef,
    field: &str,
    route: &Route,
) -> Result<(), Box<Error>> {
    let IpNet::V4(to) = route.to else {
        return Err(fault(object, format!("{field}.to"), route.to, "IPv6 is not routed yet", "remove it"));
    };
    let mut by_side = Ways::default();
    for (n, via) in route.via.iter().enumerate() {
        let at = format!("{field}.via[{n}]");
        let IpAddr::V4(gateway) = *via else {
            return Err(fault(object, at, via, "IPv6 is not routed yet", "give an IPv4 next hop"));
        };
        if node.ports.iter().any(|p| p.addresses.iter().any(|net| net.addr() == gateway)) {
            let remedy = "give the address of a neighbour";
            return Err(fault(object, at, via, "this is an address of the gateway itself", remedy));
        }
        let Some(port) = node.ports.iter().find(|p| p.reaches(gateway)) else {
            let remedy =
                "give a neighbour in the subnet of a port, or a port an address in the neighbour's subnet";
            return Err(fault(object, at, via, "no port's subnet holds this next hop", remedy));
        };
        let side = by_side.of_mut(port.side);
        if !side.contains(&(port.id, Some(gateway))) {
            side.push((port.id, Some(gateway)));
        }
    }
    let known = ways.entry(to.trunc()).or_default();
    for side in [Side::Inside, Side::Outside] {
        let mut new = std::mem::take(by_side.of_mut(side));
        // Equal next hops in any order give every gateway the same choice.
        new.sort_unstable();
        if !new.is_empty() && !known.of(side).is_empty() {
            let problem = "another route leads to this prefix by the same side";
            let remedy = "join them in one route with several next hops, or remove one";
            return Err(fault(object, format!("{field}.to"), to, problem, remedy));
        }
        known.of_mut(side).append(&mut new);
    }
    Ok(())
}

fn fault(
    object: ObjectRef,
    field: String,
    value: impl std::fmt::Display,
    problem: &str,
    remedy: &str,
) -> Box<Error> {
    Box::new(Error::new(object, field, value, problem, remedy))
}
