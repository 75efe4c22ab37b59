//! The gateway against the reference over random traffic.

pub mod world;
