//! Checksums that a device verifies and fills in: `net_tap` does both, in software.

use dpdk::{Burst, PortConfig};
use wire::{Checksum, ChecksumRequest, L4Checksum, PacketBuf, checksum};

use crate::support::{in_namespace, ip, pool, put_bytes, start};

const L2: usize = 14;
const L3: usize = 20;

/// A UDP datagram from 10.0.0.1 to 10.0.0.2 in an Ethernet frame, both checksums right.
fn datagram() -> Vec<u8> {
    let mut udp = vec![0x30, 0x39, 0, 9, 0, 28, 0, 0];
    udp.extend(0..20);
    let (from, to) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let sum = checksum::transport(from.into(), to.into(), wire::Protocol::UDP, &udp);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x45, 0, 0, 48, 0, 1, 0x40, 0, 64, 17, 0, 0];
    packet.extend(from);
    packet.extend(to);
    let sum = checksum::of(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    frame.extend(packet);
    frame.extend(udp);
    frame
}

/// The next `count` frames that are IPv4.
fn ipv4_frames(rx: &mut dpdk::RxQueue, count: usize) -> Vec<dpdk::Mbuf> {
    let (mut burst, mut found) = (Burst::new(), Vec::new());
    for _ in 0..5_000 {
        rx.receive(&mut burst);
        found.extend(burst.drain().filter(|mbuf| mbuf.bytes().get(12..14) == Some(&[8, 0])));
        if found.len() >= count {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{} of {count} IPv4 packets came in 5 s", found.len());
}

#[test]
fn a_device_fills_in_the_checksums_it_is_asked_for_and_no_others() {
    in_namespace(|| {
        let pool = pool("sums", 8_191);
        let mut tap = start("net_tap_s,iface=sums", &pool);
        ip("link set sums up");
        let on = tap.port.offloads();
        assert!(on.tx_all() && on.rx_ip && on.rx_l4, "{on:?}");
        let mut peer = start("net_af_packet_s,iface=sums", &pool);
        let right = datagram();

        // As the caller leaves it: no header checksum, the pseudo header's sum in the UDP field.
        let mut asked = right.clone();
        asked[L2 + 10..L2 + 12].fill(0);
        let pseudo =
            checksum::pseudo_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), wire::Protocol::UDP, 28);
        let folded = u16::try_from((pseudo & 0xffff) + (pseudo >> 16)).unwrap();
        asked[L2 + L3 + 6..L2 + L3 + 8].copy_from_slice(&folded.to_be_bytes());
        let mut burst = Burst::new();
        put_bytes(&mut burst, &pool, &asked);
        put_bytes(&mut burst, &pool, &asked);
        let request = ChecksumRequest { ip: true, l4: L4Checksum::Udp, l2_len: L2 as u16, l3_len: L3 as u16 };
        burst.as_mut_slice()[0].request_checksums(request);
        assert_eq!(tap.tx[0].prepare(&mut burst), 2);
        assert_eq!(tap.tx[0].send(&mut burst), 2);
        let came = ipv4_frames(&mut peer.rx[0], 2);
        assert_eq!(came[0].bytes(), right);
        assert_eq!(came[1].bytes(), asked, "nobody asked for this one's");
    });
}

#[test]
fn a_device_says_which_checksums_are_right() {
    in_namespace(|| {
        let pool = pool("verify", 8_191);
        let mut tap = start("net_tap_v,iface=verify", &pool);
        ip("link set verify up");
        let mut peer = start("net_af_packet_w,iface=verify", &pool);
        let mut wrong = datagram();
        wrong[L2 + 10] ^= 1;
        let mut payload = datagram();
        *payload.last_mut().unwrap() ^= 1;
        let mut burst = Burst::new();
        for frame in [&datagram(), &wrong, &payload] {
            put_bytes(&mut burst, &pool, frame);
        }
        assert_eq!(peer.tx[0].send(&mut burst), 3);
        let came: Vec<_> = ipv4_frames(&mut tap.rx[0], 3).iter().map(PacketBuf::offload).collect();
        assert_eq!((came[0].ip, came[0].l4), (Checksum::Good, Checksum::Good));
        assert_eq!(came[1].ip, Checksum::Bad);
        assert_eq!((came[2].ip, came[2].l4), (Checksum::Good, Checksum::Bad));
    });
}

#[test]
fn checksums_are_left_to_us_when_the_device_is_not_to_do_them() {
    in_namespace(|| {
        let pool = pool("left", 8_191);
        let device = dpdk::Device::probe(&crate::support::eal(), "net_tap_z,iface=left").unwrap();
        assert!(device.capabilities().offloads.tx_all());
        let started = device.start(&PortConfig { checksums: false, ..PortConfig::default() }, &pool).unwrap();
        assert_eq!(started.port.offloads(), dpdk::Offloads::default());
    });
}
