//! The lease table that workers share, and what happens when pools change.

use std::sync::Arc;

use nat::{BlockLayout, LeaseTable, Pool, PoolAddress, PoolId, PoolSettings, WorkerId};
use wire::Protocol;

use crate::support::*;

fn layout() -> BlockLayout {
    BlockLayout::new(1024, 65_535, 512).unwrap()
}

#[test]
fn wrong_layouts_are_refused() {
    for (first, last, size) in [(1024, 2048, 100), (1024, 2048, 32), (1024, 2048, 8192), (2000, 1000, 512)] {
        assert!(BlockLayout::new(first, last, size).is_none());
    }
    assert_eq!(layout().blocks(), 126);
    assert_eq!(BlockLayout::new(0, 65_535, 64).unwrap().blocks(), 1024);
}

#[test]
fn each_block_has_one_owner_and_the_owner_is_found_by_port() {
    let table = LeaseTable::new(layout(), &[]);
    let mut blocks = std::collections::BTreeSet::new();
    for i in 0..126 {
        let worker = WorkerId(i % 3);
        let block = table.lease(worker, 77).unwrap();
        assert!(blocks.insert(block));
        let start = table.layout().start(block);
        assert_eq!((table.owner(start), table.owner(start + 511)), (Some(worker), Some(worker)));
    }
    assert_eq!(table.lease(WorkerId(0), 0), None);
    assert_eq!((table.leased(), table.owner(1023)), (126, None));
    table.release(WorkerId(1), 77);
    assert_eq!(table.leased(), 126, "not its own");
    table.release(WorkerId(0), 77);
    assert_eq!((table.leased(), table.lease(WorkerId(2), 3)), (125, Some(77)));
}

#[test]
fn nobody_owns_reserved_ports_and_a_block_without_others_is_not_leased() {
    let table = LeaseTable::new(layout(), &[64_512..=65_535, 2048..=2050, 2049..=2100]);
    assert_eq!(table.usable(), 124);
    for _ in 0..124 {
        assert!(table.lease(WorkerId(0), 0).is_some());
    }
    assert_eq!(table.lease(WorkerId(0), 0), None);
    assert_eq!((table.owner(2100), table.owner(2101), table.owner(65_000)), (None, Some(WorkerId(0)), None));
}

#[test]
fn two_workers_never_lease_one_block() {
    let table = Arc::new(LeaseTable::new(layout(), &[]));
    let takers: Vec<_> = (0..4)
        .map(|w| {
            let table = table.clone();
            std::thread::spawn(move || std::iter::from_fn(|| table.lease(WorkerId(w), 5)).collect::<Vec<_>>())
        })
        .collect();
    let mut all: Vec<u16> = takers.into_iter().flat_map(|t| t.join().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..126).collect::<Vec<_>>());
}

#[test]
fn an_address_is_leased_whole_for_a_protocol_without_ports_towards_one_remote() {
    let table = LeaseTable::new(layout(), &[]);
    let (gre, esp, r) = (Protocol(47), Protocol(50), remote(1, 0).address);
    assert!(table.lease_remote(WorkerId(3), gre, r));
    assert!(!table.lease_remote(WorkerId(3), gre, r) && !table.lease_remote(WorkerId(4), gre, r));
    assert!(table.lease_remote(WorkerId(4), esp, r));
    assert_eq!(
        (table.owner_remote(gre, r), table.owner_remote(esp, r)),
        (Some(WorkerId(3)), Some(WorkerId(4)))
    );
    assert_eq!(table.owner_remote(gre, remote(2, 0).address), None);
    table.release_remote(WorkerId(4), gre, r);
    assert!(table.owner_remote(gre, r).is_some());
    table.release_remote(WorkerId(3), gre, r);
    assert_eq!(table.owner_remote(gre, r), None);
}

/// The pool of the world with other reservations on each address.
fn reserved(pool: &Pool, range: std::ops::RangeInclusive<u16>) -> Arc<Pool> {
    let addresses = pool
        .addresses
        .iter()
        .map(|a| PoolAddress {
            address: a.address,
            leases: Arc::new(a.leases.with_reserved(std::slice::from_ref(&range))),
        })
        .collect();
    Arc::new(Pool { id: pool.id, settings: pool.settings, addresses })
}

#[test]
fn ports_reserved_later_are_not_handed_out_again_and_their_sessions_live_on() {
    let mut w = World::with(pool(1, (1024, 1087), 64, PoolSettings::default()));
    let xs: Vec<_> = (0..32).map(|p| w.udp(inside(1, p), remote(1, 53)).unwrap()).collect();
    w.pool = reserved(&w.pool, 1024..=1055);
    w.nat.prepare(std::slice::from_ref(&w.pool));
    for (p, x) in xs.iter().enumerate() {
        assert_eq!(w.udp(inside(1, p as u16), remote(1, 53)), Ok(*x));
    }
    let kept = xs.iter().filter(|x| x.port >= 1056).count();
    let more: Vec<_> = (100..200).filter_map(|p| w.udp(inside(1, p), remote(1, 53)).ok()).collect();
    assert_eq!(more.len(), 32 - kept);
    assert!(more.iter().all(|x| x.port >= 1056));
    w.pool = reserved(&w.pool, 1..=1);
    w.nat.prepare(std::slice::from_ref(&w.pool));
    let again = (200..300).filter(|p| w.udp(inside(1, *p), remote(1, 53)).is_ok()).count();
    assert_eq!(again, kept);
    drain(&mut w);
}

#[test]
fn an_address_that_left_the_pool_serves_its_old_sessions_alone() {
    let mut w = World::with(pool(2, (1024, 65_535), 512, PoolSettings::default()));
    let x = w.udp(inside(1, 5), remote(1, 53)).unwrap();
    let rest = w.pool.addresses.iter().filter(|a| a.address != x.address).cloned().collect();
    let old = w.pool.clone();
    w.pool = Arc::new(Pool { id: old.id, settings: old.settings, addresses: rest });
    w.nat.prepare(std::slice::from_ref(&w.pool));
    assert_eq!(w.udp(inside(1, 5), remote(1, 53)), Ok(x));
    let y = w.udp(inside(1, 6), remote(1, 53)).unwrap();
    assert_ne!(y.address, x.address);
    assert_eq!(w.udp(inside(1, 5), remote(2, 53)).unwrap().address, y.address);
    drain(&mut w);
    assert_eq!(old.usage().leased, 0);
}

#[test]
fn pools_that_are_gone_are_forgotten_once_empty() {
    let mut w = World::new();
    w.nat.prepare(std::slice::from_ref(&w.pool));
    let empty = w.nat.memory();
    w.udp(inside(1, 5), remote(1, 53)).unwrap();
    let held = w.nat.memory();
    assert!(held > empty);
    w.nat.prepare(&[]);
    assert_eq!(w.nat.memory(), held);
    assert!(w.alive(&tuple(Protocol::UDP, inside(1, 5), remote(1, 53))));
    drain(&mut w);
    w.nat.prepare(&[]);
    assert_eq!(w.nat.memory(), empty);
    w.pool = Arc::new(Pool { id: PoolId(8), settings: w.pool.settings, addresses: w.pool.addresses.clone() });
    assert!(w.udp(inside(1, 5), remote(1, 53)).is_ok());
    assert_eq!(w.nat.pool_usage(PoolId(8)).blocks, 1);
}
