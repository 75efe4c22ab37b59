//! What the server asks of the gateway behind it.
//!
//! The daemon implements this over its workers. Every function may wait a little (a worker answers
//! between two bursts), so the server calls them on threads that may block.

mod question;
mod session;
mod status;

use std::sync::Arc;

use model::{Config, Error, Generation};

pub use question::{Explanation, Fate, Question, Step};
pub use session::{Endpoint, SessionCursor, SessionFilter, SessionKind, SessionPage, SessionStatus};
pub use status::{
    BackendLife, BackendStatus, DropCount, Identity, PoolStatus, PortStatus, Totals, VipStatus, WorkerStatus,
};

/// The gateway behind the API.
pub trait Gateway: Send + Sync + 'static {
    /// Compiles `config` and makes it what the workers run; returns once it is published, not yet run by all.
    ///
    /// # Errors
    /// It does not fit this gateway; the workers go on with what they had.
    fn publish(&self, config: Arc<Config>) -> Result<(), Vec<Error>>;

    /// Compiles `config` and forgets the result.
    ///
    /// # Errors
    /// It does not fit this gateway.
    fn plan(&self, config: &Config) -> Result<(), Vec<Error>>;

    /// The lowest generation that a worker runs. Answers at once: it is asked every few milliseconds.
    fn applied(&self) -> Generation;

    /// What is missing until the gateway serves: ports down, workers not running. `None`: nothing.
    fn not_ready(&self) -> Option<String>;

    /// Its name and how long it runs.
    fn identity(&self) -> Identity;

    /// Every worker, by number.
    fn workers(&self) -> Vec<WorkerStatus>;

    /// Sums over all workers.
    fn totals(&self) -> Totals;

    /// Every port.
    fn ports(&self) -> Vec<PortStatus>;

    /// Every pool.
    fn pools(&self) -> Vec<PoolStatus>;

    /// Every backend of every service port.
    fn backends(&self) -> Vec<BackendStatus>;

    /// Every service address and port.
    fn vips(&self) -> Vec<VipStatus>;

    /// Every drop reason, counted or not.
    fn drops(&self) -> Vec<DropCount>;

    /// Up to `most` sessions that `filter` selects, from `cursor` on.
    ///
    /// A page may be short or empty though there are more: then `next` is set. Each call looks at
    /// a bounded number of sessions, so that no worker is kept from its packets.
    fn sessions(&self, filter: &SessionFilter, cursor: SessionCursor, most: usize) -> SessionPage;

    /// How many sessions `filter` selects.
    fn count_sessions(&self, filter: &SessionFilter) -> u64;

    /// Ends the sessions that `filter` selects; how many there were.
    fn kill_sessions(&self, filter: &SessionFilter) -> u64;

    /// What would happen to a packet.
    ///
    /// # Errors
    /// The question makes no sense here, as a port that there is not; the text says so.
    fn explain(&self, question: &Question) -> Result<Explanation, String>;
}
