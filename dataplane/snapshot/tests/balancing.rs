//! VIPs and the lives of their backends over snapshots.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lb::{BackendId, Flow, Standing, WorkerState};
use model::{Algorithm, BackendState};
use nat::Tick;
use snapshot::{BackendKey, Snapshot};
use support::*;
use wire::{Endpoint, Protocol};

const TCP: Protocol = Protocol::TCP;

fn key(address: &str) -> BackendKey {
    BackendKey { address: v4(address), port: None }
}

/// Backends that new flows to 203.0.113.10:80 get.
fn serving(snapshot: &Snapshot) -> BTreeSet<String> {
    let vip = snapshot.vip(TCP, at("203.0.113.10:80")).unwrap();
    let mut state = WorkerState::default();
    (1024..3024)
        .filter_map(|port| {
            let client = Endpoint::new(v4("192.0.2.1"), port);
            let flow = Flow { protocol: TCP, client, vip: at("203.0.113.10:80") };
            let backend = vip.service.service.choose(&flow, &mut state, |_| 0)?;
            Some(vip.endpoint(backend, 80).to_string())
        })
        .collect()
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|a| (*a).to_owned()).collect()
}

fn standing(snapshot: &Snapshot, address: &str) -> Option<Standing> {
    let service = &snapshot.services()[0];
    service.service.backends().iter().find(|b| b.address == v4(address)).map(|b| b.standing)
}

#[test]
fn a_vip_leads_to_the_target_port_of_its_backends() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    let snapshot = lab.applied();
    assert_eq!(serving(snapshot), names(&["10.0.0.10:8080", "10.0.0.11:8080"]));
    assert!(snapshot.vip(Protocol::UDP, at("203.0.113.10:80")).is_none());
    assert!(snapshot.vip(TCP, at("203.0.113.10:81")).is_none());
    assert!(snapshot.is_vip_address(v4("203.0.113.10")) && !snapshot.is_own(v4("203.0.113.10")));
}

#[test]
fn a_backends_own_port_overrides_the_target_port() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]).backends[0].port = Some(9090);
    let snapshot = lab.applied();
    assert_eq!(serving(snapshot), names(&["10.0.0.10:9090"]));
    assert!(
        snapshot.is_backend(TCP, at("10.0.0.10:9090")) && !snapshot.is_backend(TCP, at("10.0.0.10:8080"))
    );
}

#[test]
fn a_range_or_all_ports_keep_the_port() {
    let mut lab = Lab::new();
    lab.balance("range", "203.0.113.10", &["10.0.0.10"]).ports =
        vec![service_port(8000, 8010, None), service_port(443, 443, Some(8443))];
    lab.balance("all", "203.0.113.11", &["10.0.0.11"]).ports = vec![service_port(0, 65535, None)];
    let snapshot = lab.applied();
    let leads = |to: &str| {
        let vip = snapshot.vip(TCP, at(to))?;
        Some(vip.endpoint(vip.service.service.backends().first()?, at(to).port).to_string())
    };
    assert_eq!(leads("203.0.113.10:8000").as_deref(), Some("10.0.0.10:8000"));
    assert_eq!(leads("203.0.113.10:8010").as_deref(), Some("10.0.0.10:8010"));
    assert_eq!(leads("203.0.113.10:8011"), None);
    assert_eq!(leads("203.0.113.10:443").as_deref(), Some("10.0.0.10:8443"));
    assert_eq!(leads("203.0.113.11:1").as_deref(), Some("10.0.0.11:1"));
    assert!(snapshot.is_backend(TCP, at("10.0.0.10:8005")) && snapshot.is_backend(TCP, at("10.0.0.10:8443")));
    assert!(!snapshot.is_backend(TCP, at("10.0.0.10:7999")));
    assert!(snapshot.is_backend(TCP, at("10.0.0.11:65535")));
}

#[test]
fn source_ranges_say_which_clients_may_come() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &[]).source_ranges = vec!["192.0.2.0/24".parse().unwrap()];
    lab.balance("all", "203.0.113.11", &[]);
    let snapshot = lab.applied();
    let admits = |vip: &str, client: &str| snapshot.vip(TCP, at(vip)).unwrap().service.admits(v4(client));
    assert!(admits("203.0.113.10:80", "192.0.2.255") && !admits("203.0.113.10:80", "192.0.3.0"));
    assert!(admits("203.0.113.11:80", "192.0.3.0"));
}

#[test]
fn a_draining_backend_keeps_its_sessions_until_its_deadline_and_gets_no_new_ones() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    lab.applied();
    lab.objects().load_balancers.get_mut(&name("web")).unwrap().backends[0].state = BackendState::Draining;
    let snapshot = lab.later(10);
    assert_eq!(serving(snapshot), names(&["10.0.0.11:8080"]));
    assert_eq!(standing(snapshot, "10.0.0.10"), Some(Standing::Draining));
    assert!(snapshot.is_backend(TCP, at("10.0.0.10:8080")));
    assert_eq!(snapshot.next_change(), Some(Tick(3100)));
    let judged = snapshot.judged;
    assert_eq!(standing(lab.later(299), "10.0.0.10"), Some(Standing::Draining));
    assert_eq!(lab.applied().judged, judged, "while it drains, sessions stay");
    let snapshot = lab.later(1);
    assert_eq!(standing(snapshot, "10.0.0.10"), Some(Standing::Down));
    assert!(!snapshot.is_backend(TCP, at("10.0.0.10:8080")));
    assert_eq!(snapshot.judged, judged + 1, "past its deadline, sessions are judged again");
    assert_eq!(snapshot.next_change(), None);
}

#[test]
fn a_removed_backend_drains_before_it_is_forgotten() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    let id = lab.applied().services()[0].service.backends()[0].id;
    lab.balance("web", "203.0.113.10", &["10.0.0.11"]);
    let snapshot = lab.later(10);
    assert_eq!(serving(snapshot), names(&["10.0.0.11:8080"]));
    assert_eq!(snapshot.services()[0].service.backend(id).map(|b| b.standing), Some(Standing::Draining));
    assert!(snapshot.is_backend(TCP, at("10.0.0.10:8080")));
    let snapshot = lab.later(300);
    assert_eq!(snapshot.services()[0].service.backend(id), None);
    assert!(!snapshot.is_backend(TCP, at("10.0.0.10:8080")));
}

#[test]
fn a_removed_backend_does_not_drain_longer_because_another_changes() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    lab.applied();
    lab.balance("web", "203.0.113.10", &["10.0.0.11"]);
    lab.later(10);
    lab.balance("web", "203.0.113.10", &["10.0.0.11", "10.0.0.12"]);
    assert_eq!(lab.later(200).next_change(), Some(Tick(3100)));
}

#[test]
fn a_backend_that_comes_back_while_it_drains_is_the_same_one() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    let id = lab.applied().services()[0].service.backends()[0].id;
    lab.balance("web", "203.0.113.10", &["10.0.0.11"]);
    lab.later(10);
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    let snapshot = lab.later(10);
    assert_eq!(snapshot.services()[0].service.backend(id).map(|b| b.standing), Some(Standing::Active));
    assert_eq!(serving(snapshot).len(), 2);
}

#[test]
fn a_backend_that_is_down_ends_its_sessions_at_once() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    let judged = lab.applied().judged;
    lab.objects().load_balancers.get_mut(&name("web")).unwrap().backends[0].state = BackendState::Down;
    let snapshot = lab.applied();
    assert_eq!(standing(snapshot, "10.0.0.10"), Some(Standing::Down));
    assert!(!snapshot.is_backend(TCP, at("10.0.0.10:8080")));
    assert_eq!(snapshot.judged, judged + 1);
}

#[test]
fn a_number_is_not_given_to_another_backend_while_sessions_may_carry_it() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]).drain = Duration::ZERO;
    let id = lab.applied().services()[0].service.backends()[0].id;
    lab.balance("web", "203.0.113.10", &["10.0.0.11"]).drain = Duration::ZERO;
    assert_ne!(lab.later(1).services()[0].service.backends()[0].id, id);
    lab.balance("web", "203.0.113.10", &["10.0.0.12"]).drain = Duration::ZERO;
    assert_eq!(lab.later(7440).services()[0].service.backends()[0].id, id);
    assert_eq!(lab.snapshot.as_ref().unwrap().bounds(), (1, 2));
}

#[test]
fn a_service_that_is_gone_is_not_found_by_its_number() {
    let mut lab = Lab::new();
    lab.balance("a", "203.0.113.10", &["10.0.0.10"]);
    lab.balance("b", "203.0.113.11", &["10.0.0.10"]);
    let snapshot = lab.applied();
    let (a, b) = (snapshot.services()[0].id(), snapshot.services()[1].id());
    let judged = snapshot.judged;
    lab.objects().load_balancers.remove(&name("a"));
    let snapshot = lab.applied();
    assert!(snapshot.service(a).is_none());
    assert_eq!(snapshot.service(b).map(|s| s.name.clone()), Some(name("b")));
    assert!(
        snapshot.vip(TCP, at("203.0.113.10:80")).is_none()
            && snapshot.vip(TCP, at("203.0.113.11:80")).is_some()
    );
    assert!(snapshot.is_backend(TCP, at("10.0.0.10:8080")), "the other service has it still");
    assert_eq!(snapshot.judged, judged + 1);
    lab.objects().load_balancers.remove(&name("b"));
    assert!(lab.applied().backends.is_empty());
}

#[test]
fn a_backend_counts_as_healthy_until_checks_say_otherwise() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]);
    let judged = lab.applied().judged;
    assert_eq!(serving(lab.applied()).len(), 2);
    assert!(lab.health.note(&origin("operator"), &name("web"), key("10.0.0.10"), false));
    assert!(!lab.health.note(&origin("operator"), &name("web"), key("10.0.0.10"), false));
    let snapshot = lab.applied();
    assert_eq!(serving(snapshot), names(&["10.0.0.11:8080"]));
    assert!(snapshot.is_backend(TCP, at("10.0.0.10:8080")), "its sessions stay");
    assert_eq!(snapshot.judged, judged);
    assert!(lab.health.note(&origin("operator"), &name("web"), key("10.0.0.10"), true));
    assert_eq!(serving(lab.applied()).len(), 2);
}

#[test]
fn under_the_panic_threshold_all_backends_are_kept() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11", "10.0.0.12"]);
    for address in ["10.0.0.10", "10.0.0.11"] {
        lab.health.note(&origin("operator"), &name("web"), key(address), false);
    }
    assert_eq!(serving(lab.applied()).len(), 3);
    lab.objects().load_balancers.get_mut(&name("web")).unwrap().panic_threshold = 0;
    assert_eq!(serving(lab.applied()), names(&["10.0.0.12:8080"]));
}

#[test]
fn a_backend_that_joins_fills_over_its_slow_start() {
    let mut lab = Lab::new();
    let filling = |backends: &[&str], lab: &mut Lab| {
        let web = lab.balance("web", "203.0.113.10", backends);
        web.slow_start = Duration::from_secs(100);
        web.algorithm = Algorithm::RoundRobin;
    };
    filling(&["10.0.0.10"], &mut lab);
    assert_eq!(
        standing(lab.applied(), "10.0.0.10"),
        Some(Standing::Active),
        "with its service it starts full"
    );
    filling(&["10.0.0.10", "10.0.0.11"], &mut lab);
    let weight = |snapshot: &Snapshot| {
        let service = &snapshot.services()[0].service;
        let share = |a: &str| service.members().find(|(b, _)| b.address == v4(a)).map(|(_, w)| w).unwrap();
        f64::from(share("10.0.0.11")) / f64::from(share("10.0.0.10"))
    };
    let mut shares = vec![weight(lab.applied())];
    assert_eq!(lab.applied().next_change(), Some(Tick(100)));
    for _ in 0..10 {
        shares.push(weight(lab.later(10)));
    }
    assert!(shares.windows(2).all(|w| w[0] <= w[1]), "{shares:?}");
    assert_eq!((shares[0], shares[5], shares[10]), (0.1, 0.6, 1.0));
    assert_eq!(standing(lab.applied(), "10.0.0.11"), Some(Standing::Active));
    assert_eq!(lab.applied().next_change(), None);
}

#[test]
fn a_backend_that_recovers_fills_again() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10", "10.0.0.11"]).slow_start = Duration::from_secs(100);
    lab.applied();
    lab.health.note(&origin("operator"), &name("web"), key("10.0.0.10"), false);
    lab.later(1);
    lab.health.note(&origin("operator"), &name("web"), key("10.0.0.10"), true);
    assert!(matches!(standing(lab.later(1), "10.0.0.10"), Some(Standing::Filling(_))));
    assert_eq!(standing(lab.later(100), "10.0.0.10"), Some(Standing::Active));
}

#[test]
fn the_same_config_picks_the_same_backend_on_every_gateway() {
    let backends = ["10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13"];
    let mut reversed = backends;
    reversed.reverse();
    let (mut one, mut two) = (Lab::new(), Lab::new());
    one.balance("web", "203.0.113.10", &backends);
    // The other gateway came to the same Config by another way.
    two.balance("web", "203.0.113.10", &["10.0.0.99", "10.0.0.10"]);
    two.balance("aaa", "203.0.113.99", &["10.0.0.10"]);
    two.applied();
    two.objects().load_balancers.remove(&name("aaa"));
    two.balance("web", "203.0.113.10", &reversed);
    let (one, two) = (one.applied(), two.later(1));
    let choose = |snapshot: &Snapshot, port| {
        let flow =
            Flow { protocol: TCP, client: Endpoint::new(v4("192.0.2.1"), port), vip: at("203.0.113.10:80") };
        snapshot.vip(TCP, flow.vip).unwrap().service.service.named(&flow).unwrap().address
    };
    assert!((0..2000).all(|port| choose(one, port) == choose(two, port)));
}

#[test]
fn services_with_equal_backends_share_one_table() {
    let mut lab = Lab::new();
    for n in 0..10 {
        lab.balance(&format!("s{n}"), &format!("203.0.113.{n}"), &["10.0.0.10", "10.0.0.11"]);
    }
    assert_eq!(lab.applied().tables(), 1);
    lab.balance("s3", "203.0.113.3", &["10.0.0.10"]);
    assert_eq!(lab.applied().tables(), 2);
    lab.balance("s3", "203.0.113.3", &["10.0.0.10", "10.0.0.11"]);
    assert_eq!(lab.applied().tables(), 1, "a table that no service uses is gone");
}

#[test]
fn a_new_backend_leaves_other_services_and_sessions_alone() {
    let mut lab = Lab::new();
    lab.balance("a", "203.0.113.10", &["10.0.0.10"]);
    lab.balance("b", "203.0.113.11", &["10.0.0.11"]);
    let before = lab.applied().clone();
    lab.balance("a", "203.0.113.10", &["10.0.0.10", "10.0.0.12"]);
    let after = lab.applied();
    assert!(Arc::ptr_eq(&before.services()[1], &after.services()[1]));
    assert!(!Arc::ptr_eq(&before.services()[0], &after.services()[0]));
    assert!(after.is_backend(TCP, at("10.0.0.12:8080")));
    assert_eq!(after.judged, before.judged);
    assert_eq!(after.services()[0].service.backends()[0].id, before.services()[0].service.backends()[0].id);
}

#[test]
fn what_decides_about_sessions_raises_judged() {
    type Change = fn(&mut Lab);
    let changes: [(&str, Change); 8] = [
        ("policy", |lab| lab.objects().egress_policies.get_mut(&name("default")).unwrap().priority = 7),
        ("pool", |lab| lab.objects().egress_pools.get_mut(&name("a")).unwrap().quotas.ports = 7),
        ("route", |lab| drop(lab.objects().routes.insert(name("r"), route("172.16.0.0/12", &["10.0.0.9"])))),
        ("port", |lab| lab.node.ports[0].mtu = 1400),
        ("static", |lab| {
            lab.objects().static_mappings.insert(name("s"), forward("203.0.113.5:22", "10.0.0.20:22"));
        }),
        ("vip", |lab| {
            lab.balance("new", "203.0.113.77", &[]);
        }),
        ("client ranges", |lab| {
            lab.objects().load_balancers.get_mut(&name("web")).unwrap().source_ranges =
                vec!["192.0.2.0/24".parse().unwrap()];
        }),
        ("guard", |lab| {
            let guard = model::AccessGuard { prefixes: vec!["10.9.0.0/16".parse().unwrap()] };
            drop(lab.objects().access_guards.insert(name("g"), guard));
        }),
    ];
    for (what, change) in changes {
        let mut lab = Lab::new();
        lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.1")]));
        lab.objects().egress_policies.insert(name("default"), snat("a"));
        lab.balance("web", "203.0.113.10", &["10.0.0.10"]);
        let judged = lab.applied().judged;
        assert_eq!(lab.applied().judged, judged);
        change(&mut lab);
        assert_eq!(lab.applied().judged, judged + 1, "{what}");
        assert_eq!(lab.applied().judged, judged + 1, "{what}, once");
    }
}

#[test]
fn full_nat_names_its_pool() {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("internal"), pool(&[("10.0.0.99", "10.0.0.99")]));
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]).source_nat = Some(name("internal"));
    let snapshot = lab.applied();
    let number = snapshot.services()[0].source_nat.unwrap();
    assert_eq!(snapshot.pool(number).unwrap().addresses[0].address, v4("10.0.0.99"));
}

#[test]
fn checks_go_to_their_own_port_else_to_the_traffics() {
    let mut lab = Lab::new();
    let check = |port| model::HealthCheck {
        probe: model::Probe::Tcp,
        port,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
    };
    for (own, want) in [(None, 8080), (Some(9), 9)] {
        lab.balance("web", "203.0.113.10", &["10.0.0.10"]).health_check = Some(check(own));
        let service = &lab.applied().services()[0];
        assert_eq!(service.checked_at(&service.service.backends()[0]).port, want);
    }
}

#[test]
fn an_unknown_number_names_nobody() {
    let mut lab = Lab::new();
    lab.balance("web", "203.0.113.10", &["10.0.0.10"]);
    let snapshot = lab.applied();
    assert!(snapshot.service(lb::ServiceId(99)).is_none());
    assert_eq!(snapshot.services()[0].service.backend(BackendId(99)), None);
}
