//! Who may talk to whom, and how traffic leaves: EgressPolicies and AccessPolicies compiled so
//! that judging a flow costs two binary searches however many policies there are.
//!
//! Sources are cut into segments in which the same objects apply; a judgement finds the segment
//! and walks only those. Nothing is remembered between judgements and nothing is allocated by
//! one: compiled rules are immutable and shared by all workers. Judging is for the first packet
//! of a flow and for flows whose rules changed, never for established ones.
//! Pure: no I/O, no clock, no randomness.
#![forbid(unsafe_code)]

mod access;
mod egress;
mod explain;
mod interval;
mod ports;
mod segments;

pub use access::{Access, AccessInput, AccessRules, GuardInput};
pub use egress::{Action, EgressInput, EgressRule, EgressRules, PoolNumber};
pub use explain::{AccessExplained, EgressExplained, NoMatch, OriginExplained, Passed, PolicyExplained};
pub use interval::Judged;
pub use ports::PortSet;
