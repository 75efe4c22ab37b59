//! Every kind of bad input is refused whole, with object, field, value and remedy.

use model::{Change, Config, Error, Origin, parse_objects, parse_origin};

const POOL: &str = "
apiVersion: sluice.dev/v1alpha1
kind: EgressPool
metadata: {name: internet}
spec: {addresses: [203.0.113.1]}
";

fn operator() -> Origin {
    Origin("operator".into())
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: sluice.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn faults(text: &str) -> Vec<Error> {
    let parsed = match parse_objects(text, &operator()) {
        Err(errors) => return errors,
        Ok((objects, _)) => objects,
    };
    Config::default().apply(&operator(), Change::Whole(parsed)).expect_err("it must be refused")
}

/// The one fault of `text`: object, field, value, problem. It must come with a remedy.
fn fault(text: &str) -> (String, String, String, String) {
    let mut errors = faults(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let error = errors.remove(0);
    assert!(!error.remedy.is_empty(), "no remedy: {error}");
    assert_eq!(error.object.origin, Some(operator()));
    (format!("{}/{}", error.object.kind, error.object.name), error.field, error.value, error.problem)
}

fn check(text: &str, object: &str, field: &str, value: &str, problem: &str) {
    let found = fault(text);
    let wanted = (object.to_owned(), field.to_owned(), value.to_owned(), problem.to_owned());
    assert_eq!(found, wanted);
}

fn pool(spec: &str) -> String {
    object("EgressPool", "p", spec)
}

fn policy(spec: &str) -> String {
    format!("{POOL}{}", object("EgressPolicy", "p", spec))
}

fn balancer(spec: &str) -> String {
    object("LoadBalancer", "web", spec)
}

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
fn selectors_are_refused_off_a_cluster() {
    let (_, field, _, problem) = fault(&policy(
        "{from: [{podSelector: {}, prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Direct}",
    ));
    assert_eq!(field, "spec.from[0].podSelector");
    assert!(problem.contains("only on a cluster"));
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
    let text = include_str!("documented.yaml").as_bytes();
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
