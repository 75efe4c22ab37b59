//! Balanced sessions of the reference: a client's first packet to a VIP.

use std::net::Ipv4Addr;

use model::{FilteringBehavior, OnDeny, PoolingBehavior};
use wire::{Tuple, toeplitz};

use super::flows::{Answer, Refusal, silent};
use super::judge::Leave;
use super::open::{adoptable, opens};
use super::ports::{MappingKey, Scope};
use super::sessions::{Hit, Idle, Kind, Session, Space};
use super::tcp::Phase;
use super::view::Side;
use super::{Oracle, Packet, Reference};

impl Reference {
    pub(super) fn open_balanced(&mut self, packet: &Packet, oracle: &mut dyn Oracle) -> Result<Hit, Refusal> {
        let key = packet.key;
        let client = key.source;
        let Some(vip) = self.view.vip(key.protocol, key.destination).cloned() else {
            return Err(silent("no_mapping"));
        };
        if !vip.admits(client.address) {
            return Err(silent("vip_source_denied"));
        }
        let chosen = vip.table.choose(vip.object.affinity, key.protocol, client, key.destination);
        let backend = chosen.and_then(|at| vip.backend_endpoint(at, key.destination.port).map(|b| (at, b)));
        let Some((at, backend)) = backend else {
            let answer = match vip.object.on_empty {
                OnDeny::Reject => Answer::Unreachable,
                OnDeny::Drop => Answer::Silence,
            };
            return Err(Refusal { reason: "vip_no_backend", answer });
        };
        let client_side = self.side_of(client.address).unwrap_or(Side::Outside);
        let same_side = self.side_of(backend.address) == Some(client_side);
        let (pool, policy) = if client_side == Side::Outside {
            (vip.source_nat, None)
        } else {
            let allowed = self.judge(&Tuple { destination: backend, ..key })?;
            let own = match allowed.leave {
                Leave::Snat(pool, ..) => Some(pool),
                _ => None,
            };
            (vip.source_nat.or(own), allowed.policy)
        };
        if pool.is_none() && same_side {
            return Err(silent("hairpin_no_pool"));
        }
        if self.route(backend.address, 0).is_none() {
            return Err(silent("no_route"));
        }
        if !opens(packet) && !adoptable(packet) {
            return Err(silent("tcp_not_syn"));
        }
        let mut reply = Tuple { destination: backend, ..key }.reversed();
        let mut mapping = None;
        if let Some(pool) = pool {
            let pool = self.view.pools[pool].clone();
            let number = self.pool_key(&pool.id);
            let scope = Scope::Flow(client, key.destination);
            let new = MappingKey { pool: number, protocol: key.protocol, inside: client, scope };
            let lessee = Ipv4Addr::from(toeplitz::endpoint(client.address, client.port) % 12);
            let found = oracle.session(Space::Ingress, &key).map(|(_, reply)| reply.destination);
            let filtering = FilteringBehavior::AddressAndPortDependent;
            let source = self
                .choose(&pool, PoolingBehavior::Arbitrary, new, lessee, filtering, (backend, found))
                .map_err(|r| silent(r.reason))?;
            reply.destination = source;
            mapping = Some(new);
        }
        let life = self.life(&vip, at).map_or(0, |l| l.number);
        let kind = Kind::Balanced { mapping, service: (vip.id.0.clone(), vip.id.1.clone()), life };
        let session = self.fresh(kind, packet, reply, Idle::DEFAULT, [true; 2]);
        // A closed connection of the client's port makes room for one by another VIP.
        if mapping.is_none()
            && let Some(old) = self.sessions.find(Space::Ingress, &session.reply)
            && self
                .sessions
                .get(old.0)
                .and_then(|s| s.tcp.as_ref())
                .is_some_and(|t| t.phase() == Phase::Closed)
        {
            self.end(old.0);
        }
        if !self.sessions.free(&session) {
            return Err(silent("no_translation"));
        }
        let hit = self.sessions.insert(Session { policy, ..session });
        if let Some(mapping) = mapping {
            self.ports.hold(&mapping, hit.0);
            if let Some(who) = self.ports.mapping(&mapping).map(|m| m.subscriber) {
                self.ports.subscriber(mapping.pool, who).sessions += 1;
            }
        }
        Ok(hit)
    }
}
