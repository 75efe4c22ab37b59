//! RFC 4787: what a NAT does with UDP.

use crate::support::*;
use nat::{
    FilteringBehavior, Inbound, MappingBehavior, Nat, PoolSettings, PoolingBehavior, Ticks, Timeouts,
    fragments,
};
use wire::{Endpoint, HeapBuf, Protocol};

#[test]
fn req1_one_inside_endpoint_is_seen_as_one_outside_endpoint_by_all_remotes() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_eq!(w.udp(inside(1, 5000), remote(1, 54)), Ok(x));
    assert_eq!(w.udp(inside(1, 5000), remote(2, 53)), Ok(x));
    assert_ne!(w.udp(inside(1, 5001), remote(1, 53)), Ok(x));
    assert_eq!(w.nat.counts().mappings, 2);
    drain(&mut w);
}

#[test]
fn section_4_1_an_address_dependent_mapping_serves_one_remote_address() {
    let mut w = World::new();
    w.mapping = MappingBehavior::AddressDependent;
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_eq!(w.udp(inside(1, 5000), remote(1, 54)), Ok(x));
    assert_eq!(w.udp(inside(1, 5000), remote(1, 55)), Ok(x));
    let y = w.udp(inside(1, 5000), remote(2, 53)).unwrap();
    assert_ne!(x, y);
    assert_eq!(w.udp(inside(1, 5000), remote(2, 54)), Ok(y));
    assert_eq!(w.nat.counts().mappings, 2);
    drain(&mut w);
}

#[test]
fn section_4_1_an_address_and_port_dependent_mapping_serves_one_remote_endpoint() {
    let mut w = World::new();
    w.mapping = MappingBehavior::AddressAndPortDependent;
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_ne!(w.udp(inside(1, 5000), remote(1, 54)), Ok(x));
    assert_eq!(w.udp(inside(1, 5000), remote(1, 53)), Ok(x));
    assert_eq!(w.nat.counts().mappings, 2);
    drain(&mut w);
}

#[test]
fn req2_all_flows_of_a_subscriber_leave_from_one_address() {
    let mut w = World::new();
    let x = w.udp(inside(1, 1), remote(1, 53)).unwrap();
    for port in 2..2000 {
        assert_eq!(w.udp(inside(1, port), remote(1, 53)).unwrap().address, x.address);
    }
    let t = w.seen_as(&Packet::tcp(inside(1, 9), remote(1, 80), SYN, 1, 0)).unwrap();
    let e = w.seen_as(&Packet::echo(inside(1, 0).address, remote(1, 0).address, true, 77)).unwrap();
    assert_eq!((t.address, e.address), (x.address, x.address));
    drain(&mut w);
}

#[test]
fn section_4_1_arbitrary_pooling_goes_on_with_any_address() {
    let mut w =
        World::with(pool(4, (1024, 1087), 64, PoolSettings { max_blocks: 0, ..PoolSettings::default() }));
    w.pooling = PoolingBehavior::Arbitrary;
    let seen: std::collections::BTreeSet<_> =
        (0..192).map(|p| w.udp(inside(1, p), remote(1, 53)).unwrap().address).collect();
    assert_eq!(seen.len(), 3);
    drain(&mut w);
}

#[test]
fn req3_two_inside_endpoints_never_share_an_outside_endpoint() {
    let mut w = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for host in 1..20 {
        for port in 0..100 {
            assert!(seen.insert(w.udp(inside(host, port), remote(1, 53)).unwrap()));
        }
    }
    drain(&mut w);
}

#[test]
fn req5_a_udp_mapping_lives_for_its_time_to_the_tick() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    w.pass_ticks(2999);
    assert_eq!(w.comes(&Packet::udp(remote(1, 53), x)), Came::In(inside(1, 5000)));
    w.pass_ticks(1);
    assert_eq!(w.comes(&Packet::udp(remote(1, 53), x)), Came::Not(Inbound::NoMapping));
    assert_eq!(w.nat.counts().sessions, 0);
}

#[test]
fn req5_a_session_is_over_at_its_tick_even_before_the_wheel_turns() {
    let mut w = World::new();
    w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    let key = tuple(Protocol::UDP, inside(1, 5000), remote(1, 53));
    w.now = w.now + Ticks(2999);
    assert!(w.alive(&key));
    w.now = w.now + Ticks(1);
    assert!(!w.alive(&key));
    assert_eq!(w.nat.counts().sessions, 0);
    drain(&mut w);
}

#[test]
fn req6_outbound_packets_refresh_and_inbound_ones_do_not() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    w.pass(200);
    w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    w.pass(200);
    assert_eq!(w.comes(&Packet::udp(remote(1, 53), x)), Came::In(inside(1, 5000)));
    w.pass(100);
    assert_eq!(w.comes(&Packet::udp(remote(1, 53), x)), Came::Not(Inbound::NoMapping));
}

#[test]
fn req6_inbound_refresh_is_a_setting() {
    let settings = PoolSettings { refresh_inbound: true, ..PoolSettings::default() };
    let mut w = World::with(pool(1, (1024, 65_535), 512, settings));
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    for _ in 0..5 {
        w.pass(200);
        assert_eq!(w.comes(&Packet::udp(remote(1, 53), x)), Came::In(inside(1, 5000)));
    }
}

#[test]
fn req8_address_dependent_filtering_admits_any_port_of_a_remote_that_was_sent_to() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_eq!(w.comes(&Packet::udp(remote(1, 999), x)), Came::In(inside(1, 5000)));
    assert_eq!(w.comes(&Packet::udp(remote(2, 53), x)), Came::Not(Inbound::Filtered));
    w.udp(inside(1, 5000), remote(2, 1)).unwrap();
    assert_eq!(w.comes(&Packet::udp(remote(2, 53), x)), Came::In(inside(1, 5000)));
    assert_eq!(w.comes(&Packet::udp(remote(3, 53), x)), Came::Not(Inbound::Filtered));
    drain(&mut w);
}

#[test]
fn req8_a_remote_is_admitted_no_longer_than_a_session_to_it_lasts() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    w.pass(200);
    w.udp(inside(1, 5000), remote(2, 53)).unwrap();
    w.udp(inside(1, 5000), remote(3, 53)).unwrap();
    w.pass(200);
    // The session to 1 is over, the mapping is not.
    assert_eq!(w.comes(&Packet::udp(remote(1, 54), x)), Came::Not(Inbound::Filtered));
    assert_eq!(w.comes(&Packet::udp(remote(2, 54), x)), Came::In(inside(1, 5000)));
    drain(&mut w);
}

#[test]
fn req8_endpoint_independent_filtering_admits_everybody() {
    let mut w = World::new();
    w.filtering = FilteringBehavior::EndpointIndependent;
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_eq!(w.comes(&Packet::udp(remote(9, 9), x)), Came::In(inside(1, 5000)));
    // The answer goes out by that session.
    assert_eq!(w.udp(inside(1, 5000), remote(9, 9)), Ok(x));
    assert_eq!(w.nat.counts().sessions, 2);
    drain(&mut w);
}

#[test]
fn req8_address_and_port_dependent_filtering_admits_the_endpoint_sent_to_alone() {
    let mut w = World::new();
    w.filtering = FilteringBehavior::AddressAndPortDependent;
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_eq!(w.comes(&Packet::udp(remote(1, 53), x)), Came::In(inside(1, 5000)));
    assert_eq!(w.comes(&Packet::udp(remote(1, 54), x)), Came::Not(Inbound::Filtered));
    drain(&mut w);
}

#[test]
fn req9_a_hairpin_is_two_sessions_with_the_outside_endpoint_as_source() {
    let mut w = World::new();
    w.filtering = FilteringBehavior::EndpointIndependent;
    let x2 = w.udp(inside(2, 2000), remote(1, 53)).unwrap();
    let x1 = w.udp(inside(1, 1000), x2).unwrap();
    assert_eq!(w.comes(&Packet::udp(x1, x2)), Came::In(inside(2, 2000)));
    // And back.
    assert_eq!(w.udp(inside(2, 2000), x1), Ok(x2));
    assert_eq!(w.comes(&Packet::udp(x2, x1)), Came::In(inside(1, 1000)));
    drain(&mut w);
}

#[test]
fn req11_the_same_packets_and_numbers_give_the_same_translations() {
    let run = || {
        let mut w = World::new();
        (0..500).map(|p| w.udp(inside((p % 7) as u8, p), remote((p % 3) as u8, 53))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn req12_an_icmp_error_neither_ends_nor_refreshes_a_mapping() {
    let mut w = World::new();
    let hit = w.goes(&Packet::udp(inside(1, 5000), remote(1, 53))).unwrap();
    let before = w.nat.session(hit.session).unwrap().deadline;
    w.pass(10);
    let mut buf = HeapBuf::new();
    let about = Packet::udp(inside(1, 5000), remote(1, 53));
    let quoted = wire::PacketBuf::bytes(&about.buf).get(14..).unwrap().to_vec();
    assert!(wire::build::icmp_error(&mut buf, &quoted, 3, 3, 0, remote(1, 0).address));
    let error = Packet::new(buf);
    for direction in [nat::Direction::Original, nat::Direction::Reply] {
        w.track(nat::Hit { session: hit.session, direction }, &error).unwrap();
    }
    assert_eq!(w.nat.session(hit.session).unwrap().deadline, before);
}

#[test]
fn req14_a_fragment_before_the_first_one_waits_for_its_ports() {
    let mut table = fragments::FragmentTable::<HeapBuf>::new([1, 2]);
    let key = fragments::FragmentKey {
        source: inside(1, 0).address,
        destination: remote(1, 0).address,
        protocol: Protocol::UDP,
        id: 5,
    };
    let second = fragments::Piece { offset: 16, len: 8, more: false, ports: None };
    let first = fragments::Piece { offset: 0, len: 16, more: true, ports: Some((1, 2)) };
    let now = nat::Tick(0);
    assert!(matches!(table.offer(key, second, HeapBuf::new(), now), fragments::Outcome::Held));
    assert!(matches!(table.offer(key, first, HeapBuf::new(), now), fragments::Outcome::Forward(_, (1, 2))));
    assert_eq!(table.released().map(|r| r.1), Some((1, 2)));
    assert_eq!(table.held(), 0);
}

#[test]
fn an_expired_session_makes_room_for_a_new_one_of_the_same_key() {
    let timeouts = Timeouts { udp: Ticks(5), ..Timeouts::default() };
    let mut w =
        World::with(pool(1, (1024, 65_535), 512, PoolSettings { timeouts, ..PoolSettings::default() }));
    w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    // No look-up and no expiry between.
    w.now = w.now + Ticks(5);
    assert!(w.open(&Packet::udp(inside(1, 5000), remote(1, 53))).is_ok());
    assert_eq!(w.nat.counts().sessions, 1);
    drain(&mut w);
}

#[test]
fn a_live_session_is_not_opened_twice() {
    let mut w = World::new();
    w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    assert_eq!(w.open(&Packet::udp(inside(1, 5000), remote(1, 53))), Err(nat::OpenError::Exists));
    drain(&mut w);
}

#[test]
fn a_protocol_without_ports_has_an_address_towards_a_remote_for_itself() {
    let mut w = World::with(pool(2, (1024, 65_535), 512, PoolSettings::default()));
    let gre = |host| Packet::portless(47, inside(host, 0).address, remote(1, 0).address);
    let first = w.seen_as(&gre(1)).unwrap();
    let second = w.seen_as(&gre(2)).unwrap();
    assert_ne!(first.address, second.address);
    assert_eq!(w.seen_as(&gre(3)), Err(nat::OpenError::NoTranslation));
    let back = Packet::portless(47, remote(1, 0).address, first.address);
    assert_eq!(w.comes(&back), Came::In(Endpoint::new(inside(1, 0).address, 0)));
    let stranger = Packet::portless(47, remote(2, 0).address, first.address);
    assert_eq!(w.comes(&stranger), Came::Not(Inbound::NoMapping));
    drain(&mut w);
    assert!(w.seen_as(&gre(3)).is_ok());
    let _: &Nat = &w.nat;
}
