//! What round robin remembers, per worker.

use crate::backend::BackendId;
use crate::service::ServiceId;

/// Whose turn it is in each service, on one worker: 4 bytes a service and 4 a backend.
#[derive(Clone, Debug, Default)]
pub struct WorkerState {
    /// By service: how many places on from the first the next turn begins.
    places: Vec<u32>,
    /// By backend: credit towards its next turn.
    credits: Vec<u32>,
}

impl WorkerState {
    /// Makes room for services and backends numbered below these bounds, so that no choice allocates.
    pub fn fit(&mut self, services: u32, backends: u32) {
        let grow = |v: &mut Vec<u32>, n: u32| {
            if v.len() < n as usize {
                v.resize(n as usize, 0);
            }
        };
        grow(&mut self.places, services);
        grow(&mut self.credits, backends);
    }

    /// Whose turn it is among `members` (backend and weight, every weight at least 1), as a place in it; `None`
    /// only without members. Works through credits like the look-up table: after at most one round over all
    /// members one has the largest weight's credit.
    pub(crate) fn next(
        &mut self,
        service: ServiceId,
        members: impl ExactSizeIterator<Item = (BackendId, u32)> + Clone,
    ) -> Option<usize> {
        let count = members.len();
        let largest = members.clone().map(|(_, w)| w).max()?;
        let bound = members.clone().map(|(id, _)| id.0 + 1).max()?;
        self.fit(service.0.saturating_add(1), bound);
        let start = self.places[service.0 as usize] as usize % count;
        let round = members.clone().enumerate().skip(start).chain(members.enumerate().take(start));
        for (at, (id, weight)) in round {
            let credit = &mut self.credits[id.0 as usize];
            // Credit left from larger weights before a change must not buy several turns.
            *credit = (*credit).min(largest - 1) + weight;
            if *credit >= largest {
                *credit -= largest;
                self.places[service.0 as usize] = ((at + 1) % count) as u32;
                return Some(at);
            }
        }
        Some(start)
    }
}
