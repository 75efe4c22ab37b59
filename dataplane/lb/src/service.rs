//! A service as workers see it: backends, and how one is chosen.

use std::sync::Arc;

use model::{Affinity, Algorithm};
use wire::{Family, V4};

use crate::backend::{Backend, BackendId, members};
use crate::digest::{Balanced, Flow};
use crate::table::{LookupTable, Member, TableSize};
use crate::tables::Tables;
use crate::worker::WorkerState;

/// Dense number of a service, stable over snapshots while its sessions may live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// What a service is compiled from.
#[derive(Clone, Debug)]
pub struct ServiceSpec<F: Family = V4> {
    /// Its number.
    pub id: ServiceId,
    /// How a backend is chosen.
    pub algorithm: Algorithm,
    /// Whether a client stays with a backend.
    pub affinity: Affinity,
    /// Percent of healthy backends under which all are used.
    pub panic_threshold: u8,
    /// Size of the look-up table; `None`: by [`configured`](Self::configured).
    pub table_size: Option<TableSize>,
    /// How many backends the Config lists, whatever their state: draining or failing ones must not change the
    /// table's size, which would move every flow.
    pub configured: usize,
    /// Its backends, in any order; those that only drain too.
    pub backends: Vec<Backend<F>>,
}

/// A service, compiled. Immutable.
#[derive(Clone, Debug)]
pub struct Service<F: Family = V4> {
    id: ServiceId,
    algorithm: Algorithm,
    affinity: Affinity,
    /// Sorted by address and port.
    backends: Box<[Backend<F>]>,
    /// Whom new flows may go to: place in `backends`, and weight in lowest terms; in their order.
    members: Box<[(u32, u32)]>,
    /// By number: place in `backends`.
    by_id: Box<[(BackendId, u32)]>,
    /// Where hashing decides and there are members.
    table: Option<Arc<LookupTable>>,
}

impl<F: Balanced> Service<F> {
    /// Compiles `spec`; its look-up table comes from `tables` or goes there.
    pub fn compile(spec: ServiceSpec<F>, tables: &mut Tables) -> Self {
        let mut backends = spec.backends;
        backends.sort_unstable_by_key(|b| (b.address, b.port, b.id));
        let members = members(&backends, spec.panic_threshold);
        let hashes = spec.algorithm == Algorithm::Maglev || spec.affinity == Affinity::ClientAddress;
        let table = match hashes {
            false => None,
            true => {
                let size = spec.table_size.unwrap_or_else(|| TableSize::fitting(spec.configured));
                let keys: Vec<Member> = members
                    .iter()
                    .map(|&(at, weight)| {
                        let backend = &backends[at as usize];
                        Member { address: F::bits(backend.address), port: backend.port.unwrap_or(0), weight }
                    })
                    .collect();
                tables.table(size, &keys)
            }
        };
        let mut by_id: Vec<(BackendId, u32)> =
            backends.iter().zip(0u32..).map(|(b, at)| (b.id, at)).collect();
        by_id.sort_unstable();
        Service {
            id: spec.id,
            algorithm: spec.algorithm,
            affinity: spec.affinity,
            backends: backends.into(),
            members: members.into(),
            by_id: by_id.into(),
            table,
        }
    }

    /// The backend of a new flow; `None`: there is none to be had (`onEmpty`). Affinity by client address comes
    /// before the algorithm. `sessions` is how many sessions this worker has to a backend, asked for least
    /// connections only, where a choice looks at every backend once.
    #[inline]
    pub fn choose(
        &self,
        flow: &Flow<F>,
        state: &mut WorkerState,
        sessions: impl Fn(BackendId) -> u32,
    ) -> Option<&Backend<F>> {
        if self.table.is_some() {
            return self.named(flow);
        }
        let at = match self.algorithm {
            Algorithm::Maglev => return None,
            Algorithm::RoundRobin => {
                state.next(self.id, self.members.iter().map(|&(at, w)| (self.backends[at as usize].id, w)))?
            }
            Algorithm::LeastConnections => self.least(flow, sessions)?,
        };
        self.member(at)
    }

    /// The backend that the look-up table names for a flow, for one seen in mid-stream: another gateway with the
    /// same table may have had it. `None` where no table decides.
    #[inline]
    pub fn named(&self, flow: &Flow<F>) -> Option<&Backend<F>> {
        let hash = match self.affinity {
            Affinity::None => flow.digest(),
            Affinity::ClientAddress => flow.client_digest(),
        };
        self.member(self.table.as_ref()?.member(hash))
    }

    /// Place of the member with the fewest sessions for its weight. Among equals the first at or after a place
    /// that the flow's hash picks, lest the first backend get every first session.
    fn least(&self, flow: &Flow<F>, sessions: impl Fn(BackendId) -> u32) -> Option<usize> {
        let count = self.members.len();
        let start = (flow.digest() % (count as u64).max(1)) as usize;
        let load = |at: usize| {
            let (place, weight) = self.members[at];
            (u64::from(sessions(self.backends[place as usize].id)), u64::from(weight))
        };
        let mut best: Option<(usize, (u64, u64))> = None;
        for at in (start..count).chain(0..start) {
            let (n, w) = load(at);
            // n / w < bn / bw, without division.
            if best.is_none_or(|(_, (bn, bw))| n * bw < bn * w) {
                best = Some((at, (n, w)));
            }
        }
        best.map(|(at, _)| at)
    }

    #[inline]
    fn member(&self, at: usize) -> Option<&Backend<F>> {
        let (place, _) = self.members.get(at)?;
        self.backends.get(*place as usize)
    }

    /// The backend numbered `id`, draining ones too; `None`: it is no longer one of this service, so that its
    /// sessions end.
    #[inline]
    pub fn backend(&self, id: BackendId) -> Option<&Backend<F>> {
        let at = self.by_id.binary_search_by_key(&id, |&(id, _)| id).ok()?;
        self.backends.get(self.by_id.get(at)?.1 as usize)
    }

    /// Its number.
    pub fn id(&self) -> ServiceId {
        self.id
    }

    /// How a backend is chosen.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether a client stays with a backend.
    pub fn affinity(&self) -> Affinity {
        self.affinity
    }

    /// All backends, sorted by address and port; draining ones too.
    pub fn backends(&self) -> &[Backend<F>] {
        &self.backends
    }

    /// Whom new flows may go to, with weights in lowest terms.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&Backend<F>, u32)> {
        self.members.iter().map(|&(at, weight)| (&self.backends[at as usize], weight))
    }

    /// Its look-up table, where hashing decides.
    pub fn table(&self) -> Option<&Arc<LookupTable>> {
        self.table.as_ref()
    }
}

/// Services are shared by all workers.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Service<wire::V4>>();
    shared::<Service<wire::V6>>();
};
