//! Flows to a VIP: at the worker that owns the client's endpoint.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lb::Flow;
use model::OnDeny;
use nat::{BackendId, Direction, Hit, Notes, OpenBalanced, Pool, Side, SourceNat, Space, TcpPhase, VipId};
use snapshot::{BalancedService, Snapshot};
use wire::{Endpoint, PacketBuf, Protocol, Tuple, toeplitz};

use crate::egress::{opener, refusal, tcp_flags};
use crate::io::Io;
use crate::judge::{Judgement, Leave, judge};
use crate::opened::{BackendOf, VipPort};
use crate::reason::DropReason;
use crate::worker::{Transit, Worker};

/// Half-open sessions of a VIP over all workers; each worker has its share (RFC 4987).
pub const HALF_OPEN_PER_VIP: u32 = 16_384;
/// Full NAT leases blocks in the name of slices of clients. A slice lies wholly with one worker
/// whenever the number of workers divides this, so that ports do not depend on it then.
const SLICES: u32 = 12;

/// Why a client's packet is not balanced, and how it is answered.
pub(crate) struct Refused {
    pub(crate) reason: DropReason,
    answer: Answer,
}

enum Answer {
    /// Not at all.
    Silence,
    /// ICMP 3/13, at the subscriber's rate.
    Prohibited,
    /// TCP RST, or ICMP 3/3.
    Unreachable,
}

impl<B: PacketBuf> Worker<B> {
    /// A packet to a VIP.
    pub(crate) fn balanced<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        if let Some(hit) = self.nat.lookup(Space::Ingress, &transit.key, self.now)
            && self.still_allowed(snapshot, hit)
            && !self.begins_anew(&transit, hit)
        {
            self.counters.fast += 1;
            return self.forward(snapshot, transit, hit, io);
        }
        if let Err(reason) = opener(&transit) {
            return self.drop(transit.buf, reason);
        }
        if transit.ip.ttl <= 1 && !transit.tag.hairpin {
            return self.ttl_expired(snapshot, transit, io);
        }
        match self.open_balanced(snapshot, &transit) {
            Ok(hit) => self.forward(snapshot, transit, hit, io),
            Err(Refused { reason, answer: Answer::Unreachable }) => {
                self.unreachable(snapshot, transit, reason, io);
            }
            Err(Refused { reason, answer }) => {
                let reject = matches!(answer, Answer::Prohibited);
                self.refuse(snapshot, transit, reason, reject, io);
            }
        }
    }

    /// Does a client's SYN begin a new connection on the tuple of one that has closed? Then the old
    /// session goes, so that the table chooses: its backend may be draining by now.
    fn begins_anew(&mut self, transit: &Transit<B>, hit: Hit) -> bool {
        let begins = transit.error.is_none()
            && hit.direction == Direction::Original
            && tcp_flags(transit).is_some_and(|flags| flags.syn() && !flags.ack());
        let closed = |worker: &Self| {
            worker.nat.session(hit.session).is_some_and(|view| view.tcp == Some(TcpPhase::Closed))
        };
        let anew = begins && closed(self);
        if anew {
            self.nat.release(hit.session);
        }
        anew
    }

    fn open_balanced(&mut self, snapshot: &Snapshot, transit: &Transit<B>) -> Result<Hit, Refused> {
        let silent = |reason| Refused { reason, answer: Answer::Silence };
        let key = transit.key;
        let client = key.source;
        let Some(vip) = snapshot.vip(key.protocol, key.destination) else {
            return Err(silent(DropReason::NoMapping));
        };
        let service = vip.service;
        if !service.admits(client.address) {
            return Err(silent(DropReason::VipSourceDenied));
        }
        let flow = Flow { protocol: key.protocol, client, vip: key.destination };
        let nat = &self.nat;
        let sessions = |backend: lb::BackendId| nat.backend_sessions(BackendId(backend.0));
        // Another gateway may have had a flow seen in mid-stream: the table names the same backend
        // there. Where no table decides nobody knows which one it was.
        let begins = tcp_flags(transit).is_none_or(|flags| flags.syn());
        let chosen = match begins {
            true => service.service.choose(&flow, &mut self.balance, sessions),
            false => service.service.named(&flow),
        };
        let Some(chosen) = chosen else {
            if !begins && service.service.members().len() > 0 {
                return Err(silent(DropReason::TcpNotSyn));
            }
            let answer = match service.on_empty {
                OnDeny::Reject => Answer::Unreachable,
                OnDeny::Drop => Answer::Silence,
            };
            return Err(Refused { reason: DropReason::VipNoBackend, answer });
        };
        let backend = vip.endpoint(chosen, key.destination.port);
        let source_nat = match service.source_nat {
            // Fail closed: a pool that is not there is no leave to keep the client's address.
            Some(number) => Some(snapshot.pool(number).ok_or(silent(DropReason::HairpinNoPool))?),
            None => None,
        };
        let (pool, policy) = source_pool(snapshot, &key, backend, source_nat)?;
        if snapshot.next_hop(backend.address, 0, Side::Inside).is_none() {
            return Err(silent(DropReason::NoRoute));
        }
        let slice = toeplitz::endpoint(client.address, client.port) % SLICES;
        let random = self.random();
        let open = OpenBalanced {
            tuple: key,
            tcp: tcp_flags(transit),
            adopt: true,
            backend,
            backend_id: BackendId(chosen.id.0),
            source_nat: pool.map(|pool| SourceNat { pool, lessee: Ipv4Addr::from(slice) }),
            vip: VipId(service.id().0),
            half_open_limit: HALF_OPEN_PER_VIP / u32::from(self.workers),
            timeouts: &self.timeouts,
            notes: Notes { judged: self.judged, policy, next_hop: [0; 2] },
        };
        let opened = self.nat.open_balanced(&open, self.now, random).map_err(|e| silent(refusal(e)))?;
        self.count_opened(service, chosen, &key);
        Ok(Hit::original(opened))
    }

    /// A session to `backend` began with a packet to this service.
    fn count_opened(&mut self, service: &BalancedService, backend: &lb::Backend, key: &Tuple) {
        let Some(port) = service.port_at(key.protocol, key.destination.port) else { return };
        let id = service.id();
        let of = BackendOf { service: id, id: backend.id, address: backend.address, port: backend.port };
        let (address, protocol, first) = (key.destination.address, port.protocol, port.ports.first);
        let vip = VipPort { service: id, address, protocol, first };
        let written = service.written();
        self.opened.count(of, vip, |it| {
            written.vips.contains(&IpAddr::V4(it.address))
                && written.ports.iter().any(|p| (p.protocol, p.ports.first) == (it.protocol, it.first))
        });
    }

    /// No backend: a TCP client hears RST, any other ICMP 3/3.
    fn unreachable<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        transit: Transit<B>,
        reason: DropReason,
        io: &mut I,
    ) {
        if transit.key.protocol == Protocol::TCP {
            self.originate_rst(snapshot, &transit, io);
        } else {
            self.originate_error(snapshot, &transit, 3, 3, 0, io);
        }
        self.drop(transit.buf, reason);
    }
}

/// The pool that a balanced flow's source is taken from, if it is; and the EgressRule that
/// an inside client was judged by.
pub(crate) fn source_pool<'a>(
    snapshot: &'a Snapshot,
    key: &Tuple,
    backend: Endpoint,
    source_nat: Option<&'a Arc<Pool>>,
) -> Result<(Option<&'a Arc<Pool>>, u32), Refused> {
    let client_side = snapshot.side_of(key.source.address).unwrap_or(Side::Outside);
    let same_side = snapshot.side_of(backend.address) == Some(client_side);
    if client_side == Side::Outside {
        return match (source_nat, same_side) {
            (None, true) => Err(Refused { reason: DropReason::HairpinNoPool, answer: Answer::Silence }),
            _ => Ok((source_nat, 0)),
        };
    }
    // A pod's traffic to a VIP is judged after translation, by the backend.
    match judge(snapshot, &Tuple { destination: backend, ..*key }) {
        Judgement::Refuse { reason, reject } => {
            let answer = if reject { Answer::Prohibited } else { Answer::Silence };
            Err(Refused { reason, answer })
        }
        Judgement::Allow { leave, policy, .. } => {
            let pool = match leave {
                Leave::Snat { pool, .. } => source_nat.or(Some(pool)),
                Leave::Direct | Leave::Static { .. } => source_nat,
            };
            match (pool, same_side) {
                (None, true) => Err(Refused { reason: DropReason::HairpinNoPool, answer: Answer::Silence }),
                _ => Ok((pool, policy)),
            }
        }
    }
}
