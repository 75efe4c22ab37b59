//! What tests are made of: packets, a clock, seeded randomness, a faulty wire.
//!
//! Nothing here runs in the gateway. It is written for obviousness, not speed.
#![forbid(unsafe_code)]

mod clock;
pub mod differential;
mod faults;
mod lab;
pub mod naive;
pub mod packet;
pub mod reference;
mod rng;
pub mod solo;

pub use clock::VirtualClock;
pub use faults::{FaultInjector, FaultRates};
pub use lab::{Lab, node_facts};
pub use packet::{Link, Packet};
pub use rng::{Rng, mix};
