//! `sluice.v1.Config`.

use std::pin::Pin;
use std::time::Duration;

use api::v1::apply_response::Outcome;
use api::v1::config_server::Config;
use api::v1::planned_change::Action;
use api::v1::refused::Reason;
use api::v1::{self, WatchResponse};
use api::{error_message, key_message, kind_of, object_message, warnings_messages};
use model::{Error, Generation, Object, Objects, Origin, PlannedChange};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Context;
use super::chunk::{chunks, next_chunk};
use super::incoming::{self, Incoming};
use crate::server::ended;
use crate::store::objects_of;
use crate::{Applied, Head, Refusal};

/// Most faults of one refusal that are listed.
const FAULTS: usize = 1000;

type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

pub(super) struct Service(pub(super) Context);

fn refused(refusal: &Refusal, generation: Generation) -> v1::Refused {
    let reason = match refusal {
        Refusal::Invalid(_) => Reason::Invalid,
        Refusal::Stale(_) => Reason::Stale,
        Refusal::DoesNotFit(_) => Reason::DoesNotFit,
        Refusal::NotStored(_) => Reason::NotStored,
    };
    let errors: &[Error] = refusal.errors();
    v1::Refused {
        reason: reason.into(),
        errors: errors.iter().take(FAULTS).map(error_message).collect(),
        generation: generation.0,
        more: errors.len() > FAULTS,
    }
}

fn accepted(applied: Applied) -> v1::Accepted {
    v1::Accepted {
        generation: applied.generation.0,
        changed: applied.changed(),
        created: applied.created,
        replaced: applied.replaced,
        deleted: applied.deleted,
    }
}

fn planned(change: &PlannedChange) -> v1::PlannedChange {
    let action = match (&change.before, &change.after) {
        (None, _) => Action::Create,
        (_, None) => Action::Delete,
        _ => Action::Replace,
    };
    v1::PlannedChange {
        action: action.into(),
        before: change.before.as_ref().map(object_message),
        after: change.after.as_ref().map(object_message),
        fields: change.fields(),
    }
}

#[tonic::async_trait]
impl Config for Service {
    async fn apply(
        &self,
        request: Request<Streaming<v1::ApplyRequest>>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let Incoming { origin, base, change } = incoming::read(request.into_inner()).await?;
        let (outcome, warnings) = self
            .0
            .blocking(move |context| match change {
                Err(errors) => (Err(Refusal::Invalid(errors)), Vec::new()),
                Ok((change, warnings)) => {
                    (context.store.apply(&*context.gateway, &origin, base, change), warnings)
                }
            })
            .await?;
        let outcome = match outcome {
            Ok(applied) => Outcome::Accepted(accepted(applied)),
            Err(refusal) => Outcome::Refused(refused(&refusal, self.0.store.head().config.generation)),
        };
        Ok(Response::new(v1::ApplyResponse {
            outcome: Some(outcome),
            warnings: warnings_messages(&warnings),
        }))
    }

    type PlanStream = Answers<v1::PlanResponse>;

    async fn plan(
        &self,
        request: Request<Streaming<v1::ApplyRequest>>,
    ) -> Result<Response<Self::PlanStream>, Status> {
        let Incoming { origin, base, change } = incoming::read(request.into_inner()).await?;
        let generation = self.0.store.head().config.generation;
        let (plan, refusal, warnings) = self
            .0
            .blocking(move |context| match change {
                Err(errors) => (model::Plan::default(), Some(Refusal::Invalid(errors)), Vec::new()),
                Ok((change, warnings)) => {
                    let (plan, refusal) = context.store.plan(&*context.gateway, &origin, base, change);
                    (plan, refusal, warnings)
                }
            })
            .await?;
        let first = v1::PlanResponse {
            changes: Vec::new(),
            refused: refusal.map(|refusal| refused(&refusal, generation)),
            warnings: warnings_messages(&warnings),
            generation: generation.0,
        };
        let rest = chunks(plan.changes.into_iter().map(|change| planned(&change)))
            .map(|changes| Ok(v1::PlanResponse { changes, ..v1::PlanResponse::default() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(std::iter::once(Ok(first)).chain(rest)))))
    }

    type GetStream = Answers<v1::GetResponse>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let request = request.into_inner();
        if request.kind != 0 && kind_of(request.kind).is_none() {
            return Err(Status::invalid_argument(format!("kind: {} is not a kind", request.kind)));
        }
        let head = self.0.store.head();
        let first = v1::GetResponse {
            generation: head.config.generation.0,
            origins: origin_states(&head),
            ..v1::GetResponse::default()
        };
        let origins: Vec<Origin> = head
            .config
            .origins
            .keys()
            .filter(|origin| request.origin.is_empty() || *origin.0 == *request.origin)
            .cloned()
            .collect();
        let generation = head.config.generation.0;
        let rest = origins.into_iter().flat_map(move |origin| {
            let objects = selected(&head, &origin, &request);
            chunks(objects.into_iter().map(|object| object_message(&object))).map(move |objects| {
                Ok(v1::GetResponse { generation, origins: Vec::new(), origin: origin.to_string(), objects })
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(std::iter::once(Ok(first)).chain(rest)))))
    }

    type WatchStream = Answers<WatchResponse>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let (sender, receiver) = mpsc::channel(4);
        let context = self.0.clone();
        tokio::spawn(async move {
            let stopped = ended(context.stopped.clone());
            let told = tell(&context, request, &sender);
            tokio::select! {
                () = stopped => {
                    let _ = sender.send(Err(Status::unavailable("the gateway is stopping"))).await;
                }
                () = told => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn wait_applied(
        &self,
        request: Request<v1::WaitAppliedRequest>,
    ) -> Result<Response<v1::WaitAppliedResponse>, Status> {
        let request = request.into_inner();
        let wanted = match request.generation {
            0 => self.0.store.head().config.generation,
            generation => Generation(generation),
        };
        let timeout = request.timeout.map_or(Ok(Duration::from_secs(30)), Duration::try_from);
        let timeout =
            timeout.map_err(|_| Status::invalid_argument("timeout: negative"))?.min(Duration::from_secs(600));
        let deadline = tokio::time::Instant::now() + timeout;
        let mut pause = Duration::from_micros(500);
        loop {
            let applied = self.0.gateway.applied();
            if applied >= wanted {
                return Ok(Response::new(v1::WaitAppliedResponse { generation: applied.0 }));
            }
            if *self.0.stopped.borrow() {
                return Err(Status::unavailable("the gateway is stopping"));
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(self.behind(wanted).await);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }
}

impl Service {
    async fn behind(&self, wanted: Generation) -> Status {
        let accepted = self.0.store.head().config.generation;
        if wanted > accepted {
            return Status::deadline_exceeded(format!(
                "generation {wanted} was not accepted yet: it is {accepted}"
            ));
        }
        let workers = self.0.blocking(|context| context.gateway.workers()).await.unwrap_or_default();
        let behind: Vec<String> = workers
            .iter()
            .filter(|worker| worker.generation < wanted)
            .map(|worker| format!("worker {} runs {}", worker.worker, worker.generation))
            .collect();
        Status::deadline_exceeded(format!(
            "generation {wanted} is not on every worker: {}",
            behind.join(", ")
        ))
    }
}

fn origin_states(head: &Head) -> Vec<v1::OriginState> {
    head.changed
        .iter()
        .map(|(origin, generation)| v1::OriginState {
            origin: origin.to_string(),
            generation: generation.0,
            objects: head.config.origins.get(origin).map_or(0, Objects::len) as u64,
        })
        .collect()
}

fn selected(head: &Head, origin: &Origin, request: &v1::GetRequest) -> Vec<Object> {
    let empty = Objects::default();
    let kind = kind_of(request.kind);
    objects_of(&head.config, origin, &empty)
        .iter()
        .filter(|object| kind.is_none_or(|kind| kind == object.kind()))
        .filter(|object| request.name.is_empty() || *object.name.0 == *request.name)
        .collect()
}

type Sender = mpsc::Sender<Result<WatchResponse, Status>>;

/// Tells a watcher of everything, or of what it missed, and then of each change. Ends when it has gone.
async fn tell(context: &Context, request: v1::WatchRequest, sender: &Sender) {
    let wanted = |origin: &Origin| request.origin.is_empty() || *origin.0 == *request.origin;
    let mut news = context.store.watch();
    let mut at = request.from_generation.map(Generation);
    loop {
        news.mark_unchanged();
        match at.and_then(|at| context.store.since(at)) {
            Some((head, changes)) => {
                for change in changes.iter().filter(|change| wanted(&change.origin)) {
                    let upserts = change.changes.iter().filter_map(|it| it.after.clone()).collect();
                    let gone = change.changes.iter().filter(|it| it.after.is_none());
                    let deletes = gone.map(|it| key_message(&it.key)).collect();
                    let about = (change.generation, &change.origin, false);
                    if !send(sender, about, upserts, deletes).await {
                        return;
                    }
                }
                at = Some(head.config.generation);
            }
            None => {
                let head = context.store.head();
                let empty = Objects::default();
                for origin in head.changed.keys().filter(|origin| wanted(origin)) {
                    let objects: Vec<Object> = objects_of(&head.config, origin, &empty).iter().collect();
                    let about = (head.config.generation, origin, true);
                    if !send(sender, about, objects, Vec::new()).await {
                        return;
                    }
                }
                at = Some(head.config.generation);
            }
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// Sends one change in chunks; whether the watcher still listens.
async fn send(
    sender: &Sender,
    (generation, origin, whole): (Generation, &Origin, bool),
    upserts: Vec<Object>,
    deletes: Vec<v1::ObjectKey>,
) -> bool {
    let mut left = upserts.into_iter();
    let mut deletes = Some(deletes);
    loop {
        let upserts = next_chunk(&mut left);
        let more = left.len() > 0;
        let message = WatchResponse {
            generation: generation.0,
            origin: origin.to_string(),
            whole,
            upserts,
            deletes: deletes.take_if(|_| !more).unwrap_or_default(),
            more,
        };
        if sender.send(Ok(message)).await.is_err() {
            return false;
        }
        if !more {
            return true;
        }
    }
}
