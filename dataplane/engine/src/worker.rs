//! One worker: its state, the doors packets come in by, and the ends they come to.
//!
//! A packet enters by [`Worker::receive`] (from a device), [`Worker::accept`] (from another
//! worker) or [`Worker::inject`] (from the host stack), and leaves by exactly one of
//! transmit, hand-over, punt, hold and drop, each counted. Nothing here reads a clock: time is
//! what [`Worker::tick`] was told, randomness what [`Worker::seed`] was given.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nat::fragments::FragmentTable;
use nat::{Limits, MappingBehavior, Nat, Side, Tick, Timeouts, WorkerId};
use snapshot::Snapshot;
use wire::{Embedded, Ipv4, PacketBuf, Tuple, ethernet, ipv4};

use crate::counters::Counters;
use crate::glance::Glances;
use crate::handoff::{Tag, Task};
use crate::io::Io;
use crate::limiter::Limiter;
use crate::neighbours::Neighbours;
use crate::opened::Opened;
use crate::reason::DropReason;
use crate::steer::{Steered, steer};
use crate::ways::Way;

/// Sessions that may end in one call of [`Worker::tick`].
const EXPIRE_BUDGET: usize = 512;
/// ICMP errors and RSTs a worker originates in a second at most (RFC 1812 §4.3.2.8).
const ERRORS_PER_SECOND: u32 = 1000;
/// Packets that a worker punts in a second at most.
const PUNTS_PER_SECOND: u32 = 10_000;

/// What a worker is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Its number.
    pub id: WorkerId,
    /// How many workers there are, itself included; at least 1.
    pub workers: u16,
    /// Sizes of its tables.
    pub limits: Limits,
    /// Key of its hashes, from a true random source.
    pub seed: [u64; 2],
}

/// A packet under way: its buffer and what was read of it.
pub(crate) struct Transit<B> {
    pub(crate) buf: B,
    pub(crate) ip: Ipv4,
    /// The key its flow is looked up by: of an ICMP error, the key of a packet that would have
    /// come this way in the flow that the error is about.
    pub(crate) key: Tuple,
    /// The packet inside an ICMP error.
    pub(crate) error: Option<Embedded>,
    pub(crate) tag: Tag,
}

/// One worker's whole state.
pub struct Worker<B: PacketBuf> {
    pub(crate) id: WorkerId,
    pub(crate) workers: u16,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Another hold on it, which [`Worker::lend`] gives.
    pub(crate) lent: Option<Arc<Snapshot>>,
    /// Packets of other workers on their way through the stages.
    pub(crate) lane: Vec<B>,
    pub(crate) nat: Nat,
    pub(crate) fragments: FragmentTable<B>,
    pub(crate) neighbours: Neighbours<B>,
    pub(crate) balance: lb::WorkerState,
    pub(crate) opened: Opened,
    pub(crate) counters: Counters,
    pub(crate) now: Tick,
    pub(crate) errors: Limiter,
    punts: Limiter,
    /// Idle times of flows that no pool speaks for.
    pub(crate) timeouts: Timeouts,
    random: u64,
    /// Number of what sessions are judged under and steered by, counted by this worker, and the one
    /// since which policy stands: in between only backends came or went.
    pub(crate) judged: u32,
    judged_since: u32,
    /// What stages pass on of a burst.
    pub(crate) glances: Option<Box<Glances>>,
    /// By next hop.
    pub(crate) ways: Vec<Way>,
    /// The pool, by its place in memory, and the mapping that new flows last left by: a guess for those to come.
    pub(crate) expected: (usize, MappingBehavior),
    /// How many flows the last burst with new ones began.
    pub(crate) ahead: u32,
}

impl<B: PacketBuf> Worker<B> {
    /// A worker without sessions under `snapshot`.
    pub fn new(settings: Settings, snapshot: Arc<Snapshot>) -> Self {
        let mut nat = Nat::new(settings.id, settings.limits, settings.seed);
        nat.prepare(&snapshot.pools);
        let (mut balance, mut opened) = (lb::WorkerState::default(), Opened::default());
        let (services, backends) = snapshot.bounds();
        balance.fit(services, backends);
        opened.fit(services, backends);
        Worker {
            id: settings.id,
            workers: settings.workers.max(1),
            lent: Some(Arc::clone(&snapshot)),
            lane: Vec::with_capacity(crate::glance::LANE),
            snapshot,
            nat,
            fragments: FragmentTable::new(settings.seed),
            neighbours: Neighbours::default(),
            balance,
            opened,
            counters: Counters::default(),
            now: Tick(0),
            errors: Limiter::new(ERRORS_PER_SECOND),
            punts: Limiter::new(PUNTS_PER_SECOND),
            timeouts: Timeouts::default(),
            random: settings.seed[0] ^ settings.seed[1].rotate_left(32),
            judged: 1,
            judged_since: 1,
            glances: Some(Glances::new()),
            ways: Vec::new(),
            expected: (0, MappingBehavior::EndpointIndependent),
            ahead: 0,
        }
    }

    /// Runs under `snapshot` from the next packet on; gives back the old one, so that who
    /// published it pays for dropping it.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.nat.prepare(&snapshot.pools);
        let (services, backends) = snapshot.bounds();
        self.balance.fit(services, backends);
        self.opened.fit(services, backends);
        self.forget_ways();
        self.expected.0 = 0;
        if snapshot.judged != self.snapshot.judged {
            self.judged = self.judged.wrapping_add(1);
            self.judged_since = self.judged;
        } else if !snapshot.has_backends_of(&self.snapshot) {
            self.judged = self.judged.wrapping_add(1);
        }
        self.lent = Some(Arc::clone(&snapshot));
        std::mem::replace(&mut self.snapshot, snapshot)
    }

    /// Does policy stand as it was when a session was judged under this number?
    pub fn is_judged(&self, number: u32) -> bool {
        number.wrapping_sub(self.judged_since) <= self.judged.wrapping_sub(self.judged_since)
    }

    /// Seeds the choices that follow. The daemon does it once; the lab before each packet.
    pub fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// Next number of the worker's own sequence (splitmix64).
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The snapshot, for as long as packets are worked on: without counting who holds it, which is a word
    /// that all workers share.
    pub(crate) fn lend(&mut self) -> Arc<Snapshot> {
        self.lent.take().unwrap_or_else(|| Arc::clone(&self.snapshot))
    }

    /// A packet from another worker, the long way.
    pub(crate) fn take_over<I: Io<B>>(&mut self, snapshot: &Snapshot, mut buf: B, io: &mut I) {
        let Some(tag) = Tag::decode(buf.tag()) else {
            return self.drop(buf, DropReason::MalformedEthernet);
        };
        match reread(&mut buf, tag) {
            Ok((ip, _, _)) if tag.task == Task::Resolve => self.resolve_here(snapshot, buf, ip.l3, tag, io),
            Ok((ip, _, _)) if tag.task == Task::Meet => self.meet(snapshot, buf, ip, tag, io),
            Ok((ip, key, error)) => self.run(snapshot, Transit { buf, ip, key, error, tag }, io),
            Err(reason) => self.drop(buf, reason),
        }
    }

    /// An IP packet from the host stack, with [`wire::build::FRONT`] octets in front.
    pub fn inject<I: Io<B>>(&mut self, buf: B, io: &mut I) {
        let snapshot = Arc::clone(&self.snapshot);
        self.counters.originated += 1;
        match ipv4::parse(buf.bytes(), wire::build::FRONT, true) {
            Ok(ip) => self.send_own(&snapshot, buf, ip.l3, ip.destination, Side::Outside, io),
            Err(e) => self.drop(buf, e.into()),
        }
    }

    /// Time went on: sessions, fragments and neighbours whose time is over. True: call again soon.
    pub fn tick<I: Io<B>>(&mut self, now: Tick, io: &mut I) -> bool {
        let snapshot = self.lend();
        if now.0 > self.now.0 {
            self.errors.refill(now.0 - self.now.0);
            self.punts.refill(now.0 - self.now.0);
            self.now = now;
        }
        let (_, more) = self.nat.expire(self.now, EXPIRE_BUDGET);
        self.fragments.expire(self.now);
        self.drain_fragments();
        // Before anything new waits for a next hop that is given up now: so it is when another
        // worker resolves it.
        let asked = self.ask_neighbours(&snapshot, io);
        if !asked {
            self.answer_held_syns(&snapshot, io);
        }
        self.lent = Some(snapshot);
        asked || more
    }

    /// What this worker counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its sessions and mappings.
    pub fn nat(&self) -> &Nat {
        &self.nat
    }

    /// Ends sessions; see [`Nat::kill`].
    pub fn nat_mut(&mut self) -> &mut Nat {
        &mut self.nat
    }

    /// Balanced sessions that it ever opened.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Its neighbours.
    pub fn neighbours(&self) -> &Neighbours<B> {
        &self.neighbours
    }

    /// The snapshot it runs under.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Its own time.
    pub fn now(&self) -> Tick {
        self.now
    }

    /// The device's queue took fewer frames than were given to it: those were not sent.
    pub fn unsent(&mut self, frames: u64) {
        self.counters.sent -= frames;
        self.counters.dropped[DropReason::TxFull.index()] += frames;
    }

    /// Frames that [`Io::transmit`] took went to the worker that fills that device's queue.
    pub fn relayed_out(&mut self, frames: u64) {
        self.counters.sent -= frames;
        self.counters.handed_out += frames;
    }

    /// Frames of other workers were given to a queue that this one fills.
    pub fn relayed_in(&mut self, frames: u64) {
        self.counters.handed_in += frames;
        self.counters.sent += frames;
    }

    /// Ends a packet.
    pub(crate) fn drop(&mut self, buf: B, reason: DropReason) {
        self.counters.dropped[reason.index()] += 1;
        drop(buf);
    }

    /// Sends a packet to its owner: this worker or another.
    pub(crate) fn dispatch<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        mut transit: Transit<B>,
        steered: Steered,
        io: &mut I,
    ) {
        match steered {
            Steered::To { task, owner } => {
                transit.tag.task = task;
                let owner = WorkerId(owner.0 % self.workers);
                if owner == self.id {
                    self.run(snapshot, transit, io);
                } else {
                    self.hand_off(owner, transit.buf, transit.tag, io);
                }
            }
            Steered::Punt => self.punt(transit, io),
            Steered::Drop(reason) => self.drop(transit.buf, reason),
        }
    }

    /// Gives a packet to another worker.
    pub(crate) fn hand_off<I: Io<B>>(&mut self, to: WorkerId, mut buf: B, tag: Tag, io: &mut I) {
        buf.set_tag(tag.encode());
        match io.hand_off(to, buf) {
            Ok(()) => self.counters.handed_out += 1,
            Err(buf) => self.drop(buf, DropReason::HandoffFull),
        }
    }

    /// The owner's work on a packet.
    fn run<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        match transit.tag.task {
            Task::Egress => self.egress(snapshot, transit, io),
            Task::Balanced => self.balanced(snapshot, transit, io),
            Task::BalancedReply => self.balanced_reply(snapshot, transit, io),
            Task::Inbound => self.inbound(snapshot, transit, io),
            Task::Return => self.returned(snapshot, transit, io),
            Task::Meet | Task::Resolve => self.drop(transit.buf, DropReason::MalformedEthernet),
        }
    }

    /// Looks at where a packet is to go, and sends it there.
    pub(crate) fn steer_on<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        let steered = steer(snapshot, &transit.key, &transit.ip, transit.tag, self.workers);
        self.dispatch(snapshot, transit, steered, io);
    }

    /// Gives a packet to the host stack, without its Ethernet header.
    fn punt<I: Io<B>>(&mut self, mut transit: Transit<B>, io: &mut I) {
        if transit.ip.is_fragment() {
            return self.drop(transit.buf, DropReason::LocalNoService);
        }
        if !self.punts.pass() {
            return self.drop(transit.buf, DropReason::PuntLimited);
        }
        if !transit.buf.trim_front(usize::from(transit.ip.l3)) {
            return self.drop(transit.buf, DropReason::MalformedIp);
        }
        match io.punt(transit.buf) {
            Ok(()) => self.counters.punted += 1,
            Err(buf) => self.drop(buf, DropReason::PuntFull),
        }
    }

    /// The owner of flows of an inside address.
    pub(crate) fn address_owner(&self, address: Ipv4Addr) -> WorkerId {
        WorkerId((wire::toeplitz::address(address) % u32::from(self.workers)) as u16)
    }
}

/// Reads again what another worker read; nothing about it is trusted.
fn reread<B: PacketBuf>(buf: &mut B, tag: Tag) -> Result<(Ipv4, Tuple, Option<Embedded>), DropReason> {
    let l3 = ethernet::parse(buf.bytes())?.len;
    let ip = ipv4::parse(buf.bytes(), l3, true)?;
    if matches!(tag.task, Task::Meet | Task::Resolve) {
        return Ok((ip, ip.tuple(), None));
    }
    let (key, error) = crate::steer::key(buf.bytes(), &ip, tag)?;
    Ok((ip, key, error))
}
