//! Access, guards and routes; ranges and prefixes wherever they stand.

use crate::{balancer, check, object, policy, pool};

#[test]
fn a_reversed_port_range_is_refused_everywhere() {
    check(
        &pool("{addresses: [203.0.113.1], ports: 2000-1000}"),
        "EgressPool/p",
        "spec.ports",
        "2000-1000",
        "the port range is reversed",
    );
    check(
        &policy(
            "{from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Deny, ports: [{protocol: TCP, port: 444, endPort: 443}]}",
        ),
        "EgressPolicy/p",
        "spec.ports[0].endPort",
        "443",
        "the port range is reversed: it starts at 444",
    );
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 90, endPort: 80}]}"),
        "LoadBalancer/web",
        "spec.ports[0].endPort",
        "80",
        "the port range is reversed: it starts at 90",
    );
    check(
        &object(
            "StaticMapping",
            "m",
            "{protocol: TCP, outside: {address: 203.0.113.5, port: 9, endPort: 8}, inside: {address: 10.0.0.1, port: 9}}",
        ),
        "StaticMapping/m",
        "spec.outside.endPort",
        "8",
        "the port range is reversed: it starts at 9",
    );
}

#[test]
fn a_prefix_with_host_bits_is_refused() {
    let problem = "the address has bits set behind its /24 prefix";
    check(
        &policy("{from: [{prefix: 10.0.0.1/24}], to: [{prefix: 0.0.0.0/0}], action: Direct}"),
        "EgressPolicy/p",
        "spec.from[0].prefix",
        "10.0.0.1/24",
        problem,
    );
    check(
        &object("AccessGuard", "g", "{prefixes: [10.0.0.7/24]}"),
        "AccessGuard/g",
        "spec.prefixes[0]",
        "10.0.0.7/24",
        problem,
    );
    check(
        &object("Route", "r", "{to: 10.1.0.7/24, via: 10.0.0.1}"),
        "Route/r",
        "spec.to",
        "10.1.0.7/24",
        problem,
    );
    check(
        &pool("{addresses: [203.0.113.7/24]}"),
        "EgressPool/p",
        "spec.addresses[0]",
        "203.0.113.7/24",
        problem,
    );
    check(
        &object("AccessGuard", "g", "{prefixes: [10.0.0.7]}"),
        "AccessGuard/g",
        "spec.prefixes[0]",
        "10.0.0.7",
        "not a prefix",
    );
}

#[test]
fn two_routes_to_one_destination_are_refused() {
    let one = object("Route", "a", "{to: 10.1.0.0/16, via: 10.0.0.7}");
    let two = object("Route", "b", "{to: 10.1.0.0/16, via: [10.0.0.8]}");
    check(&(one + &two), "Route/b", "spec.to", "10.1.0.0/16", "Route/a (operator) leads there already");
    check(
        &object("Route", "a", "{to: 10.1.0.0/16, via: [10.0.0.8, 10.0.0.8]}"),
        "Route/a",
        "spec.via[1]",
        "10.0.0.8",
        "named twice",
    );
    check(&object("Route", "a", "{to: 10.1.0.0/16, via: []}"), "Route/a", "spec.via", "", "missing or empty");
}

#[test]
fn an_access_policy_without_subjects_and_a_guard_without_prefixes_are_refused() {
    check(&object("AccessPolicy", "a", "{rules: [{}]}"), "AccessPolicy/a", "spec.subjects", "", "missing");
    check(&object("AccessGuard", "a", "{}"), "AccessGuard/a", "spec.prefixes", "", "missing");
    check(
        &object(
            "AccessPolicy",
            "a",
            "{subjects: [], rules: [{to: [{prefix: 10.0.0.0/8}], ports: [{port: 70000}]}]}",
        ),
        "AccessPolicy/a",
        "spec.rules[0].ports[0].port",
        "70000",
        "not a port",
    );
}
