//! Static mappings.

use model::{Change, Config, parse_objects};

use crate::{balancer, check, object, operator};

#[test]
fn two_static_mappings_on_one_address_and_port_are_refused() {
    let one = object(
        "StaticMapping",
        "a",
        "{protocol: TCP, outside: {address: 203.0.113.5, port: 2222}, inside: {address: 10.0.0.20, port: 22}}",
    );
    let same = object(
        "StaticMapping",
        "b",
        "{protocol: TCP, outside: {address: 203.0.113.5, port: 2222}, inside: {address: 10.0.0.21, port: 22}}",
    );
    let whole =
        object("StaticMapping", "c", "{outside: {address: 203.0.113.5}, inside: {address: 10.0.0.22}}");
    let udp = one.replace("name: a", "name: d").replace("TCP", "UDP");
    check(
        &(one.clone() + &same),
        "StaticMapping/b",
        "spec.outside",
        "203.0.113.5:2222/TCP",
        "already belongs to StaticMapping/a (operator)",
    );
    check(
        &(one.clone() + &whole),
        "StaticMapping/c",
        "spec.outside",
        "203.0.113.5",
        "already belongs to StaticMapping/a (operator)",
    );
    let (objects, _) = parse_objects(&(one + &udp), &operator()).unwrap();
    assert!(
        Config::default().apply(&operator(), Change::Whole(objects)).is_ok(),
        "another protocol is no clash"
    );
}

#[test]
fn a_static_mapping_on_a_vip_is_refused() {
    let vip = balancer("{vips: [203.0.113.5], ports: [{port: 2222}]}");
    let mapping = object(
        "StaticMapping",
        "ssh",
        "{protocol: TCP, outside: {address: 203.0.113.5, port: 2222}, inside: {address: 10.0.0.20, port: 22}}",
    );
    check(
        &(vip + &mapping),
        "StaticMapping/ssh",
        "spec.outside",
        "203.0.113.5:2222/TCP",
        "already belongs to LoadBalancer/web (operator)",
    );
}

#[test]
fn one_inside_address_mapped_whole_twice_is_refused() {
    let one = object("StaticMapping", "a", "{outside: {address: 203.0.113.5}, inside: {address: 10.0.0.22}}");
    let two = object("StaticMapping", "b", "{outside: {address: 203.0.113.6}, inside: {address: 10.0.0.22}}");
    check(
        &(one + &two),
        "StaticMapping/b",
        "spec.inside.address",
        "10.0.0.22",
        "already mapped 1:1 by StaticMapping/a (operator)",
    );
}

#[test]
fn a_static_mapping_that_is_neither_whole_nor_by_port_is_refused() {
    let of = |spec: &str| object("StaticMapping", "m", spec);
    check(
        &of("{protocol: TCP, outside: {address: 203.0.113.5}, inside: {address: 10.0.0.1, port: 22}}"),
        "StaticMapping/m",
        "spec.outside.port",
        "",
        "protocol TCP needs a port on both sides",
    );
    check(
        &of("{outside: {address: 203.0.113.5, port: 22}, inside: {address: 10.0.0.1, port: 22}}"),
        "StaticMapping/m",
        "spec.protocol",
        "",
        "a port without a protocol",
    );
    check(
        &of(
            "{protocol: ICMP, outside: {address: 203.0.113.5, port: 22}, inside: {address: 10.0.0.1, port: 22}}",
        ),
        "StaticMapping/m",
        "spec.protocol",
        "ICMP",
        "not a protocol that can be mapped by port",
    );
    check(
        &of(
            "{protocol: TCP, outside: {address: 203.0.113.5, port: 22, endPort: 24}, inside: {address: 10.0.0.1, port: 22}}",
        ),
        "StaticMapping/m",
        "spec.inside.endPort",
        "22",
        "1 inside ports for 3 outside ports",
    );
    check(
        &of("{protocol: TCP, inside: {address: 10.0.0.1, port: 22}}"),
        "StaticMapping/m",
        "spec.outside",
        "",
        "missing",
    );
}
