//! Access rules: Kubernetes NetworkPolicy egress semantics over resolved prefixes.
//!
//! In each origin that has AccessPolicies for a source at least one of them must allow the flow:
//! a union within an origin, and all such origins must agree, so that an own rule never opens
//! what a cluster's NetworkPolicy closes. A source with no policy is free, unless an AccessGuard
//! holds it: then its policies have not arrived yet and it is pending (fail closed).

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AccessGuard, AccessPolicy, Name, Origin};
use wire::{Family, Protocol, V4};

use crate::interval::{AddressSet, Judged};
use crate::ports::PortSet;
use crate::segments::{Segments, sweep};

/// Outcome of the access policies for one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// No policy speaks of the source.
    Free,
    /// Every origin that has policies for the source allows it.
    Allowed,
    /// Some origin has policies for the source and none of them allows it: drop `policy_denied`.
    Denied,
    /// A guard holds the source and no policy speaks of it: drop `policy_pending`.
    Pending,
}

impl Access {
    /// May the flow go on?
    #[inline]
    pub fn passes(self) -> bool {
        matches!(self, Access::Free | Access::Allowed)
    }
}

/// One policy to compile.
#[derive(Clone, Copy, Debug)]
pub struct AccessInput<'a> {
    /// Who wrote it.
    pub origin: &'a Origin,
    /// Its name.
    pub name: &'a Name,
    /// The policy.
    pub policy: &'a AccessPolicy,
}

/// One guard to compile.
#[derive(Clone, Copy, Debug)]
pub struct GuardInput<'a> {
    /// Who wrote it.
    pub origin: &'a Origin,
    /// Its name.
    pub name: &'a Name,
    /// The guard.
    pub guard: &'a AccessGuard,
}

/// One compiled allowance.
#[derive(Debug)]
pub(crate) struct Allowance<F: Family> {
    /// `None`: every destination.
    pub(crate) to: Option<AddressSet<F>>,
    pub(crate) ports: PortSet,
}

/// One compiled policy; shared by snapshots while it does not change.
#[derive(Debug)]
pub(crate) struct CompiledPolicy<F: Family> {
    pub(crate) origin: Origin,
    pub(crate) name: Name,
    pub(crate) source: AccessPolicy,
    pub(crate) subjects: AddressSet<F>,
    pub(crate) rules: Box<[Allowance<F>]>,
}

impl<F: Judged> CompiledPolicy<F> {
    fn new(input: &AccessInput<'_>) -> Self {
        CompiledPolicy {
            origin: input.origin.clone(),
            name: input.name.clone(),
            source: input.policy.clone(),
            subjects: AddressSet::union(&input.policy.subjects),
            rules: input
                .policy
                .rules
                .iter()
                .map(|rule| Allowance {
                    to: (!rule.to.is_empty()).then(|| AddressSet::union(&rule.to)),
                    ports: PortSet::new(&rule.ports),
                })
                .collect(),
        }
    }

    /// Does some rule allow the flow?
    #[inline]
    pub(crate) fn allows(&self, destination: F::Addr, protocol: Protocol, port: u16) -> bool {
        self.rules.iter().any(|rule| {
            rule.ports.contains(protocol, port) && rule.to.as_ref().is_none_or(|to| to.contains(destination))
        })
    }
}

/// What applies to the sources of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Applying {
    pub(crate) guarded: bool,
    /// Policies, by origin then name.
    pub(crate) policies: Box<[u32]>,
}

/// All AccessPolicies and AccessGuards of a snapshot. Immutable.
#[derive(Clone, Debug)]
pub struct AccessRules<F: Family = V4> {
    /// By origin, then name: policies of one origin stand together.
    pub(crate) policies: Box<[Arc<CompiledPolicy<F>>]>,
    pub(crate) guards: Box<[(Origin, Name, AccessGuard)]>,
    pub(crate) sources: Segments<F>,
    pub(crate) applying: Box<[Applying]>,
}

impl<F: Judged> AccessRules<F> {
    /// Compiles policies and guards, in any order. Policies that stand unchanged in `previous` are taken from
    /// there. Prefixes of the other family match nothing.
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = AccessInput<'a>>,
        guards: impl IntoIterator<Item = GuardInput<'a>>,
        previous: Option<&Self>,
    ) -> Self {
        let mut inputs: Vec<AccessInput<'a>> = policies.into_iter().collect();
        inputs.sort_by(|a, b| (a.origin, a.name).cmp(&(b.origin, b.name)));
        let policies: Box<[Arc<CompiledPolicy<F>>]> = inputs
            .iter()
            .map(|input| {
                let known = previous.and_then(|p| p.policy(input.origin, input.name));
                match known {
                    Some(known) if known.source == *input.policy => Arc::clone(known),
                    _ => Arc::new(CompiledPolicy::new(input)),
                }
            })
            .collect();
        let mut guards: Box<[(Origin, Name, AccessGuard)]> =
            guards.into_iter().map(|g| (g.origin.clone(), g.name.clone(), g.guard.clone())).collect();
        guards.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));

        // One item per policy, and after them one per guarded interval (they may overlap between guards).
        let guarded: Vec<_> = guards.iter().flat_map(|g| g.2.prefixes.iter().filter_map(F::bounds)).collect();
        let count = policies.len() as u32;
        let subjects = (0u32..)
            .zip(policies.iter())
            .flat_map(|(number, policy)| policy.subjects.intervals().iter().map(move |&i| (number, i)));
        let swept = sweep(subjects.chain((count..).zip(guarded)));

        let mut numbers: BTreeMap<Applying, u32> = BTreeMap::from([(Applying::default(), 0)]);
        let mut applying = vec![Applying::default()];
        let number_of: Vec<u32> = swept
            .sets
            .iter()
            .map(|set| {
                let policies = set.iter().copied().take_while(|&item| item < count).collect();
                let guarded = set.last().is_some_and(|&item| item >= count);
                let next = applying.len() as u32;
                *numbers.entry(Applying { guarded, policies }).or_insert_with_key(|new| {
                    applying.push(new.clone());
                    next
                })
            })
            .collect();
        AccessRules {
            policies,
            guards,
            sources: swept.segments.renumbered(|set| number_of[set as usize]),
            applying: applying.into(),
        }
    }

    fn policy(&self, origin: &Origin, name: &Name) -> Option<&Arc<CompiledPolicy<F>>> {
        let at = self.policies.binary_search_by(|p| (&p.origin, &p.name).cmp(&(origin, name))).ok()?;
        self.policies.get(at)
    }

    /// May `source` open a flow to `port` of `destination`? `port` counts for TCP, UDP and SCTP only.
    #[inline]
    pub fn judge(&self, source: F::Addr, destination: F::Addr, protocol: Protocol, port: u16) -> Access {
        let applying = &self.applying[self.sources.find(source) as usize];
        if applying.policies.is_empty() {
            return if applying.guarded { Access::Pending } else { Access::Free };
        }
        let mut rest = &applying.policies[..];
        while let Some(&first) = rest.first() {
            let origin = &self.policies[first as usize].origin;
            let end =
                rest.iter().position(|&n| self.policies[n as usize].origin != *origin).unwrap_or(rest.len());
            let allows = |&n: &u32| self.policies[n as usize].allows(destination, protocol, port);
            if !rest[..end].iter().any(allows) {
                return Access::Denied;
            }
            rest = &rest[end..];
        }
        Access::Allowed
    }

    /// How many policies it holds.
    pub fn policies(&self) -> usize {
        self.policies.len()
    }

    /// Do these rules stand for exactly `policies` and `guards`, both by origin then name? Nothing is compiled.
    pub fn stands_for<'a>(
        &self,
        mut policies: impl Iterator<Item = AccessInput<'a>>,
        mut guards: impl Iterator<Item = GuardInput<'a>>,
    ) -> bool {
        self.policies.iter().all(|known| {
            policies.next().is_some_and(|p| {
                *p.origin == known.origin && *p.name == known.name && *p.policy == known.source
            })
        }) && policies.next().is_none()
            && self.guards.iter().all(|(origin, name, guard)| {
                guards.next().is_some_and(|g| g.origin == origin && g.name == name && g.guard == guard)
            })
            && guards.next().is_none()
    }
}
