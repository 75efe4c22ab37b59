//! Handing a snapshot to a worker, and the old one back to the publisher.
//!
//! The publisher puts the new snapshot into each worker's cell and raises its number. A worker
//! compares one number between bursts; only when it rose does it take the lock, adopt, and
//! send the old one back, so that it never pays for freeing one and no burst sees two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;
use snapshot::Snapshot;

/// One worker's cell.
pub(crate) struct Cell {
    offered: AtomicU64,
    running: AtomicU64,
    generation: AtomicU64,
    next: Mutex<Option<Arc<Snapshot>>>,
    retired: Sender<Arc<Snapshot>>,
}

impl Cell {
    /// A cell of a worker that runs `snapshot` already. Old snapshots go to `retired`.
    pub(crate) fn new(snapshot: &Snapshot, retired: Sender<Arc<Snapshot>>) -> Self {
        Cell {
            offered: AtomicU64::new(snapshot.revision),
            running: AtomicU64::new(snapshot.revision),
            generation: AtomicU64::new(snapshot.generation.0),
            next: Mutex::new(None),
            retired,
        }
    }

    /// Publisher: the worker is to run this one from its next burst on.
    pub(crate) fn offer(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision;
        let skipped = self.next.lock().unwrap_or_else(PoisonError::into_inner).replace(snapshot);
        // Release: the worker that sees the number finds the snapshot.
        self.offered.store(revision, Ordering::Release);
        drop(skipped);
    }

    /// Worker: is there a newer one?
    #[inline]
    pub(crate) fn is_new(&self) -> bool {
        self.offered.load(Ordering::Relaxed) != self.running.load(Ordering::Relaxed)
    }

    /// Worker: adopts what was offered through `adopt`, which gives back the old one.
    pub(crate) fn take(&self, adopt: impl FnOnce(Arc<Snapshot>) -> Arc<Snapshot>) {
        let taken = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(snapshot) = taken else { return };
        let (revision, generation) = (snapshot.revision, snapshot.generation.0);
        let old = adopt(snapshot);
        self.generation.store(generation, Ordering::Release);
        self.running.store(revision, Ordering::Release);
        // The publisher drops it. When that one is gone, so is the program.
        let _ = self.retired.send(old);
    }

    /// Generation that the worker runs.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
