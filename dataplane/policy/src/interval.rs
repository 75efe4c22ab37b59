//! Prefixes as inclusive intervals of addresses, with what `except` cuts out of them.
//!
//! Intervals need no more than an order and a successor, so one implementation serves both
//! families, and `except` disappears at compile time instead of being asked per packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::PrefixExcept;
use wire::{Family, V4, V6};

/// A family whose addresses can be judged: they can be taken from a prefix and counted on.
pub trait Judged: Family {
    /// First and last address of `prefix`; `None` if it is of another family.
    fn bounds(prefix: &IpNet) -> Option<(Self::Addr, Self::Addr)>;
    /// The address after `address`; `None` after the last.
    fn after(address: Self::Addr) -> Option<Self::Addr>;
    /// The address before `address`; `None` before the first.
    fn before(address: Self::Addr) -> Option<Self::Addr>;
}

impl Judged for V4 {
    fn bounds(prefix: &IpNet) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match prefix {
            IpNet::V4(net) => Some((net.network(), net.broadcast())),
            IpNet::V6(_) => None,
        }
    }
    fn after(address: Ipv4Addr) -> Option<Ipv4Addr> {
        address.to_bits().checked_add(1).map(Ipv4Addr::from_bits)
    }
    fn before(address: Ipv4Addr) -> Option<Ipv4Addr> {
        address.to_bits().checked_sub(1).map(Ipv4Addr::from_bits)
    }
}

impl Judged for V6 {
    fn bounds(prefix: &IpNet) -> Option<(Ipv6Addr, Ipv6Addr)> {
        match prefix {
            IpNet::V6(net) => Some((net.network(), net.broadcast())),
            IpNet::V4(_) => None,
        }
    }
    fn after(address: Ipv6Addr) -> Option<Ipv6Addr> {
        address.to_bits().checked_add(1).map(Ipv6Addr::from_bits)
    }
    fn before(address: Ipv6Addr) -> Option<Ipv6Addr> {
        address.to_bits().checked_sub(1).map(Ipv6Addr::from_bits)
    }
}

/// First and last address, inclusive.
pub(crate) type Interval<F> = (<F as Family>::Addr, <F as Family>::Addr);

/// The addresses of `prefix` that none of `except` holds, ascending and disjoint; empty for another family.
pub(crate) fn intervals<F: Judged>(entry: &PrefixExcept) -> Vec<Interval<F>> {
    let Some((first, last)) = F::bounds(&entry.prefix) else { return Vec::new() };
    let mut holes: Vec<Interval<F>> = entry.except.iter().filter_map(F::bounds).collect();
    holes.sort_unstable();
    let mut left = Vec::with_capacity(holes.len() + 1);
    // `from` is where the next piece begins; `None` once the holes reached the last address there is.
    let mut from = Some(first);
    for (hole_first, hole_last) in holes {
        let Some(start) = from else { break };
        if hole_last < start || hole_first > last {
            continue;
        }
        if hole_first > start {
            // A hole that begins after `start` has an address before it.
            if let Some(end) = F::before(hole_first) {
                left.push((start, end));
            }
        }
        from = F::after(hole_last);
    }
    if let Some(start) = from
        && start <= last
    {
        left.push((start, last));
    }
    left
}

/// A set of addresses: sorted disjoint intervals, asked by binary search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressSet<F: Family> {
    intervals: Vec<Interval<F>>,
}

impl<F: Judged> AddressSet<F> {
    /// The union of `entries`.
    pub(crate) fn union<'a>(entries: impl IntoIterator<Item = &'a PrefixExcept>) -> Self {
        let mut all: Vec<Interval<F>> = entries.into_iter().flat_map(intervals::<F>).collect();
        all.sort_unstable();
        let mut merged: Vec<Interval<F>> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                // Touching intervals are one: fewer to search.
                Some(top) if F::after(top.1).is_none_or(|next| first <= next) => top.1 = top.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        merged.shrink_to_fit();
        AddressSet { intervals: merged }
    }

    /// Is `address` in it?
    #[inline]
    pub(crate) fn contains(&self, address: F::Addr) -> bool {
        let after = self.intervals.partition_point(|&(first, _)| first <= address);
        after > 0 && self.intervals[after - 1].1 >= address
    }

    /// Its intervals, ascending and disjoint.
    pub(crate) fn intervals(&self) -> &[Interval<F>] {
        &self.intervals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefix: &str, except: &[&str]) -> PrefixExcept {
        PrefixExcept {
            prefix: prefix.parse().unwrap(),
            except: except.iter().map(|e| e.parse().unwrap()).collect(),
        }
    }
    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn an_exception_cuts_a_hole() {
        let cut = intervals::<V4>(&entry("10.0.0.0/24", &["10.0.0.64/26"]));
        assert_eq!(cut, [(v4("10.0.0.0"), v4("10.0.0.63")), (v4("10.0.0.128"), v4("10.0.0.255"))]);
    }

    #[test]
    fn exceptions_at_both_ends_of_the_address_space_leave_the_middle() {
        let cut = intervals::<V4>(&entry("0.0.0.0/0", &["0.0.0.0/8", "255.0.0.0/8", "255.255.255.255/32"]));
        assert_eq!(cut, [(v4("1.0.0.0"), v4("254.255.255.255"))]);
    }

    #[test]
    fn an_exception_as_large_as_the_prefix_leaves_nothing() {
        assert!(intervals::<V4>(&entry("10.0.0.0/8", &["10.0.0.0/8"])).is_empty());
        assert!(intervals::<V4>(&entry("0.0.0.0/0", &["0.0.0.0/0"])).is_empty());
    }

    #[test]
    fn a_prefix_of_the_other_family_is_empty() {
        assert!(intervals::<V4>(&entry("2001:db8::/32", &[])).is_empty());
        assert!(intervals::<V6>(&entry("10.0.0.0/8", &[])).is_empty());
        assert_eq!(intervals::<V6>(&entry("::/0", &["::/1"])).len(), 1);
    }

    #[test]
    fn touching_prefixes_are_one_interval() {
        let set = AddressSet::<V4>::union(&[entry("10.0.1.0/24", &[]), entry("10.0.0.0/24", &[])]);
        assert_eq!(set.intervals().len(), 1);
        assert!(set.contains(v4("10.0.1.255")));
        assert!(!set.contains(v4("10.0.2.0")));
        assert!(!set.contains(v4("9.255.255.255")));
    }
}
