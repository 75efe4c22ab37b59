//! Pools: the outside addresses that sources are translated to.
//!
//! What is leased outlives the snapshot: an address of a pool whose blocks are cut as before
//! keeps its leases, and a pool in which nothing changed is the very same value. Ports that
//! VIPs, static mappings and the host stack use are taken out of the blocks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use model::{EgressPool, Error, Kind, Name, ObjectRef, Origin};
use nat::{
    BlockLayout, LeaseTable, Pool, PoolAddress, PoolId, PoolSettings, Quotas, Ticks, Timeouts, WorkerId,
};
use policy::PoolNumber;
use wire::{Protocol, Tuple};

use crate::service::ticks;

/// Most addresses of one pool.
const ADDRESSES: u64 = 4_096;

/// Ports of each address that must not be handed out, ascending.
pub(crate) type Reserved = BTreeMap<Ipv4Addr, Vec<RangeInclusive<u16>>>;

/// An outside address that sources are translated to.
#[derive(Clone, Debug)]
pub struct OutsideAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Its pool, as its place in the snapshot's list.
    pub pool: PoolNumber,
    /// Who leases its blocks.
    pub leases: Arc<LeaseTable>,
}

impl OutsideAddress {
    /// The worker that owns what a packet with this key, from a remote to this address, answers; `None`: nobody.
    #[inline]
    pub fn owner(&self, key: &Tuple) -> Option<WorkerId> {
        match key.protocol {
            Protocol::TCP | Protocol::UDP | Protocol::ICMP => self.leases.owner(key.destination.port),
            protocol => self.leases.owner_remote(protocol, key.source.address),
        }
    }
}

/// A pool and what it was compiled from.
#[derive(Clone, Debug)]
pub(crate) struct PoolEntry {
    pub(crate) origin: Origin,
    pub(crate) name: Name,
    pub(crate) written: EgressPool,
    pub(crate) pool: Arc<Pool>,
    /// Reserved ports of each address, as in `pool.addresses`.
    reserved: Vec<Vec<RangeInclusive<u16>>>,
}

/// All pools, by origin and name. Immutable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools {
    pub(crate) entries: Vec<PoolEntry>,
    next_id: u32,
}

impl Pools {
    /// Compiles `pools`, which come by origin and name; what stands unchanged in `previous` is taken from there.
    pub(crate) fn compile<'a>(
        pools: impl Iterator<Item = (&'a Origin, &'a Name, &'a EgressPool)>,
        reserved: &Reserved,
        previous: Option<&Pools>,
    ) -> Result<Self, Vec<Error>> {
        let mut next_id = previous.map_or(0, |p| p.next_id);
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for (origin, name, written) in pools {
            let known = previous.and_then(|p| p.entry(origin, name));
            let id = known.map_or_else(
                || {
                    next_id += 1;
                    PoolId(next_id - 1)
                },
                |known| known.pool.id,
            );
            match entry((origin, name, written), id, reserved, known) {
                Ok(entry) => entries.push(entry),
                Err(error) => errors.push(*error),
            }
        }
        overlaps(&entries, &mut errors);
        if errors.is_empty() { Ok(Pools { entries, next_id }) } else { Err(errors) }
    }

    fn entry(&self, origin: &Origin, name: &Name) -> Option<&PoolEntry> {
        let at = self.entries.binary_search_by(|e| (&e.origin, &e.name).cmp(&(origin, name))).ok()?;
        self.entries.get(at)
    }

    /// Every outside address.
    pub(crate) fn addresses(&self) -> Vec<OutsideAddress> {
        (0u32..)
            .zip(&self.entries)
            .flat_map(|(n, entry)| {
                entry.pool.addresses.iter().map(move |a| OutsideAddress {
                    address: a.address,
                    pool: PoolNumber(n),
                    leases: Arc::clone(&a.leases),
                })
            })
            .collect()
    }

    /// Are these the very same pools?
    pub(crate) fn same(&self, other: &Pools) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(a, b)| Arc::ptr_eq(&a.pool, &b.pool))
    }
}

fn object(origin: &Origin, name: &Name) -> ObjectRef {
    ObjectRef::new(origin, Kind::EgressPool, name)
}

/// Which pool a name means, seen from `origin`: its own, else the first other origin's.
pub(crate) struct PoolNames<'a> {
    by_name: BTreeMap<&'a Name, Vec<(&'a Origin, PoolNumber)>>,
}

impl<'a> PoolNames<'a> {
    /// Of pools by origin and name, numbered in that order.
    pub(crate) fn new(pools: impl Iterator<Item = (&'a Origin, &'a Name)>) -> Self {
        let mut by_name: BTreeMap<&Name, Vec<(&Origin, PoolNumber)>> = BTreeMap::new();
        for (number, (origin, name)) in (0u32..).zip(pools) {
            by_name.entry(name).or_default().push((origin, PoolNumber(number)));
        }
        PoolNames { by_name }
    }

    pub(crate) fn find(&self, origin: &Origin, name: &Name) -> Option<PoolNumber> {
        let all = self.by_name.get(name)?;
        let own = all.iter().find(|(o, _)| *o == origin);
        own.or_else(|| all.first()).map(|(_, number)| *number)
    }
}

fn entry(
    (origin, name, written): (&Origin, &Name, &EgressPool),
    id: PoolId,
    reserved: &Reserved,
    known: Option<&PoolEntry>,
) -> Result<PoolEntry, Box<Error>> {
    let error = |field: &str, value: String, problem: &str, remedy: &str| {
        Box::new(Error::new(object(origin, name), field, value, problem, remedy))
    };
    let Some(layout) = BlockLayout::new(written.ports.first, written.ports.last, written.block_size) else {
        let remedy = "give a power of two from 64 to 4096, and ports in ascending order";
        let value = format!("{}", written.block_size);
        return Err(error("spec.blockSize", value, "the ports cannot be cut into such blocks", remedy));
    };
    let mut addresses: Vec<Ipv4Addr> = Vec::new();
    for (n, range) in written.addresses.iter().enumerate() {
        let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first, range.last) else {
            let value = format!("{}-{}", range.first, range.last);
            let field = format!("spec.addresses[{n}]");
            return Err(error(&field, value, "IPv6 is not translated yet", "give IPv4 addresses"));
        };
        let count = u64::from(last.to_bits()).saturating_sub(u64::from(first.to_bits())) + 1;
        if addresses.len() as u64 + count > ADDRESSES {
            let remedy = "divide them among several pools";
            let value = (addresses.len() as u64 + count).to_string();
            return Err(error("spec.addresses", value, "a pool holds at most 4096 addresses", remedy));
        }
        addresses.extend((first.to_bits()..=last.to_bits()).map(Ipv4Addr::from_bits));
    }
    if addresses.is_empty() {
        return Err(error("spec.addresses", String::new(), "a pool needs an address", "give at least one"));
    }
    addresses.sort_unstable();
    if let Some(twice) = addresses.windows(2).find(|w| w[0] == w[1]) {
        let value = twice[0].to_string();
        return Err(error("spec.addresses", value, "the address is given twice", "remove one of them"));
    }
    let taken: Vec<Vec<RangeInclusive<u16>>> =
        addresses.iter().map(|a| reserved.get(a).cloned().unwrap_or_default()).collect();
    if let Some(known) = known.filter(|k| k.written == *written && k.reserved == taken) {
        return Ok(known.clone());
    }
    let addresses = addresses.into_iter().zip(&taken).map(|(address, taken)| {
        let leases = known.and_then(|k| k.leases(address)).filter(|(l, _)| l.layout() == layout);
        let leases = match leases {
            Some((leases, before)) if before == taken => Arc::clone(leases),
            Some((leases, _)) => Arc::new(leases.with_reserved(taken)),
            None => Arc::new(LeaseTable::new(layout, taken)),
        };
        PoolAddress { address, leases }
    });
    let pool = Pool { id, settings: settings(written), addresses: addresses.collect() };
    Ok(PoolEntry {
        origin: origin.clone(),
        name: name.clone(),
        written: written.clone(),
        pool: Arc::new(pool),
        reserved: taken,
    })
}

impl PoolEntry {
    fn leases(&self, address: Ipv4Addr) -> Option<(&Arc<LeaseTable>, &Vec<RangeInclusive<u16>>)> {
        let at = self.pool.position(address)?;
        Some((&self.pool.addresses.get(at)?.leases, self.reserved.get(at)?))
    }
}

fn settings(written: &EgressPool) -> PoolSettings {
    let (t, q) = (&written.timeouts, &written.quotas);
    let at_least_one = |time| Ticks(ticks(time).0.max(1));
    PoolSettings {
        max_blocks: written.max_blocks_per_subscriber,
        port_rest: ticks(written.port_rest),
        refresh_inbound: false,
        timeouts: Timeouts {
            udp: at_least_one(t.udp),
            tcp_opening: at_least_one(t.tcp_opening),
            tcp_established: at_least_one(t.tcp_established),
            tcp_closing: at_least_one(t.tcp_closing),
            icmp: at_least_one(t.icmp),
            // Protocols without ports idle as long as UDP: nothing in them tells of an end either.
            other: at_least_one(t.udp),
        },
        quotas: Quotas {
            ports: q.ports,
            sessions: q.sessions,
            new_sessions_per_second: q.new_sessions_per_second,
            burst: q.burst,
            half_open: q.half_open,
        },
    }
}

/// No address may be in two pools: two lease tables would hand out the same port.
fn overlaps(entries: &[PoolEntry], errors: &mut Vec<Error>) {
    let mut ranges: Vec<(IpAddr, IpAddr, usize, usize)> = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        ranges.extend(entry.written.addresses.iter().enumerate().map(|(r, a)| (a.first, a.last, n, r)));
    }
    ranges.sort_unstable();
    let mut reach: Option<(IpAddr, usize, usize)> = None;
    for &(first, last, n, r) in &ranges {
        if let Some((until, m, q)) = reach
            && first <= until
            && n != m
        {
            // The later object is the one that is refused.
            let (later, at, earlier) = if n > m { (n, r, m) } else { (m, q, n) };
            if let (Some(later), Some(earlier)) = (entries.get(later), entries.get(earlier)) {
                let range = later.written.addresses.get(at);
                let value = range.map_or_else(String::new, |r| format!("{}-{}", r.first, r.last));
                errors.push(Error::new(
                    object(&later.origin, &later.name),
                    format!("spec.addresses[{at}]"),
                    value,
                    format!("it overlaps {}", object(&earlier.origin, &earlier.name)),
                    "take the addresses out of one of the two pools",
                ));
            }
        }
        if reach.is_none_or(|(until, ..)| last > until) {
            reach = Some((last, n, r));
        }
    }
}
