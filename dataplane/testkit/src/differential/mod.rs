//! The gateway against the reference over random traffic: octet for octet, counter for counter.
//!
//! [`run`] feeds one stream of events to the reference and to one or more labs, and compares
//! what comes out after every event. Labs of 1, 2 and 4 workers must not differ at all.

mod answers;
mod kinds;
mod report;
mod run;
mod traffic;
pub mod world;

pub use report::Difference;
pub use run::{Options, Summary, run};
pub use traffic::{Event, Traffic};
