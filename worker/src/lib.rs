//! The worker: consumes chunks, makes a partial of each, publishes it, and acknowledges the chunk once that is confirmed.
//!
//! ```text
//! delivered --> body fetched, if claimed --> computing --> partial published --> confirmed --> acknowledged
//!                         '---------------------'-------> dead-lettered with its reason --^
//! ```
//!
//! Promises:
//!
//! * No chunk is acknowledged before its partial or its dead letter is confirmed.
//! * One chunk computes at a time, off the async threads, while earlier ones await their confirms. A chunk of a
//!   quarantine is held alone (`quarantine`).
//! * A panic of a kind dead-letters its chunk and does no other harm.
//! * A body that is missing or damaged in the blob store dead-letters its chunk. A body that was removed because its job
//!   ended does not: that chunk is acknowledged. While the store is down the worker keeps the chunk unacked and waits, so
//!   that its delivery count does not grow.
//! * On shutdown it gives waiting deliveries back, finishes the current chunk and returns, also while the broker is down.
//!
//! It does not know what a chunk holds.

pub mod faults;
mod pulse;
mod quarantine;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::blob::{BlobError, Blobs, patiently};
use autoconnect_common::broker::{BrokerError, Delivery, Queue, Subscription, subscribe_each};
use autoconnect_common::dead;
use autoconnect_common::kind::Kind;
use autoconnect_common::message::{self, Claim, MAX_JSON, Made, Message, Partial};
use autoconnect_common::program::{self, Failure};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::wait::or_pending;
use autoconnect_common::{Body, Broker, Chunk, Registry, Shutdown, machine};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinError;
use tokio::time::Instant;

use faults::{Faults, Killed, Point};
use pulse::Pulse;
use quarantine::Quarantine;

/// Why a worker ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The broker refuses our messages for good.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The thread that computes could not be joined; never for a panic of a kind, which is caught.
    #[error("the computing thread died")]
    Thread(#[source] JoinError),
    /// A test killed the worker.
    #[error(transparent)]
    Killed(#[from] Killed),
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name in `execution.json`, logs and the dashboard.
    pub name: String,
    /// How many unacked chunks it holds: one computes, the others wait for it or for their confirms.
    pub prefetch: u16,
    /// How long it may finish its unacked chunks after shutdown; the broker requeues the rest.
    pub grace: Duration,
    /// The blob store with the bodies that were too large for a message; without it, their chunks are dead.
    pub blobs: Option<Blobs>,
    /// For tests: the points at which the worker is killed.
    pub faults: Faults,
}

impl Config {
    /// A worker of that name. Its prefetch of 2 lets one chunk arrive while another computes; its grace of 20 seconds
    /// leaves time to close the connection within the usual 30 seconds before a kill.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            prefetch: 2,
            grace: Duration::from_secs(20),
            blobs: None,
            faults: Faults::default(),
        }
    }
}

/// What a worker did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Chunks whose partial was published and confirmed.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
    /// Chunks that were dead-lettered.
    pub buried: u64,
    /// Chunks whose body was removed because their job had ended.
    pub over: u64,
    /// The time spent computing.
    pub busy: Duration,
}

/// Runs the role as a program of a cluster: as the settings say, on RabbitMQ, until shutdown.
///
/// # Errors
/// [`Failure`].
pub async fn play(
    settings: &Settings,
    registry: impl Into<Arc<Registry>>,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let registry = registry.into();
    let settings::Worker { name, prefetch } = settings.load()?;
    let broker = program::connect_role(settings, &name, registry.formats())?;
    let blobs = settings.load::<settings::Blobs>()?.open();
    let config = Config {
        prefetch,
        blobs: Some(blobs.map_err(Failure::usage)?),
        ..Config::named(name)
    };
    tracing::info!(worker = config.name, "worker started");
    let worked = run(&broker, &registry, &config, shutdown).await;
    broker.close().await;
    let summary = worked.map_err(|error| Failure::of(&error))?;
    tracing::info!(worker = config.name, ?summary, "worker stopped");
    Ok(())
}

/// Consumes chunks and publishes partials until shutdown.
///
/// # Errors
/// [`WorkerError`]; the broker then requeues its unacked chunks.
pub async fn run<B: Broker>(
    broker: &B,
    registry: &Arc<Registry>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Summary, WorkerError> {
    let pulse = Pulse::default();
    tokio::select! {
        biased;
        worked = run_with(&pulse, broker, registry, config, shutdown) => worked,
        never = pulse.tell(broker, &config.name) => match never {},
    }
}

async fn run_with<B: Broker>(
    pulse: &Pulse,
    broker: &B,
    registry: &Arc<Registry>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Summary, WorkerError> {
    let mut sources = tokio::select! {
        biased;
        sources = subscribe_each(broker, sources(registry, config.prefetch)) => Some(sources?),
        () = shutdown.cancelled() => None,
    };
    let mut worker = Worker {
        broker,
        registry,
        name: config.name.as_str().into(),
        blobs: config.blobs.as_ref(),
        faults: &config.faults,
        pulse,
        computing: None,
        confirming: FuturesUnordered::new(),
        summary: Summary::default(),
    };
    let mut quarantine = Quarantine::of(registry);
    let mut leave = std::pin::pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(config.grace).await;
    });
    while sources.is_some() || !worker.is_idle() {
        let free = worker.computing.is_none();
        let suspected = quarantine.queue();
        tokio::select! {
            biased;
            () = shutdown.cancelled(), if sources.is_some() => sources = None,
            () = &mut leave => {
                tracing::warn!("left before the broker took everything; somebody else works it again");
                break;
            }
            Some(confirmed) = worker.confirming.next(), if !worker.confirming.is_empty() => {
                worker.note(confirmed?);
            }
            worked = or_pending(worker.computing.as_mut()) => {
                worker.computing = None;
                pulse.pause();
                worker.publish(worked.map_err(WorkerError::Thread)?);
            }
            () = quarantine.rest(), if suspected.is_none() && sources.is_some() => quarantine.look(),
            taken = or_pending(suspected.map(|queue| broker.take(queue))), if worker.is_idle() && sources.is_some() => match taken? {
                Some(delivery) => worker.compute(delivery),
                None => quarantine.found_none(),
            },
            delivery = next(&mut sources), if free && suspected.is_none() && sources.is_some() => match delivery {
                Some(delivery) => worker.compute(delivery),
                None => return Err(BrokerError::Closed.into()),
            },
        }
    }
    Ok(worker.summary)
}

/// The queues of chunks of every format that the worker knows, with the prefetch of each.
///
/// No other worker can work what it holds unacked, so it holds little: `prefetch` chunks of the newest version of each
/// kind, which producers publish now, and one of each older version.
fn sources(registry: &Registry, prefetch: u16) -> Vec<(Queue, u16)> {
    let formats = registry.formats().into_iter();
    let queues = formats.map(|format| {
        let newest = registry.newest(&format.kind).map(Kind::schema);
        let most = if newest == Some(format.schema) {
            prefetch
        } else {
            1
        };
        (Queue::Chunks(format), most)
    });
    queues.collect()
}

async fn next(sources: &mut Option<Subscription>) -> Option<Delivery> {
    sources.as_mut()?.next().await
}

/// The work on one delivery.
type Computing<'b> = BoxFuture<'b, Result<Worked, JoinError>>;

/// A worked delivery.
struct Worked {
    delivery: Delivery,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    /// The partial, and how many rows its chunk has.
    Partial(Message, u32),
    /// Why the chunk can never be worked.
    Buried(String),
    /// Its job has ended and its body is removed: nothing to publish.
    Over,
}

/// A settled delivery.
enum Confirmed {
    Chunk { rows: u32, took: Duration },
    Buried { took: Duration },
    Over,
}

struct Worker<'b, B> {
    broker: &'b B,
    registry: &'b Arc<Registry>,
    name: Arc<str>,
    blobs: Option<&'b Blobs>,
    faults: &'b Faults,
    pulse: &'b Pulse,
    computing: Option<Computing<'b>>,
    confirming: FuturesUnordered<BoxFuture<'b, Result<Confirmed, WorkerError>>>,
    summary: Summary,
}

impl<B: Broker> Worker<'_, B> {
    fn is_idle(&self) -> bool {
        self.computing.is_none() && self.confirming.is_empty()
    }

    fn compute(&mut self, delivery: Delivery) {
        self.pulse.begin(&delivery);
        let (registry, name) = (Arc::clone(self.registry), Arc::clone(&self.name));
        let worked = |delivery, body| {
            machine::block(move || {
                let start = Instant::now();
                let outcome = work(&registry, &name, &delivery, body)
                    .map_or_else(Outcome::Buried, |(partial, rows)| {
                        Outcome::Partial(partial, rows)
                    });
                Worked {
                    delivery,
                    outcome,
                    took: start.elapsed(),
                }
            })
        };
        let (broker, blobs) = (self.broker, self.blobs);
        self.computing = Some(match Claim::of(&delivery.message) {
            Ok(Some(claim)) => Box::pin(async move {
                match fetch(broker, blobs, &claim).await.transpose() {
                    Some(body) => worked(delivery, Some(body)).await,
                    None => Ok(Worked {
                        delivery,
                        outcome: Outcome::Over,
                        took: Duration::ZERO,
                    }),
                }
            }),
            // `work` reads the message again, and refuses it where it is malformed
            Ok(None) | Err(_) => Box::pin(worked(delivery, None)),
        });
    }

    fn publish(&mut self, worked: Worked) {
        self.confirming
            .push(Box::pin(settle(self.broker, self.faults, worked)));
    }

    fn note(&mut self, confirmed: Confirmed) {
        match confirmed {
            Confirmed::Chunk { rows, took } => {
                self.pulse.worked(rows, took);
                self.summary.chunks += 1;
                self.summary.rows += u64::from(rows);
                self.summary.busy += took;
            }
            Confirmed::Buried { took } => {
                self.pulse.buried(took);
                self.summary.buried += 1;
                self.summary.busy += took;
            }
            Confirmed::Over => self.summary.over += 1,
        }
    }
}

/// Fetches the body of a claim: `None` where its job has ended, a sentence where it can never be fetched. Waits while the
/// store is down.
async fn fetch<B: Broker>(
    broker: &B,
    blobs: Option<&Blobs>,
    claim: &Claim,
) -> Result<Option<Body>, String> {
    let Some(blobs) = blobs else {
        let bytes = claim.bytes;
        return Err(format!(
            "its body of {bytes} bytes is in a blob store, and this worker has none"
        ));
    };
    match patiently(&broker.health(), || blobs.get(claim)).await {
        Ok(body) => Ok(Some(body)),
        Err(BlobError::Ended { .. }) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Publishes the outcome of a chunk, awaits the confirm, and only then acknowledges the chunk.
async fn settle<B: Broker>(
    broker: &B,
    faults: &Faults,
    worked: Worked,
) -> Result<Confirmed, WorkerError> {
    faults.at(Point::Worked)?;
    let Worked {
        delivery,
        outcome,
        took,
    } = worked;
    let reason = match outcome {
        Outcome::Partial(partial, rows) => match broker.publish(partial).await {
            Ok(()) => {
                faults.at(Point::Confirmed)?;
                delivery.ack();
                faults.at(Point::Acknowledged)?;
                return Ok(Confirmed::Chunk { rows, took });
            }
            Err(BrokerError::Unsendable(reason)) => reason,
            Err(error) => return Err(error.into()),
        },
        Outcome::Buried(reason) => reason,
        Outcome::Over => {
            tracing::debug!(message = delivery.message.id, "its job has ended");
            delivery.ack();
            return Ok(Confirmed::Over);
        }
    };
    tracing::error!(message = delivery.message.id, reason, "chunk buried");
    let verdict = dead::dead_letter(broker, burial(&delivery, &reason)).await?;
    delivery.settle(verdict);
    Ok(Confirmed::Buried { took })
}

/// The dead letter of a delivery. It gets the type `chunk` whatever type it arrived with, so that a message from a queue
/// of chunks is never taken for a partial.
fn burial(delivery: &Delivery, reason: &str) -> Message {
    let mut message = delivery.message.clone();
    message.kind = "chunk".to_owned();
    message::bury(message, reason)
}

/// Makes the partial of a delivery, or a sentence that says why it cannot. `body` is the fetched body, if the message is a
/// claim.
fn work(
    registry: &Registry,
    worker: &str,
    delivery: &Delivery,
    body: Option<Result<Body, String>>,
) -> Result<(Message, u32), String> {
    let message = &delivery.message;
    if message.kind != "chunk" {
        let found: String = message.kind.chars().take(40).collect();
        return Err(format!("message type {found:?}, expected \"chunk\""));
    }
    let chunk = match body.transpose()? {
        Some(body) => Chunk::from_claim(message, body),
        None => Chunk::from_message(message),
    };
    let chunk = chunk.map_err(|error| error.to_string())?;
    let attempt = delivery.redeliveries;
    let _worker = tracing::debug_span!("worker", worker).entered();
    let _job = tracing::debug_span!("job", job_id = %chunk.job, kind = chunk.kind).entered();
    let _chunk = tracing::debug_span!("chunk", chunk = %chunk.seq, attempt).entered();
    let start = Instant::now();
    let json = compute(registry, &chunk)?;
    let took = start.elapsed();
    if json.get().len() > MAX_JSON {
        return Err(format!(
            "partial of {} bytes, expected at most {MAX_JSON}",
            json.get().len()
        ));
    }
    tracing::debug!(rows = chunk.rows, ?took, "chunk worked");
    let made = Made {
        worker: worker.to_owned(),
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        redeliveries: delivery.redeliveries,
    };
    let rows = chunk.rows;
    Ok((Partial::of(&chunk, json, made).to_message(), rows))
}

fn compute(registry: &Registry, chunk: &Chunk) -> Result<Box<serde_json::value::RawValue>, String> {
    let kind = registry.known(&chunk.kind, chunk.schema)?;
    // unwind safe: `work` is pure and shares no mutable state
    match catch_unwind(AssertUnwindSafe(|| kind.work(chunk))) {
        Ok(partial) => partial.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the worker panicked: {}", said(panic.as_ref()))),
    }
}

/// The message of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
