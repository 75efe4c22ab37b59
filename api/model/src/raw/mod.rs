//! Objects as they are written: every field as text or number, nothing checked but names and types.
//!
//! YAML, JSON and the gRPC messages all become these before anything is judged, so that a fault is
//! found by the same code and named by the same field whichever door it came in by. A field that
//! is absent is `None` or an empty list; `parse` knows the defaults.

mod access;
mod balancer;
mod egress;
mod value;

pub use access::{AccessGuard, AccessPolicy, AccessRule, Route, StaticMapping, StaticSide};
pub use balancer::{Backend, HealthCheck, Http, LoadBalancer, ServicePort, SourceNat, Tcp, Udp};
pub use egress::{EgressPolicy, EgressPool, PortMatch, PrefixExcept, Quotas, Timeouts};
pub use value::{OneOrMany, Text};

/// What an object of any kind says, as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Outside addresses to translate to.
    EgressPool(EgressPool),
    /// Which traffic leaves, and how.
    EgressPolicy(EgressPolicy),
    /// Service addresses and their servers.
    LoadBalancer(LoadBalancer),
    /// A fixed mapping.
    StaticMapping(StaticMapping),
    /// Who may talk to whom.
    AccessPolicy(AccessPolicy),
    /// Prefixes whose sources need an access policy.
    AccessGuard(AccessGuard),
    /// A static route.
    Route(Route),
}
