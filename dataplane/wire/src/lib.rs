//! Packet headers in place: Ethernet, VLAN, ARP, IPv4, ICMP, TCP and UDP; checksum deltas.
//!
//! Everything works on one contiguous frame of bytes that may come from anybody: each length
//! and offset is checked once, in `parse`, which hands back offsets and fields, and later
//! stages edit the frame through those offsets. [`PacketBuf`] is all that is known of buffers,
//! so that the same code runs over DPDK mbufs and over plain memory. Pure: no I/O, no clock,
//! no randomness, no allocation on the packet path.
#![forbid(unsafe_code)]

mod address;
pub mod arp;
mod buffer;
pub mod build;
pub mod checksum;
mod embedded;
mod error;
pub mod ethernet;
pub mod fragment;
pub mod ipv4;
pub mod mss;
pub mod tcp;
pub mod toeplitz;

pub use address::{Endpoint, Family, MacAddr, Protocol, Tuple, V4, V6};
pub use buffer::{
    BufPool, Checksum, ChecksumRequest, HeapBuf, HeapPool, L4Checksum, Lane, Offload, PacketBuf,
};
pub use embedded::{Embedded, EmbeddedTransport};
pub use error::ParseError;
pub use ipv4::{Ipv4, Transport};
pub use tcp::{TcpFlags, TcpSummary};
