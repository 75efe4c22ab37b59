//! The documented objects parse, mean what they say, and come back in the same shape.

use std::time::Duration;

use model::{
    Change, Config, EgressAction, Generation, Kind, Name, Object, ObjectKey, Objects, Origin, Plan,
    PortRange, Probe, Protocol, object_value, objects_yaml, parse_objects,
};

const DOCUMENTED: &str = include_str!("documented.yaml");

fn origin() -> Origin {
    Origin("operator".into())
}

fn documented() -> Objects {
    parse_objects(DOCUMENTED, &origin()).unwrap().0
}

fn name(text: &str) -> Name {
    Name(text.into())
}

#[test]
fn the_documented_objects_mean_what_they_say() {
    let (objects, warnings) = parse_objects(DOCUMENTED, &origin()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(objects.len(), 9);
    let pool = &objects.egress_pools[&name("internet")];
    assert_eq!(pool.addresses.len(), 2);
    assert_eq!(pool.ports, PortRange { first: 1024, last: 65535 });
    assert_eq!(pool.timeouts.tcp_established, Duration::from_secs(7440));
    let policy = &objects.egress_policies[&name("default")];
    assert_eq!(policy.ports[0].ports, Some(PortRange { first: 443, last: 444 }));
    assert_eq!(policy.mss_clamp, Some(0));
    assert!(matches!(&policy.action, EgressAction::Snat { pool, .. } if *pool == name("internet")));
    let web = &objects.load_balancers[&name("web")];
    assert_eq!(web.source_nat, Some(name("internal")));
    let check = web.health_check.as_ref().unwrap();
    assert_eq!(check.port, Some(8080));
    assert_eq!(check.probe, Probe::Http { path: "/healthz".into(), host: Some("web".into()) });
    let ssh = &objects.static_mappings[&name("ssh")];
    assert_eq!(
        (ssh.protocol, ssh.outside_ports),
        (Some(Protocol::Tcp), Some(PortRange { first: 2222, last: 2222 }))
    );
    assert_eq!(objects.access_policies[&name("db-only")].rules.len(), 1);
    assert_eq!(objects.access_guards[&name("pods")].prefixes.len(), 1);
}

#[test]
fn what_is_left_out_has_the_documented_value() {
    let text = "
{apiVersion: sluice.dev/v1alpha1, kind: EgressPool, metadata: {name: internet}, spec: {addresses: [203.0.113.1-203.0.113.4, 203.0.113.64/28]}}
---
{apiVersion: sluice.dev/v1alpha1, kind: EgressPolicy, metadata: {name: default}, spec: {from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0, except: [192.0.2.0/24]}], ports: [{port: 443, endPort: 444}], action: Snat, pool: internet, mssClamp: 0}}
---
{apiVersion: sluice.dev/v1alpha1, kind: LoadBalancer, metadata: {name: web}, spec: {vips: [203.0.113.10], ports: [{name: http, port: 80, targetPort: 8080}], sourceNat: {pool: internal}, healthCheck: {http: {path: /healthz, host: web, port: 8080}}, backends: [{address: 10.0.0.10, port: 8080}]}}
";
    let (short, _) = parse_objects(text, &origin()).unwrap();
    let long = documented();
    assert_eq!(short.egress_pools[&name("internet")], long.egress_pools[&name("internet")]);
    assert_eq!(short.egress_policies, long.egress_policies);
    assert_eq!(short.load_balancers, long.load_balancers);
}

#[test]
fn objects_come_back_the_same_through_yaml_and_json() {
    let objects = documented();
    let all: Vec<Object> = objects.iter().collect();
    let yaml = objects_yaml(&all);
    assert_eq!(parse_objects(&yaml, &origin()).unwrap().0, objects, "{yaml}");
    let json: Vec<String> = all.iter().map(|object| object_value(object).to_string()).collect();
    assert_eq!(parse_objects(&json.join("\n---\n"), &origin()).unwrap().0, objects);
    let list = format!("{{\"kind\": \"List\", \"items\": [{}]}}", json.join(","));
    assert_eq!(parse_objects(&list, &origin()).unwrap().0, objects);
}

#[test]
fn timers_under_an_rfcs_minimum_are_accepted_with_a_warning() {
    let text = "
apiVersion: sluice.dev/v1alpha1
kind: EgressPool
metadata: {name: p}
spec: {addresses: [203.0.113.1], portRest: 0s, timeouts: {udp: 30s, tcpEstablished: 2m, tcpOpening: 300ms, tcpClosing: 4m, icmp: 59s}}
";
    let (objects, warnings) = parse_objects(text, &origin()).unwrap();
    assert_eq!(objects.egress_pools[&name("p")].timeouts.tcp_opening, Duration::from_millis(300));
    let fields: Vec<&str> = warnings.iter().map(|warning| warning.0.field.as_str()).collect();
    let wanted = [
        "spec.portRest",
        "spec.timeouts.udp",
        "spec.timeouts.tcpEstablished",
        "spec.timeouts.tcpOpening",
        "spec.timeouts.icmp",
    ];
    assert_eq!(fields, wanted);
    assert!(warnings[1].0.problem.contains("RFC 4787 REQ-5"));
}

#[test]
fn an_empty_file_and_empty_documents_hold_no_objects() {
    for text in ["", "---\n---\n", "# nothing\n"] {
        assert!(parse_objects(text, &origin()).unwrap().0.is_empty());
    }
}

#[test]
fn applying_the_same_again_keeps_the_generation() {
    let whole = || Change::Whole(documented());
    let one = Config::default().apply(&origin(), whole()).unwrap();
    assert_eq!(one.generation, Generation(1));
    assert_eq!(one.apply(&origin(), whole()).unwrap(), one);
    assert_eq!(one.apply(&Origin("cluster-a".into()), Change::Whole(Objects::default())).unwrap(), one);
}

#[test]
fn a_delta_leaves_the_rest_and_other_origins_alone() {
    let one = Config::default().apply(&origin(), Change::Whole(documented())).unwrap();
    let mut upserts = Objects::default();
    let mut web = documented().load_balancers[&name("web")].clone();
    web.backends[0].weight = 2;
    upserts.load_balancers.insert(name("web"), web);
    let deletes = [ObjectKey { kind: Kind::StaticMapping, name: name("ssh") }].into();
    let two = one.apply(&origin(), Change::Delta { upserts, deletes }).unwrap();
    assert_eq!(two.generation, Generation(2));
    assert_eq!(two.origins[&origin()].len(), one.origins[&origin()].len() - 1);
    let plan = Plan::between(&one, &two);
    assert_eq!(plan.changes.len(), 2);
    assert_eq!(plan.changes[0].fields(), ["spec.backends[0].weight"]);
    assert!(plan.changes[1].after.is_none());
    assert_eq!(Plan::between(&two, &two), Plan::default());
}

#[test]
fn deleting_a_pool_that_another_origin_uses_is_refused() {
    let one = Config::default().apply(&origin(), Change::Whole(documented())).unwrap();
    let other = Origin("cluster-a".into());
    let mut mine = Objects::default();
    mine.egress_policies.insert(name("p"), documented().egress_policies[&name("default")].clone());
    let two = one.apply(&other, Change::Whole(mine)).unwrap();
    let errors = two.apply(&origin(), Change::Whole(Objects::default())).unwrap_err();
    assert_eq!(errors[0].object.to_string(), "EgressPolicy/p (cluster-a)");
}

#[test]
fn an_object_both_written_and_deleted_is_refused() {
    let upserts = documented();
    let deletes = [ObjectKey { kind: Kind::StaticMapping, name: name("ssh") }].into();
    let errors = Config::default().apply(&origin(), Change::Delta { upserts, deletes }).unwrap_err();
    assert_eq!(errors[0].object.name, "ssh");
}
