//! Routes, addresses, static mappings and pools: what a compiled snapshot says of packets.

mod support;

use std::sync::Arc;

use nat::{Side, WorkerId};
use snapshot::{NextHop, PortId};
use support::*;
use wire::{Endpoint, Protocol, Tuple};

const TCP: Protocol = Protocol::TCP;
const UDP: Protocol = Protocol::UDP;

#[test]
fn a_neighbour_in_a_connected_subnet_is_its_own_next_hop() {
    let mut lab = Lab::new();
    let hop = lab.applied().next_hop(v4("10.0.0.9"), 0, Side::Inside);
    assert_eq!(hop, Some(NextHop { port: PortId(0), address: v4("10.0.0.9") }));
}

#[test]
fn the_longest_prefix_decides_the_next_hop() {
    let mut lab = Lab::new();
    lab.objects().routes.insert(name("r"), route("10.244.3.0/24", &["10.0.0.8"]));
    let snapshot = lab.applied();
    let by = |to: &str| snapshot.next_hop(v4(to), 7, Side::Outside).unwrap().address;
    assert_eq!(by("10.244.3.1"), v4("10.0.0.8"));
    assert_eq!(by("10.244.4.1"), v4("10.0.0.7"));
    assert_eq!(by("192.0.2.1"), v4("198.51.100.254"));
}

#[test]
fn without_a_route_there_is_no_next_hop() {
    let mut lab = Lab::new();
    lab.node.routes.clear();
    let snapshot = lab.applied();
    assert_eq!(snapshot.next_hop(v4("192.0.2.1"), 0, Side::Outside), None);
    assert_eq!(snapshot.side_of(v4("192.0.2.1")), None);
}

#[test]
fn several_next_hops_share_flows_by_their_hash_and_a_flow_keeps_its_own() {
    let mut lab = Lab::new();
    lab.node.routes[0] = route("0.0.0.0/0", &["198.51.100.253", "198.51.100.254", "198.51.100.252"]);
    let snapshot = lab.applied();
    let mut counts = std::collections::BTreeMap::new();
    for n in 0..3000u32 {
        let hash = wire::toeplitz::words([n, n ^ 0xabcd, 7]);
        let hop = snapshot.next_hop(v4("192.0.2.1"), hash, Side::Outside).unwrap();
        assert_eq!(snapshot.next_hop(v4("192.0.2.1"), hash, Side::Outside), Some(hop));
        *counts.entry(hop.address).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 3);
    assert!(counts.values().all(|n| (800..1200).contains(n)), "{counts:?}");
}

#[test]
fn the_order_of_next_hops_does_not_matter() {
    let (mut one, mut two) = (Lab::new(), Lab::new());
    one.node.routes[0] = route("0.0.0.0/0", &["198.51.100.253", "198.51.100.254"]);
    two.node.routes[0] = route("0.0.0.0/0", &["198.51.100.254", "198.51.100.253"]);
    let (one, two) = (one.applied(), two.applied());
    for hash in [0, 1 << 31, u32::MAX] {
        assert_eq!(
            one.next_hop(v4("192.0.2.1"), hash, Side::Outside),
            two.next_hop(v4("192.0.2.1"), hash, Side::Outside)
        );
    }
}

#[test]
fn each_side_may_have_its_default_route() {
    let mut lab = Lab::new();
    lab.objects().routes.insert(name("back"), route("0.0.0.0/0", &["10.0.0.254"]));
    let snapshot = lab.applied();
    let by = |prefer| snapshot.next_hop(v4("192.0.2.1"), 0, prefer).unwrap().address;
    assert_eq!(by(Side::Outside), v4("198.51.100.254"));
    assert_eq!(by(Side::Inside), v4("10.0.0.254"));
    assert!(snapshot.leads(v4("192.0.2.1"), Side::Inside) && snapshot.leads(v4("192.0.2.1"), Side::Outside));
    assert_eq!(snapshot.side_of(v4("192.0.2.1")), Some(Side::Outside));
}

#[test]
fn the_best_route_says_which_side_an_address_is_on() {
    let mut lab = Lab::new();
    let snapshot = lab.applied();
    assert_eq!(snapshot.side_of(v4("10.0.0.9")), Some(Side::Inside));
    assert_eq!(snapshot.side_of(v4("10.244.1.1")), Some(Side::Inside));
    assert_eq!(snapshot.side_of(v4("10.245.1.1")), Some(Side::Outside));
    assert!(!snapshot.leads(v4("10.244.1.1"), Side::Outside));
}

#[test]
fn a_vlan_sub_port_is_a_port_of_its_own() {
    let mut lab = Lab::new();
    let mut sub = port(2, Side::Inside, "10.1.0.1/24");
    (sub.device, sub.vlan) = (0, Some(100));
    lab.node.ports.push(sub);
    let snapshot = lab.applied();
    assert_eq!(snapshot.arrival(0, None).map(|p| p.id), Some(PortId(0)));
    assert_eq!(snapshot.arrival(0, Some(100)).map(|p| p.id), Some(PortId(2)));
    assert_eq!(snapshot.arrival(0, Some(101)), None);
    assert_eq!(snapshot.next_hop(v4("10.1.0.5"), 0, Side::Inside).map(|h| h.port), Some(PortId(2)));
}

#[test]
fn one_public_address_may_be_own_pool_and_vip_at_once() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("one"), pool(&[("198.51.100.1", "198.51.100.1")]));
    lab.balance("web", "198.51.100.1", &["10.0.0.10"]);
    lab.objects().static_mappings.insert(name("ssh"), forward("198.51.100.1:2222", "10.0.0.20:22"));
    let snapshot = lab.applied();
    let local = snapshot.local(v4("198.51.100.1")).unwrap();
    assert!(local.is_own() && local.is_vip() && local.is_static() && local.outside().is_some());
    let leases = &snapshot.outside_address(v4("198.51.100.1")).unwrap().leases;
    assert!(!leases.allows(2222), "a static mapping's port is not handed out");
    assert!(!leases.allows(64512) && !leases.allows(65535), "host stack ports are not handed out");
    assert!(leases.allows(64511) && leases.allows(1024));
    assert!(!leases.allows(80));
}

#[test]
fn ports_of_vips_are_taken_out_of_the_blocks_of_that_address_only() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.2")]));
    lab.balance("web", "203.0.113.1", &["10.0.0.10"]).ports = vec![service_port(8000, 8010, None)];
    let snapshot = lab.applied();
    let allows = |address: &str, port| snapshot.outside_address(v4(address)).unwrap().leases.allows(port);
    assert!(!allows("203.0.113.1", 8000) && !allows("203.0.113.1", 8010));
    assert!(allows("203.0.113.1", 7999) && allows("203.0.113.1", 8011) && allows("203.0.113.2", 8005));
    assert!(allows("203.0.113.1", 65535), "only own addresses have a host stack");
}

#[test]
fn an_address_mapped_one_to_one_hands_out_nothing() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.2")]));
    lab.objects().static_mappings.insert(name("host"), one_to_one("203.0.113.2", "10.0.0.20"));
    let snapshot = lab.applied();
    assert_eq!(snapshot.outside_address(v4("203.0.113.2")).unwrap().leases.usable(), 0);
}

#[test]
fn leases_outlive_the_snapshot_and_its_reservations() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("b"), pool(&[("203.0.113.1", "203.0.113.1")]));
    let before = Arc::clone(&lab.applied().outside_address(v4("203.0.113.1")).unwrap().leases);
    let block = before.lease(WorkerId(3), 0).unwrap();
    let port = before.layout().start(block).max(1024);
    // Another pool comes, which moves this one's place, and a VIP takes ports of it.
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.9", "203.0.113.9")]));
    lab.balance("web", "203.0.113.1", &["10.0.0.10"]).ports = vec![service_port(9000, 9000, None)];
    let snapshot = lab.applied();
    let outside = snapshot.outside_address(v4("203.0.113.1")).unwrap();
    assert!(outside.leases.shares_leases_with(&before) && !outside.leases.allows(9000));
    let reply = |protocol| Tuple::new(protocol, at("192.0.2.1:53"), Endpoint::new(v4("203.0.113.1"), port));
    assert_eq!(outside.owner(&reply(UDP)), Some(WorkerId(3)));
    assert_eq!(outside.owner(&reply(Protocol(47))), None);
    assert_eq!(snapshot.pool_name(outside.pool).unwrap().1, &name("b"));
    assert!(lab.applied().outside_address(v4("203.0.113.1")).unwrap().leases.shares_leases_with(&before));
}

#[test]
fn a_pool_keeps_its_identity_while_its_name_stands() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("b"), pool(&[("203.0.113.1", "203.0.113.1")]));
    let id = lab.applied().pools[0].id;
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.9", "203.0.113.9")]));
    lab.objects().egress_pools.get_mut(&name("b")).unwrap().quotas.sessions = 5;
    let snapshot = lab.applied();
    let number = snapshot.pool_by_id(id).unwrap();
    assert_eq!(snapshot.pool_name(number).unwrap().1, &name("b"));
    assert_eq!(snapshot.pool(number).unwrap().settings.quotas.sessions, 5);
    lab.objects().egress_pools.remove(&name("b"));
    assert_eq!(lab.applied().pool_by_id(id), None);
}

#[test]
fn an_unchanged_pool_is_the_very_same_one() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.1")]));
    let before = Arc::clone(&lab.applied().pools[0]);
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]);
    assert!(Arc::ptr_eq(&before, &lab.applied().pools[0]));
}

#[test]
fn a_port_forward_is_found_from_both_ends() {
    let mut lab = Lab::new();
    lab.objects().static_mappings.insert(name("ssh"), forward("203.0.113.5:2222", "10.0.0.20:22"));
    let snapshot = lab.applied();
    let hit = snapshot.static_by_outside(TCP, at("203.0.113.5:2222")).unwrap();
    assert_eq!(hit.inside, at("10.0.0.20:22"));
    assert_eq!(snapshot.static_by_inside(TCP, at("10.0.0.20:22")).unwrap().outside, at("203.0.113.5:2222"));
    assert_eq!(snapshot.static_by_outside(UDP, at("203.0.113.5:2222")), None);
    assert_eq!(snapshot.static_by_outside(TCP, at("203.0.113.5:2223")), None);
    assert_eq!(snapshot.static_by_inside(TCP, at("10.0.0.20:23")), None);
}

#[test]
fn a_port_range_keeps_the_distance_from_its_first_port() {
    let mut lab = Lab::new();
    let mut range = forward("203.0.113.5:2000", "10.0.0.20:3000");
    range.outside_ports.as_mut().unwrap().last = 2009;
    range.inside_ports.as_mut().unwrap().last = 3009;
    lab.objects().static_mappings.insert(name("range"), range);
    let snapshot = lab.applied();
    let inside = |port: &str| snapshot.static_by_outside(TCP, at(port)).map(|hit| hit.inside);
    assert_eq!(inside("203.0.113.5:2000"), Some(at("10.0.0.20:3000")));
    assert_eq!(inside("203.0.113.5:2009"), Some(at("10.0.0.20:3009")));
    assert_eq!(inside("203.0.113.5:2010"), None);
    assert_eq!(snapshot.static_by_inside(TCP, at("10.0.0.20:3004")).unwrap().outside, at("203.0.113.5:2004"));
}

#[test]
fn a_one_to_one_mapping_holds_every_protocol_and_port() {
    let mut lab = Lab::new();
    lab.objects().static_mappings.insert(name("host"), one_to_one("203.0.113.5", "10.0.0.20"));
    let snapshot = lab.applied();
    for protocol in [TCP, UDP, Protocol::ICMP, Protocol(47)] {
        let hit = snapshot.static_by_outside(protocol, at("203.0.113.5:7")).unwrap();
        assert_eq!(hit.inside, at("10.0.0.20:7"));
        assert_eq!(
            snapshot.static_by_inside(protocol, at("10.0.0.20:9")).unwrap().outside,
            at("203.0.113.5:9")
        );
    }
}

#[test]
fn a_port_forward_comes_before_a_one_to_one_mapping_of_the_same_inside_host() {
    let mut lab = Lab::new();
    lab.objects().static_mappings.insert(name("a-host"), one_to_one("203.0.113.5", "10.0.0.20"));
    lab.objects().static_mappings.insert(name("b-ssh"), forward("203.0.113.6:2222", "10.0.0.20:22"));
    let snapshot = lab.applied();
    assert_eq!(snapshot.static_by_inside(TCP, at("10.0.0.20:22")).unwrap().outside, at("203.0.113.6:2222"));
    assert_eq!(snapshot.static_by_inside(TCP, at("10.0.0.20:23")).unwrap().outside, at("203.0.113.5:23"));
}

#[test]
fn own_pool_vip_and_static_addresses_are_answered_for_where_a_subnet_holds_them() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("near"), pool(&[("198.51.100.9", "198.51.100.9")]));
    lab.objects().egress_pools.insert(name("internal"), pool(&[("10.0.0.99", "10.0.0.99")]));
    lab.objects().static_mappings.insert(name("ssh"), forward("198.51.100.5:22", "10.0.0.20:22"));
    lab.balance("near", "198.51.100.7", &[]);
    lab.balance("far", "203.0.113.10", &[]);
    let snapshot = lab.applied();
    let (inside, outside) = (snapshot.port(0).unwrap(), snapshot.port(1).unwrap());
    let near: Vec<_> = ["198.51.100.1", "198.51.100.5", "198.51.100.7", "198.51.100.9"].map(v4).to_vec();
    assert_eq!(snapshot.announced(outside), near);
    assert!(near.iter().all(|a| snapshot.answers(outside, *a) && !snapshot.answers(inside, *a)));
    assert_eq!(snapshot.announced(inside), [v4("10.0.0.1"), v4("10.0.0.99")]);
    assert!(
        !snapshot.answers(outside, v4("198.51.100.77")) && !snapshot.answers(outside, v4("203.0.113.10"))
    );
}

#[test]
fn mss_is_clamped_where_mtus_differ_or_a_policy_says_so() {
    let mut lab = Lab::new();
    let (one, two) = (PortId(0), PortId(1));
    assert_eq!(lab.applied().mss_clamp(None, one, two), None);
    assert_eq!(lab.applied().mss_clamp(Some(0), one, two), Some(1460));
    assert_eq!(lab.applied().mss_clamp(Some(1200), one, two), Some(1200));
    lab.node.ports[0].mtu = 9000;
    assert_eq!(lab.applied().mss_clamp(None, one, two), Some(1460));
    assert_eq!(lab.applied().mss_clamp(None, two, one), Some(1460));
    assert_eq!(lab.applied().mss_clamp(None, one, PortId(9)), None);
}

#[test]
fn a_broadcast_address_is_known_by_its_subnet() {
    let port = port(0, Side::Inside, "10.0.0.1/24");
    assert!(port.is_broadcast(v4("10.0.0.255")) && !port.is_broadcast(v4("10.0.0.254")));
    let pair = support::port(0, Side::Inside, "10.0.0.1/31");
    assert!(!pair.is_broadcast(v4("10.0.0.1")));
}

#[test]
fn what_is_unchanged_is_shared_with_the_snapshot_before() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.1")]));
    lab.objects().egress_policies.insert(name("default"), snat("a"));
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]);
    let one = lab.applied().clone();
    let two = lab.applied();
    assert!(Arc::ptr_eq(&one.egress, &two.egress) && Arc::ptr_eq(&one.access, &two.access));
    assert!(Arc::ptr_eq(&one.routes, &two.routes) && Arc::ptr_eq(&one.statics, &two.statics));
    assert!(Arc::ptr_eq(&one.backends, &two.backends));
    assert!(Arc::ptr_eq(&one.services()[0], &two.services()[0]));
    assert_eq!((two.revision, two.judged), (one.revision + 1, one.judged));
}
