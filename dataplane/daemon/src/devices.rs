//! The devices behind the ports: EAL, the packet pool, and what each port attaches to.

use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use dpdk::{
    Eal, EalConfig, Hugepages, Interface, Level, Link, Memory, Mempool, PoolConfig, Port, PortConfig,
};
use dpdk::{RxQueue, Started, Stats, TxQueue};
use model::{Attachment, Node};

use crate::node::{DeviceFacts, attachments};

/// Octets of headroom, Ethernet and slack in a buffer beside the IP packet. AF_XDP keeps 576 of
/// an element for itself.
const BESIDE: u16 = 640;
/// The pool's buffers are at least this large: what AF_XDP wants.
const LEAST_ROOM: u16 = 2_176;
/// Buffers that a device may hold: a receive and a send queue of 2,048 descriptors, for each worker.
const PER_QUEUE: u32 = 4_096;
/// Buffers in rings, caches, bursts and waiting rooms of a worker.
const PER_WORKER: u32 = 4_096;

/// A running device.
pub(crate) struct Device {
    name: String,
    facts: DeviceFacts,
    sockets: Vec<RawFd>,
    // DPDK's control calls are made by one thread at a time.
    port: Mutex<Port>,
}

impl Device {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its hardware address and MTU.
    pub(crate) fn facts(&self) -> DeviceFacts {
        self.facts
    }

    /// Sockets to sleep on; empty: it must be polled.
    pub(crate) fn sockets(&self) -> &[RawFd] {
        &self.sockets
    }

    /// Its link; down where the device does not say.
    pub(crate) fn link(&self) -> Link {
        let port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        port.link().unwrap_or(Link { up: false, mbps: None, full_duplex: false })
    }

    /// Its counters; zeros where the device does not say.
    pub(crate) fn stats(&self) -> Stats {
        self.port.lock().unwrap_or_else(PoisonError::into_inner).stats().unwrap_or_default()
    }
}

/// An error of DPDK with its remedy, about a field of the node file.
fn remedied(field: &str, error: &dpdk::Error) -> anyhow::Error {
    anyhow!("{field}: {error}; {}", error.remedy())
}

/// EAL, and a pool that is large enough for all ports and workers.
pub(crate) fn eal(node: &Node, workers: usize) -> anyhow::Result<(Eal, Mempool)> {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let devices = attachments(node);
    let mtu = node.ports.iter().filter_map(|p| p.mtu).max().unwrap_or(1_500);
    let data_room = mtu.saturating_add(BESIDE).max(LEAST_ROOM).next_multiple_of(64);
    let per_device = PER_QUEUE.saturating_mul(workers);
    let mbufs =
        per_device.saturating_mul(devices.len() as u32).saturating_add(PER_WORKER.saturating_mul(workers));
    let mbufs = mbufs.max(16_384).next_power_of_two() - 1;
    // An mbuf on normal pages takes whole pages.
    let each = (u32::from(data_room) + 256).next_multiple_of(4_096);
    let memory_mib = (u64::from(mbufs) * u64::from(each) / (1 << 20)) as u32 + 64;
    let pci = devices.iter().filter_map(|attachment| match attachment {
        Attachment::Device(device) if is_pci(device) => Some(device.clone()),
        _ => None,
    });
    let config = EalConfig {
        hugepages: match node.memory.hugepages {
            model::Hugepages::Auto => Hugepages::Auto,
            model::Hugepages::Required => Hugepages::Required,
            model::Hugepages::Off => Hugepages::Never,
        },
        memory_mib,
        pci: pci.collect(),
        log: Level::Info,
    };
    let eal = Eal::init(&config, |level, line| match level {
        Level::Error => tracing::warn!(target: "dpdk", "{line}"),
        Level::Warning | Level::Info | Level::Debug => tracing::debug!(target: "dpdk", "{line}"),
    })
    .map_err(|e| remedied("memory.hugepages", &e))?;
    if let (Memory::NormalPages { reason }, model::Hugepages::Auto) = (eal.memory(), node.memory.hugepages) {
        tracing::warn!(
            "running on normal pages ({reason}): slower; `sysctl -w vm.nr_hugepages={}` reserves hugepages",
            memory_mib.div_ceil(2)
        );
    }
    let packed = config.pci.is_empty();
    let pool = PoolConfig { name: "sluice".to_owned(), mbufs, data_room, packed, ..PoolConfig::default() };
    let pool = Mempool::new(&eal, &pool).map_err(|e| remedied("memory", &e))?;
    tracing::info!(version = eal.version(), mbufs, data_room, "DPDK is up");
    Ok((eal, pool))
}

/// A PCI address, with or without its domain.
fn is_pci(device: &str) -> bool {
    let address = device.split(',').next().unwrap_or(device);
    address.contains(':') && address.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
}

/// Queues of a device.
pub(crate) struct Queues {
    /// Those to poll.
    pub(crate) rx: Vec<RxQueue>,
    /// Those to fill.
    pub(crate) tx: Vec<TxQueue>,
}

/// Opens what a port of the node attaches to.
///
/// # Errors
/// The field of the port, what is wrong with its device, and what to do.
pub(crate) fn open(
    eal: &Eal,
    pool: &Mempool,
    node: &Node,
    attachment: &Attachment,
    workers: usize,
) -> anyhow::Result<(Device, Queues)> {
    let at = node.ports.iter().position(|p| p.attachment == *attachment).unwrap_or(0);
    let queues = u16::try_from(workers).unwrap_or(u16::MAX);
    let mtu = node.ports.iter().filter(|p| p.attachment == *attachment).filter_map(|p| p.mtu).max();
    let config = PortConfig { rx_queues: queues, tx_queues: queues, mtu, ..PortConfig::default() };
    let (started, known_mtu) = match attachment {
        Attachment::Device(devargs) => {
            let field = format!("ports[{at}].device");
            let device = dpdk::Device::probe(eal, devargs).map_err(|e| remedied(&field, &e))?;
            (device.start(&config, pool).map_err(|e| remedied(&field, &e))?, None)
        }
        Attachment::Interface(name) => {
            let field = format!("ports[{at}].interface");
            let interface = Interface::named(name).map_err(|e| remedied(&field, &e))?;
            // The kernel's MTU stands; the driver is not asked to change it.
            let config = PortConfig { mtu: None, ..config };
            let attached =
                dpdk::probe_interface(eal, name, &config, pool).map_err(|e| remedied(&field, &e))?;
            for rejected in &attached.rejected {
                tracing::warn!(
                    interface = %name, driver = %rejected.driver, reason = %rejected.reason,
                    "a faster device does not work here"
                );
            }
            tracing::info!(interface = %name, driver = %attached.driver, "attached");
            (attached.started, Some(interface.mtu))
        }
    };
    let Started { port, rx, tx } = started;
    let field = format!("ports[{at}]");
    let facts = DeviceFacts {
        mac: port.mac().map_err(|e| remedied(&field, &e))?,
        mtu: known_mtu.or_else(|| port.mtu().ok()),
    };
    let (name, sockets) = (port.name().to_owned(), port.sockets().to_vec());
    tracing::info!(
        device = %name, mac = %facts.mac, mtu = ?facts.mtu, rx_queues = rx.len(), tx_queues = tx.len(),
        offloads = ?port.offloads(), rss = ?port.rss(), "device is up"
    );
    Ok((Device { name, facts, sockets, port: Mutex::new(port) }, Queues { rx, tx }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_told_from_a_virtual_device() {
        assert!(is_pci("0000:3b:00.0") && is_pci("3b:00.0") && is_pci("0000:3b:00.0,foo=1"));
        assert!(!is_pci("net_af_xdp0,iface=eth0") && !is_pci("net_tap0"));
    }
}
