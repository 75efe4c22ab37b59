//! `apply`, `plan`, `get` and `delete` against a gateway that answers as it is told.

mod fake;

use api::v1;
use fake::{Answer, Fake};
use tonic::Status;

const POOL: &str = "apiVersion: sluice.dev/v1alpha1
kind: EgressPool
metadata: {name: internet}
spec: {addresses: [203.0.113.1]}
";
const ROUTE: &str = "apiVersion: sluice.dev/v1alpha1
kind: Route
metadata: {name: pods}
spec: {to: 10.244.0.0/16, via: 10.0.0.7}
";

fn accepted(created: u64, deleted: u64) -> Answer {
    let accepted =
        v1::Accepted { generation: 7, changed: created + deleted > 0, created, replaced: 0, deleted };
    let outcome = Some(v1::apply_response::Outcome::Accepted(accepted));
    Answer { apply: v1::ApplyResponse { outcome, warnings: Vec::new() }, ..Answer::default() }
}

fn refused(reason: v1::refused::Reason) -> v1::Refused {
    let error = v1::ObjectError {
        origin: "operator".into(),
        kind: "EgressPool".into(),
        name: "internet".into(),
        field: "spec.addresses[0]".into(),
        value: "203.0.113.1".into(),
        problem: "overlaps EgressPool/other".into(),
        remedy: "take it out of one of them".into(),
    };
    v1::Refused { reason: reason.into(), errors: vec![error], generation: 6, more: false }
}

fn headers_and_names(fake: &Fake) -> (Vec<v1::ApplyHeader>, Vec<String>, Vec<String>) {
    let (mut headers, mut upserts, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    for part in fake.asked().apply.iter().filter_map(|request| request.part.clone()) {
        match part {
            v1::apply_request::Part::Header(header) => headers.push(header),
            v1::apply_request::Part::Chunk(chunk) => {
                upserts.extend(chunk.upserts.into_iter().map(|object| object.name));
                deletes.extend(chunk.deletes.into_iter().map(|key| format!("{}/{}", key.kind, key.name)));
            }
        }
    }
    (headers, upserts, deletes)
}

#[test]
fn apply_sends_files_directories_and_standard_input_as_one_delta() {
    let fake = Fake::answering(accepted(3, 0));
    let file = fake.file("pool.yaml", POOL);
    fake.file("more/route.yml", ROUTE);
    fake.file("more/notes.txt", "no object");
    let directory = fake.directory.join("more").display().to_string();
    let input = POOL.replace("internet", "third").replace("203.0.113.1", "203.0.113.9");
    let ran =
        fake.run_with_input(&["apply", "-f", &file, "-f", &directory, "-f", "-", "--base", "6"], &input);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "generation 7: 3 created\n"), "{ran:?}");
    let (headers, mut upserts, _) = headers_and_names(&fake);
    upserts.sort();
    assert_eq!(upserts, ["internet", "pods", "third"]);
    let header = v1::ApplyHeader {
        origin: "operator".into(),
        mode: v1::apply_header::Mode::Delta.into(),
        base_generation: Some(6),
    };
    assert_eq!(headers, [header]);
}

#[test]
fn apply_with_replace_and_origin_sends_the_whole_of_that_origin() {
    let fake = Fake::answering(accepted(1, 2));
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["apply", "--replace", "--origin", "cluster-a", "-f", &file, "-o", "json"]);
    let (generation, created, deleted) = (7, 1, 2);
    let expected = serde_json::json!({
        "generation": generation, "changed": true, "created": created, "replaced": 0, "deleted": deleted
    });
    assert_eq!(ran.json(), expected);
    let (headers, ..) = headers_and_names(&fake);
    assert_eq!((headers[0].origin.as_str(), headers[0].mode()), ("cluster-a", v1::apply_header::Mode::Whole));
}

#[test]
fn apply_waits_until_every_worker_runs_it() {
    let fake = Fake::answering(accepted(1, 0));
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["apply", "--wait", "-f", &file]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "generation 7: 1 created, on every worker\n"),
        "{ran:?}"
    );
    assert_eq!(fake.asked().waited_for, 7);
}

#[test]
fn apply_fails_if_a_worker_stays_behind() {
    let wait = Some(Status::deadline_exceeded("worker 1 runs generation 6"));
    let fake = Fake::answering(Answer { wait, ..accepted(1, 0) });
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["apply", "-f", &file, "--wait", "1s"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("worker 1 runs generation 6") && ran.err.contains("sluicectl workers"),
        "{}",
        ran.err
    );
}

#[test]
fn a_refusal_names_object_field_value_problem_and_remedy() {
    let outcome = Some(v1::apply_response::Outcome::Refused(refused(v1::refused::Reason::Invalid)));
    let apply = v1::ApplyResponse { outcome, warnings: Vec::new() };
    let fake = Fake::answering(Answer { apply, ..Answer::default() });
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["apply", "-f", &file]);
    assert_eq!(ran.code, Some(1));
    for word in [
        "EgressPool/internet",
        "spec.addresses[0]",
        "203.0.113.1",
        "overlaps",
        "take it out",
        "keeps what it had",
    ] {
        assert!(ran.err.contains(word), "{word} is not in {}", ran.err);
    }
}

#[test]
fn a_stale_base_says_how_to_go_on() {
    let outcome = Some(v1::apply_response::Outcome::Refused(refused(v1::refused::Reason::Stale)));
    let apply = v1::ApplyResponse { outcome, warnings: Vec::new() };
    let fake = Fake::answering(Answer { apply, ..Answer::default() });
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["apply", "-f", &file, "--base", "3"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("sluicectl get"), "{}", ran.err);
}

#[test]
fn wrong_files_are_told_with_all_their_faults_and_nothing_is_sent() {
    let fake = Fake::answering(accepted(1, 0));
    let wrong = POOL.replace("203.0.113.1", "203.0.113.300").replace("spec: {", "spec: {colour: red, ");
    let file = fake.file("pool.yaml", &format!("{wrong}---\n{}", ROUTE.replace("Route", "Rout")));
    let ran = fake.run(&["apply", "-f", &file]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for word in ["colour", "Rout", "nothing was sent"] {
        assert!(ran.err.contains(word), "{word} is not in {}", ran.err);
    }
    assert!(fake.asked().apply.is_empty());
    let ran = fake.run(&["apply", "-f", "/nowhere/at-all.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("/nowhere/at-all.yaml"), "{}", ran.err);
    let empty = fake.directory.join("empty");
    std::fs::create_dir(&empty).expect("a directory");
    let ran = fake.run(&["apply", "-f", &empty.display().to_string()]);
    assert!(ran.code == Some(1) && ran.err.contains("no .yaml"), "{ran:?}");
}

#[test]
fn many_objects_go_in_many_parts() {
    let fake = Fake::answering(accepted(20_000, 0));
    let text: String = (0..20_000)
        .map(|i| {
            let route = ROUTE.replace("pods", &format!("{}-{i}", "a-long-name-".repeat(6)));
            route.replace("10.244.0.0/16", &format!("100.{}.{}.0/24", i / 256, i % 256)) + "---\n"
        })
        .collect();
    let file = fake.file("routes.yaml", &text);
    let ran = fake.run(&["apply", "-f", &file]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "generation 7: 20,000 created\n"), "{ran:?}");
    let (_, upserts, _) = headers_and_names(&fake);
    let parts = fake.asked().apply.len();
    assert!(upserts.len() == 20_000 && parts > 3, "{} objects in {parts} parts", upserts.len());
}

#[test]
fn a_warning_is_told_and_refuses_nothing() {
    let mut answer = accepted(1, 0);
    answer.apply.warnings = refused(v1::refused::Reason::Invalid).errors;
    let fake = Fake::answering(answer);
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["apply", "-f", &file]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.starts_with("warning: EgressPool/internet"), "{}", ran.err);
}

fn object(name: &str, addresses: &[&str]) -> v1::Object {
    let addresses = addresses.iter().map(|&text| text.to_owned()).collect();
    let spec = v1::object::Spec::EgressPool(v1::EgressPool { addresses, ..Default::default() });
    v1::Object { name: name.into(), spec: Some(spec) }
}

#[test]
fn plan_shows_what_would_be_created_replaced_and_deleted() {
    use v1::planned_change::Action;
    let change = |action: Action, before, after, fields: &[&str]| v1::PlannedChange {
        action: action.into(),
        before,
        after,
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
    };
    let one = object("one", &["203.0.113.1"]);
    let other = object("one", &["203.0.113.2"]);
    let changes = vec![
        change(Action::Create, None, Some(object("new", &["203.0.113.3"])), &[]),
        change(Action::Replace, Some(one), Some(other), &["spec.addresses[0]"]),
        change(Action::Delete, Some(object("old", &["203.0.113.4"])), None, &[]),
    ];
    let plan = vec![v1::PlanResponse { changes, ..Default::default() }];
    let fake = Fake::answering(Answer { plan, ..Answer::default() });
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["plan", "-f", &file]);
    let expected = "+ EgressPool/new
~ EgressPool/one
    spec.addresses[0]: \"203.0.113.1\" -> \"203.0.113.2\"
- EgressPool/old
1 to create, 1 to replace, 1 to delete
";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    let json = fake.run(&["plan", "-f", &file, "-o", "json"]).json();
    assert_eq!(json[1]["action"], "replace");
    assert_eq!(json[1]["after"]["spec"]["addresses"][0], "203.0.113.2");
    let plan =
        vec![v1::PlanResponse { refused: Some(refused(v1::refused::Reason::Invalid)), ..Default::default() }];
    let fake = Fake::answering(Answer { plan, ..Answer::default() });
    let file = fake.file("pool.yaml", POOL);
    let ran = fake.run(&["plan", "-f", &file]);
    assert!(ran.code == Some(1) && ran.err.contains("overlaps"), "{ran:?}");
}

fn holding() -> Answer {
    let part =
        |origin: &str, objects| v1::GetResponse { origin: origin.into(), objects, ..Default::default() };
    let get = vec![
        part("", vec![]),
        part("file", vec![object("internet", &["203.0.113.1"])]),
        part("operator", vec![object("many", &["203.0.113.2", "203.0.113.3", "203.0.113.64/28"])]),
    ];
    Answer { get, ..Answer::default() }
}

#[test]
fn get_lists_objects_with_their_origin() {
    let fake = Fake::answering(holding());
    let ran = fake.run(&["get"]);
    let expected = "ORIGIN    KIND        NAME      SUMMARY
file      EgressPool  internet  203.0.113.1
operator  EgressPool  many      203.0.113.2, 203.0.113.3 and 1 more
";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
    let json = fake.run(&["get", "pools", "-o", "json", "--origin", "operator"]).json();
    assert_eq!((&json[1]["origin"], &json[1]["metadata"]["name"]), (&"operator".into(), &"many".into()));
    let asked = fake.asked().get.clone().expect("it was asked");
    assert_eq!((asked.kind(), asked.origin.as_str()), (v1::Kind::EgressPool, "operator"));
}

#[test]
fn the_yaml_of_get_can_be_applied_again() {
    let fake = Fake::answering(Answer { apply: accepted(2, 0).apply, ..holding() });
    let ran = fake.run(&["get", "-o", "yaml"]);
    assert!(ran.code == Some(0) && ran.out.contains("# origin: file"), "{ran:?}");
    let again = fake.run_with_input(&["apply", "-f", "-"], &ran.out);
    assert_eq!(again.code, Some(0), "{again:?}");
    let (_, mut upserts, _) = headers_and_names(&fake);
    upserts.sort();
    assert_eq!(upserts, ["internet", "many"]);
}

#[test]
fn an_object_that_is_not_there_is_an_error_and_an_empty_list_is_not() {
    let fake = Fake::answering(Answer::default());
    let ran = fake.run(&["get", "loadbalancer", "web"]);
    assert!(ran.code == Some(1) && ran.err.contains("LoadBalancer/web"), "{ran:?}");
    assert_eq!(fake.run(&["get", "loadbalancers"]).out, "no objects\n");
    assert_eq!(fake.run(&["get", "-o", "json"]).json(), serde_json::json!([]));
}

#[test]
fn delete_sends_keys_and_says_what_was_missing() {
    let fake = Fake::answering(accepted(0, 1));
    let ran = fake.run(&["delete", "pool", "internet"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "generation 7: 1 deleted\n"), "{ran:?}");
    let (headers, upserts, deletes) = headers_and_names(&fake);
    let key = format!("{}/internet", v1::Kind::EgressPool as i32);
    assert_eq!((headers[0].mode(), upserts.len(), deletes), (v1::apply_header::Mode::Delta, 0, vec![key]));
    let ran = fake.run(&["delete", "pool", "internet", "other"]);
    assert!(ran.code == Some(1) && ran.err.contains("1 object"), "{ran:?}");
    assert_eq!(fake.run(&["delete", "pool", "internet", "other", "--ignore-missing"]).code, Some(0));
    let file = fake.file("pool.yaml", POOL);
    assert_eq!(fake.run(&["delete", "-f", &file]).code, Some(0));
}
