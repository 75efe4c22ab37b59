//! Flows that inside hosts begin: at the worker that owns the inside address.

use nat::{Action, Hit, Notes, OpenEgress, OpenError, OpenStatic, Side, Space};
use snapshot::Snapshot;
use wire::{PacketBuf, TcpFlags, Transport, Tuple};

use crate::io::Io;
use crate::judge::{Judgement, Leave, judge};
use crate::reason::DropReason;
use crate::steer::{own_egress, steer_plain};
use crate::worker::{Transit, Worker};

/// Flags of a TCP packet.
pub(crate) fn tcp_flags<B>(transit: &Transit<B>) -> Option<TcpFlags> {
    match transit.ip.l4_kind {
        Transport::Tcp(tcp) => Some(tcp.flags),
        _ => None,
    }
}

/// A packet that may open a session: no ICMP error and no later fragment.
pub(crate) fn opener<B>(transit: &Transit<B>) -> Result<(), DropReason> {
    if transit.error.is_some() {
        // RFC 5508 REQ-4: an error about nothing known is dropped silently.
        return Err(DropReason::IcmpUnknown);
    }
    if transit.ip.l4_kind == Transport::LaterFragment {
        return Err(DropReason::NoSession);
    }
    Ok(())
}

/// What a refusal to open a session is counted as.
pub(crate) fn refusal(error: OpenError) -> DropReason {
    match error {
        OpenError::OutOfPorts { .. } => DropReason::OutOfPorts,
        OpenError::QuotaPorts => DropReason::QuotaPorts,
        OpenError::QuotaSessions => DropReason::QuotaSessions,
        OpenError::QuotaRate => DropReason::QuotaRate,
        OpenError::QuotaHalfOpen => DropReason::QuotaHalfOpen,
        OpenError::TableFull => DropReason::SessionTableFull,
        OpenError::NoTranslation | OpenError::Exists => DropReason::NoTranslation,
        OpenError::TcpNotSyn => DropReason::TcpNotSyn,
    }
}

impl<B: PacketBuf> Worker<B> {
    /// A packet of the flow of an inside address.
    pub(crate) fn egress<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        if let Some(hit) = self.nat.lookup(Space::Egress, &transit.key, self.now)
            && self.still_allowed(snapshot, hit)
        {
            self.counters.fast += 1;
            return self.forward(snapshot, transit, hit, io);
        }
        if let Err(reason) = opener(&transit) {
            return self.drop(transit.buf, reason);
        }
        if transit.ip.ttl <= 1 {
            return self.ttl_expired(snapshot, transit, io);
        }
        match self.open_egress(snapshot, &transit) {
            Ok(hit) => self.forward(snapshot, transit, hit, io),
            Err((reason, reject)) => self.refuse(snapshot, transit, reason, reject, io),
        }
    }

    /// Opens the session of a flow's first packet; else why not, and whether to tell the sender.
    fn open_egress(&mut self, snapshot: &Snapshot, transit: &Transit<B>) -> Result<Hit, (DropReason, bool)> {
        let key = transit.key;
        let (leave, policy, adopt) = match judge(snapshot, &key) {
            Judgement::Allow { leave, policy, adopt } => (leave, policy, adopt),
            Judgement::Refuse { reason, reject } => return Err((reason, reject)),
        };
        let to = key.destination.address;
        if snapshot.local(to).is_none() && snapshot.next_hop(to, 0, Side::Outside).is_none() {
            return Err((DropReason::NoRoute, false));
        }
        let notes = Notes { judged: self.judged, policy, next_hop: [0; 2] };
        let tcp = tcp_flags(transit);
        let opened = match leave {
            Leave::Static { outside } => {
                let translated = Tuple { source: outside, ..key };
                let open = OpenStatic {
                    tuple: key,
                    translated,
                    from: Side::Inside,
                    tcp,
                    adopt,
                    timeouts: &self.timeouts,
                    notes,
                };
                self.nat.open_static(&open, self.now)
            }
            Leave::Snat { pool, mapping, filtering, pooling } => {
                let random = self.random();
                let action = Action::Snat { pool, mapping, filtering, pooling, udp: None };
                let open = OpenEgress { tuple: key, tcp, adopt, action, notes };
                self.nat.open_egress(&open, self.now, random)
            }
            Leave::Direct => {
                let action = Action::Direct { timeouts: &self.timeouts };
                let open = OpenEgress { tuple: key, tcp, adopt, action, notes };
                self.nat.open_egress(&open, self.now, 0)
            }
        };
        match opened {
            Ok(id) => Ok(Hit::original(id)),
            Err(error) => {
                let reason = refusal(error);
                Err((reason, reason != DropReason::TcpNotSyn))
            }
        }
    }

    /// A packet that may be a balanced flow's reply, and is else its sender's own.
    pub(crate) fn balanced_reply<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        if let Some(hit) = self.nat.lookup(Space::Ingress, &transit.key, self.now)
            && self.still_allowed(snapshot, hit)
        {
            self.counters.fast += 1;
            return self.forward(snapshot, transit, hit, io);
        }
        let side = snapshot.port(transit.tag.port).map_or(Side::Outside, |p| p.side);
        let echo = matches!(transit.ip.l4_kind, Transport::Echo { request: true, .. });
        let steered = steer_plain(snapshot, &transit.key, side, echo, self.workers);
        self.dispatch(snapshot, transit, steered, io);
    }

    /// A packet between inside hosts that may be a reply, and is else its sender's own.
    pub(crate) fn returned<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        if let Some(hit) = self.nat.lookup(Space::Inbound, &transit.key, self.now)
            && self.still_allowed(snapshot, hit)
        {
            self.counters.fast += 1;
            return self.forward(snapshot, transit, hit, io);
        }
        let steered = own_egress(&transit.key, self.workers);
        self.dispatch(snapshot, transit, steered, io);
    }
}
