//! When a subscriber's blocks are full: the port of its longest closed TCP session, or a port
//! shared towards another remote (RFC 7857 §3).

use std::net::Ipv4Addr;

use model::PoolingBehavior;
use wire::{Endpoint, Protocol};

use super::ports::{MappingKey, Scope, Terms};
use super::sessions::Space;
use super::view::PoolFacts;
use super::{Oracle, Reference, ticks};

/// As many are looked at at most.
const TRIES: usize = 64;

impl Reference {
    /// Terms of a pool for a mapping.
    pub(super) fn with_terms<R>(
        &self,
        pool: &PoolFacts,
        pooling: PoolingBehavior,
        mapping: &MappingKey,
        then: impl FnOnce(&Self, &Terms) -> R,
    ) -> R {
        let reserved = |address: Ipv4Addr, port: u16| self.view.is_reserved(address, port);
        let terms = Terms {
            pool: mapping.pool,
            addresses: &pool.addresses,
            range: (pool.object.ports.first, pool.object.ports.last),
            block_size: pool.object.block_size,
            max_blocks: usize::from(pool.object.max_blocks_per_subscriber),
            reserved: &reserved,
            pooling,
            rest: ticks(pool.object.port_rest),
            bounded: !matches!(mapping.scope, Scope::Flow(..)),
        };
        then(self, &terms)
    }

    /// Closed sessions of a subscriber that hold a port alone, the longest closed first.
    fn closed(
        &self,
        mapping: &MappingKey,
        who: Ipv4Addr,
        only: Option<Ipv4Addr>,
    ) -> Vec<(u64, u64, Endpoint)> {
        let alone = self
            .ports
            .of(mapping.pool, who)
            .filter(|(k, m)| k.protocol == Protocol::TCP && m.sessions.len() == 1 && m.guests.is_empty());
        let mut all: Vec<(u64, u64, Endpoint)> = alone
            .filter_map(|(_, m)| {
                let id = *m.sessions.first()?;
                Some((self.sessions.get(id)?.closed?, id, m.outside))
            })
            .filter(|(.., o)| only.is_none_or(|a| a == o.address))
            .filter(|(.., o)| !self.view.is_reserved(o.address, o.port))
            .collect();
        all.sort_unstable();
        all
    }

    /// The one address that a strictly paired subscriber's flows leave from.
    fn only(&mut self, wanted: &MappingKey, who: Ipv4Addr, pooling: PoolingBehavior) -> Option<Ipv4Addr> {
        let paired = self.ports.subscriber(wanted.pool, who).paired;
        paired.filter(|_| pooling == PoolingBehavior::PairedStrict)
    }

    /// The gateway chose a port that is in use. If it is a closed session's, that one ends, and the
    /// port is free; if it is shared, this gives the mapping that it is shared with.
    pub(super) fn make_room(
        &mut self,
        pool: &PoolFacts,
        pooling: PoolingBehavior,
        wanted: MappingKey,
        who: Ipv4Addr,
        chosen: Endpoint,
        oracle: &mut dyn Oracle,
    ) -> Option<MappingKey> {
        if wanted.protocol != Protocol::TCP || !self.ports.used(wanted.protocol, chosen) {
            return None;
        }
        let exhausted = self
            .with_terms(pool, pooling, &wanted, |me, terms| me.ports.exhausted(terms, who, wanted.protocol));
        if !exhausted {
            self.complain(format!("{chosen} of another session was taken while a port was free for {who}"));
        }
        let only = self.only(&wanted, who, pooling);
        let closed = self.closed(&wanted, who, only);
        let gone = closed.iter().find(|(_, id, outside)| {
            *outside == chosen
                && self.sessions.get(*id).is_some_and(|s| oracle.session(s.space(0), &s.original).is_none())
        });
        if let Some((_, id, _)) = gone.copied() {
            if closed.first().is_some_and(|first| first.1 != id) {
                self.complain(format!("{chosen} was not {who}'s longest closed session's"));
            }
            self.end(id);
            return None;
        }
        if !closed.is_empty() && closed.len() < TRIES {
            self.complain(format!("{chosen} was shared while {who} had closed sessions"));
        }
        let host = self.ports.at(wanted.protocol, chosen).find(|(k, m)| {
            m.subscriber == who && k.pool == wanted.pool && matches!(k.scope, Scope::Any | Scope::Session(_))
        });
        host.map(|(k, _)| *k)
    }

    /// The gateway found no port: was there none to take back or to share either?
    pub(super) fn check_scarcity(
        &mut self,
        wanted: &MappingKey,
        who: Ipv4Addr,
        remote: Endpoint,
        pooling: PoolingBehavior,
    ) {
        if wanted.protocol != Protocol::TCP {
            return;
        }
        let only = self.only(wanted, who, pooling);
        let closed = self.closed(wanted, who, only);
        if !closed.is_empty() && closed.len() < TRIES {
            self.complain(format!("{who} was refused a port while it had closed sessions"));
        }
        if matches!(wanted.scope, Scope::Flow(..)) {
            return;
        }
        let used: Vec<Endpoint> = self
            .ports
            .of(wanted.pool, who)
            .filter(|(k, _)| k.protocol == Protocol::TCP && matches!(k.scope, Scope::Any | Scope::Session(_)))
            .map(|(_, m)| m.outside)
            .filter(|o| only.is_none_or(|a| a == o.address))
            .collect();
        let shareable = used.iter().any(|outside| {
            let reply = wire::Tuple::new(Protocol::TCP, remote, *outside);
            self.sessions.find(Space::Inbound, &reply).is_none()
        });
        if shareable && used.len() < TRIES {
            self.complain(format!("{who} was refused a port while it could share one towards {remote}"));
        }
    }
}
