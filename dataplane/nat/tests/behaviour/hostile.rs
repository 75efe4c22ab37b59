//! Anything in any order: nothing panics, nothing leaks.

use nat::{
    BackendId, Cursor, FilteringBehavior, Hit, Limits, MappingBehavior, Nat, Notes, OpenBalanced,
    PoolSettings, PoolingBehavior, Quotas, SourceNat, Space, Ticks, Timeouts, VipId, WorkerId,
};
use proptest::prelude::*;
use wire::{Endpoint, Protocol, Tuple};

use crate::support::*;

#[derive(Clone, Debug)]
enum Op {
    Out {
        protocol: u8,
        host: u8,
        port: u16,
        remote: u8,
        flags: u8,
        seq: u32,
        mapping: u8,
        filtering: u8,
        pooling: u8,
    },
    Back {
        protocol: u8,
        address: u8,
        port: u16,
        remote: u8,
        flags: u8,
        seq: u32,
    },
    Vip {
        client: u8,
        port: u16,
        full: bool,
        limit: u8,
    },
    Pass(u32),
    Kill(u32),
    Prepare(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let protocol = prop::sample::select(vec![1u8, 6, 6, 17, 47]);
    let flags = prop::sample::select(vec![SYN, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK]);
    let seq = prop::sample::select(vec![0u32, 1000, 1001, 1002, 5000, 5001, u32::MAX]);
    prop_oneof![
        8 => (protocol.clone(), 1u8..4, 0u16..90, 1u8..4, flags.clone(), seq.clone(), 0u8..3, 0u8..3, 0u8..3).prop_map(
            |(protocol, host, port, remote, flags, seq, mapping, filtering, pooling)| {
                Op::Out { protocol, host, port, remote, flags, seq, mapping, filtering, pooling }
            }
        ),
        8 => (protocol, 1u8..3, 1024u16..1160, 1u8..4, flags, seq).prop_map(
            |(protocol, address, port, remote, flags, seq)| {
                Op::Back { protocol, address, port, remote, flags, seq }
            }
        ),
        2 => (1u8..4, 0u16..50, any::<bool>(), 0u8..5).prop_map(|(client, port, full, limit)| {
            Op::Vip { client, port, full, limit }
        }),
        2 => prop_oneof![1u32..20, 1u32..4000].prop_map(Op::Pass),
        1 => any::<u32>().prop_map(Op::Kill),
        1 => any::<bool>().prop_map(Op::Prepare),
    ]
}

fn packet(protocol: u8, from: Endpoint, to: Endpoint, flags: u8, seq: u32) -> Packet {
    match protocol {
        1 => Packet::echo(from.address, to.address, true, from.port),
        6 => Packet::tcp(from, to, flags, seq, seq.wrapping_add(4001)),
        17 => Packet::udp(from, to),
        other => Packet::portless(other, from.address, to.address),
    }
}

/// Each session is found by both its keys, and by nothing else of its number.
fn check(w: &mut World) {
    let mut views = Vec::new();
    w.nat.walk(Cursor(0), usize::MAX, &mut |view| views.push(view));
    assert_eq!(views.len(), w.nat.counts().sessions as usize);
    for view in views.iter().filter(|v| v.deadline > w.now) {
        for (key, direction) in
            [(view.original, nat::Direction::Original), (view.reply, nat::Direction::Reply)]
        {
            let from_inside = (view.from == nat::Side::Inside) == (direction == nat::Direction::Original);
            let space = match (view.space, from_inside) {
                (nat::Space::Ingress, _) => nat::Space::Ingress,
                (_, true) => nat::Space::Egress,
                (_, false) => nat::Space::Inbound,
            };
            assert_eq!(w.nat.lookup(space, &key, w.now), Some(Hit { session: view.id, direction }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_sequence_leaves_tables_that_agree_and_everything_can_be_given_back(
        ops in prop::collection::vec(op(), 1..500),
        tight in any::<bool>(),
    ) {
        let quotas = Quotas { sessions: 40, ports: 60, new_sessions_per_second: 20, burst: 60, half_open: 30 };
        let settings = PoolSettings {
            max_blocks: 2,
            port_rest: if tight { Ticks(0) } else { Ticks(50) },
            quotas: if tight { quotas } else { Quotas::default() },
            ..PoolSettings::default()
        };
        let mut w = World::with(pool(2, (1024, 1151), 64, settings));
        let sessions = if tight { 30 } else { 500 };
        w.nat = Nat::new(WorkerId(0), Limits { sessions, subscribers: 4, held_syns: 3 }, [5, 6]);
        for op in ops {
            match op {
                Op::Out { protocol, host, port, remote: r, flags, seq, mapping, filtering, pooling } => {
                    w.mapping = [
                        MappingBehavior::EndpointIndependent,
                        MappingBehavior::AddressDependent,
                        MappingBehavior::AddressAndPortDependent,
                    ][usize::from(mapping)];
                    w.filtering = [
                        FilteringBehavior::EndpointIndependent,
                        FilteringBehavior::AddressDependent,
                        FilteringBehavior::AddressAndPortDependent,
                    ][usize::from(filtering)];
                    w.pooling = [
                        PoolingBehavior::Paired,
                        PoolingBehavior::PairedStrict,
                        PoolingBehavior::Arbitrary,
                    ][usize::from(pooling)];
                    let _ = w.seen_as(&packet(protocol, inside(host, port), remote(r, 80), flags, seq));
                }
                Op::Back { protocol, address, port, remote: r, flags, seq } => {
                    let to = Endpoint::new(outside(address), port);
                    let from = if protocol == 1 { remote(r, port) } else { remote(r, 80) };
                    w.comes(&packet(protocol, from, to, flags, seq));
                }
                Op::Vip { client, port, full, limit } => {
                    let (pool, timeouts) = (w.pool.clone(), Timeouts::default());
                    let tuple = Tuple::new(Protocol::TCP, remote(client, port), Endpoint::new(outside(9), 80));
                    let ask = OpenBalanced {
                        tuple,
                        tcp: Some(wire::TcpFlags::SYN),
                        adopt: false,
                        backend: inside(50, 80),
                        backend_id: BackendId(1),
                        source_nat: full
                            .then_some(SourceNat { pool: &pool, lessee: std::net::Ipv4Addr::UNSPECIFIED }),
                        vip: VipId(1),
                        half_open_limit: u32::from(limit),
                        timeouts: &timeouts,
                        notes: Notes::default(),
                    };
                    let random = w.draw();
                    let opened = w.nat.open_balanced(&ask, w.now, random);
                    prop_assert!(opened.is_err() || limit == 0 || w.nat.half_open(VipId(1)) <= u32::from(limit));
                }
                Op::Pass(ticks) => {
                    w.now = w.now + Ticks(ticks);
                    // Not always enough at once.
                    w.nat.expire(w.now, 5);
                    while w.nat.due_syn(w.now).is_some() {}
                }
                Op::Kill(which) => {
                    let mut ended = 0;
                    w.nat.kill(Cursor(which % 8), 3, &mut |v| v.id.0 % 2 == which % 2, &mut ended);
                }
                Op::Prepare(with) => {
                    let pools = if with { vec![w.pool.clone()] } else { Vec::new() };
                    w.nat.prepare(&pools);
                }
            }
            check(&mut w);
        }
        let mut ended = 0;
        w.nat.kill(Cursor(0), usize::MAX, &mut |_| true, &mut ended);
        w.pass(1000);
        while w.nat.due_syn(w.now).is_some() {}
        let counts = w.nat.counts();
        prop_assert_eq!((counts.sessions, counts.mappings, counts.subscribers, counts.held_syns), (0, 0, 0, 0));
        prop_assert_eq!(counts.opened, counts.ended);
        prop_assert_eq!(w.pool.usage().leased, 0);
        let usage = nat::PoolUsage { out_of_ports: [0; 3], ..w.nat.pool_usage(w.pool.id) };
        prop_assert_eq!(usage, nat::PoolUsage::default());
        prop_assert_eq!((w.nat.half_open(VipId(1)), w.nat.backend_sessions(BackendId(1))), (0, 0));
        prop_assert!(w.nat.lookup(Space::Egress, &tuple(Protocol::UDP, inside(1, 1), remote(1, 1)), w.now).is_none());
    }
}
