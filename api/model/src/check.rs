//! Whether objects go with each other, within an origin and across them.
//!
//! Two objects that claim the same are reported once, at the one that belongs to the origin being
//! changed (else the later one), naming the other: that is the one whose author is listening.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::text::{address_range_text, protocol_text};
use crate::{
    AddressRange, Config, EgressAction, Error, Kind, Name, ObjectRef, Origin, PortRange, Protocol, limits,
};

/// Who claims something, and in which of its fields.
#[derive(Clone, Copy)]
struct Claimant<'a> {
    origin: &'a Origin,
    kind: Kind,
    name: &'a Name,
    field: &'static str,
    index: Option<usize>,
}

impl Claimant<'_> {
    fn object(&self) -> ObjectRef {
        ObjectRef::new(self.origin, self.kind, self.name)
    }

    fn field(&self) -> String {
        match self.index {
            Some(index) => format!("{}[{index}]", self.field),
            None => self.field.to_owned(),
        }
    }
}

/// Everything in `config` that does not go together; `changing` is the origin whose change is judged.
pub fn check(config: &Config, changing: Option<&Origin>) -> Vec<Error> {
    let mut errors = Vec::new();
    bounds(config, &mut errors);
    pools_apart(config, changing, &mut errors);
    endpoints_apart(config, changing, &mut errors);
    insides_apart(config, changing, &mut errors);
    routes_apart(config, changing, &mut errors);
    pools_known(config, &mut errors);
    errors
}

/// Of two claimants, the one to blame first, then the other.
fn blame<'a>(a: Claimant<'a>, b: Claimant<'a>, changing: Option<&Origin>) -> (Claimant<'a>, Claimant<'a>) {
    let key =
        |it: &Claimant<'_>| (changing == Some(it.origin), (it.origin.clone(), it.kind, it.name.clone()));
    if key(&a) > key(&b) { (a, b) } else { (b, a) }
}

fn bounds(config: &Config, errors: &mut Vec<Error>) {
    let whole = |kind: &str| ObjectRef { origin: None, kind: kind.to_owned(), name: String::new() };
    let objects: usize = config.origins.values().map(|objects| objects.len()).sum();
    if objects > limits::OBJECTS {
        let problem = format!("more than {} objects", limits::OBJECTS);
        errors.push(Error::new(whole("configuration"), "", objects, problem, "write fewer, larger objects"));
    }
    if config.origins.len() > limits::ORIGINS {
        let problem = format!("more than {} origins", limits::ORIGINS);
        errors.push(Error::new(whole("configuration"), "origin", config.origins.len(), problem, "empty one"));
    }
}

fn pools_apart(config: &Config, changing: Option<&Origin>, errors: &mut Vec<Error>) {
    let mut ranges: Vec<(AddressRange, Claimant<'_>)> = Vec::new();
    for (origin, objects) in &config.origins {
        for (name, pool) in &objects.egress_pools {
            // The order in the object is sorted by now, so an index would name the wrong entry.
            let claimant =
                Claimant { origin, kind: Kind::EgressPool, name, field: "spec.addresses", index: None };
            ranges.extend(pool.addresses.iter().map(|range| (*range, claimant)));
        }
    }
    ranges.sort_by_key(|(range, _)| (range.first, range.last));
    let mut reach: Option<(AddressRange, Claimant<'_>)> = None;
    for (range, claimant) in ranges {
        if let Some((before, other)) = reach
            && range.first <= before.last
        {
            let (guilty, victim) = blame(claimant, other, changing);
            let shared = AddressRange { first: range.first, last: range.last.min(before.last) };
            errors.push(Error::new(
                guilty.object(),
                guilty.field(),
                address_range_text(shared),
                format!("overlaps {}", victim.object()),
                "give each address to one pool only",
            ));
        }
        if reach.is_none_or(|(before, _)| range.last > before.last) {
            reach = Some((range, claimant));
        }
    }
}

/// Ports of one address and protocol; no protocol: all of them.
struct Endpoints<'a> {
    protocol: Option<Protocol>,
    ports: PortRange,
    claimant: Claimant<'a>,
}

fn endpoints_apart(config: &Config, changing: Option<&Origin>, errors: &mut Vec<Error>) {
    let mut claims: BTreeMap<IpAddr, Vec<Endpoints<'_>>> = BTreeMap::new();
    let all = PortRange { first: 0, last: u16::MAX };
    for (origin, objects) in &config.origins {
        for (name, balancer) in &objects.load_balancers {
            for (i, vip) in balancer.vips.iter().enumerate() {
                let claimant =
                    Claimant { origin, kind: Kind::LoadBalancer, name, field: "spec.vips", index: Some(i) };
                let of_vip = claims.entry(*vip).or_default();
                for port in &balancer.ports {
                    of_vip.push(Endpoints { protocol: Some(port.protocol), ports: port.ports, claimant });
                }
            }
        }
        for (name, mapping) in &objects.static_mappings {
            let claimant =
                Claimant { origin, kind: Kind::StaticMapping, name, field: "spec.outside", index: None };
            claims.entry(mapping.outside).or_default().push(Endpoints {
                protocol: mapping.protocol,
                ports: mapping.outside_ports.unwrap_or(all),
                claimant,
            });
        }
    }
    for (address, mut of_address) in claims {
        if of_address.len() > 1 {
            clashes(address, &mut of_address, changing, errors);
        }
    }
}

/// Names the claims of one address that overlap. A 1:1 mapping claims every protocol and port.
fn clashes(
    address: IpAddr,
    claims: &mut [Endpoints<'_>],
    changing: Option<&Origin>,
    errors: &mut Vec<Error>,
) {
    let mut report = |a: Claimant<'_>, b: Claimant<'_>, what: String| {
        let (guilty, victim) = blame(a, b, changing);
        errors.push(Error::new(
            guilty.object(),
            guilty.field(),
            what,
            format!("already belongs to {}", victim.object()),
            "use another address or port, or remove one of the two",
        ));
    };
    claims.sort_by_key(|claim| (claim.protocol, claim.ports.first, claim.ports.last));
    if let Some(whole) = claims.first().filter(|claim| claim.protocol.is_none()).map(|claim| claim.claimant) {
        for claim in &claims[1..] {
            report(whole, claim.claimant, address.to_string());
        }
        return;
    }
    let mut reach: Option<&Endpoints<'_>> = None;
    for claim in claims.iter() {
        let before = reach.filter(|before| before.protocol == claim.protocol);
        if let Some(before) = before
            && claim.ports.first <= before.ports.last
        {
            let protocol = claim.protocol.map(protocol_text).unwrap_or_default();
            let what = match claim.ports.first == claim.ports.last {
                true => format!("{address}:{}/{protocol}", claim.ports.first),
                false => format!("{address}:{}-{}/{protocol}", claim.ports.first, claim.ports.last),
            };
            report(claim.claimant, before.claimant, what);
        }
        if before.is_none_or(|before| claim.ports.last > before.ports.last) {
            reach = Some(claim);
        }
    }
}

/// An inside address has one 1:1 mapping: with two, which address its packets leave from would be chance.
fn insides_apart(config: &Config, changing: Option<&Origin>, errors: &mut Vec<Error>) {
    let mut seen: BTreeMap<IpAddr, Claimant<'_>> = BTreeMap::new();
    for (origin, objects) in &config.origins {
        for (name, mapping) in &objects.static_mappings {
            if mapping.protocol.is_some() {
                continue;
            }
            let claimant = Claimant {
                origin,
                kind: Kind::StaticMapping,
                name,
                field: "spec.inside.address",
                index: None,
            };
            if let Some(other) = seen.insert(mapping.inside, claimant) {
                let (guilty, victim) = blame(claimant, other, changing);
                errors.push(Error::new(
                    guilty.object(),
                    guilty.field(),
                    mapping.inside,
                    format!("already mapped 1:1 by {}", victim.object()),
                    "map each inside address 1:1 once",
                ));
            }
        }
    }
}

fn routes_apart(config: &Config, changing: Option<&Origin>, errors: &mut Vec<Error>) {
    let mut seen = BTreeMap::new();
    for (origin, objects) in &config.origins {
        for (name, route) in &objects.routes {
            let claimant = Claimant { origin, kind: Kind::Route, name, field: "spec.to", index: None };
            if let Some(other) = seen.insert(route.to, claimant) {
                let (guilty, victim) = blame(claimant, other, changing);
                errors.push(Error::new(
                    guilty.object(),
                    guilty.field(),
                    route.to,
                    format!("{} leads there already", victim.object()),
                    "write all next hops of a destination into one Route",
                ));
            }
        }
    }
}

/// A pool is looked up in the same origin, then in all others.
fn pools_known(config: &Config, errors: &mut Vec<Error>) {
    let known: BTreeSet<&Name> =
        config.origins.values().flat_map(|objects| objects.egress_pools.keys()).collect();
    for (origin, objects) in &config.origins {
        let policies = objects.egress_policies.iter().filter_map(|(name, policy)| match &policy.action {
            EgressAction::Snat { pool, .. } => Some((Kind::EgressPolicy, name, "spec.pool", pool)),
            EgressAction::Direct | EgressAction::Deny => None,
        });
        let balancers = objects.load_balancers.iter().filter_map(|(name, balancer)| {
            let pool = balancer.source_nat.as_ref()?;
            Some((Kind::LoadBalancer, name, "spec.sourceNat.pool", pool))
        });
        for (kind, name, field, pool) in policies.chain(balancers) {
            if !known.contains(pool) {
                errors.push(Error::new(
                    ObjectRef::new(origin, kind, name),
                    field,
                    pool,
                    "no EgressPool of this name",
                    "apply the pool together with it, or name one that there is",
                ));
            }
        }
    }
}
