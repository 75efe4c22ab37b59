//! The generator over real DPDK devices in memory, without hugepages, against a network that loses,
//! doubles, reorders, stalls and translates by the number of each packet: so what the generator
//! says has to be exactly what happened.

#![cfg(feature = "machine")]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dpdk::{
    Burst, Device, Eal, EalConfig, Hugepages, Level, Mbuf, Mempool, PoolConfig, PortConfig, RxQueue, Started,
    TxQueue,
};
use perf::draw::Flows;
use perf::flood::generator::{End, Generator, Trial};
use perf::flood::marker::Marker;
use perf::flood::neighbour::{self, Own};
use perf::flood::record::Record;
use perf::flood::schedule::Schedule;
use perf::flood::search::Search;
use perf::flood::traffic::{Ends, Order, Size};
use wire::{MacAddr, PacketBuf};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const TO_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);
const GATEWAY: Own = Own { mac: MacAddr([2, 0, 0, 0, 0, 9]), ip: Ipv4Addr::new(10, 0, 0, 1) };

/// DPDK is one a process: the tests of this file share it, one after the other.
static ONE: Mutex<()> = Mutex::new(());

fn eal() -> Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    *EAL.get_or_init(|| {
        let config = EalConfig {
            hugepages: Hugepages::Never,
            memory_mib: 512,
            log: Level::Warning,
            ..EalConfig::default()
        };
        Eal::init(&config, |level, line| eprintln!("{level:?}: {line}")).unwrap_or_else(|e| panic!("{e}"))
    })
}

/// What becomes of a packet between the two ports.
type Fate = fn(&Marker) -> Do;

enum Do {
    Pass,
    Lose,
    Twice,
    /// After the next one.
    Hold,
    /// Nothing passes for so long, this one first of all.
    Stall(Duration),
}

/// The thread between the two ports.
struct Network {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<MacAddr>>>,
}

impl Network {
    /// Ends it; gives the hardware addresses that were told for [`TO_ADDRESS`].
    fn end(mut self) -> Vec<MacAddr> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread
            .take()
            .map(|t| t.join().unwrap_or_else(|_| panic!("the network's thread")))
            .unwrap_or_default()
    }
}

/// What NAT may do to headers: other addresses and ports, right checksums.
fn translate(frame: &mut [u8]) {
    for at in 0..4 {
        frame.swap(26 + at, 30 + at);
    }
    for at in 0..2 {
        frame.swap(34 + at, 36 + at);
    }
}

fn copy(pool: &Mempool, packet: &Mbuf) -> Mbuf {
    let mut copy = pool.alloc().expect("a buffer");
    assert!(copy.set_len(packet.bytes().len()));
    copy.bytes_mut().copy_from_slice(packet.bytes());
    copy
}

fn deliver(tx: &mut TxQueue, packet: Mbuf) {
    let mut burst = Burst::new();
    assert!(burst.push(packet).is_ok());
    let end = Instant::now() + Duration::from_secs(5);
    while tx.send(&mut burst) == 0 {
        assert!(Instant::now() < end, "the generator does not receive");
        std::thread::yield_now();
    }
}

fn network(mut near: (RxQueue, TxQueue), mut far: (RxQueue, TxQueue), pool: Mempool, fate: Fate) -> Network {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let (mut burst, mut held, mut heard) = (Burst::new(), None::<Mbuf>, Vec::new());
        let mut question = pool.alloc().expect("a buffer");
        assert!(GATEWAY.ask(&mut question, TO_ADDRESS));
        deliver(&mut far.1, question);
        while !stopped.load(Ordering::SeqCst) {
            if far.0.receive(&mut burst) > 0 {
                let told = burst.as_slice().iter().filter_map(|p| neighbour::read(p.bytes()));
                heard.extend(told.filter_map(|message| neighbour::heard(&message, TO_ADDRESS)));
                burst.clear();
            }
            if near.0.receive(&mut burst) == 0 {
                std::thread::yield_now();
            }
            for mut packet in burst.drain() {
                if let Some(question) = neighbour::read(packet.bytes()) {
                    let mut reply = pool.alloc().expect("a buffer");
                    if GATEWAY.answer(&mut reply, &question) {
                        deliver(&mut near.1, reply);
                    }
                    continue;
                }
                let marker = Marker::read(packet.bytes()).expect("the generator marks all that it sends");
                translate(packet.bytes_mut());
                match fate(&marker) {
                    Do::Pass => {}
                    Do::Lose => continue,
                    Do::Twice => deliver(&mut far.1, copy(&pool, &packet)),
                    Do::Hold => {
                        held = Some(packet);
                        continue;
                    }
                    Do::Stall(time) => std::thread::sleep(time),
                }
                deliver(&mut far.1, packet);
                if let Some(packet) = held.take() {
                    deliver(&mut far.1, packet);
                }
            }
        }
        heard
    });
    Network { stop, thread: Some(thread) }
}

fn queues(started: Started) -> (RxQueue, TxQueue) {
    let Started { mut rx, mut tx, .. } = started;
    (rx.remove(0), tx.remove(0))
}

/// Four ends: the generator's two, the network's two.
fn wires(name: &str, capacity: u32) -> (End, End, Started, Started, Mempool) {
    let config = PoolConfig { name: name.into(), mbufs: 16_383, cache: 0, ..PoolConfig::default() };
    let pool = Mempool::new(&eal(), &config).unwrap_or_else(|e| panic!("{e}"));
    let pair = |which: &str| {
        let (a, b) = Device::ring_pair(&eal(), &format!("{name}{which}"), 1, capacity)
            .unwrap_or_else(|e| panic!("{e}"));
        let start = |d: Device| d.start(&PortConfig::default(), &pool).unwrap_or_else(|e| panic!("{e}"));
        (start(a), start(b))
    };
    let ((out, near), (back, far)) = (pair("1"), pair("2"));
    let end = |started, ip| End::new(started, Some(ip)).unwrap_or_else(|e| panic!("{e}"));
    (end(out, ADDRESS), end(back, TO_ADDRESS), near, far, pool)
}

fn trial(rate: u64, seconds: f64, flows: u64) -> Trial {
    let (sources, targets) = ("10.1.0.0/16".parse().unwrap(), "93.0.0.0/14".parse().unwrap());
    Trial {
        schedule: Schedule::of_rate(rate),
        rate: Some(rate),
        seconds,
        ends: Ends { sources, per_source: 256, targets, target_port: 443, flows },
        order: Order::Drawn(Flows::Uniform),
        size: Size::Imix,
        gateway: GATEWAY.mac,
        seed: 5,
        stamp: 77,
    }
}

#[test]
fn what_the_network_did_is_what_the_account_says() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (out, back, near, far, pool) = wires("acct", 4096);
    let back_mac = back.mac();
    // One flow, 10,000 packets in half a second: 100 lost, 10 doubled, 10 overtaken by the next, one stall.
    let network = network(queues(near), queues(far), pool.clone(), |m| match m.number {
        4000 => Do::Stall(Duration::from_millis(150)),
        n if n % 100 == 7 => Do::Lose,
        n if n % 1000 == 600 => Do::Twice,
        n if n % 1000 == 500 => Do::Hold,
        _ => Do::Pass,
    });
    let mut generator = Generator::new(&eal(), out, Some(back), pool).unwrap();
    generator.wait_for_links(5).unwrap();
    assert_eq!(generator.resolve(GATEWAY.ip, 10), Some(GATEWAY.mac));
    assert_eq!(generator.resolve(Ipv4Addr::new(10, 0, 0, 77), 1), None, "nobody has that address");
    let mut told = 0;
    let record = Record::of(generator.run(&trial(20_000, 0.5, 1), &mut |_| told += 1));
    let a = &record.account;
    assert_eq!((record.sent, record.unsent, record.lost), (10_000, 0, 100), "{record:?}");
    assert!((record.loss_percent - 1.0).abs() < 1e-9 && told >= 2);
    assert_eq!((a.received, a.repeated, a.reordered, a.late, a.alien), (9_900, 10, 10, 0, 0), "{a:?}");
    assert_eq!((a.wrong, a.checked), (0, 9_900 / 61), "{}", a.first_wrong);
    // 3,000 packets were due during the stall; the middle one of them waited half of it.
    assert!(a.latency_us.max >= 149_000.0, "{:?}", a.latency_us);
    assert!(a.latency_us.p90 >= 90_000.0, "{:?}", a.latency_us);
    let told = network.end();
    assert_eq!(told, [back_mac], "who asked for the receiving port's address was told it once");
}

#[test]
fn a_device_that_takes_no_more_makes_a_trial_that_says_the_generator_was_too_slow() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody empties this ring.
    let (out, back, _near, _far, pool) = wires("full", 512);
    let mut generator = Generator::new(&eal(), out, Some(back), pool).unwrap();
    let record = Record::of(generator.run(&trial(20_000, 0.2, 10), &mut |_| {}));
    assert!(record.sent >= 512 && record.sent < 4_000, "{record:?}");
    assert_eq!((record.sent + record.unsent, record.lost), (4_000, record.sent));
    assert!(!record.passes(100.0) && record.note.contains("too slow"), "{record:?}");
}

#[test]
fn a_search_finds_the_rate_that_a_network_takes() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (out, back, near, far, pool) = wires("find", 4096);
    // 4,321 packets a trial of 0.2 s and no more: 21,605 a second, however the machine is loaded.
    let network =
        network(
            queues(near),
            queues(far),
            pool.clone(),
            |m| if m.number < 4_321 { Do::Pass } else { Do::Lose },
        );
    let mut generator = Generator::new(&eal(), out, Some(back), pool).unwrap();
    let (mut search, mut losses) = (Search::new(50_000, 500), HashMap::new());
    let mut stamp = 100;
    while let Some(rate) = search.next() {
        stamp += 1;
        let trial = Trial { stamp, size: Size::Fixed(64), ..trial(rate, 0.2, 1000) };
        let record = Record::of(generator.run(&trial, &mut |_| {}));
        losses.insert(rate, record.lost);
        // A machine that is so busy that the generator did not come to send says nothing of the network.
        assert_eq!(record.unsent, 0, "{record:?}");
        search.tell(rate, record.passes(0.0));
    }
    network.end();
    assert!((21_105..=21_605).contains(&search.found()), "{search:?} {losses:?}");
    assert_eq!(losses.get(&50_000), Some(&(10_000 - 4_321)));
}
