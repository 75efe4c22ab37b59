//! Text before it is any kind of object: YAML, documents, kinds, names, fields.

use model::{Change, Config, parse_objects, parse_origin};

use crate::{POOL, balancer, check, fault, faults, object, operator, pool};

#[test]
fn text_that_is_no_yaml_is_refused_with_its_line() {
    let errors = faults("kind: [EgressPool\nspec: {");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].object.kind, "file");
    assert!(errors[0].problem.contains("line"), "{}", errors[0]);
}

#[test]
fn a_key_written_twice_is_refused() {
    let (_, _, _, problem) = fault(&pool("{addresses: [203.0.113.1], ports: 1024-2047, ports: 2048-4095}"));
    assert!(problem.starts_with("duplicate mapping key: ports at line"), "{problem}");
}

#[test]
fn a_document_that_is_no_object_is_refused() {
    check("- 1", "document/1 of input", "", "[1]", "not an object");
}

#[test]
fn an_unknown_field_is_refused_by_its_path() {
    check(
        &pool("{addresses: [203.0.113.1], port: 1-2}"),
        "EgressPool/p",
        "spec.port",
        "1-2",
        "unknown field",
    );
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 80, targetport: 8080}]}"),
        "LoadBalancer/web",
        "spec.ports[0].targetport",
        "8080",
        "unknown field",
    );
}

#[test]
fn unknown_fields_beside_spec_and_in_metadata_are_refused() {
    let text = format!("{POOL}extra: 1\n");
    check(&text, "EgressPool/internet", "extra", "1", "unknown field");
    let text = POOL.replace("{name: internet}", "{name: internet, namespace: default}");
    check(&text, "EgressPool/internet", "metadata.namespace", "default", "unknown field");
}

#[test]
fn every_fault_is_named_and_not_only_the_first() {
    let text = pool("{adresses: [203.0.113.1], blocksize: 512, quotas: {port: 1}}")
        + &balancer("{vips: [300.0.0.1, 10.0.0.0/8], ports: [{port: 70000}]}");
    let fields: Vec<String> = faults(&text).into_iter().map(|error| error.field).collect();
    let wanted = [
        "spec.adresses",
        "spec.blocksize",
        "spec.quotas.port",
        "spec.vips[0]",
        "spec.vips[1]",
        "spec.ports[0].port",
    ];
    assert_eq!(fields, wanted);
}

#[test]
fn a_wrong_type_is_refused_by_its_path() {
    check(
        &pool("{addresses: [203.0.113.1], blockSize: big}"),
        "EgressPool/p",
        "spec.blockSize",
        "big",
        "invalid type: string \"big\"",
    );
    check(
        &pool("{addresses: [203.0.113.1], blockSize: -1}"),
        "EgressPool/p",
        "spec.blockSize",
        "-1",
        "invalid value: integer `-1`",
    );
}

#[test]
fn a_missing_nested_field_is_refused_by_its_path() {
    check(
        &balancer("{vips: [203.0.113.9], ports: [{port: 80}], backends: [{port: 1}]}"),
        "LoadBalancer/web",
        "spec.backends[0].address",
        "",
        "missing",
    );
}

#[test]
fn an_unknown_kind_version_and_name_are_refused() {
    let text = POOL.replace("EgressPool", "Gateway");
    check(&text, "Gateway/internet", "kind", "Gateway", "not a kind this gateway knows");
    let text = POOL.replace("v1alpha1", "v2");
    check(&text, "EgressPool/internet", "apiVersion", "sluice.dev/v2", "not a version this gateway knows");
    check(
        &object("AccessGuard", "Under_score", "{prefixes: []}"),
        "AccessGuard/Under_score",
        "metadata.name",
        "Under_score",
        "not a name",
    );
    check(
        &POOL.replace("{name: internet}", "{}"),
        "EgressPool/(document 1 of input)",
        "metadata.name",
        "",
        "missing",
    );
}

#[test]
fn objects_of_the_proxy_are_refused_by_name() {
    let (object, field, value, problem) = fault(&object("HttpListener", "shop", "{}"));
    assert_eq!(
        (object.as_str(), field.as_str(), value.as_str()),
        ("HttpListener/shop", "kind", "HttpListener")
    );
    assert!(problem.contains("proxy"));
}

#[test]
fn two_objects_of_one_kind_and_name_are_refused() {
    check(
        &format!("{POOL}---{POOL}"),
        "EgressPool/internet",
        "metadata.name",
        "internet",
        "a second EgressPool of this name",
    );
}

#[test]
fn a_name_that_no_origin_can_have_is_refused() {
    for bad in ["", "Operator", "cluster a", "../state", "a.b", "-a"] {
        let errors = parse_origin(bad).unwrap_err();
        assert_eq!(errors[0].field, "origin");
    }
    assert!(parse_origin("cluster-a").is_ok());
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let row = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{row}]\n"));
    }
    assert_eq!(faults(&bomb).len(), 1);
}

#[test]
fn documents_with_random_damage_are_judged_without_a_panic() {
    let text = include_str!("../documented.yaml").as_bytes();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut refused = 0;
    for _ in 0..3000 {
        let mut damaged = text.to_vec();
        for _ in 0..=random(4) {
            let at = random(damaged.len());
            match random(4) {
                0 => damaged[at] = random(256) as u8,
                1 => drop(damaged.remove(at)),
                2 => damaged.insert(at, b"{}[]:,-&*!|>'\"%@`#\n 0"[random(21)]),
                _ => {
                    let end = (at + random(40)).min(damaged.len());
                    drop(damaged.drain(at..end));
                }
            }
        }
        let damaged = String::from_utf8_lossy(&damaged);
        let judged = parse_objects(&damaged, &operator())
            .and_then(|(objects, _)| Config::default().apply(&operator(), Change::Whole(objects)));
        refused += usize::from(judged.is_err());
        let _ = model::parse_node("damaged", &damaged);
    }
    assert!(refused > 1000, "{refused}");
}
