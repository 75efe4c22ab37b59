//! The program against the real API server, with a gateway behind it that only remembers.

mod fake;
#[path = "../../server/tests/support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::path::Path;

use fake::{Ran, run};
use model::{Api, Generation, Listener, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::json;
use server::{Options, Server};
use support::{Bench, DOCUMENTED, FakeGateway, Scratch};

/// Runs the program while the server's tasks go on beside it.
fn ctl(bench: &Bench, line: &[&str]) -> Ran {
    let gateway = format!("unix://{}", bench.server.unix_paths()[0].display());
    run(&[&["--gateway", &gateway], line].concat(), "")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_objects_are_applied_shown_planned_and_deleted() {
    let bench = Bench::new().await;
    let file = text(&bench.scratch.write("documented.yaml", DOCUMENTED));
    let plan = ctl(&bench, &["plan", "-f", &file]);
    assert!(plan.code == Some(0) && plan.out.contains("+ EgressPool/"), "{plan:?}");
    let first = ctl(&bench, &["apply", "-f", &file, "--wait"]);
    assert!(first.code == Some(0) && first.out.ends_with("created, on every worker\n"), "{first:?}");
    let again = ctl(&bench, &["apply", "-f", &file]);
    assert_eq!((again.code, again.out.as_str()), (Some(0), "generation 1: nothing to change\n"), "{again:?}");
    let shown = ctl(&bench, &["get", "-o", "yaml"]);
    let shown = text(&bench.scratch.write("shown.yaml", &shown.out));
    let plan = ctl(&bench, &["plan", "--replace", "-f", &shown]);
    assert_eq!((plan.code, plan.out.as_str()), (Some(0), "nothing would change\n"), "{plan:?}");
    let table = ctl(&bench, &["get", "policies"]);
    assert!(table.code == Some(0) && table.out.contains("snat by "), "{table:?}");
    let list = ctl(&bench, &["get", "-o", "json"]).json();
    let list = list.as_array().expect("a list");
    assert!(list.iter().all(|object| object["origin"] == "operator" && object["spec"].is_object()));
    let used = ctl(&bench, &["delete", "pool", "internet"]);
    assert!(used.code == Some(1) && used.err.contains("internet"), "{used:?}");
    let gone = ctl(&bench, &["delete", "-f", &file]);
    assert_eq!(gone.code, Some(0), "{gone:?}");
    assert_eq!(ctl(&bench, &["get"]).out, "no objects\n");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_field_is_planned_by_its_name() {
    let bench = Bench::new().await;
    let file = text(&bench.scratch.write("documented.yaml", DOCUMENTED));
    assert_eq!(ctl(&bench, &["apply", "-f", &file]).code, Some(0));
    let changed = DOCUMENTED.replace("blockSize: 512", "blockSize: 1024");
    assert_ne!(changed, DOCUMENTED);
    let file = text(&bench.scratch.write("changed.yaml", &changed));
    let plan = ctl(&bench, &["plan", "-f", &file]);
    assert!(plan.out.contains("~ EgressPool/internet\n    spec.blockSize: 512 -> 1024\n"), "{plan:?}");
    assert!(plan.out.ends_with("0 to create, 1 to replace, 0 to delete\n"), "{plan:?}");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_server_and_of_the_gateway_end_with_one() {
    let bench = Bench::new().await;
    let pool = |name: &str| {
        format!(
            "{{apiVersion: sluice.dev/v1alpha1, kind: EgressPool, metadata: {{name: {name}}}, spec: {{addresses: [203.0.113.1]}}}}"
        )
    };
    let one = text(&bench.scratch.write("one.yaml", &pool("one")));
    let other = text(&bench.scratch.write("other.yaml", &pool("other")));
    assert_eq!(ctl(&bench, &["apply", "-f", &one]).code, Some(0));
    let overlap = ctl(&bench, &["apply", "-f", &other]);
    assert!(overlap.code == Some(1) && overlap.err.contains("EgressPool/other"), "{overlap:?}");
    let foreign = ctl(&bench, &["apply", "--origin", "file", "-f", &other]);
    assert!(foreign.code == Some(1) && foreign.err.contains("file"), "{foreign:?}");
    let stale = ctl(&bench, &["apply", "--base", "0", "-f", &one.replace("one.yaml", "other.yaml")]);
    assert!(stale.code == Some(1) && stale.err.contains("sluicectl get"), "{stale:?}");
    *bench.gateway.refuse.lock().expect("no panic") = Some("more backends than fit".into());
    let file = text(&bench.scratch.write("two.yaml", &pool("two").replace("113.1", "113.2")));
    let full = ctl(&bench, &["apply", "-f", &file]);
    assert!(full.code == Some(1) && full.err.contains("more backends than fit"), "{full:?}");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_workers_that_stay_behind_fails() {
    let bench = Bench::new().await;
    *bench.gateway.lag.lock().expect("no panic") = Some(Generation(0));
    let file = text(&bench.scratch.write("documented.yaml", DOCUMENTED));
    let ran = ctl(&bench, &["apply", "-f", &file, "--wait", "300ms"]);
    assert!(ran.code == Some(1) && ran.err.contains("accepted as generation 1"), "{ran:?}");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_sessions_are_listed_each_once_counted_and_killed() {
    let bench = Bench::with(FakeGateway::new(100_000)).await;
    let list = ctl(&bench, &["sessions", "-o", "json"]).json();
    let inside: HashSet<&str> =
        list.as_array().expect("a list").iter().filter_map(|it| it["inside"].as_str()).collect();
    assert_eq!(inside.len(), 100_000);
    assert_eq!(
        ctl(&bench, &["sessions", "--inside", "10.0.0.5", "--protocol", "udp", "--count"]).out,
        "500\n"
    );
    let few = ctl(&bench, &["sessions", "--inside", "10.0.0.5", "--limit", "3", "-o", "json"]).json();
    assert_eq!(few.as_array().map(Vec::len), Some(3));
    assert_eq!(ctl(&bench, &["sessions", "--state", "closing", "-o", "json"]).json(), json!([]));
    assert_eq!(ctl(&bench, &["kill", "--inside", "10.0.0.0/31"]).out, "ended 2,000 sessions\n");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_explanations_and_health_come_through() {
    let bench = Bench::new().await;
    for (line, word) in [
        ("pools", "internet"),
        ("backends", "unhealthy"),
        ("workers", "50.0%"),
        ("drops", "no_egress_policy"),
    ] {
        let ran = ctl(&bench, &[line]);
        assert!(ran.code == Some(0) && ran.out.contains(word), "{line}: {ran:?}");
    }
    assert!(!ctl(&bench, &["drops"]).out.contains("policy_pending"));
    assert!(ctl(&bench, &["drops", "--all"]).out.contains("policy_pending"));
    let line = ["explain", "--from", "10.0.0.5:4000", "--to", "1.1.1.1:443/tcp"];
    let ran = ctl(&bench, &line);
    assert!(ran.code == Some(0) && ran.out.ends_with("verdict: drop no_egress_policy\n"), "{ran:?}");
    let ran = ctl(&bench, &[&line[..], &["--port", "nowhere"]].concat());
    assert!(ran.code == Some(1) && ran.err.contains("the ports are in0, out0"), "{ran:?}");
    let ran = ctl(&bench, &["top", "--screens", "2", "--interval", "100ms"]);
    assert!(ran.code == Some(0) && ran.out.contains("edge-1"), "{ran:?}");
    assert_eq!(ctl(&bench, &["health", "--wait", "30s"]).code, Some(0));
    *bench.gateway.missing.lock().expect("no panic") = Some("port out0 is down".into());
    let ran = ctl(&bench, &["health", "--wait", "1s"]);
    assert!(ran.code == Some(1) && ran.out.contains("port out0 is down"), "{ran:?}");
    bench.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_lets_in_whom_the_authority_signed() {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let scratch = Scratch::new();
    let issue = |name: &str, usage| {
        let mut params = CertificateParams::new(vec!["gateway.example".to_owned()]).expect("parameters");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &authority).expect("a certificate").pem();
        (
            scratch.write(&format!("{name}.pem"), &cert),
            scratch.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    };
    let ca = scratch.write("ca.pem", &authority.pem());
    let (cert, key) = issue("server", ExtendedKeyUsagePurpose::ServerAuth);
    let tls = Some(Tls { cert, key, client_ca: ca.clone() });
    let listen = vec![Listener::Tcp("0.0.0.0:0".parse().expect("an address"))];
    let options = Options { api: Api { listen, tls }, metrics: None };
    let store = scratch.store().expect("a store");
    let server = Server::start(options, store, FakeGateway::new(0)).await.expect("a server");
    let address = format!("127.0.0.1:{}", server.tcp_addresses()[0].port());
    let (cert, key) = issue("client", ExtendedKeyUsagePurpose::ClientAuth);
    let [ca, cert, key] = [ca, cert, key].map(|path| text(&path));
    let trusting = ["--gateway", &address, "--ca", &ca, "--server-name", "gateway.example", "workers"];
    let known = run(&[&["--cert", &cert, "--key", &key], &trusting[..]].concat(), "");
    assert!(known.code == Some(0) && known.out.contains("50.0%"), "{known:?}");
    let stranger = run(&trusting, "");
    assert!(stranger.code == Some(3) && stranger.err.contains("--cert"), "{stranger:?}");
    let plain = run(&["--gateway", &address, "workers"], "");
    assert!(plain.code == Some(3) && plain.err.contains("TLS"), "{plain:?}");
    server.stop().await;
}
