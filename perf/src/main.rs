//! `sluice-perf`: measures the gateway on this machine, beside its memory and its peers.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
