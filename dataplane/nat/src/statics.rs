//! Fixed mappings: an address, a port or a range of ports, one to one, in both directions.

use wire::{Endpoint, Family, Protocol, Tuple, V4};

/// Ports of a static mapping that does not map the whole address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StaticPorts {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// First inside port.
    pub inside: u16,
    /// First outside port.
    pub outside: u16,
    /// How many, at least 1.
    pub count: u16,
}

/// A fixed mapping between an inside and an outside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StaticMapping<F: Family = V4> {
    /// Inside address.
    pub inside: F::Addr,
    /// Outside address.
    pub outside: F::Addr,
    /// These ports alone; `None`: the whole address, ports and ids kept.
    pub ports: Option<StaticPorts>,
}

/// `port` moved from the range at `from` to that at `to`.
fn moved(port: u16, from: u16, to: u16, count: u16) -> Option<u16> {
    let offset = port.checked_sub(from).filter(|o| *o < count)?;
    to.checked_add(offset)
}

impl<F: Family> StaticMapping<F> {
    /// The outside end of an inside endpoint.
    pub fn to_outside(&self, protocol: Protocol, inside: Endpoint<F>) -> Option<Endpoint<F>> {
        if inside.address != self.inside {
            return None;
        }
        let port = match self.ports {
            None => inside.port,
            Some(p) if p.protocol == protocol => moved(inside.port, p.inside, p.outside, p.count)?,
            Some(_) => return None,
        };
        Some(Endpoint { address: self.outside, port })
    }

    /// The inside end of an outside endpoint.
    pub fn to_inside(&self, protocol: Protocol, outside: Endpoint<F>) -> Option<Endpoint<F>> {
        if outside.address != self.outside {
            return None;
        }
        let port = match self.ports {
            None => outside.port,
            Some(p) if p.protocol == protocol => moved(outside.port, p.outside, p.inside, p.count)?,
            Some(_) => return None,
        };
        Some(Endpoint { address: self.inside, port })
    }

    /// Key after translation of a packet that leaves the inside host.
    pub fn outbound(&self, tuple: &Tuple<F>) -> Option<Tuple<F>> {
        Some(Tuple { source: self.to_outside(tuple.protocol, tuple.source)?, ..*tuple })
    }

    /// Key after translation of a packet that comes from outside.
    pub fn inbound(&self, tuple: &Tuple<F>) -> Option<Tuple<F>> {
        Some(Tuple { destination: self.to_inside(tuple.protocol, tuple.destination)?, ..*tuple })
    }
}
