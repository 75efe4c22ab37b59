//! A packet generator over DPDK ports: a schedule of packets, flows drawn at random, and for each
//! packet that comes back its latency from when it was due.
//!
//! The schedule, the marker in each packet, the account of what came and the search are functions of
//! their arguments; [`ports`] and [`generator`] alone touch devices and the clock.

pub mod generator;
pub mod marker;
pub mod neighbour;
pub mod ports;
pub mod record;
pub mod schedule;
pub mod search;
pub mod tally;
pub mod traffic;
pub mod window;

use std::sync::atomic::{AtomicU8, Ordering};

/// 0: nothing runs; 1: a generator runs; 2: it is to end.
static RUN: AtomicU8 = AtomicU8::new(0);

/// Says that a generator runs, which ends by itself when it is told to: devices are to be closed,
/// or an XDP program stays on the interface.
pub fn runs() {
    RUN.store(1, Ordering::SeqCst);
}

/// Tells a running generator to end. False: none runs, or it was told before.
pub fn end() -> bool {
    RUN.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

/// Was it told to end?
#[inline]
pub fn ended() -> bool {
    RUN.load(Ordering::Relaxed) == 2
}
