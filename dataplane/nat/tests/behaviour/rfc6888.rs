//! RFC 6888: subscribers, their limits, and rest for freed ports.

use nat::{OpenError, PoolSettings, PortShortage, Quotas, Ticks};

use crate::support::*;

fn limited(quotas: Quotas) -> World {
    World::with(pool(4, (1024, 65_535), 512, PoolSettings { quotas, ..PoolSettings::default() }))
}

fn shortage(error: OpenError) -> Option<PortShortage> {
    match error {
        OpenError::OutOfPorts { reason, .. } => Some(reason),
        _ => None,
    }
}

#[test]
fn req2_pairing_is_the_default() {
    let settings = PoolSettings { max_blocks: 2, ..PoolSettings::default() };
    let mut w = World::with(pool(4, (1024, 65_535), 64, settings));
    let seen: std::collections::BTreeSet<_> =
        (0..128).map(|p| w.udp(inside(1, p), remote(1, 53)).unwrap().address).collect();
    assert_eq!(seen.len(), 1);
}

#[test]
fn req4_a_quota_of_ports_counts_all_protocols() {
    let mut w = limited(Quotas { ports: 3, ..Quotas::default() });
    w.udp(inside(1, 1), remote(1, 53)).unwrap();
    w.tcp(inside(1, 1), remote(1, 80), SYN, 1, 0);
    w.seen_as(&Packet::echo(inside(1, 0).address, remote(1, 0).address, true, 1)).unwrap();
    assert_eq!(w.udp(inside(1, 2), remote(1, 53)), Err(OpenError::QuotaPorts));
    // A mapping that is there needs no new port; another subscriber has a quota of its own.
    assert!(w.udp(inside(1, 1), remote(2, 53)).is_ok());
    assert!(w.udp(inside(2, 2), remote(1, 53)).is_ok());
    drain(&mut w);
}

#[test]
fn req5_a_quota_of_sessions() {
    let mut w = limited(Quotas { sessions: 2, ..Quotas::default() });
    w.udp(inside(1, 1), remote(1, 53)).unwrap();
    w.udp(inside(1, 1), remote(2, 53)).unwrap();
    assert_eq!(w.udp(inside(1, 1), remote(3, 53)), Err(OpenError::QuotaSessions));
    w.pass(300);
    assert!(w.udp(inside(1, 1), remote(3, 53)).is_ok());
    drain(&mut w);
}

#[test]
fn req5_a_rate_of_new_sessions_with_a_burst() {
    let mut w = limited(Quotas { new_sessions_per_second: 5, burst: 8, ..Quotas::default() });
    let mut port = 0;
    let mut burst = |w: &mut World| {
        let mut opened = 0;
        loop {
            port += 1;
            match w.udp(inside(1, port), remote(1, 53)) {
                Ok(_) => opened += 1,
                Err(error) => {
                    assert_eq!(error, OpenError::QuotaRate);
                    return opened;
                }
            }
        }
    };
    assert_eq!(burst(&mut w), 8);
    w.pass_ticks(2);
    assert_eq!(burst(&mut w), 1);
    w.pass(1);
    assert_eq!(burst(&mut w), 5);
    w.pass(100);
    assert_eq!(burst(&mut w), 8);
    drain(&mut w);
}

#[test]
fn req5_a_quota_of_half_open_connections() {
    let mut w = limited(Quotas { half_open: 2, ..Quotas::default() });
    let x = w.tcp(inside(1, 1), remote(1, 80), SYN, 1000, 0);
    w.tcp(inside(1, 2), remote(1, 80), SYN, 1000, 0);
    let third = Packet::tcp(inside(1, 3), remote(1, 80), SYN, 1000, 0);
    assert_eq!(w.seen_as(&third), Err(OpenError::QuotaHalfOpen));
    assert!(w.udp(inside(1, 3), remote(1, 80)).is_ok());
    w.tcp_in(remote(1, 80), x, SYN | ACK, 5000, 1001);
    w.tcp(inside(1, 1), remote(1, 80), ACK, 1001, 5001);
    assert!(w.seen_as(&third).is_ok());
    drain(&mut w);
}

#[test]
fn req8_a_freed_port_rests_before_another_subscriber_gets_it() {
    let settings = PoolSettings { port_rest: Ticks::from_secs(120), ..PoolSettings::default() };
    let mut w = World::with(pool(1, (1024, 1087), 64, settings));
    w.udp(inside(1, 1), remote(1, 53)).unwrap();
    w.pass(300);
    assert_eq!(w.nat.counts().sessions, 0);
    assert_eq!(w.udp(inside(2, 1), remote(1, 53)).map_err(shortage), Err(Some(PortShortage::PoolFull)));
    // The same subscriber may have it at once.
    w.pass(119);
    assert!(w.udp(inside(1, 1), remote(1, 53)).is_ok());
    w.pass(300);
    w.pass_ticks(1199);
    assert!(w.udp(inside(2, 1), remote(1, 53)).is_err());
    w.pass_ticks(1);
    assert!(w.udp(inside(2, 1), remote(1, 53)).is_ok());
    drain(&mut w);
}

#[test]
fn a_subscriber_is_told_of_refusals_ten_times_and_then_ten_times_a_second() {
    let mut w = World::new();
    let told =
        |w: &mut World, n: u32| (0..n).filter(|_| w.nat.may_reject(inside(1, 0).address, w.now)).count();
    assert_eq!(told(&mut w, 100), 10);
    w.pass_ticks(3);
    assert_eq!(told(&mut w, 100), 3);
    w.pass(10);
    assert_eq!(told(&mut w, 100), 10);
    assert!(w.nat.may_reject(inside(2, 0).address, w.now));
}

#[test]
fn rfc7857_5_the_same_inside_port_of_another_protocol_is_another_mapping() {
    let mut w = World::new();
    w.udp(inside(1, 5), remote(1, 53)).unwrap();
    w.tcp(inside(1, 5), remote(1, 53), SYN, 1, 0);
    assert_eq!(w.nat.counts().mappings, 2);
    drain(&mut w);
}

#[test]
fn rfc6888_req5_sessions_from_outside_count_against_the_subscriber_too() {
    let mut w = limited(Quotas { sessions: 2, ..Quotas::default() });
    w.filtering = nat::FilteringBehavior::EndpointIndependent;
    let x = w.udp(inside(1, 1), remote(1, 53)).unwrap();
    assert_eq!(w.comes(&Packet::udp(remote(2, 1), x)), Came::In(inside(1, 1)));
    let refused = Came::Not(nat::Inbound::Refused(OpenError::QuotaSessions));
    assert_eq!(w.comes(&Packet::udp(remote(3, 1), x)), refused);
    drain(&mut w);
}
