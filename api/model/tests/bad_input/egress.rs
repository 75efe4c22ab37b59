//! Pools and the policies that use them.

use model::{Change, Config, Origin, parse_objects};

use crate::{POOL, balancer, check, fault, faults, operator, policy, pool};

#[test]
fn overlapping_pools_are_refused_within_and_between() {
    check(
        &pool("{addresses: [203.0.113.0/28, 203.0.113.15-203.0.113.20]}"),
        "EgressPool/p",
        "spec.addresses[1]",
        "203.0.113.15-203.0.113.20",
        "overlaps \"203.0.113.0/28\" of the same pool",
    );
    check(
        &(POOL.to_owned() + &pool("{addresses: [203.0.113.0/24]}")),
        "EgressPool/p",
        "spec.addresses",
        "203.0.113.1",
        "overlaps EgressPool/internet (operator)",
    );
}

#[test]
fn pools_of_two_origins_that_overlap_are_refused_at_the_one_being_applied() {
    let file = Origin("file".into());
    let (objects, _) = parse_objects(POOL, &file).unwrap();
    let config = Config::default().apply(&file, Change::Whole(objects)).unwrap();
    for name in ["another", "zzz"] {
        let other = POOL.replace("internet", name);
        let (objects, _) = parse_objects(&other, &operator()).unwrap();
        let errors = config.apply(&operator(), Change::Whole(objects)).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].object.to_string(), format!("EgressPool/{name} (operator)"));
        assert_eq!(errors[0].problem, "overlaps EgressPool/internet (file)");
    }
}

#[test]
fn a_pool_without_or_with_too_many_addresses_is_refused() {
    check(&pool("{addresses: []}"), "EgressPool/p", "spec.addresses", "", "a pool without addresses");
    check(
        &pool("{addresses: [10.0.0.0/19]}"),
        "EgressPool/p",
        "spec.addresses",
        "8192",
        "more than 4096 addresses in one pool",
    );
}

#[test]
fn addresses_that_cannot_be_used_are_refused() {
    let problem = "not a unicast address that packets can be sent to";
    for bad in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        check(&pool(&format!("{{addresses: [{bad}]}}")), "EgressPool/p", "spec.addresses[0]", bad, problem);
    }
    check(
        &pool("{addresses: ['2001:db8::1']}"),
        "EgressPool/p",
        "spec.addresses[0]",
        "2001:db8::1",
        "IPv6 is not served here yet",
    );
    check(
        &pool("{addresses: [nonsense]}"),
        "EgressPool/p",
        "spec.addresses[0]",
        "nonsense",
        "not an IP address",
    );
    check(
        &pool("{addresses: [203.0.113.9-203.0.113.1]}"),
        "EgressPool/p",
        "spec.addresses[0]",
        "203.0.113.9-203.0.113.1",
        "the range is reversed",
    );
}

#[test]
fn blocks_that_do_not_fit_are_refused() {
    check(
        &pool("{addresses: [203.0.113.1], blockSize: 500}"),
        "EgressPool/p",
        "spec.blockSize",
        "500",
        "not a power of two",
    );
    check(
        &pool("{addresses: [203.0.113.1], blockSize: 32}"),
        "EgressPool/p",
        "spec.blockSize",
        "32",
        "not between 64 and 4096",
    );
    check(
        &pool("{addresses: [203.0.113.1], ports: 1024-1100}"),
        "EgressPool/p",
        "spec.ports",
        "1024-1100",
        "fewer ports than one block of 512",
    );
}

#[test]
fn a_duration_without_a_unit_or_out_of_bounds_is_refused() {
    check(
        &pool("{addresses: [203.0.113.1], portRest: 120}"),
        "EgressPool/p",
        "spec.portRest",
        "120",
        "not a duration",
    );
    check(
        &pool("{addresses: [203.0.113.1], timeouts: {udp: 0s}}"),
        "EgressPool/p",
        "spec.timeouts.udp",
        "0s",
        "not between 100ms and 2592000s",
    );
    check(
        &pool("{addresses: [203.0.113.1], timeouts: {udp: -5s}}"),
        "EgressPool/p",
        "spec.timeouts.udp",
        "-5s",
        "not a duration",
    );
}

#[test]
fn an_unknown_pool_is_refused() {
    check(
        &policy("{from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Snat, pool: intranet}"),
        "EgressPolicy/p",
        "spec.pool",
        "intranet",
        "no EgressPool of this name",
    );
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 80}], sourceNat: {pool: internal}}"),
        "LoadBalancer/web",
        "spec.sourceNat.pool",
        "internal",
        "no EgressPool of this name",
    );
}

#[test]
fn an_exception_outside_its_prefix_is_refused() {
    check(
        &policy(
            "{from: [{prefix: 10.0.0.0/24}], to: [{prefix: 10.0.0.0/8, except: [10.1.0.0/16, 192.0.2.0/24]}], action: Direct}",
        ),
        "EgressPolicy/p",
        "spec.to[0].except[1]",
        "192.0.2.0/24",
        "not inside 10.0.0.0/8",
    );
}

#[test]
fn a_policy_without_its_required_fields_is_refused() {
    let fields: Vec<String> = faults(&policy("{}")).into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["spec.action", "spec.from", "spec.to"]);
    check(
        &policy("{from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Snat}"),
        "EgressPolicy/p",
        "spec.pool",
        "",
        "missing",
    );
}

#[test]
fn selectors_are_refused_off_a_cluster() {
    let (_, field, _, problem) = fault(&policy(
        "{from: [{podSelector: {}, prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Direct}",
    ));
    assert_eq!(field, "spec.from[0].podSelector");
    assert!(problem.contains("only on a cluster"));
}

#[test]
fn words_and_fields_that_mean_nothing_there_are_refused() {
    let base = "from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}]";
    check(
        &policy(&format!("{{{base}, action: snat}}")),
        "EgressPolicy/p",
        "spec.action",
        "snat",
        "not one of the words that stand here",
    );
    check(
        &policy(&format!("{{{base}, action: Deny, pool: internet}}")),
        "EgressPolicy/p",
        "spec.pool",
        "internet",
        "has a meaning only with action Snat",
    );
    check(
        &policy(&format!("{{{base}, action: Deny, mssClamp: 5}}")),
        "EgressPolicy/p",
        "spec.mssClamp",
        "5",
        "not an MSS that TCP over IPv4 can have",
    );
    check(
        &policy(&format!("{{{base}, action: Deny, ports: [{{protocol: ICMP, port: 1}}]}}")),
        "EgressPolicy/p",
        "spec.ports[0].port",
        "1",
        "protocol ICMP has no ports",
    );
    check(
        &policy(&format!("{{{base}, action: Deny, ports: [{{protocol: tcp}}]}}")),
        "EgressPolicy/p",
        "spec.ports[0].protocol",
        "tcp",
        "not a protocol",
    );
    check(
        &policy(&format!("{{{base}, action: Deny, ports: [{{protocol: TCP, endPort: 9}}]}}")),
        "EgressPolicy/p",
        "spec.ports[0].endPort",
        "",
        "an end without a start",
    );
    check(
        &policy(&format!("{{{base}, action: Deny, ports: [{{protocol: TCP, port: 0}}]}}")),
        "EgressPolicy/p",
        "spec.ports[0].port",
        "0",
        "not a port",
    );
}
