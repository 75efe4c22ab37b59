//! Sessions of VIPs: the destination becomes a backend, and under full NAT the source a leased port.
//!
//! Half-open sessions are bounded per VIP: the oldest go first, established ones never.

use wire::{Endpoint, Protocol, Tuple};

use super::acquire::{Acquired, Wanted};
use super::opening::{Draft, beginning};
use super::{HalfOpen, Nat};
use crate::blocks::Ported;
use crate::open::{Notes, OpenBalanced, OpenError};
use crate::pool::PoolingBehavior;
use crate::ports::{Draws, Taken};
use crate::subscriber::List;
use crate::units::{Kind, SessionId, Side, Space, Tick};
use crate::view::TcpPhase;

impl Nat {
    /// Opens a session of a VIP. Over the VIP's bound of half-open sessions, the oldest of them go first.
    pub fn open_balanced(
        &mut self,
        open: &OpenBalanced<'_>,
        now: Tick,
        random: u64,
    ) -> Result<SessionId, OpenError> {
        self.pass(now);
        let adopted = beginning(open.tuple.protocol, open.tcp, open.adopt)?;
        let half_open = open.tuple.protocol == Protocol::TCP && !adopted;
        self.vacate(Space::Ingress, &open.tuple)?;
        let vip = open.vip.0 as usize;
        if self.vips.len() <= vip {
            self.vips.resize(vip + 1, HalfOpen { list: List::EMPTY, count: 0 });
        }
        if half_open && open.half_open_limit != 0 {
            while let Some(HalfOpen { list, count }) = self.vips.get(vip).copied()
                && count >= open.half_open_limit
                && let Some(oldest) = list.first()
            {
                self.release(oldest);
                self.half_open_evicted += 1;
            }
        }
        if self.sessions.is_full() {
            return Err(OpenError::TableFull);
        }
        let source = match &open.source_nat {
            None => None,
            Some(nat) => {
                let kind = Ported::of(open.tuple.protocol).ok_or(OpenError::NoTranslation)?;
                let pool = self.ports.attach(nat.pool);
                let lessee = self.ports.subscriber(pool, nat.lessee, now).ok_or(OpenError::TableFull)?;
                let taken = self.acquire(&Wanted {
                    subscriber: lessee,
                    kind,
                    pooling: PoolingBehavior::Arbitrary,
                    remote: open.backend,
                    bounded: false,
                    draws: Draws(random),
                });
                match taken {
                    Ok(Acquired::Own(taken) | Acquired::Shared(_, taken)) => Some((lessee, taken, kind)),
                    Err(error) => {
                        self.ports.forget_if_idle(lessee);
                        return Err(error);
                    }
                }
            }
        };
        let opened = self.begin_balanced(open, source.as_ref().map(|s| s.1), adopted);
        match (opened, source) {
            (Ok(id), source) => {
                if let Some((lessee, ..)) = source
                    && let Some(s) = self.ports.subscribers.get_mut(lessee)
                {
                    s.sessions = s.sessions.saturating_add(1);
                    self.ports.count_session(lessee, true);
                }
                if half_open {
                    self.enter_phase(id, TcpPhase::Opening);
                }
                Ok(id)
            }
            (Err(error), source) => {
                if let Some((_, taken, kind)) = source {
                    self.ports.give(kind, taken, self.now);
                }
                Err(error)
            }
        }
    }

    fn begin_balanced(
        &mut self,
        open: &OpenBalanced<'_>,
        source: Option<Taken>,
        adopted: bool,
    ) -> Result<SessionId, OpenError> {
        let client = match source {
            None => open.tuple.source,
            Some(taken) => {
                let address = self.ports.addresses.get(taken.block.slot()).map(|a| a.address);
                Endpoint::new(address.ok_or(OpenError::TableFull)?, taken.port)
            }
        };
        let leaving = Tuple::new(open.tuple.protocol, client, open.backend);
        // A client uses its port again, towards another VIP with the same backend: the connection that
        // has closed makes room.
        if source.is_none()
            && let Some((old, _)) = self.find(Space::Ingress, &leaving.reversed())
            && open.tuple.protocol == Protocol::TCP
            && self.sessions.tcp.get(old.0 as usize).is_some_and(|r| r.state.phase() == TcpPhase::Closed)
        {
            self.release(old);
        }
        self.vacate(Space::Ingress, &leaving.reversed())?;
        let backend = open.backend_id.0 as usize;
        if self.backends.len() <= backend {
            self.backends.resize(backend + 1, 0);
        }
        let id = self.begin(&Draft {
            kind: Kind::Balanced,
            from: Side::Outside,
            arriving: open.tuple,
            leaving,
            refresh_both: true,
            borrows: source.is_some(),
            tied: open.backend_id.0,
            adopted,
            timeouts: open.timeouts,
            notes: Notes { policy: open.vip.0, ..open.notes },
        })?;
        if let Some(count) = self.backends.get_mut(backend) {
            *count += 1;
        }
        Ok(id)
    }
}
