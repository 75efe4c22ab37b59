//! Choosing a backend, sentence by sentence.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use lb::{
    Affinity, Algorithm, Backend, BackendId, Flow, Service, ServiceId, ServiceSpec, Share, Standing,
    TableSize, Tables, WorkerState,
};
use wire::{Endpoint, Protocol};

fn backend(n: u32, weight: u16) -> Backend {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + n);
    Backend { id: BackendId(n), address, port: None, weight, standing: Standing::Active, healthy: true }
}

fn spec(algorithm: Algorithm, backends: Vec<Backend>) -> ServiceSpec {
    ServiceSpec {
        id: ServiceId(0),
        algorithm,
        affinity: Affinity::None,
        panic_threshold: 50,
        table_size: None,
        configured: backends.len(),
        backends,
    }
}

fn compiled(spec: ServiceSpec) -> Service {
    Service::compile(spec, &mut Tables::default())
}

fn flow(client: u32, port: u16) -> Flow {
    Flow {
        protocol: Protocol::TCP,
        client: Endpoint::new(Ipv4Addr::from_bits(0xc000_0200 + client), port),
        vip: Endpoint::new(Ipv4Addr::new(203, 0, 113, 10), 80),
    }
}

fn chosen(service: &Service, state: &mut WorkerState, flow: &Flow) -> Option<u32> {
    service.choose(flow, state, |_| 0).map(|b| b.id.0)
}

/// How often each backend is chosen for `n` flows.
fn counts(service: &Service, n: u16) -> BTreeMap<u32, u32> {
    let mut state = WorkerState::default();
    let mut counts = BTreeMap::new();
    for port in 0..n {
        let id = chosen(service, &mut state, &flow(u32::from(port) % 7, port)).unwrap();
        *counts.entry(id).or_default() += 1;
    }
    counts
}

#[test]
fn the_order_of_the_backends_does_not_matter() {
    let forward = compiled(spec(Algorithm::Maglev, (0..20).map(|n| backend(n, 1)).collect()));
    let backward = compiled(spec(Algorithm::Maglev, (0..20).rev().map(|n| backend(n, 1)).collect()));
    let mut state = WorkerState::default();
    for port in 0..2_000 {
        let flow = flow(1, port);
        assert_eq!(chosen(&forward, &mut state, &flow), chosen(&backward, &mut state, &flow));
    }
}

#[test]
fn a_flow_always_gets_the_same_backend() {
    let service = compiled(spec(Algorithm::Maglev, (0..20).map(|n| backend(n, 1)).collect()));
    let first = chosen(&service, &mut WorkerState::default(), &flow(1, 1));
    assert_eq!(first, chosen(&service, &mut WorkerState::default(), &flow(1, 1)));
    assert_eq!(first, service.named(&flow(1, 1)).map(|b| b.id.0));
}

#[test]
fn with_affinity_a_client_keeps_its_backend_whatever_its_port_and_the_algorithm() {
    for algorithm in [Algorithm::Maglev, Algorithm::RoundRobin, Algorithm::LeastConnections] {
        let mut spec = spec(algorithm, (0..20).map(|n| backend(n, 1)).collect());
        spec.affinity = Affinity::ClientAddress;
        let service = compiled(spec);
        let mut state = WorkerState::default();
        let first = chosen(&service, &mut state, &flow(3, 1));
        assert!((2..200).all(|port| chosen(&service, &mut state, &flow(3, port)) == first));
        let clients: std::collections::BTreeSet<_> =
            (0..200).map(|c| chosen(&service, &mut state, &flow(c, 1))).collect();
        assert!(clients.len() > 15, "clients spread over {} backends", clients.len());
    }
}

#[test]
fn without_affinity_a_clients_flows_spread_by_weight() {
    let service = compiled(spec(Algorithm::Maglev, vec![backend(1, 1), backend(2, 3)]));
    let counts = counts(&service, 20_000);
    let share = f64::from(counts[&2]) / 20_000.0;
    assert!((0.73..0.77).contains(&share), "{share}");
}

#[test]
fn round_robin_gives_each_its_turn() {
    let service = compiled(spec(Algorithm::RoundRobin, (0..3).map(|n| backend(n, 1)).collect()));
    let mut state = WorkerState::default();
    let turns: Vec<u32> = (0..7).map(|p| chosen(&service, &mut state, &flow(1, p)).unwrap()).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn round_robin_follows_weights_exactly_and_without_bunching() {
    let service = compiled(spec(Algorithm::RoundRobin, vec![backend(0, 4), backend(1, 2), backend(2, 1)]));
    assert_eq!(counts(&service, 700), BTreeMap::from([(0, 400), (1, 200), (2, 100)]));
    let mut state = WorkerState::default();
    let turns: Vec<u32> = (0..7).map(|p| chosen(&service, &mut state, &flow(1, p)).unwrap()).collect();
    assert!(turns.windows(3).all(|w| w != [0, 0, 0]), "{turns:?}");
}

#[test]
fn round_robin_survives_a_change_of_backends() {
    let mut state = WorkerState::default();
    let many = compiled(spec(Algorithm::RoundRobin, (0..5).map(|n| backend(n, 256)).collect()));
    for port in 0..4 {
        assert!(chosen(&many, &mut state, &flow(1, port)).is_some());
    }
    let few = compiled(spec(Algorithm::RoundRobin, (3..5).map(|n| backend(n, 1)).collect()));
    let turns: Vec<u32> = (0..6).map(|p| chosen(&few, &mut state, &flow(1, p)).unwrap()).collect();
    assert!(turns.windows(2).all(|w| w[0] != w[1]), "{turns:?}");
}

#[test]
fn least_connections_picks_the_fewest_sessions_for_their_weight() {
    let service =
        compiled(spec(Algorithm::LeastConnections, vec![backend(0, 1), backend(1, 1), backend(2, 4)]));
    let mut state = WorkerState::default();
    let mut by = |sessions: [u32; 3]| {
        service.choose(&flow(1, 1), &mut state, |id| sessions[id.0 as usize]).map(|b| b.id.0)
    };
    assert_eq!(by([3, 2, 100]), Some(1));
    assert_eq!(by([3, 3, 8]), Some(2));
    assert_eq!(by([2, 3, 12]), Some(0));
}

#[test]
fn least_connections_spreads_first_sessions_over_equals() {
    let service = compiled(spec(Algorithm::LeastConnections, (0..10).map(|n| backend(n, 1)).collect()));
    assert_eq!(counts(&service, 500).len(), 10);
}

#[test]
fn draining_down_and_weightless_backends_get_no_new_flows() {
    for algorithm in [Algorithm::Maglev, Algorithm::RoundRobin, Algorithm::LeastConnections] {
        let mut backends: Vec<Backend> = (0..4).map(|n| backend(n, 1)).collect();
        backends[0].standing = Standing::Draining;
        backends[1].standing = Standing::Down;
        backends[2].weight = 0;
        assert_eq!(counts(&compiled(spec(algorithm, backends)), 100), BTreeMap::from([(3, 100)]));
    }
}

#[test]
fn no_backend_to_be_had_is_none() {
    for algorithm in [Algorithm::Maglev, Algorithm::RoundRobin, Algorithm::LeastConnections] {
        let mut drained = backend(0, 1);
        drained.standing = Standing::Draining;
        for backends in [vec![], vec![drained]] {
            let service = compiled(spec(algorithm, backends));
            assert_eq!(chosen(&service, &mut WorkerState::default(), &flow(1, 1)), None);
        }
    }
}

#[test]
fn a_draining_backend_is_still_known_by_its_number() {
    let mut draining = backend(7, 1);
    draining.standing = Standing::Draining;
    let service = compiled(spec(Algorithm::Maglev, vec![backend(1, 1), draining]));
    assert_eq!(service.backend(BackendId(7)).map(|b| b.standing), Some(Standing::Draining));
    assert!(Standing::Draining.keeps_sessions() && !Standing::Down.keeps_sessions());
    assert_eq!(service.backend(BackendId(8)), None);
}

#[test]
fn an_unhealthy_backend_moves_only_its_own_flows() {
    let healthy: Vec<Backend> = (0..10).map(|n| backend(n, 1)).collect();
    let mut one_out = healthy.clone();
    one_out[4].healthy = false;
    let (before, after) =
        (compiled(spec(Algorithm::Maglev, healthy)), compiled(spec(Algorithm::Maglev, one_out)));
    let mut state = WorkerState::default();
    let (mut moved, mut others) = (0, 0);
    for port in 0..10_000 {
        let (was, is) =
            (chosen(&before, &mut state, &flow(1, port)), chosen(&after, &mut state, &flow(1, port)));
        assert_ne!(is, Some(4));
        if was != Some(4) {
            others += 1;
            moved += u32::from(was != is);
        }
    }
    assert!(moved * 10 < others, "{moved} of {others} moved");
}

#[test]
fn under_the_panic_threshold_unhealthy_backends_serve_too() {
    let mut backends: Vec<Backend> = (0..4).map(|n| backend(n, 1)).collect();
    backends[1..].iter_mut().for_each(|b| b.healthy = false);
    assert_eq!(counts(&compiled(spec(Algorithm::Maglev, backends)), 1_000).len(), 4);
}

#[test]
fn a_filling_backend_gets_its_share_so_far() {
    let mut backends = vec![backend(0, 1), backend(1, 1)];
    backends[1].standing = Standing::Filling(Share::tenths(1));
    let counts = counts(&compiled(spec(Algorithm::RoundRobin, backends)), 1_100);
    assert_eq!(counts, BTreeMap::from([(0, 1_000), (1, 100)]));
}

#[test]
fn services_with_equal_backends_share_one_table() {
    let mut tables = Tables::default();
    let backends: Vec<Backend> = (0..5).map(|n| backend(n, 1)).collect();
    let one = Service::compile(spec(Algorithm::Maglev, backends.clone()), &mut tables);
    let mut other = spec(Algorithm::Maglev, backends);
    other.id = ServiceId(1);
    other.backends.iter_mut().for_each(|b| b.id.0 += 100);
    let other = Service::compile(other, &mut tables);
    assert!(Arc::ptr_eq(one.table().unwrap(), other.table().unwrap()));
}

#[test]
fn a_draining_backend_does_not_change_the_tables_size() {
    let mut spec = spec(Algorithm::Maglev, (0..6).map(|n| backend(n, 1)).collect());
    spec.backends[0].standing = Standing::Draining;
    assert_eq!(compiled(spec).table().unwrap().size(), TableSize::fitting(6));
}

#[test]
fn table_size_overrides_what_fits() {
    let mut spec = spec(Algorithm::Maglev, vec![backend(0, 1)]);
    spec.table_size = TableSize::new(65_537);
    assert_eq!(compiled(spec).table().unwrap().size().slots(), 65_537);
}
