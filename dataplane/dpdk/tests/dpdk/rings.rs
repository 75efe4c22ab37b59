//! Rings between two threads.

use std::time::{Duration, Instant};

use dpdk::{Burst, Ring};
use wire::PacketBuf;

use crate::support::{eal, numbers, pool, put};

#[test]
fn a_full_ring_takes_the_prefix_that_fits_and_leaves_the_rest() {
    let pool = pool("fills", 255);
    let (mut sender, mut receiver) = Ring::channel(&eal(), "fills", 63).unwrap();
    assert_eq!(sender.capacity(), 63);
    let (mut burst, mut next) = (Burst::new(), 0);
    put(&mut burst, &pool, 0..40, 60);
    assert_eq!(sender.send(&mut burst), 40);
    put(&mut burst, &pool, 40..80, 60);
    assert_eq!(sender.send(&mut burst), 23, "63 less 40");
    assert_eq!(numbers(&burst), (63..80).collect::<Vec<_>>(), "the rest is ours still, in order");
    assert_eq!(sender.send(&mut burst), 0);
    assert_eq!((sender.len(), burst.len()), (63, 17));

    let mut came = Burst::new();
    while receiver.receive(&mut came) > 0 {
        assert_eq!(numbers(&came), (next..next + came.len() as u32).collect::<Vec<_>>());
        next += came.len() as u32;
        came.clear();
    }
    assert_eq!(next, 63);
    assert!(receiver.is_empty());
    assert_eq!(sender.send(&mut burst), 17, "and there is room at once");
    drop((sender, receiver));
    assert_eq!(pool.audit(0), Ok(()), "what was left in the ring was freed with it");
}

#[test]
fn a_receiver_takes_no_more_than_its_burst_has_room_for() {
    let pool = pool("rooms2", 255);
    let (mut sender, mut receiver) = Ring::channel(&eal(), "rooms", 127).unwrap();
    let mut burst = Burst::new();
    put(&mut burst, &pool, 0..60, 60);
    assert_eq!(sender.send(&mut burst), 60);
    put(&mut burst, &pool, 100..150, 60);
    assert_eq!(receiver.receive(&mut burst), 14);
    assert!(burst.is_full());
    assert_eq!(receiver.receive(&mut burst), 0);
    assert_eq!(receiver.len(), 46);
}

#[test]
fn packets_cross_between_threads_in_order_and_with_their_tags() {
    const PACKETS: u32 = 100_000;
    let pool = pool("crosses", 1_023);
    let (mut sender, mut receiver) = Ring::channel(&eal(), "crosses", 255).unwrap();
    let from = pool.clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    let producer = std::thread::spawn(move || {
        let (mut burst, mut next) = (Burst::new(), 0u32);
        while next < PACKETS || !burst.is_empty() {
            while next < PACKETS && !burst.is_full() {
                let Some(mut mbuf) = from.alloc() else { break };
                assert!(mbuf.set_len(4));
                mbuf.bytes_mut().copy_from_slice(&next.to_be_bytes());
                mbuf.set_tag(u64::from(next) << 32 | 0xfeed);
                assert!(burst.push(mbuf).is_ok());
                next += 1;
            }
            if sender.send(&mut burst) == 0 {
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
        }
    });
    let (mut burst, mut next) = (Burst::new(), 0u32);
    while next < PACKETS {
        if receiver.receive(&mut burst) == 0 {
            assert!(Instant::now() < deadline, "{next} packets came");
            std::thread::yield_now();
        }
        for mbuf in burst.drain() {
            assert_eq!(mbuf.bytes(), next.to_be_bytes());
            assert_eq!(mbuf.tag(), u64::from(next) << 32 | 0xfeed);
            next += 1;
        }
    }
    producer.join().unwrap();
    assert_eq!(pool.audit(0), Ok(()));
}
