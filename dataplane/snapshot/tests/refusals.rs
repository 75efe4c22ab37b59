//! What does not fit together across objects is refused whole, and every error names object,
//! field and value, and says what to do.

mod support;

use model::{EgressAction, IpNet};
use nat::Side;
use support::*;

#[test]
fn an_unknown_pool_of_a_policy() {
    let mut lab = Lab::new();
    lab.objects().egress_policies.insert(name("default"), snat("nowhere"));
    let (what, problem) = lab.refused();
    assert_eq!(what, r#"EgressPolicy/default spec.pool "nowhere""#);
    assert_eq!(problem, "there is no EgressPool of this name");
}

#[test]
fn an_unknown_pool_of_source_nat() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]).source_nat = Some(name("internal"));
    assert_eq!(lab.refused().0, r#"LoadBalancer/web spec.sourceNat.pool "internal""#);
}

#[test]
fn a_pool_of_the_same_origin_comes_before_one_of_another_and_another_will_do() {
    let mut lab = Lab::new();
    lab.of("cluster").egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.1")]));
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.2", "203.0.113.2")]));
    lab.of("cluster").egress_pools.insert(name("b"), pool(&[("203.0.113.3", "203.0.113.3")]));
    lab.objects().egress_policies.insert(name("own"), snat("a"));
    lab.objects().egress_policies.insert(name("theirs"), snat("b"));
    let snapshot = lab.applied();
    let pool_of = |rule: &str| {
        let rule = snapshot.egress.rules().iter().find(|r| *r.name.0 == *rule).unwrap();
        let policy::Action::Snat { pool, .. } = rule.action else { panic!("not Snat") };
        let (who, what) = snapshot.pool_name(pool).unwrap();
        format!("{}/{}", who.0, what.0)
    };
    assert_eq!(pool_of("own"), "operator/a");
    assert_eq!(pool_of("theirs"), "cluster/b");
}

#[test]
fn overlapping_pools() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.9")]));
    lab.objects()
        .egress_pools
        .insert(name("b"), pool(&[("203.0.113.64", "203.0.113.65"), ("203.0.113.9", "203.0.113.10")]));
    let (what, problem) = lab.refused();
    assert_eq!(what, r#"EgressPool/b spec.addresses[1] "203.0.113.9-203.0.113.10""#);
    assert_eq!(problem, "it overlaps EgressPool/a (operator)");
}

#[test]
fn overlapping_pools_of_two_origins() {
    let mut lab = Lab::new();
    lab.of("a").egress_pools.insert(name("one"), pool(&[("203.0.113.1", "203.0.113.1")]));
    lab.of("b").egress_pools.insert(name("one"), pool(&[("203.0.113.1", "203.0.113.1")]));
    assert_eq!(lab.refused().0, r#"EgressPool/one spec.addresses[0] "203.0.113.1-203.0.113.1""#);
}

#[test]
fn a_pool_of_too_many_addresses() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.0.0", "203.0.16.0")]));
    assert_eq!(lab.refused().0, r#"EgressPool/a spec.addresses "4097""#);
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.0.0", "203.0.15.255")]));
    assert_eq!(lab.applied().outside_addresses().len(), 4096);
}

#[test]
fn a_pool_of_wrong_blocks() {
    let mut lab = Lab::new();
    let mut wrong = pool(&[("203.0.113.1", "203.0.113.1")]);
    wrong.block_size = 100;
    lab.objects().egress_pools.insert(name("a"), wrong);
    assert_eq!(lab.refused().0, r#"EgressPool/a spec.blockSize "100""#);
}

#[test]
fn two_vips_on_one_address_and_port() {
    let mut lab = Lab::new();
    lab.balance("a", "203.0.113.10", &[]);
    lab.balance("b", "203.0.113.10", &[]);
    let (what, problem) = lab.refused();
    assert_eq!(what, r#"LoadBalancer/b spec.ports[0].port "203.0.113.10:80""#);
    assert_eq!(problem, "the VIP's port belongs to LoadBalancer/a (operator) already");
}

#[test]
fn a_vip_in_the_port_range_of_another() {
    let mut lab = Lab::new();
    lab.balance("a", "203.0.113.10", &[]);
    lab.balance("b", "203.0.113.10", &[]).ports = vec![service_port(0, 65535, None)];
    assert_eq!(lab.refused().0, r#"LoadBalancer/b spec.ports[0].port "203.0.113.10:0-65535""#);
}

#[test]
fn vips_share_an_address_on_different_ports_or_protocols() {
    let mut lab = Lab::new();
    lab.balance("a", "203.0.113.10", &[]);
    lab.balance("b", "203.0.113.10", &[]).ports[0].protocol = model::Protocol::Udp;
    lab.balance("c", "203.0.113.10", &[]).ports = vec![service_port(81, 90, None)];
    lab.applied();
}

#[test]
fn two_static_mappings_on_one_endpoint() {
    let mut lab = Lab::new();
    lab.objects().static_mappings.insert(name("a"), forward("203.0.113.5:2222", "10.0.0.20:22"));
    lab.objects().static_mappings.insert(name("b"), forward("203.0.113.5:2222", "10.0.0.21:22"));
    let (what, problem) = lab.refused();
    assert_eq!(what, r#"StaticMapping/b spec.outside "203.0.113.5:2222""#);
    assert_eq!(problem, "the outside endpoint belongs to StaticMapping/a (operator) already");
}

#[test]
fn a_port_of_an_address_that_is_mapped_one_to_one() {
    let mut lab = Lab::new();
    lab.objects().static_mappings.insert(name("a"), one_to_one("203.0.113.5", "10.0.0.20"));
    lab.objects().static_mappings.insert(name("b"), forward("203.0.113.5:2222", "10.0.0.21:22"));
    assert_eq!(lab.refused().0, r#"StaticMapping/b spec.outside "203.0.113.5:2222""#);
}

#[test]
fn a_static_mapping_on_a_vip() {
    for mapping in [forward("203.0.113.10:80", "10.0.0.21:22"), one_to_one("203.0.113.10", "10.0.0.21")] {
        let mut lab = Lab::new();
        lab.balance("web", "203.0.113.10", &[]);
        lab.objects().static_mappings.insert(name("a"), mapping);
        let (what, problem) = lab.refused();
        assert!(what.starts_with("StaticMapping/a spec.outside"), "{what}");
        assert_eq!(problem, "a LoadBalancer has a VIP on this endpoint");
    }
}

#[test]
fn a_one_to_one_mapping_of_the_gateways_own_address() {
    let mut lab = Lab::new();
    lab.objects().static_mappings.insert(name("a"), one_to_one("198.51.100.1", "10.0.0.20"));
    assert_eq!(lab.refused().0, r#"StaticMapping/a spec.outside.address "198.51.100.1""#);
}

#[test]
fn a_static_mapping_to_where_no_route_leads() {
    let mut lab = Lab::new();
    lab.node.routes.clear();
    lab.objects().static_mappings.insert(name("a"), forward("203.0.113.5:22", "172.16.0.1:22"));
    let (what, problem) = lab.refused();
    assert_eq!(what, r#"StaticMapping/a spec.inside.address "172.16.0.1""#);
    assert_eq!(problem, "no route leads there");
}

#[test]
fn a_route_by_a_next_hop_that_no_subnet_holds() {
    let mut lab = Lab::new();
    lab.objects().routes.insert(name("r"), route("172.16.0.0/12", &["10.0.0.9", "192.0.2.1"]));
    let (what, problem) = lab.refused();
    assert_eq!(what, r#"Route/r spec.via[1] "192.0.2.1""#);
    assert_eq!(problem, "no port's subnet holds this next hop");
}

#[test]
fn a_route_by_the_gateway_itself() {
    let mut lab = Lab::new();
    lab.objects().routes.insert(name("r"), route("172.16.0.0/12", &["10.0.0.1"]));
    assert_eq!(lab.refused().0, r#"Route/r spec.via[0] "10.0.0.1""#);
}

#[test]
fn a_second_route_to_a_prefix_by_the_same_side() {
    let mut lab = Lab::new();
    lab.objects().routes.insert(name("r"), route("0.0.0.0/0", &["198.51.100.253"]));
    assert_eq!(lab.refused().0, r#"Route/r spec.to "0.0.0.0/0""#);
}

#[test]
fn a_wrong_route_of_the_node_file() {
    let mut lab = Lab::new();
    lab.node.routes[0] = route("0.0.0.0/0", &["192.0.2.1"]);
    assert_eq!(lab.refused().0, r#"node/edge-1 routes[0].via[0] "192.0.2.1""#);
}

#[test]
fn ipv6_where_only_ipv4_is_served_yet() {
    let six: std::net::IpAddr = "2001:db8::1".parse().unwrap();
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &[]).vips.push(six);
    assert_eq!(lab.refused().0, r#"LoadBalancer/web spec.vips[1] "2001:db8::1""#);
    let mut lab = Lab::new();
    lab.objects().routes.insert(name("r"), route("10.9.0.0/16", &["2001:db8::1"]));
    assert_eq!(lab.refused().0, r#"Route/r spec.via[0] "2001:db8::1""#);
    let mut lab = Lab::new();
    let mut mapping = one_to_one("203.0.113.5", "10.0.0.20");
    mapping.inside = six;
    lab.objects().static_mappings.insert(name("a"), mapping);
    assert_eq!(lab.refused().0, r#"StaticMapping/a spec.inside.address "2001:db8::1""#);
}

#[test]
fn an_ipv6_prefix_in_a_policy_is_no_error_and_matches_nothing() {
    let mut lab = Lab::new();
    let mut both = snat("unused");
    both.action = EgressAction::Direct;
    both.to[0].prefix = "::/0".parse::<IpNet>().unwrap();
    lab.objects().egress_policies.insert(name("six"), both);
    let snapshot = lab.applied();
    assert!(snapshot.egress.judge(v4("10.0.0.1"), v4("192.0.2.1"), wire::Protocol::TCP, 1).is_none());
}

#[test]
fn every_fault_is_named_at_once_and_the_old_snapshot_goes_on() {
    let mut lab = Lab::new();
    lab.applied();
    lab.objects().egress_policies.insert(name("default"), snat("nowhere"));
    lab.objects().routes.insert(name("r"), route("172.16.0.0/12", &["192.0.2.1"]));
    lab.balance("web", "203.0.113.10", &[]).source_nat = Some(name("internal"));
    assert_eq!(lab.apply().unwrap_err().len(), 3);
    assert_eq!(lab.snapshot.as_ref().unwrap().revision, 1);
    assert_eq!(lab.snapshot.as_ref().unwrap().side_of(v4("192.0.2.1")), Some(Side::Outside));
}
