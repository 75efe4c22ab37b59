//! `sluicectl`: the operator's command line, a client of `sluice.v1` and nothing more.
//!
//! Whatever it can do, another client of the gRPC API can do too. Exit codes are part of the contract:
//! 0 done, 1 refused or failed, 2 wrong usage, 3 the gateway cannot be reached.
#![forbid(unsafe_code)]

mod args;
mod command;
mod documents;
mod endpoints;
mod failure;
mod gateway;
mod output;
mod units;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2 and the usage on standard error.
    let line = args::Line::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::Failure::Failed(format!("no runtime: {error}")).report(),
    };
    match runtime.block_on(command::run(line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
