//! What a device can do, and what of it is switched on.

use std::ffi::CStr;

use dpdk_sys as sys;

use crate::device::PortNumber;
use crate::error::Error;
use crate::log;

/// What a device says it can do.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Name of its driver, "net_af_xdp".
    pub driver: String,
    /// Number of the kernel interface under it, if there is one.
    pub interface: Option<u32>,
    /// Most receive queues.
    pub max_rx_queues: u16,
    /// Most send queues.
    pub max_tx_queues: u16,
    /// Smallest MTU, octets.
    pub min_mtu: u16,
    /// Largest MTU it claims, octets.
    pub max_mtu: u16,
    /// Smallest buffer it receives into, octets without headroom.
    pub min_rx_buffer: u32,
    /// Checksum and hash work it can take over.
    pub offloads: Offloads,
    /// Whether it can spread packets over queues by a hash.
    pub rss: bool,
    /// Whether it can do so by the source address alone.
    pub rss_source_only: bool,
    pub(crate) rss_types: u64,
    pub(crate) hash_key_size: u8,
}

/// Work a device takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Verifies IPv4 header checksums.
    pub rx_ip: bool,
    /// Verifies TCP and UDP checksums.
    pub rx_l4: bool,
    /// Hands out the RSS hash.
    pub rx_hash: bool,
    /// Fills in IPv4 header checksums.
    pub tx_ip: bool,
    /// Fills in TCP checksums.
    pub tx_tcp: bool,
    /// Fills in UDP checksums.
    pub tx_udp: bool,
}

impl Offloads {
    /// Whether every checksum can be left to the device when sending.
    pub fn tx_all(&self) -> bool {
        self.tx_ip && self.tx_tcp && self.tx_udp
    }

    fn from_flags(rx: u64, tx: u64) -> Self {
        Offloads {
            rx_ip: rx & sys::SHIM_RX_OFFLOAD_IPV4_CKSUM != 0,
            rx_l4: rx & sys::SHIM_RX_OFFLOAD_UDP_CKSUM != 0 && rx & sys::SHIM_RX_OFFLOAD_TCP_CKSUM != 0,
            rx_hash: rx & sys::SHIM_RX_OFFLOAD_RSS_HASH != 0,
            tx_ip: tx & sys::SHIM_TX_OFFLOAD_IPV4_CKSUM != 0,
            tx_tcp: tx & sys::SHIM_TX_OFFLOAD_TCP_CKSUM != 0,
            tx_udp: tx & sys::SHIM_TX_OFFLOAD_UDP_CKSUM != 0,
        }
    }

    /// DPDK's receive and send flags.
    pub(crate) fn flags(&self) -> (u64, u64) {
        let when = |on: bool, flag: u64| if on { flag } else { 0 };
        let rx = when(self.rx_ip, sys::SHIM_RX_OFFLOAD_IPV4_CKSUM)
            | when(self.rx_l4, sys::SHIM_RX_OFFLOAD_UDP_CKSUM | sys::SHIM_RX_OFFLOAD_TCP_CKSUM)
            | when(self.rx_hash, sys::SHIM_RX_OFFLOAD_RSS_HASH);
        let tx = when(self.tx_ip, sys::SHIM_TX_OFFLOAD_IPV4_CKSUM)
            | when(self.tx_tcp, sys::SHIM_TX_OFFLOAD_TCP_CKSUM)
            | when(self.tx_udp, sys::SHIM_TX_OFFLOAD_UDP_CKSUM);
        (rx, tx)
    }
}

impl Capabilities {
    /// Asks the driver. Fails if the device has gone.
    pub(crate) fn of(port: PortNumber) -> Result<Self, Error> {
        let info = info(port)?;
        // SAFETY: the shim terminates the name.
        let driver = unsafe { CStr::from_ptr(info.driver.as_ptr()) }.to_string_lossy().into_owned();
        Ok(Capabilities {
            driver,
            interface: (info.if_index != 0).then_some(info.if_index),
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            min_mtu: info.min_mtu,
            max_mtu: info.max_mtu,
            min_rx_buffer: info.min_rx_bufsize,
            offloads: Offloads::from_flags(info.rx_offloads, info.tx_offloads),
            rss: info.rss_types & rss_types() != 0,
            rss_source_only: info.rss_types & sys::SHIM_RSS_L3_SRC_ONLY != 0,
            rss_types: info.rss_types,
            hash_key_size: info.hash_key_size,
        })
    }
}

impl Capabilities {
    /// Whether queues have descriptors of their own to wait for, that need no arming: TAP's do.
    pub(crate) fn waits_by_interrupt(&self) -> bool {
        self.driver == "net_tap"
    }
}

/// The packets that are spread: all of IP, by ports where they have some.
pub(crate) fn rss_types() -> u64 {
    sys::SHIM_RSS_IP | sys::SHIM_RSS_UDP | sys::SHIM_RSS_TCP
}

pub(crate) fn info(port: PortNumber) -> Result<sys::shim_port_info, Error> {
    // SAFETY: integers, a pointer and octets may all be zero.
    let mut info: sys::shim_port_info = unsafe { std::mem::zeroed() };
    log::attempt(
        || format!("ask device {} what it can do", port.0),
        // SAFETY: writes to `info`; DPDK checks the number.
        || unsafe { sys::shim_port_info(port.0, &raw mut info) },
    )?;
    Ok(info)
}
