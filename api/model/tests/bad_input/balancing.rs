//! Load balancers: addresses, ports, backends, checks.

use crate::{balancer, check, faults, object};

#[test]
fn two_vips_on_one_address_and_port_are_refused() {
    let one = balancer("{vips: [203.0.113.9], ports: [{port: 80, endPort: 90}]}");
    let two = object(
        "LoadBalancer",
        "zoo",
        "{vips: [203.0.113.10, 203.0.113.9], ports: [{protocol: UDP, port: 85}, {port: 85}]}",
    );
    check(
        &(one + &two),
        "LoadBalancer/zoo",
        "spec.vips[1]",
        "203.0.113.9:85/TCP",
        "already belongs to LoadBalancer/web (operator)",
    );
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 0}, {port: 443}]}"),
        "LoadBalancer/web",
        "spec.ports[1].port",
        "443-443",
        "overlaps port 0-65535 of the same service",
    );
    check(
        &balancer("{vips: [203.0.113.9, 203.0.113.9], ports: [{port: 80}]}"),
        "LoadBalancer/web",
        "spec.vips[1]",
        "203.0.113.9",
        "named twice",
    );
}

#[test]
fn a_load_balancer_without_address_or_port_is_refused() {
    let fields: Vec<String> = faults(&balancer("{}")).into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["spec.vips", "spec.ports"]);
}

#[test]
fn a_target_port_for_a_range_is_refused() {
    let problem = "a range of ports is kept as it is at the backend";
    for port in ["port: 80, endPort: 90", "port: 0"] {
        let text = balancer(&format!("{{vips: [203.0.113.9], ports: [{{{port}, targetPort: 8080}}]}}"));
        check(&text, "LoadBalancer/web", "spec.ports[0].targetPort", "8080", problem);
    }
}

#[test]
fn backends_that_make_no_sense_are_refused() {
    let of =
        |rest: &str| balancer(&format!("{{vips: [203.0.113.9], ports: [{{port: 80}}], backends: [{rest}]}}"));
    check(
        &of("{address: 10.0.0.1, weight: 257}"),
        "LoadBalancer/web",
        "spec.backends[0].weight",
        "257",
        "not between 0 and 256",
    );
    check(
        &of("{address: 10.0.0.1, state: Filling}"),
        "LoadBalancer/web",
        "spec.backends[0].state",
        "Filling",
        "not one of the words that stand here",
    );
    check(
        &of("{address: 10.0.0.1}, {address: 10.0.0.1}"),
        "LoadBalancer/web",
        "spec.backends[1].address",
        "10.0.0.1",
        "the same backend twice",
    );
    check(
        &balancer(
            "{vips: [203.0.113.9], ports: [{port: 80}, {port: 81}], backends: [{address: 10.0.0.1, port: 8080}]}",
        ),
        "LoadBalancer/web",
        "spec.backends[0].port",
        "8080",
        "a backend has its own port only where the service has one port",
    );
}

#[test]
fn more_than_the_limits_is_refused() {
    let backends: Vec<String> = (0..10_001u32)
        .map(|i| format!("{{address: 10.{}.{}.{}}}", i >> 16, (i >> 8) & 255, i & 255))
        .collect();
    check(
        &balancer(&format!(
            "{{vips: [203.0.113.9], ports: [{{port: 80}}], backends: [{}]}}",
            backends.join(",")
        )),
        "LoadBalancer/web",
        "spec.backends",
        "10001",
        "more than 10000 entries",
    );
    let vips: Vec<String> = (1..=65).map(|i| format!("203.0.113.{i}")).collect();
    check(
        &balancer(&format!("{{vips: [{}], ports: [{{port: 80}}]}}", vips.join(","))),
        "LoadBalancer/web",
        "spec.vips",
        "65",
        "more than 64 entries",
    );
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 80}], panicThreshold: 101}"),
        "LoadBalancer/web",
        "spec.panicThreshold",
        "101",
        "not between 0 and 100",
    );
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 80}], tableSize: 1000}"),
        "LoadBalancer/web",
        "spec.tableSize",
        "1000",
        "not one of the primes that a look-up table can have",
    );
}

#[test]
fn a_health_check_that_cannot_work_is_refused() {
    let of = |check: &str| {
        balancer(&format!("{{vips: [203.0.113.9], ports: [{{port: 80}}], healthCheck: {check}}}"))
    };
    check(&of("{}"), "LoadBalancer/web", "spec.healthCheck", "", "not exactly one way to check");
    check(
        &of("{tcp: {}, http: {}}"),
        "LoadBalancer/web",
        "spec.healthCheck",
        "",
        "not exactly one way to check",
    );
    check(
        &of("{http: {path: healthz}}"),
        "LoadBalancer/web",
        "spec.healthCheck.http.path",
        "healthz",
        "not a path of a URL",
    );
    check(
        &of("{http: {host: \"a\\r\\nb\"}}"),
        "LoadBalancer/web",
        "spec.healthCheck.http.host",
        "a\r\nb",
        "not a host name",
    );
    check(
        &of("{tcp: {}, interval: 1s, timeout: 2s}"),
        "LoadBalancer/web",
        "spec.healthCheck.timeout",
        "2s",
        "longer than the interval of 1s",
    );
    check(
        &balancer(
            "{vips: [203.0.113.9], ports: [{port: 0}], healthCheck: {tcp: {}}, backends: [{address: 10.0.0.1}]}",
        ),
        "LoadBalancer/web",
        "spec.healthCheck.tcp.port",
        "",
        "a range of ports says not which one to ask",
    );
}
