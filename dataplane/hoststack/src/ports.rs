//! Source ports of health checks.
//!
//! The range is the host stack's alone: pools never hand it out on the gateway's own addresses, so an
//! answer to such a port is ours. A target walks through the range, one port after another, so that it
//! meets a port again only after 1,024 checks, when the TIME-WAIT of the old connection is over
//! (RFC 9293 §3.6.1).

use std::ops::RangeInclusive;

/// Source ports that health checks use.
pub const SOURCE_PORTS: RangeInclusive<u16> = snapshot::HOST_PORTS;

/// Which of [`SOURCE_PORTS`] are in use: one bit each.
#[derive(Default)]
pub(crate) struct PortSet {
    used: [u64; Self::SIZE / 64],
}

impl PortSet {
    pub(crate) const SIZE: usize = (*SOURCE_PORTS.end() - *SOURCE_PORTS.start()) as usize + 1;

    /// Takes the first free port after `last`, going round; `None`: all are in use.
    pub(crate) fn take_after(&mut self, last: u16) -> Option<u16> {
        let from = usize::from(last.wrapping_sub(*SOURCE_PORTS.start())) + 1;
        let bit = (0..Self::SIZE).map(|step| (from + step) % Self::SIZE).find(|&bit| !self.is_used(bit))?;
        if let Some(word) = self.used.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        u16::try_from(bit).ok().map(|bit| *SOURCE_PORTS.start() + bit)
    }

    /// Gives a port back; one that is free or outside the range is left alone.
    pub(crate) fn release(&mut self, port: u16) {
        let bit = usize::from(port.wrapping_sub(*SOURCE_PORTS.start()));
        if let Some(word) = self.used.get_mut(bit / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    fn is_used(&self, bit: usize) -> bool {
        self.used.get(bit / 64).is_none_or(|word| word & (1 << (bit % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_is_handed_out_once_and_then_none() {
        let mut ports = PortSet::default();
        let mut last = 65_000;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..PortSet::SIZE {
            last = ports.take_after(last).expect("a port is free");
            assert!(SOURCE_PORTS.contains(&last) && seen.insert(last));
        }
        assert_eq!(ports.take_after(last), None);
        ports.release(64_512);
        assert_eq!(ports.take_after(last), Some(64_512));
    }

    #[test]
    fn a_freed_port_is_not_the_next_one() {
        let mut ports = PortSet::default();
        let first = ports.take_after(65_535).expect("a port is free");
        ports.release(first);
        assert_eq!((first, ports.take_after(first)), (64_512, Some(64_513)));
    }
}
