//! ICMP errors from routers outside about packets of established sessions (RFC 5508 §4).

use super::book::expect;
use super::{Book, Nat, Recipe};
use crate::draw::Draw;
use crate::flows;
use crate::frame::{self, Packet};
use crate::load::{Load, Written};
use crate::world::{self, INSIDE, OUTSIDE, Spec};

/// ICMP errors.
pub struct Errors {
    book: Book,
    draw: Draw,
}

impl Errors {
    /// For that recipe, SNAT whatever it says.
    pub fn new(recipe: Recipe) -> Self {
        let book = Book::new(&Recipe { nat: Nat::Snat, ..recipe });
        Errors { book, draw: Draw::new(recipe.flows, recipe.seed) }
    }
}

/// Writes an error about flow `n`'s packet as it left.
pub(super) fn error_about(out: &mut [u8], book: &Book, n: u64) -> Written {
    let flow = book.flow(n);
    let left = Packet::udp(book.given(n), flow.destination, n << 1 | 1);
    let router = flow.destination.address;
    let len = frame::write_error(out, &world::link(OUTSIDE), router, left.source.address, &left);
    Written { device: OUTSIDE, len }
}

/// Is an error about flow `n` translated, outside and inside?
pub(super) fn check_error(device: u8, seen: &frame::Seen) -> Result<(), String> {
    let n = seen.id >> 1;
    let flow = flows::egress(n);
    expect("device", n, device, INSIDE)?;
    expect("router", n, seen.source.address, flow.destination.address)?;
    expect("destination", n, seen.destination.address, flow.source.address)?;
    expect("quoted ends", n, seen.quoted, Some((flow.source, flow.destination)))
}

impl Load for Errors {
    fn spec(&self) -> Spec {
        self.book.spec()
    }

    fn limit(&self) -> u32 {
        self.book.sessions() as u32
    }

    fn prepare(&mut self, out: &mut [u8]) -> Option<Written> {
        self.book.open(out)
    }

    fn write(&mut self, out: &mut [u8]) -> Option<Written> {
        let n = self.draw.flow(self.book.sessions());
        Some(error_about(out, &self.book, n))
    }

    fn learn(&mut self, _: u8, frame: &[u8]) -> Result<(), String> {
        self.book.learn(frame)
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        check_error(device, &frame::read(frame)?)
    }
}
