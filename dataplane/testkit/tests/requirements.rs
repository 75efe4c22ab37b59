//! Requirements of the NAT RFCs that only the whole pipeline can show: sides, sizes, hairpins,
//! refusals. Each test carries its requirement's number.

use std::net::Ipv4Addr;

use engine::{DropReason, Neighbour, Settings, Worker};
use model::Origin;
use nat::{Limits, Tick, WorkerId};
use testkit::solo::{Kept, snapshot_of, two_ports};
use testkit::{Link, Packet};
use wire::{Endpoint, HeapBuf, Ipv4, MacAddr, Transport, ipv4};

const GATEWAY: MacAddr = MacAddr([2, 0xbb, 0, 0, 0, 0]);
const HOST: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
const POOL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const X1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const X2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
const Y: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
const FIXED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const OBJECTS: &str = "
apiVersion: sluice.dev/v1alpha1
kind: EgressPool
metadata: {name: internet}
spec: {addresses: [203.0.113.1]}
---
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: open}
spec: {from: [{prefix: 10.0.0.0/24}], to: [{prefix: 0.0.0.0/0}], action: Snat, pool: internet,
       filtering: EndpointIndependent}
---
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: loud}
spec: {priority: 200, from: [{prefix: 10.0.0.0/24}], to: [{prefix: 198.51.100.77/32}], action: Deny}
---
apiVersion: sluice.dev/v1alpha1
kind: EgressPolicy
metadata: {name: silent}
spec: {priority: 200, from: [{prefix: 10.0.0.0/24}], to: [{prefix: 198.51.100.78/32}], action: Deny, onDeny: Drop}
---
apiVersion: sluice.dev/v1alpha1
kind: StaticMapping
metadata: {name: fixed}
spec: {outside: {address: 203.0.113.9}, inside: {address: 10.0.0.12}}
";

/// A gateway of one worker whose neighbours are known.
struct Gateway {
    worker: Worker<HeapBuf>,
    wires: Kept,
}

/// An IP packet that was sent, and by which device.
struct Sent {
    device: u8,
    frame: Vec<u8>,
    ip: Ipv4,
}

impl Gateway {
    fn new() -> Self {
        let snapshot = snapshot_of(OBJECTS, &two_ports([GATEWAY; 2], [1500, 1000]));
        let settings =
            Settings { id: WorkerId(0), workers: 1, limits: Limits::for_sessions(1024), seed: [3, 4] };
        let mut gateway = Gateway { worker: Worker::new(settings, snapshot), wires: Kept::default() };
        gateway.pass(1);
        gateway
    }

    /// Time goes on; neighbours are as fresh as new.
    fn pass(&mut self, tick: u32) {
        self.worker.tick(Tick(tick), &mut self.wires);
        for (port, address) in [(0, X1), (0, X2), (1, Y)] {
            self.worker.hear(Neighbour { port, address, mac: Some(HOST) }, &mut self.wires);
        }
        self.wires.0.clear();
    }

    /// What is sent for a packet that arrives at `device`.
    fn receive(&mut self, device: u8, packet: &Packet) -> Vec<Sent> {
        let link = Link { source: HOST, destination: GATEWAY, vlan: None };
        self.worker.receive(device, [HeapBuf::from_frame(&packet.frame(&link))], &mut self.wires);
        assert_eq!(self.worker.counters().conservation_error(), 0);
        let sent = self.wires.0.drain(..);
        sent.map(|(device, frame)| {
            let ip = ipv4::parse(&frame, 14, false).unwrap();
            Sent { device, frame, ip }
        })
        .collect()
    }

    /// The one packet that is sent.
    fn one(&mut self, device: u8, packet: &Packet) -> Sent {
        let mut sent = self.receive(device, packet);
        assert_eq!(sent.len(), 1);
        sent.remove(0)
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.worker.counters().dropped(reason)
    }
}

fn at(address: Ipv4Addr, port: u16) -> Endpoint {
    Endpoint::new(address, port)
}

fn error(sent: &Sent) -> (u8, u8) {
    match sent.ip.l4_kind {
        Transport::IcmpError { kind, code } => (kind, code),
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn rfc4787_req7_an_inside_source_from_outside_is_refused() {
    let mut g = Gateway::new();
    assert!(g.receive(1, &Packet::udp(at(X1, 1), at(POOL, 2000))).is_empty());
    assert!(g.receive(0, &Packet::udp(at(Y, 1), at(POOL, 2000))).is_empty());
    assert_eq!(g.dropped(DropReason::SpoofedSource), 2);
}

/// RFC 4787 REQ-10, RFC 5382 REQ-6: no application gateway touches what packets carry.
#[test]
fn addresses_in_payloads_are_nobodys_business() {
    let mut g = Gateway::new();
    let says = b"PORT 10,0,0,11,19,137\r\nContact: <sip:a@10.0.0.11:5060>";
    for packet in [
        Packet::udp(at(X1, 5060), at(Y, 5060)).payload(says),
        Packet::tcp(at(X1, 5001), at(Y, 21), 2).payload(says),
    ] {
        let sent = g.one(0, &packet);
        assert!(sent.frame.ends_with(says));
        assert_eq!(sent.ip.source, POOL);
    }
}

#[test]
fn rfc4787_req13_too_large_is_told_or_split() {
    let mut g = Gateway::new();
    let large = Packet::udp(at(X1, 4000), at(Y, 53)).payload(&[7; 1200]);
    let told = g.one(0, &large);
    assert_eq!((told.device, error(&told), told.ip.destination), (0, (3, 4), X1));
    let mtu = u16::from_be_bytes([told.frame[14 + 20 + 6], told.frame[14 + 20 + 7]]);
    assert_eq!(mtu, 1000);
    // Without DF it goes out in pieces, in order.
    let pieces = g.receive(0, &large.may_fragment());
    let offsets: Vec<u16> = pieces.iter().map(|p| p.ip.fragment_offset).collect();
    assert_eq!(offsets, [0, 976]);
    assert!(pieces.iter().all(|p| p.device == 1 && p.ip.source == POOL && p.ip.total_len() <= 1000));
}

#[test]
fn rfc5382_req7_two_inside_endpoints_never_share_an_outside_one() {
    let mut g = Gateway::new();
    let mut seen = std::collections::BTreeSet::new();
    for host in [X1, X2] {
        for port in 6000..6100 {
            let sent = g.one(0, &Packet::tcp(at(host, port), at(Y, 443), 2));
            // X2 has an outside address of its own.
            assert!(seen.insert((sent.ip.source, sent.ip.source_port)));
        }
    }
}

#[test]
fn rfc5382_req8_a_tcp_hairpin_shows_the_outside_endpoint() {
    let mut g = Gateway::new();
    let sent = g.one(0, &Packet::tcp(at(X1, 6000), at(FIXED, 80), 2));
    assert_eq!((sent.device, sent.ip.source, sent.ip.destination), (0, POOL, X2));
    assert_eq!((sent.ip.destination_port, sent.ip.ttl), (80, 63));
}

#[test]
fn rfc5382_req9_an_unreachable_from_outside_reaches_the_inside_host_translated() {
    let mut g = Gateway::new();
    let sent = g.one(0, &Packet::tcp(at(X1, 6000), at(Y, 443), 2));
    let told = g.one(1, &Packet::icmp_error(Y, POOL, 3, 1, 0, &sent.frame[14..]));
    assert_eq!((told.device, error(&told), told.ip.destination), (0, (3, 1), X1));
    let quoted = ipv4::parse_embedded(&told.frame, &told.ip).unwrap();
    assert_eq!((quoted.source, quoted.source_port, quoted.destination), (X1, 6000, Y));
    // RFC 5382 REQ-10, RFC 4787 REQ-12: the session is still there.
    assert_eq!(g.worker.nat().counts().sessions, 1);
}

/// RFC 5508 REQ-7, RFC 7857 §12: queries and errors turn round too.
#[test]
fn rfc5508_req7_a_hairpinned_ping_and_an_error_about_one_turn_round() {
    let mut g = Gateway::new();
    let asked = g.one(0, &Packet::echo(X1, FIXED, true, 77, 1));
    assert_eq!((asked.device, asked.ip.source, asked.ip.destination), (0, POOL, X2));
    let told = g.one(0, &Packet::icmp_error(X2, POOL, 3, 1, 0, &asked.frame[14..]));
    assert_eq!((told.device, error(&told), told.ip.destination, told.ip.source), (0, (3, 1), X1, FIXED));
    let quoted = ipv4::parse_embedded(&told.frame, &told.ip).unwrap();
    assert_eq!((quoted.source, quoted.source_port, quoted.destination), (X1, 77, FIXED));
    let answered = g.one(0, &Packet::echo(X2, POOL, false, asked.ip.source_port, 1));
    assert_eq!((answered.ip.source, answered.ip.destination, answered.ip.source_port), (FIXED, X1, 77));
}

#[test]
fn rfc5508_req8_what_policy_refuses_is_told_ten_times_a_second() {
    let mut g = Gateway::new();
    let refused = Packet::echo(X1, Ipv4Addr::new(198, 51, 100, 77), true, 1, 1);
    let told: usize =
        (0..20).map(|_| g.receive(0, &refused).iter().filter(|s| error(s) == (3, 13)).count()).sum();
    assert_eq!((told, g.dropped(DropReason::EgressDenied)), (10, 20));
}

#[test]
fn rfc5508_req9_a_policy_may_be_silent() {
    let mut g = Gateway::new();
    assert!(g.receive(0, &Packet::echo(X1, Ipv4Addr::new(198, 51, 100, 78), true, 1, 1)).is_empty());
    assert_eq!(g.dropped(DropReason::EgressDenied), 1);
}

#[test]
fn rfc5508_req10_a_ttl_that_runs_out_is_told() {
    let mut g = Gateway::new();
    let told = g.one(0, &Packet::udp(at(X1, 4000), at(Y, 33434)).ttl(1));
    assert_eq!(
        (error(&told), told.ip.source, told.ip.destination),
        ((11, 0), Ipv4Addr::new(10, 0, 0, 1), X1)
    );
}

#[test]
fn rfc5508_req11_other_icmp_messages_are_dropped() {
    let mut g = Gateway::new();
    for kind in [4, 5, 9, 13, 17] {
        assert!(g.receive(0, &Packet::icmp(X1, Y, kind, 0, [0; 4]).payload(&[0; 28])).is_empty());
    }
    assert_eq!(g.dropped(DropReason::IcmpUnsupported), 5);
}

/// RFC 7857 §6, RFC 6888 REQ-7: endpoint-independent filtering is each protocol's own.
#[test]
fn rfc7857_6_a_udp_mapping_admits_no_tcp() {
    let mut g = Gateway::new();
    let port = g.one(0, &Packet::udp(at(X1, 4000), at(Y, 53))).ip.source_port;
    let stranger = Ipv4Addr::new(192, 0, 2, 200);
    assert_eq!(g.one(1, &Packet::udp(at(stranger, 9), at(POOL, port))).ip.destination, X1);
    assert!(g.receive(1, &Packet::tcp(at(stranger, 9), at(POOL, port), 2)).is_empty());
    assert_eq!(g.dropped(DropReason::UnsolicitedSyn), 1);
}

#[test]
fn rfc7857_7_an_error_from_inside_does_not_refresh() {
    let mut g = Gateway::new();
    let sent = g.one(0, &Packet::udp(at(X1, 4000), at(Y, 53)));
    let port = sent.ip.source_port;
    let inbound = Packet::udp(at(Y, 53), at(POOL, port));
    for tick in [1000, 2000, 2900] {
        g.pass(tick);
        let came = g.one(1, &inbound);
        let told = g.one(0, &Packet::icmp_error(X1, Y, 3, 3, 0, &came.frame[14..]));
        assert_eq!((told.device, error(&told), told.ip.source), (1, (3, 3), POOL));
    }
    // 300 s after the only packet that refreshes.
    g.pass(3001);
    assert_eq!(g.worker.nat().counts().sessions, 0);
}

#[test]
fn rfc7857_8_ports_of_either_parity_serve_any_inside_port() {
    let mut g = Gateway::new();
    let odd =
        (0..64).filter(|n| g.one(0, &Packet::udp(at(X1, 4000 + 2 * n), at(Y, 53))).ip.source_port % 2 == 1);
    let odd = odd.count();
    assert!(odd > 0 && odd < 64, "{odd}");
}

#[test]
fn rfc7857_10_the_id_of_a_datagram_in_pieces_stays() {
    let mut g = Gateway::new();
    let large = Packet::udp(at(X1, 4000), at(Y, 53)).payload(&[7; 1200]).may_fragment();
    let ids: Vec<u16> = g.receive(0, &large.clone().id(0x1234)).iter().map(|p| p.ip.id).collect();
    assert_eq!(ids, [0x1234, 0x1234]);
    // RFC 6864: an id of 0 cannot tell datagrams apart once they are split.
    let ids: Vec<u16> = g.receive(0, &large).iter().map(|p| p.ip.id).collect();
    assert!(ids[0] != 0 && ids[0] == ids[1], "{ids:?}");
}

#[test]
fn rfc7857_11_a_query_mapping_ends_with_its_last_session() {
    let mut g = Gateway::new();
    g.one(0, &Packet::echo(X1, Y, true, 77, 1));
    assert_eq!(g.worker.nat().counts().mappings, 1);
    g.pass(601);
    assert_eq!((g.worker.nat().counts().sessions, g.worker.nat().counts().mappings), (0, 0));
}

/// RFC 6888 REQ-3: a pool is any set of addresses.
#[test]
fn rfc6888_req3_a_pool_mixes_ranges_and_prefixes() {
    let text = OBJECTS.replace("[203.0.113.1]", "[203.0.113.1, 203.0.113.16-203.0.113.18, 203.0.113.64/28]");
    let (objects, _) = model::parse_objects(&text, &Origin("operator".into())).unwrap();
    let pool = objects.egress_pools.values().next().unwrap();
    assert_eq!(pool.addresses.len(), 3);
}
