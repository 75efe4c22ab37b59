//! From names on the command line to running devices: a kernel interface, a device by DPDK's
//! arguments, a NIC by its PCI address, or a pair of rings in memory.

use std::net::Ipv4Addr;

use anyhow::{Result, anyhow, bail};
use dpdk::{Device, Eal, EalConfig, Interface, Level, Mempool, PoolConfig, PortConfig, Started};

use super::generator::End;
use crate::pages::Reserved;

/// What a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortName {
    /// An interface of the kernel's, by AF_XDP where it can be had, or AF_PACKET.
    Interface(String),
    /// A device by its arguments, or a PCI address.
    Device(String),
    /// Two devices in memory: what one sends, the other receives.
    Ring,
}

/// A PCI address, with or without its domain.
fn is_pci(text: &str) -> bool {
    let address = text.split(',').next().unwrap_or(text);
    address.contains(':') && address.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
}

impl std::str::FromStr for PortName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "ring" => PortName::Ring,
            _ if text.starts_with("net_") || text.contains(',') || is_pci(text) => {
                PortName::Device(text.to_owned())
            }
            _ => PortName::Interface(text.to_owned()),
        })
    }
}

impl std::fmt::Display for PortName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortName::Interface(name) | PortName::Device(name) => f.write_str(name),
            PortName::Ring => f.write_str("ring"),
        }
    }
}

/// Buffers of a queue pair: descriptors both ways.
const PER_QUEUE: u32 = 4096;

/// What a port needs of the pool, and of DPDK.
struct Needs {
    queues: u32,
    data_room: u16,
    pci: Option<String>,
}

fn told(name: &PortName, error: &dpdk::Error) -> anyhow::Error {
    let more = match (name, error) {
        (PortName::Interface(_), dpdk::Error::MissingInterface { .. }) => {
            "; a device of DPDK's is named like net_af_packet0,iface=eth0, a NIC like 0000:3b:00.0"
        }
        _ => "",
    };
    anyhow!("port {name}: {error}; {}{more}", error.remedy())
}

impl Needs {
    fn of(name: &PortName, longest: usize) -> Result<Self> {
        let room = PoolConfig::default().data_room;
        let needs = Needs { queues: 1, data_room: room, pci: None };
        match name {
            PortName::Ring => Ok(needs),
            PortName::Device(device) => Ok(Needs { pci: is_pci(device).then(|| device.clone()), ..needs }),
            PortName::Interface(interface) => {
                let found = Interface::named(interface).map_err(|e| told(name, &e))?;
                if !found.up {
                    bail!("port {name}: the interface is down; `ip link set {name} up`");
                }
                if longest > usize::from(found.mtu) + 14 {
                    bail!(
                        "port {name}: frames of {} octets do not fit its MTU of {}; `ip link set {name} mtu 1500`, \
                         or a smaller --size",
                        longest + 4,
                        found.mtu
                    );
                }
                let ways = dpdk::device_for_interface(interface, 1).map_err(|e| told(name, &e))?;
                let fits = ways.iter().map(dpdk::Candidate::data_room).find(|rooms| !rooms.is_empty());
                let least = fits.map_or(room, |rooms| *rooms.start());
                Ok(Needs { queues: u32::from(found.rx_queues), data_room: least.max(room), pci: None })
            }
        }
    }
}

/// The ports that are open, and what they are made of.
pub struct Opened {
    /// Where packets are sent.
    pub out: End,
    /// Where they come back; `None`: the same.
    pub back: Option<End>,
    /// Their buffers.
    pub pool: Mempool,
    /// DPDK.
    pub eal: Eal,
    /// Why hugepages could not be had for a NIC, where that is so.
    pub note: Option<String>,
    _reserved: Option<Reserved>,
}

/// A port of the command line, and the address that the generator has there.
pub type Wanted<'a> = (&'a PortName, Option<Ipv4Addr>);

/// Initialises DPDK and opens `from` and, where it is another, `to`; frames have up to `longest` octets without FCS.
pub fn open(from: Wanted<'_>, to: Option<Wanted<'_>>, longest: usize) -> Result<Opened> {
    let to = to.filter(|(name, _)| *name != from.0 || *name == &PortName::Ring);
    if *from.0 == PortName::Ring && to.is_some_and(|(name, _)| *name != PortName::Ring) {
        bail!("--from ring sends to the other end of the ring: leave --to out");
    }
    if *from.0 != PortName::Ring && to.is_some_and(|(name, _)| *name == PortName::Ring) {
        bail!("--to ring goes with --from ring alone: name the port that packets come back by");
    }
    let mut needs = vec![Needs::of(from.0, longest)?];
    if let Some((name, _)) = to {
        needs.push(Needs::of(name, longest)?);
    }
    let queues: u32 = needs.iter().map(|n| n.queues).sum();
    let mbufs = (queues * PER_QUEUE + PER_QUEUE).max(16_384).next_power_of_two() - 1;
    let data_room = needs.iter().map(|n| n.data_room).max().unwrap_or(2176).next_multiple_of(64);
    let each = (u64::from(data_room) + 256).next_multiple_of(4096);
    let memory_mib = (u64::from(mbufs) * each / (1 << 20)) as u32 + 64;
    let pci: Vec<String> = needs.into_iter().filter_map(|n| n.pci).collect();
    // A NIC without an IOMMU wants pages that stay where they are; sockets do not care.
    let (reserved, got) = if pci.is_empty() {
        (None, Ok(()))
    } else {
        let (reserved, got) = Reserved::for_bytes(u64::from(memory_mib) << 20);
        (Some(reserved), got)
    };
    let packed = pci.is_empty();
    let config = EalConfig { memory_mib, pci, log: Level::Error, ..EalConfig::default() };
    // What DPDK says of a failure is in the error; the rest is chatter.
    let eal = Eal::init(&config, |_, _| {}).map_err(|e| anyhow!("{e}; {}", e.remedy()))?;
    let pool = PoolConfig { name: "flood".to_owned(), mbufs, data_room, packed, ..PoolConfig::default() };
    let pool = Mempool::new(&eal, &pool).map_err(|e| anyhow!("{e}; {}", e.remedy()))?;
    let end =
        |wanted: Wanted<'_>, started: Started| End::new(started, wanted.1).map_err(|e| told(wanted.0, &e));
    let (out, back) = if *from.0 == PortName::Ring {
        let pair = Device::ring_pair(&eal, "flood", 1, 2048).map_err(|e| told(from.0, &e))?;
        let start =
            |device: Device| device.start(&PortConfig::default(), &pool).map_err(|e| told(from.0, &e));
        let address = to.and_then(|(_, ip)| ip);
        (end(from, start(pair.0)?)?, Some(end((from.0, address), start(pair.1)?)?))
    } else {
        let out = end(from, start(&eal, &pool, from.0)?)?;
        let back = match to {
            Some(wanted) => Some(end(wanted, start(&eal, &pool, wanted.0)?)?),
            None => None,
        };
        (out, back)
    };
    Ok(Opened { out, back, pool, eal, note: got.err(), _reserved: reserved })
}

fn start(eal: &Eal, pool: &Mempool, name: &PortName) -> Result<Started> {
    let config = PortConfig::default();
    match name {
        PortName::Interface(interface) => {
            let attached =
                dpdk::probe_interface(eal, interface, &config, pool).map_err(|e| told(name, &e))?;
            for rejected in &attached.rejected {
                eprintln!(
                    "sluice-perf: {interface}: {} does not work here: {}",
                    rejected.driver, rejected.reason
                );
            }
            Ok(attached.started)
        }
        PortName::Device(device) => {
            let device = Device::probe(eal, device).map_err(|e| told(name, &e))?;
            device.start(&config, pool).map_err(|e| told(name, &e))
        }
        PortName::Ring => bail!("port ring: it is opened as a pair"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_by_its_name() {
        let name = |text: &str| text.parse::<PortName>().unwrap();
        assert_eq!(name("eth0"), PortName::Interface("eth0".to_owned()));
        assert_eq!(name("ring"), PortName::Ring);
        for device in ["0000:3b:00.0", "3b:00.1", "net_af_packet0,iface=eth0", "net_null0"] {
            assert_eq!(name(device), PortName::Device(device.to_owned()));
        }
    }

    #[test]
    fn a_missing_interface_is_told_with_what_else_a_port_may_be() {
        let missing = PortName::Interface("nosuch0".to_owned());
        let told = open((&missing, None), None, 60).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            told.contains("nosuch0") && told.contains("ip link") && told.contains("0000:3b:00.0"),
            "{told}"
        );
        let told = open((&missing, None), Some((&PortName::Ring, None)), 60).err().unwrap().to_string();
        assert!(told.contains("--from ring"), "{told}");
    }

    #[test]
    fn a_frame_longer_than_the_interface_takes_is_told_before_anything_is_sent() {
        let lo = PortName::Interface("lo".to_owned());
        let told = open((&lo, None), None, 70_000).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(told.contains("MTU") || told.contains("down"), "{told}");
    }
}
