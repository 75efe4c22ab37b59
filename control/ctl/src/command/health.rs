//! `health`: whether the gateway is ready, now or within a time.

use std::time::Duration;

use api::v1;
use api::v1::stats_client::StatsClient;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayArgs};
use crate::output::{self, Format};
use crate::units;

const PAUSE: Duration = Duration::from_millis(200);

#[derive(Serialize)]
struct Health {
    ready: bool,
    node: String,
    version: String,
    generation: u64,
    uptime: u64,
    problem: String,
}

pub(crate) async fn run(args: &GatewayArgs, format: Format, wait: Option<Duration>) -> Result<(), Failure> {
    let until = Instant::now() + wait.unwrap_or_default();
    loop {
        let answer = match args.connect().await {
            Ok(gateway) => ask(&gateway).await,
            Err(failure) => Err(failure),
        };
        // Not there yet, or not ready yet: the two that waiting may mend.
        let waiting = match &answer {
            Ok(health) => !health.ready,
            Err(failure) => matches!(failure, Failure::Unreachable(_)),
        };
        if !waiting || Instant::now() >= until {
            return tell(format, answer?);
        }
        sleep(PAUSE.min(until - Instant::now())).await;
    }
}

fn tell(format: Format, health: Health) -> Result<(), Failure> {
    let text = match health.ready {
        true => format!(
            "ready: {} {}, up {}, generation {} on every worker",
            health.node,
            health.version,
            units::span(Duration::from_secs(health.uptime)),
            health.generation
        ),
        false => format!("not ready: {}", health.problem),
    };
    output::value(format, &health, &text)?;
    if health.ready { Ok(()) } else { Err(Failure::Said) }
}

async fn ask(gateway: &Gateway) -> Result<Health, Failure> {
    let check = gateway.ask(HealthCheckRequest { service: String::new() });
    let answer = HealthClient::new(gateway.channel()).check(check).await;
    let serving =
        answer.map_err(|status| gateway.failure(&status))?.into_inner().status() == ServingStatus::Serving;
    let read =
        gateway.ask(v1::ReadStatsRequest { sections: vec![v1::Section::Counters.into()], all_drops: false });
    let report = StatsClient::new(gateway.channel()).read(read).await;
    let report = report.map_err(|status| gateway.failure(&status))?.into_inner();
    let ready = serving && report.not_ready.is_empty();
    let problem = match (ready, report.not_ready.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "the gateway says no more".to_owned(),
        (false, false) => report.not_ready,
    };
    Ok(Health {
        ready,
        node: report.node,
        version: report.version,
        generation: report.generation,
        uptime: units::duration(report.uptime.as_ref()).as_secs(),
        problem,
    })
}
