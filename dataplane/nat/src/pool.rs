//! A pool of outside addresses, as `snapshot` compiles it and workers read it.

use std::net::Ipv4Addr;
use std::sync::Arc;

pub use model::{FilteringBehavior, MappingBehavior, PoolingBehavior};

use crate::{LeaseTable, PoolId, Ticks, Timeouts};

/// Limits per subscriber and worker; 0 is no limit (RFC 6888 REQ-4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Ports over all protocols.
    pub ports: u32,
    /// Sessions.
    pub sessions: u32,
    /// New sessions a second.
    pub new_sessions_per_second: u32,
    /// How many may come at once; 0 with a rate set: the rate.
    pub burst: u32,
    /// TCP sessions not yet established.
    pub half_open: u32,
}

/// What a pool allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Most blocks of one subscriber; 0: no bound.
    pub max_blocks: u16,
    /// How long an emptied block rests with its subscriber before others may lease it (RFC 6888 REQ-8).
    pub port_rest: Ticks,
    /// Inbound packets keep a session alive too (RFC 4787 REQ-6 allows it).
    pub refresh_inbound: bool,
    /// Idle times.
    pub timeouts: Timeouts,
    /// Limits per subscriber.
    pub quotas: Quotas,
}

impl Default for PoolSettings {
    fn default() -> Self {
        PoolSettings {
            max_blocks: 64,
            port_rest: Ticks::from_secs(120),
            refresh_inbound: false,
            timeouts: Timeouts::default(),
            quotas: Quotas::default(),
        }
    }
}

/// One outside address of a pool.
#[derive(Clone, Debug)]
pub struct PoolAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Who leases its blocks; shared by all workers and carried over between generations.
    pub leases: Arc<LeaseTable>,
}

/// Outside addresses and what subscribers may take of them.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Identity; the same over generations.
    pub id: PoolId,
    /// What it allows.
    pub settings: PoolSettings,
    /// 1 to 4,096 addresses, sorted; no address is in two pools.
    pub addresses: Vec<PoolAddress>,
}

/// How full a pool is, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Blocks that can be leased.
    pub blocks: u32,
    /// Blocks leased, resting ones too.
    pub leased: u32,
}

impl PoolUse {
    /// Are under a quarter of the blocks free? Then new blocks go only to subscribers that have none.
    pub const fn newcomers_only(&self) -> bool {
        (self.blocks.saturating_sub(self.leased)) as u64 * 4 < self.blocks as u64
    }
}

impl Pool {
    /// How full it is now.
    pub fn usage(&self) -> PoolUse {
        self.addresses.iter().fold(PoolUse::default(), |sum, a| PoolUse {
            blocks: sum.blocks.saturating_add(u32::from(a.leases.usable())),
            leased: sum.leased.saturating_add(u32::from(a.leases.leased())),
        })
    }

    /// Where `address` stands in [`Pool::addresses`].
    pub fn position(&self, address: Ipv4Addr) -> Option<usize> {
        self.addresses.binary_search_by_key(&address, |a| a.address).ok()
    }
}
