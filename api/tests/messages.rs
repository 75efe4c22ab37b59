//! Objects come back the same through messages, and faults in messages are named as in YAML.

use api::{object_key, object_message, read_object, v1};
use model::{Object, ObjectReader, Objects, Origin, parse_objects};
use prost::Message as _;

fn origin() -> Origin {
    Origin("operator".into())
}

fn documented() -> Objects {
    parse_objects(include_str!("../model/tests/documented.yaml"), &origin()).unwrap().0
}

fn more() -> Objects {
    let text = "
{apiVersion: sluice.dev/v1alpha1, kind: EgressPolicy, metadata: {name: all}, spec: {priority: -5, from: [{prefix: 10.0.0.0/24}], to: [{prefix: '::/0'}, {prefix: 0.0.0.0/0}], ports: [{}, {protocol: ICMP}, {protocol: 47}, {protocol: UDP, port: 53}], action: Snat, pool: p, mapping: AddressDependent, filtering: EndpointIndependent, pooling: PairedStrict, onDeny: Drop, adoptMidStream: true}}
---
{apiVersion: sluice.dev/v1alpha1, kind: EgressPolicy, metadata: {name: deny}, spec: {from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Deny, mssClamp: 1400}}
---
{apiVersion: sluice.dev/v1alpha1, kind: LoadBalancer, metadata: {name: all}, spec: {vips: [203.0.113.10, 203.0.113.11], ports: [{port: 0}, {protocol: UDP, port: 53, endPort: 54}], algorithm: LeastConnections, affinity: ClientAddress, drain: 1500ms, panicThreshold: 0, sourceRanges: [10.0.0.0/8], slowStart: 30s, onEmpty: Drop, tableSize: 1021, healthCheck: {udp: {send: ping, expect: pong, port: 53}, interval: 250ms, timeout: 100ms}, backends: [{address: 10.0.0.1, weight: 0, state: Draining}, {address: 10.0.0.2, weight: 256, state: Down}]}}
---
{apiVersion: sluice.dev/v1alpha1, kind: AccessPolicy, metadata: {name: none}, spec: {subjects: [{prefix: 10.0.0.0/24, except: [10.0.0.1/32]}], rules: []}}
---
{apiVersion: sluice.dev/v1alpha1, kind: AccessPolicy, metadata: {name: all}, spec: {subjects: [], rules: [{}]}}
";
    parse_objects(text, &origin()).unwrap().0
}

#[test]
fn objects_come_back_the_same_through_messages() {
    for objects in [documented(), more()] {
        let mut reader = ObjectReader::new(origin());
        for object in objects.iter() {
            let bytes = object_message(&object).encode_to_vec();
            let (name, spec) = read_object(v1::Object::decode(bytes.as_slice()).unwrap());
            reader.push(&name, spec.unwrap());
        }
        assert_eq!(reader.finish().unwrap().0, objects);
    }
}

#[test]
fn keys_come_back_the_same_through_messages() {
    for object in documented().iter() {
        assert_eq!(object_key(&api::key_message(&object.key())), Some(object.key()));
    }
    assert_eq!(object_key(&v1::ObjectKey { kind: 99, name: "x".into() }), None);
}

#[test]
fn a_fault_in_a_message_is_named_as_in_yaml() {
    let web = documented().load_balancers.into_iter().next().unwrap();
    let mut message = object_message(&Object { name: web.0, spec: model::Spec::LoadBalancer(web.1) });
    let Some(v1::object::Spec::LoadBalancer(it)) = &mut message.spec else { panic!("a balancer") };
    it.ports[0].port = 70_000;
    it.algorithm = 77;
    it.drain = Some(prost_types::Duration { seconds: -3, nanos: 0 });
    it.backends[0].state = 9;
    let mut reader = ObjectReader::new(origin());
    let (name, spec) = read_object(message);
    reader.push(&name, spec.unwrap());
    let fields: Vec<(String, String)> =
        reader.finish().unwrap_err().into_iter().map(|error| (error.field, error.value)).collect();
    let wanted = [
        ("spec.ports[0].port", "70000"),
        ("spec.algorithm", "77"),
        ("spec.drain", "-3.000000000s"),
        ("spec.backends[0].state", "9"),
    ];
    assert_eq!(fields, wanted.map(|(field, value)| (field.to_owned(), value.to_owned())));
}

#[test]
fn an_object_of_an_unknown_kind_has_no_spec() {
    assert_eq!(read_object(v1::Object { name: "x".into(), spec: None }), ("x".to_owned(), None));
}

#[test]
fn fields_that_a_later_version_adds_are_tolerated_on_the_wire() {
    let object = documented().iter().next().unwrap();
    let mut bytes = object_message(&object).encode_to_vec();
    bytes.extend([0xfa, 0x3f, 0x02, b'h', b'i']); // field 1023, two octets
    assert_eq!(v1::Object::decode(bytes.as_slice()).unwrap(), object_message(&object));
}
