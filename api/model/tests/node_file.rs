//! The node file: the documented one parses, and a wrong one says which field.

use std::path::PathBuf;

use model::{Attachment, Error, Hugepages, Idle, Listener, Side, Workers, parse_node};

const PORT: &str = "ports: [{name: in0, side: inside, interface: eth1, addresses: [10.0.0.1/24]}]\n";

fn faults(text: &str) -> Vec<Error> {
    parse_node("sluiced.yaml", text).unwrap_err()
}

fn fault(text: &str) -> (String, String) {
    let mut errors = faults(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let error = errors.remove(0);
    assert!(!error.remedy.is_empty());
    assert_eq!((error.object.kind.as_str(), error.object.name.as_str()), ("node file", "sluiced.yaml"));
    (error.field, error.problem)
}

fn check(text: &str, field: &str, problem: &str) {
    assert_eq!(fault(text), (field.to_owned(), problem.to_owned()));
}

#[test]
fn the_documented_node_file_means_what_it_says() {
    let text = r#"
node: edge-1
workers: [2, 3]
idle: spin
memory: {hugepages: required, sessions: 1048576}
state: /var/lib/sluice
ports:
  - {name: in0,  side: inside,  device: "0000:3b:00.0", addresses: [10.0.0.1/24], mtu: 1500}
  - {name: out0, side: outside, device: "net_af_packet0,iface=eth1", addresses: [198.51.100.1/24], vlan: 100}
routes:
  - {to: 0.0.0.0/0, via: [198.51.100.254]}
  - {to: 10.244.0.0/16, via: 10.0.0.7}
api:
  listen: ["unix:///run/sluice/api.sock", "127.0.0.1:9440", "0.0.0.0:9443"]
  tls: {cert: /a, key: /b, clientCa: /c}
metrics: 127.0.0.1:9441
config: /etc/sluice/config.d
"#;
    let (node, warnings) = parse_node("f", text).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(node.name.as_deref(), Some("edge-1"));
    assert_eq!(node.workers, Workers::Cpus(vec![2, 3]));
    assert_eq!((node.idle, node.memory.hugepages), (Idle::Spin, Hugepages::Required));
    assert_eq!(node.ports[0].attachment, Attachment::Device("0000:3b:00.0".into()));
    assert_eq!((node.ports[1].side, node.ports[1].vlan, node.ports[1].mtu), (Side::Outside, Some(100), None));
    assert_eq!(node.routes[1].via, ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(node.api.listen[0], Listener::Unix(PathBuf::from("/run/sluice/api.sock")));
    assert_eq!(node.api.tls.unwrap().client_ca, PathBuf::from("/c"));
    assert_eq!(node.metrics.unwrap().port(), 9441);
}

#[test]
fn what_is_left_out_has_the_documented_value() {
    let (node, _) = parse_node("f", PORT).unwrap();
    assert_eq!(node.workers, Workers::Auto);
    assert_eq!(
        (node.idle, node.memory.hugepages, node.memory.sessions),
        (Idle::Adaptive, Hugepages::Auto, 1_048_576)
    );
    assert_eq!(node.state, PathBuf::from("/var/lib/sluice"));
    assert_eq!(node.config, PathBuf::from("/etc/sluice/config.d"));
    assert_eq!(node.api.listen, [Listener::Unix(PathBuf::from("/run/sluice/api.sock"))]);
    assert_eq!((node.api.tls, node.metrics, node.routes.len()), (None, None, 0));
    assert_eq!(parse_node("f", &format!("{PORT}workers: auto\n")).unwrap().0.workers, Workers::Auto);
}

#[test]
fn unknown_and_misspelt_fields_are_refused() {
    check(&format!("{PORT}worker: 1\n"), "worker", "unknown field");
    check(
        "ports: [{name: in0, side: inside, interface: eth1, adresses: []}]",
        "ports[0].adresses",
        "unknown field",
    );
    check(&format!("{PORT}idle: lazy\n"), "idle", "not one of the words that stand here");
    check(
        &format!("{PORT}memory: {{hugepages: yes}}\n"),
        "memory.hugepages",
        "not one of the words that stand here",
    );
}

#[test]
fn a_tcp_listener_beyond_loopback_without_tls_is_refused() {
    let (field, problem) = fault(&format!("{PORT}api: {{listen: [\"127.0.0.1:1\", \"192.0.2.1:9440\"]}}\n"));
    assert_eq!(field, "api.tls");
    assert!(problem.contains("192.0.2.1:9440"), "{problem}");
    assert!(
        parse_node("f", &format!("{PORT}api: {{listen: [\"127.0.0.1:9440\", \"[::1]:9440\"]}}\n")).is_ok()
    );
}

#[test]
fn listeners_that_cannot_be_are_refused() {
    check(&format!("{PORT}api: {{listen: [here]}}\n"), "api.listen[0]", "not a place to listen on");
    check(
        &format!("{PORT}api: {{listen: [\"unix://relative\"]}}\n"),
        "api.listen[0]",
        "not an absolute path",
    );
    check(&format!("{PORT}api: {{listen: []}}\n"), "api.listen", "empty");
    let long = "x".repeat(120);
    let (field, problem) = fault(&format!("{PORT}api: {{listen: [\"unix:///{long}\"]}}\n"));
    assert_eq!(field, "api.listen[0]");
    assert!(problem.contains("100 octets"));
    check(&format!("{PORT}api: {{tls: {{cert: a, key: b}}}}\n"), "api.tls.clientCa", "missing");
    check(&format!("{PORT}metrics: 9441\n"), "metrics", "invalid type: integer `9441`");
}

#[test]
fn ports_that_cannot_be_are_refused() {
    check("node: a\n", "ports", "missing or empty");
    check("ports: [{name: a, side: inside}]", "ports[0].device", "neither device nor interface");
    check(
        "ports: [{name: a, side: inside, device: x, interface: y}]",
        "ports[0].device",
        "both device and interface",
    );
    check("ports: [{name: a, interface: y}]", "ports[0].side", "missing");
    check(
        "ports: [{name: a, side: north, interface: y}]",
        "ports[0].side",
        "not one of the words that stand here",
    );
    check("ports: [{side: inside, interface: y}]", "ports[0].name", "not a name");
    check(
        "ports: [{name: a, side: inside, interface: y, mtu: 100}]",
        "ports[0].mtu",
        "not between 576 and 9000",
    );
    check(
        "ports: [{name: a, side: inside, interface: y, vlan: 4095}]",
        "ports[0].vlan",
        "not between 1 and 4094",
    );
    check(
        "ports: [{name: a, side: inside, interface: y, addresses: [10.0.0.1]}]",
        "ports[0].addresses[0]",
        "not an address with its prefix length",
    );
    check(
        "ports: [{name: a, side: inside, interface: y, addresses: [10.0.0.0/24]}]",
        "ports[0].addresses[0]",
        "the network or broadcast address of its subnet",
    );
    check(
        "ports: [{name: a, side: inside, interface: y, addresses: ['2001:db8::1/64']}]",
        "ports[0].addresses[0]",
        "IPv6 is not served here yet",
    );
}

#[test]
fn ports_that_contradict_each_other_are_refused() {
    let two = |a: &str, b: &str| {
        format!("ports:\n- {{name: a, side: inside, {a}}}\n- {{name: b, side: outside, {b}}}\n")
    };
    check(&two("interface: y", "interface: y"), "ports[1].interface", "used by another port");
    assert!(
        parse_node("f", &two("interface: y", "interface: y, vlan: 5")).is_ok(),
        "another VLAN of it is another port"
    );
    check(
        &two("interface: y, addresses: [10.0.0.1/24]", "interface: z, addresses: [10.0.0.200/25]"),
        "ports[1].addresses[0]",
        "its subnet overlaps 10.0.0.0/24 of ports[0]",
    );
    check(
        "ports:\n- {name: a, side: inside, interface: y}\n- {name: a, side: inside, interface: z}\n",
        "ports[1].name",
        "named twice",
    );
}

#[test]
fn workers_that_cannot_be_are_refused() {
    check(&format!("{PORT}workers: [1, 1]\n"), "workers[1]", "named twice");
    check(&format!("{PORT}workers: [-1]\n"), "workers[0]", "not the number of a CPU");
    check(&format!("{PORT}workers: []\n"), "workers", "not 1 to 128 workers");
    check(&format!("{PORT}workers: 2\n"), "workers", "neither a list of CPUs nor auto");
}

#[test]
fn routes_that_cannot_be_are_refused() {
    check(
        &format!("{PORT}routes: [{{to: 10.0.0.1/8, via: 10.0.0.7}}]\n"),
        "routes[0].to",
        "the address has bits set behind its /8 prefix",
    );
    check(&format!("{PORT}routes: [{{to: 10.0.0.0/8}}]\n"), "routes[0].via", "missing or empty");
    check(
        &format!("{PORT}routes: [{{to: 10.0.0.0/8, via: 10.0.0.7}}, {{to: 10.0.0.0/8, via: 10.0.0.8}}]\n"),
        "routes[1].to",
        "named twice",
    );
}
