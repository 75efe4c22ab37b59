//! Next hops as the short way has them: what to write in front of a packet, and where it leaves.

use snapshot::Port;
use wire::{MacAddr, PacketBuf};

use crate::forward::Hop;
use crate::neighbours::NextHopId;
use crate::worker::Worker;

/// Where packets to a next hop leave: its number's place in [`Worker::ways`].
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Destination and source address of the frames.
    pub(crate) macs: [u8; 12],
    /// Longest IPv4 packet; 0: not known, or a VLAN's.
    mtu: u16,
    pub(crate) device: u8,
}

impl Way {
    const UNKNOWN: Way = Way { macs: [0; 12], mtu: 0, device: 0 };

    /// The way that a next hop's word, less the port it is noted for, names, if it is known and takes
    /// packets of so many octets.
    #[inline(always)]
    pub(crate) fn of(ways: &[Way], word: u32, total: u16) -> Option<&Way> {
        let at = word.wrapping_sub(Hop::FIRST) as usize;
        ways.get(at).filter(|way| total <= way.mtu)
    }
}

impl<B: PacketBuf> Worker<B> {
    /// Notes where a next hop leads, known and resolved as it is. [`Worker::forget_ways`] ends that.
    pub(crate) fn note_way(&mut self, hop: NextHopId, port: &Port, mac: MacAddr) {
        let at = hop.0 as usize;
        if port.vlan.is_some() || self.ways.get(at).is_some_and(|w| w.mtu != 0) {
            return;
        }
        if self.ways.len() <= at {
            self.ways.resize(at + 1, Way::UNKNOWN);
        }
        if let Some(way) = self.ways.get_mut(at) {
            way.macs[..6].copy_from_slice(&mac.0);
            way.macs[6..].copy_from_slice(&port.mac.0);
            (way.mtu, way.device) = (port.mtu, port.device);
        }
    }

    /// Ports or neighbours changed: the next packet to each next hop goes the long way.
    pub(crate) fn forget_ways(&mut self) {
        self.ways.clear();
    }
}
