//! Runs one load for callgrind, which counts what happens inside `Worker::receive` and `Worker::tick`.
//!
//! No clock, no hugepages, no DPDK: the same program gives the same count each time.

use std::process::ExitCode;

use perf::arena::Arena;
use perf::loads::{self, Nat, Recipe};
use perf::rig::{BUFFERS, Rig};
use perf::world;

const USAGE: &str = "\
Runs one load for callgrind (see scripts/perf-gate).

Usage: sluice-perf-load LOAD snat|dnat SESSIONS PACKETS
Example: valgrind --tool=callgrind --toggle-collect='*Rig*run*' sluice-perf-load established snat 4096 40320";

fn run(load: &str, nat: &str, sessions: &str, packets: &str) -> Result<u64, String> {
    let nat = match nat {
        "snat" => Nat::Snat,
        "dnat" => Nat::Dnat,
        other => return Err(format!("{other:?} is neither snat nor dnat")),
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    let (sessions, packets) = (number(sessions)?, number(packets)?);
    let mut load = loads::by_name(load, Recipe::new(nat, sessions))
        .ok_or_else(|| format!("no load {load:?}: one of {}", loads::NAMES.join(", ")))?;
    let load = load.as_mut();
    let mut rig = Rig::new(world::snapshot(&load.spec())?, load.limit(), Arena::new(BUFFERS), 1);
    rig.prepare(load, |_| {})?;
    let before = rig.counters();
    let (mut done, mut checked) = (0, 0);
    while done < packets {
        done += rig.fill(load, false) as u64;
        rig.run_counted();
        checked += rig.settle(load, false, 7)?;
    }
    load.verdict(done, &before, &rig.counters())?;
    println!("{done} packets, {checked} checked");
    Ok(done)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [load, nat, sessions, packets] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(load, nat, sessions, packets) {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("sluice-perf-load: {e}");
            ExitCode::FAILURE
        }
    }
}
