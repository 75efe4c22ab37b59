//! Why backends fail their checks: what the last check found, for the API to show.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hoststack::{Finding, TargetKey};

/// Findings of unhealthy targets.
#[derive(Default)]
pub(crate) struct Findings {
    failing: Mutex<HashMap<TargetKey, Finding>>,
}

impl Findings {
    /// Notes a change.
    pub(crate) fn note(&self, target: &TargetKey, healthy: bool, finding: Finding) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if healthy {
            failing.remove(target);
        } else {
            failing.insert(target.clone(), finding);
        }
    }

    /// Forgets all but these targets.
    pub(crate) fn keep(&self, targets: &[TargetKey]) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.retain(|target, _| targets.contains(target));
    }

    /// What the last check of a failing target found.
    pub(crate) fn of(&self, target: &TargetKey) -> Option<Finding> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).get(target).copied()
    }
}
