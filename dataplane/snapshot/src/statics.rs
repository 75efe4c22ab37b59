//! Static mappings, looked up from both ends.

use std::net::Ipv4Addr;

use model::{Name, Origin};
use wire::{Endpoint, Protocol};

use crate::flat::FlatMap;

/// A static mapping as it applies to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticHit {
    /// Place of the mapping in [`Statics::mappings`].
    pub number: u32,
    /// The outside end.
    pub outside: Endpoint,
    /// The inside end.
    pub inside: Endpoint,
}

/// A static mapping of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticEntry {
    /// Who wrote it.
    pub origin: Origin,
    /// Its name.
    pub name: Name,
    /// Its protocol; `None`: all.
    pub protocol: Option<Protocol>,
    /// Outside address.
    pub outside: Ipv4Addr,
    /// Inside address.
    pub inside: Ipv4Addr,
    /// First outside port, first inside port, how many more; `None`: every port, kept.
    pub ports: Option<(u16, u16, u16)>,
}

impl StaticEntry {
    /// The port across, if the mapping holds `protocol` and `port` at this end.
    #[inline]
    fn across(&self, protocol: Protocol, port: u16, outward: bool) -> Option<u16> {
        if self.protocol.is_some_and(|p| p != protocol) {
            return None;
        }
        let Some((outside, inside, more)) = self.ports else { return Some(port) };
        let (here, there) = if outward { (inside, outside) } else { (outside, inside) };
        let step = port.checked_sub(here).filter(|step| *step <= more)?;
        there.checked_add(step)
    }
}

/// Mappings of one address: a range of an index.
type Span = (u32, u32);

/// All static mappings of a snapshot. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Statics {
    mappings: Vec<StaticEntry>,
    by_outside: FlatMap<Span>,
    by_inside: FlatMap<Span>,
    /// Places in `mappings` by outside address, then by inside address; port forwards before 1:1.
    outward: Vec<u32>,
    inward: Vec<u32>,
}

impl Statics {
    /// Indexes mappings, which are in the order that decides where several hold one inside endpoint.
    pub(crate) fn compile(mappings: Vec<StaticEntry>) -> Self {
        let index = |end: fn(&StaticEntry) -> Ipv4Addr| {
            let mut order: Vec<u32> = (0..mappings.len() as u32).collect();
            order.sort_by_key(|&n| (end(&mappings[n as usize]), mappings[n as usize].ports.is_none(), n));
            let mut spans = FlatMap::with_room(mappings.len());
            for (at, &n) in (0u32..).zip(&order) {
                let key = u64::from(end(&mappings[n as usize]).to_bits());
                let (first, last): &mut Span = spans.entry(key);
                if last == &0 {
                    *first = at;
                }
                *last = at + 1;
            }
            (order, spans)
        };
        let (by_out, by_outside) = index(|m| m.outside);
        let (by_in, by_inside) = index(|m| m.inside);
        Statics { mappings, by_outside, by_inside, outward: by_out, inward: by_in }
    }

    /// The mapping that holds an outside endpoint.
    #[inline]
    pub fn by_outside(&self, protocol: Protocol, outside: Endpoint) -> Option<StaticHit> {
        let (first, last) = self.by_outside.find(u64::from(outside.address.to_bits()))?;
        self.outward.get(first as usize..last as usize)?.iter().find_map(|&number| {
            let entry = self.mappings.get(number as usize)?;
            let port = entry.across(protocol, outside.port, false)?;
            Some(StaticHit { number, outside, inside: Endpoint::new(entry.inside, port) })
        })
    }

    /// The mapping that holds an inside endpoint: port forwards before 1:1 ones, then by origin and name.
    #[inline]
    pub fn by_inside(&self, protocol: Protocol, inside: Endpoint) -> Option<StaticHit> {
        if self.mappings.is_empty() {
            return None;
        }
        let (first, last) = self.by_inside.find(u64::from(inside.address.to_bits()))?;
        self.inward.get(first as usize..last as usize)?.iter().find_map(|&number| {
            let entry = self.mappings.get(number as usize)?;
            let port = entry.across(protocol, inside.port, true)?;
            Some(StaticHit { number, outside: Endpoint::new(entry.outside, port), inside })
        })
    }

    /// All mappings, by origin and name.
    pub fn mappings(&self) -> &[StaticEntry] {
        &self.mappings
    }
}
