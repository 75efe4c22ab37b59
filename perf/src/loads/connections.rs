//! TCP connections from SYN to the last ACK: six packets each, in waves.
//!
//! Each batch is one step of a wave of connections, since a reply must go where the SYN's
//! translation says. Closed sessions live on for their timeout; time passes as in `new`.

use wire::Endpoint;

use super::book::expect;
use super::churn::{Fresh, lifetime, short_lived};
use super::{Nat, Recipe};
use crate::flows::Flow;
use crate::frame::{self, Packet};
use crate::load::{Load, Written};
use crate::world::{self, Spec};

/// Connections of a wave.
const WAVE: u64 = 2048;
/// From whom each step's packet comes (true: the one who opened), and its flags.
const STEPS: [(bool, u8); 6] = [
    (true, 0x02),  // SYN
    (false, 0x12), // SYN, ACK
    (true, 0x10),  // ACK
    (true, 0x11),  // FIN, ACK
    (false, 0x11), // FIN, ACK
    (true, 0x10),  // ACK
];

/// TCP connections.
pub struct Connections {
    fresh: Fresh,
    nat: Nat,
    spec: Spec,
    sessions: u64,
    /// First connection of the wave, the step it is at, and the next in it.
    first: u64,
    step: usize,
    next: u64,
    /// The wave's replies, as they arrive.
    replies: Vec<Flow>,
}

impl Connections {
    /// For that recipe.
    pub fn new(recipe: Recipe) -> Self {
        let nowhere = Endpoint::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        Connections {
            fresh: Fresh::new(recipe.nat, recipe.sessions),
            nat: recipe.nat,
            spec: short_lived(&recipe),
            sessions: recipe.sessions,
            first: 0,
            step: 0,
            next: 0,
            replies: vec![Flow { source: nowhere, destination: nowhere }; WAVE as usize],
        }
    }

    /// Sequence numbers: the opener's begins at its connection's number, and the last ACK acknowledges.
    fn numbers(n: u64, step: usize) -> (u32, u32) {
        const ANSWER: u32 = 0x4000_0000;
        let n = n as u32;
        let (mine, theirs) = (n, ANSWER);
        match step {
            0 => (mine, 0),
            1 => (theirs, mine.wrapping_add(1)),
            2 | 3 => (mine.wrapping_add(1), theirs + 1),
            4 => (theirs + 1, mine.wrapping_add(2)),
            _ => (mine.wrapping_add(2), theirs + 2),
        }
    }
}

impl Load for Connections {
    fn spec(&self) -> Spec {
        self.spec
    }

    fn limit(&self) -> u32 {
        (self.sessions + self.sessions / 8 + 16_384) as u32
    }

    fn prepare(&mut self, out: &mut [u8]) -> Option<Written> {
        let goal = self.sessions + self.sessions / 4;
        if self.first >= goal && self.step == 0 && self.next == 0 {
            return None;
        }
        self.write(out)
    }

    fn write(&mut self, out: &mut [u8]) -> Option<Written> {
        if self.next == WAVE {
            self.next = 0;
            self.step += 1;
            if self.step == STEPS.len() {
                self.step = 0;
                self.first += WAVE;
            }
            return None;
        }
        let n = self.first + self.next;
        let (opener, flags) = STEPS[self.step];
        let flow = if opener { self.fresh.flow(n) } else { self.replies[self.next as usize] };
        self.next += 1;
        let device = if opener { self.fresh.device() } else { 1 - self.fresh.device() };
        let (seq, ack) = Self::numbers(n, self.step);
        let packet = Packet::tcp(flow.source, flow.destination, flags, seq, ack);
        Some(Written { device, len: frame::write(out, &world::link(device), &packet) })
    }

    fn learn(&mut self, _: u8, frame: &[u8]) -> Result<(), String> {
        let seen = frame::read(frame)?;
        if seen.flags == STEPS[0].1 {
            let flow = self.fresh.flow(seen.id);
            let reply = match self.nat {
                Nat::Snat => Flow { source: flow.destination, destination: seen.source },
                Nat::Dnat => Flow { source: seen.destination, destination: flow.source },
            };
            let at = seen.id.wrapping_sub(self.first);
            *self.replies.get_mut(at as usize).ok_or("a SYN of no connection of this wave")? = reply;
        }
        Ok(())
    }

    fn listens(&self) -> bool {
        true
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        let seen = frame::read(frame)?;
        expect("TTL", seen.id, seen.ttl, 63)?;
        if seen.flags != STEPS[0].1 {
            return Ok(());
        }
        expect("device", seen.id, device, 1 - self.fresh.device())?;
        self.fresh.check(seen.id, &self.spec, seen.source, seen.destination)
    }

    fn ticks_a_packet(&self) -> f64 {
        f64::from(lifetime(self.nat, true)) / self.sessions as f64 / STEPS.len() as f64
    }

    fn packets_a_unit(&self) -> u64 {
        STEPS.len() as u64
    }
}
