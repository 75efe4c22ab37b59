//! Maglev's look-up table (Eisenbud et al., NSDI 2016, §3.4), with weights by turns.
//!
//! Each member has a permutation of the `M` slots: `offset, offset + skip, offset + 2 skip, …`
//! modulo `M`. In turn each member takes the first slot of its permutation that is still free,
//! until none is. Weights decide how often a member's turn comes: in each round, in the order of
//! members, a member's credit rises by its weight, and when it has reached the largest weight it
//! falls by that and the member takes a slot. Members are sorted by address and port, so the
//! order of the Config does not matter.

use crate::digest::{OFFSET_SEED, SKIP_SEED, digest, halves};

/// Table sizes, all prime so that every `skip` leads through all slots.
pub const SIZES: [u32; 11] =
    [1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_537, 131_071, 262_139, 524_287, 1_048_573];

/// Number of slots of a look-up table: one of [`SIZES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableSize(u32);

impl TableSize {
    /// The smallest size that is at least 200 times `backends`, so that no share is off by more than about 1 %;
    /// the largest there is for more than 5,242 backends.
    pub fn fitting(backends: usize) -> Self {
        let least = backends.saturating_mul(200);
        let size = SIZES.iter().copied().find(|&size| size as usize >= least);
        TableSize(size.unwrap_or(SIZES[SIZES.len() - 1]))
    }

    /// `slots`, if it is one of [`SIZES`].
    pub fn new(slots: u32) -> Option<Self> {
        SIZES.contains(&slots).then_some(TableSize(slots))
    }

    /// How many slots.
    #[inline]
    pub const fn slots(self) -> u32 {
        self.0
    }
}

/// A backend as a table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The address's 128 bits, see [`Balanced::bits`](crate::Balanced::bits).
    pub address: u128,
    /// Its own port; 0: none.
    pub port: u16,
    /// Its weight, at least 1, in lowest terms with the others.
    pub weight: u32,
}

impl Member {
    /// Where its permutation of `size` slots begins and how it goes on.
    pub fn permutation(&self, size: TableSize) -> (u32, u32) {
        let [high, low] = halves(self.address);
        let words = [high, low, u64::from(self.port)];
        let slots = u64::from(size.slots());
        let offset = digest(OFFSET_SEED, words) % slots;
        let skip = digest(SKIP_SEED, words) % (slots - 1) + 1;
        (offset as u32, skip as u32)
    }
}

/// Which member a hash leads to. Immutable; 2 bytes a slot. Services with equal members share one.
#[derive(Debug, PartialEq, Eq)]
pub struct LookupTable {
    size: TableSize,
    members: Box<[Member]>,
    slots: Box<[u16]>,
}

const FREE: u16 = u16::MAX;

impl LookupTable {
    /// The table of `members`, which are sorted by address and port, each with a weight of at least 1.
    /// `None` without members, or with more than 65,535.
    pub fn build(size: TableSize, members: &[Member]) -> Option<Self> {
        let largest = members.iter().map(|m| m.weight).max()?;
        u16::try_from(members.len()).ok()?;
        let slots = size.slots();
        let mut table = vec![FREE; slots as usize];
        // (next slot to try, skip, weight, credit) of each member.
        let mut takers: Vec<(u32, u32, u32, u32)> = members
            .iter()
            .map(|m| {
                let (offset, skip) = m.permutation(size);
                (offset, skip, m.weight.max(1), 0)
            })
            .collect();
        let mut free = slots;
        'full: loop {
            for (number, (next, skip, weight, credit)) in (0u16..).zip(&mut takers) {
                *credit += *weight;
                if *credit < largest {
                    continue;
                }
                *credit -= largest;
                // A permutation of a prime number of slots meets each once, so a free one is found.
                loop {
                    let slot = &mut table[*next as usize];
                    *next += *skip;
                    if *next >= slots {
                        *next -= slots;
                    }
                    if *slot == FREE {
                        *slot = number;
                        break;
                    }
                }
                free -= 1;
                if free == 0 {
                    break 'full;
                }
            }
        }
        Some(LookupTable { size, members: members.into(), slots: table.into() })
    }

    /// The member, as its place in [`members`](Self::members), that `hash` leads to.
    #[inline]
    pub fn member(&self, hash: u64) -> usize {
        usize::from(self.slots[(hash % u64::from(self.size.slots())) as usize])
    }

    /// How many slots it has.
    pub fn size(&self) -> TableSize {
        self.size
    }

    /// Whom it leads to, sorted by address and port.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of each slot.
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }
}
