//! VIPs: DNAT, full NAT, half-open bounds.

use nat::{
    BackendId, Hit, Kind, Notes, OpenBalanced, OpenError, PoolSettings, SessionId, SourceNat, Space,
    TcpPhase, Tick, Timeouts, VipId,
};
use wire::{Endpoint, Protocol, TcpFlags, Tuple};

use crate::support::*;

const VIP: fn() -> Endpoint = || Endpoint::new(outside(100), 80);

struct Ask {
    client: Endpoint,
    backend: Endpoint,
    limit: u32,
    full: bool,
    protocol: Protocol,
}

fn ask(client: Endpoint) -> Ask {
    Ask { client, backend: inside(50, 8080), limit: 0, full: false, protocol: Protocol::TCP }
}

fn open(w: &mut World, a: &Ask) -> Result<SessionId, OpenError> {
    let pool = w.pool.clone();
    let random = w.draw();
    let ask = OpenBalanced {
        tuple: Tuple::new(a.protocol, a.client, VIP()),
        tcp: (a.protocol == Protocol::TCP).then_some(TcpFlags::SYN),
        adopt: false,
        backend: a.backend,
        backend_id: BackendId(3),
        source_nat: a.full.then_some(SourceNat { pool: &pool, lessee: std::net::Ipv4Addr::new(0, 0, 0, 1) }),
        vip: VipId(5),
        half_open_limit: a.limit,
        timeouts: &Timeouts::default(),
        notes: Notes::default(),
    };
    w.nat.open_balanced(&ask, w.now, random)
}

#[test]
fn a_client_reaches_the_backend_and_sees_the_vip() {
    let mut w = World::new();
    let client = remote(1, 4000);
    let id = open(&mut w, &ask(client)).unwrap();
    let out = w.nat.rewrite(Hit::original(id));
    assert_eq!((out.source, out.destination), (client, inside(50, 8080)));
    let reply = w.nat.lookup(Space::Ingress, &tuple(Protocol::TCP, inside(50, 8080), client), w.now).unwrap();
    let back = w.nat.rewrite(reply);
    assert_eq!((back.source, back.destination), (VIP(), client));
    // The same keys mean nothing in the other space.
    assert!(!w.alive(&tuple(Protocol::TCP, inside(50, 8080), client)));
    let view = w.nat.session(id).unwrap();
    assert_eq!((view.kind, view.backend, view.vip), (Kind::Balanced, Some(BackendId(3)), Some(VipId(5))));
    assert_eq!(w.nat.backend_sessions(BackendId(3)), 1);
    w.nat.release(id);
    assert_eq!((w.nat.backend_sessions(BackendId(3)), w.nat.half_open(VipId(5))), (0, 0));
    assert_eq!(w.nat.counts().sessions, 0);
}

#[test]
fn under_full_nat_the_backend_sees_a_leased_endpoint() {
    let mut w = World::new();
    for protocol in [Protocol::TCP, Protocol::UDP] {
        let client = inside(9, 4000);
        let id = open(&mut w, &Ask { full: true, protocol, ..ask(client) }).unwrap();
        let out = w.nat.rewrite(Hit::original(id));
        assert_eq!(out.destination, inside(50, 8080));
        let leases = &w.pool.addresses[w.pool.position(out.source.address).unwrap()].leases;
        assert_eq!(leases.owner(out.source.port), Some(w.nat.worker()));
        let reply =
            w.nat.lookup(Space::Ingress, &tuple(protocol, inside(50, 8080), out.source), w.now).unwrap();
        assert_eq!(w.nat.rewrite(reply).destination, client);
        assert_eq!(w.nat.session(id).unwrap().pool, Some(w.pool.id));
    }
    drain(&mut w);
}

#[test]
fn full_nat_without_a_port_is_refused() {
    let mut w = World::with(pool(1, (1024, 1087), 64, PoolSettings::default()));
    for port in 0..64 {
        open(&mut w, &Ask { full: true, ..ask(remote(1, port)) }).unwrap();
    }
    let refused = open(&mut w, &Ask { full: true, ..ask(remote(1, 64)) });
    assert!(matches!(refused, Err(OpenError::OutOfPorts { .. })), "{refused:?}");
    assert_eq!(w.nat.counts().sessions, 64);
    drain(&mut w);
}

fn send(w: &mut World, from: Endpoint, to: Endpoint, flags: u8, seq: u32, ack: u32) {
    let packet = Packet::tcp(from, to, flags, seq, ack);
    let hit = w.nat.lookup(Space::Ingress, &packet.tuple(), w.now).unwrap();
    w.track(hit, &packet).unwrap();
}

fn establish(w: &mut World, client: Endpoint, limit: u32) -> SessionId {
    let id = open(w, &Ask { limit, ..ask(client) }).unwrap();
    send(w, client, VIP(), SYN, 1000, 0);
    send(w, inside(50, 8080), client, SYN | ACK, 5000, 1001);
    send(w, client, VIP(), ACK, 1001, 5001);
    assert_eq!(w.nat.session(id).unwrap().tcp, Some(TcpPhase::Established));
    id
}

#[test]
fn over_the_bound_the_oldest_unanswered_go_first_and_established_ones_never() {
    let mut w = World::new();
    let kept = establish(&mut w, remote(1, 1), 10);
    let flood: Vec<_> =
        (0..30).map(|p| open(&mut w, &Ask { limit: 10, ..ask(remote(2, p)) }).unwrap()).collect();
    assert_eq!(w.nat.half_open(VipId(5)), 10);
    assert_eq!(w.nat.counts().half_open_evicted, 20);
    assert!(w.nat.session(kept).is_some());
    let live = |w: &mut World, p| {
        w.nat.lookup(Space::Ingress, &Tuple::new(Protocol::TCP, remote(2, p), VIP()), w.now).is_some()
    };
    assert!((0..20).all(|p| !live(&mut w, p)) && (20..30).all(|p| live(&mut w, p)));
    assert_eq!(w.nat.counts().sessions, 11);
    drop(flood);
    drain(&mut w);
}

#[test]
fn both_sides_refresh_a_balanced_session() {
    let mut w = World::new();
    let client = remote(1, 4000);
    let id = open(&mut w, &Ask { protocol: Protocol::UDP, ..ask(client) }).unwrap();
    for (from, to) in [(client, VIP()), (inside(50, 8080), client)] {
        w.pass(200);
        let packet = Packet::udp(from, to);
        let hit = w.nat.lookup(Space::Ingress, &packet.tuple(), w.now).unwrap();
        assert_eq!(hit.session, id);
        w.track(hit, &packet).unwrap();
    }
    w.pass_ticks(2999);
    assert!(w.nat.session(id).is_some());
    w.pass_ticks(1);
    assert!(w.nat.session(id).is_none());
}

#[test]
fn one_client_endpoint_reaches_one_backend_through_one_vip_at_a_time() {
    let mut w = World::new();
    open(&mut w, &ask(remote(1, 1))).unwrap();
    let other = OpenBalanced {
        tuple: Tuple::new(Protocol::TCP, remote(1, 1), Endpoint::new(outside(101), 80)),
        tcp: Some(TcpFlags::SYN),
        adopt: false,
        backend: inside(50, 8080),
        backend_id: BackendId(3),
        source_nat: None,
        vip: VipId(6),
        half_open_limit: 0,
        timeouts: &Timeouts::default(),
        notes: Notes::default(),
    };
    assert_eq!(w.nat.open_balanced(&other, w.now, 1), Err(OpenError::Exists));
    assert_eq!(w.nat.backend_sessions(BackendId(3)), 1);
}

#[test]
fn mid_stream_flows_are_adopted_towards_the_backend_given() {
    let mut w = World::new();
    let tuple = Tuple::new(Protocol::TCP, remote(1, 1), VIP());
    let timeouts = Timeouts::default();
    let ask = OpenBalanced {
        tuple,
        tcp: Some(TcpFlags::ACK),
        adopt: true,
        backend: inside(50, 8080),
        backend_id: BackendId(0),
        source_nat: None,
        vip: VipId(0),
        half_open_limit: 1,
        timeouts: &timeouts,
        notes: Notes::default(),
    };
    let id = w.nat.open_balanced(&ask, w.now, 1).unwrap();
    let view = w.nat.session(id).unwrap();
    assert_eq!((view.tcp, w.nat.half_open(VipId(0))), (Some(TcpPhase::Established), 0));
    assert_eq!(view.deadline, Tick(w.now.0 + 74_400));
    w.nat.release(id);
    let rst = OpenBalanced { tcp: Some(TcpFlags::RST), ..ask };
    assert_eq!(w.nat.open_balanced(&rst, w.now, 1), Err(OpenError::TcpNotSyn));
}
