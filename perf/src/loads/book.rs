//! The generator's book of sessions: what the gateway made of each flow.

use wire::Endpoint;

use super::{Nat, Recipe};
use crate::flows::{self, Flow};
use crate::frame::{self, Packet, Seen};
use crate::load::Written;
use crate::world::{self, INSIDE, OUTSIDE, Spec};

/// Flows 0 to n and the endpoint that each was given: an outside one by SNAT, a backend by DNAT.
pub struct Book {
    nat: Nat,
    sessions: u64,
    spec: Spec,
    opened: u64,
    /// SNAT: place in the pool << 16 | port. DNAT: number of the backend, all VIPs counted through.
    given: Vec<u32>,
}

impl Book {
    /// An empty one.
    pub fn new(recipe: &Recipe) -> Self {
        let spec = Spec {
            balanced: recipe.nat == Nat::Dnat,
            policies: recipe.policies,
            routes: recipe.routes,
            ..Spec::for_sessions(recipe.sessions)
        };
        let given = vec![u32::MAX; recipe.sessions as usize];
        Book { nat: recipe.nat, sessions: recipe.sessions, spec, opened: 0, given }
    }

    /// What the gateway must be configured with.
    pub const fn spec(&self) -> Spec {
        self.spec
    }

    /// The same, to be changed.
    pub const fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// Flows.
    pub const fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The flow's first packet's ends.
    pub fn flow(&self, n: u64) -> Flow {
        match self.nat {
            Nat::Snat => flows::egress(n),
            Nat::Dnat => flows::balanced(n),
        }
    }

    /// Ends of the flow's reply as it arrives.
    pub fn reply(&self, n: u64) -> Flow {
        let flow = self.flow(n);
        match self.nat {
            Nat::Snat => Flow { source: flow.destination, destination: self.given(n) },
            Nat::Dnat => Flow { source: self.given(n), destination: flow.source },
        }
    }

    /// The endpoint that flow `n` was given.
    pub fn given(&self, n: u64) -> Endpoint {
        let word = self.given.get(n as usize).copied().unwrap_or(u32::MAX);
        match self.nat {
            Nat::Snat => Endpoint::new(flows::pool_address(u64::from(word >> 16)), word as u16),
            Nat::Dnat => flows::backend(0, u64::from(word)),
        }
    }

    /// Devices of the original direction and of the reply.
    const fn devices(&self) -> [u8; 2] {
        match self.nat {
            Nat::Snat => [INSIDE, OUTSIDE],
            Nat::Dnat => [OUTSIDE, INSIDE],
        }
    }

    /// Writes a packet of flow `n` of `len` octets.
    pub fn write(&self, out: &mut [u8], n: u64, reply: bool, len: usize) -> Written {
        let (flow, way) = if reply { (self.reply(n), 1) } else { (self.flow(n), 0) };
        let device = self.devices()[way];
        let id = n << 1 | way as u64;
        let packet = Packet { len, ..Packet::udp(flow.source, flow.destination, id) };
        Written { device, len: frame::write(out, &world::link(device), &packet) }
    }

    /// The first packet of the next flow that has none yet.
    pub fn open(&mut self, out: &mut [u8]) -> Option<Written> {
        if self.opened >= self.sessions {
            return None;
        }
        self.opened += 1;
        Some(self.write(out, self.opened - 1, false, frame::SMALLEST))
    }

    /// Is it known what flow `n` was given?
    pub fn is_known(&self, n: u64) -> bool {
        self.given.get(n as usize).is_some_and(|word| *word != u32::MAX)
    }

    /// [`Book::learn`] where replies come out too.
    pub fn learn_original(&mut self, frame: &[u8]) -> Result<(), String> {
        if frame::read(frame)?.id & 1 == 1 { Ok(()) } else { self.learn(frame) }
    }

    /// Notes what a flow was given.
    pub fn learn(&mut self, frame: &[u8]) -> Result<(), String> {
        let seen = frame::read(frame)?;
        let n = seen.id >> 1;
        let flow = self.flow(n);
        let word = match self.nat {
            Nat::Snat => {
                if !flows::in_pool(seen.source.address, self.spec.pool_addresses) {
                    return Err(format!("flow {n} left from {}, which is not in the pool", seen.source));
                }
                let place = seen.source.address.to_bits() - flows::pool_address(0).to_bits();
                place << 16 | u32::from(seen.source.port)
            }
            Nat::Dnat => {
                if !flows::is_backend_of(seen.destination, flow.destination) {
                    return Err(format!("flow {n} to {} went to {}", flow.destination, seen.destination));
                }
                seen.destination.address.to_bits() - flows::backend(0, 0).address.to_bits()
            }
        };
        if let Some(given) = self.given.get_mut(n as usize) {
            *given = word;
        }
        Ok(())
    }

    /// Are a packet's ends, hop and TTL what they should be?
    pub fn check(&self, device: u8, frame: &[u8]) -> Result<Seen, String> {
        let seen = frame::read(frame)?;
        let (n, reply) = (seen.id >> 1, seen.id & 1);
        let flow = self.flow(n);
        let given = self.given(n);
        let (source, destination) = match (self.nat, reply) {
            (Nat::Snat, 0) => (given, flow.destination),
            (Nat::Dnat, 0) => (flow.source, given),
            _ => (flow.destination, flow.source),
        };
        let port = match (seen.second, seen.quoted) {
            (Some(true), _) | (_, Some(_)) => 0,
            _ => u16::MAX,
        };
        let masked = |e: Endpoint| Endpoint::new(e.address, e.port & port);
        expect("source", n, seen.source, masked(source))?;
        expect("destination", n, seen.destination, masked(destination))?;
        expect("TTL", n, seen.ttl, 63)?;
        let leaves = self.devices()[1 - reply as usize];
        expect("device", n, device, leaves)?;
        expect("next hop", n, seen.mac, world::router_mac(leaves))?;
        Ok(seen)
    }
}

/// One field of a packet that came out.
pub(super) fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    flow: u64,
    got: T,
    wanted: T,
) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("flow {flow}: {what} {got:?}, not {wanted:?}")) }
}
