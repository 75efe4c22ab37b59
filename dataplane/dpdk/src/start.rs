//! Starting a device: queues, spread, and the work it takes over, as far as it can.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dpdk_sys as sys;

use crate::caps::{self, Capabilities, Offloads};
use crate::device::{Device, Owned, PortNumber};
use crate::eal::control;
use crate::error::Error;
use crate::log;
use crate::mempool::Mempool;
use crate::port::Port;
use crate::queue::{QueueNumber, RxQueue, TxQueue};
use crate::wait;

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
        let port = Port::new(owned, capabilities, offloads, rss, sockets);
        Ok(Started { port, rx, tx })
    }
}

/// What a queue of a driver with receive interrupts is waited for by.
fn interrupt_fd(port: PortNumber, queue: u16) -> Option<RawFd> {
    // SAFETY: DPDK checks both numbers.
    Some(unsafe { sys::rte_eth_dev_rx_intr_ctl_q_get_fd(port.0, queue) }).filter(|&fd| fd >= 0)
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
