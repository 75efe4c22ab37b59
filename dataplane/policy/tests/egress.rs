//! EgressPolicies: which rule decides, sentence by sentence, and against a model that tries every
//! policy for every flow.

use std::net::Ipv4Addr;
use std::sync::Arc;

use model::{
    EgressAction, EgressPolicy, FilteringBehavior, MappingBehavior, Name, OnDeny, Origin, PoolingBehavior,
    PortMatch, PortRange, PrefixExcept, Protocol as Named,
};
use policy::{Action, EgressInput, EgressRules, NoMatch, PoolNumber};
use proptest::prelude::*;
use wire::{Protocol, V4, V6};

type Written = (Origin, Name, EgressPolicy, PoolNumber);

fn entry(prefix: &str, except: &[&str]) -> PrefixExcept {
    PrefixExcept {
        prefix: prefix.parse().unwrap(),
        except: except.iter().map(|e| e.parse().unwrap()).collect(),
    }
}

fn policy(priority: i32, from: &[PrefixExcept], to: &[PrefixExcept]) -> EgressPolicy {
    EgressPolicy {
        priority,
        from: from.to_vec(),
        to: to.to_vec(),
        ports: Vec::new(),
        action: EgressAction::Direct,
        on_deny: OnDeny::Reject,
        adopt_mid_stream: false,
        mss_clamp: None,
    }
}

fn named(name: &str, policy: EgressPolicy) -> Written {
    (Origin(Arc::from("operator")), Name(Arc::from(name)), policy, PoolNumber(0))
}

fn any_from(priority: i32, to: &str) -> EgressPolicy {
    policy(priority, &[entry("0.0.0.0/0", &[])], &[entry(to, &[])])
}

fn compiled(written: &[Written]) -> EgressRules<V4> {
    EgressRules::compile(written.iter().map(|(origin, name, policy, pool)| EgressInput {
        origin,
        name,
        policy,
        pool: *pool,
    }))
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Name of the rule that decides about TCP to port 443.
fn decides(rules: &EgressRules<V4>, from: &str, to: &str) -> Option<String> {
    rules.judge(v4(from), v4(to), Protocol::TCP, 443).map(|rule| rule.name.0.to_string())
}

#[test]
fn no_policy_matches_where_none_is_written() {
    assert_eq!(decides(&compiled(&[]), "10.0.0.1", "192.0.2.1"), None);
}

#[test]
fn the_highest_priority_comes_first_however_short_its_prefixes() {
    let rules = compiled(&[
        named("low", policy(1, &[entry("10.0.0.1/32", &[])], &[entry("192.0.2.1/32", &[])])),
        named("high", any_from(2, "0.0.0.0/0")),
    ]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("high"));
}

#[test]
fn priorities_may_be_negative() {
    let rules = compiled(&[named("a", any_from(-5, "0.0.0.0/0")), named("b", any_from(-4, "0.0.0.0/0"))]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("b"));
}

#[test]
fn the_longest_matching_from_comes_before_the_longest_to() {
    let rules = compiled(&[
        named("a", policy(7, &[entry("10.0.0.0/8", &[])], &[entry("192.0.2.1/32", &[])])),
        named("b", policy(7, &[entry("10.0.0.0/24", &[])], &[entry("0.0.0.0/0", &[])])),
    ]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("b"));
    assert_eq!(decides(&rules, "10.9.0.1", "192.0.2.1").as_deref(), Some("a"));
}

#[test]
fn only_the_entry_that_matches_lends_its_length() {
    let rules = compiled(&[
        named(
            "a",
            policy(7, &[entry("10.0.0.0/8", &[]), entry("172.16.0.1/32", &[])], &[entry("0.0.0.0/0", &[])]),
        ),
        named("b", policy(7, &[entry("10.0.0.0/16", &[])], &[entry("0.0.0.0/0", &[])])),
    ]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("b"));
}

#[test]
fn the_longest_matching_to_comes_before_the_name() {
    let rules = compiled(&[named("a", any_from(7, "192.0.0.0/8")), named("b", any_from(7, "192.0.2.0/24"))]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("b"));
    assert_eq!(decides(&rules, "10.0.0.1", "192.9.2.1").as_deref(), Some("a"));
}

#[test]
fn the_name_decides_between_equals_and_then_the_origin() {
    let rules = compiled(&[named("b", any_from(7, "0.0.0.0/0")), named("a", any_from(7, "0.0.0.0/0"))]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("a"));
    let (mut one, mut two) = (named("a", any_from(7, "0.0.0.0/0")), named("a", any_from(7, "0.0.0.0/0")));
    one.0 = Origin(Arc::from("zebra"));
    two.0 = Origin(Arc::from("aurora"));
    let rules = compiled(&[one, two]);
    let rule = rules.judge(v4("10.0.0.1"), v4("192.0.2.1"), Protocol::UDP, 1).unwrap();
    assert_eq!(&*rule.origin.0, "aurora");
}

#[test]
fn a_destination_in_except_falls_to_the_next_policy() {
    let rules = compiled(&[
        named("first", policy(9, &[entry("0.0.0.0/0", &[])], &[entry("0.0.0.0/0", &["192.0.2.0/24"])])),
        named("second", any_from(1, "0.0.0.0/0")),
    ]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("second"));
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.3.1").as_deref(), Some("first"));
}

#[test]
fn an_address_that_one_entry_excepts_may_match_by_another() {
    let to = [entry("0.0.0.0/0", &["192.0.2.0/24"]), entry("192.0.2.1/32", &[])];
    let rules = compiled(&[named("only", policy(9, &[entry("0.0.0.0/0", &[])], &to))]);
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.1").as_deref(), Some("only"));
    assert_eq!(decides(&rules, "10.0.0.1", "192.0.2.2"), None);
}

#[test]
fn a_source_in_except_is_no_match() {
    let from = [entry("10.0.0.0/8", &["10.0.0.0/24"])];
    let rules = compiled(&[named("only", policy(9, &from, &[entry("0.0.0.0/0", &[])]))]);
    assert_eq!(decides(&rules, "10.0.0.9", "192.0.2.1"), None);
    assert_eq!(decides(&rules, "10.0.1.9", "192.0.2.1").as_deref(), Some("only"));
}

#[test]
fn a_rule_with_ports_lets_other_ports_protocols_and_icmp_fall_to_the_next() {
    let mut web = any_from(9, "0.0.0.0/0");
    web.ports =
        vec![PortMatch { protocol: Some(Named::Tcp), ports: Some(PortRange { first: 443, last: 444 }) }];
    let rules = compiled(&[named("web", web), named("rest", any_from(1, "0.0.0.0/0"))]);
    let by = |protocol, port| &*rules.judge(v4("10.0.0.1"), v4("192.0.2.1"), protocol, port).unwrap().name.0;
    assert_eq!(by(Protocol::TCP, 443), "web");
    assert_eq!(by(Protocol::TCP, 444), "web");
    assert_eq!(by(Protocol::TCP, 445), "rest");
    assert_eq!(by(Protocol::UDP, 443), "rest");
    assert_eq!(by(Protocol::ICMP, 443), "rest");
    assert_eq!(by(Protocol(47), 443), "rest");
}

#[test]
fn the_action_of_the_policy_is_the_action_of_the_rule() {
    let mut snat = any_from(9, "192.0.2.0/24");
    snat.action = EgressAction::Snat {
        pool: Name(Arc::from("internet")),
        mapping: MappingBehavior::AddressDependent,
        filtering: FilteringBehavior::EndpointIndependent,
        pooling: PoolingBehavior::PairedStrict,
    };
    let mut deny = any_from(9, "198.51.100.0/24");
    deny.action = EgressAction::Deny;
    deny.on_deny = OnDeny::Drop;
    let mut snat = named("snat", snat);
    snat.3 = PoolNumber(3);
    let rules = compiled(&[snat, named("deny", deny)]);
    let of = |to: &str| rules.judge(v4("10.0.0.1"), v4(to), Protocol::TCP, 1).unwrap();
    assert_eq!(
        of("192.0.2.1").action,
        Action::Snat {
            pool: PoolNumber(3),
            mapping: MappingBehavior::AddressDependent,
            filtering: FilteringBehavior::EndpointIndependent,
            pooling: PoolingBehavior::PairedStrict,
        }
    );
    assert_eq!(of("198.51.100.1").action, Action::Deny);
    assert_eq!(of("198.51.100.1").on_deny, OnDeny::Drop);
}

#[test]
fn prefixes_of_the_other_family_match_nothing() {
    let written = [named("six", policy(9, &[entry("::/0", &[])], &[entry("::/0", &[])]))];
    assert_eq!(decides(&compiled(&written), "10.0.0.1", "192.0.2.1"), None);
    let six: EgressRules<V6> =
        EgressRules::compile(written.iter().map(|(origin, name, policy, pool)| EgressInput {
            origin,
            name,
            policy,
            pool: *pool,
        }));
    assert!(six.judge("2001:db8::1".parse().unwrap(), "::1".parse().unwrap(), Protocol::TCP, 1).is_some());
}

#[test]
fn an_explanation_says_why_earlier_policies_did_not_match() {
    let mut web = any_from(9, "0.0.0.0/0");
    web.ports = vec![PortMatch { protocol: Some(Named::Udp), ports: None }];
    let anywhere = [entry("0.0.0.0/0", &[])];
    let rules = compiled(&[
        named("a", policy(9, &[entry("172.16.0.0/12", &[])], &anywhere)),
        named("b", policy(9, &[entry("10.0.0.0/8", &["10.0.0.0/24"])], &anywhere)),
        named("c", any_from(9, "198.51.100.0/24")),
        named("d", policy(9, &anywhere, &[entry("192.0.0.0/8", &["192.0.2.0/24"])])),
        named("e", web),
        named("f", any_from(5, "0.0.0.0/0")),
        named("g", any_from(4, "198.51.100.0/24")),
    ]);
    let explained = rules.explain(v4("10.0.0.1"), v4("192.0.2.1"), Protocol::TCP, 443);
    assert_eq!(&*explained.rule.unwrap().name.0, "f");
    let why: Vec<(&str, &NoMatch)> = explained.passed.iter().map(|p| (&*p.name.0, &p.why)).collect();
    assert_eq!(
        why,
        [
            ("a", &NoMatch::Source),
            ("b", &NoMatch::SourceExcepted("10.0.0.0/24".parse().unwrap())),
            ("c", &NoMatch::Destination),
            ("d", &NoMatch::DestinationExcepted("192.0.2.0/24".parse().unwrap())),
            ("e", &NoMatch::Ports),
        ]
    );
}

#[test]
fn rules_stand_for_their_inputs_only_while_these_are_equal() {
    let mut written = vec![named("a", any_from(1, "0.0.0.0/0")), named("b", any_from(2, "0.0.0.0/0"))];
    let rules = compiled(&written);
    let stands = |written: &[Written]| {
        rules.stands_for(written.iter().map(|(origin, name, policy, pool)| EgressInput {
            origin,
            name,
            policy,
            pool: *pool,
        }))
    };
    assert!(stands(&written));
    written[0].2.mss_clamp = Some(0);
    assert!(!stands(&written));
    assert!(!stands(&written[1..]));
}

// The model: every policy is tried, the best of those that match decides.

fn holds(entry: &PrefixExcept, address: Ipv4Addr) -> bool {
    let address = std::net::IpAddr::V4(address);
    entry.prefix.contains(&address) && !entry.except.iter().any(|e| e.contains(&address))
}

fn longest(entries: &[PrefixExcept], address: Ipv4Addr) -> Option<u8> {
    entries.iter().filter(|e| holds(e, address)).map(|e| e.prefix.prefix_len()).max()
}

fn port_matches(policy: &EgressPolicy, protocol: Protocol, port: u16) -> bool {
    policy.ports.is_empty()
        || policy.ports.iter().any(|m| {
            let same = match m.protocol {
                None => true,
                Some(Named::Tcp) => protocol.0 == 6,
                Some(Named::Udp) => protocol.0 == 17,
                Some(Named::Icmp) => protocol.0 == 1,
                Some(Named::Sctp) => protocol.0 == 132,
                Some(Named::Other(n)) => protocol.0 == n,
            };
            same && m
                .ports
                .is_none_or(|r| r.first <= port && port <= r.last && [6, 17, 132].contains(&protocol.0))
        })
}

fn naive(written: &[Written], from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, port: u16) -> Option<&Name> {
    written
        .iter()
        .filter_map(|(origin, name, policy, _)| {
            let lengths = (longest(&policy.from, from)?, longest(&policy.to, to)?);
            port_matches(policy, protocol, port).then_some((
                std::cmp::Reverse((policy.priority, lengths.0, lengths.1)),
                name,
                origin,
            ))
        })
        .min()
        .map(|(_, name, _)| name)
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    // Few bits, so that prefixes nest and addresses hit them.
    (0u32..4, 0u32..4, 0u32..4).prop_map(|(a, b, c)| Ipv4Addr::from_bits(0x0a00_0000 | a << 22 | b << 8 | c))
}

fn prefix() -> impl Strategy<Value = model::IpNet> {
    (address(), prop_oneof![Just(0u8), Just(8), 9u8..=10, 22u8..=24, 30u8..=32])
        .prop_map(|(a, length)| model::IpNet::new(a.into(), length).unwrap().trunc())
}

fn entries() -> impl Strategy<Value = Vec<PrefixExcept>> {
    let one = (prefix(), proptest::collection::vec(prefix(), 0..3))
        .prop_map(|(prefix, except)| PrefixExcept { prefix, except });
    proptest::collection::vec(one, 1..4)
}

fn ports() -> impl Strategy<Value = Vec<PortMatch>> {
    let named = prop_oneof![Just(Named::Tcp), Just(Named::Udp), Just(Named::Icmp), Just(Named::Other(47))];
    let one =
        (proptest::option::of(named), proptest::option::of((0u16..4, 0u16..4))).prop_map(|(protocol, r)| {
            PortMatch { protocol, ports: r.map(|(first, more)| PortRange { first, last: first + more }) }
        });
    prop_oneof![2 => Just(Vec::new()), 3 => proptest::collection::vec(one, 1..3)]
}

fn written() -> impl Strategy<Value = Vec<Written>> {
    let one = (0i32..3, entries(), entries(), ports());
    proptest::collection::vec(one, 0..14).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(n, (priority, from, to, ports))| {
                let mut policy = policy(priority, &from, &to);
                policy.ports = ports;
                named(&format!("p{n:02}"), policy)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compiled_rules_judge_as_the_model_that_tries_every_policy(
        written in written(),
        flows in proptest::collection::vec((address(), address(), 0usize..4, 0u16..6), 60),
    ) {
        let rules = compiled(&written);
        for (from, to, protocol, port) in flows {
            let protocol = [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol(47)][protocol];
            let want = naive(&written, from, to, protocol, port);
            prop_assert_eq!(rules.judge(from, to, protocol, port).map(|r| &r.name), want, "{} {}", from, to);
            let explained = rules.explain(from, to, protocol, port);
            prop_assert_eq!(explained.rule.map(|r| &r.name), want);
        }
    }
}
