//! `sessions` and `kill`.

use std::time::Duration;

use api::v1;
use api::v1::sessions_client::SessionsClient;
use serde::Serialize;
use tokio_stream::StreamExt as _;

use crate::args::{Filter, Kill, Sessions};
use crate::endpoints::{self, End};
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayArgs, LARGEST_MESSAGE};
use crate::output::{self, Format, Listing, Row};
use crate::units::{self, count, octets, plural, span};

/// Ending a million sessions, or counting them, takes a while.
const LONG: Duration = Duration::from_secs(120);

/// One session; the JSON is a contract with scripts.
#[derive(Serialize)]
struct Line {
    protocol: String,
    inside: String,
    outside: String,
    remote: String,
    state: String,
    policy: String,
    worker: u32,
    /// Seconds.
    idle: u64,
    packets: u64,
    bytes: u64,
}

impl From<v1::Session> for Line {
    fn from(session: v1::Session) -> Self {
        Line {
            protocol: endpoints::protocol_text(session.protocol),
            inside: endpoints::text(session.inside.as_ref()),
            outside: endpoints::text(session.outside.as_ref()),
            remote: endpoints::text(session.remote.as_ref()),
            idle: units::duration(session.idle.as_ref()).as_secs(),
            state: session.state,
            policy: session.policy,
            worker: session.worker,
            packets: session.packets,
            bytes: session.bytes,
        }
    }
}

impl Row for Line {
    const HEADINGS: &'static [&'static str] = &[
        "PROTOCOL", "INSIDE", "OUTSIDE", "REMOTE", "STATE", "POLICY", ">WORKER", ">IDLE", ">PACKETS",
        ">BYTES",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.protocol.clone(),
            self.inside.clone(),
            self.outside.clone(),
            self.remote.clone(),
            self.state.clone(),
            self.policy.clone(),
            self.worker.to_string(),
            span(Duration::from_secs(self.idle)),
            count(self.packets),
            octets(self.bytes),
        ]
    }
}

/// `sessions`.
pub(crate) async fn list(gateway: &Gateway, format: Format, args: Sessions) -> Result<(), Failure> {
    let mut client = SessionsClient::new(gateway.channel()).max_decoding_message_size(LARGEST_MESSAGE);
    let filter = Some(filter(&args.filter)?);
    if args.count {
        let request = gateway.ask_within(v1::CountSessionsRequest { filter }, LONG);
        let answer = client.count(request).await.map_err(|status| gateway.failure(&status))?;
        let number = answer.into_inner().count;
        return Ok(output::value(format, &serde_json::json!({ "count": number }), &number.to_string())?);
    }
    let mut listing = Listing::new(format, std::io::BufWriter::new(std::io::stdout().lock()));
    if args.limit == Some(0) {
        return Ok(listing.end("no sessions")?);
    }
    let request =
        v1::ListSessionsRequest { filter, page_size: 0, cursor: Vec::new(), limit: args.limit.unwrap_or(0) };
    let response = client.list(request).await.map_err(|status| gateway.failure(&status))?;
    let mut pages = response.into_inner();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|status| gateway.failure(&status))?;
        let rows: Vec<Line> = page.sessions.into_iter().map(Line::from).collect();
        listing.page(&rows)?;
    }
    Ok(listing.end("no sessions")?)
}

/// `kill`.
pub(crate) async fn kill(args: &GatewayArgs, format: Format, kill: Kill) -> Result<(), Failure> {
    let filter = filter(&kill.filter)?;
    match (kill.all, filter == v1::SessionFilter::default()) {
        (false, true) => {
            return Err(Failure::Usage(
                "kill: say which sessions, as --inside 10.0.0.5, or --all; `sluicectl kill --help` lists the filters".into(),
            ));
        }
        (true, false) => return Err(Failure::Usage("kill: either --all or a filter, not both".into())),
        _ => {}
    }
    let gateway = args.connect().await?;
    let request = gateway.ask_within(v1::KillSessionsRequest { filter: Some(filter), all: kill.all }, LONG);
    let answer = SessionsClient::new(gateway.channel())
        .kill(request)
        .await
        .map_err(|status| gateway.failure(&status))?;
    let killed = answer.into_inner().killed;
    output::value(
        format,
        &serde_json::json!({ "killed": killed }),
        &format!("ended {}", plural(killed, "session")),
    )?;
    Ok(())
}

fn filter(args: &Filter) -> Result<v1::SessionFilter, Failure> {
    let ends = |end: &Option<End>| end.clone().unwrap_or_default();
    let (inside, outside, remote) = (ends(&args.inside), ends(&args.outside), ends(&args.remote));
    if args.port.is_some() && remote.ports.is_some() {
        return Err(Failure::Usage("--port is the remote port, and --remote has one already".into()));
    }
    let duration = |time: Duration| prost_types::Duration::try_from(time).ok();
    Ok(v1::SessionFilter {
        inside: inside.prefix,
        outside: outside.prefix,
        remote: remote.prefix,
        inside_ports: inside.ports,
        outside_ports: outside.ports,
        remote_ports: remote.ports.or(args.port),
        protocol: args.protocol.map(u32::from),
        policy: args.policy.clone().unwrap_or_default(),
        state: args.state.as_deref().map(str::to_ascii_lowercase).unwrap_or_default(),
        older_than: args.min_age.and_then(duration),
        idle_for: args.min_idle.and_then(duration),
        worker: args.worker.map(u32::from),
    })
}
