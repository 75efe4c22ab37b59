//! One check under way: a socket, a deadline and what has been seen.
//!
//! The finding is told as soon as it is known; the connection is then closed in the polite way (FIN),
//! since a server that is reset at every check fills its log. It gets a second for that.

use model::Probe as Question;
use smoltcp::iface::{Context, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpEndpoint, IpListenEndpoint};

use crate::http::{self, Head};
use crate::schedule::{Target, TargetIndex};

/// How long a connection may take to close after the finding.
const CLOSING_TIME: Duration = Duration::from_secs(1);
/// How much of a body is read away before the connection is reset.
const MAX_BODY: usize = 64 * 1024;

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The answer that was asked for; of HTTP 200 to 399.
    Answered,
    /// The connection was reset before an answer.
    Refused,
    /// No answer in time.
    TimedOut,
    /// An HTTP answer with another status.
    Status(u16),
    /// An answer that is not HTTP, or not the expected datagram.
    Unexpected,
    /// The connection was closed before a whole answer.
    Closed,
}

impl Finding {
    /// Whether the check succeeded.
    pub fn is_success(self) -> bool {
        self == Finding::Answered
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::Answered => f.write_str("answered"),
            Finding::Refused => f.write_str("connection refused"),
            Finding::TimedOut => f.write_str("no answer in time"),
            Finding::Status(status) => write!(f, "HTTP status {status}"),
            Finding::Unexpected => f.write_str("unexpected answer"),
            Finding::Closed => f.write_str("connection closed before a whole answer"),
        }
    }
}

/// What moving a probe on has brought.
pub(crate) enum Progress {
    Nothing,
    Found(TargetIndex, Finding),
}

enum Stage {
    /// Waits for the connection only.
    Connect,
    /// Sends the request, then reads the head.
    Http { request: Vec<u8>, sent: usize, head: Vec<u8> },
    /// Waits for a datagram.
    Datagram { expect: Vec<u8> },
    /// Found; waits for the connection to close.
    Closing { body: usize },
    /// To be removed.
    Over,
}

pub(crate) struct Probe {
    /// `None` once its target is gone.
    target: Option<TargetIndex>,
    port: u16,
    remote: IpEndpoint,
    deadline: Instant,
    stage: Stage,
    socket: Option<SocketHandle>,
}

impl Probe {
    /// A probe that `open` will start; `port` is its source port.
    pub(crate) fn new(index: TargetIndex, target: &Target, port: u16, now: Instant) -> Self {
        let asked_port = target.check.port.unwrap_or(target.key.port);
        let stage = match &target.check.probe {
            Question::Tcp => Stage::Connect,
            Question::Http { path, host } => {
                let request = http::request(path, host.as_deref(), target.key.address, asked_port);
                Stage::Http { request, sent: 0, head: Vec::new() }
            }
            Question::Udp { expect, .. } => Stage::Datagram { expect: expect.clone().into_bytes() },
        };
        let remote = IpEndpoint::new(IpAddress::Ipv4(target.key.address), asked_port);
        let deadline = now + Duration::from(target.check.timeout);
        Probe { target: Some(index), port, remote, deadline, stage, socket: None }
    }

    /// Opens the socket. A target that cannot be addressed (port 0) is found out at the deadline.
    pub(crate) fn open(&mut self, sockets: &mut SocketSet<'static>, context: &mut Context, target: &Target) {
        let local = IpListenEndpoint { addr: Some(IpAddress::Ipv4(target.source)), port: self.port };
        self.socket = match &target.check.probe {
            Question::Udp { send, .. } => {
                let buffer = |octets: usize| {
                    udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; octets.max(1)])
                };
                let mut socket = udp::Socket::new(buffer(4_096), buffer(send.len()));
                let opened =
                    socket.bind(local).is_ok() && socket.send_slice(send.as_bytes(), self.remote).is_ok();
                opened.then(|| sockets.add(socket))
            }
            Question::Tcp | Question::Http { .. } => {
                let buffer = |octets| tcp::SocketBuffer::new(vec![0; octets]);
                let mut socket = tcp::Socket::new(buffer(2_048), buffer(1_024));
                socket.set_ack_delay(None);
                socket.connect(context, self.remote, local).is_ok().then(|| sockets.add(socket))
            }
        };
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    pub(crate) fn remove_from(&self, sockets: &mut SocketSet<'static>) {
        self.socket.map(|handle| sockets.remove(handle));
    }

    pub(crate) fn retarget(&mut self, kept: &[Option<TargetIndex>]) {
        self.target = self.target.and_then(|old| old.moved(kept));
    }

    /// Looks at the socket and does what comes next.
    pub(crate) fn advance(&mut self, sockets: &mut SocketSet<'static>, now: Instant) -> Progress {
        let finding = match (&mut self.stage, self.socket) {
            (Stage::Over, _) => return Progress::Nothing,
            (Stage::Closing { body }, Some(handle)) => {
                let socket = sockets.get_mut::<tcp::Socket>(handle);
                read_away(socket, body);
                if matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait) {
                    self.stage = Stage::Over;
                } else if now >= self.deadline || *body > MAX_BODY {
                    socket.abort();
                    self.stage = Stage::Over;
                }
                return Progress::Nothing;
            }
            (Stage::Connect, Some(handle)) => connected(sockets.get_mut::<tcp::Socket>(handle)),
            (Stage::Http { request, sent, head }, Some(handle)) => {
                answered(sockets.get_mut::<tcp::Socket>(handle), request, sent, head)
            }
            (Stage::Datagram { expect }, Some(handle)) => {
                replied(sockets.get_mut::<udp::Socket>(handle), self.remote, expect)
            }
            (_, None) => None,
        };
        let finding = finding.or((now >= self.deadline).then_some(Finding::TimedOut));
        match (finding, self.target) {
            (None, Some(_)) => Progress::Nothing,
            (None, None) => {
                self.end(sockets, false, now);
                Progress::Nothing
            }
            (Some(finding), target) => {
                self.end(sockets, finding != Finding::TimedOut, now);
                target.map_or(Progress::Nothing, |target| Progress::Found(target, finding))
            }
        }
    }

    /// Closes the connection: politely where the other side is there to take part in it.
    fn end(&mut self, sockets: &mut SocketSet<'static>, polite: bool, now: Instant) {
        let connection = self.socket.filter(|_| !matches!(self.stage, Stage::Datagram { .. }));
        self.stage = Stage::Over;
        let Some(socket) = connection.map(|handle| sockets.get_mut::<tcp::Socket>(handle)) else { return };
        if polite && socket.is_active() {
            socket.close();
            self.stage = Stage::Closing { body: 0 };
            self.deadline = now + CLOSING_TIME;
        } else {
            socket.abort();
        }
    }
}

fn connected(socket: &mut tcp::Socket) -> Option<Finding> {
    match socket.state() {
        tcp::State::SynSent => None,
        tcp::State::Closed => Some(Finding::Refused),
        _ => Some(Finding::Answered),
    }
}

fn answered(
    socket: &mut tcp::Socket,
    request: &[u8],
    sent: &mut usize,
    head: &mut Vec<u8>,
) -> Option<Finding> {
    if socket.can_send() {
        let rest = request.get(*sent..).unwrap_or_default();
        *sent += socket.send_slice(rest).unwrap_or(0);
    }
    while socket.can_recv() {
        let taken = socket.recv(|octets| {
            head.extend_from_slice(octets);
            (octets.len(), octets.len())
        });
        if !matches!(taken, Ok(1..)) {
            break;
        }
    }
    match http::head(head) {
        Head::Status(200..=399) => Some(Finding::Answered),
        Head::Status(status) => Some(Finding::Status(status)),
        Head::Garbage => Some(Finding::Unexpected),
        Head::Partial => match socket.state() {
            tcp::State::SynSent => None,
            tcp::State::Closed if head.is_empty() => Some(Finding::Refused),
            _ if socket.may_recv() => None,
            _ => Some(Finding::Closed),
        },
    }
}

fn replied(socket: &mut udp::Socket, remote: IpEndpoint, expect: &[u8]) -> Option<Finding> {
    while let Ok((octets, from)) = socket.recv() {
        if from.endpoint == remote {
            let right = octets.starts_with(expect);
            return Some(if right { Finding::Answered } else { Finding::Unexpected });
        }
    }
    None
}

fn read_away(socket: &mut tcp::Socket, body: &mut usize) {
    while socket.can_recv() {
        match socket.recv(|octets| (octets.len(), octets.len())) {
            Ok(octets @ 1..) => *body += octets,
            _ => break,
        }
    }
}
