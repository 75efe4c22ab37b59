//! 10,000 services of 10 endpoints: how long a snapshot takes to compile, and a change of one
//! endpoint. The times are printed; bounds for optimised builds are those of the product (1 s
//! and 5 ms) with room for a busy machine, and for other builds merely catch a blow-up.

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use support::*;
use wire::{Endpoint, Protocol};

const SERVICES: u32 = 10_000;

fn large() -> Lab {
    let mut lab = Lab::new();
    lab.objects().egress_pools.insert(name("a"), pool(&[("203.0.113.1", "203.0.113.9")]));
    for n in 0..1_000u32 {
        let mut policy = snat("a");
        policy.from = vec![entry(&format!("10.{}.{}.0/24", n / 256, n % 256))];
        lab.objects().egress_policies.insert(name(&format!("p{n}")), policy);
    }
    for n in 0..SERVICES {
        let vip = Ipv4Addr::from_bits(0xc612_0000 + n).to_string();
        let backends: Vec<String> =
            (0..10).map(|b| Ipv4Addr::from_bits(0x0a80_0000 + n * 10 + b).to_string()).collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        lab.balance(&format!("s{n:05}"), &vip, &backends);
    }
    lab
}

#[test]
fn ten_thousand_services_compile_quickly_and_one_endpoint_changes_at_once() {
    let mut lab = large();
    let started = Instant::now();
    lab.applied();
    let whole = started.elapsed();

    let mut changes = Vec::new();
    for n in 0..9u32 {
        let service = name(&format!("s{:05}", n * 1111));
        let backends = &mut lab.objects().load_balancers.get_mut(&service).unwrap().backends;
        backends[3].address = Ipv4Addr::from_bits(0x0af0_0000 + n).into();
        // Dropping the old snapshot is the publisher's affair, later.
        let old = lab.snapshot.clone();
        let started = Instant::now();
        lab.applied();
        changes.push(started.elapsed());
        drop(old);
    }
    changes.sort_unstable();
    let snapshot = lab.snapshot.as_ref().unwrap();
    let new = Endpoint::new(Ipv4Addr::from_bits(0x0af0_0000), 8080);
    assert!(snapshot.is_backend(Protocol::TCP, new));
    println!(
        "{SERVICES} services of 10 endpoints: {whole:?}; one endpoint: {:?} to {:?}, median {:?}",
        changes[0], changes[8], changes[4]
    );
    let (most, each) = match cfg!(debug_assertions) {
        true => (Duration::from_secs(60), Duration::from_secs(1)),
        false => (Duration::from_secs(3), Duration::from_millis(20)),
    };
    assert!(whole < most, "{whole:?}");
    assert!(changes[4] < each, "{changes:?}");
}
