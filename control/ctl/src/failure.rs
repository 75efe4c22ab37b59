//! How a command fails: what is said, and with which exit code.

use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked. The text says what to do next where that is known.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1: the gateway or a check here said no, or something went wrong.
    Failed(String),
    /// Exit code 1 too; everything has been said already.
    Said,
    /// Exit code 2: the command line makes no sense.
    Usage(String),
    /// Exit code 3: no answer from the gateway.
    Unreachable(String),
    /// The output could not be written.
    Output(io::Error),
}

impl Failure {
    /// Tells the user, and the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, text) = match self {
            Failure::Failed(text) => (1, text),
            Failure::Said => return ExitCode::from(1),
            Failure::Usage(text) => (2, text),
            Failure::Unreachable(text) => (3, text),
            // `sluicectl sessions | head` has what it wants.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Failure::Output(error) => (1, format!("cannot write the output: {error}")),
        };
        eprintln!("sluicectl: {text}");
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}
