//! From an accepted Config to the snapshot that workers run.
//!
//! One lock serialises everyone who changes what the workers run: the API, health checks, and
//! time (a backend fills or has drained). The packet path never takes it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;
use model::{Config, Error, Generation, Name, Origin};
use nat::Tick;
use snapshot::{BackendKey, Health, NodeFacts, Snapshot, compile};

use crate::cell::Cell;
use crate::wake::Waker;

struct State {
    config: Arc<Config>,
    node: NodeFacts,
    health: Health,
    current: Arc<Snapshot>,
}

/// Compiles and publishes.
pub(crate) struct Publisher {
    state: Mutex<State>,
    /// Revision of `current`, to see a change without the lock.
    revision: AtomicU64,
    workers: Vec<(Arc<Cell>, Waker)>,
    retired: Receiver<Arc<Snapshot>>,
}

/// The first snapshot, of an empty Config.
///
/// # Errors
/// What is wrong with the node's own routes and ports.
pub(crate) fn first(node: &NodeFacts) -> Result<Arc<Snapshot>, Vec<Error>> {
    compile(&Config::default(), node, &Health::default(), None, Tick(0)).map(Arc::new)
}

impl Publisher {
    /// Over workers that all run `current`. Old snapshots come back by `retired`.
    pub(crate) fn new(
        node: NodeFacts,
        current: Arc<Snapshot>,
        workers: Vec<(Arc<Cell>, Waker)>,
        retired: Receiver<Arc<Snapshot>>,
    ) -> Self {
        let revision = AtomicU64::new(current.revision);
        let config = Arc::new(Config::default());
        let state = State { config, node, health: Health::default(), current };
        Publisher { state: Mutex::new(state), revision, workers, retired }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `config` what the workers run.
    ///
    /// # Errors
    /// It does not compile; the workers go on with what they had.
    pub(crate) fn publish(&self, config: Arc<Config>, now: Tick) -> Result<(), Vec<Error>> {
        let mut state = self.lock();
        let next = compile(&config, &state.node, &state.health, Some(&state.current), now)?;
        state.health.retain(|origin, name| {
            config.origins.get(origin).is_some_and(|objects| objects.load_balancers.contains_key(name))
        });
        state.config = config;
        self.offer(&mut state, next);
        Ok(())
    }

    /// Compiles `config` and forgets the result.
    ///
    /// # Errors
    /// It does not compile.
    pub(crate) fn plan(&self, config: &Config, now: Tick) -> Result<(), Vec<Error>> {
        let state = self.lock();
        compile(config, &state.node, &state.health, Some(&state.current), now).map(drop)
    }

    /// Takes in what checks found of backends.
    pub(crate) fn note_health(&self, found: &[(Origin, Name, BackendKey, bool)], now: Tick) {
        let mut state = self.lock();
        let mut changed = false;
        for (origin, name, backend, healthy) in found {
            changed |= state.health.note(origin, name, *backend, *healthy);
        }
        if changed {
            self.again(&mut state, now);
        }
    }

    /// Exactly these backends are unhealthy: what was noted of others, which are no longer checked,
    /// is forgotten, since nothing would ever take it back.
    pub(crate) fn set_unhealthy(
        &self,
        backends: impl Iterator<Item = (Origin, Name, BackendKey)>,
        now: Tick,
    ) {
        let mut health = Health::default();
        for (origin, name, backend) in backends {
            health.note(&origin, &name, backend, false);
        }
        let mut state = self.lock();
        if state.health != health {
            state.health = health;
            self.again(&mut state, now);
        }
    }

    /// Does what is due by time: drops what workers have moved on from, and compiles again when
    /// a backend fills further or has drained.
    pub(crate) fn tend(&self, now: Tick) {
        while let Ok(old) = self.retired.try_recv() {
            drop(old);
        }
        let mut state = self.lock();
        if state.current.next_change().is_some_and(|due| due.0 <= now.0) {
            self.again(&mut state, now);
        }
    }

    fn again(&self, state: &mut State, now: Tick) {
        match compile(&state.config, &state.node, &state.health, Some(&state.current), now) {
            Ok(next) => self.offer(state, next),
            // The same Config compiled before.
            Err(errors) => tracing::error!(?errors, "the running configuration does not compile again"),
        }
    }

    fn offer(&self, state: &mut State, next: Snapshot) {
        let next = Arc::new(next);
        for (cell, waker) in &self.workers {
            cell.offer(Arc::clone(&next));
            waker.wake();
        }
        self.revision.store(next.revision, Ordering::Release);
        state.current = next;
    }

    /// The snapshot last published.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock().current)
    }

    /// Its revision, without the lock.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The lowest generation that a worker runs.
    pub(crate) fn applied(&self) -> Generation {
        Generation(self.workers.iter().map(|(cell, _)| cell.generation()).min().unwrap_or(0))
    }

    /// The generation that one worker runs.
    pub(crate) fn generation(&self, worker: usize) -> Generation {
        Generation(self.workers.get(worker).map_or(0, |(cell, _)| cell.generation()))
    }
}
