//! What tests are made of: packets, a clock, seeded randomness, a faulty wire.
//!
//! Nothing here runs in the gateway. It is written for obviousness, not speed.
#![forbid(unsafe_code)]

mod clock;
mod faults;
pub mod naive;
pub mod packet;
mod rng;

pub use clock::VirtualClock;
pub use faults::{FaultInjector, FaultRates};
pub use packet::{Link, Packet};
pub use rng::{Rng, mix};
