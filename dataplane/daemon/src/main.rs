//! `sluiced`: the gateway. Boots ports and workers, serves the API, ends clean.

mod boot;
mod cell;
mod clock;
mod desk;
mod devices;
mod explain;
mod findings;
mod gateway;
mod host;
mod io;
mod mesh;
mod node;
mod publish;
mod pulse;
mod sessions;
mod station;
mod status;
mod trend;
mod wake;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Parser, ValueEnum};
use model::{Config, Node, Origin};
use server::{FILE_ORIGIN, Options, Server, Store};

/// The Sluice gateway: SNAT and balanced DNAT on DPDK, programmed over gRPC.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  sluiced --check --config /etc/sluice/sluiced.yaml    is the node file right? needs no device and no root
  sluiced --config /etc/sluice/sluiced.yaml            run in the foreground until SIGTERM
  sluicectl health --wait 30s                          wait until it forwards"
)]
struct Args {
    /// The node file.
    #[arg(long, default_value = "/etc/sluice/sluiced.yaml", value_name = "FILE")]
    config: PathBuf,
    /// Check the node file and the objects of its `config` directory, and exit 0 or 1.
    #[arg(long)]
    check: bool,
    /// How log lines look.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    log(args.log_format);
    let done = if args.check { check(&args.config) } else { run(&args.config) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluiced: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs to stderr; `RUST_LOG` chooses what, `info` by default.
fn log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// One line for each error.
fn lines(errors: Vec<model::Error>) -> anyhow::Error {
    anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nsluiced: "))
}

fn read_node(path: &Path) -> anyhow::Result<Node> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read the node file {}: name it with --config, or write it", path.display())
    })?;
    let (node, warnings) = model::parse_node(&path.display().to_string(), &text).map_err(lines)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(node)
}

/// `--check`: everything that can be judged without devices.
fn check(path: &Path) -> anyhow::Result<()> {
    let node = read_node(path)?;
    let (objects, warnings) = server::read_directory(&node.config).map_err(lines)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut config = Config::default();
    config.origins.insert(Origin(FILE_ORIGIN.into()), objects);
    let facts = node::facts_without_devices(&node);
    snapshot::compile(&config, &facts, &snapshot::Health::default(), None, nat::Tick(1)).map_err(lines)?;
    println!("{}: all right", path.display());
    Ok(())
}

fn run(path: &Path) -> anyhow::Result<()> {
    let node = read_node(path)?;
    let (store, warnings) = Store::open(&node.state, &node.config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let running = boot::boot(&node)?;
    let options = Options { api: node.api.clone(), metrics: node.metrics };
    let edge = Arc::clone(&running.edge);
    let served = serve(options, Arc::new(store), edge);
    running.stop();
    served
}

/// Serves until SIGTERM or SIGINT.
fn serve(options: Options, store: Arc<Store>, edge: Arc<gateway::Edge>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sluice-api")
        .enable_all()
        .build()
        .context("cannot start the API's threads")?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let server = Server::start(options, store, edge).await?;
        for socket in server.unix_paths() {
            tracing::info!(socket = %socket.display(), "serving the API");
        }
        for address in server.tcp_addresses() {
            tracing::info!(%address, "serving the API");
        }
        if let Some(address) = server.metrics_address() {
            tracing::info!(%address, "serving /metrics");
        }
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping");
        server.stop().await;
        anyhow::Ok(())
    })?;
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(())
}

/// A worker's CPU that the machine does not have, or that is named twice.
pub(crate) fn check_cpus(cpus: &[u16]) -> anyhow::Result<()> {
    let there = node::cpus();
    for (at, cpu) in cpus.iter().enumerate() {
        if !there.contains(cpu) {
            let shown = there.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            bail!("workers[{at}]: CPU {cpu}: this machine lets sluiced run on {shown}; name one of these");
        }
        if cpus[..at].contains(cpu) {
            bail!("workers[{at}]: CPU {cpu}: named twice; give each worker a CPU of its own");
        }
    }
    Ok(())
}
