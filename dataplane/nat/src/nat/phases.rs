//! What a TCP session's phase changes around it: its timer, quotas and lists.
//!
//! A half-open balanced session is in its VIP's list, so that the oldest can go first; a closed
//! one with an outside port of its own is in its subscriber's, so that the longest closed can
//! give its port. Both lists run through the TCP records, and a session is in one at most.

use wire::TcpSummary;

use super::Nat;
use crate::blocks::Ported;
use crate::mapping::MappingId;
use crate::record::{Flags, Session, TcpRecord};
use crate::subscriber::List;
use crate::timeouts::Idle;
use crate::units::{Hit, Kind, SessionId};
use crate::view::TcpPhase;
use crate::wheel::NIL;

fn push(records: &mut [TcpRecord], list: &mut List, id: SessionId) {
    if let Some(r) = records.get_mut(id.0 as usize) {
        r.links = [NIL, list.last];
    }
    match records.get_mut(list.last as usize).filter(|_| list.last != NIL) {
        Some(last) => last.links[0] = id.0,
        None => list.first = id.0,
    }
    list.last = id.0;
}

fn unlink(records: &mut [TcpRecord], list: &mut List, id: SessionId) {
    let Some([next, previous]) = records.get(id.0 as usize).map(|r| r.links) else { return };
    match records.get_mut(previous as usize).filter(|_| previous != NIL) {
        Some(before) => before.links[0] = next,
        None => list.first = next,
    }
    match records.get_mut(next as usize).filter(|_| next != NIL) {
        Some(after) => after.links[1] = previous,
        None => list.last = previous,
    }
}

impl Nat {
    /// Follows a TCP segment with valid flags.
    pub(super) fn follow(&mut self, hit: Hit, segment: &TcpSummary, scale: impl FnOnce() -> Option<u8>) {
        let Some(record) = self.sessions.tcp.get_mut(hit.session.0 as usize) else { return };
        let before = record.state.phase();
        let counts = record.state.follow(hit.direction, segment, scale);
        let after = record.state.phase();
        if before != after {
            self.change_phase(hit.session, before, after);
        } else if counts
            && let Some(session) = self.sessions.get_mut(hit.session)
            && session.flags.refreshed_by(hit.direction)
        {
            session.deadline = (self.now + self.profiles.span(session.timer)).0;
        }
    }

    fn change_phase(&mut self, id: SessionId, before: TcpPhase, after: TcpPhase) {
        self.leave_phase(id, before);
        let idle = Idle::of_phase(after);
        let deadline = (self.now + self.span(id, idle)).0;
        let Some(session) = self.sessions.get_mut(id) else { return };
        let earlier = deadline < session.deadline;
        session.timer = session.timer.with(idle);
        session.deadline = deadline;
        if earlier {
            // Only an earlier deadline must be told.
            self.wheel.remove(&mut self.sessions, id.0);
            self.wheel.insert(&mut self.sessions, id.0);
        }
        self.enter_phase(id, after);
    }

    pub(super) fn enter_phase(&mut self, id: SessionId, phase: TcpPhase) {
        let Some(session) = self.sessions.get(id).copied() else { return };
        match phase {
            TcpPhase::Opening => {
                if session.flags.kind() == Kind::Balanced {
                    let vip = self.sessions.cold(id).policy as usize;
                    if let Some(vip) = self.vips.get_mut(vip) {
                        push(&mut self.sessions.tcp, &mut vip.list, id);
                        vip.count += 1;
                    }
                } else if let Some(s) =
                    self.holder(id, &session).and_then(|s| self.ports.subscribers.get_mut(s))
                {
                    s.half_open = s.half_open.saturating_add(1);
                }
            }
            TcpPhase::Closed => {
                if let Some(s) = self.recycler(id, &session).and_then(|s| self.ports.subscribers.get_mut(s)) {
                    push(&mut self.sessions.tcp, &mut s.closed, id);
                }
            }
            TcpPhase::Established | TcpPhase::Closing => {}
        }
    }

    pub(super) fn leave_phase(&mut self, id: SessionId, phase: TcpPhase) {
        let Some(session) = self.sessions.get(id).copied() else { return };
        match phase {
            TcpPhase::Opening => {
                if session.flags.kind() == Kind::Balanced {
                    let vip = self.sessions.cold(id).policy as usize;
                    if let Some(vip) = self.vips.get_mut(vip) {
                        unlink(&mut self.sessions.tcp, &mut vip.list, id);
                        vip.count = vip.count.saturating_sub(1);
                    }
                } else if let Some(s) =
                    self.holder(id, &session).and_then(|s| self.ports.subscribers.get_mut(s))
                {
                    s.half_open = s.half_open.saturating_sub(1);
                }
            }
            TcpPhase::Closed => {
                if let Some(s) = self.recycler(id, &session).and_then(|s| self.ports.subscribers.get_mut(s)) {
                    unlink(&mut self.sessions.tcp, &mut s.closed, id);
                }
            }
            TcpPhase::Established | TcpPhase::Closing => {}
        }
    }

    /// The subscriber whose quotas a session counts against.
    pub(super) fn holder(&self, id: SessionId, session: &Session) -> Option<u32> {
        let tied = self.sessions.cold(id).tied;
        match session.flags.kind() {
            Kind::Snat => match Ported::of(wire::Protocol(session.protocol)) {
                Some(_) => {
                    let block = self.mappings.get(MappingId(tied))?.block;
                    self.ports.addresses.block(block).map(|b| b.subscriber)
                }
                None => self.portless.get(tied).map(|p| p.subscriber),
            },
            Kind::Balanced if session.flags.has(Flags::BORROWS) => {
                let (taken, _) = self.leased_source(session)?;
                self.ports.addresses.block(taken.block).map(|b| b.subscriber)
            }
            _ => None,
        }
    }

    /// The subscriber that may take a closed session's port back.
    fn recycler(&self, id: SessionId, session: &Session) -> Option<u32> {
        let own_port = match session.flags.kind() {
            Kind::Snat => !session.flags.has(Flags::BORROWS),
            Kind::Balanced => session.flags.has(Flags::BORROWS),
            _ => false,
        };
        if own_port { self.holder(id, session) } else { None }
    }
}
