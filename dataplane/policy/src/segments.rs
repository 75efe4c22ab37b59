//! The address space cut into segments in which the same items apply.
//!
//! A sweep over the ends of all intervals keeps the set of items that hold at each address;
//! equal sets share one number, so that ten thousand policies of a few shapes stay small.

use std::collections::{BTreeMap, BTreeSet};

use wire::Family;

use crate::interval::{Interval, Judged};

/// Segments of the address space, each with the number of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segments<F: Family> {
    /// First address of each segment, ascending. Before the first, set 0 (the empty one) holds.
    starts: Box<[F::Addr]>,
    /// Set of each segment.
    sets: Box<[u32]>,
}

/// What a sweep yields: the segments, and the items of each set in ascending order; set 0 is empty.
pub(crate) struct Swept<F: Family> {
    pub(crate) segments: Segments<F>,
    pub(crate) sets: Vec<Vec<u32>>,
}

impl<F: Judged> Segments<F> {
    /// The set that holds at `address`.
    #[inline]
    pub(crate) fn find(&self, address: F::Addr) -> u32 {
        match self.starts.partition_point(|&start| start <= address) {
            0 => 0,
            after => self.sets[after - 1],
        }
    }

    /// The same segments with set `n` renumbered to `renumber(n)`; neighbours that become equal are merged.
    /// `renumber(0)` must be 0.
    pub(crate) fn renumbered(&self, mut renumber: impl FnMut(u32) -> u32) -> Self {
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut sets: Vec<u32> = Vec::with_capacity(self.sets.len());
        for (&start, &set) in self.starts.iter().zip(&self.sets) {
            let set = renumber(set);
            if sets.last().copied().unwrap_or(0) != set {
                starts.push(start);
                sets.push(set);
            }
        }
        Segments { starts: starts.into(), sets: sets.into() }
    }
}

/// Sweeps over `items`: each a number and one of its intervals; intervals of one number do not overlap.
pub(crate) fn sweep<F: Judged>(items: impl Iterator<Item = (u32, Interval<F>)>) -> Swept<F> {
    // (address, entering?, item): an item that ends at an address leaves before another enters there.
    let mut ends: Vec<(F::Addr, bool, u32)> = Vec::new();
    for (item, (first, last)) in items {
        ends.push((first, true, item));
        if let Some(after) = F::after(last) {
            ends.push((after, false, item));
        }
    }
    ends.sort_unstable();
    let mut numbers: BTreeMap<Vec<u32>, u32> = BTreeMap::from([(Vec::new(), 0)]);
    let (mut starts, mut sets) = (Vec::new(), Vec::<u32>::new());
    let mut holding: BTreeSet<u32> = BTreeSet::new();
    let mut at = 0;
    while let Some(&(address, _, _)) = ends.get(at) {
        while let Some(&(here, entering, item)) = ends.get(at)
            && here == address
        {
            match entering {
                true => holding.insert(item),
                false => holding.remove(&item),
            };
            at += 1;
        }
        let key: Vec<u32> = holding.iter().copied().collect();
        let next = numbers.len() as u32;
        let set = *numbers.entry(key).or_insert(next);
        if sets.last().copied().unwrap_or(0) != set {
            starts.push(address);
            sets.push(set);
        }
    }
    let mut by_number = vec![Vec::new(); numbers.len()];
    for (items, number) in numbers {
        by_number[number as usize] = items;
    }
    Swept { segments: Segments { starts: starts.into(), sets: sets.into() }, sets: by_number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use wire::V4;

    fn at(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(n)
    }

    #[test]
    fn each_address_finds_exactly_the_items_that_hold_it() {
        let items =
            [(0, (at(10), at(20))), (1, (at(15), at(30))), (2, (at(0), at(u32::MAX))), (0, (at(21), at(22)))];
        let swept = sweep::<V4>(items.iter().copied());
        for n in (0..40).chain([u32::MAX]) {
            let mut want: Vec<u32> =
                items.iter().filter(|(_, (a, b))| (*a..=*b).contains(&at(n))).map(|(i, _)| *i).collect();
            want.sort_unstable();
            assert_eq!(swept.sets[swept.segments.find(at(n)) as usize], want, "at {n}");
        }
    }

    #[test]
    fn segments_that_become_equal_are_merged() {
        let swept = sweep::<V4>([(0, (at(10), at(20))), (1, (at(21), at(30)))].into_iter());
        let merged = swept.segments.renumbered(|n| n.min(1));
        assert_eq!(merged.starts.len(), 2);
        assert_eq!(merged.find(at(25)), 1);
        assert_eq!(merged.find(at(31)), 0);
    }

    #[test]
    fn nothing_holds_anywhere_without_items() {
        let swept = sweep::<V4>(std::iter::empty());
        assert_eq!(swept.segments.find(at(7)), 0);
        assert_eq!(swept.sets, [Vec::<u32>::new()]);
    }
}
