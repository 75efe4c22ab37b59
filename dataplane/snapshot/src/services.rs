//! All services: the unchanged ones taken over, the others compiled.
//!
//! Services come by origin and name in the Config and in the last snapshot, so both are walked
//! side by side; what costs per unchanged service is a comparison and a reference count.

use std::sync::Arc;

use lb::{ServiceId, Tables};
use model::{LoadBalancer, Name, Origin};
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
) -> Services {
    let mut tables = previous.map(|p| p.tables.clone()).unwrap_or_default();
    let mut service_numbers = previous.map(|p| p.service_numbers.clone()).unwrap_or_default();
    let mut backend_numbers = previous.map(|p| p.backend_numbers.clone()).unwrap_or_default();
    let mut old = previous.map_or(&[][..], |p| &p.services[..]).iter().peekable();
    let mut services: Vec<Arc<BalancedService>> = Vec::with_capacity(old.len());
    // What the endpoints of backends lose and gain.
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let (mut vips_changed, mut ends_sessions, mut names_changed) =
        (previous.is_none(), false, previous.is_none());

    for (origin, name, written, source_nat) in wanted {
        while let Some(service) = old.next_if(|s| (&s.origin, &s.name) < (origin, name)) {
            gone.push(Arc::clone(service));
            (vips_changed, ends_sessions, names_changed) = (true, true, true);
            service_numbers.give_back(service.id().0, now);
            service.backend_numbers().for_each(|n| backend_numbers.give_back(n, now));
        }
        let known = old.next_if(|s| s.origin == *origin && s.name == *name);
        let unhealthy = health.unhealthy(origin, name);
        let input = ServiceInput { origin, name, written, unhealthy, source_nat };
        if let Some(known) = known.filter(|k| k.stands_for(&input, now)) {
            services.push(Arc::clone(known));
            continue;
        }
        let id = known.map_or_else(|| ServiceId(service_numbers.take(now)), |k| k.id());
        let service =
            BalancedService::compile(input, id, known.map(|k| &**k), &mut backend_numbers, &mut tables, now);
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
    let next_change = services.iter().filter_map(|s| s.next_change).min();
    Services {
        services,
        by_number,
        backends,
        tables,
        service_numbers,
        backend_numbers,
        next_change,
        vips_changed,
        ends_sessions,
    }
}
