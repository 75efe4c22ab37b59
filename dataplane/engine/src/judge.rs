//! Policy: may a flow leave, and how. One function, for packets, for sessions after a change,
//! and for `explain`.

use std::sync::Arc;

use model::{FilteringBehavior, MappingBehavior, OnDeny, PoolingBehavior};
use nat::Pool;
use policy::{Access, Action};
use snapshot::Snapshot;
use wire::{Endpoint, Tuple};

use crate::reason::DropReason;

/// How a flow that may leave does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave<'a> {
    /// By a static mapping of its source.
    Static { outside: Endpoint },
    /// From a pool.
    Snat {
        pool: &'a Arc<Pool>,
        mapping: MappingBehavior,
        filtering: FilteringBehavior,
        pooling: PoolingBehavior,
    },
    /// As it is.
    Direct,
}

/// What policy says of a flow from an inside host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judgement<'a> {
    /// It may leave. `policy`: the EgressRule's place + 1, or 0 for none.
    Allow { leave: Leave<'a>, policy: u32, adopt: bool },
    /// It may not; whether the sender is told.
    Refuse { reason: DropReason, reject: bool },
}

/// Judges a flow by its key as the inside host sends it (towards a VIP: with the backend as
/// destination).
///
/// The EgressPolicy is chosen first and ends a flow that it denies; then every origin that has
/// AccessPolicies for the source must allow it; then the chosen action applies.
pub(crate) fn judge<'a>(snapshot: &'a Snapshot, key: &Tuple) -> Judgement<'a> {
    let (source, destination) = (key.source.address, key.destination.address);
    let number = snapshot.egress.judge_number(source, destination, key.protocol, key.destination.port);
    let chosen = number.and_then(|n| Some((n, snapshot.egress.rule(n)?)));
    if let Some((_, rule)) = chosen
        && rule.action == Action::Deny
    {
        let reject = rule.on_deny == OnDeny::Reject;
        return Judgement::Refuse { reason: DropReason::EgressDenied, reject };
    }
    match snapshot.access.judge(source, destination, key.protocol, key.destination.port) {
        Access::Free | Access::Allowed => {}
        Access::Denied => return Judgement::Refuse { reason: DropReason::PolicyDenied, reject: true },
        Access::Pending => return Judgement::Refuse { reason: DropReason::PolicyPending, reject: false },
    }
    let (number, rule) = match chosen {
        Some((number, rule)) => (number + 1, Some(rule)),
        None => (0, None),
    };
    let adopt = rule.is_some_and(|r| r.adopt_mid_stream);
    let fixed = snapshot.static_by_inside(key.protocol, key.source).map(|hit| hit.outside);
    match (rule.map(|r| r.action), fixed) {
        (Some(Action::Direct), _) => Judgement::Allow { leave: Leave::Direct, policy: number, adopt },
        (_, Some(outside)) => Judgement::Allow { leave: Leave::Static { outside }, policy: number, adopt },
        (Some(Action::Snat { pool, mapping, filtering, pooling }), None) => {
            match snapshot.pool(pool) {
                Some(pool) => {
                    let leave = Leave::Snat { pool, mapping, filtering, pooling };
                    Judgement::Allow { leave, policy: number, adopt }
                }
                // Fail closed: never another address.
                None => Judgement::Refuse { reason: DropReason::PolicyPending, reject: false },
            }
        }
        (Some(Action::Deny) | None, None) => {
            Judgement::Refuse { reason: DropReason::NoEgressPolicy, reject: true }
        }
    }
}
