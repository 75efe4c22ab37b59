//! Packets from outside without a session: mappings and their filtering (RFC 4787 §5, RFC 5382 REQ-3).

use wire::{Endpoint, Protocol, Tuple};

use super::opening::Draft;
use super::{Nat, around};
use crate::blocks::Ported;
use crate::mapping::{Mapping, MappingId};
use crate::open::{Inbound, OpenError, Unsolicited};
use crate::tcp::opens;
use crate::units::{Kind, SessionId, Side, Space, Tick};
use crate::view::TcpPhase;

impl Nat {
    /// Decides on a packet from outside, to an outside endpoint of a pool, without a session.
    ///
    /// A mapping whose filtering admits the remote opens a session, within the subscriber's quotas. A SYN that
    /// is not admitted is held for 6 s; one that comes again meanwhile is the same one.
    pub fn inbound(&mut self, packet: &Unsolicited<'_>, now: Tick) -> Inbound {
        self.pass(now);
        let (remote, outside) = (packet.tuple.source, packet.tuple.destination);
        let tcp = packet.tuple.protocol == Protocol::TCP;
        let syn = tcp && packet.tcp.is_some_and(opens);
        let Some(kind) = Ported::of(packet.tuple.protocol) else { return Inbound::NoMapping };
        let found = self.mappings.by_outside(outside.address, outside.port, kind, &around!(self));
        let admitted = found.filter(|id| self.mappings.admits(*id, remote.address, &around!(self)));
        let mapping = admitted.and_then(|id| self.mappings.get(id).map(|m| (id, m)));
        match mapping {
            None if syn => {
                self.held.hold(&packet.tuple, packet.leased, packet.packet, now);
                Inbound::HoldSyn
            }
            None if found.is_some() => Inbound::Filtered,
            None => Inbound::NoMapping,
            Some(_) if tcp && !syn => Inbound::Refused(OpenError::TcpNotSyn),
            Some((id, mapping)) => match self.admit(packet, id, &mapping) {
                Ok(session) => Inbound::Admit(session),
                Err(error) => Inbound::Refused(error),
            },
        }
    }

    /// What [`Nat::inbound`] would say of a packet with this key, changing nothing: the inside
    /// endpoint of its mapping, and whether that admits the remote. `None`: there is no mapping.
    pub fn would_admit(&self, tuple: &Tuple) -> Option<(Endpoint, bool)> {
        let outside = tuple.destination;
        let kind = Ported::of(tuple.protocol)?;
        let id = self.mappings.by_outside(outside.address, outside.port, kind, &around!(self))?;
        let mapping = self.mappings.get(id)?;
        let subscriber = self.ports.addresses.block(mapping.block)?.subscriber;
        let inside = Endpoint::new(self.ports.subscribers.get(subscriber)?.address(), mapping.inside_port);
        Some((inside, self.mappings.admits(id, tuple.source.address, &around!(self))))
    }

    fn admit(
        &mut self,
        packet: &Unsolicited<'_>,
        id: MappingId,
        mapping: &Mapping,
    ) -> Result<SessionId, OpenError> {
        let block = self.ports.addresses.block(mapping.block).ok_or(OpenError::TableFull)?;
        let subscriber = block.subscriber;
        let s = self.ports.subscribers.get(subscriber).ok_or(OpenError::TableFull)?;
        let pool = self.ports.pool(s.pool).ok_or(OpenError::TableFull)?.pool.clone();
        let half_open = packet.tuple.protocol == Protocol::TCP;
        s.allows(&pool.settings.quotas, half_open, self.now)?;
        let inside = Endpoint::new(s.address(), mapping.inside_port);
        let source = match packet.tuple.protocol {
            Protocol::ICMP => Endpoint::new(packet.tuple.source.address, mapping.inside_port),
            _ => packet.tuple.source,
        };
        let leaving = Tuple::new(packet.tuple.protocol, source, inside);
        self.vacate(Space::Inbound, &packet.tuple)?;
        self.vacate(Space::Egress, &leaving.reversed())?;
        if self.sessions.is_full() || self.mappings.get(id) != Some(*mapping) {
            return Err(OpenError::TableFull);
        }
        let session = self.begin(&Draft {
            kind: Kind::Snat,
            from: Side::Outside,
            arriving: packet.tuple,
            leaving,
            refresh_both: pool.settings.refresh_inbound,
            borrows: false,
            tied: id.0,
            adopted: false,
            timeouts: &pool.settings.timeouts,
            notes: packet.notes,
        })?;
        let remote = packet.tuple.source.address;
        if self.mappings.join(id, session, remote, true, &around!(self)).is_err() {
            self.undo(session);
            return Err(OpenError::TableFull);
        }
        if let Some(s) = self.ports.subscribers.get_mut(subscriber) {
            s.charge(&pool.settings.quotas, false, self.now);
        }
        self.ports.count_session(subscriber, true);
        if half_open {
            self.enter_phase(session, TcpPhase::Opening);
        }
        Ok(session)
    }
}
