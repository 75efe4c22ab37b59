//! Egress rules: which traffic leaves, and how.
//!
//! Of all policies that match a flow the first one counts, by highest priority, then longest
//! matching `from`, then longest matching `to`, then name (then origin, so that the order is
//! total). The lengths are those of the entries that match this flow, so the order differs from
//! flow to flow; it is settled at compile time per segment of sources and, inside it, per
//! segment of destinations. What is left to the judgement is protocol and port, over a list
//! that ends at the first rule that names no ports.

use std::collections::BTreeMap;

use model::{
    EgressAction, EgressPolicy, FilteringBehavior, MappingBehavior, Name, OnDeny, Origin, PoolingBehavior,
    PrefixExcept,
};
use wire::{Family, Protocol, V4};

use crate::interval::{AddressSet, Interval, Judged};
use crate::ports::PortSet;
use crate::segments::{Segments, sweep};

/// Place of a pool in the snapshot's list of pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolNumber(pub u32);

/// What a rule does with the traffic it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Translate the source.
    Snat {
        /// The pool of outside addresses.
        pool: PoolNumber,
        /// RFC 4787 §4.1.
        mapping: MappingBehavior,
        /// RFC 4787 §5.
        filtering: FilteringBehavior,
        /// RFC 4787 §4.1 "IP address pooling".
        pooling: PoolingBehavior,
    },
    /// Route untranslated.
    Direct,
    /// Drop.
    Deny,
}

/// One EgressPolicy, as it acts.
#[derive(Clone, Debug, PartialEq)]
pub struct EgressRule {
    /// Who wrote it.
    pub origin: Origin,
    /// Its name.
    pub name: Name,
    /// What happens.
    pub action: Action,
    /// How a packet that `Deny` drops is answered.
    pub on_deny: OnDeny,
    /// Adopt TCP sessions seen in mid-stream.
    pub adopt_mid_stream: bool,
    /// `None`: clamp where the ports' MTUs differ; `Some(0)`: to the ports' MTU; `Some(n)`: to n octets.
    pub mss_clamp: Option<u16>,
    /// Destination ports that it names.
    pub ports: PortSet,
    /// What it was compiled from.
    pub policy: EgressPolicy,
}

/// One policy to compile.
#[derive(Clone, Copy, Debug)]
pub struct EgressInput<'a> {
    /// Who wrote it.
    pub origin: &'a Origin,
    /// Its name.
    pub name: &'a Name,
    /// The policy.
    pub policy: &'a EgressPolicy,
    /// Place of its pool; used where its action is `Snat`.
    pub pool: PoolNumber,
}

/// All EgressPolicies of a snapshot. Immutable; about 100 bytes a policy entry beside the policies themselves.
#[derive(Clone, Debug)]
pub struct EgressRules<F: Family = V4> {
    /// By priority (highest first), name, origin.
    rules: Box<[EgressRule]>,
    /// Places in `rules` by origin, then name.
    by_name: Box<[u32]>,
    sources: Segments<F>,
    /// Per set of sources: where destinations lead.
    destinations: Box<[Segments<F>]>,
    /// Per set of destinations: the rules left to try, in order, as a range of `candidates`.
    lists: Box<[(u32, u32)]>,
    candidates: Box<[u32]>,
}

/// A rule under the sources of one segment, with the length of the `from` that matched.
type Standing = (u32, u8);

impl<F: Judged> EgressRules<F> {
    /// Compiles `inputs`, in any order. Entries of the other family match nothing.
    pub fn compile<'a>(inputs: impl IntoIterator<Item = EgressInput<'a>>) -> Self {
        let mut rules: Vec<EgressRule> = inputs.into_iter().map(rule).collect();
        rules.sort_by(|a, b| order((&a.policy, &a.name, &a.origin), (&b.policy, &b.name, &b.origin)));

        let mut by_name: Box<[u32]> = (0..rules.len() as u32).collect();
        by_name.sort_by_key(|&at| (&rules[at as usize].origin, &rules[at as usize].name));

        let mut arms: Vec<Standing> = Vec::new();
        let mut items: Vec<(u32, Interval<F>)> = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            for (length, set) in by_length::<F>(&rule.policy.from) {
                items.extend(set.intervals().iter().map(|&interval| (arms.len() as u32, interval)));
                arms.push((number as u32, length));
            }
        }
        let swept = sweep(items.into_iter());

        let mut lists = Lists { numbers: BTreeMap::from([(Vec::new(), 0)]), in_order: vec![Vec::new()] };
        // Sets of arms that amount to the same rules and lengths share one table of destinations.
        let mut tables: BTreeMap<Vec<Standing>, u32> = BTreeMap::new();
        let mut destinations: Vec<Segments<F>> = Vec::new();
        let mut table_of: Vec<u32> = Vec::with_capacity(swept.sets.len());
        for set in &swept.sets {
            let standing = longest(set.iter().map(|&arm| arms[arm as usize]));
            let next = destinations.len() as u32;
            let table = *tables.entry(standing).or_insert_with_key(|standing| {
                destinations.push(table::<F>(&rules, standing, &mut lists));
                next
            });
            table_of.push(table);
        }

        let mut candidates = Vec::new();
        let mut ranges = Vec::with_capacity(lists.in_order.len());
        for list in &lists.in_order {
            let first = candidates.len() as u32;
            candidates.extend_from_slice(list);
            ranges.push((first, candidates.len() as u32));
        }
        EgressRules {
            by_name,
            rules: rules.into(),
            // The empty set comes first out of the sweep, so its table is number 0 as `renumbered` asks.
            sources: swept.segments.renumbered(|set| table_of[set as usize]),
            destinations: destinations.into(),
            lists: ranges.into(),
            candidates: candidates.into(),
        }
    }

    /// The rule that decides about a flow; `None`: no policy matches (drop `no_egress_policy`).
    #[inline]
    pub fn judge(
        &self,
        source: F::Addr,
        destination: F::Addr,
        protocol: Protocol,
        port: u16,
    ) -> Option<&EgressRule> {
        self.judge_number(source, destination, protocol, port).map(|n| &self.rules[n as usize])
    }

    /// As [`judge`](Self::judge), but the rule's place, for a session to remember.
    #[inline]
    pub fn judge_number(
        &self,
        source: F::Addr,
        destination: F::Addr,
        protocol: Protocol,
        port: u16,
    ) -> Option<u32> {
        let table = &self.destinations[self.sources.find(source) as usize];
        let (first, last) = self.lists[table.find(destination) as usize];
        self.candidates[first as usize..last as usize]
            .iter()
            .copied()
            .find(|&n| self.rules[n as usize].ports.contains(protocol, port))
    }

    /// The rule at place `number`; `None` past the end.
    pub fn rule(&self, number: u32) -> Option<&EgressRule> {
        self.rules.get(number as usize)
    }

    /// Do these rules stand for exactly `inputs`, pools included, which come by origin then name? Nothing is
    /// compiled.
    pub fn stands_for<'a>(&self, inputs: impl IntoIterator<Item = EgressInput<'a>>) -> bool {
        let mut inputs = inputs.into_iter();
        self.by_name.iter().all(|&at| {
            let (rule, Some(input)) = (&self.rules[at as usize], inputs.next()) else { return false };
            let pool = match rule.action {
                Action::Snat { pool, .. } => pool == input.pool,
                Action::Direct | Action::Deny => true,
            };
            pool && rule.origin == *input.origin && rule.name == *input.name && rule.policy == *input.policy
        }) && inputs.next().is_none()
    }

    /// All rules, by priority (highest first), then name, then origin.
    pub fn rules(&self) -> &[EgressRule] {
        &self.rules
    }
}

/// Highest priority first, then by name, then by origin.
fn order(a: (&EgressPolicy, &Name, &Origin), b: (&EgressPolicy, &Name, &Origin)) -> std::cmp::Ordering {
    (b.0.priority, a.1, a.2).cmp(&(a.0.priority, b.1, b.2))
}

/// The policy as it acts.
fn rule(input: EgressInput<'_>) -> EgressRule {
    let policy = input.policy;
    EgressRule {
        origin: input.origin.clone(),
        name: input.name.clone(),
        action: match policy.action {
            EgressAction::Snat { mapping, filtering, pooling, .. } => {
                Action::Snat { pool: input.pool, mapping, filtering, pooling }
            }
            EgressAction::Direct => Action::Direct,
            EgressAction::Deny => Action::Deny,
        },
        on_deny: policy.on_deny,
        adopt_mid_stream: policy.adopt_mid_stream,
        mss_clamp: policy.mss_clamp,
        ports: PortSet::new(&policy.ports),
        policy: policy.clone(),
    }
}

/// The addresses of entries of each prefix length: only the length counts for the order, so entries of one
/// length are one item of a sweep, however many pods a selector stands for.
fn by_length<F: Judged>(entries: &[PrefixExcept]) -> impl Iterator<Item = (u8, AddressSet<F>)> {
    let mut lengths: BTreeMap<u8, Vec<&PrefixExcept>> = BTreeMap::new();
    for entry in entries {
        lengths.entry(entry.prefix.prefix_len()).or_default().push(entry);
    }
    lengths.into_iter().map(|(length, entries)| (length, AddressSet::union(entries)))
}

/// Each rule once, ascending, with its longest length.
fn longest(entries: impl Iterator<Item = Standing>) -> Vec<Standing> {
    let mut best: BTreeMap<u32, u8> = BTreeMap::new();
    for (rule, length) in entries {
        let entry = best.entry(rule).or_insert(length);
        *entry = (*entry).max(length);
    }
    best.into_iter().collect()
}

/// Candidate lists, equal ones once; list 0 is empty.
struct Lists {
    numbers: BTreeMap<Vec<u32>, u32>,
    in_order: Vec<Vec<u32>>,
}

impl Lists {
    fn number(&mut self, list: Vec<u32>) -> u32 {
        let next = self.in_order.len() as u32;
        *self.numbers.entry(list).or_insert_with_key(|list| {
            self.in_order.push(list.clone());
            next
        })
    }
}

/// Destinations as seen by sources under which the rules of `standing` apply.
fn table<F: Judged>(rules: &[EgressRule], standing: &[Standing], lists: &mut Lists) -> Segments<F> {
    let mut arms: Vec<(u32, u8, u8)> = Vec::new();
    let mut items: Vec<(u32, Interval<F>)> = Vec::new();
    for &(number, from) in standing {
        for (length, set) in by_length::<F>(&rules[number as usize].policy.to) {
            items.extend(set.intervals().iter().map(|&interval| (arms.len() as u32, interval)));
            arms.push((number, from, length));
        }
    }
    let swept = sweep(items.into_iter());
    let list_of: Vec<u32> = swept
        .sets
        .iter()
        .map(|set| {
            let from: BTreeMap<u32, u8> =
                set.iter().map(|&a| (arms[a as usize].0, arms[a as usize].1)).collect();
            let to = longest(set.iter().map(|&a| (arms[a as usize].0, arms[a as usize].2)));
            lists.number(ordered(rules, to.into_iter().map(|(rule, to)| (rule, from[&rule], to)).collect()))
        })
        .collect();
    swept.segments.renumbered(|set| list_of[set as usize])
}

/// Rules that match source and destination in the order they are tried, up to the first that names no ports.
fn ordered(rules: &[EgressRule], mut matching: Vec<(u32, u8, u8)>) -> Vec<u32> {
    // Rules are numbered by priority, name and origin: the number settles what lengths leave open.
    matching.sort_by_key(|&(rule, from, to)| {
        let priority = std::cmp::Reverse(rules[rule as usize].policy.priority);
        (priority, std::cmp::Reverse(from), std::cmp::Reverse(to), rule)
    });
    let end = matching.iter().position(|&(rule, ..)| rules[rule as usize].ports.is_all());
    let keep = end.map_or(matching.len(), |end| end + 1);
    matching[..keep].iter().map(|&(rule, ..)| rule).collect()
}
