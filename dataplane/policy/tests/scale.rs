//! A thousand egress policies and ten thousand access policies compile quickly, and judging them
//! does not mean walking them. Bounds are generous: they catch a walk, not a slow machine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use model::{
    AccessPolicy, AccessRule, EgressAction, EgressPolicy, IpNet, Name, OnDeny, Origin, PrefixExcept,
};
use policy::{Access, AccessInput, AccessRules, EgressInput, EgressRules, PoolNumber};
use wire::{Protocol, V4};

fn net(address: u32, length: u8) -> PrefixExcept {
    PrefixExcept {
        prefix: IpNet::new(Ipv4Addr::from_bits(address).into(), length).unwrap(),
        except: Vec::new(),
    }
}

fn name(n: u32) -> Name {
    Name(Arc::from(format!("p{n:05}")))
}

fn egress(priority: i32, from: PrefixExcept, to: PrefixExcept) -> EgressPolicy {
    EgressPolicy {
        priority,
        from: vec![from],
        to: vec![to],
        ports: Vec::new(),
        action: EgressAction::Direct,
        on_deny: OnDeny::Reject,
        adopt_mid_stream: false,
        mss_clamp: None,
    }
}

#[test]
fn a_thousand_egress_policies_are_judged_without_walking_them() {
    let who = Origin(Arc::from("operator"));
    let everywhere = || net(0, 0);
    // Shapes that hurt: one namespace a policy, one destination a policy, and one priority a policy.
    type Shape = fn(u32, PrefixExcept) -> EgressPolicy;
    let shapes: [(&str, Shape); 3] = [
        ("sources", |n, all| egress(100, net(0x0a00_0000 + (n << 8), 24), all)),
        ("destinations", |n, all| egress(100, all, net(0xc000_0000 + (n << 8), 24))),
        ("priorities", |n, all| egress(n as i32, all, net(0xc000_0000 + (n << 8), 24))),
    ];
    for (label, shape) in shapes {
        let written: Vec<(Name, EgressPolicy)> =
            (0..1000).map(|n| (name(n), shape(n, everywhere()))).collect();
        let started = Instant::now();
        let rules: EgressRules<V4> = EgressRules::compile(written.iter().map(|(name, policy)| EgressInput {
            origin: &who,
            name,
            policy,
            pool: PoolNumber(0),
        }));
        let compiled = started.elapsed();
        let started = Instant::now();
        let mut found = 0u32;
        for n in 0..100_000u32 {
            let (from, to) = (Ipv4Addr::from_bits(0x0a00_0000 + n), Ipv4Addr::from_bits(0xc000_0000 + n * 3));
            found += u32::from(rules.judge(from, to, Protocol::TCP, 443).is_some());
        }
        let each = started.elapsed() / 100_000;
        println!("{label}: compiled in {compiled:?}, judged in {each:?}, {found} matched");
        assert!(found > 50_000);
        assert!(compiled.as_millis() < 5_000 && each.as_micros() < 20, "{label}: {compiled:?} {each:?}");
    }
}

#[test]
fn policies_whose_selectors_stand_for_thousands_of_pods_compile_quickly() {
    let who = Origin(Arc::from("cluster"));
    let written: Vec<(Name, EgressPolicy)> = (0..200)
        .map(|n| {
            let mut policy = egress(100, net(0, 0), net(0, 0));
            policy.from = (0..2_000).map(|pod| net(0x0a00_0000 + (n / 2) * 2_000 + pod, 32)).collect();
            (name(n), policy)
        })
        .collect();
    let started = Instant::now();
    let rules: EgressRules<V4> = EgressRules::compile(written.iter().map(|(name, policy)| EgressInput {
        origin: &who,
        name,
        policy,
        pool: PoolNumber(0),
    }));
    let compiled = started.elapsed();
    println!("400,000 sources compiled in {compiled:?}");
    let pod = Ipv4Addr::from_bits(0x0a00_0000 + 7_500);
    assert_eq!(rules.judge(pod, pod, Protocol::TCP, 1).map(|r| r.name.clone()), Some(name(6)));
    assert!(compiled.as_millis() < 5_000, "{compiled:?}");
}

#[test]
fn ten_thousand_access_policies_are_judged_without_walking_them() {
    let who = Origin(Arc::from("cluster"));
    let written: Vec<(Name, AccessPolicy)> = (0..10_000)
        .map(|n| {
            let rules = vec![AccessRule { to: vec![net(0xc000_0000 + n, 32)], ports: Vec::new() }];
            (name(n), AccessPolicy { subjects: vec![net(0x0a00_0000 + n, 32), net(0x0a80_0000, 16)], rules })
        })
        .map(|(name, mut policy)| {
            // A few select everyone, the rest one pod.
            if name.0.as_bytes()[5] != b'0' || name.0.as_bytes()[4] != b'0' {
                policy.subjects.truncate(1);
            }
            (name, policy)
        })
        .collect();
    let inputs = || written.iter().map(|(name, policy)| AccessInput { origin: &who, name, policy });
    let started = Instant::now();
    let rules: AccessRules<V4> = AccessRules::compile(inputs(), [], None);
    let compiled = started.elapsed();
    let started = Instant::now();
    let again = AccessRules::compile(inputs(), [], Some(&rules));
    let recompiled = started.elapsed();
    let started = Instant::now();
    for n in 0..10_000u32 {
        let (pod, own) = (Ipv4Addr::from_bits(0x0a00_0000 + n), Ipv4Addr::from_bits(0xc000_0000 + n));
        assert_eq!(again.judge(pod, own, Protocol::TCP, 443), Access::Allowed);
        assert_eq!(again.judge(pod, Ipv4Addr::BROADCAST, Protocol::TCP, 443), Access::Denied);
    }
    let each = started.elapsed() / 20_000;
    println!("compiled in {compiled:?}, again in {recompiled:?}, judged in {each:?}");
    assert!(compiled.as_millis() < 5_000 && each.as_micros() < 20, "{compiled:?} {each:?}");
}
