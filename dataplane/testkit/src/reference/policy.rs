//! Who may go where: every object looked at, every time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use model::Origin;
use wire::Protocol;

use super::view::{PolicyFacts, View, longest, ports_match};

/// What the access policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody speaks of the source, or all who do allow it.
    Passes,
    /// Somebody speaks of the source and does not allow it.
    Denied,
    /// The source is guarded and nobody speaks of it.
    Pending,
}

impl View {
    /// The egress policy of a flow: highest priority, then longest `from`, then longest `to`,
    /// then name, then origin.
    pub(super) fn egress_policy(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        port: u16,
    ) -> Option<&PolicyFacts> {
        self.policies
            .iter()
            .filter(|p| ports_match(&p.object.ports, protocol, port))
            .filter_map(|p| {
                let from = longest(&p.object.from, source)?;
                let to = longest(&p.object.to, destination)?;
                Some(((-p.object.priority, 255 - from, 255 - to, &p.id.1, &p.id.0), p))
            })
            .min_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, p)| p)
    }

    /// What the access policies say of a flow.
    pub(super) fn access(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        port: u16,
    ) -> Access {
        let mut origins: BTreeMap<&Origin, bool> = BTreeMap::new();
        for (origin, policy) in &self.access {
            if longest(&policy.subjects, source).is_none() {
                continue;
            }
            let allows = policy.rules.iter().any(|r| {
                (r.to.is_empty() || longest(&r.to, destination).is_some())
                    && ports_match(&r.ports, protocol, port)
            });
            *origins.entry(origin).or_default() |= allows;
        }
        let guarded = self.guards.iter().any(|g| g.contains(&IpAddr::V4(source)));
        match (origins.is_empty(), origins.values().all(|a| *a), guarded) {
            (true, _, true) => Access::Pending,
            (true, _, false) | (false, true, _) => Access::Passes,
            (false, false, _) => Access::Denied,
        }
    }
}
