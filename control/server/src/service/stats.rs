//! `sluice.v1.Stats`.

use std::time::Duration;

use api::duration_message;
use api::v1::{self, Section, stats_server::Stats};
use model::Side;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Context;
use crate::server::ended;
use crate::{BackendStatus, PoolStatus, PortStatus, Totals, VipStatus, WorkerStatus};

pub(super) struct Service(pub(super) Context);

#[tonic::async_trait]
impl Stats for Service {
    async fn read(
        &self,
        request: Request<v1::ReadStatsRequest>,
    ) -> Result<Response<v1::StatsReport>, Status> {
        let request = request.into_inner();
        self.0.blocking(move |context| report(context, &request)).await.map(Response::new)
    }

    type WatchStream = ReceiverStream<Result<v1::StatsReport, Status>>;

    async fn watch(
        &self,
        request: Request<v1::WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let bad = || Status::invalid_argument("interval: not between 100 ms and 1 h");
        let interval =
            request.interval.map_or(Ok(Duration::from_secs(1)), Duration::try_from).map_err(|_| bad())?;
        if interval < Duration::from_millis(100) || interval > Duration::from_secs(3600) {
            return Err(bad());
        }
        let read = request.read.unwrap_or_default();
        let (sender, receiver) = mpsc::channel(1);
        let context = self.0.clone();
        tokio::spawn(async move {
            let stopped = ended(context.stopped.clone());
            let reports = async {
                let mut ticks = tokio::time::interval(interval);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let asked = read.clone();
                    let report = context.blocking(move |context| report(context, &asked)).await;
                    if sender.send(report).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = stopped => {
                    let _ = sender.send(Err(Status::unavailable("the gateway is stopping"))).await;
                }
                () = reports => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn report(context: &Context, request: &v1::ReadStatsRequest) -> v1::StatsReport {
    let wants = |section: Section| request.sections.is_empty() || request.sections.contains(&section.into());
    let gateway = &context.gateway;
    let identity = gateway.identity();
    let mut report = v1::StatsReport {
        node: identity.node,
        version: identity.version,
        uptime: Some(duration_message(identity.uptime)),
        generation: context.store.head().config.generation.0,
        applied: gateway.applied().0,
        not_ready: gateway.not_ready().unwrap_or_default(),
        ..v1::StatsReport::default()
    };
    if wants(Section::Counters) {
        report.totals = Some(totals(gateway.totals()));
        report.ports = gateway.ports().into_iter().map(port).collect();
    }
    if wants(Section::Pools) {
        report.pools = gateway.pools().into_iter().map(pool).collect();
    }
    if wants(Section::Backends) {
        report.backends = gateway.backends().into_iter().map(backend).collect();
        report.vips = gateway.vips().into_iter().map(vip).collect();
    }
    if wants(Section::Workers) {
        report.workers = gateway.workers().into_iter().map(worker).collect();
    }
    if wants(Section::Drops) {
        report.drops = gateway
            .drops()
            .into_iter()
            .filter(|it| request.all_drops || it.packets > 0)
            .map(|it| v1::DropReport {
                reason: it.reason,
                stage: it.stage,
                cause: it.cause,
                remedy: it.remedy,
                packets: it.packets,
            })
            .collect();
    }
    report
}

fn totals(it: Totals) -> v1::Totals {
    v1::Totals {
        received: it.received,
        originated: it.originated,
        sent: it.sent,
        handed_off: it.handed_off,
        punted: it.punted,
        held: it.held,
        dropped: it.dropped,
        sessions: it.sessions,
        mappings: it.mappings,
        sessions_opened: it.sessions_opened,
        sessions_ended: it.sessions_ended,
        conservation_error: it.conservation_error(),
    }
}

/// The word of a side, in messages and metrics.
pub(crate) fn side_text(side: Side) -> &'static str {
    match side {
        Side::Inside => "inside",
        Side::Outside => "outside",
    }
}

fn port(it: PortStatus) -> v1::PortReport {
    v1::PortReport {
        name: it.name,
        side: side_text(it.side).to_owned(),
        up: it.up,
        device: it.device,
        received_packets: it.received_packets,
        received_bytes: it.received_bytes,
        sent_packets: it.sent_packets,
        sent_bytes: it.sent_bytes,
        missed: it.missed,
        errors: it.errors,
        mac: it.mac,
        mtu: it.mtu.into(),
        addresses: it.addresses,
    }
}

fn pool(it: PoolStatus) -> v1::PoolReport {
    v1::PoolReport {
        origin: it.origin.to_string(),
        name: it.name.to_string(),
        addresses: it.addresses,
        blocks: it.blocks,
        blocks_leased: it.blocks_leased,
        ports: it.ports,
        ports_in_use: it.ports_in_use,
        mappings: it.mappings,
        sessions: it.sessions,
        subscribers: it.subscribers,
        out_of_ports: it.out_of_ports.into_iter().collect(),
        exhausted_in: it.exhausted_in.map(duration_message),
    }
}

fn backend(it: BackendStatus) -> v1::BackendReport {
    v1::BackendReport {
        origin: it.origin.to_string(),
        load_balancer: it.load_balancer.to_string(),
        address: it.address.to_string(),
        port: it.port.into(),
        state: it.state.as_str().to_owned(),
        weight: it.weight.into(),
        healthy: it.healthy,
        sessions: it.sessions,
        sessions_opened: it.sessions_opened,
        problem: it.problem,
    }
}

fn vip(it: VipStatus) -> v1::VipReport {
    v1::VipReport {
        origin: it.origin.to_string(),
        load_balancer: it.load_balancer.to_string(),
        address: it.address.to_string(),
        protocol: it.protocol.number().into(),
        port: it.ports.first.into(),
        end_port: it.ports.last.into(),
        backends: it.backends,
        sessions: it.sessions,
        sessions_opened: it.sessions_opened,
        panic: it.panic,
    }
}

fn worker(it: WorkerStatus) -> v1::WorkerReport {
    v1::WorkerReport {
        worker: it.worker.into(),
        cpu: it.cpu.into(),
        generation: it.generation.0,
        busy: it.busy,
        cycles_per_packet: it.cycles_per_packet,
        sessions: it.sessions,
        packets: it.packets,
        handed_in: it.handed_in,
        handed_out: it.handed_out,
        bursts: it.bursts.to_vec(),
        memory: it.memory,
        slow_turns: it.slow_turns.to_vec(),
    }
}
