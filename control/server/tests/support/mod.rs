//! A gateway that only remembers what it was told, and a server in front of it.
#![allow(dead_code)] // Each test file uses some of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::v1::apply_header::Mode;
use api::v1::apply_request::Part;
use api::v1::apply_response::Outcome;
use api::v1::config_client::ConfigClient;
use api::v1::{self, ApplyChunk, ApplyHeader, ApplyRequest};
use model::{Api, Config, Error, Generation, Listener, Name, Object, ObjectRef, Origin, Protocol, Side};
use server::*;
use tonic::transport::Channel;

/// Remembers what was published; every worker runs it at once unless `lag` holds it back.
pub(crate) struct FakeGateway {
    pub(crate) published: Mutex<Vec<Arc<Config>>>,
    pub(crate) lag: Mutex<Option<Generation>>,
    pub(crate) missing: Mutex<Option<String>>,
    pub(crate) refuse: Mutex<Option<String>>,
    pub(crate) sessions: Vec<SessionStatus>,
    pub(crate) killed: AtomicU64,
}

impl FakeGateway {
    pub(crate) fn new(sessions: usize) -> Arc<Self> {
        Arc::new(FakeGateway {
            published: Mutex::new(Vec::new()),
            lag: Mutex::new(None),
            missing: Mutex::new(None),
            refuse: Mutex::new(None),
            sessions: (0..sessions as u32).map(session).collect(),
            killed: AtomicU64::new(0),
        })
    }

    fn fits(&self) -> Result<(), Vec<Error>> {
        match &*self.refuse.lock().unwrap() {
            None => Ok(()),
            Some(why) => {
                let object = ObjectRef { origin: None, kind: "LoadBalancer".into(), name: "web".into() };
                Err(vec![Error::new(object, "spec.backends", "9", why.clone(), "write fewer")])
            }
        }
    }
}

fn session(i: u32) -> SessionStatus {
    let end = |net: u32, port| Endpoint { address: std::net::Ipv4Addr::from(net).into(), port };
    SessionStatus {
        protocol: if i.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp },
        inside: end(0x0a00_0000 + i / 1000, 1024 + (i % 1000) as u16),
        outside: end(0xcb00_7101, 1024 + (i % 60_000) as u16),
        remote: end(0xc633_6401, 443),
        state: if i.is_multiple_of(2) { "established" } else { "active" },
        policy: Name("default".into()),
        worker: (i % 2) as u16,
        idle: Duration::from_millis(u64::from(i)),
        age: Duration::from_secs(60),
        expires: Duration::from_secs(300),
        packets: 2,
        bytes: 128,
        kind: SessionKind::Snat,
    }
}

impl Gateway for FakeGateway {
    fn publish(&self, config: Arc<Config>) -> Result<(), Vec<Error>> {
        self.fits()?;
        self.published.lock().unwrap().push(config);
        Ok(())
    }
    fn plan(&self, _: &Config) -> Result<(), Vec<Error>> {
        self.fits()
    }
    fn applied(&self) -> Generation {
        let lag = *self.lag.lock().unwrap();
        lag.unwrap_or_else(|| self.published.lock().unwrap().last().map_or(Generation(0), |it| it.generation))
    }
    fn not_ready(&self) -> Option<String> {
        self.missing.lock().unwrap().clone()
    }
    fn identity(&self) -> Identity {
        Identity { node: "edge-1".into(), version: "0.1.0".into(), uptime: Duration::from_secs(5) }
    }
    fn workers(&self) -> Vec<WorkerStatus> {
        let generation = self.applied();
        vec![WorkerStatus {
            worker: 0,
            cpu: 2,
            generation,
            busy: 0.5,
            bursts: [1, 2, 0, 0, 0, 3, 0],
            slow_turns: [5, 1, 0],
            packets: 100,
            ..Default::default()
        }]
    }
    fn totals(&self) -> Totals {
        Totals {
            received: 10,
            originated: 2,
            sent: 8,
            dropped: 3,
            held: 1,
            sessions: self.sessions.len() as u64,
            ..Default::default()
        }
    }
    fn ports(&self) -> Vec<PortStatus> {
        vec![PortStatus {
            name: "in\"0".into(),
            side: Side::Inside,
            up: true,
            device: "net_ring0".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            addresses: vec!["10.0.0.1/24".into()],
            received_packets: 10,
            received_bytes: 1000,
            sent_packets: 8,
            sent_bytes: 800,
            missed: 0,
            errors: 0,
        }]
    }
    fn pools(&self) -> Vec<PoolStatus> {
        vec![PoolStatus {
            origin: Origin("operator".into()),
            name: Name("internet".into()),
            addresses: 1,
            blocks: 126,
            blocks_leased: 3,
            ports: 64_512,
            ports_in_use: 7,
            mappings: 7,
            sessions: 9,
            subscribers: 3,
            out_of_ports: vec![("quota".into(), 4)],
            exhausted_in: None,
        }]
    }
    fn backends(&self) -> Vec<BackendStatus> {
        let of = |last, state, healthy| BackendStatus {
            origin: Origin("operator".into()),
            load_balancer: Name("web".into()),
            address: std::net::Ipv4Addr::new(10, 0, 0, last).into(),
            port: 8080,
            state,
            weight: 1,
            healthy,
            sessions: 1,
            sessions_opened: 2,
            problem: String::new(),
        };
        vec![
            of(1, BackendLife::Active, Some(true)),
            of(2, BackendLife::Active, Some(false)),
            of(3, BackendLife::Draining, None),
        ]
    }
    fn vips(&self) -> Vec<VipStatus> {
        vec![VipStatus {
            origin: Origin("operator".into()),
            load_balancer: Name("web".into()),
            address: std::net::Ipv4Addr::new(203, 0, 113, 10).into(),
            protocol: Protocol::Tcp,
            ports: model::PortRange { first: 80, last: 80 },
            backends: 2,
            sessions: 3,
            sessions_opened: 6,
            panic: false,
        }]
    }
    fn drops(&self) -> Vec<DropCount> {
        let of = |reason: &str, packets| DropCount {
            reason: reason.into(),
            stage: "policy".into(),
            cause: "No policy selects it.".into(),
            remedy: "Write one.".into(),
            packets,
        };
        vec![of("no_egress_policy", 3), of("policy_pending", 0)]
    }
    fn sessions(&self, filter: &SessionFilter, cursor: SessionCursor, most: usize) -> SessionPage {
        // Looks at a bounded number, so that pages in the middle can be empty as on a real gateway.
        let start = cursor.position as usize;
        let end = (start + 5000).min(self.sessions.len());
        let mut page = SessionPage::default();
        let mut at = start;
        while at < end && page.sessions.len() < most {
            page.sessions.extend(Some(&self.sessions[at]).filter(|it| filter.selects(it)).cloned());
            at += 1;
        }
        page.next = (at < self.sessions.len()).then_some(SessionCursor { worker: 0, position: at as u64 });
        page
    }
    fn count_sessions(&self, filter: &SessionFilter) -> u64 {
        self.sessions.iter().filter(|it| filter.selects(it)).count() as u64
    }
    fn kill_sessions(&self, filter: &SessionFilter) -> u64 {
        let count = self.count_sessions(filter);
        self.killed.fetch_add(count, Ordering::Relaxed);
        count
    }
    fn explain(&self, question: &Question) -> Result<Explanation, String> {
        if question.port.as_deref() == Some("nowhere") {
            return Err("port: there is no port nowhere; the ports are in0, out0".into());
        }
        Ok(Explanation {
            fate: Fate::Drop,
            steps: vec![Step {
                stage: "policy".into(),
                object: "EgressPolicy/default".into(),
                origin: "operator".into(),
                matched: false,
                text: format!("{} is outside 10.0.0.0/24", question.source.address),
            }],
            worker: 1,
            generation: self.applied(),
            session: None,
            source: Some(question.source),
            destination: None,
            egress_port: None,
            next_hop: None,
            next_hop_mac: None,
            dropped: Some(self.drops().remove(0)),
            policy: None,
            pool: None,
            backend: None,
        })
    }
}

/// A directory of its own, gone at the end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("slt-server-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn store(&self) -> Result<Arc<Store>, StartError> {
        Store::open(&self.join("state"), &self.join("config.d")).map(|(store, _)| Arc::new(store))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn options(listen: Vec<Listener>) -> Options {
    Options { api: Api { listen, tls: None }, metrics: None }
}

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn unix(path: &Path) -> Options {
    options(vec![Listener::Unix(path.to_owned())])
}

/// A server on a Unix socket in a directory of its own.
pub(crate) struct Bench {
    pub(crate) scratch: Scratch,
    pub(crate) gateway: Arc<FakeGateway>,
    pub(crate) store: Arc<Store>,
    pub(crate) server: Server,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Bench::with(FakeGateway::new(0)).await
    }

    pub(crate) async fn with(gateway: Arc<FakeGateway>) -> Self {
        let scratch = Scratch::new();
        let store = scratch.store().unwrap();
        let mut options = unix(&scratch.join("api.sock"));
        options.metrics = Some(loopback());
        let server = Server::start(options, store.clone(), gateway.clone()).await.unwrap();
        Bench { scratch, gateway, store, server }
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(&self.server.unix_paths()[0]).await.unwrap()
    }

    pub(crate) async fn config(&self) -> ConfigClient<Channel> {
        ConfigClient::new(self.channel().await)
    }
}

pub(crate) async fn channel(path: &Path) -> Result<Channel, tonic::transport::Error> {
    let path = path.to_owned();
    tonic::transport::Endpoint::from_static("http://gateway")
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        }))
        .await
}

pub(crate) fn header(origin: &str, mode: Mode, base: Option<u64>) -> ApplyRequest {
    let header = ApplyHeader { origin: origin.into(), mode: mode.into(), base_generation: base };
    ApplyRequest { part: Some(Part::Header(header)) }
}

pub(crate) fn chunk(upserts: Vec<v1::Object>, deletes: Vec<v1::ObjectKey>) -> ApplyRequest {
    ApplyRequest { part: Some(Part::Chunk(ApplyChunk { upserts, deletes })) }
}

pub(crate) fn objects(text: &str) -> Vec<Object> {
    model::parse_objects(text, &Origin("operator".into())).unwrap().0.iter().collect()
}

pub(crate) fn messages(text: &str) -> Vec<v1::Object> {
    objects(text).iter().map(api::object_message).collect()
}

pub(crate) const DOCUMENTED: &str = include_str!("../../../../api/model/tests/documented.yaml");

pub(crate) fn pool(name: &str, address: &str) -> Vec<v1::Object> {
    messages(&format!(
        "{{apiVersion: sluice.dev/v1alpha1, kind: EgressPool, metadata: {{name: {name}}}, spec: {{addresses: [{address}]}}}}"
    ))
}

pub(crate) async fn apply(
    client: &mut ConfigClient<Channel>,
    parts: Vec<ApplyRequest>,
) -> Result<Outcome, tonic::Status> {
    let response = client.apply(tokio_stream::iter(parts)).await?;
    Ok(response.into_inner().outcome.unwrap())
}

pub(crate) async fn accepted(client: &mut ConfigClient<Channel>, parts: Vec<ApplyRequest>) -> v1::Accepted {
    match apply(client, parts).await.unwrap() {
        Outcome::Accepted(accepted) => accepted,
        Outcome::Refused(refused) => panic!("refused: {refused:?}"),
    }
}

pub(crate) async fn refused(client: &mut ConfigClient<Channel>, parts: Vec<ApplyRequest>) -> v1::Refused {
    match apply(client, parts).await.unwrap() {
        Outcome::Refused(refused) => refused,
        Outcome::Accepted(accepted) => panic!("accepted: {accepted:?}"),
    }
}

pub(crate) fn key(kind: v1::Kind, name: &str) -> v1::ObjectKey {
    v1::ObjectKey { kind: kind.into(), name: name.into() }
}

/// Everything of one Get: objects by origin, and the first message.
pub(crate) async fn get(
    client: &mut ConfigClient<Channel>,
    request: v1::GetRequest,
) -> (v1::GetResponse, Vec<(String, v1::Object)>) {
    let mut stream = client.get(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        all.extend(part.objects.into_iter().map(|object| (part.origin.clone(), object)));
    }
    (first, all)
}
