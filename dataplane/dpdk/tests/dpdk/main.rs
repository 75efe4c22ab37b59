//! The layer over real DPDK without hugepages: one EAL for this test binary, tests in threads.
//! Those that need kernel interfaces run as root, each in a network namespace of its own.

mod buffers;
mod checksums;
mod devices;
mod interfaces;
mod probing;
mod rings;
mod support;
mod threads;
