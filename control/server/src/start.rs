//! Why a gateway does not start, in words that say which thing and what to do.

use std::io;
use std::path::{Path, PathBuf};

use model::Error;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Objects on disk are wrong, or do not go together; one line each.
    #[error("{}", lines(.0))]
    Objects(Vec<Error>),
    /// A file or directory of the accepted configuration cannot be used.
    #[error("state: {}: {problem}; {remedy}", path.display())]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// A socket cannot be opened.
    #[error("{field}: {address}: {problem}; {remedy}")]
    Socket {
        /// Field of the node file.
        field: &'static str,
        /// The address or path.
        address: String,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// A file of `api.tls` cannot be used, or is missing.
    #[error("{field}: {problem}; {remedy}")]
    Tls {
        /// Field of the node file.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

impl StartError {
    /// A file of the state directory that cannot be used.
    pub(crate) fn state(path: &Path, problem: impl ToString, remedy: impl Into<String>) -> Self {
        StartError::State { path: path.to_owned(), problem: problem.to_string(), remedy: remedy.into() }
    }

    /// An input or output error on the state directory.
    pub(crate) fn state_io(path: &Path, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "run as root, or give this user the directory",
            io::ErrorKind::StorageFull => "free space on that disk",
            io::ErrorKind::ReadOnlyFilesystem => "name a writable directory in `state`",
            _ => "name another directory in `state`, or mend this one",
        };
        StartError::state(path, error, remedy)
    }
}

fn lines(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
