//! Config, node, health and time in; a whole snapshot or every error out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use model::{Config, EgressAction, Error, Kind, Name, ObjectRef, Origin};
use nat::Tick;
use policy::{AccessInput, AccessRules, EgressInput, EgressRules, GuardInput, PoolNumber};

use crate::HOST_PORTS;
use crate::addresses::Locals;
use crate::fixed;
use crate::health::Health;
use crate::node::NodeFacts;
use crate::pools::{OutsideAddress, PoolNames, Pools, Reserved};
use crate::routes::Routes;
use crate::services::{self, Wanted};
use crate::snapshot::Snapshot;
use crate::statics::Statics;
use crate::vips::Vips;

/// Compiles a snapshot.
///
/// `previous` is the snapshot that runs: what did not change is shared with it, leases and the lives of backends
/// go on from it. `now` is the workers' time. Errors name every object at fault; on any, the old snapshot
/// simply goes on.
pub fn compile(
    config: &Config,
    node: &NodeFacts,
    health: &Health,
    previous: Option<&Snapshot>,
    now: Tick,
) -> Result<Snapshot, Vec<Error>> {
    let mut errors = Vec::new();
    let mut note = |found: Vec<Error>| errors.extend(found);

    let node = match previous {
        Some(p) if *p.node == *node => Arc::clone(&p.node),
        _ => Arc::new(node.clone()),
    };
    let routes = routes(config, &node, previous).map_err(&mut note).ok();
    let mappings = objects(config, |o| &o.static_mappings);
    let statics = fixed::compile(mappings, &node, routes.as_deref(), previous.map(|p| &p.statics))
        .map_err(&mut note)
        .ok();
    let names = PoolNames::new(objects(config, |o| &o.egress_pools).map(|(origin, name, _)| (origin, name)));
    let wanted = wanted(config, &names).map_err(&mut note).unwrap_or_default();
    let services = services::compile(wanted.into_iter(), health, previous, now).map_err(&mut note).ok();
    let vips = services.as_ref().and_then(|s| vips(s, previous).map_err(&mut note).ok());
    if let (Some(vips), Some(statics)) = (&vips, &statics) {
        note(fixed::clashes(statics, vips));
    }
    let reserved = match (&vips, &statics) {
        (Some(vips), Some(statics)) => reserved(config, &node, vips, statics),
        _ => Reserved::new(),
    };
    let pools = pools(config, &reserved, previous).map_err(&mut note).ok();
    let egress = egress(config, &names, previous).map_err(&mut note).ok();
    let access = access(config, previous);

    let (Some(routes), Some(statics), Some(services), Some(vips), Some(pools), Some(egress), true) =
        (routes, statics, services, vips, pools, egress, errors.is_empty())
    else {
        return Err(errors);
    };
    let same_node = previous.is_some_and(|p| Arc::ptr_eq(&p.node, &node));
    let same_vips = previous.is_some_and(|p| Arc::ptr_eq(&p.vips, &vips));
    let same_statics = previous.is_some_and(|p| Arc::ptr_eq(&p.statics, &statics));
    let same_pools = previous.is_some_and(|p| Arc::ptr_eq(&p.pool_entries, &pools));
    let (outside, locals) = match previous {
        Some(p) if same_node && same_vips && same_statics && same_pools => {
            (Arc::clone(&p.outside), Arc::clone(&p.locals))
        }
        _ => {
            let outside: Arc<[OutsideAddress]> = pools.addresses().into();
            let locals = Locals::compile(
                node.ports.iter().flat_map(|p| p.addresses.iter().map(|net| net.addr())),
                vips.iter().map(|(address, ..)| address),
                statics.mappings().iter().map(|m| m.outside),
                outside.iter().map(|o| o.address),
            );
            (outside, Arc::new(locals))
        }
    };
    let judged_alike = previous.is_some_and(|p| {
        same_node
            && same_pools
            && same_statics
            && !services.ends_sessions
            && !services.vips_changed
            && Arc::ptr_eq(&p.routes, &routes)
            && Arc::ptr_eq(&p.egress, &egress)
            && Arc::ptr_eq(&p.access, &access)
    });
    Ok(Snapshot {
        generation: config.generation,
        revision: previous.map_or(1, |p| p.revision + 1),
        judged: previous.map_or(1, |p| if judged_alike { p.judged } else { p.judged.wrapping_add(1) }),
        egress,
        access,
        routes,
        statics,
        backends: services.backends,
        pools: pools.entries.iter().map(|e| Arc::clone(&e.pool)).collect(),
        node,
        pool_entries: pools,
        outside,
        locals,
        vips,
        services: services.services,
        by_number: services.by_number,
        tables: services.tables,
        service_numbers: services.service_numbers,
        backend_numbers: services.backend_numbers,
        next_change: services.next_change,
    })
}

/// Objects of one kind, by origin and name.
fn objects<'a, T>(
    config: &'a Config,
    kind: impl Fn(&'a model::Objects) -> &'a BTreeMap<Name, T>,
) -> impl Iterator<Item = (&'a Origin, &'a Name, &'a T)>
where
    T: 'a,
{
    config
        .origins
        .iter()
        .flat_map(move |(origin, objects)| kind(objects).iter().map(move |(name, it)| (origin, name, it)))
}

fn routes(config: &Config, node: &NodeFacts, previous: Option<&Snapshot>) -> Result<Arc<Routes>, Vec<Error>> {
    match previous {
        Some(p) if p.routes.stands_for(node, objects(config, |o| &o.routes)) => Ok(Arc::clone(&p.routes)),
        _ => Routes::compile(node, objects(config, |o| &o.routes)).map(Arc::new),
    }
}

fn vips(services: &services::Services, previous: Option<&Snapshot>) -> Result<Arc<Vips>, Vec<Error>> {
    if let Some(p) = previous
        && !services.vips_changed
    {
        return Ok(Arc::clone(&p.vips));
    }
    Vips::compile(&services.services).map(Arc::new).map_err(|clashes| {
        let named = |n: usize| {
            services.services.get(n).map(|s| ObjectRef::new(&s.origin, Kind::LoadBalancer, &s.name))
        };
        clashes
            .into_iter()
            .filter_map(|clash| {
                let (later, earlier) = (services.services.get(clash.later)?, named(clash.earlier)?);
                let vip = later.written().vips.get(clash.vip)?;
                let port = later.written().ports.get(clash.port)?;
                Some(Error::new(
                    named(clash.later)?,
                    format!("spec.ports[{}].port", clash.port),
                    format!("{vip}:{}", format_ports(port.ports.first, port.ports.last)),
                    format!("the VIP's port belongs to {earlier} already"),
                    "give one of them another address or port",
                ))
            })
            .collect()
    })
}

pub(crate) fn format_ports(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// LoadBalancers with the pool of their `sourceNat`.
fn wanted<'a>(config: &'a Config, names: &PoolNames<'_>) -> Result<Vec<Wanted<'a>>, Vec<Error>> {
    let mut errors = Vec::new();
    let mut wanted = Vec::new();
    for (origin, name, lb) in objects(config, |o| &o.load_balancers) {
        let pool = lb.source_nat.as_ref().map(|pool| (pool, names.find(origin, pool)));
        if let Some((pool, None)) = pool {
            let object = ObjectRef::new(origin, Kind::LoadBalancer, name);
            errors.push(unknown_pool(object, "spec.sourceNat.pool", pool));
        }
        wanted.push((origin, name, lb, pool.and_then(|(_, number)| number)));
    }
    if errors.is_empty() { Ok(wanted) } else { Err(errors) }
}

fn unknown_pool(object: ObjectRef, field: &str, pool: &Name) -> Error {
    Error::new(
        object,
        field,
        &pool.0,
        "there is no EgressPool of this name",
        "name one that exists, or apply it too",
    )
}

fn pools(
    config: &Config,
    reserved: &Reserved,
    previous: Option<&Snapshot>,
) -> Result<Arc<Pools>, Vec<Error>> {
    let before = previous.map(|p| &p.pool_entries);
    let pools =
        Pools::compile(objects(config, |o| &o.egress_pools), reserved, before.map(|entries| &**entries))?;
    Ok(match before {
        Some(before) if before.same(&pools) => Arc::clone(before),
        _ => Arc::new(pools),
    })
}

fn egress(
    config: &Config,
    names: &PoolNames<'_>,
    previous: Option<&Snapshot>,
) -> Result<Arc<EgressRules>, Vec<Error>> {
    let mut errors = Vec::new();
    let mut inputs = Vec::new();
    for (origin, name, policy) in objects(config, |o| &o.egress_policies) {
        let pool = match &policy.action {
            EgressAction::Snat { pool, .. } => match names.find(origin, pool) {
                Some(number) => number,
                None => {
                    let object = ObjectRef::new(origin, Kind::EgressPolicy, name);
                    errors.push(unknown_pool(object, "spec.pool", pool));
                    continue;
                }
            },
            EgressAction::Direct | EgressAction::Deny => PoolNumber::default(),
        };
        inputs.push(EgressInput { origin, name, policy, pool });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(match previous {
        Some(p) if p.egress.stands_for(inputs.iter().copied()) => Arc::clone(&p.egress),
        _ => Arc::new(EgressRules::compile(inputs)),
    })
}

fn access(config: &Config, previous: Option<&Snapshot>) -> Arc<AccessRules> {
    let policies = || {
        objects(config, |o| &o.access_policies).map(|(origin, name, policy)| AccessInput {
            origin,
            name,
            policy,
        })
    };
    let guards = || {
        objects(config, |o| &o.access_guards).map(|(origin, name, guard)| GuardInput { origin, name, guard })
    };
    match previous {
        Some(p) if p.access.stands_for(policies(), guards()) => Arc::clone(&p.access),
        p => Arc::new(AccessRules::compile(policies(), guards(), p.map(|p| &*p.access))),
    }
}

/// Ports of pool addresses that somebody else has: VIPs, static mappings, and the host stack on own addresses.
fn reserved(config: &Config, node: &NodeFacts, vips: &Vips, statics: &Statics) -> Reserved {
    let mut ranges: Vec<(u32, u32)> = objects(config, |o| &o.egress_pools)
        .flat_map(|(.., pool)| &pool.addresses)
        .filter_map(|range| match (range.first, range.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some((first.to_bits(), last.to_bits())),
            _ => None,
        })
        .collect();
    ranges.sort_unstable();
    let pooled = |address: Ipv4Addr| {
        let bits = address.to_bits();
        let after = ranges.partition_point(|&(first, _)| first <= bits);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, last)| bits <= last)
    };
    let mut reserved = Reserved::new();
    let own = node.ports.iter().flat_map(|p| p.addresses.iter().map(|net| (net.addr(), HOST_PORTS)));
    let vips = vips.iter().map(|(address, _, first, last)| (address, first..=last));
    let fixed = statics.mappings().iter().map(|m| {
        let ports = m.ports.map_or(0..=u16::MAX, |(first, _, more)| first..=first.saturating_add(more));
        (m.outside, ports)
    });
    for (address, ports) in own.chain(vips).chain(fixed).filter(|(address, _)| pooled(*address)) {
        reserved.entry(address).or_default().push(ports);
    }
    for ports in reserved.values_mut() {
        ports.sort_unstable_by_key(|r| (*r.start(), *r.end()));
        ports.dedup();
    }
    reserved
}
