//! Runs random traffic through the gateway and the reference and says where they differ.
//!
//! `differential --packets N --seed S --workers N|all`; the last line is
//! `packets: N, differences: D, conservation error: E`, and the exit code 1 unless both are 0.

use std::process::ExitCode;

use testkit::differential::{Options, run};

const USAGE: &str = "usage: differential [--packets N] [--seed S] [--workers N|all] [--patience D]";

fn options() -> Result<Options, String> {
    let mut options = Options { packets: 1_000_000, seed: 1, workers: vec![1, 2, 4], patience: 1000 };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--help" {
            return Err(USAGE.to_owned());
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name}: {value} is no number\n{USAGE}"));
        match name.as_str() {
            "--packets" => options.packets = number()?,
            "--seed" => options.seed = number()?,
            "--patience" => options.patience = number()?.max(1),
            "--workers" if value == "all" => options.workers = vec![1, 2, 4],
            "--workers" => match u16::try_from(number()?) {
                Ok(n @ 1..=64) => options.workers = vec![n],
                _ => return Err(format!("--workers takes 1 to 64, or all\n{USAGE}")),
            },
            _ => return Err(format!("unknown option {name}\n{USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    let summary = match run(&options) {
        Ok(summary) => summary,
        Err(e) => {
            eprintln!("the generated configuration was refused:\n{e}");
            return ExitCode::FAILURE;
        }
    };
    println!("exercised, with at most {} sessions at once:", summary.sessions);
    for (name, n) in &summary.exercised {
        println!("  {name} {n}");
    }
    for difference in &summary.first {
        println!("{difference}");
    }
    if !summary.first.is_empty() {
        let workers = options.workers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        println!("replay: --seed {} --packets {} (workers {workers})", options.seed, summary.packets);
    }
    println!(
        "packets: {}, differences: {}, conservation error: {}",
        summary.packets, summary.differences, summary.conservation_error
    );
    if summary.differences == 0 && summary.conservation_error == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
