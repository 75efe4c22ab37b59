//! Backends of the reference's services as configurations come and go: they drain, and end.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::{BackendState, LoadBalancer};

use super::view::VipFacts;
use super::{BackendKey, Life, Reference, Stage, ticks};

/// Backends' own ports count only where a service has one port.
fn own_port(object: &LoadBalancer, port: Option<u16>) -> Option<u16> {
    let single = object.ports.len() == 1 && object.ports.iter().all(|p| p.ports.first == p.ports.last);
    port.filter(|_| single)
}

impl Reference {
    /// Backends of a service port.
    pub(super) fn lives_of(&self, vip: &VipFacts) -> impl Iterator<Item = (&BackendKey, &Life)> {
        let service = (vip.id.0.clone(), vip.id.1.clone());
        self.lives.get(&service).into_iter().flatten()
    }

    /// Key and life of backend number `at` of a service's object.
    pub(super) fn life(&self, vip: &VipFacts, at: usize) -> Option<Life> {
        let backend = vip.object.backends.get(at)?;
        let IpAddr::V4(address) = backend.address else { return None };
        let key = (address, own_port(&vip.object, backend.port));
        self.lives_of(vip).find(|(k, _)| **k == key).map(|(_, life)| *life)
    }

    /// A configuration was applied: backends begin, drain and end.
    pub(super) fn live_on(&mut self) {
        let now = self.now;
        let mut next = BTreeMap::new();
        for vip in self.view.vips.clone() {
            let service = (vip.id.0.clone(), vip.id.1.clone());
            if next.contains_key(&service) {
                continue;
            }
            let drain = ticks(vip.object.drain);
            let drained = |stage: Option<Stage>| match stage {
                Some(Stage::Down) => Stage::Down,
                Some(Stage::Draining(since)) if now >= since + drain => Stage::Down,
                Some(Stage::Draining(since)) => Stage::Draining(since),
                _ if drain == 0 => Stage::Down,
                _ => Stage::Draining(now),
            };
            let before = self.lives.remove(&service).unwrap_or_default();
            let mut lives: BTreeMap<BackendKey, Life> = BTreeMap::new();
            for backend in &vip.object.backends {
                let IpAddr::V4(address) = backend.address else { continue };
                let key = (address, own_port(&vip.object, backend.port));
                let known = before.get(&key);
                let stage = match backend.state {
                    BackendState::Active => Stage::Active,
                    BackendState::Down => Stage::Down,
                    BackendState::Draining => drained(known.map(|l| l.stage)),
                };
                let number = known.map_or_else(
                    || {
                        self.lives_seen += 1;
                        self.lives_seen
                    },
                    |l| l.number,
                );
                lives.insert(key, Life { number, stage });
            }
            for (key, life) in before {
                let stage = drained(Some(life.stage));
                if !lives.contains_key(&key) && stage != Stage::Down {
                    lives.insert(key, Life { stage, ..life });
                }
            }
            next.insert(service, lives);
        }
        self.lives = next;
    }
}
