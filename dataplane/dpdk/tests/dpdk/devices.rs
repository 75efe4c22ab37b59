//! Devices that need no kernel interface: rings, files and nothing at all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dpdk::{Burst, Device, Error, Mempool, PoolConfig, PortConfig, Rss};
use wire::PacketBuf;

use crate::support::{eal, frame, numbers, pool, pool_of, put, receive, send_all, start};

#[test]
fn what_one_ring_device_sends_the_other_receives_queue_by_queue() {
    let pool = pool("pairs", 511);
    let (near, far) = Device::ring_pair(&eal(), "pairs", 2, 255).unwrap();
    let config = PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() };
    let (mut near, mut far) = (near.start(&config, &pool).unwrap(), far.start(&config, &pool).unwrap());
    assert_eq!((near.rx.len(), near.tx.len()), (2, 2));
    for queue in 0..2 {
        let first = queue as u32 * 1_000;
        send_all(&mut near.tx[queue], &pool, first..first + 100, 60 + queue);
        assert_eq!(receive(&mut far.rx[queue], 100), (first..first + 100).collect::<Vec<_>>());
        assert_eq!(far.rx[1 - queue].receive(&mut Burst::new()), 0, "nothing comes by the other queue");
        send_all(&mut far.tx[queue], &pool, first..first + 50, 1_514);
        assert_eq!(receive(&mut near.rx[queue], 50).len(), 50);
    }
    let (sent, received) = (near.port.stats().unwrap(), far.port.stats().unwrap());
    assert_eq!((sent.tx_packets, received.rx_packets), (200, 200));
    assert!(near.port.link().unwrap().up);
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn a_full_queue_takes_exactly_what_fits_and_the_rest_is_still_ours() {
    let pool = pool("full", 255);
    let (near, far) = Device::ring_pair(&eal(), "full", 1, 63).unwrap();
    let (mut near, mut far) = (
        near.start(&PortConfig::default(), &pool).unwrap(),
        far.start(&PortConfig::default(), &pool).unwrap(),
    );
    let mut burst = Burst::new();
    put(&mut burst, &pool, 0..64, 60);
    assert_eq!(near.tx[0].send(&mut burst), 63);
    assert_eq!(numbers(&burst), [63]);
    assert_eq!(near.tx[0].send(&mut burst), 0, "it does not wait");
    assert_eq!(pool.audit(64), Ok(()), "63 in the device and one in our hand");

    assert_eq!(receive(&mut far.rx[0], 63), (0..63).collect::<Vec<_>>());
    assert_eq!(near.tx[0].send(&mut burst), 1, "there is room again at once");
    assert!(burst.is_empty());
    assert_eq!(near.tx[0].send(&mut burst), 0, "nothing to send is nothing sent");
    assert_eq!(receive(&mut far.rx[0], 1), [63]);
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn a_device_ends_with_its_last_handle_and_gives_its_packets_back() {
    let pool = pool("ends", 255);
    let (near, far) = Device::ring_pair(&eal(), "ends", 1, 63).unwrap();
    let near = near.start(&PortConfig::default(), &pool).unwrap();
    let far = far.start(&PortConfig::default(), &pool).unwrap();
    let (mut tx, mut rx) = (near.tx, far.rx);
    drop((near.port, near.rx, far.port, far.tx));
    send_all(&mut tx[0], &pool, 0..32, 60);
    let worker = std::thread::spawn(move || {
        assert_eq!(
            receive(&mut rx[0], 16).len(),
            32,
            "a queue works in another thread, after its port's handle"
        );
        rx
    });
    let rx = worker.join().unwrap();
    send_all(&mut tx[0], &pool, 0..32, 60);
    drop((rx, tx));
    assert_eq!(pool.audit(0), Ok(()), "packets under way were freed with the devices");
    // The names are free again.
    drop(Device::ring_pair(&eal(), "ends", 1, 63).unwrap());
}

#[test]
fn the_null_device_gives_frames_without_end_and_swallows_all() {
    let pool = pool("null", 4_095);
    let mut null = start("net_null_a,size=64", &pool);
    assert_eq!(null.port.capabilities().driver, "net_null");
    assert!(null.port.sockets().is_empty(), "it has to be polled");
    let mut burst = Burst::new();
    let (mut received, mut sent) = (0, 0);
    for _ in 0..100 {
        received += null.rx[0].receive(&mut burst);
        assert!(burst.as_slice().iter().all(|mbuf| mbuf.bytes().len() == 64));
        sent += null.tx[0].send(&mut burst);
    }
    assert_eq!((received, sent), (100 * Burst::SIZE, received));
    let stats = null.port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (6_400, 6_400));
    let extended = null.port.extended_stats().unwrap();
    let good = extended.iter().find(|stat| stat.name == "rx_good_packets").expect("every device has it");
    assert_eq!(good.value, 6_400);
    drop(null);
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn receiving_from_an_empty_pool_gives_nothing_and_recovers() {
    let pool = pool("starves", 127);
    let mut null = start("net_null_b,size=64", &pool);
    let held: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    let mut burst = Burst::new();
    assert_eq!(null.rx[0].receive(&mut burst), 0);
    drop(held);
    assert!(null.rx[0].receive(&mut burst) > 0);
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A capture of Ethernet frames in the classic format.
fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn frames_go_into_a_capture_file_and_come_out_of_it_again() {
    let folder = Folder::new("captures");
    let file = folder.0.join("frames.pcap");
    let pool = pool("captures", 2_047);
    let mut writer = start(&format!("net_pcap_w,tx_pcap={}", file.display()), &pool);
    send_all(&mut writer.tx[0], &pool, 0..500, 800);
    drop(writer);
    assert_eq!(pool.audit(0), Ok(()));

    let mut reader = start(&format!("net_pcap_r,rx_pcap={}", file.display()), &pool);
    assert_eq!(receive(&mut reader.rx[0], 500), (0..500).collect::<Vec<_>>());
    assert_eq!(reader.rx[0].receive(&mut Burst::new()), 0, "the file has ended");
    drop(reader);
    assert_eq!(pool.audit(0), Ok(()));
}

#[test]
fn a_frame_longer_than_a_buffer_is_dropped_and_counted_and_the_next_one_comes() {
    let folder = Folder::new("jumbo");
    let file = folder.0.join("frames.pcap");
    write_capture(&file, &[frame(1, 60), frame(2, 4_000), frame(3, 1_514)]);
    let small = pool("small", 511);
    let mut reader = start(&format!("net_pcap_s,rx_pcap={}", file.display()), &small);
    assert_eq!(receive(&mut reader.rx[0], 2), [1, 3]);
    assert_eq!(reader.rx[0].too_long() + reader.port.stats().unwrap().rx_errors, 1);
    drop(reader);
    assert_eq!(small.audit(0), Ok(()));

    let large = pool_of("large", 127, 9_216 + 128);
    let mut reader = start(&format!("net_pcap_l,rx_pcap={}", file.display()), &large);
    assert_eq!(receive(&mut reader.rx[0], 3), [1, 2, 3]);
    assert_eq!(reader.rx[0].too_long(), 0);
}

#[test]
fn a_missing_capture_file_is_named_in_the_error() {
    let error = Device::probe(&eal(), "net_pcap_m,rx_pcap=/nowhere/frames.pcap").map(drop).unwrap_err();
    assert!(error.to_string().contains("/nowhere/frames.pcap"), "{error}");
}

#[test]
fn an_unknown_driver_is_named_with_what_to_install() {
    let error = Device::probe(&eal(), "net_nosuch0,iface=lo").map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownDriver { device } if device == "net_nosuch0,iface=lo"),
        "{error:?}"
    );
    assert!(error.remedy().contains("librte-net-"), "{}", error.remedy());
    assert!(Device::probe(&eal(), "zero\0octet").is_err());
    assert!(Device::probe(&eal(), "").is_err());
}

#[test]
fn a_device_is_had_once() {
    let pool = pool("once", 255);
    let null = start("net_null_once", &pool);
    let error = Device::probe(&eal(), "net_null_once").map(drop).unwrap_err();
    assert!(matches!(&error, Error::NameTaken { name } if name == "net_null_once"), "{error:?}");
    drop(null);
    drop(Device::probe(&eal(), "net_null_once").unwrap());
}

#[test]
fn a_device_is_asked_for_more_queues_than_it_has_and_says_how_many_run() {
    let pool = pool("queues", 511);
    let (near, far) = Device::ring_pair(&eal(), "queues", 2, 63).unwrap();
    assert_eq!(near.capabilities().max_rx_queues, 2);
    let config = PortConfig { rx_queues: 16, tx_queues: 1, ..PortConfig::default() };
    let near = near.start(&config, &pool).unwrap();
    assert_eq!((near.rx.len(), near.tx.len()), (2, 1));
    let none = PortConfig { rx_queues: 0, ..PortConfig::default() };
    assert!(matches!(far.start(&none, &pool), Err(Error::Invalid { .. })));
}

#[test]
fn a_device_that_can_spreads_packets_and_one_that_cannot_says_so() {
    let pool = pool("spreads", 1_023);
    let config = PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() };
    let null = Device::probe(&eal(), "net_null_rss").unwrap();
    assert!(null.capabilities().rss && !null.capabilities().rss_source_only);
    let null = null.start(&PortConfig { rss: Rss::Source, ..config.clone() }, &pool).unwrap();
    assert_eq!(null.port.rss(), Rss::Flow, "it cannot do it by the source alone, so by all");
    let (ring, _other) = Device::ring_pair(&eal(), "unspread", 2, 63).unwrap();
    let ring = ring.start(&config, &pool).unwrap();
    assert_eq!(ring.port.rss(), Rss::Off);
    assert!(!ring.port.offloads().tx_all());
}

#[test]
fn a_pool_lies_on_the_socket_it_is_asked_for() {
    for socket in eal().sockets() {
        let config =
            PoolConfig { name: "numa".into(), mbufs: 63, socket: Some(socket), ..PoolConfig::default() };
        assert_eq!(Mempool::new(&eal(), &config).unwrap().available(), 63);
    }
    let nowhere = PoolConfig { name: "numa".into(), mbufs: 63, socket: Some(31), ..PoolConfig::default() };
    assert!(Mempool::new(&eal(), &nowhere).is_err());
}

#[test]
fn a_worker_per_queue_forwards_without_losing_a_packet() {
    const PACKETS: u32 = 20_000;
    let pool = pool("forward", 1_023);
    let (host, near) = Device::ring_pair(&eal(), "fwd-in", 1, 127).unwrap();
    let (far, other) = Device::ring_pair(&eal(), "fwd-out", 1, 127).unwrap();
    let [mut host, mut near, mut far, mut other] =
        [host, near, far, other].map(|device| device.start(&PortConfig::default(), &pool).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut burst, mut moved) = (Burst::new(), 0);
            while moved < PACKETS as usize {
                near.rx[0].receive(&mut burst);
                match far.tx[0].send(&mut burst) {
                    0 => std::thread::yield_now(),
                    sent => moved += sent,
                }
                assert!(Instant::now() < deadline);
            }
        });
        scope.spawn(|| send_all(&mut host.tx[0], &pool, 0..PACKETS, 60));
        assert_eq!(receive(&mut other.rx[0], PACKETS as usize), (0..PACKETS).collect::<Vec<_>>());
    });
    assert_eq!(pool.audit(0), Ok(()));
}
