//! The stack as its owner sees it: configure, receive, poll.
//!
//! Probes are spread over lanes (one small smoltcp interface each) by their source port, because
//! smoltcp looks for a packet's socket one by one: with lanes an answer looks at a few sockets, not at
//! a thousand, and a poll touches only lanes that have something to do.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;

use smoltcp::time::{Duration, Instant};

use crate::admission::{Class, Counters, TokenBucket, classify};
use crate::lane::{Conclusion, Lane};
use crate::ports::PortSet;
use crate::probe::{Finding, Probe};
use crate::schedule::{HealthEvent, Schedule, Target, TargetKey};

/// Lanes; a power of two, so that neighbouring ports spread evenly.
const LANES: u16 = 32;

/// Bounds of the stack. All of them are limits on what others can make it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Echo requests answered a second.
    pub echoes_per_second: u32,
    /// Echo requests answered at once after a quiet time.
    pub echo_burst: u32,
    /// Echo requests that wait for the next poll; more are dropped.
    pub echo_queue: usize,
    /// Answers to probes that wait for the next poll, in each of the 32 lanes.
    pub lane_queue: usize,
    /// Health checks under way at once; at most 1,024 (one source port each).
    pub concurrent_probes: usize,
    /// Largest IP packet sent, octets.
    pub mtu: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            echoes_per_second: 1_000,
            echo_burst: 200,
            echo_queue: 256,
            lane_queue: 256,
            concurrent_probes: 1_024,
            mtu: 1_500,
        }
    }
}

/// The addresses that the stack answers for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Addresses of the gateway's own ports: echo, and sources of health checks.
    pub own: HashSet<Ipv4Addr>,
    /// Service addresses: echo only.
    pub vips: HashSet<Ipv4Addr>,
}

/// The host stack. Owned by one thread; see the crate's documentation.
pub struct HostStack {
    settings: Settings,
    addresses: Addresses,
    schedule: Schedule,
    /// Answers echo requests; has no probes.
    echo: Lane,
    echo_queue: VecDeque<Vec<u8>>,
    echo_tokens: TokenBucket,
    lanes: Vec<Lane>,
    ports: PortSet,
    /// Source port of each probe under way → whom it asks: the only packets that reach a lane.
    asked: HashMap<u16, Ipv4Addr>,
    counters: Counters,
}

impl HostStack {
    /// A stack that answers for nothing yet. `seed` decides start times, source ports and TCP
    /// sequence numbers, and nothing else does.
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        let lane = |number: u64| Lane::new(settings.mtu, seed.wrapping_add(number), now);
        HostStack {
            settings,
            addresses: Addresses::default(),
            schedule: Schedule::new(seed),
            echo: lane(0),
            echo_queue: VecDeque::new(),
            echo_tokens: TokenBucket::new(settings.echoes_per_second, settings.echo_burst),
            lanes: (0..LANES).map(|i| lane(u64::from(i) + 1)).collect(),
            ports: PortSet::default(),
            asked: HashMap::new(),
            counters: Counters::default(),
        }
    }

    /// Replaces addresses and targets. A target that stays as it was keeps its health and its probe
    /// under way; one whose check or source changed keeps its health and starts to count anew; a new
    /// one is healthy and is first asked at a moment within its interval that the seed chooses.
    /// Of targets with equal keys the first counts. No events come of this: a target that is gone
    /// is simply no longer in [`unhealthy`](Self::unhealthy).
    pub fn configure(&mut self, now: Instant, addresses: Addresses, targets: Vec<Target>) {
        self.addresses = addresses;
        let kept = self.schedule.replace(now, targets);
        for lane in &mut self.lanes {
            lane.retarget(now, &kept);
        }
    }

    /// Takes one punted IP packet. Never fails: what it does not want it drops and counts.
    pub fn receive(&mut self, packet: Vec<u8>) {
        self.counters.received += 1;
        match classify(&packet, &self.addresses, |port| self.asked.get(&port).copied()) {
            Class::Echo if self.echo_queue.len() < self.settings.echo_queue => {
                self.echo_queue.push_back(packet)
            }
            Class::Answer { port } => {
                let queued = match self.lanes.get_mut(usize::from(port % LANES)) {
                    Some(lane) => lane.offer(packet, self.settings.lane_queue),
                    None => false,
                };
                self.counters.queue_full += u64::from(!queued);
            }
            Class::Echo => self.counters.queue_full += 1,
            Class::Malformed => self.counters.malformed += 1,
            Class::Unwanted => self.counters.unwanted += 1,
        }
    }

    /// Does all that is due at `now`: answers, starts, continues and judges probes. Every packet to
    /// be sent is passed to `send` (a whole IP packet). Returns changes of health, oldest first.
    pub fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) -> Vec<HealthEvent> {
        self.answer_echoes(now, send);
        self.start_due(now);
        let mut events = Vec::new();
        for lane in self.lanes.iter_mut().filter(|lane| lane.is_due(now)) {
            self.counters.sent += lane.poll(now, send, &mut |conclusion| match conclusion {
                Conclusion::Found(target, finding) => {
                    self.counters.probes_failed += u64::from(!finding.is_success());
                    events.extend(self.schedule.conclude(target, now, finding));
                }
                Conclusion::Over(port) => {
                    self.asked.remove(&port);
                    self.ports.release(port);
                }
            });
        }
        events
    }

    /// Time until the next [`poll`](Self::poll) has something to do if nothing is received before;
    /// `None`: nothing will be.
    pub fn poll_delay(&self, now: Instant) -> Option<Duration> {
        let echo = (!self.echo_queue.is_empty()).then_some(now);
        let room = self.asked.len() < self.settings.concurrent_probes.min(PortSet::SIZE);
        let start = self.schedule.next_due().filter(|_| room);
        let lanes = self.lanes.iter().filter_map(Lane::wake);
        let at = lanes.chain(start).chain(echo).min()?;
        Some(if at > now { at - now } else { Duration::ZERO })
    }

    /// The targets that checks found unhealthy, with what the last check found; all others count as
    /// healthy.
    pub fn unhealthy(&self) -> impl Iterator<Item = (&TargetKey, Finding)> {
        self.schedule.unhealthy()
    }

    /// What was received, sent and dropped since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn answer_echoes(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        self.echo_tokens.refill(now);
        while let Some(packet) = self.echo_queue.pop_front() {
            if self.echo_tokens.take() {
                self.echo.offer(packet, usize::MAX);
            } else {
                self.counters.rate_limited += 1;
            }
        }
        if self.echo.is_due(now) {
            self.counters.sent += self.echo.poll(now, send, &mut |_| ());
        }
    }

    fn start_due(&mut self, now: Instant) {
        let bound = self.settings.concurrent_probes.min(PortSet::SIZE);
        while self.asked.len() < bound {
            let Some((index, target, last_port)) = self.schedule.take_due(now) else { break };
            let Some(port) = self.ports.take_after(*last_port) else { break };
            *last_port = port;
            let Some(lane) = self.lanes.get_mut(usize::from(port % LANES)) else { break };
            self.counters.probes_started += 1;
            self.asked.insert(port, target.key.address);
            lane.start(now, Probe::new(index, target, port, now), target);
        }
    }
}
