//! Pools and buffers: what is taken out comes back, to the last one.

use dpdk::{Burst, Leak};
use wire::{BufPool, Checksum, PacketBuf};

use crate::support::{frame, pool, pool_of, put, put_bytes};

#[test]
fn a_pool_counts_what_is_out_and_takes_it_back() {
    let pool = pool("counts", 127);
    assert_eq!((pool.available(), pool.in_use()), (127, 0));
    let mut burst = Burst::new();
    assert!(pool.alloc_bulk(&mut burst, 32));
    let one = pool.alloc().unwrap();
    assert_eq!((pool.available(), pool.in_use()), (94, 33));
    assert_eq!(pool.audit(33), Ok(()));
    drop(one);
    burst.clear();
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn one_lost_buffer_fails_the_audit() {
    let pool = pool("leaks", 127);
    let mut burst = Burst::new();
    put(&mut burst, &pool, 0..8, 60);
    std::mem::forget(burst.pop());
    burst.clear();
    assert_eq!(pool.audit(0), Err(Leak { held: 0, in_use: 1 }));
    assert_eq!(
        pool.audit(0).unwrap_err().to_string(),
        "1 packet buffers are out of the pool, 0 are accounted for"
    );
}

#[test]
fn an_empty_pool_says_so_and_serves_again_at_once() {
    let mut pool = pool("empties", 63);
    let mut held: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!(held.len(), 63);
    assert!(BufPool::alloc(&mut pool).is_none());
    assert!(!pool.alloc_bulk(&mut Burst::new(), 1));
    held.pop();
    assert!(BufPool::alloc(&mut pool).is_some());
    drop(held);
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn a_bulk_that_cannot_be_had_whole_takes_nothing() {
    let pool = pool("bulks", 31);
    let mut burst = Burst::new();
    assert!(!pool.alloc_bulk(&mut burst, 32), "more than the pool has");
    assert!(!pool.alloc_bulk(&mut burst, Burst::SIZE + 1), "more than a burst holds");
    assert!(burst.is_empty());
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn a_buffer_grows_into_its_head_and_tailroom_and_no_further() {
    let pool = pool_of("rooms", 7, 512);
    let mut mbuf = pool.alloc().unwrap();
    assert_eq!((mbuf.headroom(), mbuf.bytes().len(), mbuf.tailroom()), (128, 0, 384));
    assert!(mbuf.set_len(384) && !mbuf.set_len(385) && !mbuf.set_len(70_000));
    assert!(!mbuf.trim_front(385) && !mbuf.trim_front(usize::MAX));
    assert!(mbuf.trim_front(384) && mbuf.bytes().is_empty());
    assert!(mbuf.grow_front(512) && !mbuf.grow_front(1));
    assert_eq!((mbuf.headroom(), mbuf.bytes().len(), mbuf.tailroom()), (0, 512, 0));
    mbuf.bytes_mut().fill(7);
    assert!(mbuf.bytes().iter().all(|octet| *octet == 7));
    assert!(mbuf.set_len(3));
    assert_eq!((mbuf.bytes(), mbuf.tailroom()), (&[7, 7, 7][..], 509));
}

#[test]
fn a_fresh_buffer_claims_nothing_of_a_device() {
    let pool = pool("fresh", 7);
    let offload = pool.alloc().unwrap().offload();
    assert_eq!((offload.rss, offload.ip, offload.l4), (None, Checksum::Unknown, Checksum::Unknown));
}

#[test]
fn a_burst_keeps_order_and_frees_what_nobody_takes() {
    let pool = pool("bursts", 127);
    let mut burst = Burst::new();
    put(&mut burst, &pool, 0..Burst::SIZE as u32, 60);
    assert!(burst.is_full());
    let one_more = pool.alloc().unwrap();
    let one_more = burst.push(one_more).unwrap_err();
    assert_eq!(pool.audit(Burst::SIZE + 1), Ok(()));
    drop(one_more);

    let mut drain = burst.drain();
    assert_eq!(drain.len(), Burst::SIZE);
    assert_eq!(drain.next().unwrap().bytes(), frame(0, 60));
    assert_eq!(drain.next().unwrap().bytes(), frame(1, 60));
    drop(drain);
    assert!(burst.is_empty());
    assert_eq!(pool.audit(0), Ok(()));

    put_bytes(&mut burst, &pool, &frame(5, 60));
    assert_eq!(burst.pop().unwrap().bytes(), frame(5, 60));
    assert!(burst.pop().is_none());
    put(&mut burst, &pool, 0..3, 60);
    drop(burst);
    assert_eq!(pool.audit(0), Ok(()));
}
