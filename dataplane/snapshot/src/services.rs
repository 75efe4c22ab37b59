//! All services: the unchanged ones taken over, the others compiled.
//!
//! Services come by origin and name in the Config and in the last snapshot, so both are walked
//! side by side; what costs per unchanged service is a comparison and a reference count.

use std::net::IpAddr;
use std::sync::Arc;

use lb::{ServiceId, Tables};
use model::{Error, Kind, LoadBalancer, Name, ObjectRef, Origin};
use nat::Tick;

use crate::endpoints::BackendSet;
use crate::health::Health;
use crate::numbers::Numbers;
use crate::service::{BalancedService, ServiceInput};
use crate::snapshot::Snapshot;

/// What compiling all services yields.
pub(crate) struct Services {
    pub(crate) services: Vec<Arc<BalancedService>>,
    pub(crate) by_number: Arc<[u32]>,
    pub(crate) backends: Arc<BackendSet>,
    pub(crate) tables: Tables,
    pub(crate) service_numbers: Numbers,
    pub(crate) backend_numbers: Numbers,
    pub(crate) next_change: Option<Tick>,
    /// Some VIP or service port changed.
    pub(crate) vips_changed: bool,
    /// Something changed that may end a session.
    pub(crate) ends_sessions: bool,
}

/// A LoadBalancer of the Config with its pool found.
pub(crate) type Wanted<'a> = (&'a Origin, &'a Name, &'a LoadBalancer, Option<policy::PoolNumber>);

/// Compiles `wanted`, which comes by origin and name.
pub(crate) fn compile<'a>(
    wanted: impl Iterator<Item = Wanted<'a>>,
    health: &Health,
    previous: Option<&Snapshot>,
    now: Tick,
) -> Result<Services, Vec<Error>> {
    let mut tables = previous.map(|p| p.tables.clone()).unwrap_or_default();
    let mut service_numbers = previous.map(|p| p.service_numbers.clone()).unwrap_or_default();
    let mut backend_numbers = previous.map(|p| p.backend_numbers.clone()).unwrap_or_default();
    let mut old = previous.map_or(&[][..], |p| &p.services[..]).iter().peekable();
    let mut services: Vec<Arc<BalancedService>> = Vec::with_capacity(old.len());
    // What the endpoints of backends lose and gain.
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let mut next_change = None;
    let mut errors = Vec::new();
    let (mut vips_changed, mut ends_sessions, mut names_changed) =
        (previous.is_none(), false, previous.is_none());

    for (origin, name, written, source_nat) in wanted {
        while let Some(service) =
            old.next_if(|s| !is_named(s, origin, name) && (&s.origin, &s.name) < (origin, name))
        {
            gone.push(Arc::clone(service));
            (vips_changed, ends_sessions, names_changed) = (true, true, true);
            service_numbers.give_back(service.id().0, now);
            service.backend_numbers().for_each(|n| backend_numbers.give_back(n, now));
        }
        let known = old.next_if(|s| is_named(s, origin, name));
        let unhealthy = health.unhealthy(origin, name);
        let input = ServiceInput { origin, name, written, unhealthy, source_nat };
        if let Some(known) = known.filter(|k| k.stands_for(&input, now)) {
            next_change = soonest(next_change, known.next_change);
            services.push(Arc::clone(known));
            continue;
        }
        ipv4_only(&input, &mut errors);
        let id = known.map_or_else(|| ServiceId(service_numbers.take(now)), |k| k.id());
        let service =
            BalancedService::compile(input, id, known.map(|k| &**k), &mut backend_numbers, &mut tables, now);
        next_change = soonest(next_change, service.next_change);
        let service = Arc::new(service);
        match known {
            Some(known) => {
                vips_changed |= !service.same_vips(known);
                ends_sessions |= service.ends_sessions_of(known);
                gone.push(Arc::clone(known));
            }
            None => (vips_changed, names_changed) = (true, true),
        }
        new.push(Arc::clone(&service));
        services.push(service);
    }
    for service in old {
        gone.push(Arc::clone(service));
        (vips_changed, ends_sessions, names_changed) = (true, true, true);
        service_numbers.give_back(service.id().0, now);
        service.backend_numbers().for_each(|n| backend_numbers.give_back(n, now));
    }

    if !errors.is_empty() {
        return Err(errors);
    }
    let backends = match previous {
        Some(p) if gone.is_empty() && new.is_empty() => Arc::clone(&p.backends),
        _ => {
            let mut backends = previous.map(|p| (*p.backends).clone()).unwrap_or_default();
            new.iter().for_each(|s| backends.add(s));
            gone.iter().for_each(|s| backends.subtract(s));
            Arc::new(backends)
        }
    };
    let by_number = match previous {
        Some(p) if !names_changed => Arc::clone(&p.by_number),
        _ => {
            let mut by_number = vec![u32::MAX; service_numbers.bound() as usize];
            for (place, service) in (0u32..).zip(&services) {
                if let Some(slot) = by_number.get_mut(service.id().0 as usize) {
                    *slot = place;
                }
            }
            by_number.into()
        }
    };
    Ok(Services {
        services,
        by_number,
        backends,
        tables,
        service_numbers,
        backend_numbers,
        next_change,
        vips_changed,
        ends_sessions,
    })
}

/// Is it the service of this name? One Config mostly comes from the last, so the texts are most often the same
/// ones in memory, and need not be read.
fn is_named(service: &BalancedService, origin: &Origin, name: &Name) -> bool {
    let same = |a: &Arc<str>, b: &Arc<str>| Arc::ptr_eq(a, b) || a == b;
    same(&service.name.0, &name.0) && same(&service.origin.0, &origin.0)
}

/// The earlier of two moments, where there are any.
fn soonest(a: Option<Tick>, b: Option<Tick>) -> Option<Tick> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Notes addresses that cannot be served yet.
fn ipv4_only(input: &ServiceInput<'_>, errors: &mut Vec<Error>) {
    let mut refuse = |field: String, address: IpAddr| {
        let object = ObjectRef::new(input.origin, Kind::LoadBalancer, input.name);
        errors.push(Error::new(object, field, address, "IPv6 is not balanced yet", "give an IPv4 address"));
    };
    for (n, vip) in input.written.vips.iter().enumerate().filter(|(_, vip)| vip.is_ipv6()) {
        refuse(format!("spec.vips[{n}]"), *vip);
    }
    for (n, backend) in input.written.backends.iter().enumerate().filter(|(_, b)| b.address.is_ipv6()) {
        refuse(format!("spec.backends[{n}].address"), backend.address);
    }
}
