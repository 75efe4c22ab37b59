//! A burst does what its frames do one by one: the stages that look ahead change nothing.

use std::net::Ipv4Addr;

use engine::{Counters, Neighbour, Settings, Worker};
use nat::{Limits, Tick, WorkerId};
use proptest::prelude::*;
use testkit::packet::{Link, Packet, flags};
use testkit::solo::{Kept, snapshot_of, two_ports};
use wire::{Endpoint, HeapBuf, MacAddr};

const HOST_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
const OBJECTS: &str = "
apiVersion: sluice.dev/v1alpha1
kind: EgressPool
metadata: {name: internet}
spec: {addresses: [203.0.113.1], timeouts: {udp: 120s}}
---
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: default}
spec: {from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Snat, pool: internet}
";

fn mac(device: u8) -> MacAddr {
    MacAddr([2, 0xbb, 0, 0, 0, device])
}

fn worker() -> (Worker<HeapBuf>, Kept) {
    let snapshot = snapshot_of(OBJECTS, &two_ports([mac(0), mac(1)], [1500; 2]));
    let settings = Settings { id: WorkerId(0), workers: 1, limits: Limits::for_sessions(1024), seed: [7, 8] };
    let (mut worker, mut wires) = (Worker::new(settings, snapshot), Kept::default());
    worker.tick(Tick(1), &mut wires);
    for (port, address) in [(1, REMOTE), (0, host(0)), (0, host(1)), (0, host(2))] {
        worker.hear(Neighbour { port, address, mac: Some(HOST_MAC) }, &mut wires);
    }
    (worker, wires)
}

fn host(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 + n % 3)
}

/// What one frame is.
#[derive(Clone, Debug)]
struct Choice {
    out: bool,
    host: u8,
    port: u8,
    kind: u8,
    octets: u8,
}

/// Its frames; the outside ports of a pool's only address are guessed low, where its blocks begin.
fn frames(c: &Choice) -> Vec<Vec<u8>> {
    let inside = Endpoint::new(host(c.host), 5000 + u16::from(c.port % 4));
    let remote = Endpoint::new(REMOTE, 53);
    let (from, to) = match c.out {
        true => (inside, remote),
        false => (remote, Endpoint::new(Ipv4Addr::new(203, 0, 113, 1), 1024 + u16::from(c.port))),
    };
    let link = Link { source: HOST_MAC, destination: mac(u8::from(!c.out)), vlan: None };
    let filled = |packet: Packet| packet.payload(&vec![7; usize::from(c.octets)]);
    let packet = match c.kind {
        0 => Packet::tcp(from, to, flags::SYN),
        1 => filled(Packet::tcp(from, to, flags::ACK)),
        2 => Packet::tcp(from, to, flags::FIN | flags::ACK),
        3 => Packet::tcp(from, to, flags::RST),
        4 => filled(Packet::udp(from, to)).bad_ip_checksum(),
        5 => filled(Packet::udp(from, to)).ttl(1),
        6 => filled(Packet::udp(from, to)).trailing(3),
        7 => filled(Packet::udp(from, to)).no_checksum(),
        8 => filled(Packet::udp(from, to)).ip_options(&[1, 1, 1, 1]),
        9 => Packet::echo(from.address, to.address, true, 9, 1),
        10 => return filled(Packet::udp(from, to)).payload(&[3; 64]).may_fragment().fragments(&link, 32),
        11 => filled(Packet::udp(from, to)).udp_length(200),
        12 => filled(Packet::tcp(from, to, flags::SYN | flags::FIN)),
        _ => filled(Packet::udp(from, to)),
    };
    vec![packet.frame(&link)]
}

fn run(choices: &[Choice], burst: usize) -> (Vec<(u8, Vec<u8>)>, Counters) {
    let (mut worker, mut wires) = worker();
    // Neighbouring frames of one device make a burst, of so many at most.
    for lane in choices.chunk_by(|a, b| a.out == b.out) {
        let device = u8::from(!lane.first().is_some_and(|c| c.out));
        let all: Vec<_> = lane.iter().flat_map(frames).collect();
        for some in all.chunks(burst) {
            let mut lane: Vec<_> = some.iter().map(|f| HeapBuf::from_frame(f)).collect();
            worker.receive_burst(device, &mut lane, &mut wires);
            assert!(lane.is_empty());
        }
    }
    assert_eq!(worker.counters().conservation_error(), 0);
    (wires.0, worker.counters().clone())
}

fn choice() -> impl Strategy<Value = Choice> {
    // Mostly one direction for long, so that bursts are long too.
    (prop::bool::weighted(0.97), any::<u8>(), 0u8..32, 0u8..40, 0u8..60)
        .prop_map(|(out, host, port, kind, octets)| Choice { out, host, port, kind, octets })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_burst_does_what_its_frames_do_one_by_one(choices in prop::collection::vec(choice(), 1..600), burst in 2usize..100) {
        let (singly, counted) = run(&choices, 1);
        let (together, counts) = run(&choices, burst);
        prop_assert_eq!(counted, counts);
        prop_assert_eq!(singly, together);
    }
}

#[test]
fn most_of_what_is_tried_goes_the_short_way() {
    let choices: Vec<_> =
        (0..400).map(|n| Choice { out: true, host: n as u8, port: n as u8, kind: 20, octets: 30 }).collect();
    let (sent, counters) = run(&choices, 100);
    assert_eq!((sent.len(), counters.fast), (400, 400 - 12), "three hosts of four ports open a session each");
}
