//! The addresses that packets may be addressed to us by: what each of them is, in one look-up.

use std::net::Ipv4Addr;

use crate::flat::FlatMap;
use crate::keys;

/// What an address of the gateway is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    uses: u8,
    /// Place in the list of outside addresses; `NOWHERE`: none.
    outside: u32,
}

const NOWHERE: u32 = u32::MAX;
const OWN: u8 = 1;
const VIP: u8 = 2;
const FIXED: u8 = 4;

impl Default for Local {
    fn default() -> Self {
        Local { uses: 0, outside: NOWHERE }
    }
}

impl Local {
    /// Is it an address of a port?
    #[inline]
    pub fn is_own(self) -> bool {
        self.uses & OWN != 0
    }

    /// Has a service a VIP on it?
    #[inline]
    pub fn is_vip(self) -> bool {
        self.uses & VIP != 0
    }

    /// Is it the outside address of a static mapping?
    #[inline]
    pub fn is_static(self) -> bool {
        self.uses & FIXED != 0
    }

    /// Is it in a pool? Then its place in the snapshot's list of outside addresses.
    #[inline]
    pub fn outside(self) -> Option<u32> {
        (self.outside != NOWHERE).then_some(self.outside)
    }
}

/// All addresses of the gateway. Immutable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locals {
    map: FlatMap<Local>,
}

impl Locals {
    pub(crate) fn compile(
        own: impl Iterator<Item = Ipv4Addr>,
        vips: impl Iterator<Item = Ipv4Addr>,
        fixed: impl Iterator<Item = Ipv4Addr>,
        outside: impl Iterator<Item = Ipv4Addr>,
    ) -> Self {
        let mut map: FlatMap<Local> = FlatMap::with_room(0);
        own.for_each(|a| map.entry(keys::address(a)).uses |= OWN);
        vips.for_each(|a| map.entry(keys::address(a)).uses |= VIP);
        fixed.for_each(|a| map.entry(keys::address(a)).uses |= FIXED);
        (0u32..).zip(outside).for_each(|(n, a)| map.entry(keys::address(a)).outside = n);
        Locals { map }
    }

    #[inline]
    pub(crate) fn find(&self, address: Ipv4Addr) -> Option<Local> {
        self.map.find(keys::address(address))
    }

    /// All addresses, ascending.
    pub(crate) fn all(&self) -> Vec<(Ipv4Addr, Local)> {
        let mut all: Vec<(Ipv4Addr, Local)> =
            self.map.iter().map(|(key, local)| (Ipv4Addr::from_bits(key as u32), local)).collect();
        all.sort_unstable_by_key(|(address, _)| *address);
        all
    }
}
