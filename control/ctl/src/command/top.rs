//! `top`: the gateway live, one screen an interval. Rates are differences between two reports.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use api::v1;
use api::v1::stats_client::StatsClient;
use tokio_stream::StreamExt as _;

use crate::command::stats::{self, Backend, Pool, Worker};
use crate::failure::Failure;
use crate::gateway::{Gateway, LARGEST_MESSAGE};
use crate::output::{Format, Listing, Row};
use crate::units::{self, count, short, span};

/// Lines of each table: the worst stay visible on one screen.
const LINES: usize = 8;

pub(crate) async fn run(gateway: &Gateway, interval: Duration, screens: Option<u64>) -> Result<(), Failure> {
    let request = v1::WatchStatsRequest {
        read: Some(v1::ReadStatsRequest::default()),
        interval: prost_types::Duration::try_from(interval).ok(),
    };
    let mut client = StatsClient::new(gateway.channel()).max_decoding_message_size(LARGEST_MESSAGE);
    let response = client.watch(request).await.map_err(|status| gateway.failure(&status))?;
    let mut reports = response.into_inner();
    let (mut before, mut shown) = (None::<v1::StatsReport>, 0);
    while let Some(report) = reports.next().await {
        let report = report.map_err(|status| gateway.failure(&status))?;
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            out.write_all(b"\x1b[H\x1b[2J")?;
        }
        out.write_all(&screen(before.as_ref(), &report)?)?;
        out.flush()?;
        shown += 1;
        if screens.is_some_and(|most| shown >= most) {
            return Ok(());
        }
        before = Some(report);
    }
    Err(Failure::Unreachable("the gateway ended the stream; is sluiced stopping?".to_owned()))
}

/// One screen, as text.
fn screen(before: Option<&v1::StatsReport>, now: &v1::StatsReport) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let uptime = |report: &v1::StatsReport| units::duration(report.uptime.as_ref());
    let seconds = before.map_or(0.0, |before| uptime(now).saturating_sub(uptime(before)).as_secs_f64());
    let rate = |then: u64, now: u64| match seconds > 0.0 {
        true => format!("{}/s", short(now.saturating_sub(then) as f64 / seconds)),
        false => "-".to_owned(),
    };
    let totals = now.totals.unwrap_or_default();
    let then = before.and_then(|before| before.totals).unwrap_or_default();
    writeln!(
        out,
        "{} {}  up {}  generation {} (on every worker: {})  sessions {}  {}",
        now.node,
        now.version,
        span(uptime(now)),
        now.generation,
        now.applied,
        count(totals.sessions),
        if now.not_ready.is_empty() { "ready" } else { now.not_ready.as_str() }
    )?;
    writeln!(
        out,
        "packets in {}  out {}  dropped {}  new sessions {}  conservation error {}\n",
        rate(then.received, totals.received),
        rate(then.sent, totals.sent),
        rate(then.dropped, totals.dropped),
        rate(then.sessions_opened, totals.sessions_opened),
        totals.conservation_error
    )?;
    for port in &now.ports {
        let was = before.and_then(|before| before.ports.iter().find(|was| was.name == port.name)).cloned();
        let was = was.unwrap_or_default();
        let bits =
            |then: u64, now: u64| rate(then.saturating_mul(8), now.saturating_mul(8)).replace("/s", "bit/s");
        writeln!(
            out,
            "{:<10} {:<8} {:<5} in {:>9} {:>11}  out {:>9} {:>11}  missed {}",
            port.name,
            port.side,
            if port.up { "up" } else { "DOWN" },
            rate(was.received_packets, port.received_packets),
            bits(was.received_bytes, port.received_bytes),
            rate(was.sent_packets, port.sent_packets),
            bits(was.sent_bytes, port.sent_bytes),
            count(port.missed)
        )?;
    }
    table(&mut out, now.workers.iter().cloned().map(Worker::from))?;
    table(&mut out, now.pools.iter().cloned().map(Pool::from))?;
    table(&mut out, now.backends.iter().cloned().map(Backend::from))?;
    table(&mut out, stats::by_packets(now.drops.clone()))?;
    Ok(out)
}

/// The first lines of a table; nothing of an empty one.
fn table<R: Row>(out: &mut Vec<u8>, rows: impl IntoIterator<Item = R>) -> Result<(), Failure> {
    let rows: Vec<R> = rows.into_iter().collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut listing = Listing::new(Format::Table, &mut *out);
    listing.page(rows.get(..LINES).unwrap_or(&rows))?;
    listing.end("")?;
    if rows.len() > LINES {
        writeln!(out, "... and {} more", count((rows.len() - LINES) as u64))?;
    }
    Ok(())
}
