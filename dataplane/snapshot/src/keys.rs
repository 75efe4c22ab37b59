//! Packed keys of the packet path's hash tables.

use std::net::Ipv4Addr;

use wire::{Endpoint, Protocol};

/// `address << 32 | port << 16 | protocol`: never `u64::MAX`, since a protocol has 8 bits.
#[inline]
pub(crate) fn endpoint(protocol: Protocol, endpoint: Endpoint) -> u64 {
    u64::from(endpoint.address.to_bits()) << 32 | u64::from(endpoint.port) << 16 | u64::from(protocol.0)
}

/// Address and protocol without a port.
#[inline]
pub(crate) fn host(protocol: Protocol, address: Ipv4Addr) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(protocol.0)
}

/// Address alone.
#[inline]
pub(crate) fn address(address: Ipv4Addr) -> u64 {
    u64::from(address.to_bits())
}
