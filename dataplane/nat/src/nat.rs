//! One worker's NAT: the type that the engine holds.

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::{Ipv4, Tuple};

use crate::{
    BackendId, Counts, Cursor, Hit, Inbound, Notes, OpenBalanced, OpenEgress, OpenError, OpenStatic, Pool,
    PoolId, PoolUsage, Rewrite, SessionId, SessionView, Space, Tick, Unsolicited, WorkerId,
};

/// How much a worker may hold. Everything is sized by this at start; nothing grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions, at most 2^30.
    pub sessions: u32,
    /// Subscribers with sessions or resting blocks.
    pub subscribers: u32,
    /// Unsolicited SYNs held for 6 s.
    pub held_syns: u32,
}

impl Limits {
    /// For that many sessions: as many subscribers at most, up to a million, and 1,024 held SYNs.
    pub const fn for_sessions(sessions: u32) -> Self {
        let subscribers = if sessions < 1 << 20 { sessions } else { 1 << 20 };
        Limits { sessions, subscribers, held_syns: 1024 }
    }
}

/// A packet of a known session that must not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackDrop {
    /// Flags that no TCP sends: none at all, SYN with FIN or RST, or FIN with RST.
    TcpInvalid,
}

/// An unsolicited SYN whose answer is due: ICMP 3/3 quoting `packet` (RFC 5382 REQ-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Key of the SYN: remote to outside endpoint.
    pub tuple: Tuple,
    /// The SYN from its IPv4 header on, cut after 548 octets.
    pub packet: &'a [u8],
}

/// Sessions, mappings, ports and timers of one worker.
pub struct Nat {
    worker: WorkerId,
}

#[allow(unused_variables)]
impl Nat {
    /// An empty one. Memory is reserved for `limits` and touched as it is used. `seed` keys the
    /// hashes: from a true random source, so that nobody can choose colliding keys.
    pub fn new(worker: WorkerId, limits: Limits, seed: [u64; 2]) -> Self {
        Nat { worker }
    }

    /// Makes room for the addresses of these pools, all that are configured, so that opening
    /// sessions does not; drops what belongs to others once it is empty. Call it for a new snapshot.
    pub fn prepare(&mut self, pools: &[Arc<Pool>]) {}

    /// Brings the key's index line near.
    pub fn prefetch(&self, space: Space, tuple: &Tuple) {}

    /// The live session of a packet with this key. One whose time is over is released here.
    pub fn lookup(&mut self, space: Space, tuple: &Tuple, now: Tick) -> Option<Hit> {
        None
    }

    /// Counts a packet, refreshes its session's timer and follows its TCP state. `frame` holds `ip`.
    /// To be called for the first packet too, after opening its session.
    pub fn track(&mut self, hit: Hit, ip: &Ipv4, frame: &[u8], now: Tick) -> Result<(), TrackDrop> {
        Ok(())
    }

    /// Opens a session for an inside host's first packet. `random` picks address, block and port.
    pub fn open_egress(
        &mut self,
        open: &OpenEgress<'_>,
        now: Tick,
        random: u64,
    ) -> Result<SessionId, OpenError> {
        Err(OpenError::TableFull)
    }

    /// Opens a session by a static mapping.
    pub fn open_static(&mut self, open: &OpenStatic<'_>, now: Tick) -> Result<SessionId, OpenError> {
        Err(OpenError::TableFull)
    }

    /// Opens a session of a VIP.
    pub fn open_balanced(
        &mut self,
        open: &OpenBalanced<'_>,
        now: Tick,
        random: u64,
    ) -> Result<SessionId, OpenError> {
        Err(OpenError::TableFull)
    }

    /// Decides on a packet from outside without a session: mappings and their filtering (RFC 4787 §5).
    pub fn inbound(&mut self, packet: &Unsolicited<'_>, now: Tick) -> Inbound {
        Inbound::NoMapping
    }

    /// Releases sessions whose time is over, and blocks that have rested, at most `budget` steps.
    /// Returns how many sessions ended, and whether more is due.
    pub fn expire(&mut self, now: Tick, budget: usize) -> (usize, bool) {
        (0, false)
    }

    /// The next held SYN whose answer is due; call until `None`.
    pub fn due_syn(&mut self, now: Tick) -> Option<Held<'_>> {
        None
    }

    /// May an ICMP 3/13 be sent to this inside host now? Counts it: 10 at once, then one every 100 ms.
    pub fn may_reject(&mut self, subscriber: Ipv4Addr, now: Tick) -> bool {
        true
    }

    /// Ends a session and gives back all it holds. Does nothing to one that is gone.
    pub fn release(&mut self, id: SessionId) {}

    /// One session; `None` when there is none of that number.
    pub fn session(&self, id: SessionId) -> Option<SessionView> {
        None
    }

    /// The engine's notes on a session; zeros when there is none.
    pub fn notes(&self, id: SessionId) -> Notes {
        Notes::default()
    }

    /// Replaces them.
    pub fn set_notes(&mut self, id: SessionId, notes: Notes) {}

    /// Translation of the hit's direction.
    pub fn rewrite(&self, hit: Hit) -> Rewrite {
        let zero = Tuple::new(
            wire::Protocol(0),
            wire::Endpoint::new(Ipv4Addr::UNSPECIFIED, 0),
            wire::Endpoint::new(Ipv4Addr::UNSPECIFIED, 0),
        );
        Rewrite::new(&zero, &zero)
    }

    /// Walks over at most `scan` session numbers from `from`, calling `each` for live ones; where to go on,
    /// `None` at the end. Sessions that open or end meanwhile may be missed; none is seen twice.
    pub fn walk(&self, from: Cursor, scan: usize, each: &mut dyn FnMut(SessionView)) -> Option<Cursor> {
        None
    }

    /// The same walk, ending the sessions that `doomed` picks; adds their number to `ended`.
    pub fn kill(
        &mut self,
        from: Cursor,
        scan: usize,
        doomed: &mut dyn FnMut(&SessionView) -> bool,
        ended: &mut usize,
    ) -> Option<Cursor> {
        None
    }

    /// Live sessions of a backend on this worker.
    pub fn backend_sessions(&self, backend: BackendId) -> u32 {
        0
    }

    /// How much is in use.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// What this worker uses of a pool.
    pub fn pool_usage(&self, pool: PoolId) -> PoolUsage {
        PoolUsage::default()
    }

    /// Octets reserved for tables.
    pub fn memory(&self) -> usize {
        0
    }

    /// Its number.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }
}
