//! Packets of sessions that exist.

use super::{Book, Recipe};
use crate::draw::Draw;
use crate::frame::SMALLEST;
use crate::load::{Load, Written};
use crate::world::Spec;

/// How long packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All 64 octets with FCS.
    Smallest,
    /// Seven of 64, four of 594 and one of 1,518 octets, at random.
    Imix,
}

impl Sizes {
    /// Octets of the next frame, without FCS.
    pub fn next(self, draw: &mut Draw) -> usize {
        match self {
            Sizes::Smallest => SMALLEST,
            Sizes::Imix => match draw.below(12) {
                0..7 => SMALLEST,
                7..11 => 590,
                _ => 1514,
            },
        }
    }
}

/// Packets of established sessions.
pub struct Established {
    book: Book,
    draw: Draw,
    replies: u64,
    /// Sessions that had a reply.
    answered: u64,
    sizes: Sizes,
}

impl Established {
    /// For that recipe.
    pub fn new(recipe: Recipe, sizes: Sizes) -> Self {
        let draw = Draw::new(recipe.flows, recipe.seed);
        Established { book: Book::new(&recipe), draw, replies: recipe.replies, answered: 0, sizes }
    }
}

impl Load for Established {
    fn spec(&self) -> Spec {
        self.book.spec()
    }

    fn limit(&self) -> u32 {
        self.book.sessions() as u32
    }

    fn prepare(&mut self, out: &mut [u8]) -> Option<Written> {
        let next = self.book.open(out);
        if next.is_some() || self.replies == 0 || self.answered == self.book.sessions() {
            return next;
        }
        // Where replies are measured, each session has had one.
        if !self.book.is_known(self.answered) {
            return None;
        }
        self.answered += 1;
        Some(self.book.write(out, self.answered - 1, true, SMALLEST))
    }

    fn write(&mut self, out: &mut [u8]) -> Option<Written> {
        let n = self.draw.flow(self.book.sessions());
        let reply = self.replies > 0 && self.draw.below(100) < self.replies;
        let len = self.sizes.next(&mut self.draw);
        Some(self.book.write(out, n, reply, len))
    }

    fn learn(&mut self, _: u8, frame: &[u8]) -> Result<(), String> {
        self.book.learn_original(frame)
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        self.book.check(device, frame).map(drop)
    }
}
