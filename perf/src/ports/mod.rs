//! What lies between the engine and its packets: DPDK's ports, and the rings between workers.

pub mod handover;
pub mod ring;
mod side;
