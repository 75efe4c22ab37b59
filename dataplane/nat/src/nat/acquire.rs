//! An outside port for a new flow: all steps in their order (see `ports` for the first two).
//!
//! 3. *The longest closed session* of the subscriber: its list in the order in which sessions closed, the
//!    first of the first 64 whose port would be free without it (no other session on its mapping),
//!    still in the pool and not reserved. That session ends; the new flow gets its port.
//! 4. *Sharing*: over its blocks from the newest to the oldest, the ports in use by TCP at or after the
//!    drawn one, cyclically; the first of the first 64 whose mapping is not address-dependent and towards
//!    which the remote has no session. The session counts on that port's mapping, but the mapping
//!    does not answer for its inside endpoint.

use std::net::Ipv4Addr;

use wire::{Endpoint, Protocol, Tuple};

use super::{Nat, around};
use crate::blocks::{BlockId, Ported};
use crate::mapping::MappingId;
use crate::open::{OpenError, PortShortage};
use crate::pool::{MappingBehavior, PoolingBehavior};
use crate::ports::{Draws, Taken, Which};
use crate::record::Key;
use crate::units::{Direction, Kind, SessionId, Space};
use crate::wheel::NIL;

/// Looked at in one list at most.
const TRIES: usize = 64;

/// What was had.
pub(super) enum Acquired {
    /// A port of its own.
    Own(Taken),
    /// Another one's, with its mapping.
    Shared(MappingId, Taken),
}

/// Who wants a port, and for what.
pub(super) struct Wanted {
    pub(super) subscriber: u32,
    pub(super) kind: Ported,
    pub(super) pooling: PoolingBehavior,
    pub(super) remote: Endpoint,
    /// Under the rules for subscribers; else for the gateway's own flows.
    pub(super) bounded: bool,
    pub(super) draws: Draws,
}

impl Nat {
    pub(super) fn acquire(&mut self, w: &Wanted) -> Result<Acquired, OpenError> {
        let paired = self.ports.paired(w.subscriber);
        let (home, others) = match (w.pooling, paired) {
            (PoolingBehavior::Arbitrary, _) | (_, None) => (Which::Any, None),
            (PoolingBehavior::Paired, Some(slot)) => (Which::Only(slot), Some(Which::Except(slot))),
            (PoolingBehavior::PairedStrict, Some(slot)) => (Which::Only(slot), None),
        };
        if let Some(taken) = self.ports.take_own(w.subscriber, w.kind, home, w.draws) {
            return Ok(Acquired::Own(taken));
        }
        let mut shortage = match self.ports.take_new(w.subscriber, w.kind, home, w.bounded, w.draws) {
            Ok(taken) => return Ok(Acquired::Own(taken)),
            Err(shortage) => shortage,
        };
        let strict = w.pooling == PoolingBehavior::PairedStrict;
        let anywhere = if strict { home } else { Which::Any };
        if w.kind == Ported::Tcp {
            if let Some(taken) = self.recycle(w, anywhere) {
                return Ok(Acquired::Own(taken));
            }
            if w.bounded
                && let Some((mapping, taken)) = self.share(w, anywhere)
            {
                return Ok(Acquired::Shared(mapping, taken));
            }
        }
        if let Some(others) = others {
            if let Some(taken) = self.ports.take_own(w.subscriber, w.kind, others, w.draws) {
                return Ok(Acquired::Own(taken));
            }
            match self.ports.take_new(w.subscriber, w.kind, others, w.bounded, w.draws) {
                Ok(taken) => return Ok(Acquired::Own(taken)),
                Err(again) => shortage = again,
            }
        }
        Err(self.out_of_ports(w.subscriber, shortage))
    }

    /// Counts and names a shortage.
    pub(super) fn out_of_ports(&mut self, subscriber: u32, reason: PortShortage) -> OpenError {
        let pool = self.ports.subscribers.get(subscriber).map(|s| s.pool);
        match pool.and_then(|pool| self.ports.count_shortage(pool, reason)) {
            Some(pool) => OpenError::OutOfPorts { pool, reason },
            None => OpenError::TableFull,
        }
    }

    /// Is this outside address in the subscriber's pool, and may it serve?
    fn serves(&self, subscriber: u32, block: BlockId, which: Which) -> bool {
        let pool = self.ports.subscribers.get(subscriber).map_or(NIL, |s| s.pool);
        which.allows(block.slot()) && self.ports.addresses.get(block.slot()).is_some_and(|a| a.pool == pool)
    }

    fn recycle(&mut self, w: &Wanted, which: Which) -> Option<Taken> {
        let first = self.ports.subscribers.get(w.subscriber)?.closed.first();
        let next = |id: &SessionId| {
            let [next, _] = self.sessions.tcp.get(id.0 as usize)?.links;
            (next != NIL).then_some(SessionId(next))
        };
        let (id, taken) = std::iter::successors(first, next).take(TRIES).find_map(|id| {
            let session = self.sessions.get(id)?;
            let taken = match session.flags.kind() {
                Kind::Snat => {
                    let mapping = self.mappings.get(MappingId(self.sessions.cold(id).tied))?;
                    let alone = mapping.sessions == 1 && mapping.kind == w.kind;
                    alone.then_some(Taken { block: mapping.block, port: mapping.outside_port })?
                }
                _ => self.leased_source(session)?.0,
            };
            let outside = self.ports.addresses.get(taken.block.slot())?;
            let fit = self.serves(w.subscriber, taken.block, which) && outside.leases.allows(taken.port);
            fit.then_some((id, taken))
        })?;
        self.release(id);
        self.ports.take_exact(w.subscriber, w.kind, taken.block, taken.port)
    }

    fn share(&self, w: &Wanted, which: Which) -> Option<(MappingId, Taken)> {
        let around = around!(self);
        let ports =
            self.ports.blocks(w.subscriber).filter(|id| self.serves(w.subscriber, *id, which)).flat_map(
                |id| {
                    let size = self.ports.addresses.size(id.slot());
                    let start = w.draws.shared(size);
                    let first = self.ports.addresses.first_used(id, w.kind, start);
                    let later = move |at: &u16| {
                        let next = self.ports.addresses.first_used(id, w.kind, (at + 1) % size)?;
                        // Round once: positions are counted from the start.
                        let from =
                            |at: u16| (u32::from(at) + u32::from(size) - u32::from(start)) % u32::from(size);
                        (from(next) > from(*at)).then_some(next)
                    };
                    std::iter::successors(first, later).map(move |offset| (id, offset))
                },
            );
        ports.take(TRIES).find_map(|(block, offset)| {
            let taken = Taken { block, port: self.ports.addresses.port(block, offset) };
            let address = self.ports.addresses.get(block.slot())?.address;
            let mapping = self.mappings.by_outside(address, taken.port, w.kind, &around)?;
            let behavior = self.mappings.get(mapping)?.behavior;
            let reply = reply(w.kind.protocol(), w.remote, address, taken.port);
            let free =
                behavior != MappingBehavior::AddressDependent && self.find(Space::Inbound, &reply).is_none();
            free.then_some((mapping, taken))
        })
    }

    /// The session of a key, be its time over or not.
    pub(super) fn find(&self, space: Space, tuple: &Tuple) -> Option<(SessionId, Direction)> {
        let key = Key::of(tuple);
        self.sessions.find(self.sessions.hash(&key), &key, space)
    }
}

/// Key of the replies that a remote sends to an outside endpoint. An echo has one id, the outside one.
pub(super) const fn reply(protocol: Protocol, remote: Endpoint, outside: Ipv4Addr, port: u16) -> Tuple {
    let source = match protocol {
        Protocol::ICMP => Endpoint { address: remote.address, port },
        _ => remote,
    };
    Tuple { protocol, source, destination: Endpoint { address: outside, port } }
}
