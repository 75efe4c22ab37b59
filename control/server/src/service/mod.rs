//! The services of `sluice.v1`, each a thin translation between messages and the store or the gateway.

mod chunk;
mod config;
mod diagnose;
mod incoming;
mod sessions;
mod stats;

pub(crate) use stats::side_text;

use std::sync::Arc;
use std::time::Duration;

use api::v1::config_server::ConfigServer;
use api::v1::diagnose_server::DiagnoseServer;
use api::v1::sessions_server::SessionsServer;
use api::v1::stats_server::StatsServer;
use model::Generation;
use tokio::sync::watch;
use tonic::transport::server::Router;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::{Gateway, Store};

/// Most octets of one incoming message. A stream of them may be of any length.
const INCOMING: usize = 16 << 20;

/// What every service holds.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<Store>,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Context {
    /// Runs `work`, which may block, on a thread of its own.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Context) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let context = self.clone();
        tokio::task::spawn_blocking(move || work(&context)).await.map_err(|error| {
            tracing::error!(%error, "a call has failed");
            Status::new(Code::Internal, "the gateway failed on this call; its log says how")
        })
    }
}

/// All services behind one door.
pub(crate) fn routes(
    mut builder: tonic::transport::Server,
    context: &Context,
    health: HealthServer<impl Health>,
) -> Router {
    let router = builder
        .add_service(health)
        .add_service(ConfigServer::new(config::Service(context.clone())).max_decoding_message_size(INCOMING))
        .add_service(SessionsServer::new(sessions::Service(context.clone())))
        .add_service(StatsServer::new(stats::Service(context.clone())))
        .add_service(DiagnoseServer::new(diagnose::Service(context.clone())));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(api::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The descriptors are made with the program: if one cannot be read, the API serves without reflection.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => router.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "no reflection");
            router
        }
    }
}

/// Keeps the health service true: serving once the gateway is ready and what was on disk at start is on
/// every worker, and for as long as the gateway stays ready.
pub(crate) async fn report_health(context: Context, reporter: HealthReporter) {
    const NAMES: [&str; 5] =
        ["", "sluice.v1.Config", "sluice.v1.Sessions", "sluice.v1.Stats", "sluice.v1.Diagnose"];
    let first: Generation = context.store.head().config.generation;
    let mut applied = false;
    let mut told = None;
    let mut stopped = context.stopped.clone();
    loop {
        applied |= context.gateway.applied() >= first;
        let ready = context.blocking(|context| context.gateway.not_ready().is_none()).await.unwrap_or(false);
        let status = match applied && ready && !*stopped.borrow() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        if told != Some(status) {
            for name in NAMES {
                reporter.set_service_status(name, status).await;
            }
            told = Some(status);
        }
        if *stopped.borrow() {
            return;
        }
        let pause = tokio::time::timeout(Duration::from_millis(100), stopped.changed());
        if let Ok(Err(_)) = pause.await {
            // The server was dropped without being stopped.
            return;
        }
    }
}
