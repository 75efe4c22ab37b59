//! The loads, by name.

mod book;
mod churn;
mod connections;
mod errors;
mod established;
mod fragments;
mod hairpin;
mod mixed;
mod refused;

pub use book::Book;
pub use churn::NewFlows;
pub use connections::Connections;
pub use errors::Errors;
pub use established::{Established, Sizes};
pub use fragments::Fragments;
pub use hairpin::Hairpin;
pub use mixed::Mixed;
pub use refused::Refused;

use crate::draw::Flows;
use crate::load::Load;

/// Ticks that a session of `new` lives on.
pub const fn idle_ticks(nat: Nat) -> u32 {
    churn::lifetime(nat, false)
}

/// Which translation sessions have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// Inside hosts behind a pool.
    #[default]
    Snat,
    /// Remote clients to VIPs, balanced over backends.
    Dnat,
}

impl Nat {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Nat::Snat => "snat",
            Nat::Dnat => "dnat",
        }
    }
}

/// What a load is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Translation.
    pub nat: Nat,
    /// Sessions live in the timed part.
    pub sessions: u64,
    /// How flows are drawn.
    pub flows: Flows,
    /// Of a hundred packets of established sessions, how many are replies.
    pub replies: u64,
    /// Policies beside those needed.
    pub policies: u32,
    /// Routes beside those needed.
    pub routes: u32,
    /// Seed of all draws.
    pub seed: u64,
}

impl Recipe {
    /// Uniform draws, original direction.
    pub const fn new(nat: Nat, sessions: u64) -> Self {
        Recipe { nat, sessions, flows: Flows::Uniform, replies: 0, policies: 0, routes: 0, seed: 1 }
    }
}

/// Names of all loads; `expiring` has no packets and is measured by the bench itself.
pub const NAMES: [&str; 10] = [
    "established",
    "new",
    "expiring",
    "tcp",
    "fragments",
    "hairpin",
    "drops",
    "icmp-errors",
    "imix",
    "mixed",
];

/// A load by its name; `None` for `expiring` and names that are not in [`NAMES`].
pub fn by_name(name: &str, recipe: Recipe) -> Option<Box<dyn Load>> {
    Some(match name {
        "established" => Box::new(Established::new(recipe, Sizes::Smallest)),
        "imix" => Box::new(Established::new(recipe, Sizes::Imix)),
        "new" => Box::new(NewFlows::new(recipe)),
        "tcp" => Box::new(Connections::new(recipe)),
        "fragments" => Box::new(Fragments::new(recipe)),
        "hairpin" => Box::new(Hairpin::new(recipe)),
        "drops" => Box::new(Refused::new(recipe)),
        "icmp-errors" => Box::new(Errors::new(recipe)),
        "mixed" => Box::new(Mixed::new(recipe)),
        _ => return None,
    })
}
