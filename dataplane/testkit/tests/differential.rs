//! The gateway against the reference, small enough for every test run; the program
//! `differential` runs any number of packets.

use testkit::differential::{Options, run};

fn agrees(workers: &[u16], seed: u64, packets: u64) {
    let options = Options { packets, seed, workers: workers.to_vec(), patience: 5 };
    let summary = run(&options).unwrap();
    for difference in &summary.first {
        eprintln!("{difference}");
    }
    assert_eq!((summary.differences, summary.conservation_error), (0, 0), "seed {seed}");
    assert_eq!(summary.packets, packets);
    let seen = |name: &str| summary.exercised.iter().any(|(n, count)| *n == name && *count > 0);
    for name in [
        "sent",
        "originated",
        "punted",
        "policy_denied",
        "filtered",
        "icmp_unknown",
        "fragment_overlap",
        "too_big",
        "ttl_expired",
        "unsolicited_syn",
        "vip_no_backend",
        "neighbour_unreachable",
    ] {
        assert!(seen(name), "nothing was counted as {name}: the traffic does not reach it");
    }
}

#[test]
fn one_worker_does_what_the_reference_does() {
    agrees(&[1], 11, 30_000);
}

#[test]
fn two_workers_do_what_the_reference_does() {
    agrees(&[2], 12, 30_000);
}

#[test]
fn four_workers_do_what_the_reference_does() {
    agrees(&[4], 13, 30_000);
}

#[test]
fn one_two_three_and_four_workers_do_the_same() {
    agrees(&[1, 2, 3, 4], 14, 20_000);
}
