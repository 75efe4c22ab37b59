//! The server: its doors, its services, its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Listener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Router;

use crate::door::{self, Door};
use crate::service::{self, Context};
use crate::{Gateway, StartError, Store, http};

/// How long running calls may take to end after [`Server::stop`].
const GRACE: Duration = Duration::from_secs(5);

/// What the server listens on.
#[derive(Clone, Debug)]
pub struct Options {
    /// Doors of the gRPC API and their TLS.
    pub api: model::Api,
    /// Address of `/metrics`.
    pub metrics: Option<SocketAddr>,
}

/// A running server.
pub struct Server {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    tcp: Vec<SocketAddr>,
    unix: Vec<PathBuf>,
    metrics: Option<SocketAddr>,
}

impl Server {
    /// Opens every door, publishes what is accepted to `gateway`, and begins to answer.
    ///
    /// # Errors
    /// A door cannot be opened, TCP beyond loopback lacks TLS, or the gateway cannot hold what is on disk.
    pub async fn start(
        options: Options,
        store: Arc<Store>,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Server, StartError> {
        let tls = options.api.tls.as_ref().map(door::tls).transpose()?;
        for listener in &options.api.listen {
            if let (Listener::Tcp(address), None) = (listener, &tls)
                && !address.ip().is_loopback()
            {
                return Err(StartError::Tls {
                    field: "api.tls",
                    problem: format!(
                        "missing, and {address} of api.listen can be reached from beyond this host"
                    ),
                    remedy: "write tls: {cert, key, clientCa}, or listen on 127.0.0.1 or a Unix socket"
                        .to_owned(),
                });
            }
        }
        let mut doors = Vec::new();
        for listener in &options.api.listen {
            doors.push(door::open(listener).await?);
        }
        let metrics = match options.metrics {
            Some(address) => Some(door::tcp("metrics", address).await?),
            None => None,
        };
        let (first, publisher) = (store.head().config, gateway.clone());
        match tokio::task::spawn_blocking(move || publisher.publish(first)).await {
            Ok(published) => published.map_err(StartError::Objects)?,
            // A bug in the gateway: nothing may be served on top of it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }

        let (stop, stopped) = watch::channel(false);
        let context = Context { store, gateway, stopped: stopped.clone() };
        let mut server = Server { stop, tasks: Vec::new(), tcp: Vec::new(), unix: Vec::new(), metrics: None };
        let (reporter, health) = tonic_health::server::health_reporter();
        server.tasks.push(tokio::spawn(service::report_health(context.clone(), reporter)));
        for (door, listener) in doors.into_iter().zip(&options.api.listen) {
            let mut builder = builder();
            if let (Door::Tcp(_), Some(tls)) = (&door, &tls) {
                builder = builder.tls_config(tls.clone()).map_err(|error| StartError::Tls {
                    field: "api.tls",
                    problem: format!("{error}: certificate and key do not go together, or are broken"),
                    remedy: "write a certificate with its own key".to_owned(),
                })?;
            }
            let router = service::routes(builder, &context, health.clone());
            server.serve(door, listener, router, stopped.clone());
        }
        if let Some(listener) = metrics {
            server.metrics = listener.local_addr().ok();
            server.tasks.push(tokio::spawn(http::serve(listener, context, stopped)));
        }
        Ok(server)
    }

    fn serve(&mut self, door: Door, listener: &Listener, router: Router, stopped: watch::Receiver<bool>) {
        let ended = ended(stopped);
        match (door, listener) {
            (Door::Unix(socket, file), _) => {
                if let Listener::Unix(path) = listener {
                    self.unix.push(path.clone());
                }
                self.tasks.push(tokio::spawn(async move {
                    let incoming = UnixListenerStream::new(socket);
                    if let Err(error) = router.serve_with_incoming_shutdown(incoming, ended).await {
                        tracing::error!(%error, "the API on a Unix socket has ended");
                    }
                    drop(file);
                }));
            }
            (Door::Tcp(socket), _) => {
                self.tcp.extend(socket.local_addr());
                self.tasks.push(tokio::spawn(async move {
                    let incoming = TcpListenerStream::new(socket);
                    if let Err(error) = router.serve_with_incoming_shutdown(incoming, ended).await {
                        tracing::error!(%error, "the API on TCP has ended");
                    }
                }));
            }
        }
    }

    /// The TCP addresses of the API, with the ports that were chosen where 0 was asked for.
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// The Unix sockets of the API.
    pub fn unix_paths(&self) -> &[PathBuf] {
        &self.unix
    }

    /// The address of `/metrics`.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Takes no further calls, ends streams, gives running calls a moment, and removes the sockets.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + GRACE;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
                // Awaited so that its socket file is gone when this returns.
                let _ = task.await;
            }
        }
    }
}

/// Ends when the server is to stop.
pub(crate) async fn ended(mut stopped: watch::Receiver<bool>) {
    // An error means that the server itself is gone.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .tcp_keepalive(Some(Duration::from_secs(60)))
        .tcp_nodelay(true)
        .concurrency_limit_per_connection(256)
        .max_concurrent_streams(Some(256))
}
