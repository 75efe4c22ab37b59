//! A gateway that answers as it is told, on a Unix socket, and the program run against it.
#![allow(dead_code, reason = "each test program uses its part of the fake")]

use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use api::v1;
use api::v1::config_server::{Config, ConfigServer};
use api::v1::diagnose_server::{Diagnose, DiagnoseServer};
use api::v1::sessions_server::{Sessions, SessionsServer};
use api::v1::stats_server::{Stats, StatsServer};
use tokio::runtime::Runtime;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the gateway answers.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) apply: v1::ApplyResponse,
    pub(crate) plan: Vec<v1::PlanResponse>,
    pub(crate) get: Vec<v1::GetResponse>,
    pub(crate) wait: Option<Status>,
    pub(crate) pages: Vec<v1::SessionPage>,
    pub(crate) report: v1::StatsReport,
    pub(crate) explanation: v1::ExplainResponse,
    pub(crate) fails: Option<Status>,
}

/// What the gateway was asked.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) apply: Vec<v1::ApplyRequest>,
    pub(crate) filter: Option<v1::SessionFilter>,
    pub(crate) limit: u64,
    pub(crate) waited_for: u64,
    pub(crate) explain: Option<v1::ExplainRequest>,
    pub(crate) get: Option<v1::GetRequest>,
}

#[derive(Clone)]
struct Service {
    answer: Answer,
    asked: Arc<Mutex<Asked>>,
}

impl Service {
    fn note(&self, note: impl FnOnce(&mut Asked)) -> Result<(), Status> {
        note(&mut self.asked.lock().expect("no test panics while it notes"));
        self.answer.fails.clone().map_or(Ok(()), Err)
    }
}

fn answers<T: Send + 'static>(items: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(tokio_stream::iter(items.into_iter().map(Ok))))
}

#[tonic::async_trait]
impl Config for Service {
    async fn apply(
        &self,
        request: Request<Streaming<v1::ApplyRequest>>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let mut parts = request.into_inner();
        while let Some(part) = parts.next().await {
            let part = part?;
            self.note(|asked| asked.apply.push(part))?;
        }
        Ok(Response::new(self.answer.apply.clone()))
    }

    type PlanStream = Answers<v1::PlanResponse>;
    async fn plan(
        &self,
        request: Request<Streaming<v1::ApplyRequest>>,
    ) -> Result<Response<Self::PlanStream>, Status> {
        let mut parts = request.into_inner();
        while let Some(part) = parts.next().await {
            let part = part?;
            self.note(|asked| asked.apply.push(part))?;
        }
        Ok(answers(self.answer.plan.clone()))
    }

    type GetStream = Answers<v1::GetResponse>;
    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        self.note(|asked| asked.get = Some(request.into_inner()))?;
        Ok(answers(self.answer.get.clone()))
    }

    type WatchStream = Answers<v1::WatchResponse>;
    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(answers(Vec::new()))
    }

    async fn wait_applied(
        &self,
        request: Request<v1::WaitAppliedRequest>,
    ) -> Result<Response<v1::WaitAppliedResponse>, Status> {
        let generation = request.into_inner().generation;
        self.note(|asked| asked.waited_for = generation)?;
        self.answer.wait.clone().map_or(Ok(Response::new(v1::WaitAppliedResponse { generation })), Err)
    }
}

#[tonic::async_trait]
impl Sessions for Service {
    type ListStream = Answers<v1::SessionPage>;
    async fn list(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        self.note(|asked| (asked.filter, asked.limit) = (request.filter, request.limit))?;
        Ok(answers(self.answer.pages.clone()))
    }

    async fn count(
        &self,
        request: Request<v1::CountSessionsRequest>,
    ) -> Result<Response<v1::CountSessionsResponse>, Status> {
        self.note(|asked| asked.filter = request.into_inner().filter)?;
        Ok(Response::new(v1::CountSessionsResponse { count: 1_000_000 }))
    }

    async fn kill(
        &self,
        request: Request<v1::KillSessionsRequest>,
    ) -> Result<Response<v1::KillSessionsResponse>, Status> {
        self.note(|asked| asked.filter = request.into_inner().filter)?;
        Ok(Response::new(v1::KillSessionsResponse { killed: 2 }))
    }
}

#[tonic::async_trait]
impl Stats for Service {
    async fn read(&self, _: Request<v1::ReadStatsRequest>) -> Result<Response<v1::StatsReport>, Status> {
        self.note(|_| ())?;
        Ok(Response::new(self.answer.report.clone()))
    }

    type WatchStream = Answers<v1::StatsReport>;
    async fn watch(&self, _: Request<v1::WatchStatsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.note(|_| ())?;
        Ok(answers(vec![self.answer.report.clone(); 3]))
    }
}

#[tonic::async_trait]
impl Diagnose for Service {
    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        self.note(|asked| asked.explain = Some(request.into_inner()))?;
        Ok(Response::new(self.answer.explanation.clone()))
    }
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Its output as JSON, once it has ended well.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).expect("JSON")
    }
}

/// A directory for one test, and the gateway in it.
pub(crate) struct Fake {
    pub(crate) directory: PathBuf,
    asked: Arc<Mutex<Asked>>,
    runtime: Runtime,
}

impl Fake {
    /// A directory in which nothing listens yet.
    pub(crate) fn absent() -> Fake {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sluicectl-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for the test");
        let runtime = Runtime::new().expect("a runtime");
        Fake { directory, asked: Arc::default(), runtime }
    }

    /// A gateway that listens.
    pub(crate) fn answering(answer: Answer) -> Fake {
        let fake = Fake::absent();
        fake.listen(answer);
        fake
    }

    /// Begins to listen.
    pub(crate) fn listen(&self, answer: Answer) {
        let _inside = self.runtime.enter();
        let ready = answer.report.not_ready.is_empty();
        let service = Service { answer, asked: Arc::clone(&self.asked) };
        let socket = tokio::net::UnixListener::bind(self.directory.join("api.sock")).expect("a socket");
        self.runtime.spawn(async move {
            let (reporter, health) = tonic_health::server::health_reporter();
            let status = match ready {
                true => tonic_health::ServingStatus::Serving,
                false => tonic_health::ServingStatus::NotServing,
            };
            reporter.set_service_status("", status).await;
            tonic::transport::Server::builder()
                .add_service(health)
                .add_service(ConfigServer::new(service.clone()))
                .add_service(SessionsServer::new(service.clone()))
                .add_service(StatsServer::new(service.clone()))
                .add_service(DiagnoseServer::new(service))
                .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(socket))
                .await
        });
    }

    /// Runs the program against it.
    pub(crate) fn run(&self, line: &[&str]) -> Ran {
        self.run_with_input(line, "")
    }

    /// The same, with something on standard input.
    pub(crate) fn run_with_input(&self, line: &[&str], input: &str) -> Ran {
        let gateway = format!("unix://{}", self.directory.join("api.sock").display());
        run(&[&["--gateway", &gateway], line].concat(), input)
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().expect("no test panics while it notes")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs the program.
pub(crate) fn run(line: &[&str], input: &str) -> Ran {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicectl"))
        .args(line)
        .env_remove("SLUICE_GATEWAY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the program takes its input");
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
