//! Policy of the reference: may a flow leave and how; may a session go on after a change.

use std::net::IpAddr;

use model::{EgressAction, FilteringBehavior, MappingBehavior, Name, OnDeny, Origin, PoolingBehavior};
use wire::{Endpoint, Protocol, Tuple};

use super::flows::{Refusal, silent, told};
use super::policy::Access;
use super::sessions::{Kind, Session};
use super::view::Side;
use super::{Reference, Stage};

/// How a flow leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// By a static mapping, from this outside end.
    Static(Endpoint),
    /// From a pool (its place in the view).
    Snat(usize, MappingBehavior, FilteringBehavior, PoolingBehavior),
    /// As it is.
    Direct,
}

/// A flow that may leave.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    pub(super) leave: Leave,
    pub(super) policy: Option<(Origin, Name)>,
    pub(super) adopt: bool,
}

impl Reference {
    /// The inside end of the static mapping at an outside end.
    pub(super) fn static_by_outside(&self, protocol: Protocol, outside: Endpoint) -> Option<Endpoint> {
        self.fixed(protocol, outside, true)
    }

    fn static_by_inside(&self, protocol: Protocol, inside: Endpoint) -> Option<Endpoint> {
        self.fixed(protocol, inside, false)
    }

    /// The other end of the static mapping at `here`; port forwards come before 1:1 mappings.
    fn fixed(&self, protocol: Protocol, here: Endpoint, from_outside: bool) -> Option<Endpoint> {
        let across = |s: &model::StaticMapping| {
            let (near, far) = if from_outside { (s.outside, s.inside) } else { (s.inside, s.outside) };
            let ports = if from_outside {
                s.outside_ports.zip(s.inside_ports)
            } else {
                s.inside_ports.zip(s.outside_ports)
            };
            let IpAddr::V4(far) = far else { return None };
            let of_protocol = match s.protocol {
                None => true,
                Some(model::Protocol::Tcp) => protocol == Protocol::TCP,
                Some(model::Protocol::Udp) => protocol == Protocol::UDP,
                Some(_) => false,
            };
            if near != IpAddr::V4(here.address) || !of_protocol {
                return None;
            }
            match ports {
                None => Some(Endpoint::new(far, here.port)),
                Some((n, f)) if n.first <= here.port && here.port <= n.last => {
                    Some(Endpoint::new(far, f.first + (here.port - n.first)))
                }
                Some(_) => None,
            }
        };
        let forwards = self.view.statics.iter().filter(|s| s.outside_ports.is_some());
        let whole = self.view.statics.iter().filter(|s| s.outside_ports.is_none());
        forwards.chain(whole).find_map(across)
    }

    /// What policy says of a flow from an inside host.
    pub(super) fn judge(&self, key: &Tuple) -> Result<Allowed, Refusal> {
        let (from, to) = (key.source.address, key.destination.address);
        let chosen = self.view.egress_policy(from, to, key.protocol, key.destination.port);
        if let Some(p) = chosen
            && p.object.action == EgressAction::Deny
        {
            return Err(told("egress_denied", p.object.on_deny == OnDeny::Reject));
        }
        match self.view.access(from, to, key.protocol, key.destination.port) {
            Access::Passes => {}
            Access::Denied => return Err(told("policy_denied", true)),
            Access::Pending => return Err(silent("policy_pending")),
        }
        let fixed = self.static_by_inside(key.protocol, key.source);
        let leave = match (chosen.map(|p| &p.object.action), fixed) {
            (Some(EgressAction::Direct), _) => Leave::Direct,
            (_, Some(outside)) => Leave::Static(outside),
            (Some(EgressAction::Snat { mapping, filtering, pooling, .. }), None) => {
                match chosen.and_then(|p| p.pool) {
                    Some(pool) => Leave::Snat(pool, *mapping, *filtering, *pooling),
                    None => return Err(silent("policy_pending")),
                }
            }
            _ => return Err(told("no_egress_policy", true)),
        };
        let adopt = chosen.is_some_and(|p| p.object.adopt_mid_stream);
        Ok(Allowed { leave, policy: chosen.map(|p| p.id.clone()), adopt })
    }

    /// May a session go on? Judged again if the configuration changed since; ended if not.
    pub(super) fn still_allowed(&mut self, id: u64) -> bool {
        let judged = self.judged;
        let Some(session) = self.sessions.get(id) else { return false };
        if session.judged == judged {
            return true;
        }
        match self.verdict(session) {
            Some(policy) => {
                if let Some(session) = self.sessions.get_mut(id) {
                    (session.judged, session.policy, session.hops) = (judged, policy, [None; 2]);
                }
                true
            }
            None => {
                self.end(id);
                false
            }
        }
    }

    /// The policy that a session goes on under; `None`: it ends.
    fn verdict(&self, session: &Session) -> Option<Option<(Origin, Name)>> {
        let pool_holds = |key: super::PoolKey, outside| {
            let id = self.pool_keys.get(key.0 as usize)?;
            let at = self.view.pools.iter().position(|p| p.id == *id && p.addresses.contains(&outside))?;
            Some(at)
        };
        match &session.kind {
            Kind::Snat(mapping) => {
                let pool = pool_holds(mapping.pool, session.reply.destination.address)?;
                let allowed = self.judge(&session.original).ok()?;
                matches!(allowed.leave, Leave::Snat(p, ..) if p == pool).then_some(allowed.policy)
            }
            Kind::Admitted(mapping) => {
                pool_holds(mapping.pool, session.original.destination.address).map(|_| None)
            }
            Kind::Direct => {
                let allowed = self.judge(&session.original).ok()?;
                (allowed.leave == Leave::Direct).then_some(allowed.policy)
            }
            Kind::Static { from_outside: false } => {
                let allowed = self.judge(&session.original).ok()?;
                (allowed.leave == Leave::Static(session.reply.destination)).then_some(allowed.policy)
            }
            Kind::Static { from_outside: true } => {
                let key = session.original;
                let inside = self.static_by_outside(key.protocol, key.destination)?;
                (inside == session.reply.source).then_some(None)
            }
            Kind::Balanced { service, life, .. } => {
                let key = session.original;
                let vip = self.view.vip(key.protocol, key.destination)?;
                let same = (&vip.id.0, &vip.id.1) == (&service.0, &service.1);
                let kept = self.lives_of(vip).any(|(_, l)| l.number == *life && l.stage != Stage::Down);
                if !same || !kept || !vip.admits(key.source.address) {
                    return None;
                }
                if self.side_of(key.source.address) != Some(Side::Inside) {
                    return Some(None);
                }
                let allowed = self.judge(&Tuple { destination: session.reply.source, ..key }).ok()?;
                Some(allowed.policy)
            }
        }
    }
}
