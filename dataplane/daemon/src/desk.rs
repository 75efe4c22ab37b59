//! Asking a worker something.
//!
//! A job is a closure that runs on the worker between two bursts, over its own state, and is
//! small: whoever has much to ask asks often. Jobs travel by a bounded crossbeam channel, since
//! anyone may send one; packets never do.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use dpdk::Mbuf;

use crate::wake::Waker;

/// The engine's worker over DPDK's buffers.
pub(crate) type Worker = engine::Worker<Mbuf>;
/// Something to do between two bursts.
pub(crate) type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Jobs that may wait for a worker.
const JOBS: usize = 64;
/// How long an answer may take: a worker that does not answer for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where jobs for one worker are left.
#[derive(Clone)]
pub(crate) struct Desk {
    jobs: Sender<Job>,
    waker: Waker,
}

/// A desk and the worker's end of it.
pub(crate) fn desk(waker: Waker) -> (Desk, Receiver<Job>) {
    let (jobs, taken) = bounded(JOBS);
    (Desk { jobs, waker }, taken)
}

impl Desk {
    /// What `job` found out; `None` if the worker has ended or does not answer.
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = bounded(1);
        let job: Job = Box::new(move |worker| {
            // Whoever asked may have given up.
            let _ = answer.send(job(worker));
        });
        self.jobs.send_timeout(job, PATIENCE).ok()?;
        self.waker.wake();
        answered.recv_timeout(PATIENCE).ok()
    }
}
