//! The order in which ports are found, and a model of the allocator.

use std::collections::{BTreeMap, BTreeSet};

use nat::{OpenError, PoolSettings, PoolingBehavior, PortShortage, TcpPhase};
use proptest::prelude::*;
use wire::{Endpoint, Protocol};

use crate::support::*;

fn small(addresses: u8, blocks: u16, settings: PoolSettings) -> World {
    World::with(pool(addresses, (1024, 1024 + 64 * blocks - 1), 64, settings))
}

fn blocks(max: u16) -> PoolSettings {
    PoolSettings { max_blocks: max, ..PoolSettings::default() }
}

fn shortage(error: OpenError) -> Option<PortShortage> {
    match error {
        OpenError::OutOfPorts { reason, .. } => Some(reason),
        _ => None,
    }
}

#[test]
fn a_block_gives_every_one_of_its_ports_and_no_more() {
    let mut w = small(1, 1, blocks(0));
    let mut seen: BTreeSet<u16> = (0..64).map(|p| w.udp(inside(1, p), remote(1, 53)).unwrap().port).collect();
    assert_eq!(seen.len(), 64);
    assert!(seen.iter().all(|p| (1024..1088).contains(p)));
    assert_eq!(
        w.udp(inside(1, 99), remote(1, 53)).map_err(shortage),
        Err(Some(PortShortage::KeptForNewcomers))
    );
    // The other protocols' numbers are their own.
    seen = (0..64).map(|p| w.tcp(inside(1, p), remote(1, 80), SYN, 1, 0).port).collect();
    assert_eq!(seen.len(), 64);
    drain(&mut w);
}

#[test]
fn rfc6056_ports_are_random_and_not_in_order() {
    let mut w = World::new();
    let ports: Vec<u16> = (0..100).map(|p| w.udp(inside(1, p), remote(1, 53)).unwrap().port).collect();
    let rising = ports.windows(2).filter(|p| p[1] == p[0] + 1).count();
    assert!(rising < 20, "{ports:?}");
}

#[test]
fn at_most_max_blocks_go_to_one_subscriber() {
    let mut w = small(1, 20, blocks(2));
    for p in 0..128 {
        w.udp(inside(1, p), remote(1, 53)).unwrap();
    }
    assert_eq!(w.udp(inside(1, 200), remote(1, 53)).map_err(shortage), Err(Some(PortShortage::MaxBlocks)));
    assert!(w.udp(inside(2, 1), remote(1, 53)).is_ok());
    assert_eq!(w.nat.pool_usage(w.pool.id).blocks, 3);
    drain(&mut w);
}

#[test]
fn under_a_quarter_free_new_blocks_go_to_newcomers_alone() {
    let mut w = small(1, 8, blocks(0));
    // Seven blocks leased: one of eight is free.
    for p in 0..64 * 7 {
        w.udp(inside(1, p), remote(1, 53)).unwrap();
    }
    assert_eq!(
        w.udp(inside(1, 5000), remote(1, 53)).map_err(shortage),
        Err(Some(PortShortage::KeptForNewcomers))
    );
    assert!(w.udp(inside(2, 1), remote(1, 53)).is_ok());
    assert_eq!(w.udp(inside(3, 1), remote(1, 53)).map_err(shortage), Err(Some(PortShortage::PoolFull)));
    drain(&mut w);
}

#[test]
fn a_full_address_is_left_for_another_only_by_paired_pooling() {
    let fill = |pooling| {
        let mut w = small(4, 2, blocks(0));
        w.pooling = pooling;
        (0..129).map(|p| w.udp(inside(1, p), remote(1, 53)).map(|x| x.address)).collect::<Vec<_>>()
    };
    let paired = fill(PoolingBehavior::Paired);
    assert!(paired[..128].iter().all(|a| *a == paired[0]));
    assert!(paired[128].is_ok() && paired[128] != paired[0]);
    let strict = fill(PoolingBehavior::PairedStrict);
    assert_eq!(strict[128].map_err(shortage), Err(Some(PortShortage::PoolFull)));
}

#[test]
fn the_longest_closed_session_gives_its_port_before_any_is_shared() {
    let mut w = small(1, 1, blocks(1));
    let xs: Vec<Endpoint> = (0..64).map(|p| w.handshake(inside(1, p), remote(1, 80))).collect();
    for p in [20u16, 10] {
        w.close(inside(1, p), remote(1, 80), xs[usize::from(p)]);
        w.pass(1);
    }
    assert_eq!(w.tcp(inside(1, 100), remote(1, 80), SYN, 1, 0), xs[20]);
    assert_eq!(w.tcp(inside(1, 101), remote(1, 80), SYN, 1, 0), xs[10]);
    assert!(!w.alive(&tuple(Protocol::TCP, inside(1, 20), remote(1, 80))));
    // None is closed any more, and towards this remote none can be shared.
    let next = Packet::tcp(inside(1, 102), remote(1, 80), SYN, 1, 0);
    assert_eq!(w.seen_as(&next).map_err(shortage), Err(Some(PortShortage::MaxBlocks)));
    drain(&mut w);
}

#[test]
fn established_sessions_are_never_evicted_and_udp_takes_no_closed_ones_port() {
    let mut w = small(1, 1, blocks(1));
    for p in 0..64 {
        w.handshake(inside(1, p), remote(1, 80));
        w.udp(inside(1, p), remote(1, 53)).unwrap();
    }
    assert!(w.seen_as(&Packet::tcp(inside(1, 200), remote(1, 80), SYN, 1, 0)).is_err());
    assert!(w.udp(inside(1, 200), remote(1, 80)).is_err());
    for p in 0..64 {
        assert_eq!(
            w.session(&tuple(Protocol::TCP, inside(1, p), remote(1, 80))).tcp,
            Some(TcpPhase::Established)
        );
    }
    drain(&mut w);
}

#[test]
fn rfc7857_3_tcp_shares_a_port_towards_another_remote() {
    let mut w = small(1, 1, blocks(1));
    let own: BTreeSet<Endpoint> = (0..64).map(|p| w.handshake(inside(1, p), remote(1, 80))).collect();
    let mut shared = BTreeSet::new();
    for p in 64..128 {
        assert!(shared.insert(w.handshake(inside(1, p), remote(2, 80))), "unique towards one remote");
    }
    assert_eq!(shared, own);
    assert_eq!(w.nat.pool_usage(w.pool.id).shared, 64);
    assert_eq!(w.nat.counts().mappings, 64);
    // Each reply finds its own host.
    let x = w.tcp(inside(1, 70), remote(2, 80), ACK, 1001, 5001);
    assert_eq!(w.tcp_in(remote(2, 80), x, ACK, 5001, 1001), Came::In(inside(1, 70)));
    // A stranger who was only sent to by a sharing flow is not admitted by the mapping.
    assert!(matches!(w.tcp_in(remote(2, 81), x, SYN, 1, 0), Came::Not(nat::Inbound::HoldSyn)));
    // The host whose mapping it is goes to that remote by a port of its own, if it can have one.
    let owner = (0..64).find(|p| w.tcp(inside(1, *p), remote(1, 80), ACK, 1001, 5001) == x).unwrap();
    assert!(w.seen_as(&Packet::tcp(inside(1, owner), remote(2, 80), SYN, 1, 0)).is_err());
    drain(&mut w);
}

#[test]
fn a_shared_port_is_free_only_after_its_last_session() {
    let mut w = small(1, 1, blocks(1));
    let xs: Vec<Endpoint> = (0..64).map(|p| w.handshake(inside(1, p), remote(1, 80))).collect();
    let x = w.handshake(inside(1, 64), remote(2, 80));
    let owner = xs.iter().position(|o| *o == x).unwrap() as u16;
    let hit = w.nat.lookup(nat::Space::Egress, &tuple(Protocol::TCP, inside(1, owner), remote(1, 80)), w.now);
    w.nat.release(hit.unwrap().session);
    // Its own session is gone, the sharing one lives: the mapping still is its inside endpoint's.
    assert_eq!(w.nat.counts().mappings, 64);
    assert_eq!(w.tcp(inside(1, owner), remote(3, 80), SYN, 1, 0), x);
    drain(&mut w);
}

#[test]
fn ports_are_given_back_when_the_session_table_is_full() {
    let mut w = World::new();
    let limits = nat::Limits { sessions: 10, subscribers: 10, held_syns: 4 };
    w.nat = nat::Nat::new(nat::WorkerId(0), limits, [1, 2]);
    let opened = (0..50).filter(|p| w.udp(inside(1, *p), remote(1, 53)).is_ok()).count();
    assert_eq!(opened, 10);
    assert_eq!(w.udp(inside(1, 99), remote(1, 53)), Err(OpenError::TableFull));
    assert_eq!(w.nat.pool_usage(w.pool.id).ports, [0, 10, 0]);
    w.pass(300);
    assert!(w.udp(inside(1, 99), remote(1, 53)).is_ok());
    drain(&mut w);
}

#[derive(Clone, Debug)]
enum Op {
    Open(u8, u16, u8, bool),
    End(usize),
    Pass(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u8..6, 0u16..200, 1u8..4, any::<bool>()).prop_map(|(h, p, r, t)| Op::Open(h, p, r, t)),
        2 => any::<usize>().prop_map(Op::End),
        1 => (1u16..400).prop_map(Op::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_allocator_agrees_with_a_model_of_sets(
        ops in prop::collection::vec(op(), 1..600),
        max in prop::sample::select(vec![0u16, 1, 3]),
        pooling in prop::sample::select(vec![
            PoolingBehavior::Paired, PoolingBehavior::PairedStrict, PoolingBehavior::Arbitrary,
        ]),
    ) {
        let mut w = small(3, 4, blocks(max));
        w.pooling = pooling;
        // Outside endpoints in use by UDP, with their inside endpoint; blocks are looked up in the leases.
        let mut used: BTreeMap<Endpoint, Endpoint> = BTreeMap::new();
        let mut live: Vec<wire::Tuple> = Vec::new();
        for op in ops {
            match op {
                Op::Open(host, port, r, tcp) => {
                    let (from, to) = (inside(host, port), remote(r, 53));
                    let protocol = if tcp { Protocol::TCP } else { Protocol::UDP };
                    let key = tuple(protocol, from, to);
                    let known = w.alive(&key);
                    match w.seen_as(&Packet::of(protocol, from, to)) {
                        Ok(x) => {
                            prop_assert_eq!(w.pool.usage().leased, w.nat.pool_usage(w.pool.id).blocks);
                            if !known {
                                live.push(key);
                            }
                            if !tcp {
                                let holder = used.insert(x, from);
                                prop_assert!(holder.is_none_or(|h| h == from), "{x} is {holder:?}'s");
                                let mapped = used.iter().filter(|(_, h)| **h == from).count();
                                prop_assert_eq!(mapped, 1, "endpoint-independent");
                            }
                        }
                        Err(error) => {
                            let reason = shortage(error);
                            prop_assert!(reason.is_some(), "{error:?}");
                            let usage = w.pool.usage();
                            let rules = match reason.unwrap() {
                                PortShortage::MaxBlocks => max != 0,
                                PortShortage::KeptForNewcomers => usage.newcomers_only(),
                                PortShortage::PoolFull =>
                                    usage.leased == usage.blocks || pooling == PoolingBehavior::PairedStrict,
                            };
                            prop_assert!(rules, "{reason:?} at {usage:?}");
                            if !tcp {
                                // None of its own ports is free: each of its blocks is full.
                                let own = used.values().filter(|h| h.address == from.address).count();
                                prop_assert!(own.is_multiple_of(64), "{own} ports used, yet none was free");
                            }
                        }
                    }
                }
                Op::End(at) if !live.is_empty() => {
                    let key = live.swap_remove(at % live.len());
                    if let Some(hit) = w.nat.lookup(nat::Space::Egress, &key, w.now) {
                        w.nat.release(hit.session);
                    }
                }
                Op::End(_) => {}
                Op::Pass(seconds) => w.pass(u32::from(seconds)),
            }
            live.retain(|key| w.nat.lookup(nat::Space::Egress, key, w.now).is_some());
            let inside_live: BTreeSet<Endpoint> =
                live.iter().filter(|k| k.protocol == Protocol::UDP).map(|k| k.source).collect();
            used.retain(|_, h| inside_live.contains(h));
            let usage = w.nat.pool_usage(w.pool.id);
            prop_assert_eq!(usage.ports[1] as usize, used.len());
            prop_assert_eq!(w.nat.counts().sessions as usize, live.len());
        }
        drain(&mut w);
    }
}
