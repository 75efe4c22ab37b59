//! `sluice.v1.Config`, by a real client over a Unix socket.

mod support;

use std::time::{Duration, Instant};

use api::v1::apply_header::Mode;
use api::v1::refused::Reason;
use api::v1::{self, WatchResponse};
use model::Generation;
use support::*;
use tonic::Code;

#[tokio::test]
async fn a_whole_origin_is_accepted_published_and_read_back() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let parts = vec![header("operator", Mode::Whole, None), chunk(messages(DOCUMENTED), vec![])];
    let outcome = accepted(&mut client, parts.clone()).await;
    assert_eq!((outcome.generation, outcome.created, outcome.changed), (1, 9, true));
    assert_eq!(bench.gateway.published.lock().unwrap().last().unwrap().generation, Generation(1));
    let (first, all) = get(&mut client, v1::GetRequest::default()).await;
    assert_eq!(first.generation, 1);
    assert_eq!(first.origins, [v1::OriginState { origin: "operator".into(), generation: 1, objects: 9 }]);
    let read: Vec<v1::Object> = all.into_iter().map(|(_, object)| object).collect();
    assert_eq!(read, messages(DOCUMENTED));

    let again = accepted(&mut client, parts).await;
    assert_eq!((again.generation, again.changed), (1, false), "the same again changes nothing");
    assert_eq!(bench.gateway.published.lock().unwrap().len(), 2, "and is not published again");
}

#[tokio::test]
async fn get_selects_by_kind_name_and_origin() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(messages(DOCUMENTED), vec![])])
        .await;
    accepted(
        &mut client,
        vec![header("cluster-a", Mode::Whole, None), chunk(pool("other", "192.0.2.1"), vec![])],
    )
    .await;
    let of = |kind: v1::Kind, name: &str, origin: &str| v1::GetRequest {
        kind: kind.into(),
        name: name.into(),
        origin: origin.into(),
    };
    assert_eq!(get(&mut client, of(v1::Kind::EgressPool, "", "")).await.1.len(), 3);
    assert_eq!(get(&mut client, of(v1::Kind::EgressPool, "internet", "")).await.1.len(), 1);
    assert_eq!(get(&mut client, of(v1::Kind::Unspecified, "", "cluster-a")).await.1[0].0, "cluster-a");
    assert_eq!(get(&mut client, of(v1::Kind::Unspecified, "", "nobody")).await.1.len(), 0);
    let wrong = v1::GetRequest { kind: 99, ..Default::default() };
    assert_eq!(client.get(wrong).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn one_wrong_object_refuses_the_whole_change() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let mut wrong = messages(DOCUMENTED);
    let Some(v1::object::Spec::EgressPool(pool)) = &mut wrong[0].spec else { panic!("a pool") };
    pool.block_size = Some(500);
    wrong.push(v1::Object { name: "future".into(), spec: None });
    wrong.push(wrong[1].clone());
    let outcome =
        refused(&mut client, vec![header("operator", Mode::Whole, None), chunk(wrong, vec![])]).await;
    assert_eq!(outcome.reason(), Reason::Invalid);
    let faults: Vec<(&str, &str)> =
        outcome.errors.iter().map(|it| (it.name.as_str(), it.field.as_str())).collect();
    assert_eq!(faults, [("internal", "spec.blockSize"), ("future", "spec"), ("internet", "metadata.name")]);
    assert!(outcome.errors.iter().all(|it| it.origin == "operator" && !it.remedy.is_empty()));
    assert_eq!(outcome.generation, 0);
    assert_eq!(get(&mut client, v1::GetRequest::default()).await.1.len(), 0);
    assert!(bench.gateway.published.lock().unwrap().iter().all(|config| config.origins.is_empty()));
}

#[tokio::test]
async fn objects_of_two_origins_that_clash_are_refused_at_the_second() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(pool("a", "192.0.2.1"), vec![])])
        .await;
    let parts = vec![header("cluster-a", Mode::Whole, None), chunk(pool("b", "192.0.2.0/24"), vec![])];
    let outcome = refused(&mut client, parts).await;
    assert_eq!((outcome.errors[0].origin.as_str(), outcome.errors[0].name.as_str()), ("cluster-a", "b"));
    assert_eq!(outcome.errors[0].problem, "overlaps EgressPool/a (operator)");
}

#[tokio::test]
async fn a_delta_changes_what_it_names_and_nothing_else() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(messages(DOCUMENTED), vec![])])
        .await;
    accepted(
        &mut client,
        vec![header("cluster-a", Mode::Whole, None), chunk(pool("b", "192.0.2.1"), vec![])],
    )
    .await;
    let parts = vec![
        header("operator", Mode::Delta, Some(1)),
        chunk(pool("more", "192.0.2.9"), vec![key(v1::Kind::StaticMapping, "ssh")]),
        chunk(vec![], vec![key(v1::Kind::Route, "not-there")]),
    ];
    let outcome = accepted(&mut client, parts).await;
    assert_eq!((outcome.generation, outcome.created, outcome.replaced, outcome.deleted), (3, 1, 0, 1));
    let (first, _) = get(&mut client, v1::GetRequest::default()).await;
    let states: Vec<(&str, u64, u64)> =
        first.origins.iter().map(|it| (it.origin.as_str(), it.generation, it.objects)).collect();
    assert_eq!(states, [("cluster-a", 2, 1), ("operator", 3, 9)]);
}

#[tokio::test]
async fn a_delta_on_a_stale_base_is_refused_but_other_origins_do_not_make_it_stale() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let step = |base, name: &str, address: &str| {
        vec![header("operator", Mode::Delta, base), chunk(pool(name, address), vec![])]
    };
    accepted(&mut client, step(Some(0), "a", "192.0.2.1")).await;
    accepted(
        &mut client,
        vec![header("cluster-a", Mode::Whole, None), chunk(pool("b", "192.0.2.2"), vec![])],
    )
    .await;
    accepted(&mut client, step(Some(1), "c", "192.0.2.3")).await;
    for stale in [0, 1, 2, 99] {
        let outcome = refused(&mut client, step(Some(stale), "d", "192.0.2.4")).await;
        assert_eq!((outcome.reason(), outcome.generation), (Reason::Stale, 3), "base {stale}");
        assert_eq!(outcome.errors[0].field, "baseGeneration");
    }
    accepted(&mut client, step(Some(3), "d", "192.0.2.4")).await;
}

#[tokio::test]
async fn what_the_gateway_cannot_hold_is_refused_and_leaves_no_trace() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(pool("a", "192.0.2.1"), vec![])])
        .await;
    *bench.gateway.refuse.lock().unwrap() = Some("no room".into());
    for (mode, origin) in [(Mode::Delta, "operator"), (Mode::Whole, "cluster-a")] {
        let outcome =
            refused(&mut client, vec![header(origin, mode, None), chunk(pool("b", "192.0.2.2"), vec![])])
                .await;
        assert_eq!((outcome.reason(), outcome.errors[0].problem.as_str()), (Reason::DoesNotFit, "no room"));
    }
    *bench.gateway.refuse.lock().unwrap() = None;
    assert_eq!(get(&mut client, v1::GetRequest::default()).await.1.len(), 1);
    let Bench { scratch, store, server, .. } = bench;
    server.stop().await;
    drop(store);
    assert_eq!(scratch.store().unwrap().head().config.origins.values().map(|it| it.len()).sum::<usize>(), 1);
}

#[tokio::test]
async fn streams_that_are_not_as_described_are_refused() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let none = v1::ApplyRequest { part: None };
    let whole = || header("operator", Mode::Whole, None);
    let cases = [
        (vec![], "the first message is not a header"),
        (vec![chunk(vec![], vec![])], "the first message is not a header"),
        (vec![whole(), whole()], "a second header"),
        (vec![whole(), none], "a message that is neither header nor chunk"),
        (vec![header("operator", Mode::Unspecified, None)], "mode: neither MODE_WHOLE nor MODE_DELTA"),
        (vec![header("../etc", Mode::Whole, None)], "not a name for an origin"),
        (vec![whole(), chunk(vec![], vec![key(v1::Kind::Route, "x")])], "a whole content has none"),
    ];
    for (parts, text) in cases {
        let status = apply(&mut client, parts).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(text), "{status}");
    }
    let status = apply(&mut client, vec![header("file", Mode::Whole, None)]).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let twice = vec![key(v1::Kind::Route, "x"), key(v1::Kind::Route, "x"), key(v1::Kind::Unspecified, "y")];
    let outcome =
        refused(&mut client, vec![header("operator", Mode::Delta, None), chunk(vec![], twice)]).await;
    let problems: Vec<&str> = outcome.errors.iter().map(|it| it.problem.as_str()).collect();
    assert_eq!(problems, ["named twice", "not a kind"]);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_server_goes_on() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let huge = v1::Object {
        name: "x".into(),
        spec: Some(v1::object::Spec::AccessGuard(v1::AccessGuard { prefixes: vec!["x".repeat(17 << 20)] })),
    };
    let status = apply(&mut client, vec![header("operator", Mode::Whole, None), chunk(vec![huge], vec![])])
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(pool("a", "192.0.2.1"), vec![])])
        .await;
}

#[tokio::test]
async fn a_plan_says_what_would_change_and_changes_nothing() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(messages(DOCUMENTED), vec![])])
        .await;
    let mut web = messages(DOCUMENTED).into_iter().find(|it| it.name == "web").unwrap();
    let Some(v1::object::Spec::LoadBalancer(it)) = &mut web.spec else { panic!("a balancer") };
    it.backends[0].weight = Some(7);
    let mut upserts = pool("new", "192.0.2.1");
    upserts.push(web);
    let parts =
        vec![header("operator", Mode::Delta, None), chunk(upserts, vec![key(v1::Kind::Route, "pods")])];
    let mut stream = client.plan(tokio_stream::iter(parts.clone())).await.unwrap().into_inner();
    let mut changes = Vec::new();
    let mut refusal = None;
    while let Some(part) = stream.message().await.unwrap() {
        changes.extend(part.changes);
        refusal = refusal.or(part.refused);
    }
    assert_eq!(refusal, None);
    let said: Vec<(v1::planned_change::Action, Vec<String>)> =
        changes.iter().map(|it| (it.action(), it.fields.clone())).collect();
    use v1::planned_change::Action;
    let wanted = [
        (Action::Create, vec![]),
        (Action::Replace, vec!["spec.backends[0].weight".to_owned()]),
        (Action::Delete, vec![]),
    ];
    assert_eq!(said, wanted);
    *bench.gateway.refuse.lock().unwrap() = Some("no room".into());
    let mut stream = client.plan(tokio_stream::iter(parts)).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.generation, first.refused.unwrap().reason()), (1, Reason::DoesNotFit));
    assert_eq!(bench.store.head().config.generation, Generation(1));
}

#[tokio::test]
async fn warnings_come_with_acceptance() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    let mut short = pool("a", "192.0.2.1");
    let Some(v1::object::Spec::EgressPool(it)) = &mut short[0].spec else { panic!("a pool") };
    it.timeouts = Some(v1::Timeouts {
        udp: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        ..Default::default()
    });
    let parts = vec![header("operator", Mode::Whole, None), chunk(short, vec![])];
    let response = client.apply(tokio_stream::iter(parts)).await.unwrap().into_inner();
    assert_eq!(response.warnings.len(), 1);
    assert_eq!(
        (response.warnings[0].field.as_str(), response.warnings[0].value.as_str()),
        ("spec.timeouts.udp", "5s")
    );
}

async fn next(stream: &mut tonic::Streaming<WatchResponse>) -> WatchResponse {
    tokio::time::timeout(Duration::from_secs(5), stream.message()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn a_watcher_hears_everything_first_and_then_each_change() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(pool("a", "192.0.2.1"), vec![])])
        .await;
    let mut stream = client.watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let first = next(&mut stream).await;
    assert_eq!((first.generation, first.whole, first.upserts.len()), (1, true, 1));
    let delta = |name: &str, address: &str, deletes| {
        vec![header("operator", Mode::Delta, None), chunk(pool(name, address), deletes)]
    };
    accepted(&mut client, delta("b", "192.0.2.2", vec![key(v1::Kind::EgressPool, "a")])).await;
    let second = next(&mut stream).await;
    assert_eq!((second.generation, second.whole, second.upserts[0].name.as_str()), (2, false, "b"));
    assert_eq!(second.deletes, [key(v1::Kind::EgressPool, "a")]);

    let resumed = v1::WatchRequest { from_generation: Some(1), origin: String::new() };
    let mut stream = client.watch(resumed).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await, second, "from a generation on, only what was missed");
    let ahead = v1::WatchRequest { from_generation: Some(77), origin: String::new() };
    let mut stream = client.watch(ahead).await.unwrap().into_inner();
    assert!(next(&mut stream).await.whole, "a generation that is not known brings everything");
    let other = v1::WatchRequest { from_generation: Some(0), origin: "cluster-a".into() };
    let mut stream = client.watch(other).await.unwrap().into_inner();
    accepted(
        &mut client,
        vec![header("cluster-a", Mode::Whole, None), chunk(pool("z", "192.0.2.77"), vec![])],
    )
    .await;
    assert_eq!(next(&mut stream).await.origin, "cluster-a");
}

#[tokio::test]
async fn waiting_ends_when_every_worker_runs_the_generation_or_time_is_up() {
    let bench = Bench::new().await;
    let mut client = bench.config().await;
    *bench.gateway.lag.lock().unwrap() = Some(Generation(0));
    accepted(&mut client, vec![header("operator", Mode::Whole, None), chunk(pool("a", "192.0.2.1"), vec![])])
        .await;
    let wait = |generation, millis| v1::WaitAppliedRequest {
        generation,
        timeout: Some(api::duration_message(Duration::from_millis(millis))),
    };
    let status = client.wait_applied(wait(0, 50)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("worker 0 runs 0"), "{status}");
    let status = client.wait_applied(wait(9, 50)).await.unwrap_err();
    assert!(status.message().contains("not accepted yet"), "{status}");
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.wait_applied(wait(1, 10_000)).await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    *bench.gateway.lag.lock().unwrap() = None;
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_objects_go_in_and_come_back_as_streams() {
    let bench = Bench::new().await;
    let mut client = bench.config().await.max_decoding_message_size(4 << 20);
    let count = 100_000u32;
    let parts =
        std::iter::once(header("cluster-a", Mode::Whole, None)).chain((0..count / 1000).map(|block| {
            let upserts = (0..1000)
                .map(|i| {
                    let n = block * 1000 + i;
                    let subject = format!("10.{}.{}.{}/32", n >> 16, (n >> 8) & 255, n & 255);
                    let rule = v1::access_policy::Rule::default();
                    let subjects = vec![v1::PrefixExcept { prefix: subject, except: vec![] }];
                    let spec =
                        v1::object::Spec::AccessPolicy(v1::AccessPolicy { subjects, rules: vec![rule] });
                    v1::Object { name: format!("p{n}"), spec: Some(spec) }
                })
                .collect();
            chunk(upserts, vec![])
        }));
    let began = Instant::now();
    let response = client.apply(tokio_stream::iter(parts.collect::<Vec<_>>())).await.unwrap().into_inner();
    let Some(v1::apply_response::Outcome::Accepted(outcome)) = response.outcome else { panic!("refused") };
    assert_eq!(outcome.created, u64::from(count));
    let (first, all) = get(&mut client, v1::GetRequest::default()).await;
    assert_eq!((first.origins[0].objects, all.len()), (u64::from(count), count as usize));
    let mut stream = client.watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let (mut seen, mut parts) = (0, 0);
    loop {
        let part = next(&mut stream).await;
        seen += part.upserts.len();
        parts += 1;
        if !part.more {
            break;
        }
    }
    assert_eq!(seen, count as usize);
    assert!(parts > 1, "in several messages");
    println!("100,000 objects in and twice out: {:?}", began.elapsed());
}

#[tokio::test]
async fn concurrent_writers_are_one_after_the_other() {
    let bench = Bench::new().await;
    let mut tasks = Vec::new();
    for n in 1..=20u32 {
        let mut client = bench.config().await;
        tasks.push(tokio::spawn(async move {
            let parts = vec![
                header(&format!("cluster-{n}"), Mode::Whole, None),
                chunk(pool("p", &format!("192.0.2.{n}")), vec![]),
            ];
            accepted(&mut client, parts).await.generation
        }));
    }
    let mut generations = Vec::new();
    for task in tasks {
        generations.push(task.await.unwrap());
    }
    generations.sort_unstable();
    assert_eq!(generations, (1..=20).collect::<Vec<u64>>());
}
