//! Addresses, endpoints and tuples, generic over the family so that IPv6 is not bolted on.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address family.
pub trait Family: Copy + Eq + Ord + Hash + Debug + 'static {
    /// Its address type.
    type Addr: Copy + Eq + Ord + Hash + Debug + Display;
}

/// IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V4;

/// IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V6;

impl Family for V4 {
    type Addr = Ipv4Addr;
}

impl Family for V6 {
    type Addr = Ipv6Addr;
}

/// IP protocol number (IANA).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Protocol = Protocol(1);
    /// TCP (RFC 9293).
    pub const TCP: Protocol = Protocol(6);
    /// UDP (RFC 768).
    pub const UDP: Protocol = Protocol(17);
}

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Protocol::ICMP => f.write_str("ICMP"),
            Protocol::TCP => f.write_str("TCP"),
            Protocol::UDP => f.write_str("UDP"),
            Protocol(n) => write!(f, "{n}"),
        }
    }
}

/// Address and port; for ICMP queries the port is the query identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint<F: Family = V4> {
    /// Address.
    pub address: F::Addr,
    /// Port, or ICMP query id, in host order.
    pub port: u16,
}

impl<F: Family> Endpoint<F> {
    /// Endpoint of that address and port.
    #[inline]
    pub const fn new(address: F::Addr, port: u16) -> Self {
        Endpoint { address, port }
    }
}

impl<F: Family> Display for Endpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

impl<F: Family> Debug for Endpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Full key of a packet's flow, as the packet carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple<F: Family = V4> {
    /// IP protocol.
    pub protocol: Protocol,
    /// Where the packet comes from.
    pub source: Endpoint<F>,
    /// Where it goes.
    pub destination: Endpoint<F>,
}

impl<F: Family> Tuple<F> {
    /// Tuple of that protocol and those ends.
    #[inline]
    pub const fn new(protocol: Protocol, source: Endpoint<F>, destination: Endpoint<F>) -> Self {
        Tuple { protocol, source, destination }
    }

    /// The tuple of a packet that goes the other way.
    #[inline]
    pub const fn reversed(&self) -> Self {
        Tuple { protocol: self.protocol, source: self.destination, destination: self.source }
    }
}

impl<F: Family> Display for Tuple<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol, self.source, self.destination)
    }
}

impl<F: Family> Debug for Tuple<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Ethernet address, in wire order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// None; the unknown target of an ARP request.
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// Is it a group address (broadcast too)?
    #[inline]
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_reversed_twice_is_itself() {
        let t: Tuple = Tuple::new(
            Protocol::UDP,
            Endpoint::new(Ipv4Addr::new(10, 0, 0, 1), 5),
            Endpoint::new(Ipv4Addr::new(1, 1, 1, 1), 53),
        );
        assert_ne!(t.reversed(), t);
        assert_eq!(t.reversed().reversed(), t);
        assert_eq!(t.to_string(), "UDP 10.0.0.1:5 > 1.1.1.1:53");
    }

    #[test]
    fn a_tuple_of_either_family_is_a_key() {
        let t: Tuple<V6> = Tuple::new(
            Protocol::TCP,
            Endpoint::new(Ipv6Addr::LOCALHOST, 1),
            Endpoint::new(Ipv6Addr::UNSPECIFIED, 2),
        );
        let set: std::collections::HashSet<Tuple<V6>> = [t, t].into_iter().collect();
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn broadcast_counts_as_multicast() {
        assert!(MacAddr::BROADCAST.is_multicast());
        assert!(!MacAddr([2, 0, 0, 0, 0, 1]).is_multicast());
    }
}
