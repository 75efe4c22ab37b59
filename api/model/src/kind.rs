//! The kinds of objects, and one object of any of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::{
    AccessGuard, AccessPolicy, EgressPolicy, EgressPool, LoadBalancer, Name, Objects, Route, StaticMapping,
};

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Outside addresses to translate to.
    EgressPool,
    /// Which traffic leaves, and how.
    EgressPolicy,
    /// Service addresses and their servers.
    LoadBalancer,
    /// A fixed mapping.
    StaticMapping,
    /// Who may talk to whom.
    AccessPolicy,
    /// Prefixes whose sources need an access policy.
    AccessGuard,
    /// A static route.
    Route,
}

impl Kind {
    /// Every kind, in the order that objects are listed in.
    pub const ALL: [Kind; 7] = [
        Kind::EgressPool,
        Kind::EgressPolicy,
        Kind::LoadBalancer,
        Kind::StaticMapping,
        Kind::AccessPolicy,
        Kind::AccessGuard,
        Kind::Route,
    ];

    /// The word that YAML has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::EgressPool => "EgressPool",
            Kind::EgressPolicy => "EgressPolicy",
            Kind::LoadBalancer => "LoadBalancer",
            Kind::StaticMapping => "StaticMapping",
            Kind::AccessPolicy => "AccessPolicy",
            Kind::AccessGuard => "AccessGuard",
            Kind::Route => "Route",
        }
    }

    /// The kind that YAML calls `word`, if it is one.
    pub fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which object of an origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// One object of any kind, with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its name.
    pub name: Name,
    /// What it says.
    pub spec: Spec,
}

/// What an object says.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Outside addresses to translate to.
    EgressPool(EgressPool),
    /// Which traffic leaves, and how.
    EgressPolicy(EgressPolicy),
    /// Service addresses and their servers.
    LoadBalancer(LoadBalancer),
    /// A fixed mapping.
    StaticMapping(StaticMapping),
    /// Who may talk to whom.
    AccessPolicy(AccessPolicy),
    /// Prefixes whose sources need an access policy.
    AccessGuard(AccessGuard),
    /// A static route.
    Route(Route),
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match &self.spec {
            Spec::EgressPool(_) => Kind::EgressPool,
            Spec::EgressPolicy(_) => Kind::EgressPolicy,
            Spec::LoadBalancer(_) => Kind::LoadBalancer,
            Spec::StaticMapping(_) => Kind::StaticMapping,
            Spec::AccessPolicy(_) => Kind::AccessPolicy,
            Spec::AccessGuard(_) => Kind::AccessGuard,
            Spec::Route(_) => Kind::Route,
        }
    }

    /// Its kind and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey { kind: self.kind(), name: self.name.clone() }
    }
}

impl Objects {
    /// How many objects there are.
    pub fn len(&self) -> usize {
        Kind::ALL.into_iter().map(|kind| self.count(kind)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an object in; gives back the one of that kind and name that it replaces.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        let name = object.name;
        let again = name.clone();
        let before = match object.spec {
            Spec::EgressPool(it) => self.egress_pools.insert(name, it).map(Spec::EgressPool),
            Spec::EgressPolicy(it) => self.egress_policies.insert(name, it).map(Spec::EgressPolicy),
            Spec::LoadBalancer(it) => self.load_balancers.insert(name, it).map(Spec::LoadBalancer),
            Spec::StaticMapping(it) => self.static_mappings.insert(name, it).map(Spec::StaticMapping),
            Spec::AccessPolicy(it) => self.access_policies.insert(name, it).map(Spec::AccessPolicy),
            Spec::AccessGuard(it) => self.access_guards.insert(name, it).map(Spec::AccessGuard),
            Spec::Route(it) => self.routes.insert(name, it).map(Spec::Route),
        };
        before.map(|spec| Object { name: again, spec })
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Object> {
        let name = &key.name;
        let spec = match key.kind {
            Kind::EgressPool => self.egress_pools.remove(name).map(Spec::EgressPool),
            Kind::EgressPolicy => self.egress_policies.remove(name).map(Spec::EgressPolicy),
            Kind::LoadBalancer => self.load_balancers.remove(name).map(Spec::LoadBalancer),
            Kind::StaticMapping => self.static_mappings.remove(name).map(Spec::StaticMapping),
            Kind::AccessPolicy => self.access_policies.remove(name).map(Spec::AccessPolicy),
            Kind::AccessGuard => self.access_guards.remove(name).map(Spec::AccessGuard),
            Kind::Route => self.routes.remove(name).map(Spec::Route),
        };
        spec.map(|spec| Object { name: name.clone(), spec })
    }

    /// The object of that kind and name.
    pub fn object(&self, key: &ObjectKey) -> Option<Object> {
        let name = &key.name;
        let spec = match key.kind {
            Kind::EgressPool => self.egress_pools.get(name).cloned().map(Spec::EgressPool),
            Kind::EgressPolicy => self.egress_policies.get(name).cloned().map(Spec::EgressPolicy),
            Kind::LoadBalancer => self.load_balancers.get(name).cloned().map(Spec::LoadBalancer),
            Kind::StaticMapping => self.static_mappings.get(name).cloned().map(Spec::StaticMapping),
            Kind::AccessPolicy => self.access_policies.get(name).cloned().map(Spec::AccessPolicy),
            Kind::AccessGuard => self.access_guards.get(name).cloned().map(Spec::AccessGuard),
            Kind::Route => self.routes.get(name).cloned().map(Spec::Route),
        };
        spec.map(|spec| Object { name: name.clone(), spec })
    }

    /// How many objects of one kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::EgressPool => self.egress_pools.len(),
            Kind::EgressPolicy => self.egress_policies.len(),
            Kind::LoadBalancer => self.load_balancers.len(),
            Kind::StaticMapping => self.static_mappings.len(),
            Kind::AccessPolicy => self.access_policies.len(),
            Kind::AccessGuard => self.access_guards.len(),
            Kind::Route => self.routes.len(),
        }
    }

    /// The names of one kind, in order.
    pub fn names(&self, kind: Kind) -> Vec<Name> {
        match kind {
            Kind::EgressPool => self.egress_pools.keys().cloned().collect(),
            Kind::EgressPolicy => self.egress_policies.keys().cloned().collect(),
            Kind::LoadBalancer => self.load_balancers.keys().cloned().collect(),
            Kind::StaticMapping => self.static_mappings.keys().cloned().collect(),
            Kind::AccessPolicy => self.access_policies.keys().cloned().collect(),
            Kind::AccessGuard => self.access_guards.keys().cloned().collect(),
            Kind::Route => self.routes.keys().cloned().collect(),
        }
    }

    /// Whether there is an object of that kind and name.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        let name = &key.name;
        match key.kind {
            Kind::EgressPool => self.egress_pools.contains_key(name),
            Kind::EgressPolicy => self.egress_policies.contains_key(name),
            Kind::LoadBalancer => self.load_balancers.contains_key(name),
            Kind::StaticMapping => self.static_mappings.contains_key(name),
            Kind::AccessPolicy => self.access_policies.contains_key(name),
            Kind::AccessGuard => self.access_guards.contains_key(name),
            Kind::Route => self.routes.contains_key(name),
        }
    }

    /// Puts all of `others` in, over those of the same kind and name.
    pub fn merge(&mut self, others: Objects) {
        self.egress_pools.extend(others.egress_pools);
        self.egress_policies.extend(others.egress_policies);
        self.load_balancers.extend(others.load_balancers);
        self.static_mappings.extend(others.static_mappings);
        self.access_policies.extend(others.access_policies);
        self.access_guards.extend(others.access_guards);
        self.routes.extend(others.routes);
    }

    /// Which objects are in only one of the two, or differ.
    pub fn differing(&self, other: &Objects) -> Vec<ObjectKey> {
        let mut keys = Vec::new();
        differing(Kind::EgressPool, &self.egress_pools, &other.egress_pools, &mut keys);
        differing(Kind::EgressPolicy, &self.egress_policies, &other.egress_policies, &mut keys);
        differing(Kind::LoadBalancer, &self.load_balancers, &other.load_balancers, &mut keys);
        differing(Kind::StaticMapping, &self.static_mappings, &other.static_mappings, &mut keys);
        differing(Kind::AccessPolicy, &self.access_policies, &other.access_policies, &mut keys);
        differing(Kind::AccessGuard, &self.access_guards, &other.access_guards, &mut keys);
        differing(Kind::Route, &self.routes, &other.routes, &mut keys);
        keys.sort();
        keys
    }

    /// Every object, by kind and then by name.
    pub fn iter(&self) -> impl Iterator<Item = Object> + '_ {
        Kind::ALL
            .into_iter()
            .flat_map(|kind| self.names(kind).into_iter().map(move |name| ObjectKey { kind, name }))
            .filter_map(|key| self.object(&key))
    }
}

fn differing<T: PartialEq>(
    kind: Kind,
    a: &BTreeMap<Name, T>,
    b: &BTreeMap<Name, T>,
    keys: &mut Vec<ObjectKey>,
) {
    let changed = a.iter().filter(|(name, it)| b.get(*name) != Some(*it)).map(|(name, _)| name);
    let added = b.keys().filter(|name| !a.contains_key(*name));
    keys.extend(changed.chain(added).map(|name| ObjectKey { kind, name: name.clone() }));
}

impl FromIterator<Object> for Objects {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut all = Objects::default();
        for object in objects {
            all.insert(object);
        }
        all
    }
}
