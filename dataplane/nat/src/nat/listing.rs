//! What operators and metrics ask for.

use wire::Protocol;

use super::Nat;
use crate::blocks::Ported;
use crate::mapping::MappingId;
use crate::record::{Flags, Session};
use crate::units::{BackendId, Direction, Kind, PoolId, SessionId, Side, Tick, VipId};
use crate::view::{Counts, Cursor, PoolUsage, SessionView};

impl Nat {
    /// One session; `None` when there is none of that number.
    pub fn session(&self, id: SessionId) -> Option<SessionView> {
        let session = self.sessions.get(id)?;
        Some(self.view(id, session))
    }

    fn view(&self, id: SessionId, session: &Session) -> SessionView {
        let cold = self.sessions.cold(id);
        let kind = session.flags.kind();
        let balanced = kind == Kind::Balanced;
        let (packets, bytes) = self.sessions.totals(id, session);
        let tcp = (Protocol(session.protocol) == Protocol::TCP)
            .then(|| self.sessions.tcp.get(id.0 as usize).map(|r| r.state.phase()))
            .flatten();
        SessionView {
            id,
            space: session.flags.space(Direction::Original),
            kind,
            from: if session.flags.has(Flags::FROM_OUTSIDE) { Side::Outside } else { Side::Inside },
            original: session.key(Direction::Original).tuple(),
            reply: session.key(Direction::Reply).tuple(),
            tcp,
            pool: self.session_pool(session, cold.tied),
            backend: balanced.then_some(BackendId(cold.tied)),
            vip: balanced.then_some(VipId(cold.policy)),
            opened: self.sessions.opened(id, self.now),
            last_seen: Tick(session.deadline.saturating_sub(self.profiles.span(session.timer).0)),
            deadline: Tick(session.deadline),
            judged: session.judged,
            policy: cold.policy,
            next_hop: session.next_hop,
            packets,
            bytes,
        }
    }

    fn session_pool(&self, session: &Session, tied: u32) -> Option<PoolId> {
        let subscriber_pool = |block| {
            let subscriber = self.ports.addresses.block(block)?.subscriber;
            self.ports.subscribers.get(subscriber).map(|s| s.pool)
        };
        let number = match session.flags.kind() {
            Kind::Snat if Ported::of(Protocol(session.protocol)).is_some() => {
                subscriber_pool(self.mappings.get(MappingId(tied))?.block)?
            }
            Kind::Snat => self.ports.subscribers.get(self.portless.get(tied)?.subscriber)?.pool,
            Kind::Balanced => subscriber_pool(self.leased_source(session)?.0.block)?,
            Kind::Direct | Kind::Static => return None,
        };
        Some(self.ports.pool(number)?.pool.id)
    }

    /// Walks over at most `scan` session numbers from `from`, calling `each` for live ones; where to go on,
    /// `None` at the end. Sessions that open or end meanwhile may be missed; none is seen twice.
    pub fn walk(&self, from: Cursor, scan: usize, each: &mut dyn FnMut(SessionView)) -> Option<Cursor> {
        let (ids, next) = self.page(from, scan);
        for id in ids {
            if let Some(view) = self.session(SessionId(id)) {
                each(view);
            }
        }
        next
    }

    /// The same walk, ending the sessions that `doomed` picks; adds their number to `ended`.
    pub fn kill(
        &mut self,
        from: Cursor,
        scan: usize,
        doomed: &mut dyn FnMut(&SessionView) -> bool,
        ended: &mut usize,
    ) -> Option<Cursor> {
        let (ids, next) = self.page(from, scan);
        for id in ids {
            if let Some(view) = self.session(SessionId(id))
                && doomed(&view)
            {
                self.release(SessionId(id));
                *ended += 1;
            }
        }
        next
    }

    fn page(&self, from: Cursor, scan: usize) -> (std::ops::Range<u32>, Option<Cursor>) {
        let scan = u32::try_from(scan).unwrap_or(u32::MAX).max(1);
        let used = self.sessions.used();
        let end = from.0.saturating_add(scan).min(used);
        (from.0..end, (end < used).then_some(Cursor(end)))
    }

    /// Live sessions of a backend on this worker.
    pub fn backend_sessions(&self, backend: BackendId) -> u32 {
        self.backends.get(backend.0 as usize).copied().unwrap_or(0)
    }

    /// Half-open TCP sessions of a VIP on this worker.
    pub fn half_open(&self, vip: VipId) -> u32 {
        self.vips.get(vip.0 as usize).map_or(0, |v| v.count)
    }

    /// How much is in use.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.live(),
            mappings: self.mappings.live(),
            subscribers: self.ports.subscribers.live(),
            held_syns: self.held.len(),
            opened: self.opened,
            ended: self.ended,
            half_open_evicted: self.half_open_evicted,
        }
    }

    /// What this worker uses of a pool.
    pub fn pool_usage(&self, pool: PoolId) -> PoolUsage {
        self.ports.usage(pool)
    }

    /// Octets reserved for tables. Pages never touched take no memory.
    pub fn memory(&self) -> usize {
        let timers = self.wheel.bytes();
        self.sessions.bytes() + timers + self.mappings.bytes() + self.ports.bytes() + self.held.bytes()
    }
}
