//! Datagrams of established sessions in two fragments, every other one the wrong way round.

use super::{Book, Recipe};
use crate::draw::Draw;
use crate::frame::{self, Packet};
use crate::load::{Load, Written};
use crate::world::{self, Spec};

/// Writes datagrams as two fragments.
pub(super) struct Pairs {
    /// Number of the datagram's flow and its IP id, when one fragment of it is still to come.
    half: Option<(u64, u16)>,
    datagrams: u64,
}

impl Pairs {
    pub(super) const fn new() -> Self {
        Pairs { half: None, datagrams: 0 }
    }

    /// Is one half of a datagram still to come?
    pub(super) const fn open(&self) -> bool {
        self.half.is_some()
    }

    /// The next fragment; `flow` is asked for a flow for every other one.
    pub(super) fn write(&mut self, out: &mut [u8], book: &Book, flow: impl FnOnce() -> u64) -> Written {
        let swapped = self.datagrams & 1 == 1;
        let (n, id, second) = match self.half.take() {
            Some((n, id)) => {
                self.datagrams += 1;
                (n, id, !swapped)
            }
            None => {
                let (n, id) = (flow(), (self.datagrams as u16) | 1 << 15);
                self.half = Some((n, id));
                (n, id, swapped)
            }
        };
        let flow = book.flow(n);
        let device = book.write(&mut [0; 64], n, false, frame::SMALLEST).device;
        let packet = Packet::udp(flow.source, flow.destination, n << 1);
        Written { device, len: frame::write_fragment(out, &world::link(device), &packet, id, second) }
    }
}

/// Fragmented datagrams.
pub struct Fragments {
    book: Book,
    draw: Draw,
    pairs: Pairs,
}

impl Fragments {
    /// For that recipe.
    pub fn new(recipe: Recipe) -> Self {
        let draw = Draw::new(recipe.flows, recipe.seed);
        Fragments { book: Book::new(&recipe), draw, pairs: Pairs::new() }
    }
}

impl Load for Fragments {
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
        let Fragments { book, draw, pairs } = self;
        Some(pairs.write(out, book, || draw.flow(book.sessions())))
    }

    fn learn(&mut self, _: u8, frame: &[u8]) -> Result<(), String> {
        self.book.learn(frame)
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        self.book.check(device, frame).map(drop)
    }
}
