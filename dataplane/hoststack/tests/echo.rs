//! Echo requests, unwanted packets and random bytes.

mod lab;

use std::net::Ipv4Addr;

use hoststack::{Duration, HostStack, Instant, Settings};
use lab::{Lab, OWN, SERVER, VIP, addresses, check, http, target};
use model::Probe;
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr};

fn echo(destination: Ipv4Addr, data: &[u8]) -> Vec<u8> {
    let icmp = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 9, data };
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: destination,
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 3,
    };
    let mut bytes = vec![0; ip.buffer_len() + icmp.buffer_len()];
    let checksums = ChecksumCapabilities::default();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes[..]), &checksums);
    icmp.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes[ip.buffer_len()..]), &checksums);
    bytes
}

fn stack(settings: Settings) -> HostStack {
    let mut stack = HostStack::new(settings, 1, Instant::ZERO);
    stack.configure(Instant::ZERO, addresses(), vec![]);
    stack
}

fn poll(stack: &mut HostStack, now: Instant) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    assert_eq!(stack.poll(now, &mut |packet| sent.push(packet)), []);
    sent
}

#[test]
fn an_echo_request_to_an_own_address_or_a_vip_is_answered_from_there() {
    for address in [OWN, VIP] {
        let mut stack = stack(Settings::default());
        stack.receive(echo(address, b"0123456789"));
        assert_eq!(stack.poll_delay(Instant::ZERO), Some(Duration::ZERO));
        let sent = poll(&mut stack, Instant::ZERO);
        let ip = Ipv4Packet::new_checked(&sent[0][..]).expect("an IP packet");
        let icmp = Icmpv4Packet::new_checked(ip.payload()).expect("an ICMP packet");
        let repr = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).expect("right checksums");
        assert_eq!((ip.src_addr(), ip.dst_addr(), ip.hop_limit(), sent.len()), (address, SERVER, 64, 1));
        assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 7, seq_no: 9, data: b"0123456789" });
        assert_eq!(stack.poll_delay(Instant::ZERO), None);
    }
}

#[test]
fn an_address_that_is_no_longer_configured_is_silent() {
    let mut stack = stack(Settings::default());
    stack.receive(echo(Ipv4Addr::new(10, 0, 0, 77), b""));
    let own = hoststack::Addresses { own: [OWN].into(), ..Default::default() };
    stack.configure(Instant::ZERO, own, vec![]);
    stack.receive(echo(VIP, b""));
    assert_eq!(poll(&mut stack, Instant::ZERO), Vec::<Vec<u8>>::new());
    assert_eq!(stack.counters().unwanted, 2);
}

#[test]
fn echo_requests_over_the_rate_and_the_queue_are_counted_and_end() {
    let settings = Settings { echoes_per_second: 10, echo_burst: 5, echo_queue: 20, ..Settings::default() };
    let mut stack = stack(settings);
    (0..30).for_each(|_| stack.receive(echo(OWN, b"x")));
    assert_eq!(poll(&mut stack, Instant::ZERO).len(), 5);
    let counters = stack.counters();
    assert_eq!(
        (counters.received, counters.queue_full, counters.rate_limited, counters.sent),
        (30, 10, 15, 5)
    );
    (0..30).for_each(|_| stack.receive(echo(OWN, b"x")));
    assert_eq!(poll(&mut stack, Instant::from_millis(300)).len(), 3);
}

#[test]
fn a_flood_of_echo_requests_takes_nothing_from_health_checks() {
    let mut lab = Lab::new(http());
    for _ in 0..20_000 {
        (0..20).for_each(|_| lab.stack.receive(echo(OWN, b"flood")));
        lab.run(1);
    }
    assert_eq!((lab.told(), lab.stack.counters().probes_failed), (vec![], 0));
    assert_eq!(lab.syn_ports.len(), 10);
}

#[test]
fn fragments_wrong_checksums_and_strangers_are_not_answered() {
    let mut stack = stack(Settings::default());
    let mut fragment = echo(OWN, b"x");
    fragment[6] = 0x20;
    let mut wrong = echo(OWN, b"x");
    wrong[24] ^= 1;
    let mut cut = echo(OWN, b"x");
    cut.truncate(21);
    let mut tcp = echo(OWN, b"0123456789012345678901234567890");
    tcp[9] = 6;
    [fragment, wrong, cut, tcp, vec![], vec![0x45]].into_iter().for_each(|packet| stack.receive(packet));
    assert_eq!(poll(&mut stack, Instant::ZERO), Vec::<Vec<u8>>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_end_quietly(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut stack = stack(Settings::default());
        stack.receive(bytes);
        poll(&mut stack, Instant::ZERO);
    }

    #[test]
    fn a_spoiled_answer_never_panics(at in 0usize..60, value: u8, keep in 0usize..80, which in 0usize..6) {
        let mut stack = HostStack::new(Settings::default(), 1, Instant::ZERO);
        let udp = Probe::Udp { send: "x".into(), expect: String::new() };
        for probe in [http(), check(udp)] {
            stack.configure(Instant::ZERO, addresses(), vec![target(SERVER, probe)]);
            let mut sent = Vec::new();
            for millis in 0..2_000 {
                stack.poll(Instant::from_millis(millis), &mut |packet| sent.push(packet));
                // Its own packet with the ends turned round is nearly an answer.
                if let Some(mut packet) = sent.pop() {
                    let (source, rest) = packet.split_at_mut(16);
                    source[12..16].swap_with_slice(&mut rest[..4]);
                    rest[4..8].rotate_left(2);
                    if let Some(octet) = packet.get_mut(at) { *octet = value; }
                    if packet.len() > 33 { packet[33] = [0x12, 0x14, 0x04, 0x11, 0x02, value][which]; }
                    packet.truncate(keep.max(24));
                    stack.receive(packet);
                }
            }
        }
    }
}
