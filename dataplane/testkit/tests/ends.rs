//! Ends that need surroundings which refuse: full rings and queues, an empty pool, full tables.
//! Each is one named drop, every other counter stays still, and the next packet passes again.

use std::net::Ipv4Addr;

use engine::{DropReason, Io, Neighbour, Settings, Worker};
use nat::{Limits, Tick, WorkerId};
use testkit::packet::{Link, Packet};
use testkit::solo::{snapshot_of, two_ports};
use wire::{Endpoint, HeapBuf, MacAddr};

const IN_MAC: MacAddr = MacAddr([2, 0xbb, 0, 0, 0, 0]);
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

/// Surroundings that refuse what they are told to.
#[derive(Default)]
struct Stubborn {
    no_tx: bool,
    no_ring: bool,
    no_punt: bool,
    no_pool: bool,
    sent: usize,
}

impl Stubborn {
    fn take(refuses: bool, taken: &mut usize, packet: HeapBuf) -> Result<(), HeapBuf> {
        if refuses {
            return Err(packet);
        }
        *taken += 1;
        Ok(())
    }
}

impl Io<HeapBuf> for Stubborn {
    fn transmit(&mut self, _: u8, packet: HeapBuf) -> Result<(), HeapBuf> {
        Self::take(self.no_tx, &mut self.sent, packet)
    }

    fn hand_off(&mut self, _: WorkerId, packet: HeapBuf) -> Result<(), HeapBuf> {
        Self::take(self.no_ring, &mut 0, packet)
    }

    fn punt(&mut self, packet: HeapBuf) -> Result<(), HeapBuf> {
        Self::take(self.no_punt, &mut 0, packet)
    }

    fn alloc(&mut self) -> Option<HeapBuf> {
        (!self.no_pool).then(HeapBuf::new)
    }

    fn announce(&mut self, _: Neighbour) {}
}

/// One worker of `workers`, its neighbours known.
fn worker(workers: u16, sessions: u32) -> (Worker<HeapBuf>, Stubborn) {
    let macs = [0, 1].map(|number| MacAddr([2, 0xbb, 0, 0, 0, number]));
    let snapshot = snapshot_of(OBJECTS, &two_ports(macs, [1500; 2]));
    let limits = Limits::for_sessions(sessions);
    let settings = Settings { id: WorkerId(0), workers, limits, seed: [7, 8] };
    let (mut worker, mut io) = (Worker::new(settings, snapshot), Stubborn::default());
    worker.tick(Tick(1), &mut io);
    let known = Neighbour { port: 1, address: REMOTE, mac: Some(HOST_MAC) };
    worker.hear(known, &mut io);
    (worker, io)
}

fn frame(packet: &Packet) -> HeapBuf {
    let link = Link { source: HOST_MAC, destination: IN_MAC, vlan: None };
    HeapBuf::from_frame(&packet.frame(&link))
}

fn udp(host: u8, port: u16) -> Packet {
    Packet::udp(Endpoint::new(Ipv4Addr::new(10, 0, 0, host), port), Endpoint::new(REMOTE, 53))
}

/// Exactly `reason` rose, by `by`, since all was zero; nothing is lost.
fn only(worker: &Worker<HeapBuf>, reason: DropReason, by: u64) {
    let counters = worker.counters();
    for other in DropReason::ALL {
        let wanted = if *other == reason { by } else { 0 };
        assert_eq!(counters.dropped(*other), wanted, "{other}");
    }
    assert_eq!(counters.conservation_error(), 0);
}

#[test]
fn a_full_hand_over_ring_drops_by_name_and_the_next_packet_passes() {
    let (mut worker, mut io) = worker(2, 1024);
    // Of many hosts some belong to the other worker.
    io.no_ring = true;
    (10..40).for_each(|host| worker.receive(0, [frame(&udp(host, 5000))], &mut io));
    let refused = worker.counters().dropped(DropReason::HandoffFull);
    assert!(refused > 0 && refused < 30, "{refused}");
    only(&worker, DropReason::HandoffFull, refused);
    io.no_ring = false;
    (10..40).for_each(|host| worker.receive(0, [frame(&udp(host, 5000))], &mut io));
    assert_eq!(worker.counters().handed_out, refused);
    only(&worker, DropReason::HandoffFull, refused);
}

#[test]
fn a_full_punt_queue_drops_by_name_and_the_next_ping_passes() {
    let (mut worker, mut io) = worker(1, 1024);
    let ping = Packet::echo(Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 1), true, 1, 1);
    io.no_punt = true;
    worker.receive(0, [frame(&ping)], &mut io);
    only(&worker, DropReason::PuntFull, 1);
    io.no_punt = false;
    worker.receive(0, [frame(&ping)], &mut io);
    assert_eq!(worker.counters().punted, 1);
}

#[test]
fn more_pings_than_the_limit_drop_by_name_until_time_goes_on() {
    let (mut worker, mut io) = worker(1, 1024);
    let ping = Packet::echo(Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 1), true, 1, 1);
    for _ in 0..10_001 {
        worker.receive(0, [frame(&ping)], &mut io);
    }
    only(&worker, DropReason::PuntLimited, 1);
    worker.tick(Tick(2), &mut io);
    worker.receive(0, [frame(&ping)], &mut io);
    only(&worker, DropReason::PuntLimited, 1);
}

#[test]
fn a_full_transmit_queue_drops_by_name_and_the_next_packet_passes() {
    let (mut worker, mut io) = worker(1, 1024);
    io.no_tx = true;
    worker.receive(0, [frame(&udp(9, 5000))], &mut io);
    only(&worker, DropReason::TxFull, 1);
    io.no_tx = false;
    worker.receive(0, [frame(&udp(9, 5000))], &mut io);
    assert_eq!((worker.counters().sent, io.sent), (1, 1));
}

#[test]
fn an_empty_pool_drops_what_needs_a_buffer_and_the_next_packet_passes() {
    let (mut worker, mut io) = worker(1, 1024);
    let large = udp(9, 5000).payload(&[0; 1472]).may_fragment().ip_options(&[1; 8]);
    io.no_pool = true;
    worker.receive(0, [frame(&large)], &mut io);
    only(&worker, DropReason::NoBuffer, 1);
    io.no_pool = false;
    worker.receive(0, [frame(&large)], &mut io);
    assert_eq!(worker.counters().sent, 2, "two pieces");
    only(&worker, DropReason::NoBuffer, 1);
}

#[test]
fn a_full_session_table_refuses_new_sessions_and_recovers_when_some_end() {
    let (mut worker, mut io) = worker(1, 64);
    for port in 0..64 {
        worker.receive(0, [frame(&udp(9, 5000 + port))], &mut io);
    }
    assert_eq!(worker.counters().dropped_total(), 0);
    worker.receive(0, [frame(&udp(9, 6000))], &mut io);
    only(&worker, DropReason::SessionTableFull, 1);
    // An established one goes on, and after the idle time there is room again.
    worker.receive(0, [frame(&udp(9, 5000))], &mut io);
    worker.tick(Tick(1 + 1300), &mut io);
    worker.hear(Neighbour { port: 1, address: REMOTE, mac: Some(HOST_MAC) }, &mut io);
    worker.receive(0, [frame(&udp(9, 6000))], &mut io);
    only(&worker, DropReason::SessionTableFull, 1);
}

#[test]
fn more_fragments_than_the_bounds_drop_by_name() {
    let (mut worker, mut io) = worker(1, 1024);
    let link = Link { source: HOST_MAC, destination: IN_MAC, vlan: None };
    // All but the first one: they can only wait.
    let pieces = udp(9, 5000).payload(&[0; 8 * 80]).may_fragment().fragments(&link, 8);
    for piece in pieces.iter().skip(1) {
        worker.receive(0, [HeapBuf::from_frame(piece)], &mut io);
    }
    let counters = worker.counters();
    assert!(counters.dropped(DropReason::FragmentLimit) > 0);
    assert_eq!(counters.dropped_total(), counters.dropped(DropReason::FragmentLimit));
    assert_eq!(counters.conservation_error(), 0);
}

#[test]
fn a_destination_without_a_route_drops_by_name() {
    let (mut worker, mut io) = worker(1, 1024);
    let lost = Packet::udp(
        Endpoint::new(Ipv4Addr::new(10, 0, 0, 9), 5000),
        Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 53),
    );
    worker.receive(0, [frame(&lost)], &mut io);
    only(&worker, DropReason::NoRoute, 1);
    assert_eq!(worker.nat().counts().sessions, 0);
}
