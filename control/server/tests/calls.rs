//! Sessions, Stats, Diagnose, health, reflection and metrics, by real clients.

mod support;

use std::io::{Read as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use api::v1::diagnose_client::DiagnoseClient;
use api::v1::sessions_client::SessionsClient;
use api::v1::stats_client::StatsClient;
use api::v1::{self, apply_header::Mode};
use support::*;
use tonic::Code;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

async fn list(
    client: &mut SessionsClient<tonic::transport::Channel>,
    request: v1::ListSessionsRequest,
) -> Vec<v1::SessionPage> {
    let mut stream = client.list(request).await.unwrap().into_inner();
    let mut pages = Vec::new();
    while let Some(page) = stream.message().await.unwrap() {
        pages.push(page);
    }
    pages
}

fn total(pages: &[v1::SessionPage]) -> usize {
    pages.iter().map(|page| page.sessions.len()).sum()
}

#[tokio::test]
async fn sessions_are_listed_in_pages_and_a_cursor_goes_on_where_one_ended() {
    let bench = Bench::with(FakeGateway::new(20_000)).await;
    let mut client = SessionsClient::new(bench.channel().await);
    let all = list(&mut client, v1::ListSessionsRequest::default()).await;
    assert_eq!(total(&all), 20_000);
    assert!(all.iter().all(|page| page.sessions.len() <= 1000));
    assert!(all.last().unwrap().next.is_empty());
    let first = &all[0].sessions[0];
    assert_eq!((first.protocol, first.state.as_str(), first.policy.as_str()), (6, "established", "default"));
    let some = v1::ListSessionsRequest { page_size: 300, limit: 700, ..Default::default() };
    let some = list(&mut client, some).await;
    assert_eq!(some.iter().map(|page| page.sessions.len()).collect::<Vec<_>>(), [300, 300, 100]);
    let rest = v1::ListSessionsRequest { cursor: some[2].next.clone(), ..Default::default() };
    assert_eq!(total(&list(&mut client, rest).await), 19_300);
    let rare = v1::SessionFilter {
        idle_for: Some(api::duration_message(Duration::from_millis(19_999))),
        ..Default::default()
    };
    let rare = list(&mut client, v1::ListSessionsRequest { filter: Some(rare), ..Default::default() }).await;
    assert_eq!((rare.len(), total(&rare)), (1, 1), "empty pages in the middle are not sent");
}

#[tokio::test]
async fn filters_select_by_every_field_and_wrong_ones_are_named() {
    let bench = Bench::with(FakeGateway::new(4000)).await;
    let mut client = SessionsClient::new(bench.channel().await);
    let ports = Some(v1::PortRange { first: 1024, last: 1033 });
    let of = v1::SessionFilter::default;
    let cases = [
        (v1::SessionFilter { inside: "10.0.0.1".into(), ..of() }, 1000),
        (v1::SessionFilter { inside: "10.0.0.0/31".into(), ..of() }, 2000),
        (v1::SessionFilter { remote: "192.0.2.0/24".into(), ..of() }, 0),
        (v1::SessionFilter { outside: "203.0.113.1".into(), ..of() }, 4000),
        (v1::SessionFilter { inside_ports: ports, ..of() }, 40),
        (v1::SessionFilter { outside_ports: ports, ..of() }, 10),
        (v1::SessionFilter { remote_ports: Some(v1::PortRange { first: 443, last: 443 }), ..of() }, 4000),
        (v1::SessionFilter { protocol: Some(17), ..of() }, 2000),
        (v1::SessionFilter { policy: "other".into(), ..of() }, 0),
        (v1::SessionFilter { state: "established".into(), ..of() }, 2000),
        (v1::SessionFilter { older_than: Some(api::duration_message(Duration::from_secs(61))), ..of() }, 0),
        (v1::SessionFilter { worker: Some(1), ..of() }, 2000),
    ];
    for (filter, wanted) in cases {
        let count = client
            .count(v1::CountSessionsRequest { filter: Some(filter.clone()) })
            .await
            .unwrap()
            .into_inner()
            .count;
        assert_eq!(count, wanted, "{filter:?}");
    }
    let wrong = [
        (v1::SessionFilter { inside: "10.0.0".into(), ..of() }, "filter.inside"),
        (
            v1::SessionFilter { inside_ports: Some(v1::PortRange { first: 2, last: 1 }), ..of() },
            "filter.inside_ports",
        ),
        (v1::SessionFilter { protocol: Some(300), ..of() }, "filter.protocol"),
        (v1::SessionFilter { worker: Some(70_000), ..of() }, "filter.worker"),
        (
            v1::SessionFilter { idle_for: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..of() },
            "filter.idle_for",
        ),
    ];
    for (filter, field) in wrong {
        let status = client.count(v1::CountSessionsRequest { filter: Some(filter) }).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{status}");
    }
    let cursor = v1::ListSessionsRequest { cursor: vec![1, 2, 3], ..Default::default() };
    assert_eq!(client.list(cursor).await.unwrap_err().code(), Code::InvalidArgument);
    let page = v1::ListSessionsRequest { page_size: 10_001, ..Default::default() };
    assert_eq!(client.list(page).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn killing_everything_has_to_be_said() {
    let bench = Bench::with(FakeGateway::new(100)).await;
    let mut client = SessionsClient::new(bench.channel().await);
    let status = client.kill(v1::KillSessionsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let udp = v1::SessionFilter { protocol: Some(17), ..Default::default() };
    let killed =
        client.kill(v1::KillSessionsRequest { filter: Some(udp), all: false }).await.unwrap().into_inner();
    assert_eq!(killed.killed, 50);
    let killed = client.kill(v1::KillSessionsRequest { filter: None, all: true }).await.unwrap().into_inner();
    assert_eq!((killed.killed, bench.gateway.killed.load(Ordering::Relaxed)), (100, 150));
}

#[tokio::test]
async fn stats_are_read_whole_or_by_section_and_watched() {
    let bench = Bench::new().await;
    let mut client = StatsClient::new(bench.channel().await);
    let report = client.read(v1::ReadStatsRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (report.node.as_str(), report.ports.len(), report.pools.len(), report.workers.len()),
        ("edge-1", 1, 1, 1)
    );
    assert_eq!((report.backends.len(), report.vips.len(), report.drops.len()), (3, 1, 1));
    assert_eq!(report.totals.unwrap().conservation_error, 0);
    assert_eq!(report.pools[0].out_of_ports["quota"], 4);
    let drops = v1::ReadStatsRequest { sections: vec![v1::Section::Drops.into()], all_drops: true };
    let report = client.read(drops.clone()).await.unwrap().into_inner();
    assert_eq!((report.drops.len(), report.workers.len(), report.totals), (2, 0, None));
    let tick = |millis| Some(api::duration_message(Duration::from_millis(millis)));
    let watch = v1::WatchStatsRequest { read: Some(drops), interval: tick(100) };
    let mut stream = client.watch(watch).await.unwrap().into_inner();
    for _ in 0..3 {
        assert_eq!(stream.message().await.unwrap().unwrap().drops.len(), 2);
    }
    let busy = v1::WatchStatsRequest { read: None, interval: tick(1) };
    assert_eq!(client.watch(busy).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn explain_asks_the_gateway_and_names_what_makes_no_sense() {
    let bench = Bench::new().await;
    let mut client = DiagnoseClient::new(bench.channel().await);
    let end = |address: &str, port| Some(v1::Endpoint { address: address.into(), port });
    let question = v1::ExplainRequest {
        source: end("10.0.1.5", 4000),
        destination: end("1.1.1.1", 443),
        ..Default::default()
    };
    let answer = client.explain(question.clone()).await.unwrap().into_inner();
    assert_eq!(answer.verdict(), v1::explain_response::Verdict::Drop);
    assert_eq!((answer.drop_reason.as_str(), answer.remedy.as_str()), ("no_egress_policy", "Write one."));
    assert_eq!(answer.steps[0].text, "10.0.1.5 is outside 10.0.0.0/24");
    let wrong = [
        (v1::ExplainRequest { source: None, ..question.clone() }, "source: missing"),
        (v1::ExplainRequest { destination: end("x", 1), ..question.clone() }, "destination.address"),
        (v1::ExplainRequest { source: end("10.0.0.1", 70_000), ..question.clone() }, "source.port"),
        (v1::ExplainRequest { protocol: 256, ..question.clone() }, "protocol"),
        (v1::ExplainRequest { ttl: 256, ..question.clone() }, "ttl"),
        (v1::ExplainRequest { port: "nowhere".into(), ..question.clone() }, "port: there is no port nowhere"),
    ];
    for (request, text) in wrong {
        let status = client.explain(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(text), "{status}");
    }
}

async fn health(bench: &Bench) -> ServingStatus {
    let mut client = HealthClient::new(bench.channel().await);
    client.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn health_is_serving_once_ports_are_up_and_workers_run_what_was_on_disk() {
    let scratch = Scratch::new();
    scratch.write("config.d/a.yaml", DOCUMENTED);
    let gateway = FakeGateway::new(0);
    *gateway.missing.lock().unwrap() = Some("port in0 has no link".into());
    *gateway.lag.lock().unwrap() = Some(model::Generation(0));
    let store = scratch.store().unwrap();
    let server =
        server::Server::start(unix(&scratch.join("api.sock")), store.clone(), gateway.clone()).await.unwrap();
    let bench = Bench { scratch, gateway, store, server };
    let settle = || tokio::time::sleep(Duration::from_millis(300));
    settle().await;
    assert_eq!(health(&bench).await, ServingStatus::NotServing);
    *bench.gateway.missing.lock().unwrap() = None;
    settle().await;
    assert_eq!(health(&bench).await, ServingStatus::NotServing, "the workers do not run it yet");
    *bench.gateway.lag.lock().unwrap() = None;
    settle().await;
    assert_eq!(health(&bench).await, ServingStatus::Serving);
    *bench.gateway.lag.lock().unwrap() = Some(model::Generation(0));
    settle().await;
    assert_eq!(health(&bench).await, ServingStatus::Serving, "a later generation on its way is no fault");
}

#[tokio::test]
async fn reflection_lists_every_service() {
    let bench = Bench::new().await;
    let mut client = ServerReflectionClient::new(bench.channel().await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut stream = client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer: ServerReflectionResponse = stream.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("a list") };
    let names: Vec<&str> = list.service.iter().map(|it| it.name.as_str()).collect();
    for name in [
        "sluice.v1.Config",
        "sluice.v1.Sessions",
        "sluice.v1.Stats",
        "sluice.v1.Diagnose",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[tokio::test]
async fn a_client_deadline_is_kept() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let mut request = tonic::Request::new(v1::WaitAppliedRequest { generation: 5, timeout: None });
    request.set_timeout(Duration::from_millis(100));
    let began = std::time::Instant::now();
    let status = client.wait_applied(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn stopping_ends_streams_and_removes_the_socket() {
    let bench = Bench::new().await;
    let mut stream = bench.config().await.watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let path = bench.server.unix_paths()[0].clone();
    assert!(path.exists());
    let began = std::time::Instant::now();
    let ended = tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    bench.server.stop().await;
    ended.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!path.exists());
}

fn http(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_metrics_and_nothing_else_is_served_there() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(messages(DOCUMENTED), vec![])])
        .await;
    refused(&mut client, vec![header("operator", Mode::Delta, Some(9))]).await;
    let address = bench.server.metrics_address().unwrap();
    let text = http(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("# EOF\n"));
    for line in [
        "sluice_packet_conservation_error 0",
        "sluice_build_info{version=\"0.1.0\",node=\"edge-1\"} 1",
        "sluice_generation 1",
        "sluice_objects{origin=\"operator\",kind=\"EgressPool\"} 2",
        "sluice_applies_total{outcome=\"refused\"} 1",
        "sluice_received_packets_total 10",
        "sluice_drops_total{reason=\"policy_pending\",stage=\"policy\"} 0",
        "sluice_port_received_bytes_total{port=\"in\\\"0\",side=\"inside\"} 1000",
        "sluice_pool_used_ports{origin=\"operator\",pool=\"internet\"} 7",
        "sluice_pool_exhaustion_seconds{origin=\"operator\",pool=\"internet\"} +Inf",
        "sluice_out_of_ports_total{origin=\"operator\",pool=\"internet\",reason=\"quota\"} 4",
        "sluice_backends{origin=\"operator\",load_balancer=\"web\",state=\"active\"} 2",
        "sluice_unhealthy_backends{origin=\"operator\",load_balancer=\"web\"} 1",
        "sluice_vip_sessions_opened_total{origin=\"operator\",load_balancer=\"web\",vip=\"203.0.113.10\",protocol=\"TCP\",port=\"80\"} 6",
        "sluice_worker_generation{worker=\"0\",cpu=\"2\"} 1",
        "sluice_worker_busy_ratio{worker=\"0\",cpu=\"2\"} 0.5",
        "sluice_worker_burst_packets_bucket{worker=\"0\",le=\"2\"} 3",
        "sluice_worker_burst_packets_bucket{worker=\"0\",le=\"+Inf\"} 6",
        "sluice_worker_burst_packets_count{worker=\"0\"} 6",
    ] {
        assert!(body.lines().any(|it| it == line), "{line} in\n{body}");
    }
    let mut families = std::collections::BTreeSet::new();
    for line in body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(families.insert(line.split(' ').next().unwrap().to_owned()), "{line} comes twice");
    }
    assert!(http(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(
        http(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            .starts_with("HTTP/1.1 405")
    );
}
