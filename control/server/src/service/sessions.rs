//! `sluice.v1.Sessions`.

use std::time::Duration;

use api::duration_message;
use api::v1::{self, sessions_server::Sessions};
use model::{IpNet, Name, PortRange, Protocol};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Context;
use crate::server::ended;
use crate::{Endpoint, SessionCursor, SessionFilter, SessionKind, SessionStatus};

const PAGE: usize = 1000;
const LARGEST_PAGE: u32 = 10_000;

pub(super) struct Service(pub(super) Context);

#[tonic::async_trait]
impl Sessions for Service {
    type ListStream = ReceiverStream<Result<v1::SessionPage, Status>>;

    async fn list(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let filter = filter(request.filter)?;
        let page = match request.page_size {
            0 => PAGE,
            size if size <= LARGEST_PAGE => size as usize,
            size => {
                return Err(Status::invalid_argument(format!(
                    "page_size: {size} is more than {LARGEST_PAGE}"
                )));
            }
        };
        let cursor = read_cursor(&request.cursor)?;
        let limit = if request.limit == 0 { u64::MAX } else { request.limit };
        let (sender, receiver) = mpsc::channel(2);
        let context = self.0.clone();
        tokio::spawn(async move {
            let stopped = ended(context.stopped.clone());
            tokio::select! {
                () = stopped => {
                    let _ = sender.send(Err(Status::unavailable("the gateway is stopping"))).await;
                }
                () = pages(&context, filter, cursor, page, limit, &sender) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn count(
        &self,
        request: Request<v1::CountSessionsRequest>,
    ) -> Result<Response<v1::CountSessionsResponse>, Status> {
        let filter = filter(request.into_inner().filter)?;
        let count = self.0.blocking(move |context| context.gateway.count_sessions(&filter)).await?;
        Ok(Response::new(v1::CountSessionsResponse { count }))
    }

    async fn kill(
        &self,
        request: Request<v1::KillSessionsRequest>,
    ) -> Result<Response<v1::KillSessionsResponse>, Status> {
        let request = request.into_inner();
        let filter = filter(request.filter)?;
        if filter == SessionFilter::default() && !request.all {
            return Err(Status::invalid_argument(
                "filter: selects every session of the gateway; set a field, or set all if that is what you want",
            ));
        }
        let killed = self.0.blocking(move |context| context.gateway.kill_sessions(&filter)).await?;
        Ok(Response::new(v1::KillSessionsResponse { killed }))
    }
}

/// Sends page after page until there are no more, enough, or the caller has gone.
async fn pages(
    context: &Context,
    filter: SessionFilter,
    cursor: SessionCursor,
    size: usize,
    limit: u64,
    sender: &mpsc::Sender<Result<v1::SessionPage, Status>>,
) {
    let mut cursor = cursor;
    let mut left = limit;
    while left > 0 && !sender.is_closed() {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(size);
        let (asked, from) = (filter.clone(), cursor);
        let page = context.blocking(move |context| context.gateway.sessions(&asked, from, most)).await;
        let page = match page {
            Ok(page) => page,
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
        left = left.saturating_sub(page.sessions.len() as u64);
        let next = page.next.map(write_cursor).unwrap_or_default();
        // An empty page in the middle tells nobody anything.
        if !page.sessions.is_empty() || page.next.is_none() {
            let sessions = page.sessions.iter().map(session_message).collect();
            if sender.send(Ok(v1::SessionPage { sessions, next })).await.is_err() {
                return;
            }
        }
        match page.next {
            Some(next) => cursor = next,
            None => return,
        }
    }
}

fn write_cursor(cursor: SessionCursor) -> Vec<u8> {
    [cursor.worker.to_be_bytes().as_slice(), &cursor.position.to_be_bytes()].concat()
}

fn read_cursor(bytes: &[u8]) -> Result<SessionCursor, Status> {
    if bytes.is_empty() {
        return Ok(SessionCursor::default());
    }
    let parts = bytes.split_at_checked(2);
    let parsed = parts.and_then(|(worker, position)| {
        Some(SessionCursor {
            worker: u16::from_be_bytes(worker.try_into().ok()?),
            position: u64::from_be_bytes(position.try_into().ok()?),
        })
    });
    parsed.ok_or_else(|| Status::invalid_argument("cursor: not one that this gateway gave"))
}

fn filter(message: Option<v1::SessionFilter>) -> Result<SessionFilter, Status> {
    let Some(it) = message else { return Ok(SessionFilter::default()) };
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(SessionFilter {
        inside: prefix("inside", &it.inside)?,
        outside: prefix("outside", &it.outside)?,
        remote: prefix("remote", &it.remote)?,
        inside_ports: ports("inside_ports", it.inside_ports)?,
        outside_ports: ports("outside_ports", it.outside_ports)?,
        remote_ports: ports("remote_ports", it.remote_ports)?,
        protocol: match it.protocol {
            None => None,
            Some(number) => Some(Protocol::from_number(u8::try_from(number).map_err(|_| {
                Status::invalid_argument(format!("filter.protocol: {number} is not an IP protocol number"))
            })?)),
        },
        policy: text(it.policy).map(|name| Name(name.into())),
        state: text(it.state),
        older_than: duration("older_than", it.older_than)?,
        idle_for: duration("idle_for", it.idle_for)?,
        worker: match it.worker {
            None => None,
            Some(number) => Some(u16::try_from(number).map_err(|_| {
                Status::invalid_argument(format!("filter.worker: {number} is not the number of a worker"))
            })?),
        },
    })
}

/// A prefix; one address alone is meant as itself.
fn prefix(field: &str, text: &str) -> Result<Option<IpNet>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    net.map(|net| Some(net.trunc())).map_err(|_| {
        Status::invalid_argument(format!("filter.{field}: {text:?} is neither an address nor a prefix"))
    })
}

fn ports(field: &str, range: Option<v1::PortRange>) -> Result<Option<PortRange>, Status> {
    let Some(range) = range else { return Ok(None) };
    match (u16::try_from(range.first), u16::try_from(range.last)) {
        (Ok(first), Ok(last)) if first <= last => Ok(Some(PortRange { first, last })),
        _ => Err(Status::invalid_argument(format!(
            "filter.{field}: {}-{} is not a range of ports",
            range.first, range.last
        ))),
    }
}

fn duration(field: &str, message: Option<prost_types::Duration>) -> Result<Option<Duration>, Status> {
    message
        .map(Duration::try_from)
        .transpose()
        .map_err(|_| Status::invalid_argument(format!("filter.{field}: negative")))
}

/// The message of an endpoint.
pub(super) fn endpoint_message(endpoint: Endpoint) -> v1::Endpoint {
    v1::Endpoint { address: endpoint.address.to_string(), port: endpoint.port.into() }
}

/// The message of a session.
pub(super) fn session_message(it: &SessionStatus) -> v1::Session {
    use v1::session::Kind;
    v1::Session {
        protocol: it.protocol.number().into(),
        inside: Some(endpoint_message(it.inside)),
        outside: Some(endpoint_message(it.outside)),
        remote: Some(endpoint_message(it.remote)),
        state: it.state.to_owned(),
        policy: it.policy.to_string(),
        worker: it.worker.into(),
        idle: Some(duration_message(it.idle)),
        packets: it.packets,
        bytes: it.bytes,
        kind: match it.kind {
            SessionKind::Snat => Kind::Snat,
            SessionKind::Direct => Kind::Direct,
            SessionKind::Static => Kind::Static,
            SessionKind::Balanced => Kind::Balanced,
        }
        .into(),
        age: Some(duration_message(it.age)),
        expires: Some(duration_message(it.expires)),
    }
}
