//! What is shown, and the exit codes of wrong usage, refusals and a gateway that is not there.

mod fake;

use api::v1;
use fake::{Answer, Fake, run};
use prost_types::Duration;
use serde_json::json;
use tonic::Status;

fn end(address: &str, port: u32) -> Option<v1::Endpoint> {
    Some(v1::Endpoint { address: address.into(), port })
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 700_000_000 })
}

fn sessions() -> Vec<v1::SessionPage> {
    let egress = v1::Session {
        protocol: 6,
        inside: end("10.0.0.5", 40_000),
        outside: end("203.0.113.1", 1_234),
        remote: end("1.1.1.1", 443),
        state: "established".into(),
        policy: "default".into(),
        worker: 1,
        idle: seconds(3),
        packets: 1_234,
        bytes: 1_536,
        ..Default::default()
    };
    let balanced = v1::Session {
        protocol: 17,
        inside: end("10.0.0.10", 8_080),
        outside: end("203.0.113.10", 80),
        remote: end("198.51.100.7", 5_000),
        state: "active".into(),
        policy: "web".into(),
        ..Default::default()
    };
    let page = |sessions| v1::SessionPage { sessions, next: Vec::new() };
    vec![page(vec![egress]), page(vec![balanced]), page(vec![])]
}

#[test]
fn sessions_in_json_are_the_documented_list() {
    let fake = Fake::answering(Answer { pages: sessions(), ..Answer::default() });
    let expected = json!([
        {"protocol": "TCP", "inside": "10.0.0.5:40000", "outside": "203.0.113.1:1234", "remote": "1.1.1.1:443",
         "state": "established", "policy": "default", "worker": 1, "idle": 3, "packets": 1234, "bytes": 1536},
        {"protocol": "UDP", "inside": "10.0.0.10:8080", "outside": "203.0.113.10:80", "remote": "198.51.100.7:5000",
         "state": "active", "policy": "web", "worker": 0, "idle": 0, "packets": 0, "bytes": 0},
    ]);
    assert_eq!(fake.run(&["sessions", "-o", "json"]).json(), expected);
    let fake = Fake::answering(Answer::default());
    assert_eq!(fake.run(&["-o", "json", "sessions"]).json(), json!([]));
}

#[test]
fn sessions_in_a_table_are_aligned_and_in_human_units() {
    let fake = Fake::answering(Answer { pages: sessions(), ..Answer::default() });
    let ran = fake.run(&["sessions"]);
    let expected = "\
PROTOCOL  INSIDE          OUTSIDE           REMOTE       STATE        POLICY   WORKER  IDLE  PACKETS    BYTES
TCP       10.0.0.5:40000  203.0.113.1:1234  1.1.1.1:443  established  default       1  3.0s    1,234  1.5 KiB
UDP       10.0.0.10:8080  203.0.113.10:80   198.51.100.7:5000  active       web           0    0s        0      0 B
";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected));
    let yaml = fake.run(&["sessions", "-o", "yaml"]);
    assert!(yaml.code == Some(0) && yaml.out.matches("protocol: ").count() == 2, "{yaml:?}");
    assert_eq!(Fake::answering(Answer::default()).run(&["sessions"]).out, "no sessions\n");
}

#[test]
fn every_filter_reaches_the_gateway() {
    let fake = Fake::answering(Answer::default());
    let line = "sessions --inside 10.0.0.0/24:4000-5000 --outside :80 --remote 1.1.1.1 --port 443 --protocol tcp \
                --policy default --state Established --min-idle 60s --min-age 5m --worker 1 --limit 20";
    let ran = fake.run(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ports = |first, last| Some(v1::PortRange { first, last });
    let whole = |seconds| Some(Duration { seconds, nanos: 0 });
    let expected = v1::SessionFilter {
        inside: "10.0.0.0/24".into(),
        outside: String::new(),
        remote: "1.1.1.1".into(),
        inside_ports: ports(4_000, 5_000),
        outside_ports: ports(80, 80),
        remote_ports: ports(443, 443),
        protocol: Some(6),
        policy: "default".into(),
        state: "established".into(),
        older_than: whole(300),
        idle_for: whole(60),
        worker: Some(1),
    };
    let asked = fake.asked();
    assert_eq!((&asked.filter, asked.limit), (&Some(expected), 20));
}

#[test]
fn sessions_are_counted_and_killed() {
    let fake = Fake::answering(Answer::default());
    assert_eq!(fake.run(&["sessions", "--count"]).out, "1000000\n");
    assert_eq!(fake.run(&["sessions", "--count", "-o", "json"]).json(), json!({"count": 1_000_000}));
    assert_eq!(fake.run(&["kill", "--inside", "10.0.0.5"]).out, "ended 2 sessions\n");
    assert_eq!(fake.asked().filter.clone().map(|filter| filter.inside), Some("10.0.0.5".to_owned()));
    assert_eq!(fake.run(&["kill", "--all", "-o", "json"]).json(), json!({"killed": 2}));
    let ran = fake.run(&["kill"]);
    assert!(ran.code == Some(2) && ran.err.contains("--all"), "{ran:?}");
}

fn report() -> v1::StatsReport {
    v1::StatsReport {
        node: "edge-1".into(),
        version: "0.1.0".into(),
        uptime: seconds(3_725),
        generation: 7,
        applied: 7,
        totals: Some(v1::Totals { received: 100, sessions: 5, ..Default::default() }),
        ports: vec![v1::PortReport {
            name: "in0".into(),
            side: "inside".into(),
            up: true,
            ..Default::default()
        }],
        pools: vec![v1::PoolReport {
            origin: "operator".into(),
            name: "internet".into(),
            addresses: 4,
            blocks: 504,
            blocks_leased: 63,
            ports: 258_048,
            ports_in_use: 1_000,
            out_of_ports: [("quota".to_owned(), 2), ("full".to_owned(), 1)].into(),
            ..Default::default()
        }],
        backends: vec![v1::BackendReport {
            origin: "operator".into(),
            load_balancer: "web".into(),
            address: "10.0.0.10".into(),
            port: 8_080,
            state: "active".into(),
            weight: 1,
            healthy: Some(false),
            problem: "connection refused".into(),
            ..Default::default()
        }],
        workers: vec![v1::WorkerReport {
            cpu: 2,
            generation: 7,
            busy: 0.125,
            memory: 3 << 20,
            ..Default::default()
        }],
        drops: vec![drop("no_mapping", 5), drop("no_egress_policy", 1_500)],
        ..Default::default()
    }
}

fn drop(reason: &str, packets: u64) -> v1::DropReport {
    let text = |text: &str| text.to_owned();
    v1::DropReport {
        reason: text(reason),
        stage: text("nat"),
        cause: text("A cause."),
        remedy: text("A remedy."),
        packets,
    }
}

#[test]
fn pools_backends_workers_and_drops_are_tables_and_lists() {
    let fake = Fake::answering(Answer { report: report(), ..Answer::default() });
    let pools = fake.run(&["pools"]).out;
    assert!(pools.contains("63 (12.5%)") && pools.contains("1,000 (0.4%)"), "{pools}");
    assert_eq!(fake.run(&["pools", "-o", "json"]).json()[0]["out_of_ports"], json!({"full": 1, "quota": 2}));
    let backends = fake.run(&["backends"]).out;
    assert!(backends.contains("unhealthy") && backends.contains("connection refused"), "{backends}");
    assert_eq!(fake.run(&["backends", "-o", "json"]).json()[0]["healthy"], false);
    let workers = fake.run(&["workers"]).out;
    assert!(workers.contains("12.5%") && workers.contains("3.0 MiB"), "{workers}");
    assert_eq!(fake.run(&["workers", "-o", "json"]).json()[0]["generation"], 7);
    let drops = fake.run(&["drops", "-o", "json"]).json();
    assert_eq!((&drops[0]["reason"], &drops[0]["packets"]), (&json!("no_egress_policy"), &json!(1_500)));
    let fake = Fake::answering(Answer::default());
    assert_eq!(fake.run(&["drops"]).out, "nothing was dropped\n");
}

#[test]
fn explain_sends_the_packet_and_tells_the_verdict() {
    let step = v1::ExplainStep {
        stage: "policy".into(),
        object: "EgressPolicy/default".into(),
        origin: "operator".into(),
        matched: true,
        text: "10.0.0.5 is in 10.0.0.0/24".into(),
    };
    let explanation = v1::ExplainResponse {
        verdict: v1::explain_response::Verdict::Forward.into(),
        steps: vec![step],
        source: end("203.0.113.1", 0),
        destination: end("1.1.1.1", 443),
        egress_port: "out0".into(),
        next_hop: "198.51.100.254".into(),
        policy: "default".into(),
        pool: "internet".into(),
        ..Default::default()
    };
    let fake = Fake::answering(Answer { explanation, ..Answer::default() });
    let line = ["explain", "--from", "10.0.0.5:4000", "--to", "1.1.1.1:443/tcp"];
    let ran = fake.run(&line);
    assert_eq!(ran.code, Some(0));
    for word in [
        "EgressPolicy/default (operator): 10.0.0.5 is in",
        "forward by out0",
        "203.0.113.1:(a random port)",
        "198.51.100.254",
    ] {
        assert!(ran.out.contains(word), "{word} is not in {}", ran.out);
    }
    let asked = fake.asked().explain.clone().expect("it was asked");
    assert_eq!(
        (asked.protocol, asked.source, asked.destination),
        (6, end("10.0.0.5", 4_000), end("1.1.1.1", 443))
    );
    let json = fake.run(&[&line[..], &["-o", "json"]].concat()).json();
    assert_eq!((&json["verdict"], &json["egress_port"]), (&json!("forward"), &json!("out0")));
    let icmp = fake.run(&["explain", "--from", "10.0.0.5", "--to", "1.1.1.1/icmp"]);
    assert_eq!((icmp.code, fake.asked().explain.clone().map(|asked| asked.protocol)), (Some(0), Some(1)));
    for line in [["10.0.0.5", "1.1.1.1:443"], ["10.0.0.5:1/udp", "1.1.1.1:443/tcp"], ["web:1", "1.1.1.1:443"]]
    {
        assert_eq!(fake.run(&["explain", "--from", line[0], "--to", line[1]]).code, Some(2), "{line:?}");
    }
}

#[test]
fn a_dropped_packet_is_explained_with_cause_and_remedy() {
    let explanation = v1::ExplainResponse {
        verdict: v1::explain_response::Verdict::Drop.into(),
        drop_reason: "no_egress_policy".into(),
        cause: "No policy.".into(),
        remedy: "Add one.".into(),
        ..Default::default()
    };
    let fake = Fake::answering(Answer { explanation, ..Answer::default() });
    let ran = fake.run(&["explain", "--from", "10.0.0.5:4000", "--to", "1.1.1.1:443"]);
    assert!(
        ran.code == Some(0)
            && ran.out.contains("Add one.")
            && ran.out.ends_with("verdict: drop no_egress_policy\n")
    );
}

#[test]
fn explain_drop_needs_no_gateway() {
    let ran = run(&["explain-drop", "no_egress_policy"], "");
    assert!(ran.code == Some(0) && ran.out.contains("cause:") && ran.out.contains("EgressPolicy"), "{ran:?}");
    let all = run(&["explain-drop", "-o", "json"], "").json();
    assert!(all.as_array().is_some_and(|all| all.len() > 20));
    let ran = run(&["explain-drop", "egress_policy_missing"], "");
    assert!(ran.code == Some(1) && ran.err.contains("no_egress_policy"), "{ran:?}");
}

#[test]
fn health_is_ready_not_ready_or_unreachable() {
    let fake = Fake::answering(Answer { report: report(), ..Answer::default() });
    let ran = fake.run(&["health", "--wait", "30s"]);
    assert_eq!(ran.out, "ready: edge-1 0.1.0, up 1h02m, generation 7 on every worker\n", "{ran:?}");
    assert_eq!(fake.run(&["health", "-o", "json"]).json()["ready"], true);
    let report = v1::StatsReport { not_ready: "port out0 is down".into(), ..report() };
    let fake = Fake::answering(Answer { report, ..Answer::default() });
    let ran = fake.run(&["health", "--wait", "500ms"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), "not ready: port out0 is down\n"), "{ran:?}");
    let ran = Fake::absent().run(&["health", "--wait", "500ms"]);
    assert!(ran.code == Some(3) && ran.err.contains("is sluiced running"), "{ran:?}");
}

#[test]
fn health_waits_for_a_gateway_that_is_still_starting() {
    let fake = Fake::absent();
    let ran = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fake.run(&["health", "--wait", "30s"]));
        std::thread::sleep(std::time::Duration::from_millis(700));
        fake.listen(Answer { report: report(), ..Answer::default() });
        waiting.join().expect("the program ran")
    });
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn top_shows_so_many_screens() {
    let fake = Fake::answering(Answer { report: report(), ..Answer::default() });
    let ran = fake.run(&["top", "--interval", "100ms", "--screens", "2"]);
    assert!(ran.code == Some(0) && ran.out.matches("edge-1 0.1.0").count() == 2, "{ran:?}");
    let ran = fake.run(&["top"]);
    assert!(ran.code == Some(3), "the stream ended: {ran:?}");
}

#[test]
fn every_command_without_a_gateway_ends_with_three() {
    let fake = Fake::absent();
    for line in [
        "get",
        "sessions",
        "kill --all",
        "pools",
        "backends",
        "workers",
        "drops",
        "top",
        "health",
        "explain --from 10.0.0.5:1 --to 1.1.1.1:2",
        "delete pool internet",
    ] {
        let ran = fake.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{line}: {ran:?}");
        assert!(ran.err.contains("--gateway"), "{line}: {}", ran.err);
    }
    let ran = run(&["--gateway", "127.0.0.1:1", "get"], "");
    assert!(ran.code == Some(3) && ran.err.contains("127.0.0.1:1"), "{ran:?}");
}

#[test]
fn what_the_gateway_refuses_ends_with_one() {
    let fails = Some(Status::invalid_argument("filter.inside: 10.0.0.1/24 has host bits"));
    let fake = Fake::answering(Answer { fails, ..Answer::default() });
    for line in ["sessions", "get", "pools", "explain --from 10.0.0.5:1 --to 1.1.1.1:2", "kill --all", "top"]
    {
        let ran = fake.run(&line.split(' ').collect::<Vec<_>>());
        assert!(ran.code == Some(1) && ran.err.contains("host bits"), "{line}: {ran:?}");
    }
}

#[test]
fn wrong_usage_ends_with_two() {
    for line in [
        "",
        "fly",
        "apply",
        "get service",
        "sessions --port x",
        "sessions --inside 10.0.0.300",
        "kill --inside 10.0.0.5/24",
        "sessions --min-idle soon",
        "health --wait forever",
        "delete pool",
        "-o xml get",
        "--gateway nonsense get",
        "--gateway 192.0.2.1:9440 get",
        "--gateway https://192.0.2.1:9440 get",
        "--cert x get",
        "--gateway unix:///x --ca y get",
        "apply -f x --origin A_b",
    ] {
        let ran = run(&line.split_whitespace().collect::<Vec<_>>(), "");
        assert!(ran.code == Some(2) && !ran.err.is_empty(), "{line:?}: {ran:?}");
    }
    let ran = run(&["--gateway", "192.0.2.1:9440", "--ca", "/nowhere/ca.pem", "get"], "");
    assert!(ran.code == Some(1) && ran.err.contains("/nowhere/ca.pem"), "{ran:?}");
}

#[test]
fn help_has_examples_and_completion_is_a_script() {
    for command in [
        "apply",
        "plan",
        "get",
        "delete",
        "sessions",
        "kill",
        "explain",
        "explain-drop",
        "health",
        "completion",
    ] {
        let ran = run(&[command, "--help"], "");
        assert!(ran.code == Some(0) && ran.out.contains("Example"), "{command}: {}", ran.out);
    }
    assert!(run(&["--help"], "").out.contains("Exit codes: 0 done"));
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completion", shell], "");
        assert!(ran.code == Some(0) && ran.out.contains("explain-drop"), "{shell}");
    }
}

#[test]
fn output_that_nobody_reads_any_more_is_no_failure() {
    let pages = sessions().into_iter().cycle().take(30_000).collect();
    let fake = Fake::answering(Answer { pages, ..Answer::default() });
    let gateway = format!("unix://{}", fake.directory.join("api.sock").display());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sluicectl"))
        .args(["--gateway", &gateway, "sessions"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    std::mem::drop(child.stdout.take());
    assert_eq!(child.wait().expect("the program ends").code(), Some(0));
}
