//! The machine's own limit: one random line a packet, prefetched, in bursts.
//!
//! Whatever a gateway does with sessions that are met at random, it touches a line of memory
//! for each packet. What that alone costs by the size of the table is the floor that no design
//! goes below, and machines differ in it more than designs do.

use mem::{Array, plain_struct, prefetch};
use serde::{Deserialize, Serialize};

use crate::pages::{Reserved, Resident};
use crate::rig::BURST;
use crate::spread::Spread;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    words: [u64; 8],
}

plain_struct!(Line { words: [u64; 8] });

/// A table of lines.
pub struct Table {
    lines: Array<Line>,
    state: u64,
    seen: u64,
}

impl Table {
    /// A table of `bytes`, all of it touched.
    pub fn new(bytes: u64) -> Self {
        let mut lines: Array<Line> = Array::zeroed((bytes / 64).max(1) as usize);
        for (n, line) in lines.iter_mut().enumerate() {
            line.words[0] = n as u64;
        }
        Table { lines, state: 0x9e37_79b9_7f4a_7c15, seen: 0 }
    }

    /// Cycles a packet over so many packets.
    pub fn run(&mut self, packets: u64) -> f64 {
        let bursts = (packets / BURST as u64).max(1);
        let n = self.lines.len() as u64;
        let began = dpdk::tsc();
        for _ in 0..bursts {
            let mut at = [0usize; BURST];
            for slot in &mut at {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                *slot = ((u128::from(self.state) * u128::from(n)) >> 64) as usize;
                if let Some(line) = self.lines.get(*slot) {
                    prefetch(line);
                }
            }
            for slot in at {
                self.seen = self.seen.wrapping_add(self.lines.get(slot).map_or(0, |l| l.words[0]));
            }
        }
        let cycles = dpdk::tsc().wrapping_sub(began);
        std::hint::black_box(self.seen);
        cycles as f64 / (bursts * BURST as u64) as f64
    }
}

/// The floor at one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloorPoint {
    /// Octets of the table.
    pub bytes: u64,
    /// Cycles a line.
    pub cycles: Spread,
    /// Pages it lay in: `2M`, `thp` or `4k`.
    pub pages: String,
}

/// Measures one size.
pub fn measure(bytes: u64, runs: usize, packets: u64) -> FloorPoint {
    let (_reserved, _) = Reserved::for_bytes(bytes);
    let before = Resident::now();
    let mut table = Table::new(bytes);
    let pages = Resident::now().mostly_since(before).to_owned();
    table.run(packets);
    let figures: Vec<f64> = (0..runs.max(1)).map(|_| table.run(packets)).collect();
    FloorPoint { bytes, cycles: Spread::of(&figures), pages }
}
