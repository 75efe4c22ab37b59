//! Someone who floods the index with keys that collide must know its seed, and cannot.

use crate::index::{Index, KeyHash, Seed};

const ENTRIES: usize = 20_000;

/// Lines of the index that finding every one of these keys reads, an average.
fn lines_a_key(seed: Seed, keys: &[(u64, u64)]) -> f64 {
    let hash = |n: u32| keys.get(n as usize).map_or(KeyHash(0), |(a, b)| seed.hash(*a, *b));
    let mut index = Index::for_entries(ENTRIES);
    for n in 0..keys.len() as u32 {
        index.insert(hash(n), n, hash).expect("room, as for any keys");
    }
    let mut compared = 0u64;
    for n in 0..keys.len() as u32 {
        let found = index.find(hash(n), |entry| {
            compared += 1;
            entry == n
        });
        assert_eq!(found, Some(n));
    }
    let lines: u64 = (0..keys.len() as u32).map(|n| u64::from(index.lines_read(hash(n), n))).sum();
    assert!(compared < 2 * keys.len() as u64, "{compared} records compared for {} keys", keys.len());
    lines as f64 / keys.len() as f64
}

#[test]
fn keys_chosen_to_collide_under_one_seed_cost_under_another_no_more_than_any_keys() {
    let (known, real) = (Seed([1, 2]), Seed([0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321]));
    // Whoever knew the seed would send keys of few buckets: these are of a hundredth of all hashes.
    let crowded = |a: u64, b: u64| known.hash(a, b).0 >> 32 < (1 << 32) / 100;
    let all = || (0u64..).map(|n| (n << 32 | 0xcb00_7101, 0x1_1bb0_0050 ^ n << 7));
    let chosen: Vec<_> = all().filter(|(a, b)| crowded(*a, *b)).take(ENTRIES * 8 / 10).collect();
    let any: Vec<_> = all().take(chosen.len()).collect();
    let (worst, usual) = (lines_a_key(real, &chosen), lines_a_key(real, &any));
    assert!(worst < 1.2 * usual, "{worst} lines a key against {usual}");
    assert!(usual < 1.5, "{usual}");
}

#[test]
fn a_crowd_that_does_collide_is_refused_and_costs_two_lines_at_most() {
    // The seed is known here: the table bounds what a look-up costs all the same.
    let known = Seed([1, 2]);
    let crowd: Vec<_> =
        (0u64..).map(|n| (n, 7)).filter(|(a, b)| known.hash(*a, *b).0 >> 32 < 1 << 18).take(64).collect();
    let hash = |n: u32| crowd.get(n as usize).map_or(KeyHash(0), |(a, b)| known.hash(*a, *b));
    let mut index = Index::for_entries(1000);
    let stored = (0..crowd.len() as u32).filter(|n| index.insert(hash(*n), *n, hash).is_ok()).count();
    for n in 0..crowd.len() as u32 {
        assert!(index.lines_read(hash(n), n) <= 2);
    }
    assert!(stored >= 20, "{stored} have places in their two buckets and where others could move");
}
