//! Packets that policy denies, with a table full of sessions beside them.

use engine::{Counters, DropReason};

use super::{Book, Nat, Recipe};
use crate::draw::Draw;
use crate::flows;
use crate::frame::{self, Packet};
use crate::load::{Load, Written, drops};
use crate::world::{self, INSIDE, Spec};
use wire::Endpoint;

/// Packets to where nobody may send.
pub struct Refused {
    book: Book,
    draw: Draw,
}

impl Refused {
    /// For that recipe, SNAT whatever it says.
    pub fn new(recipe: Recipe) -> Self {
        let book = Book::new(&Recipe { nat: Nat::Snat, ..recipe });
        Refused { book, draw: Draw::new(recipe.flows, recipe.seed) }
    }
}

/// Writes a packet of the host of flow `n` to a denied destination.
pub(super) fn denied(out: &mut [u8], n: u64, random: u64) -> Written {
    let to = std::net::Ipv4Addr::from_bits(world::DENIED.to_bits() + (random as u32 & 0xffff));
    let packet = Packet::udp(flows::egress(n).source, Endpoint::new(to, 80), n << 1);
    Written { device: INSIDE, len: frame::write(out, &world::link(INSIDE), &packet) }
}

impl Load for Refused {
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
        Some(denied(out, n, self.draw.bits()))
    }

    fn learn(&mut self, _: u8, frame: &[u8]) -> Result<(), String> {
        self.book.learn(frame)
    }

    fn check(&self, _: u8, frame: &[u8]) -> Result<(), String> {
        Err(format!("a denied packet came out: {:?}", frame::read(frame)))
    }

    fn verdict(&self, packets: u64, before: &Counters, after: &Counters) -> Result<(), String> {
        let denied = after.dropped(DropReason::EgressDenied) - before.dropped(DropReason::EgressDenied);
        if denied == packets {
            return Ok(());
        }
        Err(format!("{denied} of {packets} packets were denied{}", drops(before, after)))
    }
}
