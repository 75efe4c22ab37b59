//! AccessPolicies and guards: Kubernetes NetworkPolicy egress semantics, sentence by sentence,
//! and against a model that reads the objects as they are written.

use std::net::Ipv4Addr;
use std::sync::Arc;

use model::{
    AccessGuard, AccessPolicy, AccessRule, Name, Origin, PortMatch, PortRange, PrefixExcept,
    Protocol as Named,
};
use policy::{Access, AccessInput, AccessRules, GuardInput, NoMatch};
use proptest::prelude::*;
use wire::{Protocol, V4};

type Policies = Vec<(Origin, Name, AccessPolicy)>;
type Guards = Vec<(Origin, Name, AccessGuard)>;

fn origin(name: &str) -> Origin {
    Origin(Arc::from(name))
}

fn entry(prefix: &str, except: &[&str]) -> PrefixExcept {
    PrefixExcept {
        prefix: prefix.parse().unwrap(),
        except: except.iter().map(|e| e.parse().unwrap()).collect(),
    }
}

fn to(prefix: &str) -> AccessRule {
    AccessRule { to: vec![entry(prefix, &[])], ports: Vec::new() }
}

fn selects(who: &str, name: &str, subject: &str, rules: &[AccessRule]) -> (Origin, Name, AccessPolicy) {
    let policy = AccessPolicy { subjects: vec![entry(subject, &[])], rules: rules.to_vec() };
    (origin(who), Name(Arc::from(name)), policy)
}

fn guard(prefix: &str) -> (Origin, Name, AccessGuard) {
    (origin("cluster"), Name(Arc::from("pods")), AccessGuard { prefixes: vec![prefix.parse().unwrap()] })
}

fn compiled(policies: &Policies, guards: &Guards, previous: Option<&AccessRules<V4>>) -> AccessRules<V4> {
    AccessRules::compile(
        policies.iter().map(|(origin, name, policy)| AccessInput { origin, name, policy }),
        guards.iter().map(|(origin, name, guard)| GuardInput { origin, name, guard }),
        previous,
    )
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn judge(rules: &AccessRules<V4>, from: &str, to: &str) -> Access {
    rules.judge(v4(from), v4(to), Protocol::TCP, 443)
}

#[test]
fn a_source_that_no_policy_selects_is_free() {
    let rules = compiled(&vec![selects("cluster", "a", "10.0.0.1/32", &[])], &vec![], None);
    assert_eq!(judge(&rules, "10.0.0.2", "192.0.2.1"), Access::Free);
    assert!(Access::Free.passes());
}

#[test]
fn a_selected_source_is_denied_what_no_rule_allows() {
    let rules = compiled(&vec![selects("cluster", "a", "10.0.0.1/32", &[to("192.0.2.0/24")])], &vec![], None);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.2.1"), Access::Allowed);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.3.1"), Access::Denied);
}

#[test]
fn an_empty_rule_allows_all_and_an_empty_list_of_rules_denies_all() {
    let all = selects("cluster", "a", "10.0.0.1/32", &[AccessRule::default()]);
    let none = selects("cluster", "b", "10.0.0.2/32", &[]);
    let rules = compiled(&vec![all, none], &vec![], None);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.2.1"), Access::Allowed);
    assert_eq!(judge(&rules, "10.0.0.2", "192.0.2.1"), Access::Denied);
}

#[test]
fn allowed_is_the_union_of_all_policies_of_an_origin() {
    let policies = vec![
        selects("cluster", "a", "10.0.0.1/32", &[to("192.0.2.0/24")]),
        selects("cluster", "b", "10.0.0.0/24", &[to("198.51.100.0/24")]),
    ];
    let rules = compiled(&policies, &vec![], None);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.2.1"), Access::Allowed);
    assert_eq!(judge(&rules, "10.0.0.1", "198.51.100.1"), Access::Allowed);
    assert_eq!(judge(&rules, "10.0.0.2", "192.0.2.1"), Access::Denied);
}

#[test]
fn an_own_rule_never_opens_what_a_cluster_closes() {
    let policies = vec![
        selects("cluster", "a", "10.0.0.1/32", &[to("192.0.2.0/24")]),
        selects("operator", "open", "10.0.0.0/8", &[AccessRule::default()]),
    ];
    let rules = compiled(&policies, &vec![], None);
    assert_eq!(judge(&rules, "10.0.0.1", "198.51.100.1"), Access::Denied);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.2.1"), Access::Allowed);
    assert_eq!(judge(&rules, "10.0.0.2", "198.51.100.1"), Access::Allowed);
}

#[test]
fn a_guarded_source_without_a_policy_is_pending() {
    let rules =
        compiled(&vec![selects("cluster", "a", "10.244.0.1/32", &[])], &vec![guard("10.244.0.0/16")], None);
    assert_eq!(judge(&rules, "10.244.0.2", "192.0.2.1"), Access::Pending);
    assert_eq!(judge(&rules, "10.244.0.1", "192.0.2.1"), Access::Denied);
    assert_eq!(judge(&rules, "10.245.0.2", "192.0.2.1"), Access::Free);
    assert!(!Access::Pending.passes());
}

#[test]
fn a_policy_whose_only_rule_is_empty_frees_a_guarded_source() {
    let listed = selects("cluster", "unselected", "10.244.0.2/32", &[AccessRule::default()]);
    let rules = compiled(&vec![listed], &vec![guard("10.244.0.0/16")], None);
    assert_eq!(judge(&rules, "10.244.0.2", "192.0.2.1"), Access::Allowed);
}

#[test]
fn overlapping_guards_guard_their_union() {
    let guards = vec![guard("10.244.0.0/16"), guard("10.244.1.0/24"), guard("10.245.0.0/16")];
    let rules = compiled(&vec![], &guards, None);
    for source in ["10.244.0.1", "10.244.1.1", "10.244.2.1", "10.245.255.255"] {
        assert_eq!(judge(&rules, source, "192.0.2.1"), Access::Pending);
    }
    assert_eq!(judge(&rules, "10.246.0.0", "192.0.2.1"), Access::Free);
}

#[test]
fn a_policy_that_selects_nothing_affects_nothing() {
    let mut nothing = selects("cluster", "a", "10.0.0.1/32", &[]);
    nothing.2.subjects.clear();
    assert_eq!(judge(&compiled(&vec![nothing], &vec![], None), "10.0.0.1", "192.0.2.1"), Access::Free);
}

#[test]
fn an_ip_block_excepts_what_it_names() {
    let rule = AccessRule { to: vec![entry("0.0.0.0/0", &["192.0.2.0/24"])], ports: Vec::new() };
    let rules = compiled(&vec![selects("cluster", "a", "10.0.0.1/32", &[rule])], &vec![], None);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.2.1"), Access::Denied);
    assert_eq!(judge(&rules, "10.0.0.1", "192.0.3.1"), Access::Allowed);
}

#[test]
fn ports_and_destinations_of_one_rule_must_both_match() {
    let port = PortMatch { protocol: Some(Named::Tcp), ports: Some(PortRange { first: 5432, last: 5433 }) };
    let rule = AccessRule { to: vec![entry("192.0.2.0/24", &[])], ports: vec![port] };
    let rules = compiled(&vec![selects("cluster", "db-only", "10.0.0.7/32", &[rule])], &vec![], None);
    let at = |to: &str, protocol, port| rules.judge(v4("10.0.0.7"), v4(to), protocol, port);
    assert_eq!(at("192.0.2.1", Protocol::TCP, 5432), Access::Allowed);
    assert_eq!(at("192.0.2.1", Protocol::TCP, 5433), Access::Allowed);
    assert_eq!(at("192.0.2.1", Protocol::TCP, 5434), Access::Denied);
    assert_eq!(at("192.0.2.1", Protocol::UDP, 5432), Access::Denied);
    assert_eq!(at("192.0.2.1", Protocol::ICMP, 5432), Access::Denied);
    assert_eq!(at("192.0.3.1", Protocol::TCP, 5432), Access::Denied);
}

#[test]
fn an_explanation_names_guards_origins_policies_and_reasons() {
    let policies = vec![
        selects("cluster", "a", "10.244.0.0/24", &[to("192.0.2.0/24"), to("198.51.100.0/24")]),
        selects("operator", "open", "10.0.0.0/8", &[AccessRule::default()]),
    ];
    let rules = compiled(&policies, &vec![guard("10.244.0.0/16")], None);
    let explained = rules.explain(v4("10.244.0.1"), v4("203.0.113.1"), Protocol::TCP, 443);
    assert_eq!(explained.access, Access::Denied);
    assert_eq!(explained.guards, [(origin("cluster"), Name(Arc::from("pods")))]);
    assert_eq!(explained.origins.len(), 2);
    assert!(!explained.origins[0].allows);
    assert_eq!(explained.origins[0].policies[0].rules, [NoMatch::Destination, NoMatch::Destination]);
    assert!(explained.origins[1].allows);
    assert!(explained.origins[1].policies[0].rules.is_empty());
}

#[test]
fn rules_stand_for_their_inputs_only_while_these_are_equal() {
    let mut policies = vec![selects("cluster", "a", "10.0.0.1/32", &[])];
    let guards = vec![guard("10.244.0.0/16")];
    let rules = compiled(&policies, &guards, None);
    let stands = |policies: &Policies, guards: &Guards| {
        rules.stands_for(
            policies.iter().map(|(origin, name, policy)| AccessInput { origin, name, policy }),
            guards.iter().map(|(origin, name, guard)| GuardInput { origin, name, guard }),
        )
    };
    assert!(stands(&policies, &guards));
    assert!(!stands(&policies, &vec![]));
    policies[0].2.rules.push(AccessRule::default());
    assert!(!stands(&policies, &guards));
}

// The model.

fn holds(entry: &PrefixExcept, address: Ipv4Addr) -> bool {
    let address = std::net::IpAddr::V4(address);
    entry.prefix.contains(&address) && !entry.except.iter().any(|e| e.contains(&address))
}

fn naive(
    policies: &Policies,
    guards: &Guards,
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: Protocol,
    port: u16,
) -> Access {
    let selecting: Vec<_> =
        policies.iter().filter(|(_, _, p)| p.subjects.iter().any(|s| holds(s, from))).collect();
    if selecting.is_empty() {
        let guarded =
            guards.iter().any(|(_, _, g)| g.prefixes.iter().any(|p| p.contains(&std::net::IpAddr::V4(from))));
        return if guarded { Access::Pending } else { Access::Free };
    }
    let allows = |policy: &AccessPolicy| {
        policy.rules.iter().any(|rule| {
            (rule.to.is_empty() || rule.to.iter().any(|e| holds(e, to)))
                && (rule.ports.is_empty()
                    || rule.ports.iter().any(|m| {
                        m.protocol.is_none_or(|p| p == Named::Tcp && protocol == Protocol::TCP)
                            && m.ports.is_none_or(|r| {
                                protocol != Protocol::ICMP && r.first <= port && port <= r.last
                            })
                    }))
        })
    };
    let agreed = selecting
        .iter()
        .all(|(who, ..)| selecting.iter().any(|(other, _, policy)| other == who && allows(policy)));
    if agreed { Access::Allowed } else { Access::Denied }
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    (0u32..4, 0u32..4, 0u32..4).prop_map(|(a, b, c)| Ipv4Addr::from_bits(0x0a00_0000 | a << 22 | b << 8 | c))
}

fn prefix() -> impl Strategy<Value = model::IpNet> {
    (address(), prop_oneof![Just(0u8), 9u8..=10, 22u8..=24, 30u8..=32])
        .prop_map(|(a, length)| model::IpNet::new(a.into(), length).unwrap().trunc())
}

fn entries(least: usize) -> impl Strategy<Value = Vec<PrefixExcept>> {
    let one = (prefix(), proptest::collection::vec(prefix(), 0..2))
        .prop_map(|(prefix, except)| PrefixExcept { prefix, except });
    proptest::collection::vec(one, least..3)
}

fn rule() -> impl Strategy<Value = AccessRule> {
    let port = (any::<bool>(), proptest::option::of((0u16..4, 0u16..3))).prop_map(|(tcp, r)| PortMatch {
        protocol: tcp.then_some(Named::Tcp),
        ports: r.map(|(first, more)| PortRange { first, last: first + more }),
    });
    (entries(0), proptest::collection::vec(port, 0..2)).prop_map(|(to, ports)| AccessRule { to, ports })
}

fn policies() -> impl Strategy<Value = Policies> {
    let one = (0usize..3, entries(1), proptest::collection::vec(rule(), 0..3));
    proptest::collection::vec(one, 0..10).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (who, subjects, rules))| {
                let who = ["cluster-a", "cluster-b", "operator"][who];
                (origin(who), Name(Arc::from(format!("p{n}"))), AccessPolicy { subjects, rules })
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_rules_judge_as_the_objects_read(
        before in policies(),
        policies in policies(),
        guarded in proptest::collection::vec(prefix(), 0..3),
        flows in proptest::collection::vec((address(), address(), 0usize..3, 0u16..6), 60),
    ) {
        let guards: Guards = guarded
            .into_iter()
            .enumerate()
            .map(|(n, p)| (origin("operator"), Name(Arc::from(format!("g{n}"))), AccessGuard { prefixes: vec![p] }))
            .collect();
        // What is taken over from rules compiled before must make no difference.
        let before = compiled(&before, &guards, None);
        let rules = compiled(&policies, &guards, Some(&before));
        for (from, to, protocol, port) in flows {
            let protocol = [Protocol::TCP, Protocol::UDP, Protocol::ICMP][protocol];
            let want = naive(&policies, &guards, from, to, protocol, port);
            prop_assert_eq!(rules.judge(from, to, protocol, port), want, "{} {}", from, to);
            prop_assert_eq!(rules.explain(from, to, protocol, port).access, want);
        }
    }
}
