//! Why a judgement came out as it did, in the words of the objects.
//!
//! The verdict always comes from the tables that packets use; only the reasons are worked out
//! again from the policies as written, where allocation does not matter.

use model::{Name, Origin, PrefixExcept};
use wire::Protocol;

use crate::access::{Access, AccessRules, Allowance};
use crate::egress::{EgressRule, EgressRules};
use crate::interval::Judged;
use crate::ports::PortSet;

/// Why a policy did not match a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// The source is in no `from`.
    Source,
    /// The source is in a `from`, and in its `except`: this prefix.
    SourceExcepted(model::IpNet),
    /// The destination is in no `to`.
    Destination,
    /// The destination is in a `to`, and in its `except`: this prefix.
    DestinationExcepted(model::IpNet),
    /// Protocol or port is not among its `ports`.
    Ports,
}

/// A policy of at least the deciding one's priority that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Who wrote it.
    pub origin: Origin,
    /// Its name.
    pub name: Name,
    /// Its priority.
    pub priority: i32,
    /// Why it did not match.
    pub why: NoMatch,
}

/// How the egress rule of a flow was found.
#[derive(Clone, Debug, PartialEq)]
pub struct EgressExplained<'a> {
    /// The rule that decides; `None`: no policy matches.
    pub rule: Option<&'a EgressRule>,
    /// Policies passed over on the way, highest priority first.
    pub passed: Vec<Passed>,
}

/// How one access policy sees a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyExplained {
    /// Its name.
    pub name: Name,
    /// Does it allow the flow?
    pub allows: bool,
    /// Why not: one entry per rule, in order; empty where it allows or has no rules (which denies all).
    pub rules: Vec<NoMatch>,
}

/// How one origin's access policies see a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginExplained {
    /// The origin.
    pub origin: Origin,
    /// Does one of its policies allow the flow?
    pub allows: bool,
    /// Its policies that select the source, by name.
    pub policies: Vec<PolicyExplained>,
}

/// How access was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessExplained {
    /// The outcome.
    pub access: Access,
    /// Guards that hold the source: origin and name.
    pub guards: Vec<(Origin, Name)>,
    /// Origins that have policies for the source.
    pub origins: Vec<OriginExplained>,
}

fn holds<F: Judged>(prefix: &model::IpNet, address: F::Addr) -> bool {
    F::bounds(prefix).is_some_and(|(first, last)| (first..=last).contains(&address))
}

/// `Ok` if an entry matches; else the exception that keeps it from matching, if one does.
fn entry<F: Judged>(entries: &[PrefixExcept], address: F::Addr) -> Result<(), Option<model::IpNet>> {
    let mut excepted = None;
    for entry in entries.iter().filter(|entry| holds::<F>(&entry.prefix, address)) {
        match entry.except.iter().find(|except| holds::<F>(except, address)) {
            None => return Ok(()),
            Some(except) => excepted = excepted.or(Some(*except)),
        }
    }
    Err(excepted)
}

fn ports(set: &PortSet, protocol: Protocol, port: u16) -> Option<NoMatch> {
    (!set.contains(protocol, port)).then_some(NoMatch::Ports)
}

fn destination<F: Judged>(entries: &[PrefixExcept], address: F::Addr) -> Option<NoMatch> {
    entry::<F>(entries, address).err().map(|e| e.map_or(NoMatch::Destination, NoMatch::DestinationExcepted))
}

impl<F: Judged> EgressRules<F> {
    /// As [`judge`](Self::judge), with the reason why each policy that ranks no lower did not match. Allocates.
    pub fn explain(
        &self,
        source: F::Addr,
        to: F::Addr,
        protocol: Protocol,
        port: u16,
    ) -> EgressExplained<'_> {
        let rule = self.judge(source, to, protocol, port);
        let why = |rule: &EgressRule| {
            entry::<F>(&rule.policy.from, source)
                .err()
                .map(|e| e.map_or(NoMatch::Source, NoMatch::SourceExcepted))
                .or_else(|| destination::<F>(&rule.policy.to, to))
                .or_else(|| ports(&rule.ports, protocol, port))
        };
        let passed = self
            .rules()
            .iter()
            .take_while(|r| rule.is_none_or(|chosen| r.policy.priority >= chosen.policy.priority))
            .filter_map(|r| {
                why(r).map(|why| Passed {
                    origin: r.origin.clone(),
                    name: r.name.clone(),
                    priority: r.policy.priority,
                    why,
                })
            })
            .collect();
        EgressExplained { rule, passed }
    }
}

impl<F: Judged> AccessRules<F> {
    /// As [`judge`](Self::judge), with how each policy that selects the source sees the flow. Allocates.
    pub fn explain(&self, source: F::Addr, to: F::Addr, protocol: Protocol, port: u16) -> AccessExplained {
        let applying = &self.applying[self.sources.find(source) as usize];
        let mut origins: Vec<OriginExplained> = Vec::new();
        for &number in &applying.policies {
            let policy = &self.policies[number as usize];
            let allows = policy.allows(to, protocol, port);
            let rules = match allows {
                true => Vec::new(),
                false => policy
                    .rules
                    .iter()
                    .zip(&policy.source.rules)
                    .filter_map(|(rule, written)| refused::<F>(rule, &written.to, to, protocol, port))
                    .collect(),
            };
            let explained = PolicyExplained { name: policy.name.clone(), allows, rules };
            match origins.last_mut().filter(|o| o.origin == policy.origin) {
                Some(origin) => {
                    origin.allows |= allows;
                    origin.policies.push(explained);
                }
                None => origins.push(OriginExplained {
                    origin: policy.origin.clone(),
                    allows,
                    policies: vec![explained],
                }),
            }
        }
        let guards = self
            .guards
            .iter()
            .filter(|(_, _, guard)| guard.prefixes.iter().any(|p| holds::<F>(p, source)))
            .map(|(origin, name, _)| (origin.clone(), name.clone()))
            .collect();
        AccessExplained { access: self.judge(source, to, protocol, port), guards, origins }
    }
}

/// Why an allowance does not cover the flow.
fn refused<F: Judged>(
    rule: &Allowance<F>,
    written: &[PrefixExcept],
    to: F::Addr,
    protocol: Protocol,
    port: u16,
) -> Option<NoMatch> {
    let address = match written.is_empty() {
        true => None,
        false => destination::<F>(written, to),
    };
    address.or_else(|| ports(&rule.ports, protocol, port))
}

/// Compiled rules are shared by all workers.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<EgressRules<wire::V4>>();
    shared::<AccessRules<wire::V6>>();
};
