//! Look-up tables by what they are made of, so that services with equal backends share one and
//! an unchanged one is not built again.
//!
//! The store is carried from snapshot to snapshot. It is cut into shards behind `Arc`s: taking it
//! over costs a few hundred reference counts, and adding a table copies one shard. It holds
//! tables weakly: services keep them alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::digest::{halves, mix};
use crate::table::{LookupTable, Member, TableSize};

const SHARDS: usize = 256;

type Shard = BTreeMap<u64, Vec<Weak<LookupTable>>>;

/// A store of look-up tables. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Tables {
    shards: Box<[Arc<Shard>]>,
}

impl Default for Tables {
    fn default() -> Self {
        let empty = Arc::new(Shard::new());
        Tables { shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect() }
    }
}

impl Tables {
    /// The table of `members` (sorted by address and port): a known one if any service still uses it, else a
    /// new one. `None` without members, or with more than 65,535.
    pub fn table(&mut self, size: TableSize, members: &[Member]) -> Option<Arc<LookupTable>> {
        let key = key(size, members);
        let shard = &mut self.shards[key as usize % SHARDS];
        let known = shard.get(&key).and_then(|same| {
            same.iter().filter_map(Weak::upgrade).find(|t| t.size() == size && t.members() == members)
        });
        if known.is_some() {
            return known;
        }
        let table = Arc::new(LookupTable::build(size, members)?);
        let shard = Arc::make_mut(shard);
        // Whoever adds a table sweeps the shard: it never holds more dead entries than it had live ones.
        shard.retain(|_, same| {
            same.retain(|t| t.strong_count() > 0);
            !same.is_empty()
        });
        shard.entry(key).or_default().push(Arc::downgrade(&table));
        Some(table)
    }

    /// Tables that some service uses.
    pub fn live(&self) -> usize {
        self.shards.iter().flat_map(|s| s.values()).flatten().filter(|t| t.strong_count() > 0).count()
    }
}

/// Hash of what a table is made of. It only finds candidates: members are compared in full.
fn key(size: TableSize, members: &[Member]) -> u64 {
    members.iter().fold(mix(u64::from(size.slots())), |h, m| {
        let [high, low] = halves(m.address);
        mix(mix(mix(h ^ high) ^ low) ^ (u64::from(m.weight) << 16 | u64::from(m.port)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(n: u128) -> Vec<Member> {
        (0..n).map(|address| Member { address, port: 0, weight: 1 }).collect()
    }

    #[test]
    fn equal_backends_share_one_table() {
        let mut tables = Tables::default();
        let size = TableSize::fitting(3);
        let first = tables.table(size, &members(3)).unwrap();
        let second = tables.table(size, &members(3)).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &tables.table(size, &members(4)).unwrap()));
    }

    #[test]
    fn a_table_outlives_the_store_it_came_from_in_the_next_one() {
        let mut tables = Tables::default();
        let size = TableSize::fitting(3);
        let first = tables.table(size, &members(3)).unwrap();
        let mut next = tables.clone();
        drop(tables);
        assert!(Arc::ptr_eq(&first, &next.table(size, &members(3)).unwrap()));
    }

    #[test]
    fn a_table_that_no_service_uses_is_gone() {
        let mut tables = Tables::default();
        drop(tables.table(TableSize::fitting(3), &members(3)));
        assert_eq!(tables.live(), 0);
    }

    #[test]
    fn no_members_no_table() {
        assert!(Tables::default().table(TableSize::fitting(0), &[]).is_none());
    }
}
