//! From an interface's name to a device, and what is said when that fails.

use dpdk::{Driver, Error, PortConfig, attach, device_for_interface, probe_interface};

use crate::support::{eal, in_namespace, ip, pool, pool_of, receive, send_all, start, veth};

#[test]
fn the_fastest_device_is_taken_and_works() {
    in_namespace(|| {
        veth("near", "far");
        let (near, far) = (pool("probe", 8_191), pool("peer", 8_191));
        let mut taken = probe_interface(&eal(), "near", &PortConfig::default(), &near).unwrap();
        assert_eq!(taken.driver, Driver::AfXdp);
        assert!(taken.rejected.is_empty(), "{:?}", taken.rejected);
        let mut peer = start("net_af_packet_p,iface=far", &far);
        send_all(&mut peer.tx[0], &far, 0..50, 60);
        assert_eq!(receive(&mut taken.started.rx[0], 50).len(), 50);
    });
}

#[test]
fn the_next_best_device_is_taken_and_the_reason_kept_when_the_fastest_is_busy() {
    in_namespace(|| {
        veth("near", "far");
        let (first, second, third) = (pool("holder", 8_191), pool("second", 8_191), pool("peer", 8_191));
        let _holder = start("net_af_xdp_holder,iface=near", &first);
        let mut taken = probe_interface(&eal(), "near", &PortConfig::default(), &second).unwrap();
        assert_eq!(taken.driver, Driver::AfPacket);
        let [rejected] = &taken.rejected[..] else { panic!("{:?}", taken.rejected) };
        assert_eq!(rejected.driver, Driver::AfXdp);
        eprintln!("the reason reads: {}; {}", rejected.reason, rejected.reason.remedy());
        assert!(rejected.reason.to_string().contains("near"), "{}", rejected.reason);
        let mut peer = start("net_af_packet_q,iface=far", &third);
        send_all(&mut taken.started.tx[0], &second, 0..50, 60);
        assert_eq!(receive(&mut peer.rx[0], 50).len(), 50);
    });
}

#[test]
fn af_xdp_is_refused_where_its_buffers_do_not_hold_the_mtu() {
    in_namespace(|| {
        veth("near", "far");
        ip("link set near mtu 1790");
        let pool = pool("small", 8_191);
        let taken = probe_interface(&eal(), "near", &PortConfig::default(), &pool).unwrap();
        assert_eq!(taken.driver, Driver::AfPacket);
        let reason = taken.rejected[0].reason.to_string();
        assert!(reason.contains("1808 octets") && reason.contains("2192 to 3904 octets"), "{reason}");
    });
}

#[test]
fn af_xdp_passes_the_longest_frames_that_it_is_taken_for() {
    in_namespace(|| {
        veth("near", "far");
        for name in ["near", "far"] {
            ip(&format!("link set {name} mtu 3400"));
        }
        let ways = device_for_interface("far", 1).unwrap();
        let [xdp, packet, _] = &ways[..] else { panic!("{ways:?}") };
        let (near, far) = (
            pool_of("jumbo", 8_191, *xdp.data_room().start()),
            pool_of("jumbos", 8_191, *packet.data_room().start()),
        );
        let mut taken = probe_interface(&eal(), "near", &PortConfig::default(), &near).unwrap();
        assert_eq!(taken.driver, Driver::AfXdp, "{:?}", taken.rejected);
        let ways = device_for_interface("far", 1).unwrap();
        let way = ways.iter().find(|way| way.driver == Driver::AfPacket).unwrap();
        let mut peer =
            attach(&eal(), "far", std::slice::from_ref(way), &PortConfig::default(), &far).unwrap();
        send_all(&mut peer.started.tx[0], &far, 0..50, 3_414);
        assert_eq!(receive(&mut taken.started.rx[0], 50), (0..50).collect::<Vec<_>>());
        send_all(&mut taken.started.tx[0], &near, 0..50, 3_414);
        assert_eq!(receive(&mut peer.started.rx[0], 50), (0..50).collect::<Vec<_>>());
    });
}

/// A TAP stands in by redirecting what the interface receives, which not every kernel is built for.
#[test]
fn a_tap_stands_in_for_an_interface_or_says_what_the_kernel_lacks() {
    in_namespace(|| {
        veth("near", "far");
        let pool = pool("stand-in", 8_191);
        let ways = device_for_interface("near", 1).unwrap();
        let tap = ways.iter().find(|way| way.driver == Driver::Tap).unwrap();
        let mut taken = match attach(&eal(), "near", std::slice::from_ref(tap), &PortConfig::default(), &pool)
        {
            Ok(taken) => taken,
            Err(error) => {
                assert!(error.to_string().contains("qdisc") || error.to_string().contains("flow"), "{error}");
                assert_eq!(pool.audit(0), Ok(()));
                return;
            }
        };
        let mut peer = start("net_af_packet_v,iface=far", &pool);
        send_all(&mut taken.started.tx[0], &pool, 0..50, 60);
        assert_eq!(receive(&mut peer.rx[0], 50).len(), 50);
        send_all(&mut peer.tx[0], &pool, 0..50, 60);
        assert_eq!(receive(&mut taken.started.rx[0], 50).len(), 50);
    });
}

#[test]
fn a_missing_interface_is_named() {
    in_namespace(|| {
        let pool = pool("missing", 127);
        for name in ["nosuch0", "", "a,b=c", "name-that-is-far-too-long"] {
            let error = probe_interface(&eal(), name, &PortConfig::default(), &pool).unwrap_err();
            assert!(
                matches!(&error, Error::MissingInterface { interface } if interface == name),
                "{error:?}"
            );
        }
    });
}

#[test]
fn missing_rights_are_told_apart_from_other_reasons() {
    in_namespace(|| {
        veth("near", "far");
        let pool = pool("rights", 8_191);
        give_up_capabilities();
        let error = probe_interface(&eal(), "near", &PortConfig::default(), &pool).unwrap_err();
        let Error::NoDevice { rejected, .. } = &error else { panic!("{error:?}") };
        assert_eq!(rejected.len(), Driver::ALL.len());
        for way in rejected {
            assert!(matches!(way.reason, Error::NoPermission { .. }), "{}: {:?}", way.devargs, way.reason);
        }
        assert!(error.remedy().contains("NET_ADMIN"), "{}", error.remedy());
    });
}

/// Of the calling thread only, which is what the kernel counts by.
fn give_up_capabilities() {
    #[repr(C)]
    struct Header {
        version: u32,
        thread: i32,
    }
    let header = Header { version: 0x2008_0522, thread: 0 };
    let none = [0u32; 6];
    // SAFETY: version 3 of the call takes a header and two sets of three words.
    let code = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
}
