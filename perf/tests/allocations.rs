//! No allocation per packet: counted by an allocator that counts, over every load of packets whose
//! sessions exist.

use std::alloc::System;

use perf::arena::Arena;
use perf::loads::{self, Nat, Recipe};
use perf::rig::{BUFFERS, Rig};
use perf::world;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations inside the worker over some batches, after as many that warm up.
fn allocations(name: &str, nat: Nat) -> usize {
    let mut recipe = Recipe::new(nat, 2048);
    recipe.replies = 40;
    let mut load = loads::by_name(name, recipe).unwrap();
    let load = load.as_mut();
    let mut rig = Rig::new(world::snapshot(&load.spec()).unwrap(), load.limit(), Arena::new(BUFFERS), 7);
    rig.prepare(load, |_| {}).unwrap();
    let mut counted = 0;
    for batch in 0..12 {
        rig.fill(load, false);
        let region = Region::new(COUNTING);
        rig.run();
        let change = region.change();
        if batch >= 4 {
            counted += change.allocations + change.reallocations + change.deallocations;
        }
        rig.settle(load, false, 1).unwrap();
    }
    counted
}

// One test, since the allocator counts for the whole process and tests run side by side.
#[test]
fn packets_of_known_sessions_are_carried_without_an_allocation() {
    assert!(
        {
            let region = Region::new(COUNTING);
            drop(std::hint::black_box(vec![1u8; 100]));
            region.change().allocations > 0
        },
        "the allocator counts"
    );
    for (name, nat) in [
        ("established", Nat::Snat),
        ("established", Nat::Dnat),
        ("imix", Nat::Snat),
        ("imix", Nat::Dnat),
        ("icmp-errors", Nat::Snat),
        ("hairpin", Nat::Snat),
        ("drops", Nat::Snat),
    ] {
        assert_eq!(allocations(name, nat), 0, "{name} {nat:?}");
    }
}
