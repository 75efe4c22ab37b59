//! Devices over kernel interfaces: real frames between two ends of a veth or TAP, each test in a
//! network namespace of its own.

use std::time::{Duration, Instant};

use dpdk::{Burst, Device, Interface, Mempool, PortConfig, Started, wait};

use crate::support::{eal, in_namespace, ip, numbers, pool, receive, run, send_all, start, veth};

/// Frames both ways, and what both ends counted.
fn exchange(a: &mut Started, b: &mut Started, pool: &Mempool) {
    for length in [60, 590, 1_514] {
        for first in [0u32, 100, 200] {
            send_all(&mut a.tx[0], pool, first..first + 100, length);
            assert_eq!(receive(&mut b.rx[0], 100), (first..first + 100).collect::<Vec<_>>());
            send_all(&mut b.tx[0], pool, first..first + 100, length);
            assert_eq!(receive(&mut a.rx[0], 100), (first..first + 100).collect::<Vec<_>>());
        }
    }
    for end in [a, b] {
        let stats = end.port.stats().unwrap();
        assert!(stats.rx_packets >= 900 && stats.tx_packets >= 900, "{}: {stats:?}", end.port.name());
        assert_eq!((stats.tx_errors, stats.rx_no_mbuf), (0, 0), "{}", end.port.name());
        assert!(!end.port.extended_stats().unwrap().is_empty());
    }
}

/// A wait on the receiver's sockets lasts while nothing comes, and ends when something does.
fn sleeps_until_a_frame_comes(sender: &mut Started, sleeper: &mut Started, pool: &Mempool) {
    let sockets = sleeper.port.sockets().to_vec();
    assert_eq!(sockets.len(), 1, "{} has one queue", sleeper.port.name());
    assert_eq!(sleeper.rx[0].socket(), Some(sockets[0]));
    // Until the device has nothing more, as a worker does before it sleeps.
    let mut burst = Burst::new();
    while sleeper.rx[0].receive(&mut burst) > 0 {
        burst.clear();
    }
    let began = Instant::now();
    assert!(!wait(&sockets, Duration::from_millis(50)), "nothing was sent");
    assert!(began.elapsed() >= Duration::from_millis(50));

    for number in 0..20 {
        send_all(&mut sender.tx[0], pool, number..number + 1, 60);
        let began = Instant::now();
        let mut seen = Vec::new();
        while seen.is_empty() {
            assert!(wait(&sockets, Duration::from_secs(5)), "frame {number} wakes the sleeper");
            sleeper.rx[0].receive(&mut burst);
            seen = numbers(&burst);
            burst.clear();
        }
        assert_eq!(seen, [number]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[test]
fn af_packet_passes_frames_both_ways() {
    in_namespace(|| {
        veth("near", "far");
        let pool = pool("packet", 8_191);
        let mut a = start("net_af_packet_a,iface=near", &pool);
        let mut b = start("net_af_packet_b,iface=far", &pool);
        exchange(&mut a, &mut b, &pool);
        sleeps_until_a_frame_comes(&mut a, &mut b, &pool);
        assert_eq!(a.port.capabilities().driver, "net_af_packet");
        drop((a, b));
        assert_eq!(pool.audit(0), Ok(()));
    });
}

#[test]
fn af_xdp_passes_frames_both_ways_and_leaves_no_program_behind() {
    in_namespace(|| {
        veth("near", "far");
        // A pool each: what an AF_XDP device holds when it closes it does not give back.
        let (near, far) = (pool("xdp", 8_191), pool("far", 8_191));
        let mut a = start("net_af_xdp_a,iface=near", &near);
        let mut b = start("net_af_packet_x,iface=far", &far);
        assert_eq!(a.port.capabilities().driver, "net_af_xdp");
        let index = Interface::named("near").unwrap().index;
        assert_eq!(a.port.capabilities().interface, Some(index));
        exchange(&mut a, &mut b, &far);
        sleeps_until_a_frame_comes(&mut b, &mut a, &far);
        drop((a, b));
        assert_eq!(far.audit(0), Ok(()));
        let shown = std::process::Command::new("ip").args(["link", "show", "near"]).output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(!shown.contains("xdp"), "{shown}");
    });
}

#[test]
fn af_xdp_runs_on_both_ends_at_once() {
    in_namespace(|| {
        veth("near", "far");
        let (near, far) = (pool("xdp-a", 8_191), pool("xdp-b", 8_191));
        let mut a = start("net_af_xdp_1,iface=near", &near);
        let mut b = start("net_af_xdp_2,iface=far", &far);
        for first in [0u32, 1_000] {
            send_all(&mut a.tx[0], &near, first..first + 500, 1_000);
            assert_eq!(receive(&mut b.rx[0], 500), (first..first + 500).collect::<Vec<_>>());
        }
        sleeps_until_a_frame_comes(&mut b, &mut a, &far);
    });
}

/// On normal pages DPDK's own pools leave buffers outside of the area that the kernel is told of. It
/// refuses those in silence, until the fill ring is empty and the port deaf.
#[test]
fn af_xdp_receives_into_every_buffer_of_its_pool_again_and_again() {
    in_namespace(|| {
        veth("near", "far");
        let (near, far) = (pool("all", 8_191), pool("out", 8_191));
        let mut a = start("net_af_xdp_all,iface=near", &near);
        let mut b = start("net_af_packet_all,iface=far", &far);
        for first in (0..20_000u32).step_by(200) {
            send_all(&mut b.tx[0], &far, first..first + 200, 100);
            assert_eq!(receive(&mut a.rx[0], 200), (first..first + 200).collect::<Vec<_>>());
        }
    });
}

#[test]
fn tap_passes_frames_both_ways() {
    in_namespace(|| {
        let pool = pool("tap", 8_191);
        let mut a = start("net_tap_a,iface=tapped", &pool);
        assert_eq!(a.port.capabilities().driver, "net_tap");
        ip("link set tapped up");
        let mut b = start("net_af_packet_t,iface=tapped", &pool);
        exchange(&mut a, &mut b, &pool);
        sleeps_until_a_frame_comes(&mut b, &mut a, &pool);
        drop((b, a));
        assert_eq!(pool.audit(0), Ok(()));
        assert!(Interface::named("tapped").is_err(), "its interface goes with it");
    });
}

#[test]
fn a_live_capture_is_a_device_too() {
    in_namespace(|| {
        veth("near", "far");
        let pool = pool("live", 8_191);
        let mut a = start("net_pcap_live,iface=near", &pool);
        let mut b = start("net_af_packet_l,iface=far", &pool);
        send_all(&mut a.tx[0], &pool, 0..100, 700);
        assert_eq!(receive(&mut b.rx[0], 100).len(), 100);
        send_all(&mut b.tx[0], &pool, 0..100, 700);
        // Of live captures the driver shows us our own frames as well.
        assert!(receive(&mut a.rx[0], 100).len() >= 100);
    });
}

#[test]
fn a_device_tells_its_address_and_its_mtu() {
    in_namespace(|| {
        veth("near", "far");
        run("ip", "link set near address 02:00:00:00:be:ef");
        ip("link set near mtu 1400");
        let interface = Interface::named("near").unwrap();
        assert_eq!((interface.mtu, interface.up), (1_400, true));
        let pool = pool("tells", 8_191);
        let started = start("net_af_packet_m,iface=near", &pool);
        assert_eq!(started.port.mac().unwrap().0, [2, 0, 0, 0, 0xbe, 0xef]);
        started.port.set_promiscuous(true).unwrap();
        assert!(started.port.promiscuous());
        started.port.set_promiscuous(false).unwrap();
        assert!(!started.port.promiscuous());
        assert!(started.port.link().unwrap().up);
    });
}

#[test]
fn an_mtu_is_set_through_the_device() {
    in_namespace(|| {
        veth("near", "far");
        let pool = pool("mtu", 8_191);
        let device = Device::probe(&eal(), "net_af_packet_u,iface=near").unwrap();
        let started = device.start(&PortConfig { mtu: Some(1_300), ..PortConfig::default() }, &pool).unwrap();
        assert_eq!(started.port.mtu().unwrap(), 1_300);
        assert_eq!(Interface::named("near").unwrap().mtu, 1_300);
    });
}

#[test]
fn an_af_xdp_device_sees_its_link_go_down_and_come_back() {
    in_namespace(|| {
        veth("near", "far");
        let pool = pool("link", 8_191);
        let started = start("net_af_xdp_l,iface=near", &pool);
        let becomes = |up: bool| {
            let deadline = Instant::now() + Duration::from_secs(5);
            while started.port.link().unwrap().up != up {
                assert!(Instant::now() < deadline, "the link does not become {up}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        becomes(true);
        ip("link set far down");
        becomes(false);
        ip("link set far up");
        becomes(true);
    });
}
