//! Every kind of bad input is refused whole, with object, field, value and remedy.

mod balancing;
mod egress;
mod network;
mod statics;
mod text;

use model::{Change, Config, Error, Origin, parse_objects};

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
