//! How sessions open. Whatever fails leaves everything as it was.

use std::net::Ipv4Addr;

use wire::{Endpoint, Protocol, TcpFlags, Tuple};

use super::acquire::{Acquired, Wanted, reply};
use super::{Nat, around};
use crate::blocks::{BlockId, Ported};
use crate::mapping::{InsideKey, MappingId};
use crate::open::{Action, Notes, OpenEgress, OpenError, OpenStatic};
use crate::pool::{FilteringBehavior, MappingBehavior, PoolingBehavior};
use crate::portless::Portless;
use crate::ports::{Draws, Taken};
use crate::record::{Cold, Flags, Key, Session, Traffic};
use crate::rewrite::Rewrite;
use crate::tcp::{Tcp, flags_valid, opens};
use crate::timeouts::{Idle, TimerClass};
use crate::units::{Kind, SessionId, Side, Space, Tick, Timeouts};
use crate::view::TcpPhase;
use crate::wheel::NIL;

/// A session about to be.
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) from: Side,
    /// Key of the first packet, and of the same after translation.
    pub(super) arriving: Tuple,
    pub(super) leaving: Tuple,
    /// Packets of both directions refresh it.
    pub(super) refresh_both: bool,
    pub(super) borrows: bool,
    pub(super) tied: u32,
    pub(super) adopted: bool,
    pub(super) timeouts: &'a Timeouts,
    pub(super) notes: Notes,
}

/// How a mapping is kept or found for a new SNAT session.
enum Through {
    /// A mapping that is there.
    Known(MappingId),
    /// A new one with this port; `None`: under its session's key alone.
    New(Taken, MappingBehavior),
    /// Another inside endpoint's.
    Shared(MappingId),
}

/// TCP begins with a SYN, or is adopted. True if it is adopted.
pub(super) fn beginning(protocol: Protocol, tcp: Option<TcpFlags>, adopt: bool) -> Result<bool, OpenError> {
    match (protocol, tcp) {
        (Protocol::TCP, Some(flags)) if opens(flags) => Ok(false),
        (Protocol::TCP, Some(flags)) if adopt && flags_valid(flags) && !flags.rst() && !flags.syn() => {
            Ok(true)
        }
        (Protocol::TCP, _) => Err(OpenError::TcpNotSyn),
        _ => Ok(false),
    }
}

impl Nat {
    /// Makes a key free: a session of that key whose time is over goes.
    pub(super) fn vacate(&mut self, space: Space, tuple: &Tuple) -> Result<(), OpenError> {
        let Some((id, _)) = self.find(space, tuple) else { return Ok(()) };
        if self.sessions.get(id).is_some_and(|s| s.deadline > self.now.0) {
            return Err(OpenError::Exists);
        }
        self.release(id);
        Ok(())
    }

    /// Stores a session under two free keys and starts its timer.
    pub(super) fn begin(&mut self, draft: &Draft<'_>) -> Result<SessionId, OpenError> {
        let (original, reply) = (Key::of(&draft.arriving), Key::of(&draft.leaving.reversed()));
        if original == reply {
            return Err(OpenError::Exists);
        }
        let idle = match (draft.arriving.protocol, draft.adopted) {
            (Protocol::TCP, true) => Idle::TcpEstablished,
            (protocol, _) => Idle::of_protocol(protocol),
        };
        let profile = self.profiles.enter(draft.timeouts).ok_or(OpenError::TableFull)?;
        let timer = TimerClass::new(profile, idle);
        let rewrite = Rewrite::new(&draft.arriving, &draft.leaving);
        let session = Session {
            addresses: [original.addresses, reply.addresses],
            ports: [original.ports, reply.ports],
            judged: draft.notes.judged,
            protocol: original.protocol,
            flags: Flags::new(draft.kind, draft.from, draft.refresh_both, draft.borrows),
            timer,
            next_hop: draft.notes.next_hop,
            header: rewrite.header.0.to_be(),
            transport: rewrite.transport.0.to_be(),
            deadline: (self.now + self.profiles.span(timer)).0,
            traffic: [Traffic::default(); 2],
        };
        if draft.kind == Kind::Balanced {
            self.displace(&original);
            self.displace(&reply);
        }
        let cold = Cold::new(draft.tied, draft.notes.policy);
        let Some(id) = self.sessions.insert(session, cold, self.now) else {
            self.profiles.leave(profile);
            return Err(OpenError::TableFull);
        };
        if draft.arriving.protocol == Protocol::TCP
            && let Some(record) = self.sessions.tcp.get_mut(id.0 as usize)
        {
            record.state = if draft.adopted { Tcp::adopted() } else { Tcp::default() };
            record.links = [NIL; 2];
        }
        self.wheel.insert(&mut self.sessions, id.0);
        self.opened += 1;
        Ok(id)
    }

    /// Takes a session back that nothing else knows of yet.
    pub(super) fn undo(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get(id) {
            let profile = session.timer.profile();
            self.wheel.remove(&mut self.sessions, id.0);
            self.profiles.leave(profile);
            self.sessions.remove(id);
            self.opened -= 1;
        }
    }

    /// Opens a session for an inside host's first packet. `random` picks address, block and port.
    ///
    /// Refused, in this order: TCP that does not begin; a key in use; a full table; the subscriber's quotas of
    /// sessions, rate and half-open ones; then, unless its inside endpoint has a mapping, the quota of
    /// ports and the ports themselves. A protocol without ports takes the first address, the paired one
    /// first and then from the drawn one on, that nobody has towards this remote.
    pub fn open_egress(
        &mut self,
        open: &OpenEgress<'_>,
        now: Tick,
        random: u64,
    ) -> Result<SessionId, OpenError> {
        self.pass(now);
        let adopted = beginning(open.tuple.protocol, open.tcp, open.adopt)?;
        self.vacate(Space::Egress, &open.tuple)?;
        if self.sessions.is_full() {
            return Err(OpenError::TableFull);
        }
        let id = match open.action {
            Action::Direct { timeouts } => {
                self.vacate(Space::Inbound, &open.tuple.reversed())?;
                let draft = Draft {
                    kind: Kind::Direct,
                    from: Side::Inside,
                    arriving: open.tuple,
                    leaving: open.tuple,
                    refresh_both: false,
                    borrows: false,
                    tied: NIL,
                    adopted,
                    timeouts,
                    notes: open.notes,
                };
                self.begin(&draft)?
            }
            Action::Snat { pool, .. } => {
                let pool = self.ports.attach(pool);
                let inside = open.tuple.source.address;
                let subscriber = self.ports.subscriber(pool, inside, now).ok_or(OpenError::TableFull)?;
                let opened = self.open_snat(open, subscriber, adopted, Draws(random));
                self.ports.forget_if_idle(subscriber);
                opened?
            }
        };
        if open.tuple.protocol == Protocol::TCP && !adopted {
            self.enter_phase(id, TcpPhase::Opening);
            // An unsolicited SYN from there crossed this one: both ends open at once (RFC 5382 REQ-2).
            if let Some(session) = self.sessions.get(id) {
                self.held.cancel(&session.key(crate::Direction::Reply).tuple());
            }
        }
        Ok(id)
    }

    fn open_snat(
        &mut self,
        open: &OpenEgress<'_>,
        subscriber: u32,
        adopted: bool,
        draws: Draws,
    ) -> Result<SessionId, OpenError> {
        let Action::Snat { pool, mapping, filtering, pooling, udp } = open.action else {
            return Err(OpenError::NoTranslation);
        };
        let settings = &pool.settings;
        let mut timeouts = settings.timeouts;
        timeouts.udp = udp.unwrap_or(timeouts.udp);
        let half_open = open.tuple.protocol == Protocol::TCP && !adopted;
        let s = self.ports.subscribers.get(subscriber).ok_or(OpenError::TableFull)?;
        s.allows(&settings.quotas, half_open, self.now)?;
        let draft = Draft {
            kind: Kind::Snat,
            from: Side::Inside,
            arriving: open.tuple,
            leaving: open.tuple,
            refresh_both: settings.refresh_inbound,
            borrows: false,
            tied: NIL,
            adopted,
            timeouts: &timeouts,
            notes: open.notes,
        };
        let id = match Ported::of(open.tuple.protocol) {
            Some(kind) => self.open_ported(draft, subscriber, kind, (mapping, filtering, pooling), draws)?,
            None => self.open_portless(draft, subscriber, pooling, draws)?,
        };
        // Half-open ones are counted when the session enters that phase.
        if let Some(s) = self.ports.subscribers.get_mut(subscriber) {
            s.charge(&settings.quotas, false, self.now);
        }
        self.ports.count_session(subscriber, true);
        Ok(id)
    }

    fn open_ported(
        &mut self,
        mut draft: Draft<'_>,
        subscriber: u32,
        kind: Ported,
        (behavior, filtering, pooling): (MappingBehavior, FilteringBehavior, PoolingBehavior),
        draws: Draws,
    ) -> Result<SessionId, OpenError> {
        let (inside, remote) = (draft.arriving.source, draft.arriving.destination);
        let mut key = InsideKey {
            subscriber,
            port: inside.port,
            kind,
            behavior,
            remote: match behavior {
                MappingBehavior::AddressDependent => remote.address,
                _ => Ipv4Addr::UNSPECIFIED,
            },
        };
        let (through, block, port) = self.through(&key, pooling, remote, draws)?;
        let outside = self.ports.addresses.get(block.slot()).map_or(Ipv4Addr::UNSPECIFIED, |a| a.address);
        let replies = reply(draft.arriving.protocol, remote, outside, port);
        draft.leaving = replies.reversed();
        // Whatever is written last is asked for first.
        self.sessions.prefetch(self.sessions.hash(&Key::of(&replies)));
        if matches!(through, Through::New(..)) {
            self.mappings.prefetch_outside(outside, port, kind);
        }
        if let Through::Known(id) | Through::Shared(id) = through {
            draft.tied = id.0;
        }
        draft.borrows = matches!(through, Through::Shared(_));
        let own = !draft.borrows;
        let opened = self.begin(&draft).and_then(|id| {
            let around = around!(self);
            let joined = match through {
                Through::Known(mapping) | Through::Shared(mapping) => {
                    self.mappings.join(mapping, id, remote.address, own, &around).map(|()| mapping)
                }
                Through::New(taken, behavior) => {
                    key.behavior = behavior;
                    self.mappings.add(&key, taken.port, taken.block, filtering, id, &around)
                }
            };
            match joined {
                Ok(mapping) => Ok((id, mapping)),
                Err(_) => {
                    self.undo(id);
                    Err(OpenError::TableFull)
                }
            }
        });
        match opened {
            Ok((id, mapping)) => {
                if let Some(cold) = self.sessions.cold_mut(id) {
                    cold.tied = mapping.0;
                }
                if !own && let Some(pool) = self.mapping_pool(mapping) {
                    pool.usage.shared += 1;
                }
                Ok(id)
            }
            Err(error) => {
                if let Through::New(taken, _) = through {
                    self.ports.give(kind, taken, self.now);
                }
                Err(error)
            }
        }
    }

    /// The inside endpoint's mapping where it has one, else a port for a new one.
    fn through(
        &mut self,
        key: &InsideKey,
        pooling: PoolingBehavior,
        remote: Endpoint,
        draws: Draws,
    ) -> Result<(Through, BlockId, u16), OpenError> {
        let mut behavior = key.behavior;
        if behavior != MappingBehavior::AddressAndPortDependent
            && let Some(id) = self.mappings.by_inside(key, &around!(self))
            && let Some(known) = self.mappings.get(id)
        {
            let pool = self.ports.subscribers.get(key.subscriber).map_or(NIL, |s| s.pool);
            let outside = self.ports.addresses.get(known.block.slot()).filter(|a| a.pool == pool);
            if let Some(address) = outside.map(|a| a.address) {
                let replies = reply(key.kind.protocol(), remote, address, known.outside_port);
                if self.vacate(Space::Inbound, &replies).is_ok() {
                    // A session whose time was over may have been the mapping's last.
                    if let Some(known) = self.mappings.get(id).filter(|m| m.inside_port == key.port) {
                        return Ok((Through::Known(id), known.block, known.outside_port));
                    }
                } else {
                    // Its port is shared, by a flow to this very remote: this one goes by itself.
                    behavior = MappingBehavior::AddressAndPortDependent;
                }
            } else {
                // Its address left the pool: it serves its old sessions until they end.
                behavior = MappingBehavior::AddressAndPortDependent;
            }
        }
        let quota = self.ports.subscribers.get(key.subscriber).and_then(|s| {
            let quotas = &self.ports.pool(s.pool)?.pool.settings.quotas;
            Some(quotas.ports != 0 && s.ports >= quotas.ports)
        });
        if quota != Some(false) {
            return Err(OpenError::QuotaPorts);
        }
        let wanted =
            Wanted { subscriber: key.subscriber, kind: key.kind, pooling, remote, bounded: true, draws };
        match self.acquire(&wanted)? {
            Acquired::Own(taken) => Ok((Through::New(taken, behavior), taken.block, taken.port)),
            Acquired::Shared(id, taken) => Ok((Through::Shared(id), taken.block, taken.port)),
        }
    }

    /// A protocol without ports: one inside host at a time has an outside address towards a remote.
    fn open_portless(
        &mut self,
        mut draft: Draft<'_>,
        subscriber: u32,
        pooling: PoolingBehavior,
        draws: Draws,
    ) -> Result<SessionId, OpenError> {
        let (protocol, remote) = (draft.arriving.protocol, draft.arriving.destination);
        let pool = self.ports.subscribers.get(subscriber).map_or(NIL, |s| s.pool);
        let paired = self.ports.paired(subscriber).filter(|_| pooling != PoolingBehavior::Arbitrary);
        let strict = pooling == PoolingBehavior::PairedStrict && paired.is_some();
        let others = if strict { 0 } else { self.ports.addresses_of(pool) };
        let mut tried = (0..=others).filter_map(|i| match i {
            0 => paired,
            i => self.ports.slot_from(pool, draws, i - 1),
        });
        let free = |slot: &u32| {
            let Some(outside) = self.ports.addresses.get(*slot) else { return false };
            self.find(Space::Inbound, &reply(protocol, remote, outside.address, 0)).is_none()
                && outside.leases.lease_remote(self.ports.worker(), protocol, remote.address)
        };
        let slot = tried.find(free);
        if let Some(slot) = slot {
            self.ports.addresses.hold(slot);
        }
        let outside = slot.and_then(|slot| self.ports.addresses.get(slot).map(|a| (slot, a.address)));
        let Some((slot, address)) = outside else { return Err(OpenError::NoTranslation) };
        draft.leaving = Tuple::new(protocol, Endpoint::new(address, draft.arriving.source.port), remote);
        draft.tied = self.portless.add(Portless { slot, subscriber });
        let opened = self.begin(&draft);
        match opened {
            Ok(_) => self.ports.pair(subscriber, slot),
            Err(_) => {
                self.portless.remove(draft.tied);
                self.ports.addresses.release_remote(slot, protocol, remote.address);
            }
        }
        opened
    }

    /// Opens a session by a static mapping.
    pub fn open_static(&mut self, open: &OpenStatic<'_>, now: Tick) -> Result<SessionId, OpenError> {
        self.pass(now);
        let adopted = beginning(open.tuple.protocol, open.tcp, open.adopt)?;
        let (here, back) = match open.from {
            Side::Inside => (Space::Egress, Space::Inbound),
            Side::Outside => (Space::Inbound, Space::Egress),
        };
        self.vacate(here, &open.tuple)?;
        self.vacate(back, &open.translated.reversed())?;
        let draft = Draft {
            kind: Kind::Static,
            from: open.from,
            arriving: open.tuple,
            leaving: open.translated,
            refresh_both: false,
            borrows: false,
            tied: NIL,
            adopted,
            timeouts: open.timeouts,
            notes: open.notes,
        };
        self.begin(&draft)
    }
}
