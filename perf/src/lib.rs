//! How fast Sluice is: loads for the pure engine, and what is needed to measure them.
//!
//! A [`load::Load`] writes packets and knows what must come out; a [`rig::Rig`] carries them
//! through a worker as a NIC would. These are pure, and callgrind counts their instructions.
//! What asks the machine (time stamp counter, hugepages, devices) is behind the feature `machine`.

/// Schema of files in `perf/results`.
pub const SCHEMA: &str = "sluice-perf/1";

pub mod arena;
pub mod draw;
pub mod flows;
pub mod frame;
pub mod load;
pub mod loads;
pub mod rig;
pub mod world;

#[cfg(feature = "machine")]
pub mod bench;
#[cfg(feature = "machine")]
pub mod compare;
#[cfg(feature = "machine")]
pub mod flood;
#[cfg(feature = "machine")]
pub mod floor;
#[cfg(feature = "machine")]
pub mod machine;
#[cfg(feature = "machine")]
pub mod pages;
#[cfg(feature = "machine")]
pub mod plot;
#[cfg(feature = "machine")]
pub mod ports;
#[cfg(feature = "machine")]
pub mod spread;
