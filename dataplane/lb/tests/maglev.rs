//! The look-up table: golden, against a model written from the words of its documentation, and
//! what consistent hashing is for: few flows move, and shares follow weights.

use lb::{LookupTable, Member, SIZES, TableSize};
use proptest::prelude::*;

fn member(n: u32, weight: u32) -> Member {
    // 10.0.0.0 + n as an IPv4-mapped IPv6 address.
    Member { address: 0xffff_0000_0000 | u128::from(0x0a00_0000 + n), port: 0, weight }
}

fn members(n: u32) -> Vec<Member> {
    (0..n).map(|n| member(n, 1)).collect()
}

fn build(members: &[Member]) -> LookupTable {
    LookupTable::build(TableSize::fitting(members.len()), members).unwrap()
}

// The model: the documentation's text, with no thought of speed.

fn splitmix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d049bb133111eb);
    x ^ (x >> 31)
}

fn hash(seed: u64, words: &[u64]) -> u64 {
    let mut h = seed;
    for w in words {
        h = splitmix(h.wrapping_add(0x9e3779b97f4a7c15) ^ w);
    }
    h
}

fn model(size: u64, members: &[Member]) -> Vec<u16> {
    let ascii = |word: &str| word.bytes().fold(0u64, |n, b| n << 8 | u64::from(b));
    let permutation = |m: &Member| -> Vec<u64> {
        let words = [(m.address >> 64) as u64, m.address as u64, u64::from(m.port)];
        let offset = hash(ascii("offset"), &words) % size;
        let skip = hash(ascii("skip"), &words) % (size - 1) + 1;
        (0..size).map(|j| (offset + j * skip) % size).collect()
    };
    let permutations: Vec<Vec<u64>> = members.iter().map(permutation).collect();
    let largest = members.iter().map(|m| m.weight).max().unwrap();
    let mut credit = vec![0; members.len()];
    let mut table = vec![None; size as usize];
    while table.contains(&None) {
        for (i, m) in members.iter().enumerate() {
            credit[i] += m.weight;
            if credit[i] >= largest && table.contains(&None) {
                credit[i] -= largest;
                let slot = permutations[i].iter().find(|&&s| table[s as usize].is_none()).unwrap();
                table[*slot as usize] = Some(i as u16);
            }
        }
    }
    table.into_iter().flatten().collect()
}

#[test]
fn sizes_are_prime() {
    for size in SIZES {
        let root = f64::from(size).sqrt() as u32 + 1;
        assert!((2..root).all(|d| size % d != 0), "{size}");
    }
}

#[test]
fn the_size_is_the_smallest_prime_of_at_least_two_hundred_slots_a_backend() {
    for (backends, slots) in [
        (0, 1_021),
        (1, 1_021),
        (5, 1_021),
        (6, 2_039),
        (10, 2_039),
        (11, 4_093),
        (100, 32_749),
        (1_000, 262_139),
        (5_242, 1_048_573),
        (10_000, 1_048_573),
    ] {
        assert_eq!(TableSize::fitting(backends).slots(), slots, "{backends} backends");
    }
    assert_eq!(TableSize::new(65_537).map(TableSize::slots), Some(65_537));
    assert_eq!(TableSize::new(65_536), None);
}

#[test]
fn the_table_is_the_one_that_every_gateway_builds() {
    // Golden, worked out by another program in another language: a change here makes gateways of two versions disagree about every VIP they share.
    let table =
        LookupTable::build(TableSize::new(1_021).unwrap(), &[member(10, 1), member(11, 2), member(12, 1)])
            .unwrap();
    assert_eq!(GOLDEN_PERMUTATION, member(10, 1).permutation(table.size()));
    assert_eq!(table.slots()[..32], GOLDEN_SLOTS);
    let sum = table.slots().iter().fold(0u64, |h, &s| splitmix(h ^ u64::from(s)));
    assert_eq!(sum, GOLDEN_SUM);
}

const GOLDEN_PERMUTATION: (u32, u32) = (80, 132);
const GOLDEN_SLOTS: [u16; 32] =
    [1, 1, 1, 1, 1, 2, 1, 0, 1, 2, 2, 1, 0, 1, 1, 0, 1, 1, 0, 2, 1, 1, 2, 2, 1, 0, 0, 1, 0, 1, 1, 1];
const GOLDEN_SUM: u64 = 0x181c297b56aa1a02;

#[test]
fn without_members_there_is_no_table() {
    assert!(LookupTable::build(TableSize::fitting(0), &[]).is_none());
}

#[test]
fn removing_one_of_a_hundred_backends_moves_less_than_two_percent_of_the_others_flows() {
    let all = members(100);
    let full = build(&all);
    for gone in [0, 1, 42, 99] {
        let left: Vec<Member> = all.iter().copied().filter(|m| *m != all[gone]).collect();
        let less = LookupTable::build(full.size(), &left).unwrap();
        let of = |table: &LookupTable, slot: usize| table.members()[usize::from(table.slots()[slot])];
        let others = (0..full.slots().len()).filter(|&s| of(&full, s) != all[gone]);
        let (moved, stayed): (Vec<usize>, Vec<usize>) = others.partition(|&s| of(&full, s) != of(&less, s));
        let share = moved.len() as f64 / (moved.len() + stayed.len()) as f64;
        assert!(share < 0.02, "without backend {gone}: {share}");
    }
}

#[test]
fn equal_backends_get_equal_shares() {
    let table = build(&members(10));
    let mut counts = [0u32; 10];
    table.slots().iter().for_each(|&m| counts[usize::from(m)] += 1);
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 1, "{counts:?}");
}

#[test]
fn shares_follow_weights() {
    let weights = [1, 2, 4, 256, 64, 17];
    let all: Vec<Member> = (0u32..).zip(weights).map(|(n, w)| member(n, w)).collect();
    let table = LookupTable::build(TableSize::new(65_537).unwrap(), &all).unwrap();
    let mut counts = [0f64; 6];
    table.slots().iter().for_each(|&m| counts[usize::from(m)] += 1.0);
    let total: u32 = weights.iter().sum();
    for (count, weight) in counts.iter().zip(weights) {
        let want = 65_537.0 * f64::from(weight) / f64::from(total);
        assert!((count - want).abs() <= 2.0 + want * 0.01, "weight {weight}: {count} of {want}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_the_one_of_the_documented_rules(
        picked in proptest::collection::btree_map((0u32..1000, 0u16..3), 1u32..=256, 1..12),
        hash in any::<u64>(),
    ) {
        let all: Vec<Member> =
            picked.into_iter().map(|((n, port), weight)| Member { port, ..member(n, weight) }).collect();
        let table = LookupTable::build(TableSize::new(1_021).unwrap(), &all).unwrap();
        let model = model(1_021, &all);
        prop_assert_eq!(table.slots(), &model[..]);
        prop_assert_eq!(table.member(hash), usize::from(model[(hash % 1_021) as usize]));
    }
}
