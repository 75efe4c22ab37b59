//! Sessions of the reference: opened by first packets, ended by time or change.

use std::net::Ipv4Addr;

use model::{FilteringBehavior, MappingBehavior, PoolingBehavior};
use wire::{Endpoint, Protocol, Transport, Tuple};

use super::flows::{Refusal, silent, told};
use super::judge::{Allowed, Leave};
use super::ports::{MappingKey, Scope, ported};
use super::sessions::{Hit, Idle, Kind, Session, Space};
use super::tcp::{Connection, Phase, flags_valid};
use super::view::PoolFacts;
use super::{HeldSyn, Oracle, Packet, Reference, ticks};

/// Does this packet begin a connection (or is it none of TCP)?
pub(super) fn opens(packet: &Packet) -> bool {
    match packet.ip.l4_kind {
        Transport::Tcp(t) => flags_valid(&t) && t.flags.syn() && !t.flags.ack(),
        _ => true,
    }
}

/// May this packet of a connection that is under way be adopted?
pub(super) fn adoptable(packet: &Packet) -> bool {
    match packet.ip.l4_kind {
        Transport::Tcp(t) => flags_valid(&t) && !t.flags.rst() && !t.flags.syn(),
        _ => true,
    }
}

/// A key after its source was translated. An echo has one id, the outside one.
fn leaving(key: &Tuple, outside: Endpoint) -> Tuple {
    let destination = match key.protocol {
        Protocol::ICMP => Endpoint::new(key.destination.address, outside.port),
        _ => key.destination,
    };
    Tuple::new(key.protocol, outside, destination)
}

fn is_tcp(packet: &Packet) -> bool {
    packet.key.protocol == Protocol::TCP
}

fn idle_of(pool: &PoolFacts) -> Idle {
    let t = &pool.object.timeouts;
    let least = |d| ticks(d).max(1);
    Idle {
        udp: least(t.udp),
        opening: least(t.tcp_opening),
        established: least(t.tcp_established),
        closing: least(t.tcp_closing),
        icmp: least(t.icmp),
        other: least(t.udp),
    }
}

impl Reference {
    /// A new session, not yet known. `adopt`: take a TCP flow over in mid-stream.
    pub(super) fn fresh(
        &self,
        kind: Kind,
        packet: &Packet,
        reply: Tuple,
        idle: Idle,
        refresh: [bool; 2],
    ) -> Session {
        let tcp =
            is_tcp(packet).then(|| if opens(packet) { Connection::default() } else { Connection::adopted() });
        let mut session = Session {
            kind,
            original: packet.key,
            reply,
            judged: self.judged,
            policy: None,
            idle,
            refresh,
            tcp,
            hops: [None; 2],
            closed: None,
            deadline: 0,
        };
        session.deadline = self.now.saturating_add(session.span());
        session
    }

    /// Ends a session and gives back what it holds.
    pub(super) fn end(&mut self, id: u64) {
        let now = self.now;
        let Some(session) = self.sessions.remove(id) else { return };
        let mapping = match &session.kind {
            Kind::Snat(key) | Kind::Admitted(key) => Some(*key),
            Kind::Balanced { mapping, .. } => *mapping,
            _ => None,
        };
        let Some(key) = mapping else { return };
        let who = self.ports.mapping(&key).map(|m| m.subscriber);
        let half_open = session.tcp.as_ref().is_some_and(|t| t.phase() == Phase::Opening);
        self.ports.leave(&key, id, now);
        let own = !matches!(session.kind, Kind::Balanced { .. });
        if let Some(who) = who {
            let subscriber = self.ports.subscriber(key.pool, who);
            subscriber.sessions = subscriber.sessions.saturating_sub(1);
            subscriber.half_open = subscriber.half_open.saturating_sub(u32::from(half_open && own));
            self.ports.forget(key.pool, who);
        }
    }

    pub(super) fn open_egress(&mut self, packet: &Packet, oracle: &mut dyn Oracle) -> Result<Hit, Refusal> {
        let key = packet.key;
        let Allowed { leave, policy, adopt } = self.judge(&key)?;
        let to = key.destination.address;
        if self.route(to, 0).is_none() && !self.is_ours(to) {
            return Err(silent("no_route"));
        }
        let begins = opens(packet) || (adopt && adoptable(packet));
        if !begins {
            return Err(silent("tcp_not_syn"));
        }
        let session = match leave {
            Leave::Direct => self.fresh(Kind::Direct, packet, key.reversed(), Idle::DEFAULT, [true, false]),
            Leave::Static(outside) => {
                let reply = Tuple { source: outside, ..key }.reversed();
                self.fresh(Kind::Static { from_outside: false }, packet, reply, Idle::DEFAULT, [true, false])
            }
            Leave::Snat(pool, mapping, filtering, pooling) => {
                let hit = self.open_snat(packet, (pool, mapping, filtering, pooling), oracle)?;
                if let Some(session) = self.sessions.get_mut(hit.0) {
                    session.policy = policy;
                }
                return Ok(hit);
            }
        };
        if !self.sessions.free(&session) {
            return Err(told("no_translation", true));
        }
        Ok(self.sessions.insert(Session { policy, ..session }))
    }

    fn open_snat(
        &mut self,
        packet: &Packet,
        (at, behavior, filtering, pooling): (usize, MappingBehavior, FilteringBehavior, PoolingBehavior),
        oracle: &mut dyn Oracle,
    ) -> Result<Hit, Refusal> {
        let key = packet.key;
        let who = key.source.address;
        let pool = self.view.pools[at].clone();
        let number = self.pool_key(&pool.id);
        let half_open = is_tcp(packet) && opens(packet);
        self.check_quotas(&pool, number, who, half_open)?;
        let scope = match behavior {
            _ if !ported(key.protocol) => Scope::Address(key.destination.address),
            MappingBehavior::EndpointIndependent => Scope::Any,
            MappingBehavior::AddressDependent => Scope::Address(key.destination.address),
            MappingBehavior::AddressAndPortDependent => self.new_scope(),
        };
        let mut mapping = MappingKey { pool: number, protocol: key.protocol, inside: key.source, scope };
        let known = self.ports.mapping(&mapping).map(|m| m.outside);
        let usable = known.filter(|o| {
            let reply = leaving(&key, *o).reversed();
            pool.addresses.contains(&o.address) && self.sessions.find(Space::Inbound, &reply).is_none()
        });
        if known.is_some() && usable.is_none() {
            // Another end shares that port towards this very remote: this flow goes by itself.
            mapping.scope = self.new_scope();
        }
        let mut guest = false;
        let outside = match usable {
            Some(outside) => outside,
            None => {
                let chosen = oracle.session(Space::Egress, &key).map(|(_, reply)| reply.destination);
                let quota = pool.object.quotas.ports;
                if ported(key.protocol) && quota != 0 && self.ports.ports_of(number, who) >= quota {
                    return Err(told("quota_ports", true));
                }
                if let Some(host) =
                    chosen.and_then(|c| self.make_room(&pool, pooling, mapping, who, c, oracle))
                {
                    (mapping, guest) = (host, true);
                    chosen.unwrap_or(key.source)
                } else {
                    self.choose(&pool, pooling, mapping, who, filtering, (key.destination, chosen))?
                }
            }
        };
        let reply = leaving(&key, outside).reversed();
        let session = self.fresh(Kind::Snat(mapping), packet, reply, idle_of(&pool), [true, false]);
        if !self.sessions.free(&session) {
            return Err(told("no_translation", true));
        }
        let hit = self.sessions.insert(session);
        if guest {
            self.ports.share(&mapping, hit.0);
        } else {
            self.ports.hold(&mapping, hit.0);
        }
        self.charge(&pool, number, who, half_open);
        if half_open {
            self.held_syns.retain(|s| s.key != reply || !s.leased);
        }
        Ok(hit)
    }

    /// Does somebody lease the outside end that a packet with this key is for?
    pub(super) fn is_leased(&self, key: &Tuple) -> bool {
        let to = key.destination;
        if !ported(key.protocol) {
            return self.sessions.find(Space::Inbound, key).is_some();
        }
        let range = self.view.pool_of(to.address).map(|p| self.view.pools[p].object.ports);
        range.is_some_and(|r| r.first <= to.port && to.port <= r.last)
            && !self.view.is_reserved(to.address, to.port)
            && self.ports.is_leased(to.address, to.port)
    }

    fn check_quotas(
        &mut self,
        pool: &PoolFacts,
        number: super::PoolKey,
        who: Ipv4Addr,
        half_open: bool,
    ) -> Result<(), Refusal> {
        let (quotas, now) = (pool.object.quotas, self.now);
        let subscriber = self.ports.subscriber(number, who);
        if quotas.sessions != 0 && subscriber.sessions >= quotas.sessions {
            return Err(told("quota_sessions", true));
        }
        let (rate, burst) = (quotas.new_sessions_per_second, quotas.burst);
        let full = u64::from(if burst == 0 { rate } else { burst }) * 10;
        if subscriber.is_idle() {
            // New here: with a full bucket.
            subscriber.tokens = (full, now);
        }
        let (left, at) = subscriber.tokens;
        let left = (left + u64::from(now - at) * u64::from(rate)).min(full);
        if rate != 0 && left < 10 {
            return Err(told("quota_rate", true));
        }
        if half_open && quotas.half_open != 0 && subscriber.half_open >= quotas.half_open {
            return Err(told("quota_half_open", true));
        }
        Ok(())
    }

    /// A scope of which there is no mapping yet.
    fn new_scope(&mut self) -> Scope {
        self.scopes += 1;
        Scope::Session(self.scopes)
    }

    /// Counts a new session of a subscriber.
    fn charge(&mut self, pool: &PoolFacts, number: super::PoolKey, who: Ipv4Addr, half_open: bool) {
        let (quotas, now) = (pool.object.quotas, self.now);
        let subscriber = self.ports.subscriber(number, who);
        subscriber.sessions += 1;
        subscriber.half_open += u32::from(half_open);
        let (rate, burst) = (quotas.new_sessions_per_second, quotas.burst);
        if rate != 0 {
            let full = u64::from(if burst == 0 { rate } else { burst }) * 10;
            let (left, at) = subscriber.tokens;
            let left = (left + u64::from(now - at) * u64::from(rate)).min(full);
            subscriber.tokens = (left.saturating_sub(10), now);
        }
    }

    /// Takes the gateway's choice of an outside end for a new mapping, if it was allowed.
    pub(super) fn choose(
        &mut self,
        pool: &PoolFacts,
        pooling: PoolingBehavior,
        mapping: MappingKey,
        who: Ipv4Addr,
        filtering: FilteringBehavior,
        (remote, chosen): (Endpoint, Option<Endpoint>),
    ) -> Result<Endpoint, Refusal> {
        let verdict = self.with_terms(pool, pooling, &mapping, |me, terms| match ported(mapping.protocol) {
            true => me.ports.judge(terms, who, mapping.protocol, chosen),
            false => Ok(()),
        });
        if let Err(complaint) = verdict {
            self.complain(format!("{:?} of pool {}: {complaint}", mapping.inside, pool.id.1.0));
        }
        match chosen {
            Some(outside) => {
                let mut ports = std::mem::take(&mut self.ports);
                self.with_terms(pool, pooling, &mapping, |_, terms| {
                    ports.map(terms, who, mapping, outside, filtering);
                });
                self.ports = ports;
            }
            None => self.check_scarcity(&mapping, who, remote, pooling),
        }
        chosen.ok_or(told(if ported(mapping.protocol) { "out_of_ports" } else { "no_translation" }, true))
    }

    pub(super) fn open_inbound(&mut self, packet: &Packet, _: &mut dyn Oracle) -> Result<Hit, Refusal> {
        let key = packet.key;
        if let Some(inside) = self.static_by_outside(key.protocol, key.destination) {
            if !opens(packet) {
                return Err(silent("tcp_not_syn"));
            }
            let reply = Tuple { destination: inside, ..key }.reversed();
            let kind = Kind::Static { from_outside: true };
            let session = self.fresh(kind, packet, reply, Idle::DEFAULT, [false, true]);
            if !self.sessions.free(&session) {
                return Err(silent("no_translation"));
            }
            return Ok(self.sessions.insert(session));
        }
        if self.view.pool_of(key.destination.address).is_none() {
            return Err(silent("no_session"));
        }
        let mapping = self
            .ports
            .at(key.protocol, key.destination)
            .find(|(k, _)| !matches!(k.scope, Scope::Flow(..)))
            .map(|(k, m)| (*k, m.clone()));
        let known = mapping.is_some() && ported(key.protocol);
        let admits = mapping.as_ref().is_some_and(|(_, m)| match m.filtering {
            FilteringBehavior::EndpointIndependent => true,
            FilteringBehavior::AddressAndPortDependent => false,
            FilteringBehavior::AddressDependent => m
                .sessions
                .iter()
                .any(|id| self.sessions.get(*id).is_some_and(|s| remote_of(s) == key.source.address)),
        });
        let Some((mapping, held)) = mapping.filter(|_| admits && ported(key.protocol)) else {
            if is_tcp(packet) && opens(packet) {
                self.hold(packet);
                return Err(silent("unsolicited_syn"));
            }
            return Err(silent(if known { "filtered" } else { "no_mapping" }));
        };
        if !opens(packet) {
            return Err(silent("tcp_not_syn"));
        }
        let id = self.pool_keys[mapping.pool.0 as usize].clone();
        let Some(pool) = self.view.pools.iter().find(|p| p.id == id).cloned() else {
            return Err(silent("no_mapping"));
        };
        let half_open = is_tcp(packet);
        self.check_quotas(&pool, mapping.pool, held.subscriber, half_open).map_err(|r| silent(r.reason))?;
        let source = match key.protocol {
            Protocol::ICMP => Endpoint::new(key.source.address, mapping.inside.port),
            _ => key.source,
        };
        let reply = Tuple::new(key.protocol, source, mapping.inside).reversed();
        let session = self.fresh(Kind::Admitted(mapping), packet, reply, idle_of(&pool), [false, true]);
        if !self.sessions.free(&session) {
            return Err(silent("no_translation"));
        }
        let hit = self.sessions.insert(session);
        self.ports.hold(&mapping, hit.0);
        self.charge(&pool, mapping.pool, held.subscriber, half_open);
        Ok(hit)
    }

    /// Remembers a SYN that nothing asked for, to answer it after 6 s.
    fn hold(&mut self, packet: &Packet) {
        let leased = self.is_leased(&packet.key);
        if self.held_syns.iter().any(|s| s.key == packet.key && s.leased == leased) {
            return;
        }
        let octets = packet.octets[..packet.octets.len().min(548)].to_vec();
        self.held_syns.push(HeldSyn { due: self.now + 60, key: packet.key, leased, octets });
    }
}

/// The remote address of a session on a mapping.
fn remote_of(session: &Session) -> Ipv4Addr {
    match session.kind {
        Kind::Admitted(_) => session.original.source.address,
        _ => session.original.destination.address,
    }
}
