//! From the name of a kernel interface to a running device: the drivers that could take it, the
//! fastest first, and a probe that really starts each until one runs.

use std::fmt;
use std::ops::RangeInclusive;

use crate::device::Device;
use crate::eal::Eal;
use crate::error::Error;
use crate::interface::Interface;
use crate::mempool::Mempool;
use crate::start::{PortConfig, Started};

/// Drivers that run over a kernel interface, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// AF_XDP sockets.
    AfXdp,
    /// AF_PACKET sockets with mapped rings.
    AfPacket,
    /// A TAP device that the interface's traffic is redirected to.
    Tap,
}

impl Driver {
    /// All, the fastest first.
    pub const ALL: [Driver; 3] = [Driver::AfXdp, Driver::AfPacket, Driver::Tap];
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Driver::AfXdp => "af_xdp",
            Driver::AfPacket => "af_packet",
            Driver::Tap => "tap",
        })
    }
}

/// One way to take an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The driver.
    pub driver: Driver,
    /// Its device arguments.
    pub devargs: String,
    /// Receive and send queues it has to have: with AF_XDP, packets of queues that nobody opens
    /// would go to the kernel.
    pub queues: u16,
    /// Longest frame of the interface's MTU, octets, one VLAN tag included.
    pub frame: usize,
}

impl Candidate {
    /// The sizes of [`PoolConfig::data_room`](crate::PoolConfig) that it runs with. Empty: none will do.
    pub fn data_room(&self) -> RangeInclusive<u16> {
        data_room(self.driver, self.frame)
    }
}

/// What buffers have to be like so that no frame of this length is lost.
fn data_room(driver: Driver, frame: usize) -> RangeInclusive<u16> {
    const HEADROOM: usize = dpdk_sys::RTE_PKTMBUF_HEADROOM as usize;
    let (least, most) = match driver {
        // An element of the pool (64 octets of its header, 128 of the mbuf's) is a chunk of AF_XDP's,
        // which is a page at most and of which the kernel keeps 256 octets. The driver would take
        // any MTU, and lose longer frames without a word.
        Driver::AfXdp => (frame + HEADROOM + 256, 4_096 - 64 - 128),
        // The driver wants room for all of a slot but 32 octets.
        Driver::AfPacket => (packet_slot(frame) - 32 + HEADROOM, usize::MAX),
        Driver::Tap => (frame + HEADROOM, usize::MAX),
    };
    let most = u16::try_from(most).unwrap_or(u16::MAX);
    u16::try_from(least).map_or(RangeInclusive::new(1, 0), |least| least..=most)
}

/// A way that did not work.
#[derive(Debug)]
pub struct Rejected {
    /// The driver.
    pub driver: Driver,
    /// Its device arguments.
    pub devargs: String,
    /// Why not.
    pub reason: Error,
}

/// A running device, and what was tried before.
#[derive(Debug)]
pub struct Attached {
    /// The driver that took the interface.
    pub driver: Driver,
    /// The device.
    pub started: Started,
    /// Faster ways that did not work.
    pub rejected: Vec<Rejected>,
}

/// The ways to take an interface of the current network namespace with about `queues` queues, the
/// fastest first. Fails if there is no such interface.
pub fn device_for_interface(name: &str, queues: u16) -> Result<Vec<Candidate>, Error> {
    Ok(candidates(&Interface::named(name)?, queues.max(1)).into())
}

fn candidates(interface: &Interface, queues: u16) -> [Candidate; 3] {
    let (name, xdp_queues) = (&interface.name, interface.rx_queues);
    let frame = longest_frame(interface.mtu);
    let slot = packet_slot(frame);
    // Packet rings are made of blocks; both sizes are powers of two.
    let block = slot.max(65_536);
    Driver::ALL.map(|driver| match driver {
        Driver::AfXdp => Candidate {
            driver,
            devargs: format!("net_af_xdp_{name},iface={name},start_queue=0,queue_count={xdp_queues}"),
            queues: xdp_queues,
            frame,
        },
        Driver::AfPacket => Candidate {
            driver,
            devargs: format!(
                "net_af_packet_{name},iface={name},qpairs={queues},blocksz={block},framesz={slot},framecnt=2048"
            ),
            queues,
            frame,
        },
        Driver::Tap => Candidate {
            driver,
            devargs: format!("net_tap_{name},iface=slt{},remote={name}", interface.index),
            queues,
            frame,
        },
    })
}

/// Octets of a frame of this MTU, Ethernet and one VLAN tag included.
fn longest_frame(mtu: u16) -> usize {
    usize::from(mtu) + 18
}

/// Octets of a packet ring's slot that holds a frame and what the kernel puts before it.
fn packet_slot(frame: usize) -> usize {
    (frame + 110).next_power_of_two().max(2_048)
}

/// Starts the first candidate that works. Fails if none does, with every reason.
pub fn attach(
    eal: &Eal,
    interface: &str,
    candidates: &[Candidate],
    config: &PortConfig,
    pool: &Mempool,
) -> Result<Attached, Error> {
    let mut rejected = Vec::new();
    for candidate in candidates {
        match start(eal, candidate, config, pool) {
            Ok(started) => return Ok(Attached { driver: candidate.driver, started, rejected }),
            Err(reason) => rejected.push(Rejected {
                driver: candidate.driver,
                devargs: candidate.devargs.clone(),
                reason: judge(reason),
            }),
        }
    }
    Err(Error::NoDevice { interface: interface.to_owned(), rejected })
}

/// [`device_for_interface`] and [`attach`]: the fastest device that works over an interface.
pub fn probe_interface(
    eal: &Eal,
    name: &str,
    config: &PortConfig,
    pool: &Mempool,
) -> Result<Attached, Error> {
    let candidates = device_for_interface(name, config.rx_queues.max(config.tx_queues))?;
    attach(eal, name, &candidates, config, pool)
}

fn start(eal: &Eal, candidate: &Candidate, config: &PortConfig, pool: &Mempool) -> Result<Started, Error> {
    let queues = candidate.queues;
    let frame = candidate.frame.max(config.mtu.map_or(0, longest_frame));
    let rooms = data_room(candidate.driver, frame);
    if !rooms.contains(&pool.data_room()) {
        let buffers = if rooms.is_empty() {
            "this driver cannot take".to_owned()
        } else {
            format!(
                "need buffers of {} to {} octets: the pool's have {}",
                rooms.start(),
                rooms.end(),
                pool.data_room()
            )
        };
        return Err(Error::Invalid {
            what: format!("frames of the interface have up to {frame} octets, which {buffers}"),
        });
    }
    let device = Device::probe(eal, &candidate.devargs)?;
    let found = device.capabilities().max_rx_queues;
    if candidate.driver == Driver::AfXdp && found < queues {
        return Err(Error::Invalid {
            what: format!("the interface has {queues} receive queues, of which the driver opens {found}"),
        });
    }
    let config = PortConfig { rx_queues: queues, tx_queues: queues, ..config.clone() };
    device.start(&config, pool)
}

/// Drivers answer missing rights by -22 as well, so ask the kernel which ones there are.
fn judge(reason: Error) -> Error {
    match reason {
        Error::Refused { doing, said, .. } if !may_open_packet_sockets() => {
            Error::NoPermission { doing, said }
        }
        other => other,
    }
}

fn may_open_packet_sockets() -> bool {
    const NET_ADMIN: u64 = 1 << 12;
    const NET_RAW: u64 = 1 << 13;
    let Ok(status) = std::fs::read_to_string("/proc/thread-self/status") else { return true };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    rights.is_none_or(|rights| rights & NET_ADMIN != 0 && rights & NET_RAW != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(mtu: u16, rx_queues: u16) -> Interface {
        Interface { name: "eth0".into(), index: 7, mtu, rx_queues, up: true }
    }

    #[test]
    fn the_fastest_way_comes_first_and_opens_every_queue_of_the_interface() {
        let ways = candidates(&interface(1_500, 4), 2);
        assert_eq!(ways.iter().map(|way| way.driver).collect::<Vec<_>>(), Driver::ALL);
        assert!(ways[0].devargs.ends_with("start_queue=0,queue_count=4"), "{}", ways[0].devargs);
        assert_eq!((ways[0].queues, ways[1].queues), (4, 2));
        assert!(ways[2].devargs.ends_with("iface=slt7,remote=eth0"), "{}", ways[2].devargs);
    }

    #[test]
    fn packet_ring_slots_hold_the_mtu() {
        for (mtu, slot) in [(1_500, 2_048), (1_921, 4_096), (9_000, 16_384), (u16::MAX, 131_072)] {
            assert_eq!(packet_slot(longest_frame(mtu)), slot);
        }
        let ways = candidates(&interface(9_000, 1), 1);
        assert!(ways[1].devargs.contains("blocksz=65536,framesz=16384"), "{}", ways[1].devargs);
    }

    #[test]
    fn each_driver_says_what_buffers_it_needs() {
        let rooms = |mtu| candidates(&interface(mtu, 1), 1).map(|way| way.data_room());
        for (mtu, xdp, packet, tap) in [
            (1_500, 1_902..=3_904, 2_144..=u16::MAX, 1_646..=u16::MAX),
            (3_400, 3_802..=3_904, 4_192..=u16::MAX, 3_546..=u16::MAX),
            (9_000, RangeInclusive::new(9_402, 3_904), 16_480..=u16::MAX, 9_146..=u16::MAX),
        ] {
            assert_eq!(rooms(mtu), [xdp, packet, tap], "MTU {mtu}");
        }
        assert!(rooms(9_000)[0].is_empty(), "no page holds that");
        assert!(rooms(u16::MAX).iter().all(RangeInclusive::is_empty));
        assert!(rooms(1_500).iter().all(|room| room.contains(&crate::PoolConfig::default().data_room)));
    }
}
