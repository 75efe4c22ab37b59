//! What the gateway itself is: its ports and the routes of its own file.

use ipnet::Ipv4Net;
use model::Route;
use nat::Side;
use std::net::Ipv4Addr;
use wire::MacAddr;

/// Number of a port: its place in the node file. A VLAN sub-port is a port of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u8);

impl From<u8> for PortId {
    fn from(number: u8) -> Self {
        PortId(number)
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number; equal to its place in [`NodeFacts::ports`].
    pub id: PortId,
    /// Its name in the node file.
    pub name: String,
    /// Which side it leads to.
    pub side: Side,
    /// The device that carries it.
    pub device: u8,
    /// Its VLAN on that device; `None`: untagged.
    pub vlan: Option<u16>,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Largest IPv4 packet that it carries, in octets.
    pub mtu: u16,
    /// Its addresses, each with its subnet's length.
    pub addresses: Vec<Ipv4Net>,
}

impl Port {
    /// Its first address: the source of what the gateway itself sends by it.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.addresses.first().map(Ipv4Net::addr)
    }

    /// Its address in the subnet that holds `neighbour`, else its first.
    pub fn address_towards(&self, neighbour: Ipv4Addr) -> Option<Ipv4Addr> {
        let near = self.addresses.iter().find(|net| net.contains(&neighbour));
        near.map(Ipv4Net::addr).or_else(|| self.address())
    }

    /// Is `address` in one of its subnets?
    #[inline]
    pub fn reaches(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.contains(&address))
    }

    /// Is `address` the broadcast address of one of its subnets (RFC 919, RFC 3021: none in a /31 or /32)?
    #[inline]
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.prefix_len() < 31 && net.broadcast() == address)
    }
}

/// Facts of the node: everything that a snapshot is made of beside the Config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Name of the node.
    pub name: String,
    /// Ports; at most 256.
    pub ports: Vec<Port>,
    /// Routes of the node file.
    pub routes: Vec<Route>,
}
