//! Bringing near what the first packets of a burst's new flows will ask for.
//!
//! Opening a session looks at its sender's record, at the mappings of its endpoint and at the sender's newest
//! block, each found by the one before. For one flow that is one wait for memory after the other; for
//! all new flows of a burst each step is done together. All of it is a guess: by the pool that was last
//! expected, and it changes nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::Endpoint;

use super::Nat;
use crate::blocks::{BlockId, Ported};
use crate::index::KeyHash;
use crate::mapping::InsideKey;
use crate::pool::{MappingBehavior, Pool};
use crate::wheel::NIL;

/// By what the next flows are guessed to leave.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pool: u32,
    behavior: MappingBehavior,
}

impl Expected {
    pub(super) const NOTHING: Expected =
        Expected { pool: NIL, behavior: MappingBehavior::EndpointIndependent };
}

impl Nat {
    /// The next flows may leave from this pool.
    pub fn expect_pool(&mut self, pool: &Arc<Pool>, behavior: MappingBehavior) {
        self.expected = Expected { pool: self.ports.attach(pool), behavior };
    }

    /// First step, by a flow's source address.
    #[inline]
    pub fn near_sender(&self, source: Ipv4Addr) -> KeyHash {
        self.ports.subscribers.prefetch(self.expected.pool, source.to_bits())
    }

    /// Second step: the number of its sender, most likely.
    #[inline]
    pub fn near_record(&self, hash: KeyHash) -> u32 {
        self.ports.subscribers.prefetch_likely(hash)
    }

    /// Third step, of a UDP flow from `source`.
    #[inline]
    pub fn near_mapping(&self, sender: u32, source: Endpoint) {
        let Some(record) = self.ports.subscribers.get(sender) else { return };
        let Expected { behavior, .. } = self.expected;
        if behavior != MappingBehavior::AddressDependent {
            let (kind, remote) = (Ported::Udp, Ipv4Addr::UNSPECIFIED);
            let key = InsideKey { subscriber: sender, port: source.port, kind, behavior, remote };
            self.mappings.prefetch_inside(&key);
        }
        self.ports.addresses.prefetch(BlockId(record.newest), Ported::Udp);
    }
}
