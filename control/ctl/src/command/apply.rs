//! `apply`: a change of one origin, streamed, all or nothing.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::v1;
use api::v1::config_client::ConfigClient;
use prost::Message as _;
use serde::Serialize;

use crate::args::{Apply, Changes};
use crate::documents;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayArgs, LARGEST_MESSAGE};
use crate::output::{self, Format};
use crate::units::plural;

/// A message of the stream is closed at so many octets: far below what either end accepts.
const CHUNK: usize = 512 * 1024;
/// The gateway checks, compiles and stores a whole configuration before it answers.
const APPLY_TIME: Duration = Duration::from_secs(300);

#[derive(Serialize)]
struct Outcome {
    generation: u64,
    changed: bool,
    created: u64,
    replaced: u64,
    deleted: u64,
    /// Whether every worker runs it; absent: not waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<bool>,
}

pub(crate) async fn run(args: &GatewayArgs, format: Format, apply: Apply) -> Result<(), Failure> {
    let stream = stream(&apply.changes)?;
    let gateway = args.connect().await?;
    send(&gateway, format, stream, apply.wait).await.map(|_| ())
}

/// Sends a change and tells what came of it. Returns what was accepted.
pub(crate) async fn send(
    gateway: &Gateway,
    format: Format,
    stream: Vec<v1::ApplyRequest>,
    wait: Option<Duration>,
) -> Result<v1::Accepted, Failure> {
    let mut client = ConfigClient::new(gateway.channel()).max_decoding_message_size(LARGEST_MESSAGE);
    let parts = stream.len();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let messages = tokio_stream::iter(stream.into_iter().inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let call = client.apply(gateway.ask_within(messages, APPLY_TIME));
    let response = with_progress(call, || {
        let sent = sent.load(Ordering::Relaxed);
        if sent < parts {
            format!("sent {} of {parts} parts", sent)
        } else {
            "the gateway is at work".to_owned()
        }
    })
    .await
    .map_err(|status| gateway.failure(&status))?
    .into_inner();
    warn(&response.warnings);
    let accepted = match response.outcome {
        Some(v1::apply_response::Outcome::Accepted(accepted)) => accepted,
        Some(v1::apply_response::Outcome::Refused(refused)) => return Err(refusal(&refused)),
        None => {
            return Err(Failure::Failed(
                "the gateway's answer says nothing: is it newer than this sluicectl?".into(),
            ));
        }
    };
    if let Some(time) = wait {
        wait_applied(gateway, accepted.generation, time).await?;
    }
    let outcome = Outcome {
        generation: accepted.generation,
        changed: accepted.changed,
        created: accepted.created,
        replaced: accepted.replaced,
        deleted: accepted.deleted,
        applied: wait.map(|_| true),
    };
    output::value(format, &outcome, &sentence(&outcome))?;
    Ok(accepted)
}

/// The stream for Apply and Plan. Wrong files end here, before the gateway is asked.
pub(crate) fn stream(changes: &Changes) -> Result<Vec<v1::ApplyRequest>, Failure> {
    let origin = documents::origin(&changes.origin)?;
    let objects = documents::read(&changes.files, &origin)?;
    let mode = if changes.replace { v1::apply_header::Mode::Whole } else { v1::apply_header::Mode::Delta };
    let header =
        v1::ApplyHeader { origin: changes.origin.clone(), mode: mode.into(), base_generation: changes.base };
    let mut parts = vec![v1::ApplyRequest { part: Some(v1::apply_request::Part::Header(header)) }];
    let mut chunk = v1::ApplyChunk::default();
    let mut octets = 0;
    for object in objects.iter() {
        let object = api::object_message(&object);
        octets += object.encoded_len();
        chunk.upserts.push(object);
        if octets >= CHUNK {
            parts.push(part(std::mem::take(&mut chunk)));
            octets = 0;
        }
    }
    if !chunk.upserts.is_empty() {
        parts.push(part(chunk));
    }
    Ok(parts)
}

/// A message of the stream.
pub(crate) fn part(chunk: v1::ApplyChunk) -> v1::ApplyRequest {
    v1::ApplyRequest { part: Some(v1::apply_request::Part::Chunk(chunk)) }
}

/// Tells all faults; the failure sums them up.
pub(crate) fn refusal(refused: &v1::Refused) -> Failure {
    refused.errors.iter().for_each(|error| eprintln!("{}", fault(error)));
    if refused.more {
        eprintln!("... and more");
    }
    let faults = plural(refused.errors.len() as u64, "fault");
    let now = refused.generation;
    Failure::Failed(match refused.reason() {
        v1::refused::Reason::Stale => {
            format!(
                "refused: the origin has changed since that generation, the present one is {now}; look at it with `sluicectl get`, then apply again"
            )
        }
        v1::refused::Reason::DoesNotFit => {
            "refused: the gateway cannot hold it; it keeps what it had".to_owned()
        }
        v1::refused::Reason::NotStored => {
            "refused: the gateway could not write it to disk; look at its log and its `state` directory"
                .to_owned()
        }
        _ => format!("refused for {faults}; the gateway keeps what it had"),
    })
}

/// Tells warnings, if there are any.
pub(crate) fn warn(warnings: &[v1::ObjectError]) {
    warnings.iter().for_each(|warning| eprintln!("warning: {}", fault(warning)));
}

fn fault(error: &v1::ObjectError) -> String {
    api::error_from_message(error.clone()).to_string()
}

fn sentence(outcome: &Outcome) -> String {
    let applied = if outcome.applied == Some(true) { ", on every worker" } else { "" };
    if !outcome.changed {
        return format!("generation {}: nothing to change{applied}", outcome.generation);
    }
    let counts = [(outcome.created, "created"), (outcome.replaced, "replaced"), (outcome.deleted, "deleted")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", crate::units::count(*count)))
        .collect();
    format!("generation {}: {}{applied}", outcome.generation, counts.join(", "))
}

/// Waits until every worker runs a generation.
async fn wait_applied(gateway: &Gateway, generation: u64, time: Duration) -> Result<(), Failure> {
    let timeout = prost_types::Duration::try_from(time).ok();
    let request = v1::WaitAppliedRequest { generation, timeout };
    // The gateway keeps the time and names who is late; the call's own limit is for a gateway that is gone.
    let request = gateway.ask_within(request, time + Duration::from_secs(5));
    let mut client = ConfigClient::new(gateway.channel());
    match client.wait_applied(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == tonic::Code::DeadlineExceeded && !status.message().is_empty() => {
            Err(Failure::Failed(format!(
                "accepted as generation {generation}, but not yet on every worker: {}; see `sluicectl workers`",
                status.message()
            )))
        }
        Err(status) => Err(gateway.failure(&status)),
    }
}

/// On a terminal, tells every second how far it is once that takes more than one.
async fn with_progress<T>(call: impl Future<Output = T>, text: impl Fn() -> String) -> T {
    let mut call = std::pin::pin!(call);
    let shown = std::io::stderr().is_terminal();
    loop {
        match tokio::time::timeout(Duration::from_secs(1), &mut call).await {
            Ok(answer) => {
                if shown {
                    eprint!("\r\x1b[K");
                }
                return answer;
            }
            Err(_) if shown => {
                eprint!("\r\x1b[K{} ...", text());
                // Progress that cannot be shown is no reason to stop.
                let _ = std::io::stderr().flush();
            }
            Err(_) => {}
        }
    }
}
