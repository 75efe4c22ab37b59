//! What was acknowledged is there after a restart, and what is broken is said.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use model::{Change, Generation, Kind, Name, ObjectKey, Objects, Origin, parse_objects};
use server::{Refusal, StartError};
use support::*;

fn operator() -> Origin {
    Origin("operator".into())
}

fn documented() -> Objects {
    parse_objects(DOCUMENTED, &operator()).unwrap().0
}

fn delta(text: &str, deletes: &[(Kind, &str)]) -> Change {
    Change::Delta {
        upserts: parse_objects(text, &operator()).unwrap().0,
        deletes: deletes
            .iter()
            .map(|(kind, name)| ObjectKey { kind: *kind, name: Name((*name).into()) })
            .collect(),
    }
}

fn pool_yaml(name: &str, address: &str) -> String {
    format!(
        "{{apiVersion: sluice.dev/v1alpha1, kind: EgressPool, metadata: {{name: {name}}}, spec: {{addresses: [{address}]}}}}"
    )
}

#[test]
fn a_restart_brings_back_what_was_acknowledged_with_its_generation() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    let before = {
        let store = scratch.store().unwrap();
        store.apply(&*gateway, &operator(), None, Change::Whole(documented())).unwrap();
        store
            .apply(
                &*gateway,
                &operator(),
                Some(Generation(1)),
                delta(&pool_yaml("b", "192.0.2.2"), &[(Kind::StaticMapping, "ssh")]),
            )
            .unwrap();
        let cluster = Origin("cluster-a".into());
        store
            .apply(
                &*gateway,
                &cluster,
                None,
                Change::Whole(parse_objects(&pool_yaml("c", "192.0.2.3"), &cluster).unwrap().0),
            )
            .unwrap();
        store.head()
    };
    let after = scratch.store().unwrap().head();
    assert_eq!((&after.config, &after.changed), (&before.config, &before.changed));
    assert_eq!(after.config.generation, Generation(3));
    for file in ["operator.jsonl", "cluster-a.jsonl", "lock"] {
        let mode = fs::metadata(scratch.join("state").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::read_to_string(scratch.join("state/operator.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn an_emptied_origin_stays_empty_and_the_generation_does_not_fall() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    {
        let store = scratch.store().unwrap();
        store.apply(&*gateway, &operator(), None, Change::Whole(documented())).unwrap();
        store.apply(&*gateway, &operator(), None, Change::Whole(Objects::default())).unwrap();
    }
    let head = scratch.store().unwrap().head();
    assert_eq!((head.config.generation, head.config.origins.len()), (Generation(2), 0));
    assert_eq!(head.changed[&operator()], Generation(2));
}

#[test]
fn many_changes_do_not_let_the_file_grow_without_end() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    let store = scratch.store().unwrap();
    let large: Vec<String> =
        (0..1500u32).map(|i| format!("{{prefix: 10.{}.{}.0/24}}", i >> 8, i & 255)).collect();
    let policy = |priority: u32| {
        let text = format!(
            "{{apiVersion: sluice.dev/v1alpha1, kind: EgressPolicy, metadata: {{name: p}}, spec: {{priority: {priority}, from: [{}], to: [{{prefix: 0.0.0.0/0}}], action: Deny}}}}",
            large.join(",")
        );
        delta(&text, &[])
    };
    for priority in 0..60 {
        store.apply(&*gateway, &operator(), None, policy(priority)).unwrap();
    }
    let size = fs::metadata(scratch.join("state/operator.jsonl")).unwrap().len();
    assert!(size < 1_300_000, "{size}");
    drop(store);
    let head = scratch.store().unwrap().head();
    assert_eq!(head.config.generation, Generation(60));
    assert_eq!(head.config.origins[&operator()].egress_policies[&Name("p".into())].priority, 59);
}

#[test]
fn a_line_that_a_crash_cut_short_is_left_out() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    {
        let store = scratch.store().unwrap();
        store.apply(&*gateway, &operator(), None, Change::Whole(documented())).unwrap();
    }
    let file = scratch.join("state/operator.jsonl");
    let mut text = fs::read_to_string(&file).unwrap();
    text.push_str("{\"generation\": 2, \"whole\": false, \"ups");
    fs::write(&file, text).unwrap();
    fs::write(scratch.join("state/operator.new"), "half").unwrap();
    let store = scratch.store().unwrap();
    assert_eq!(store.head().config.generation, Generation(1));
    assert!(!scratch.join("state/operator.new").exists());
    store.apply(&*gateway, &operator(), None, delta(&pool_yaml("b", "192.0.2.2"), &[])).unwrap();
    drop(store);
    assert_eq!(scratch.store().unwrap().head().config.generation, Generation(2));
}

#[test]
fn a_broken_state_file_stops_the_start_and_says_which_and_what_to_do() {
    for (text, problem) in [
        ("nonsense\n", "line 1"),
        ("", "the file is empty"),
        ("{\"generation\": 1}\n", "not a record of this program"),
        ("{\"generation\": 1, \"whole\": false, \"upserts\": []}\n", "not the first line"),
        ("{\"generation\": 1, \"whole\": true, \"upserts\": [{\"kind\": \"EgressPool\"}]}\n", "apiVersion"),
        (
            "{\"generation\": 1, \"whole\": true, \"upserts\": [], \"deletes\": [{}]}\n",
            "deletes what has no key",
        ),
    ] {
        let scratch = Scratch::new();
        scratch.write("state/operator.jsonl", text);
        let error = scratch.store().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("operator.jsonl") && error.contains(problem), "{error}");
        assert!(error.contains("move the file away"), "{error}");
    }
}

#[test]
fn a_state_directory_in_use_or_unusable_stops_the_start() {
    let scratch = Scratch::new();
    let held = scratch.store().unwrap();
    let error = scratch.store().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("used by another process"), "{error}");
    drop(held);
    assert!(scratch.store().is_ok());
    let scratch = Scratch::new();
    scratch.write("state", "a file");
    assert!(matches!(scratch.store().map(|_| ()), Err(StartError::State { .. })));
}

#[test]
fn a_change_that_cannot_be_written_is_refused_and_the_old_one_stays() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    let store = scratch.store().unwrap();
    store.apply(&*gateway, &operator(), None, Change::Whole(documented())).unwrap();
    fs::remove_dir_all(scratch.join("state")).unwrap();
    let refusal =
        store.apply(&*gateway, &operator(), None, delta(&pool_yaml("b", "192.0.2.2"), &[])).unwrap_err();
    assert!(matches!(refusal, Refusal::NotStored(_)), "{refusal:?}");
    assert_eq!(store.head().config.generation, Generation(1));
    assert_eq!(gateway.published.lock().unwrap().len(), 1);
}

#[test]
fn the_configuration_directory_is_origin_file_and_is_read_at_each_start() {
    let scratch = Scratch::new();
    scratch.write("config.d/10-pool.yaml", &pool_yaml("a", "192.0.2.1"));
    scratch.write("config.d/20-more.json", "{\"apiVersion\": \"sluice.dev/v1alpha1\", \"kind\": \"AccessGuard\", \"metadata\": {\"name\": \"g\"}, \"spec\": {\"prefixes\": []}}");
    scratch.write("config.d/README", "not read");
    scratch.write("config.d/.hidden.yaml", "not read: [");
    let file = Origin("file".into());
    let generation = |wanted: usize| {
        let head = scratch.store().unwrap().head();
        assert_eq!(head.config.origins.get(&file).map_or(0, Objects::len), wanted);
        head.config.generation.0
    };
    assert_eq!(generation(2), 1);
    assert_eq!(generation(2), 1, "the same files are the same generation");
    scratch.write("config.d/10-pool.yaml", &pool_yaml("a", "192.0.2.9"));
    assert_eq!(generation(2), 2);
    fs::remove_dir_all(scratch.join("config.d")).unwrap();
    assert_eq!(generation(0), 3);
    assert_eq!(generation(0), 3);
    assert!(!scratch.join("state/file.jsonl").exists());
}

#[test]
fn a_wrong_file_in_the_configuration_directory_stops_the_start_with_every_fault() {
    let scratch = Scratch::new();
    scratch.write("config.d/a.yaml", &pool_yaml("a", "192.0.2.1").replace("addresses", "adresses"));
    scratch.write("config.d/b.yaml", &pool_yaml("b", "300.0.0.1"));
    scratch.write("config.d/c.yaml", "- [");
    let Err(StartError::Objects(errors)) = scratch.store() else { panic!("it must not start") };
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[0].starts_with("EgressPool/a (file): spec.adresses"), "{}", said[0]);
    assert!(said[2].contains("c.yaml"), "{}", said[2]);
}

#[test]
fn files_that_clash_with_what_was_accepted_stop_the_start_at_the_file() {
    let scratch = Scratch::new();
    let gateway = FakeGateway::new(0);
    {
        let store = scratch.store().unwrap();
        store.apply(&*gateway, &operator(), None, delta(&pool_yaml("zzz", "192.0.2.1"), &[])).unwrap();
    }
    scratch.write("config.d/a.yaml", &pool_yaml("a", "192.0.2.0/28"));
    let Err(StartError::Objects(errors)) = scratch.store() else { panic!("it must not start") };
    assert_eq!(
        errors[0].to_string(),
        "EgressPool/a (file): spec.addresses: \"192.0.2.1\": overlaps EgressPool/zzz (operator); give each address to one pool only"
    );
}
