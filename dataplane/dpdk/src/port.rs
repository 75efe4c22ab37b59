//! A running device's control: its state, and what it does for us.

use std::cell::Cell;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::Arc;

use dpdk_sys as sys;
use wire::MacAddr;

use crate::caps::{Capabilities, Offloads};
use crate::device::{Owned, PortNumber};
use crate::eal::control;
use crate::error::Error;
use crate::interface::Carrier;
use crate::log;
use crate::start::Rss;

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// Mbit/s; `None`: unknown.
    pub mbps: Option<u32>,
    /// Whether both ways at once.
    pub full_duplex: bool,
}

/// Control, state and statistics of a running device. It stops when this and all queues are gone.
#[derive(Debug)]
pub struct Port {
    pub(crate) owned: Arc<Owned>,
    /// AF_XDP's driver calls every link up; the kernel knows better.
    carrier: Option<Carrier>,
    capabilities: Capabilities,
    offloads: Offloads,
    rss: Rss,
    sockets: Vec<RawFd>,
    _one_thread: PhantomData<Cell<()>>,
}

impl Port {
    pub(crate) fn new(
        owned: Arc<Owned>,
        capabilities: Capabilities,
        offloads: Offloads,
        rss: Rss,
        sockets: Vec<RawFd>,
    ) -> Self {
        let carrier = capabilities.interface.and_then(Carrier::of);
        Port { owned, carrier, capabilities, offloads, rss, sockets, _one_thread: PhantomData }
    }

    /// DPDK's number for it, which [`Mbuf::port`](crate::Mbuf::port) gives.
    pub fn number(&self) -> PortNumber {
        self.owned.number
    }

    /// Its name, the first of its arguments.
    pub fn name(&self) -> &str {
        &self.owned.name
    }

    /// What it could do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What it does of that.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// How it spreads packets.
    pub fn rss(&self) -> Rss {
        self.rss
    }

    /// Sockets that can be read when it has packets: AF_XDP's, AF_PACKET's or TAP's. Empty: it has to
    /// be polled.
    pub fn sockets(&self) -> &[RawFd] {
        &self.sockets
    }

    /// Its MAC address.
    pub fn mac(&self) -> Result<MacAddr, Error> {
        let mut mac = [0; 6];
        // SAFETY: writes six octets.
        self.ask("tell its MAC address", || unsafe {
            sys::shim_port_mac(self.owned.number.0, mac.as_mut_ptr())
        })?;
        Ok(MacAddr(mac))
    }

    /// Its MTU as DPDK knows it, octets. For a kernel interface, [`Interface`](crate::Interface) knows better.
    pub fn mtu(&self) -> Result<u16, Error> {
        let mut mtu = 0;
        // SAFETY: writes one number.
        self.ask("tell its MTU", || unsafe { sys::rte_eth_dev_get_mtu(self.owned.number.0, &raw mut mtu) })?;
        Ok(mtu)
    }

    /// Its link, as it is now.
    pub fn link(&self) -> Result<Link, Error> {
        let mut link = sys::shim_link { speed_mbps: 0, up: false, full_duplex: false };
        // SAFETY: writes to `link`.
        self.ask("tell its link", || unsafe { sys::shim_port_link(self.owned.number.0, &raw mut link) })?;
        let mbps = Some(link.speed_mbps).filter(|&mbps| mbps != 0 && mbps != u32::MAX);
        let running = self.carrier.as_ref().and_then(Carrier::running).unwrap_or(true);
        Ok(Link { up: link.up && running, mbps, full_duplex: link.full_duplex })
    }

    /// Receives frames to any address, or only to its own again.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), Error> {
        let _control = control();
        self.ask("change promiscuous mode", || {
            // SAFETY: DPDK checks the number.
            unsafe {
                if on {
                    sys::rte_eth_promiscuous_enable(self.owned.number.0)
                } else {
                    sys::rte_eth_promiscuous_disable(self.owned.number.0)
                }
            }
        })
    }

    /// Whether it receives frames to any address.
    pub fn promiscuous(&self) -> bool {
        // SAFETY: DPDK checks the number.
        unsafe { sys::rte_eth_promiscuous_get(self.owned.number.0) == 1 }
    }

    pub(crate) fn ask(&self, what: &str, call: impl FnOnce() -> i32) -> Result<(), Error> {
        log::attempt(|| format!("have `{}` {what}", self.owned.name), call).map(drop)
    }
}
