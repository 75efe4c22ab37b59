//! Sessions and change: a session judged under an older snapshot is judged again at its next
//! packet. One that policy no longer allows ends there; one whose backend drains stays.

use nat::{Hit, Kind, Notes, SessionView, Side};
use snapshot::Snapshot;
use wire::PacketBuf;

use crate::balanced::source_pool;
use crate::judge::{Judgement, Leave, judge};
use crate::worker::Worker;

impl<B: PacketBuf> Worker<B> {
    /// Whether a session may go on under `snapshot`; one that may not is released here.
    #[inline]
    pub(crate) fn still_allowed(&mut self, snapshot: &Snapshot, hit: Hit) -> bool {
        self.nat.route(hit).is_some_and(|(judged, _)| judged == self.judged)
            || self.judge_again(snapshot, hit)
    }

    #[cold]
    fn judge_again(&mut self, snapshot: &Snapshot, hit: Hit) -> bool {
        let Some(view) = self.nat.session(hit.session) else { return false };
        if self.is_judged(view.judged) {
            // Policy stands; what was noted of its way may not.
            let notes = Notes { judged: self.judged, next_hop: [0; 2], ..self.nat.notes(hit.session) };
            self.nat.set_notes(hit.session, notes);
            return true;
        }
        match verdict(snapshot, &view) {
            Some(policy) => {
                let notes = Notes { judged: self.judged, policy, next_hop: [0; 2] };
                self.nat.set_notes(hit.session, notes);
                true
            }
            None => {
                self.nat.release(hit.session);
                false
            }
        }
    }
}

/// The policy number that a session goes on under; `None`: it ends.
pub(crate) fn verdict(snapshot: &Snapshot, view: &SessionView) -> Option<u32> {
    match (view.kind, view.from) {
        (Kind::Snat, Side::Inside) => {
            let Judgement::Allow { leave: Leave::Snat { pool, .. }, policy, .. } =
                judge(snapshot, &view.original)
            else {
                return None;
            };
            let outside = view.reply.destination.address;
            (Some(pool.id) == view.pool && pool.position(outside).is_some()).then_some(policy)
        }
        (Kind::Snat, Side::Outside) => {
            // Admitted by its mapping: that stands as long as its pool does.
            let outside = view.original.destination.address;
            let pool = snapshot.pools.iter().find(|p| Some(p.id) == view.pool)?;
            pool.position(outside).map(|_| 0)
        }
        (Kind::Direct, _) => match judge(snapshot, &view.original) {
            Judgement::Allow { leave: Leave::Direct, policy, .. } => Some(policy),
            _ => None,
        },
        (Kind::Static, Side::Inside) => match judge(snapshot, &view.original) {
            Judgement::Allow { leave: Leave::Static { outside }, policy, .. }
                if outside == view.reply.destination =>
            {
                Some(policy)
            }
            _ => None,
        },
        (Kind::Static, Side::Outside) => {
            let fixed = snapshot.static_by_outside(view.original.protocol, view.original.destination)?;
            (fixed.inside == view.reply.source).then_some(0)
        }
        (Kind::Balanced, _) => balanced(snapshot, view),
    }
}

fn balanced(snapshot: &Snapshot, view: &SessionView) -> Option<u32> {
    let key = view.original;
    let vip = snapshot.vip(key.protocol, key.destination)?;
    let service = vip.service;
    let backend = service.service.backend(lb::BackendId(view.backend?.0))?;
    let same = view.vip == Some(nat::VipId(service.id().0));
    if !same || !backend.standing.keeps_sessions() || !service.admits(key.source.address) {
        return None;
    }
    // The backend's endpoint moved with `targetPort`: replies from the old one are no backend's.
    let at = view.reply.source;
    if vip.endpoint(backend, key.destination.port) != at {
        return None;
    }
    let source_nat = match service.source_nat {
        Some(number) => Some(snapshot.pool(number)?),
        None => None,
    };
    let (pool, policy) = source_pool(snapshot, &key, at, source_nat).ok()?;
    let leased = view.reply.destination.address;
    let same_pool = pool.map(|p| p.id) == view.pool && pool.is_none_or(|p| p.position(leased).is_some());
    same_pool.then_some(policy)
}
