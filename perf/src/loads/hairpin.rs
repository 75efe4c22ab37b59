//! Inside hosts that send to each other's outside endpoints: two passes a packet (RFC 4787 REQ-9).

use super::book::expect;
use super::{Book, Nat, Recipe};
use crate::draw::Draw;
use crate::flows;
use crate::frame::{self, Packet};
use crate::load::{Load, Written};
use crate::world::{self, INSIDE, Spec};

/// Packets from inside back to inside.
pub struct Hairpin {
    book: Book,
    draw: Draw,
    pairs: u64,
}

impl Hairpin {
    /// For that recipe, SNAT whatever it says. A pair takes the sessions of both its flows, and two.
    pub fn new(recipe: Recipe) -> Self {
        let mut book = Book::new(&Recipe { nat: Nat::Snat, ..recipe });
        book.spec_mut().open = true;
        Hairpin { book, draw: Draw::new(recipe.flows, recipe.seed), pairs: 0 }
    }

    /// Who hears of flow `n`: that of another host.
    fn peer(&self, n: u64) -> u64 {
        (n + self.book.sessions() / 2) % self.book.sessions()
    }

    fn send(&self, out: &mut [u8], n: u64) -> Written {
        let packet = Packet::udp(flows::egress(n).source, self.book.given(self.peer(n)), n << 1);
        Written { device: INSIDE, len: frame::write(out, &world::link(INSIDE), &packet) }
    }
}

impl Load for Hairpin {
    fn spec(&self) -> Spec {
        self.book.spec()
    }

    fn limit(&self) -> u32 {
        3 * self.book.sessions() as u32
    }

    fn prepare(&mut self, out: &mut [u8]) -> Option<Written> {
        let next = self.book.open(out);
        if next.is_some() || self.pairs == self.book.sessions() {
            return next;
        }
        if !self.book.is_known(self.peer(self.pairs)) {
            // Its mapping is known after this batch.
            return None;
        }
        self.pairs += 1;
        Some(self.send(out, self.pairs - 1))
    }

    fn write(&mut self, out: &mut [u8]) -> Option<Written> {
        let n = self.draw.flow(self.book.sessions());
        Some(self.send(out, n))
    }

    fn learn(&mut self, device: u8, frame: &[u8]) -> Result<(), String> {
        if device == INSIDE { Ok(()) } else { self.book.learn(frame) }
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        let seen = frame::read(frame)?;
        let n = seen.id >> 1;
        expect("device", n, device, INSIDE)?;
        expect("TTL", n, seen.ttl, 63)?;
        expect("source", n, seen.source, self.book.given(n))?;
        expect("destination", n, seen.destination, flows::egress(self.peer(n)).source)
    }
}
