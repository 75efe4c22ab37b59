//! Sessions as the API shows them.

use std::net::IpAddr;
use std::time::Duration;

use model::{Name, Protocol};
use nat::{Kind, SessionView, Side, TcpPhase, Tick, WorkerId};
use server::{Endpoint, SessionKind, SessionStatus};
use snapshot::Snapshot;

/// A span of ticks (100 ms each).
pub(crate) fn span(ticks: u32) -> Duration {
    Duration::from_millis(u64::from(ticks) * 100)
}

/// The wire's endpoint in the API's type.
pub(crate) fn endpoint(e: wire::Endpoint) -> Endpoint {
    Endpoint { address: IpAddr::V4(e.address), port: e.port }
}

/// The API's protocol.
pub(crate) fn protocol(p: wire::Protocol) -> Protocol {
    match p.0 {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        1 => Protocol::Icmp,
        132 => Protocol::Sctp,
        n => Protocol::Other(n),
    }
}

/// The wire's protocol.
pub(crate) fn protocol_number(p: Protocol) -> wire::Protocol {
    wire::Protocol(match p {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp => 1,
        Protocol::Sctp => 132,
        Protocol::Other(n) => n,
    })
}

/// One session at time `now` on `worker`, named by the objects of `snapshot`.
pub(crate) fn status(view: &SessionView, worker: WorkerId, snapshot: &Snapshot, now: Tick) -> SessionStatus {
    let (inside, outside, remote) = ends(view);
    let state = match view.tcp {
        None => "active",
        Some(TcpPhase::Opening) => "opening",
        Some(TcpPhase::Established) => "established",
        Some(TcpPhase::Closing) => "closing",
        Some(TcpPhase::Closed) => "closed",
    };
    SessionStatus {
        protocol: protocol(view.protocol()),
        inside: endpoint(inside),
        outside: endpoint(outside),
        remote: endpoint(remote),
        state,
        policy: owner_name(view, snapshot),
        worker: worker.0,
        idle: span(now.0.saturating_sub(view.last_seen.0)),
        age: span(now.0.saturating_sub(view.opened.0)),
        expires: span(view.deadline.0.saturating_sub(now.0)),
        packets: view.packets.iter().sum(),
        bytes: view.bytes.iter().sum(),
        kind: match view.kind {
            Kind::Snat => SessionKind::Snat,
            Kind::Direct => SessionKind::Direct,
            Kind::Static => SessionKind::Static,
            Kind::Balanced => SessionKind::Balanced,
        },
    }
}

/// Inside, outside and remote end; of a balanced session backend, VIP and client.
fn ends(view: &SessionView) -> (wire::Endpoint, wire::Endpoint, wire::Endpoint) {
    match (view.kind, view.from) {
        (Kind::Balanced, _) | (_, Side::Outside) => {
            (view.reply.source, view.original.destination, view.original.source)
        }
        (_, Side::Inside) => (view.original.source, view.reply.destination, view.original.destination),
    }
}

/// Name of the object that the session exists by.
fn owner_name(view: &SessionView, snapshot: &Snapshot) -> Name {
    let fixed = |outside| {
        let hit = snapshot.static_by_outside(view.protocol(), outside)?;
        Some(snapshot.statics.mappings().get(hit.number as usize)?.name.clone())
    };
    let found = match (view.kind, view.from) {
        (Kind::Balanced, _) => {
            let id = view.vip.map(|vip| lb::ServiceId(vip.0));
            id.and_then(|id| snapshot.service(id)).map(|service| service.name.clone())
        }
        (Kind::Static, Side::Inside) => fixed(view.reply.destination),
        (Kind::Static, Side::Outside) => fixed(view.original.destination),
        (Kind::Snat, Side::Outside) => {
            let pool = view.pool.and_then(|id| snapshot.pool_by_id(id));
            pool.and_then(|number| snapshot.pool_name(number)).map(|(_, name)| name.clone())
        }
        (Kind::Snat | Kind::Direct, _) => {
            let key = &view.original;
            let (from, to) = (key.source.address, key.destination.address);
            let number = snapshot.egress.judge_number(from, to, key.protocol, key.destination.port);
            number.and_then(|n| snapshot.egress.rule(n)).map(|rule| rule.name.clone())
        }
    };
    // The object is gone; the session ends at its next packet.
    found.unwrap_or_else(|| Name("".into()))
}
