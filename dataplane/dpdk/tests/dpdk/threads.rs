//! Registered threads, and the clock.

use std::time::{Duration, Instant};

use dpdk::{Burst, Clock, Cpu, Lcore, Mempool, PoolConfig, allowed_cpus, pin};

use crate::support::eal;

#[test]
fn a_thread_gives_its_number_back_so_more_than_127_may_come_and_go() {
    let eal = eal();
    for _ in 0..300 {
        std::thread::spawn(move || assert!(Lcore::register(&eal).unwrap().id() < 128)).join().unwrap();
    }
}

#[test]
fn a_registered_thread_gives_its_cache_back_to_the_count() {
    let eal = eal();
    let config = PoolConfig { name: "cached".into(), mbufs: 1_023, cache: 128, ..PoolConfig::default() };
    let pool = Mempool::new(&eal, &config).unwrap();
    let worker = pool.clone();
    std::thread::spawn(move || {
        let _lcore = Lcore::register(&eal).unwrap();
        let mut burst = Burst::new();
        for _ in 0..100 {
            assert!(worker.alloc_bulk(&mut burst, 32));
            burst.clear();
        }
    })
    .join()
    .unwrap();
    assert_eq!(pool.audit(0), Ok(()), "buffers in a cache are not in use");
}

#[test]
fn a_thread_registered_twice_keeps_its_number_until_the_first_guard_goes() {
    let eal = eal();
    std::thread::spawn(move || {
        let first = Lcore::register(&eal).unwrap();
        let second = Lcore::register(&eal).unwrap();
        assert_eq!(first.id(), second.id());
        drop(second);
        assert!(first.id() < 128);
    })
    .join()
    .unwrap();
}

#[test]
fn init_pins_nobody_and_a_worker_pins_itself() {
    let eal = eal();
    std::thread::spawn(move || {
        let free = allowed_cpus();
        let here = std::thread::available_parallelism().unwrap().get();
        assert_eq!(here, free.len(), "a thread made after init may run where the process may");
        let last = *free.last().unwrap();
        pin(Cpu(last)).unwrap();
        let _lcore = Lcore::register(&eal).unwrap();
        // SAFETY: asks for a number.
        assert_eq!(unsafe { libc::sched_getcpu() }, last as i32);
    })
    .join()
    .unwrap();
}

#[test]
fn the_clock_keeps_the_kernels_pace() {
    let clock = Clock::new(&eal());
    let (began, ours) = (Instant::now(), clock.now());
    std::thread::sleep(Duration::from_millis(200));
    let (theirs, ours) = (began.elapsed().as_nanos() as f64, (clock.now() - ours) as f64);
    assert!((ours / theirs - 1.0).abs() < 0.02, "{ours} ns by us, {theirs} ns by the kernel");
}
