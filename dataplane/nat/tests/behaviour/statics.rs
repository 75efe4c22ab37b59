//! Static mappings, direct sessions, listing and killing.

use nat::{
    Action, Cursor, Hit, Kind, Notes, OpenEgress, OpenStatic, Side, Space, StaticMapping, StaticPorts,
    Timeouts,
};
use wire::{Endpoint, Protocol};

use crate::support::*;

fn one_to_one() -> StaticMapping {
    StaticMapping { inside: inside(7, 0).address, outside: outside(77), ports: None }
}

fn range() -> StaticMapping {
    let ports = StaticPorts { protocol: Protocol::TCP, inside: 8000, outside: 80, count: 10 };
    StaticMapping { ports: Some(ports), ..one_to_one() }
}

#[test]
fn a_static_mapping_maps_its_ports_both_ways_and_no_others() {
    let m = range();
    let out = |p| Endpoint::new(outside(77), p);
    assert_eq!(m.to_outside(Protocol::TCP, inside(7, 8009)), Some(out(89)));
    assert_eq!(m.to_inside(Protocol::TCP, out(89)), Some(inside(7, 8009)));
    assert_eq!(m.to_outside(Protocol::TCP, inside(7, 8010)), None);
    assert_eq!(m.to_inside(Protocol::TCP, out(79)), None);
    assert_eq!(m.to_inside(Protocol::UDP, out(80)), None);
    assert_eq!(m.to_inside(Protocol::TCP, Endpoint::new(outside(78), 80)), None);
    assert_eq!(one_to_one().to_inside(Protocol(47), out(0)), Some(inside(7, 0)));
    let edge = StaticPorts { protocol: Protocol::TCP, inside: 65_530, outside: 65_534, count: 10 };
    let edge = StaticMapping { ports: Some(edge), ..one_to_one() };
    assert_eq!(edge.to_outside(Protocol::TCP, inside(7, 65_535)), None);
}

#[test]
fn a_static_session_opens_from_either_side_and_its_inside_host_refreshes_it() {
    let timeouts = Timeouts::default();
    let m = one_to_one();
    for from in [Side::Inside, Side::Outside] {
        let mut w = World::new();
        let (a, b) = match from {
            Side::Inside => (inside(7, 1), remote(1, 2)),
            Side::Outside => (remote(1, 2), Endpoint::new(outside(77), 1)),
        };
        let packet = Packet::udp(a, b);
        let key = packet.tuple();
        let translated = match from {
            Side::Inside => m.outbound(&key).unwrap(),
            Side::Outside => m.inbound(&key).unwrap(),
        };
        let open = OpenStatic {
            tuple: key,
            translated,
            from,
            tcp: None,
            adopt: false,
            timeouts: &timeouts,
            notes: Notes::default(),
        };
        let id = w.nat.open_static(&open, w.now).unwrap();
        w.track(Hit::original(id), &packet).unwrap();
        let view = w.nat.session(id).unwrap();
        assert_eq!((view.kind, view.from, view.subscriber()), (Kind::Static, from, inside(7, 0).address));
        w.pass(200);
        let outbound = Packet::udp(inside(7, 1), remote(1, 2));
        let hit = w.nat.lookup(Space::Egress, &outbound.tuple(), w.now).unwrap();
        w.track(hit, &outbound).unwrap();
        assert_eq!(w.nat.rewrite(hit).source, Endpoint::new(outside(77), 1));
        w.pass(200);
        let inbound = Packet::udp(remote(1, 2), Endpoint::new(outside(77), 1));
        let hit = w.nat.lookup(Space::Inbound, &inbound.tuple(), w.now).unwrap();
        w.track(hit, &inbound).unwrap();
        w.pass(100);
        assert!(w.nat.session(id).is_none());
    }
}

fn direct(w: &mut World, from: Endpoint, to: Endpoint, notes: Notes) -> Hit {
    let packet = Packet::udp(from, to);
    let timeouts = Timeouts::default();
    let open = OpenEgress {
        tuple: packet.tuple(),
        tcp: None,
        adopt: false,
        action: Action::Direct { timeouts: &timeouts },
        notes,
    };
    let id = w.nat.open_egress(&open, w.now, 0).unwrap();
    w.track(Hit::original(id), &packet).unwrap();
    Hit::original(id)
}

#[test]
fn a_direct_session_changes_nothing_and_admits_replies_alone() {
    let mut w = World::new();
    let notes = Notes { judged: 4, policy: 9, next_hop: [1, 2] };
    let hit = direct(&mut w, inside(1, 1), remote(1, 2), notes);
    let rewrite = w.nat.rewrite(hit);
    assert_eq!((rewrite.source, rewrite.destination), (inside(1, 1), remote(1, 2)));
    assert!(w.alive(&tuple(Protocol::UDP, remote(1, 2), inside(1, 1))));
    assert!(!w.alive(&tuple(Protocol::UDP, remote(1, 3), inside(1, 1))));
    assert_eq!(w.nat.notes(hit.session), notes);
    assert_eq!(w.nat.route(hit), Some((4, 1)));
    assert_eq!(w.nat.route(Hit { direction: nat::Direction::Reply, ..hit }), Some((4, 2)));
    w.nat.set_notes(hit.session, Notes { judged: 5, policy: 8, next_hop: [3, 4] });
    assert_eq!(w.nat.session(hit.session).unwrap().policy, 8);
    w.nat.release(hit.session);
    assert_eq!(w.nat.notes(hit.session), Notes::default());
    w.nat.release(hit.session);
}

#[test]
fn sessions_are_listed_in_pages_and_counted_to_the_octet() {
    let mut w = World::new();
    for p in 0..100 {
        w.udp(inside(1, p), remote(1, 53)).unwrap();
    }
    let x = w.udp(inside(1, 0), remote(1, 53)).unwrap();
    w.comes(&Packet::udp(remote(1, 53), x));
    let mut seen = std::collections::BTreeSet::new();
    let mut at = Some(Cursor(0));
    let mut pages = 0;
    while let Some(cursor) = at {
        at = w.nat.walk(cursor, 7, &mut |view| assert!(seen.insert(view.id)));
        pages += 1;
    }
    assert_eq!((seen.len(), pages), (100, 15));
    let view = w.session(&tuple(Protocol::UDP, inside(1, 0), remote(1, 53)));
    // 20 + 8 + 4 octets a packet.
    assert_eq!((view.packets, view.bytes), ([2, 1], [64, 32]));
    assert_eq!(view.pool, Some(w.pool.id));
}

#[test]
fn sessions_are_killed_by_choice() {
    let mut w = World::new();
    for p in 0..100 {
        w.udp(inside((p % 2) as u8, p), remote(1, 53)).unwrap();
    }
    let mut ended = 0;
    let chosen = inside(1, 0).address;
    assert_eq!(w.nat.kill(Cursor(0), 1000, &mut |v| v.subscriber() == chosen, &mut ended), None);
    assert_eq!((ended, w.nat.counts().sessions), (50, 50));
    drain(&mut w);
}
