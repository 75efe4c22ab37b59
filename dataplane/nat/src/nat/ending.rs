//! How sessions end, and that everything they hold goes back.

use wire::Protocol;

use super::{Nat, around};
use crate::blocks::Ported;
use crate::index::KeyHash;
use crate::mapping::MappingId;
use crate::ports::Taken;
use crate::record::{Flags, Session};
use crate::units::{Direction, Kind, SessionId, Tick};
use crate::wheel::Step;

/// How many are brought near at once: what one core waits for at a time.
const TOGETHER: usize = 16;

impl Nat {
    /// Releases sessions whose time is over, and blocks that have rested, in at most `budget` steps
    /// (a step moves or ends one). Returns how many sessions ended, and whether more is due.
    pub fn expire(&mut self, now: Tick, budget: usize) -> (usize, bool) {
        self.pass(now);
        let mut ended = 0;
        let mut left = budget;
        while left > 0 {
            let steps = self.bring_near(now, left);
            if steps == 0 {
                break;
            }
            for _ in 0..steps {
                match self.wheel.step(&mut self.sessions, now) {
                    Step::Due(id) => {
                        self.finish(SessionId(id));
                        ended += 1;
                    }
                    Step::Moved => {}
                    Step::Idle => break,
                }
                left -= 1;
            }
        }
        while left > 0 && self.ports.expire_step(now) {
            left -= 1;
        }
        (ended, left == 0)
    }

    /// Brings near what the next steps of the wheel will touch, `most` at most; how many steps that are.
    ///
    /// What a session holds is found from its record, step by step: for one session that is one wait for
    /// memory after the other, for all of a group each step is waited for together.
    fn bring_near(&mut self, now: Tick, most: usize) -> usize {
        let mut due = [SessionId(0); TOGETHER];
        let ahead = self.wheel.ahead(now);
        let steps = ahead.len().min(most).min(TOGETHER);
        for (to, id) in due.iter_mut().zip(ahead.iter().rev()) {
            *to = SessionId(*id);
        }
        let due = due.get(..steps).unwrap_or_default();
        for id in due {
            self.sessions.prefetch_whole(*id);
        }
        let mut hashes = [[KeyHash::NONE; 2]; TOGETHER];
        for (id, hashes) in due.iter().zip(&mut hashes) {
            // Some only move on.
            let Some(session) = self.sessions.get(*id).filter(|s| s.deadline <= now.0) else { continue };
            *hashes = self.sessions.prefetch_keys(session);
            if session.flags.kind() == Kind::Snat {
                self.mappings.prefetch(MappingId(self.sessions.cold(*id).tied));
            }
        }
        let mut mappings = [None; TOGETHER];
        for ((id, hashes), tied) in due.iter().zip(&hashes).zip(&mut mappings) {
            let [original, reply] = *hashes;
            if original == KeyHash::NONE {
                continue;
            }
            self.sessions.prefetch_other(original);
            self.sessions.prefetch_other(reply);
            let session = self.sessions.get(*id);
            let ported =
                |s: &&Session| s.flags.kind() == Kind::Snat && Ported::of(Protocol(s.protocol)).is_some();
            if session.filter(ported).is_some() {
                let id = MappingId(self.sessions.cold(*id).tied);
                if let Some(m) = self.mappings.get(id) {
                    self.ports.addresses.prefetch_port(m.block, m.kind, m.outside_port);
                    *tied = Some((id, m.block));
                }
            }
        }
        let around = around!(self);
        for (id, block) in mappings.iter().take(steps).flatten() {
            self.mappings.prefetch_keys(*id, &around);
            if let Some(block) = self.ports.addresses.block(*block) {
                self.ports.subscribers.prefetch_record(block.subscriber);
            }
        }
        steps
    }

    /// Ends a session and gives back all it holds. Does nothing to one that is gone.
    pub fn release(&mut self, id: SessionId) {
        if self.sessions.get(id).is_some() {
            self.wheel.remove(&mut self.sessions, id.0);
            self.finish(id);
        }
    }

    /// Ends a session that is off the wheel.
    fn finish(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id).copied() else { return };
        let tied = self.sessions.cold(id).tied;
        if Protocol(session.protocol) == Protocol::TCP
            && let Some(record) = self.sessions.tcp.get(id.0 as usize)
        {
            let phase = record.state.phase();
            self.leave_phase(id, phase);
        }
        let holder = self.holder(id, &session);
        match session.flags.kind() {
            Kind::Snat => match Ported::of(Protocol(session.protocol)) {
                Some(kind) => self.leave_mapping(id, &session, MappingId(tied), kind),
                None => {
                    if let Some(held) = self.portless.get(tied) {
                        let protocol = Protocol(session.protocol);
                        self.ports.addresses.release_remote(held.slot, protocol, session.remote());
                        self.portless.remove(tied);
                    }
                }
            },
            Kind::Balanced => {
                if let Some(count) = self.backends.get_mut(tied as usize) {
                    *count = count.saturating_sub(1);
                }
                if let Some((taken, kind)) = self.leased_source(&session) {
                    self.ports.give(kind, taken, self.now);
                }
            }
            Kind::Direct | Kind::Static => {}
        }
        self.profiles.leave(session.timer.profile());
        self.sessions.remove(id);
        self.ended += 1;
        if let Some(holder) = holder {
            if let Some(s) = self.ports.subscribers.get_mut(holder) {
                s.sessions = s.sessions.saturating_sub(1);
            }
            self.ports.count_session(holder, false);
            self.ports.forget_if_idle(holder);
        }
    }

    fn leave_mapping(&mut self, id: SessionId, session: &Session, mapping: MappingId, kind: Ported) {
        let shares = session.flags.has(Flags::BORROWS);
        if shares && let Some(pool) = self.mapping_pool(mapping) {
            pool.usage.shared = pool.usage.shared.saturating_sub(1);
        }
        let around = around!(self);
        if let Some(gone) = self.mappings.leave(mapping, id, session.remote(), !shares, &around) {
            self.ports.give(kind, Taken { block: gone.block, port: gone.outside_port }, self.now);
        }
    }

    /// The pool of a mapping.
    pub(super) fn mapping_pool(&mut self, mapping: MappingId) -> Option<&mut crate::ports::PoolState> {
        let block = self.mappings.get(mapping)?.block;
        let subscriber = self.ports.addresses.block(block)?.subscriber;
        let pool = self.ports.subscribers.get(subscriber)?.pool;
        self.ports.pool_mut(pool)
    }

    /// The leased source of a fully translated balanced session.
    pub(super) fn leased_source(&self, session: &Session) -> Option<(Taken, Ported)> {
        if session.flags.kind() != Kind::Balanced || !session.flags.has(Flags::BORROWS) {
            return None;
        }
        let source = session.key(Direction::Reply).tuple().destination;
        let kind = Ported::of(Protocol(session.protocol))?;
        let block = self.ports.leased_block(source.address, source.port, kind)?;
        Some((Taken { block, port: source.port }, kind))
    }
}
