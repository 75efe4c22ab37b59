//! What health checks say of backends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::{Name, Origin};

/// A backend within its service: address, and its own port where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its own port.
    pub port: Option<u16>,
}

/// Backends that checks found unhealthy, by service. Whoever is not in it is healthy: a backend counts as
/// healthy until checks say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    unhealthy: BTreeMap<(Origin, Name), BTreeSet<BackendKey>>,
}

impl Health {
    /// Notes what a check found. True: it was otherwise before.
    pub fn note(&mut self, origin: &Origin, service: &Name, backend: BackendKey, healthy: bool) -> bool {
        let key = (origin.clone(), service.clone());
        if !healthy {
            return self.unhealthy.entry(key).or_default().insert(backend);
        }
        let Some(known) = self.unhealthy.get_mut(&key) else { return false };
        let changed = known.remove(&backend);
        if known.is_empty() {
            self.unhealthy.remove(&key);
        }
        changed
    }

    /// Forgets services for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&Origin, &Name) -> bool) {
        self.unhealthy.retain(|(origin, name), _| keep(origin, name));
    }

    /// The unhealthy backends of a service; `None`: all are healthy.
    pub fn unhealthy(&self, origin: &Origin, service: &Name) -> Option<&BTreeSet<BackendKey>> {
        // Most often nothing is wrong: then no key is made.
        if self.unhealthy.is_empty() {
            return None;
        }
        self.unhealthy.get(&(origin.clone(), service.clone()))
    }
}
