//! Every packet opens a session, and one ends for it.
//!
//! Time passes with packets, not by the clock: so fast that as many sessions are live as were
//! asked for.

use std::time::Duration;

use wire::Endpoint;

use super::book::expect;
use super::{Nat, Recipe};
use crate::flows::{self, Flow};
use crate::frame::{self, Packet};
use crate::load::{Load, Written};
use crate::world::{self, INSIDE, OUTSIDE, Spec};

/// Idle time of pool's sessions, seconds.
pub(super) const IDLE: u64 = 30;

/// Ticks that a session lives on: no pool speaks for balanced ones, whose times are the worker's.
pub(super) const fn lifetime(nat: Nat, tcp: bool) -> u32 {
    match (nat, tcp) {
        (Nat::Snat, _) => IDLE as u32 * 10,
        (Nat::Dnat, false) => 3000,
        (Nat::Dnat, true) => 2400,
    }
}

/// Flows that never repeat while they live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    nat: Nat,
    /// log2 of the hosts that they come from.
    hosts: u32,
}

impl Fresh {
    pub(super) fn new(nat: Nat, sessions: u64) -> Self {
        let hosts = flows::subscribers(sessions).next_power_of_two().trailing_zeros().max(2);
        Fresh { nat, hosts }
    }

    pub(super) fn flow(&self, n: u64) -> Flow {
        // 32,768 ports a host; neighbours in time are of different hosts.
        let x = flows::scatter(n, self.hosts + 15);
        let (host, port) = (x & ((1 << self.hosts) - 1), 20_000 + (x >> self.hosts) as u16);
        match self.nat {
            Nat::Snat => {
                Flow { source: Endpoint::new(flows::host(host), port), destination: flows::remote(n) }
            }
            Nat::Dnat => {
                let vip = flows::vip(crate::draw::mix(x) % flows::VIPS);
                let client = flows::balanced(host * 1024).source.address;
                Flow { source: Endpoint::new(client, port), destination: vip }
            }
        }
    }

    pub(super) const fn device(&self) -> u8 {
        match self.nat {
            Nat::Snat => INSIDE,
            Nat::Dnat => OUTSIDE,
        }
    }

    /// Is this how flow `n`'s first packet should leave?
    pub(super) fn check(
        &self,
        n: u64,
        spec: &Spec,
        source: Endpoint,
        destination: Endpoint,
    ) -> Result<(), String> {
        let flow = self.flow(n);
        match self.nat {
            Nat::Snat => {
                expect("destination", n, destination, flow.destination)?;
                expect("source in the pool", n, flows::in_pool(source.address, spec.pool_addresses), true)
            }
            Nat::Dnat => {
                expect("source", n, source, flow.source)?;
                expect("a backend of its VIP", n, flows::is_backend_of(destination, flow.destination), true)
            }
        }
    }
}

/// What the gateway must be configured with for `sessions` short-lived ones.
pub(super) fn short_lived(recipe: &Recipe) -> Spec {
    Spec {
        balanced: recipe.nat == Nat::Dnat,
        policies: recipe.policies,
        routes: recipe.routes,
        idle: Duration::from_secs(IDLE),
        ..Spec::for_sessions(2 * recipe.sessions)
    }
}

/// UDP flows of one packet each.
pub struct NewFlows {
    fresh: Fresh,
    spec: Spec,
    sessions: u64,
    next: u64,
    /// Where the preparation ends.
    goal: u64,
}

impl NewFlows {
    /// Prepares once more: as many sessions as were asked for.
    pub const fn again(&mut self) {
        self.goal = self.next + self.sessions;
    }

    /// For that recipe.
    pub fn new(recipe: Recipe) -> Self {
        let fresh = Fresh::new(recipe.nat, recipe.sessions);
        // A quarter more than are to be live: expiry runs by then.
        let (sessions, goal) = (recipe.sessions, recipe.sessions + recipe.sessions / 4);
        NewFlows { fresh, spec: short_lived(&recipe), sessions, next: 0, goal }
    }
}

impl Load for NewFlows {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn limit(&self) -> u32 {
        // What is live, and what ends within the tick.
        (self.sessions + self.sessions / 8 + 16_384) as u32
    }

    fn prepare(&mut self, out: &mut [u8]) -> Option<Written> {
        if self.next >= self.goal { None } else { self.write(out) }
    }

    fn write(&mut self, out: &mut [u8]) -> Option<Written> {
        let flow = self.fresh.flow(self.next);
        let packet = Packet::udp(flow.source, flow.destination, self.next);
        self.next += 1;
        let device = self.fresh.device();
        Some(Written { device, len: frame::write(out, &world::link(device), &packet) })
    }

    fn learn(&mut self, device: u8, frame: &[u8]) -> Result<(), String> {
        self.check(device, frame)
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        let seen = frame::read(frame)?;
        expect("device", seen.id, device, 1 - self.fresh.device())?;
        expect("TTL", seen.id, seen.ttl, 63)?;
        self.fresh.check(seen.id, &self.spec, seen.source, seen.destination)
    }

    fn ticks_a_packet(&self) -> f64 {
        f64::from(lifetime(self.fresh.nat, false)) / self.sessions as f64
    }
}
