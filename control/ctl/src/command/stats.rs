//! `pools`, `backends`, `workers` and `drops`: one section each of the gateway's report.

use api::v1;
use api::v1::stats_client::StatsClient;
use serde::Serialize;

use crate::failure::Failure;
use crate::gateway::{Gateway, LARGEST_MESSAGE};
use crate::output::{self, Format, Row};
use crate::units::{self, count, octets, percent, short, span};

/// One section of the report, once.
async fn read(gateway: &Gateway, section: v1::Section, all_drops: bool) -> Result<v1::StatsReport, Failure> {
    let mut client = StatsClient::new(gateway.channel()).max_decoding_message_size(LARGEST_MESSAGE);
    let request = v1::ReadStatsRequest { sections: vec![section.into()], all_drops };
    let answer = client.read(gateway.ask(request)).await.map_err(|status| gateway.failure(&status))?;
    Ok(answer.into_inner())
}

#[derive(Serialize)]
pub(super) struct Pool {
    origin: String,
    name: String,
    addresses: u32,
    blocks: u64,
    blocks_leased: u64,
    ports: u64,
    ports_in_use: u64,
    mappings: u64,
    sessions: u64,
    subscribers: u64,
    out_of_ports: std::collections::BTreeMap<String, u64>,
    /// Seconds.
    exhausted_in: Option<u64>,
}

impl From<v1::PoolReport> for Pool {
    fn from(pool: v1::PoolReport) -> Self {
        Pool {
            exhausted_in: pool.exhausted_in.as_ref().map(|time| units::duration(Some(time)).as_secs()),
            origin: pool.origin,
            name: pool.name,
            addresses: pool.addresses,
            blocks: pool.blocks,
            blocks_leased: pool.blocks_leased,
            ports: pool.ports,
            ports_in_use: pool.ports_in_use,
            mappings: pool.mappings,
            sessions: pool.sessions,
            subscribers: pool.subscribers,
            out_of_ports: pool.out_of_ports.into_iter().collect(),
        }
    }
}

impl Row for Pool {
    const HEADINGS: &'static [&'static str] = &[
        "ORIGIN",
        "POOL",
        ">ADDRESSES",
        ">BLOCKS",
        ">LEASED",
        ">PORTS USED",
        ">MAPPINGS",
        ">SESSIONS",
        ">SUBSCRIBERS",
        ">REFUSED",
        ">FULL IN",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.origin.clone(),
            self.name.clone(),
            count(self.addresses.into()),
            count(self.blocks),
            share(self.blocks_leased, self.blocks),
            share(self.ports_in_use, self.ports),
            count(self.mappings),
            count(self.sessions),
            count(self.subscribers),
            count(self.out_of_ports.values().sum()),
            self.exhausted_in
                .map_or_else(|| "-".to_owned(), |seconds| span(std::time::Duration::from_secs(seconds))),
        ]
    }
}

/// `12 (3.4%)`
fn share(part: u64, whole: u64) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    format!("{} ({})", count(part), percent(share))
}

#[derive(Serialize)]
pub(super) struct Backend {
    origin: String,
    load_balancer: String,
    address: String,
    port: u32,
    state: String,
    weight: u32,
    /// Absent: it is not checked.
    healthy: Option<bool>,
    sessions: u64,
    sessions_opened: u64,
    problem: String,
}

impl From<v1::BackendReport> for Backend {
    fn from(backend: v1::BackendReport) -> Self {
        Backend {
            origin: backend.origin,
            load_balancer: backend.load_balancer,
            address: backend.address,
            port: backend.port,
            state: backend.state,
            weight: backend.weight,
            healthy: backend.healthy,
            sessions: backend.sessions,
            sessions_opened: backend.sessions_opened,
            problem: backend.problem,
        }
    }
}

impl Row for Backend {
    const HEADINGS: &'static [&'static str] = &[
        "ORIGIN",
        "SERVICE",
        "ADDRESS",
        ">PORT",
        "STATE",
        "HEALTH",
        ">WEIGHT",
        ">SESSIONS",
        ">OPENED",
        "PROBLEM",
    ];

    fn cells(&self) -> Vec<String> {
        let health = match self.healthy {
            Some(true) => "healthy",
            Some(false) => "unhealthy",
            None => "-",
        };
        let port = if self.port == 0 { "kept".to_owned() } else { self.port.to_string() };
        vec![
            self.origin.clone(),
            self.load_balancer.clone(),
            self.address.clone(),
            port,
            self.state.clone(),
            health.to_owned(),
            self.weight.to_string(),
            count(self.sessions),
            count(self.sessions_opened),
            self.problem.clone(),
        ]
    }
}

#[derive(Serialize)]
pub(super) struct Worker {
    worker: u32,
    cpu: u32,
    generation: u64,
    busy: f64,
    cycles_per_packet: f64,
    sessions: u64,
    packets: u64,
    handed_in: u64,
    handed_out: u64,
    memory: u64,
    bursts: Vec<u64>,
    /// Over 100 µs, 1 ms, 10 ms.
    slow_turns: Vec<u64>,
}

impl From<v1::WorkerReport> for Worker {
    fn from(worker: v1::WorkerReport) -> Self {
        Worker {
            worker: worker.worker,
            cpu: worker.cpu,
            generation: worker.generation,
            busy: worker.busy,
            cycles_per_packet: worker.cycles_per_packet,
            sessions: worker.sessions,
            packets: worker.packets,
            handed_in: worker.handed_in,
            handed_out: worker.handed_out,
            memory: worker.memory,
            bursts: worker.bursts,
            slow_turns: worker.slow_turns,
        }
    }
}

impl Row for Worker {
    const HEADINGS: &'static [&'static str] = &[
        ">WORKER",
        ">CPU",
        ">GENERATION",
        ">BUSY",
        ">CYCLES/PACKET",
        ">SESSIONS",
        ">PACKETS",
        ">HANDED IN",
        ">HANDED OUT",
        ">MEMORY",
        ">TURNS OVER 1 MS",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.worker.to_string(),
            self.cpu.to_string(),
            self.generation.to_string(),
            percent(self.busy),
            short(self.cycles_per_packet),
            count(self.sessions),
            count(self.packets),
            count(self.handed_in),
            count(self.handed_out),
            octets(self.memory),
            count(self.slow_turns.get(1).copied().unwrap_or(0)),
        ]
    }
}

#[derive(Serialize)]
pub(super) struct Drop {
    pub(super) reason: String,
    stage: String,
    pub(super) packets: u64,
    cause: String,
    remedy: String,
}

impl From<v1::DropReport> for Drop {
    fn from(drop: v1::DropReport) -> Self {
        let v1::DropReport { reason, stage, cause, remedy, packets } = drop;
        Drop { reason, stage, packets, cause, remedy }
    }
}

impl Row for Drop {
    const HEADINGS: &'static [&'static str] = &["REASON", "STAGE", ">PACKETS", "CAUSE"];

    fn cells(&self) -> Vec<String> {
        vec![self.reason.clone(), self.stage.clone(), count(self.packets), self.cause.clone()]
    }
}

/// Rows of reports, most dropped first.
pub(super) fn by_packets(drops: Vec<v1::DropReport>) -> Vec<Drop> {
    let mut drops: Vec<Drop> = drops.into_iter().map(Drop::from).collect();
    drops.sort_by(|one, other| other.packets.cmp(&one.packets).then_with(|| one.reason.cmp(&other.reason)));
    drops
}

/// `pools`.
pub(crate) async fn pools(gateway: &Gateway, format: Format) -> Result<(), Failure> {
    let report = read(gateway, v1::Section::Pools, false).await?;
    let rows: Vec<Pool> = report.pools.into_iter().map(Pool::from).collect();
    Ok(output::list(format, &rows, "no pools; `sluicectl apply -f` an EgressPool")?)
}

/// `backends`.
pub(crate) async fn backends(gateway: &Gateway, format: Format) -> Result<(), Failure> {
    let report = read(gateway, v1::Section::Backends, false).await?;
    let rows: Vec<Backend> = report.backends.into_iter().map(Backend::from).collect();
    Ok(output::list(format, &rows, "no backends; `sluicectl apply -f` a LoadBalancer")?)
}

/// `workers`.
pub(crate) async fn workers(gateway: &Gateway, format: Format) -> Result<(), Failure> {
    let report = read(gateway, v1::Section::Workers, false).await?;
    let rows: Vec<Worker> = report.workers.into_iter().map(Worker::from).collect();
    Ok(output::list(format, &rows, "no workers")?)
}

/// `drops`.
pub(crate) async fn drops(gateway: &Gateway, format: Format, all: bool) -> Result<(), Failure> {
    let report = read(gateway, v1::Section::Drops, all).await?;
    let rows = by_packets(report.drops);
    output::list(format, &rows, "nothing was dropped")?;
    if format == Format::Table && !rows.is_empty() {
        println!("\n`sluicectl explain-drop REASON` tells what to do about it.");
    }
    Ok(())
}
