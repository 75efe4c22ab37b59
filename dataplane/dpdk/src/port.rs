//! Devices: found by their arguments, started with queues, stopped when nobody has them any more.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dpdk_sys as sys;
use wire::MacAddr;

use crate::caps::{self, Capabilities, Offloads};
use crate::eal::{Eal, control};
use crate::error::Error;
use crate::log;
use crate::mempool::Mempool;
use crate::queue::{QueueNumber, RxQueue, TxQueue};
use crate::ring::RawRing;
use crate::wait::{self, OpenFds};

/// DPDK's number for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortNumber(pub u16);

/// How packets are spread over receive queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rss {
    /// Not at all, or by the device's own mind.
    Off,
    /// By the Toeplitz hash (`wire::toeplitz::KEY`) of addresses and ports.
    #[default]
    Flow,
    /// By that of the source address alone.
    Source,
}

/// How a device is to run. What it cannot do of the last three is left out, and
/// [`Port::offloads`] and [`Port::rss`] say what is on.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues; fewer are made if the device has fewer.
    pub rx_queues: u16,
    /// Send queues; fewer are made if the device has fewer.
    pub tx_queues: u16,
    /// Descriptors of a receive queue, before the device's limits.
    pub rx_descriptors: u16,
    /// Descriptors of a send queue, before the device's limits.
    pub tx_descriptors: u16,
    /// MTU to set, octets; `None`: as it is.
    pub mtu: Option<u16>,
    /// Receive frames to any address.
    pub promiscuous: bool,
    /// Spread over queues.
    pub rss: Rss,
    /// Leave checksums to the device.
    pub checksums: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 2_048,
            tx_descriptors: 2_048,
            mtu: None,
            promiscuous: false,
            rss: Rss::Flow,
            checksums: true,
        }
    }
}

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

/// Device numbers that somebody here has; DPDK itself would let one be added twice.
static CLAIMED: Mutex<Vec<PortNumber>> = Mutex::new(Vec::new());

/// A device we have; dropping it stops and removes it.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) number: PortNumber,
    name: String,
    started: AtomicBool,
    /// A device over rings keeps them.
    _rings: Vec<Arc<RawRing>>,
}

impl Owned {
    fn claim(number: PortNumber, name: &str, rings: Vec<Arc<RawRing>>) -> Result<Self, Error> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.contains(&number) {
            return Err(Error::NameTaken { name: name.to_owned() });
        }
        claimed.push(number);
        Ok(Owned { number, name: name.to_owned(), started: AtomicBool::new(false), _rings: rings })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _control = control();
        let device = caps::info(self.number).map(|info| info.device);
        // SAFETY: no queue handle is left, so nobody polls; DPDK checks the number.
        unsafe {
            if self.started.load(Ordering::Relaxed) {
                sys::rte_eth_dev_stop(self.number.0);
            }
            match device {
                // Closes it as well.
                Ok(device) if !device.is_null() => sys::rte_dev_remove(device),
                _ => sys::rte_eth_dev_close(self.number.0),
            }
        };
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).retain(|&number| number != self.number);
    }
}

/// A device that does not run yet.
#[derive(Debug)]
pub struct Device {
    owned: Owned,
    capabilities: Capabilities,
    before: OpenFds,
}

/// A running device: its control and its queues.
#[derive(Debug)]
pub struct Started {
    /// Control, state and statistics.
    pub port: Port,
    /// Receive queues, by number.
    pub rx: Vec<RxQueue>,
    /// Send queues, by number.
    pub tx: Vec<TxQueue>,
}

impl Device {
    /// Adds a device by its arguments (`net_null0`, `net_af_xdp0,iface=eth0`, `0000:03:00.0`) in the
    /// calling thread's network namespace, or takes the one of that name found in init.
    pub fn probe(_: &Eal, devargs: &str) -> Result<Self, Error> {
        let before = OpenFds::now();
        let name = devargs.split(',').next().unwrap_or(devargs);
        let c_name = CString::new(name)?;
        let c_args = CString::new(devargs)?;
        // The lock ends with the block: a device that is dropped takes it again.
        let owned = {
            let _control = control();
            let number = match number_of(&c_name) {
                Some(number) => number,
                None => add(devargs, &c_args, &c_name)?,
            };
            Owned::claim(number, name, Vec::new())?
        };
        Self::known(owned, before)
    }

    /// Two devices in memory: what one sends, the other receives, queue by queue. For tests.
    pub fn ring_pair(_: &Eal, name: &str, queues: u16, capacity: u32) -> Result<(Self, Self), Error> {
        let before = OpenFds::now();
        let rings = |way: &str| -> Result<Vec<Arc<RawRing>>, Error> {
            (0..queues).map(|_| RawRing::new(&format!("{name}{way}"), capacity).map(Arc::new)).collect()
        };
        let (there, back) = (rings("-ab")?, rings("-ba")?);
        let make = |name: String, rx: &[Arc<RawRing>], tx: &[Arc<RawRing>]| -> Result<Self, Error> {
            let c_name = CString::new(name.as_str())?;
            let rx_raw: Vec<_> = rx.iter().map(|ring| ring.as_ptr()).collect();
            let tx_raw: Vec<_> = tx.iter().map(|ring| ring.as_ptr()).collect();
            let count = u32::from(queues);
            let number = {
                let _control = control();
                log::attempt(
                    || format!("make the ring device `{name}`"),
                    // SAFETY: the arrays have `count` rings each, which the device keeps alive; each
                    // is filled by one of the two devices and emptied by the other.
                    || unsafe {
                        match sys::rte_eth_from_rings(
                            c_name.as_ptr(),
                            rx_raw.as_ptr(),
                            count,
                            tx_raw.as_ptr(),
                            count,
                            0,
                        ) {
                            -1 => -sys::shim_errno().abs().max(1),
                            number => number,
                        }
                    },
                )?
            };
            let number = u16::try_from(number).map_err(|_| Error::UnknownDriver { device: name.clone() })?;
            let rings = rx.iter().chain(tx).cloned().collect();
            Self::known(Owned::claim(PortNumber(number), &name, rings)?, before.clone())
        };
        Ok((make(format!("{name}_a"), &back, &there)?, make(format!("{name}_b"), &there, &back)?))
    }

    fn known(owned: Owned, before: OpenFds) -> Result<Self, Error> {
        let capabilities = Capabilities::of(owned.number)?;
        Ok(Device { owned, capabilities, before })
    }

    /// DPDK's number for it.
    pub fn number(&self) -> PortNumber {
        self.owned.number
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// NUMA socket it is at; `None`: any.
    pub fn socket(&self) -> Option<u32> {
        // SAFETY: DPDK checks the number.
        u32::try_from(unsafe { sys::rte_eth_dev_socket_id(self.owned.number.0) }).ok()
    }

    /// Configures queues that receive into buffers of `pool`, and starts. On failure the device
    /// is removed.
    pub fn start(self, config: &PortConfig, pool: &Mempool) -> Result<Started, Error> {
        let Device { owned, capabilities, before } = self;
        let (offloads, rss, rx_queues, tx_queues) = set_up(&owned, &capabilities, config, pool)?;
        owned.started.store(true, Ordering::Relaxed);
        let sockets = if capabilities.waits_by_interrupt() {
            (0..rx_queues).filter_map(|queue| interrupt_fd(owned.number, queue)).collect()
        } else {
            wait::sockets_since(&before)
        };
        let owned = Arc::new(owned);
        let matched = sockets.len() == usize::from(rx_queues);
        let rx = (0..rx_queues).map(|queue| {
            let socket = sockets.get(usize::from(queue)).copied().filter(|_| matched);
            RxQueue::new(Arc::clone(&owned), QueueNumber(queue), socket)
        });
        let rx = rx.collect();
        let tx = (0..tx_queues).map(|queue| TxQueue::new(Arc::clone(&owned), QueueNumber(queue))).collect();
        let port = Port { owned, capabilities, offloads, rss, sockets, _one_thread: PhantomData };
        Ok(Started { port, rx, tx })
    }
}

/// What a queue of a driver with receive interrupts is waited for by.
fn interrupt_fd(port: PortNumber, queue: u16) -> Option<RawFd> {
    // SAFETY: DPDK checks both numbers.
    Some(unsafe { sys::rte_eth_dev_rx_intr_ctl_q_get_fd(port.0, queue) }).filter(|&fd| fd >= 0)
}

/// Adds a device that DPDK does not have yet.
fn add(devargs: &str, c_args: &CStr, c_name: &CStr) -> Result<PortNumber, Error> {
    // SAFETY: terminated; DPDK is initialised.
    let (code, said) = log::listen(|| unsafe { sys::rte_dev_probe(c_args.as_ptr()) });
    let unknown = || Error::UnknownDriver { device: devargs.to_owned() };
    if code >= 0 {
        return number_of(c_name).ok_or_else(unknown);
    }
    let nobody =
        |line: &String| ["no driver found", "failed to parse device"].iter().any(|text| line.contains(text));
    if said.iter().any(nobody) {
        return Err(unknown());
    }
    Err(Error::refused(format!("add the device `{devargs}`"), code, said))
}

fn number_of(name: &CStr) -> Option<PortNumber> {
    let mut number = 0;
    // SAFETY: terminated; writes one number.
    let code = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut number) };
    (code == 0).then_some(PortNumber(number))
}

/// Configures, makes queues, starts. Gives what is on: offloads, RSS, receive and send queues.
fn set_up(
    owned: &Owned,
    capabilities: &Capabilities,
    config: &PortConfig,
    pool: &Mempool,
) -> Result<(Offloads, Rss, u16, u16), Error> {
    let _control = control();
    let (name, number) = (&owned.name, owned.number.0);
    let rx_queues = config.rx_queues.min(capabilities.max_rx_queues);
    let tx_queues = config.tx_queues.min(capabilities.max_tx_queues);
    if rx_queues == 0 || tx_queues == 0 {
        return Err(Error::Invalid { what: format!("`{name}` needs a receive and a send queue") });
    }
    if (pool.frame_room() as u64) < u64::from(capabilities.min_rx_buffer) {
        return Err(Error::Invalid {
            what: format!(
                "`{name}` receives into buffers of at least {} octets; the pool's have {}",
                capabilities.min_rx_buffer,
                pool.frame_room()
            ),
        });
    }
    let can = capabilities.offloads;
    let rss = match config.rss {
        _ if !capabilities.rss || rx_queues == 1 && !can.rx_hash => Rss::Off,
        Rss::Source if !capabilities.rss_source_only => Rss::Flow,
        rss => rss,
    };
    let mut offloads = if config.checksums { can } else { Offloads::default() };
    offloads.rx_hash = can.rx_hash && rss != Rss::Off;
    let (rx_offloads, tx_offloads) = offloads.flags();
    let types = capabilities.rss_types & caps::rss_types();
    let key = &wire::toeplitz::KEY;
    let key_fits = usize::from(capabilities.hash_key_size) == key.len();
    let conf = sys::shim_port_conf {
        rx_queues,
        tx_queues,
        rx_offloads,
        tx_offloads,
        rss_types: match rss {
            Rss::Off => 0,
            Rss::Flow => types,
            Rss::Source => types & sys::SHIM_RSS_IP | sys::SHIM_RSS_L3_SRC_ONLY,
        },
        rss_key: if key_fits { key.as_ptr() } else { std::ptr::null() },
        rss_key_len: if key_fits { capabilities.hash_key_size } else { 0 },
        mtu: u32::from(config.mtu.unwrap_or(0)),
        rx_interrupts: capabilities.waits_by_interrupt(),
    };
    // Of all calls below: DPDK checks the number; the device is ours and not started, and the lock
    // keeps others out; what pointers lead to lives through the call.
    log::attempt(
        || format!("configure `{name}`"),
        // SAFETY: see above; the key has as many octets as said.
        || unsafe { sys::shim_port_configure(number, &raw const conf) },
    )?;
    let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors);
    log::attempt(
        || format!("size the queues of `{name}`"),
        // SAFETY: see above.
        || unsafe {
            sys::rte_eth_dev_adjust_nb_rx_tx_desc(number, &raw mut rx_descriptors, &raw mut tx_descriptors)
        },
    )?;
    if let Some(mtu) = config.mtu {
        log::attempt(
            || format!("set the MTU of `{name}` to {mtu}"),
            // SAFETY: see above.
            || unsafe { sys::rte_eth_dev_set_mtu(number, mtu) },
        )?;
    }
    // SAFETY: see above.
    let socket = unsafe { sys::rte_eth_dev_socket_id(number) }.cast_unsigned();
    for queue in 0..rx_queues {
        log::attempt(
            || format!("set up receive queue {queue} of `{name}`"),
            // SAFETY: see above; pools live for ever.
            || unsafe { sys::shim_rx_queue_setup(number, queue, rx_descriptors, socket, pool.as_ptr()) },
        )?;
    }
    for queue in 0..tx_queues {
        log::attempt(
            || format!("set up send queue {queue} of `{name}`"),
            // SAFETY: see above.
            || unsafe { sys::shim_tx_queue_setup(number, queue, tx_descriptors, socket, tx_offloads) },
        )?;
    }
    // SAFETY: see above.
    log::attempt(|| format!("start `{name}`"), || unsafe { sys::rte_eth_dev_start(number) })?;
    if config.promiscuous {
        // SAFETY: see above.
        let on = log::attempt(
            || format!("make `{name}` promiscuous"),
            // SAFETY: see above.
            || unsafe { sys::rte_eth_promiscuous_enable(number) },
        );
        if let Err(error) = on {
            // SAFETY: see above; no queue handle exists yet.
            unsafe { sys::rte_eth_dev_stop(number) };
            return Err(error);
        }
    }
    Ok((offloads, rss, rx_queues, tx_queues))
}

/// Control, state and statistics of a running device. It stops when this and all queues are gone.
#[derive(Debug)]
pub struct Port {
    pub(crate) owned: Arc<Owned>,
    capabilities: Capabilities,
    offloads: Offloads,
    rss: Rss,
    sockets: Vec<RawFd>,
    _one_thread: PhantomData<Cell<()>>,
}

impl Port {
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
        Ok(Link { up: link.up, mbps, full_duplex: link.full_duplex })
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
