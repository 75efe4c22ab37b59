//! Everything at once, as a gateway meets it: of a hundred packets 55 out and 33 back of
//! established sessions in IMIX sizes, 4 that open sessions, 4 fragments, 2 that policy denies
//! and 2 ICMP errors.

use engine::{Counters, DropReason};

use super::churn::Fresh;
use super::errors::{check_error, error_about};
use super::fragments::Pairs;
use super::refused::denied;
use super::{Book, Nat, Recipe, Sizes};
use crate::draw::Draw;
use crate::flows;
use crate::frame::{self, Packet};
use crate::load::{Load, Written, drops};
use crate::world::{self, INSIDE, Spec};
use wire::Endpoint;

/// In a packet's number: it opens a session.
const OPENS: u64 = 1 << 62;

/// All kinds of packets.
pub struct Mixed {
    book: Book,
    draw: Draw,
    pairs: Pairs,
    fresh: Fresh,
    opened: u64,
    denied: u64,
}

impl Mixed {
    /// For that recipe, SNAT whatever it says.
    pub fn new(recipe: Recipe) -> Self {
        let mut book = Book::new(&Recipe { nat: Nat::Snat, ..recipe });
        // New ones die soon enough to keep the table's size; the drawn ones live by their traffic.
        let spec = book.spec_mut();
        spec.pool_addresses = (spec.pool_addresses * 3).min(4096);
        Mixed {
            book,
            draw: Draw::new(recipe.flows, recipe.seed),
            pairs: Pairs::new(),
            fresh: Fresh::new(Nat::Snat, recipe.sessions),
            opened: 0,
            denied: 0,
        }
    }

    /// Hosts of their own, above those of the book.
    fn fresh_flow(&self, n: u64) -> flows::Flow {
        let mut flow = self.fresh.flow(n);
        let above = flows::subscribers(self.book.sessions()) as u32;
        flow.source.address = std::net::Ipv4Addr::from_bits(flow.source.address.to_bits() + above);
        flow
    }
}

impl Load for Mixed {
    fn spec(&self) -> Spec {
        self.book.spec()
    }

    fn limit(&self) -> u32 {
        // What the longest run opens.
        (self.book.sessions() + (1 << 21)) as u32
    }

    fn prepare(&mut self, out: &mut [u8]) -> Option<Written> {
        self.book.open(out)
    }

    fn write(&mut self, out: &mut [u8]) -> Option<Written> {
        let Mixed { book, draw, pairs, .. } = self;
        let kind = if pairs.open() { 92 } else { draw.below(98) };
        Some(match kind {
            0..88 => {
                let (n, len) = (draw.flow(book.sessions()), Sizes::Imix.next(draw));
                book.write(out, n, kind >= 55, len)
            }
            88..92 => {
                let n = self.opened;
                let flow = self.fresh_flow(n);
                self.opened += 1;
                let packet = Packet::udp(flow.source, flow.destination, n | OPENS);
                Written { device: INSIDE, len: frame::write(out, &world::link(INSIDE), &packet) }
            }
            // Both fragments of a datagram: two packets for each of these two numbers.
            92..94 => pairs.write(out, book, || draw.flow(book.sessions())),
            94..96 => {
                self.denied += 1;
                let n = draw.flow(book.sessions());
                denied(out, n, draw.bits())
            }
            _ => error_about(out, book, draw.flow(book.sessions())),
        })
    }

    fn learn(&mut self, _: u8, frame: &[u8]) -> Result<(), String> {
        self.book.learn(frame)
    }

    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String> {
        let seen = frame::read(frame)?;
        if seen.quoted.is_some() {
            return check_error(device, &seen);
        }
        if seen.id & OPENS != 0 {
            let (n, pool) = (seen.id & !OPENS, self.book.spec().pool_addresses);
            let to: Endpoint = self.fresh_flow(n).destination;
            super::book::expect("destination", n, seen.destination, to)?;
            return super::book::expect("pool", n, flows::in_pool(seen.source.address, pool), true);
        }
        self.book.check(device, frame).map(drop)
    }

    fn verdict(&self, packets: u64, before: &Counters, after: &Counters) -> Result<(), String> {
        let lost = after.dropped_total() - before.dropped_total();
        let denied = after.dropped(DropReason::EgressDenied) - before.dropped(DropReason::EgressDenied);
        let sent = (after.sent - before.sent) - (after.originated - before.originated);
        let held = after.held as i64 - before.held as i64;
        if lost == denied && sent as i64 + lost as i64 + held == packets as i64 {
            return Ok(());
        }
        Err(format!(
            "of {packets} packets {sent} went out, {held} wait and {lost} were dropped{}",
            drops(before, after)
        ))
    }
}
