//! The accepted configuration: read at start, changed by one writer at a time, watched by any number.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Change, Config, Error, Generation, Objects, Origin, Plan, PlannedChange, Warning, check};
use tokio::sync::watch;

use crate::state::{FILE_ORIGIN, StateDirectory, digest, read_directory};
use crate::{Gateway, StartError};

/// Most changed objects that are remembered for watchers.
const HISTORY: usize = 100_000;

/// The accepted configuration of every origin.
pub struct Store {
    inner: Mutex<Inner>,
    head: watch::Sender<Head>,
}

struct Inner {
    state: StateDirectory,
    head: Head,
    history: VecDeque<Arc<Remembered>>,
    remembered: usize,
    counts: [u64; 3],
}

/// The accepted configuration, and when each origin last changed.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The configuration.
    pub config: Arc<Config>,
    /// Generation of each origin's last change; an origin that was emptied stays listed.
    pub changed: Arc<BTreeMap<Origin, Generation>>,
}

/// One change that watchers can still be told.
pub(crate) struct Remembered {
    pub(crate) generation: Generation,
    pub(crate) origin: Origin,
    pub(crate) changes: Vec<PlannedChange>,
}

/// What an accepted change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The generation that holds it.
    pub generation: Generation,
    /// Objects created.
    pub created: u64,
    /// Objects replaced by different ones.
    pub replaced: u64,
    /// Objects deleted.
    pub deleted: u64,
}

impl Applied {
    /// Whether anything changed.
    pub fn changed(&self) -> bool {
        self.created + self.replaced + self.deleted > 0
    }
}

/// Why a change was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Objects do not go with each other.
    Invalid(Vec<Error>),
    /// The origin has changed since the generation that the change builds on.
    Stale(Vec<Error>),
    /// The gateway cannot hold it.
    DoesNotFit(Vec<Error>),
    /// It could not be written to disk.
    NotStored(Vec<Error>),
}

impl Refusal {
    /// Every fault.
    pub fn errors(&self) -> &[Error] {
        match self {
            Refusal::Invalid(errors)
            | Refusal::Stale(errors)
            | Refusal::DoesNotFit(errors)
            | Refusal::NotStored(errors) => errors,
        }
    }
}

impl Store {
    /// Reads what was accepted from `state`, and origin `file` from `directory`.
    ///
    /// # Errors
    /// A file cannot be used, or what they hold does not go together.
    pub fn open(state: &Path, directory: &Path) -> Result<(Store, Vec<Warning>), StartError> {
        let (objects, warnings) = read_directory(directory).map_err(StartError::Objects)?;
        let (state_directory, stored) = StateDirectory::open(state)?;
        let mut config = Config::default();
        let mut changed = BTreeMap::new();
        for one in stored {
            config.generation = config.generation.max(one.generation);
            changed.insert(one.origin.clone(), one.generation);
            if !one.objects.is_empty() {
                config.origins.insert(one.origin, one.objects);
            }
        }
        let file = Origin(FILE_ORIGIN.into());
        let (mark, known) = state_directory.file_mark();
        config.generation = config.generation.max(mark);
        let now = digest(&objects);
        if (mark, known) == Default::default() && objects.is_empty() {
            // There never was a file, and there is none.
        } else if known == now && mark > Generation(0) {
            changed.insert(file.clone(), mark);
        } else {
            config.generation = Generation(config.generation.0 + 1);
            changed.insert(file.clone(), config.generation);
            state_directory
                .set_file_mark(config.generation, now)
                .map_err(|error| StartError::state_io(state, &error))?;
        }
        if !objects.is_empty() {
            config.origins.insert(file.clone(), objects);
        }
        let errors = check(&config, Some(&file));
        if !errors.is_empty() {
            return Err(StartError::Objects(errors));
        }
        let head = Head { config: Arc::new(config), changed: Arc::new(changed) };
        let inner = Inner {
            state: state_directory,
            head: head.clone(),
            history: VecDeque::new(),
            remembered: 0,
            counts: [0; 3],
        };
        Ok((Store { inner: Mutex::new(inner), head: watch::Sender::new(head) }, warnings))
    }

    /// The accepted configuration.
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Tells of every new head.
    pub(crate) fn watch(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// How many changes were accepted, changed nothing, were refused.
    pub fn counts(&self) -> [u64; 3] {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change of `Inner` is complete before it can panic, so that a poisoned lock holds whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `change` to `origin`: merged, compiled, on disk and published, or refused. Blocks.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn apply(
        &self,
        gateway: &dyn Gateway,
        origin: &Origin,
        base: Option<Generation>,
        change: Change,
    ) -> Result<Applied, Refusal> {
        let mut inner = self.lock();
        let outcome = inner.apply(gateway, origin, base, change);
        let index = match &outcome {
            Ok(applied) if applied.changed() => 0,
            Ok(_) => 1,
            Err(_) => 2,
        };
        inner.counts[index] += 1;
        if index == 0 {
            self.head.send_replace(inner.head.clone());
        }
        outcome
    }

    /// What `change` would do, and whether it would be accepted. Blocks.
    pub fn plan(
        &self,
        gateway: &dyn Gateway,
        origin: &Origin,
        base: Option<Generation>,
        change: Change,
    ) -> (Plan, Option<Refusal>) {
        let head = self.head();
        let next = match head.next(origin, base, change) {
            Ok(next) => next,
            Err(refusal) => return (Plan::default(), Some(refusal)),
        };
        let plan = Plan::of(origin, &head.config, &next);
        let refusal = match plan.changes.is_empty() {
            true => None,
            false => gateway.plan(&next).err().map(Refusal::DoesNotFit),
        };
        (plan, refusal)
    }

    /// The changes after `generation` up to the head, oldest first; `None`: no longer, or not yet, known.
    pub(crate) fn since(&self, generation: Generation) -> Option<(Head, Vec<Arc<Remembered>>)> {
        let inner = self.lock();
        let head = inner.head.clone();
        let last = head.config.generation;
        let oldest = inner.history.front().map_or(last, |first| Generation(first.generation.0 - 1));
        if generation > last || generation < oldest {
            return None;
        }
        let changes = inner.history.iter().filter(|it| it.generation > generation).cloned().collect();
        Some((head, changes))
    }
}

impl Head {
    fn next(&self, origin: &Origin, base: Option<Generation>, change: Change) -> Result<Config, Refusal> {
        if let Some(base) = base {
            let last = self.changed.get(origin).copied().unwrap_or_default();
            if base < last || base > self.config.generation {
                let object = model::ObjectRef {
                    origin: Some(origin.clone()),
                    kind: "origin".to_owned(),
                    name: origin.to_string(),
                };
                return Err(Refusal::Stale(vec![Error::new(
                    object,
                    "baseGeneration",
                    base,
                    format!(
                        "the origin last changed at generation {last}, the gateway is at {}",
                        self.config.generation
                    ),
                    "read the configuration again and build the change on it",
                )]));
            }
        }
        self.config.apply(origin, change).map_err(Refusal::Invalid)
    }
}

impl Inner {
    fn apply(
        &mut self,
        gateway: &dyn Gateway,
        origin: &Origin,
        base: Option<Generation>,
        change: Change,
    ) -> Result<Applied, Refusal> {
        let config = self.head.next(origin, base, change)?;
        let generation = config.generation;
        let plan = Plan::of(origin, &self.head.config, &config);
        if plan.changes.is_empty() {
            return Ok(Applied { generation, ..Applied::default() });
        }
        let objects = config.origins.get(origin);
        let not_stored = |error: std::io::Error| {
            let object = model::ObjectRef {
                origin: Some(origin.clone()),
                kind: "origin".to_owned(),
                name: origin.to_string(),
            };
            let remedy = "free space or mend the state directory, and apply again";
            Refusal::NotStored(vec![Error::new(
                object,
                "",
                "",
                format!("cannot be written to disk: {error}"),
                remedy,
            )])
        };
        let prepared = self.state.prepare(origin, generation, objects, &plan.changes).map_err(not_stored)?;
        let config = Arc::new(config);
        if let Err(errors) = gateway.publish(config.clone()) {
            self.state.abort(prepared);
            return Err(Refusal::DoesNotFit(errors));
        }
        if let Err(error) = self.state.commit(prepared) {
            // The workers must not run what a restart would not bring back.
            if let Err(errors) = gateway.publish(self.head.config.clone()) {
                tracing::error!(?errors, "cannot go back to the last accepted configuration");
            }
            return Err(not_stored(error));
        }
        let mut changed = BTreeMap::clone(&self.head.changed);
        changed.insert(origin.clone(), generation);
        self.head = Head { config, changed: Arc::new(changed) };
        let count =
            |what: fn(&PlannedChange) -> bool| plan.changes.iter().filter(|it| what(it)).count() as u64;
        let applied = Applied {
            generation,
            created: count(|it| it.before.is_none()),
            deleted: count(|it| it.after.is_none()),
            replaced: count(|it| it.before.is_some() && it.after.is_some()),
        };
        self.remember(Remembered { generation, origin: origin.clone(), changes: plan.changes });
        Ok(applied)
    }

    fn remember(&mut self, change: Remembered) {
        self.remembered += change.changes.len();
        self.history.push_back(Arc::new(change));
        while self.remembered > HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.remembered -= oldest.changes.len();
        }
    }
}

/// The objects of one origin of a configuration; empty where it has none.
pub(crate) fn objects_of<'a>(config: &'a Config, origin: &Origin, empty: &'a Objects) -> &'a Objects {
    config.origins.get(origin).unwrap_or(empty)
}
