//! Plays the first act: cuts a job into chunks and publishes them, manifest last.
//!
//! [`run_job`] cuts one job; [`run`] serves the queue of requests, one job at a time; [`play`] does so as a program;
//! [`name_job`] makes a request that can be sent, [`job_id`] its job's name; [`name_unseen`] one whose input is
//! elsewhere. [`confine`] keeps requests inside one folder.
//!
//! Promises: at most [`WINDOW_MESSAGES`] messages or [`WINDOW_BYTES`] bytes are on their way to the broker; the manifest
//! is sent only after every chunk, annex and page of its seal is the broker's; the same request makes the same messages, so a job that was
//! cut short is simply cut again. It does not know what a chunk holds.

mod ahead;
pub mod confine;
mod held;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::broker::{
    BrokerError, Delivery, Queue, Subscription, Window, subscribe_each,
};
use autoconnect_common::chunk::MAX_BODY;
use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::kind::{Cut, Kind};
use autoconnect_common::message::{
    Annex, Event, JobRequest, MAX_NAME, Manifest, Message, SealPage, Status, bury_request,
};
use autoconnect_common::program::{self, Failure};
use autoconnect_common::results::Accept;
use autoconnect_common::seal::{Gathered, Seal};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{
    Body, Broker, Chunk, CutError, Digest, Fate, Format, JobId, JobKind, Outlet, Registry,
    Shutdown, machine,
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use ahead::Ahead;
use held::{Held, Talk};
use tokio::time::Instant;

/// The most messages on their way to the broker.
pub const WINDOW_MESSAGES: usize = 16;
/// The most bytes of bodies on their way to the broker (but for one message alone).
pub const WINDOW_BYTES: usize = 4 << 20;
/// How many items wait between `cut` and the window.
const OUTLET_ITEMS: usize = 4;
/// How often whoever listens is told how far a cut is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Events of the job in hand that wait to be read.
const EVENTS: u16 = 16;

/// Why a job was not cut to its end. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// The cut did not reach its end.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// No program here knows that kind of job, or not that version of it. One sentence.
    #[error("{0}")]
    UnknownKind(String),
    /// The kind broke its own contract; a bug in it.
    #[error("cut of kind {kind}: {what}")]
    Broken {
        /// The kind.
        kind: &'static str,
        /// What it did, and what was expected.
        what: String,
    },
    /// The broker does not take our messages.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl ProducerError {
    /// Whether the same request may work later, or never will.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Broker(BrokerError::Closed | BrokerError::Refused(_))
            | Self::Cut(CutError::Cancelled) => Fate::Again,
            _ => Fate::Bury,
        }
    }
}

/// The name of a job: `<kind>-<32 hexadecimal digits>` of everything that can change a byte of its chunks, and of `run`
/// where a job is asked for anew.
///
/// # Errors
/// [`CutError::Refused`] for a request that is not this kind's or an input that cannot be read.
pub fn job_id(kind: &dyn Kind, request: &RawValue, run: Option<&str>) -> Result<JobId, CutError> {
    named(kind, request, &kind.fingerprint(request)?, run)
}

/// A request for a job of the kind `K`, under the name that [`job_id`] gives it.
///
/// # Errors
/// [`ProducerError::UnknownKind`] where `registry` lacks it, [`CutError::Refused`] as [`job_id`].
pub fn name_job<K: JobKind>(
    registry: &Registry,
    request: &K::Request,
    run: Option<&str>,
) -> Result<JobRequest, ProducerError> {
    let kind = known(registry, K::NAME, K::SCHEMA)?;
    let request = as_json::<K>(request)?;
    let fingerprint = kind.fingerprint(&request)?;
    Ok(JobRequest {
        job: named(kind, &request, &fingerprint, run)?,
        kind: K::NAME.to_owned(),
        fingerprint: can_be_read_twice(kind, &request)?.then_some(fingerprint),
        schema: kind.schema(),
        request,
        accept: Accept::default(),
    })
}

/// As [`name_job`], for an input that only the cluster's producer sees: the name is made of `run` alone, which no other
/// request has.
///
/// # Errors
/// [`CutError::Refused`] for a request that cannot be sent.
pub fn name_unseen<K: JobKind>(request: &K::Request, run: &str) -> Result<JobRequest, CutError> {
    Ok(JobRequest {
        job: spelt(K::NAME, run)?,
        kind: K::NAME.to_owned(),
        schema: K::SCHEMA,
        request: as_json::<K>(request)?,
        fingerprint: None,
        accept: Accept::default(),
    })
}

fn as_json<K: JobKind>(request: &K::Request) -> Result<Box<RawValue>, CutError> {
    serde_json::value::to_raw_value(request)
        .map_err(|error| CutError::Refused(format!("a path that is not UTF-8: {error}")))
}

fn named(
    kind: &dyn Kind,
    request: &RawValue,
    fingerprint: &Digest,
    run: Option<&str>,
) -> Result<JobId, CutError> {
    let (name, schema, request) = (kind.name(), kind.schema(), request.get());
    let run = run.unwrap_or_default();
    spelt(
        name,
        &format!("{name}\n{schema}\n{fingerprint}\n{request}\n{run}"),
    )
}

/// `<kind>-<digits of all>`.
fn spelt(kind: &str, all: &str) -> Result<JobId, CutError> {
    let id = format!("{kind}-{}", Digest::of(all.as_bytes()).short(32));
    id.parse()
        .map_err(|error| CutError::Refused(format!("kind {kind}: {error}")))
}

/// Whether every input of a request is there for a second attempt; standard input is not.
fn can_be_read_twice(kind: &dyn Kind, request: &RawValue) -> Result<bool, CutError> {
    let inputs = kind.inputs(request)?;
    Ok(!inputs.iter().any(|input| input.as_os_str() == "-"))
}

/// The fingerprint of a request's input as it is now; none where it cannot be read twice.
async fn fingerprint(
    registry: &Arc<Registry>,
    request: &JobRequest,
) -> Result<Option<Digest>, ProducerError> {
    let (registry, kind, schema) = (Arc::clone(registry), request.kind.clone(), request.schema);
    let request = request.request.clone();
    let look = machine::block(move || {
        let kind = known(&registry, &kind, schema)?;
        Ok(match can_be_read_twice(kind, &request)? {
            true => Some(kind.fingerprint(&request)?),
            false => None,
        })
    });
    look.await.unwrap_or(Err(CutError::Cancelled.into()))
}

/// When an input changed that is not the one its job was named from.
const SINCE_ASKED: &str = "since the job was asked for";

/// Refuses the input of `request` where it is not the one it was before.
fn refuse_change(
    registry: &Registry,
    request: &JobRequest,
    before: Option<Digest>,
    now: Option<Digest>,
    since: &str,
) -> Result<(), ProducerError> {
    match (before, now) {
        (Some(before), Some(now)) if before != now => {
            let kind = known(registry, &request.kind, request.schema)?;
            let input = match &kind.inputs(&request.request)?[..] {
                [input] => format!("{}: the input", input.display()),
                inputs => format!("one of {} inputs", inputs.len()),
            };
            let sentence = format!("{input} changed {since}: ask for the job again");
            Err(CutError::Refused(sentence).into())
        }
        _ => Ok(()),
    }
}

fn known<'r>(
    registry: &'r Registry,
    kind: &str,
    schema: u32,
) -> Result<&'r dyn Kind, ProducerError> {
    let known = registry.known(kind, schema);
    known.map_err(ProducerError::UnknownKind)
}

/// Cuts one job and publishes all of it; returns the manifest once the broker has it.
///
/// `threads` is how many threads the cut may use; the chunks do not depend on it. A manifest with a
/// [`refusal`](Manifest::refusal) ends the job without a report; it is sent as well where the cut failed after something
/// was published, and the error is returned.
///
/// # Errors
/// [`ProducerError`]. Told to stop, it sends no manifest and returns [`CutError::Cancelled`].
pub async fn run_job<B: Broker>(
    broker: &B,
    registry: &Arc<Registry>,
    request: &JobRequest,
    threads: usize,
    progress: Arc<Progress>,
    shutdown: &Shutdown,
) -> Result<Manifest, ProducerError> {
    let job = Job::new(registry, request)?;
    run_to_end(job, broker, registry, threads, progress, shutdown).await
}

async fn run_to_end<B: Broker>(
    mut job: Job<'_>,
    broker: &B,
    registry: &Arc<Registry>,
    threads: usize,
    progress: Arc<Progress>,
    shutdown: &Shutdown,
) -> Result<Manifest, ProducerError> {
    tokio::select! {
        biased;
        manifest = job.run(broker, registry, threads, progress, shutdown) => manifest,
        () = shutdown.cancelled() => Err(CutError::Cancelled.into()),
    }
}

/// One job on its way through this producer.
struct Job<'r> {
    request: &'r JobRequest,
    kind: &'static str,
    schema: u32,
    start: Instant,
    /// What was put, for the seal of the cut.
    put: Gathered,
    /// Bytes of chunks that were put.
    bytes: u64,
    /// How far the job may run ahead of the reducer; as far as the queue lets it where nobody listens to that.
    ahead: Option<Arc<Ahead>>,
}

impl<'r> Job<'r> {
    fn new(registry: &Registry, request: &'r JobRequest) -> Result<Self, ProducerError> {
        let kind = known(registry, &request.kind, request.schema)?;
        Ok(Self {
            request,
            kind: kind.name(),
            schema: kind.schema(),
            start: Instant::now(),
            put: Gathered::default(),
            bytes: 0,
            ahead: None,
        })
    }

    async fn run<B: Broker>(
        &mut self,
        broker: &B,
        registry: &Arc<Registry>,
        threads: usize,
        progress: Arc<Progress>,
        shutdown: &Shutdown,
    ) -> Result<Manifest, ProducerError> {
        match self
            .cut_unchanged(broker, registry, threads, progress, shutdown)
            .await
        {
            Ok(cut) => self.conclude(broker, cut).await,
            Err(error) => {
                if error.fate() == Fate::Bury && self.put.chunks() + self.put.pages() > 0 {
                    send(broker, &self.refused(error.to_string())).await?;
                }
                Err(error)
            }
        }
    }

    /// Cuts the input, if it is and stays what it was when the job was named.
    async fn cut_unchanged<B: Broker>(
        &mut self,
        broker: &B,
        registry: &Arc<Registry>,
        threads: usize,
        progress: Arc<Progress>,
        shutdown: &Shutdown,
    ) -> Result<Cut<Box<RawValue>>, ProducerError> {
        let before = fingerprint(registry, self.request).await?;
        refuse_change(
            registry,
            self.request,
            self.request.fingerprint,
            before,
            SINCE_ASKED,
        )?;
        let cut = self.cut_and_publish(broker, registry, threads, progress, shutdown);
        let cut = cut.await?;
        let after = fingerprint(registry, self.request).await?;
        refuse_change(registry, self.request, before, after, "while it was cut")?;
        Ok(cut)
    }

    async fn cut_and_publish<B: Broker>(
        &mut self,
        broker: &B,
        registry: &Arc<Registry>,
        threads: usize,
        progress: Arc<Progress>,
        shutdown: &Shutdown,
    ) -> Result<Cut<Box<RawValue>>, ProducerError> {
        // dropped with this future, it stops the cut as well
        let stop_cut = shutdown.child_token();
        let _guard = stop_cut.clone().drop_guard();
        let request = self.request;
        let job = request.job.clone();
        let told = Arc::clone(&progress);
        let (outlet, items) = Outlet::new(job, OUTLET_ITEMS, threads, progress, stop_cut);
        let cut = {
            let registry = Arc::clone(registry);
            let (kind, schema, request) = (self.kind, self.schema, request.request.clone());
            machine::block(move || {
                registry
                    .get(kind, schema)
                    .map(|kind| kind.cut(&request, &outlet))
                    .unwrap_or(Err(CutError::Cancelled))
            })
        };
        tokio::select! {
            biased;
            published = self.publish_all(broker, items) => published?,
            never = tell_progress(broker, &request.job, &told) => match never {},
        }
        cut.await
            .map_err(|death| self.broken(format!("it died: {death}")))?
            .map_err(ProducerError::from)
    }

    async fn publish_all<B: Broker>(
        &mut self,
        broker: &B,
        mut items: mpsc::Receiver<Item>,
    ) -> Result<(), ProducerError> {
        let mut window = Window::new(broker, WINDOW_MESSAGES, WINDOW_BYTES);
        loop {
            // what is on its way only moves while it is polled
            let item = tokio::select! {
                biased;
                settled = window.settle_one(), if !window.is_empty() => {
                    settled?;
                    continue;
                }
                item = items.recv() => item,
            };
            let Some(item) = item else { break };
            let is_chunk = matches!(item, Item::Chunk { .. });
            let message = self.message(item)?;
            if is_chunk {
                self.wait_for_room(&mut window).await?;
                self.bytes += message.body.len() as u64;
            }
            window.publish(message).await?;
        }
        Ok(window.drain().await?)
    }

    /// Waits while too much of the job is not merged yet.
    async fn wait_for_room<B: Broker>(
        &mut self,
        window: &mut Window<'_, B>,
    ) -> Result<(), BrokerError> {
        while let Some(ahead) = &self.ahead {
            tokio::select! {
                biased;
                goes_on = ahead.room(self.put.chunks(), self.bytes) => {
                    if !goes_on {
                        self.ahead = None;
                    }
                    break;
                }
                settled = window.settle_one(), if !window.is_empty() => settled?,
            }
        }
        Ok(())
    }

    /// Gives an item its job. The digest of a chunk of the usual size takes about a tenth of a millisecond: less than
    /// handing it to another thread would be worth.
    fn message(&mut self, item: Item) -> Result<Message, ProducerError> {
        let (Item::Chunk { body, .. } | Item::Annex { body, .. }) = &item;
        if body.len() > MAX_BODY {
            return Err(self.broken(format!(
                "it put an item of {} bytes, expected at most {MAX_BODY}",
                body.len()
            )));
        }
        let (job, kind) = (self.request.job.clone(), self.kind.to_owned());
        Ok(match item {
            Item::Chunk {
                seq,
                key,
                rows,
                body,
            } => {
                let (schema, body) = (self.schema, Body::from(body));
                let put = self.put.chunk(seq, &body.digest());
                put.map_err(|what| self.broken(what))?;
                tracing::debug!(job_id = %job, kind, chunk = %seq, rows, "chunk cut");
                Chunk {
                    job,
                    kind,
                    schema,
                    seq,
                    key,
                    rows,
                    body,
                }
                .to_message()
            }
            Item::Annex { name, page, body } => {
                let body = Body::from(body);
                let put = self.put.page(name, page, &body.digest());
                put.map_err(|what| self.broken(what))?;
                Annex {
                    job,
                    kind,
                    schema: self.schema,
                    name: name.to_owned(),
                    page,
                    body,
                }
                .to_message()
            }
        })
    }

    async fn conclude<B: Broker>(
        &self,
        broker: &B,
        cut: Cut<Box<RawValue>>,
    ) -> Result<Manifest, ProducerError> {
        if let Err(error) = self.check_counts(&cut) {
            send(broker, &self.refused(error.to_string())).await?;
            return Err(error);
        }
        let refused = cut.refusal.is_some();
        let chunks = if refused { Vec::new() } else { cut.chunks };
        let seal = self.seal(broker, &chunks, &cut.annexes).await?;
        let manifest = Manifest {
            chunks,
            annexes: cut.annexes,
            seal: Some(seal),
            facts: (!refused).then_some(cut.facts),
            ..self.refused_because(cut.refusal)
        };
        send(broker, &manifest).await?;
        Ok(manifest)
    }

    /// Seals the cut; the pages of the seal, if it has any, are the broker's then.
    async fn seal<B: Broker>(
        &self,
        broker: &B,
        chunks: &[u32],
        annexes: &BTreeMap<String, u32>,
    ) -> Result<Seal, ProducerError> {
        let entries = self.put.entries(chunks, annexes);
        let (seal, pages) = Seal::of(&entries.map_err(|what| self.broken(what))?);
        let mut window = Window::new(broker, WINDOW_MESSAGES, WINDOW_BYTES);
        for (page, body) in (0..).zip(pages) {
            let page = SealPage {
                job: self.request.job.clone(),
                kind: self.kind.to_owned(),
                schema: self.schema,
                seal: seal.digest,
                page,
                body: body.into(),
            };
            window.publish(page.to_message()).await?;
        }
        window.drain().await?;
        Ok(seal)
    }

    /// A manifest that promises what was never put would leave the reducer waiting forever.
    fn check_counts(&self, cut: &Cut<Box<RawValue>>) -> Result<(), ProducerError> {
        let sum = |counts: &mut dyn Iterator<Item = u32>| counts.map(u64::from).sum::<u64>();
        let chunks = sum(&mut cut.chunks.iter().copied());
        let pages = sum(&mut cut.annexes.values().copied());
        let put = (self.put.chunks(), self.put.pages());
        if (chunks, pages) != put {
            return Err(self.broken(format!(
                "it says {chunks} chunks and {pages} pages, and put {} and {}",
                put.0, put.1
            )));
        }
        let entries = self.put.entries(&cut.chunks, &cut.annexes);
        entries.map(drop).map_err(|what| self.broken(what))
    }

    fn refused(&self, why: String) -> Manifest {
        self.refused_because(Some(why))
    }

    fn refused_because(&self, refusal: Option<String>) -> Manifest {
        Manifest {
            job: self.request.job.clone(),
            kind: self.kind.to_owned(),
            schema: self.schema,
            chunks: Vec::new(),
            annexes: Default::default(),
            seal: None,
            facts: None,
            refusal,
            cut_ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            accept: self.request.accept,
        }
    }

    fn broken(&self, what: String) -> ProducerError {
        ProducerError::Broken {
            kind: self.kind,
            what,
        }
    }
}

/// Tells whoever listens how far the cut of `job` is, now and then.
async fn tell_progress<B: Broker>(
    broker: &B,
    job: &JobId,
    progress: &Progress,
) -> std::convert::Infallible {
    for stamp in 0.. {
        let event = Event::Cut {
            job: job.clone(),
            rows: progress.rows(),
            read: progress.read(),
            size: progress.total(),
        };
        // what is wrong with the broker is said by whoever publishes the chunks
        if let Ok(message) = event.to_message(stamp) {
            let _lost = broker.publish(message).await;
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
    std::future::pending().await
}

async fn send<B: Broker>(broker: &B, manifest: &Manifest) -> Result<(), BrokerError> {
    broker.publish(written(manifest.to_message())?).await
}

fn written(message: Result<Message, serde_json::Error>) -> Result<Message, BrokerError> {
    message.map_err(|error| BrokerError::Unsendable(format!("message as JSON: {error}")))
}

/// How [`run`] serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How many threads a cut may use.
    pub threads: usize,
    /// The folder that every input must be in; anywhere where absent.
    pub data: Option<PathBuf>,
}

/// What a serving producer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs cut to their end.
    pub jobs: u64,
    /// Requests refused.
    pub refused: u64,
    /// Jobs that ended without a report while they were cut: cancelled, or failed.
    pub stopped: u64,
}

/// Plays the role as a program of a cluster: as the settings say, on RabbitMQ, until told to stop. `first` is asked for
/// before anything else; it waits in the queue of requests like any other job.
///
/// # Errors
/// [`Failure`].
pub async fn play(
    settings: &Settings,
    registry: Arc<Registry>,
    first: Option<JobRequest>,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let settings::Producer { threads, data, .. } = settings.load()?;
    let config = Config { threads, data };
    let broker = program::connect_role(settings, "producer", registry.formats())?;
    tracing::info!(threads, "producer started");
    let served = async {
        if let Some(request) = first {
            let first = broker.publish(written(request.to_message())?);
            // the broker may be away
            tokio::select! {
                biased;
                sent = first => sent?,
                () = shutdown.cancelled() => {}
            }
        }
        run(&broker, &registry, &config, shutdown).await
    };
    let served = served.await;
    broker.close().await;
    let summary = served.map_err(|error| Failure::of(&error))?;
    tracing::info!(?summary, "producer stopped");
    Ok(())
}

/// Serves requests for jobs, one at a time, until told to stop: a request is acknowledged once its manifest is the
/// broker's, or once the reducer has it in its journal where the cut takes long. A request that can never work is refused
/// with its reason, told to whoever listens, and done with; one whose job has ended, or ends while it is cut, is done with
/// as well. One that cannot be read goes to the dead queue of requests.
///
/// # Errors
/// [`ProducerError::Broker`] where the broker does not take our messages.
pub async fn run<B: Broker>(
    broker: &B,
    registry: &Arc<Registry>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Summary, ProducerError> {
    let mut summary = Summary::default();
    let mut requests = None;
    loop {
        let delivery = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(summary),
            delivery = next(broker, registry, &mut requests) => delivery?,
        };
        let request = match JobRequest::from_message(&delivery.message) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "request for a job is dead");
                summary.refused += 1;
                let dead = bury_request(delivery.message.clone(), &error.to_string());
                broker.publish(dead).await?;
                delivery.ack();
                continue;
            }
        };
        let was_taken_before = delivery.redeliveries > 0;
        let mut held = Held::new(delivery, &mut requests);
        let server = Server {
            broker,
            registry,
            config,
            shutdown,
        };
        match server.serve(request, was_taken_before, &mut held).await {
            Ok(Served::Cut) => summary.jobs += 1,
            Ok(Served::Stopped) => summary.stopped += 1,
            Err(Unserved { error, .. }) if error.fate() == Fate::Bury => summary.refused += 1,
            Err(Unserved { error, request }) => {
                held.give_back(broker, request).await;
                return match error {
                    ProducerError::Cut(CutError::Cancelled) => Ok(summary),
                    error => Err(error),
                };
            }
        }
        held.done();
    }
}

/// The next request; the queues are entered anew where they were left.
async fn next<B: Broker>(
    broker: &B,
    registry: &Registry,
    requests: &mut Option<Subscription>,
) -> Result<Delivery, BrokerError> {
    let requests = match requests {
        Some(requests) => requests,
        None => requests.insert(subscribe_each(broker, queues(registry.formats())).await?),
    };
    requests.next().await.ok_or(BrokerError::Closed)
}

/// The queues of requests for these formats, another one first each time. The first request of each is
/// handed to us at once; where one kills us the others are returned with it, and must be served before that happens too often.
fn queues(mut formats: Vec<Format>) -> impl Iterator<Item = (Queue, u16)> {
    let first = machine::random() % formats.len().max(1) as u64;
    formats.rotate_left(usize::try_from(first).unwrap_or(0));
    formats.into_iter().map(|format| (Queue::Jobs(format), 1))
}

/// What became of a request.
enum Served {
    /// Its job was cut to its end.
    Cut,
    /// Its job need not be cut any further.
    Stopped,
}

/// A request that was not served, and what to send for somebody else to do so.
struct Unserved {
    error: ProducerError,
    request: Option<Message>,
}

impl<E: Into<ProducerError>> From<E> for Unserved {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            request: None,
        }
    }
}

/// A producer that serves.
struct Server<'s, B> {
    broker: &'s B,
    registry: &'s Arc<Registry>,
    config: &'s Config,
    shutdown: &'s Shutdown,
}

impl<B: Broker> Server<'_, B> {
    async fn serve(
        &self,
        mut request: JobRequest,
        was_taken_before: bool,
        held: &mut Held<'_>,
    ) -> Result<Served, Unserved> {
        tracing::info!(job_id = %request.job, kind = name(&request.kind), "cutting a job");
        let prepared = tokio::select! {
            biased;
            prepared = self.prepare(&request) => prepared,
            () = self.shutdown.cancelled() => return Err(CutError::Cancelled.into()),
        };
        match prepared {
            Ok(fingerprint) => {
                request.fingerprint = fingerprint;
                let talk = Talk::new(self.broker, request, was_taken_before)?;
                let served = self.cut(&talk, held).await;
                served.map_err(|error| Unserved {
                    error,
                    request: talk.request().to_message().ok(),
                })
            }
            Err(error) => Err(self.refuse(&request, error).await?.into()),
        }
    }

    /// Looks at the input, which must be where it must be and what it was when the job was named.
    async fn prepare(&self, request: &JobRequest) -> Result<Option<Digest>, ProducerError> {
        if let Some(data) = self.config.data.clone() {
            let inputs =
                known(self.registry, &request.kind, request.schema)?.inputs(&request.request)?;
            machine::block(move || confine::check(&inputs, &data))
                .await
                .unwrap_or(Err(CutError::Cancelled))?;
        }
        let now = fingerprint(self.registry, request).await?;
        refuse_change(
            self.registry,
            request,
            request.fingerprint,
            now,
            SINCE_ASKED,
        )?;
        Ok(now)
    }

    /// Cuts a job, unless and until the reducer says that it need not be.
    async fn cut(&self, talk: &Talk<'_, B>, held: &mut Held<'_>) -> Result<Served, ProducerError> {
        let request = talk.request();
        let job = Job {
            ahead: Some(Arc::clone(&talk.ahead)),
            ..Job::new(self.registry, request)?
        };
        let cut = async {
            talk.ask_first().await;
            let (threads, progress) = (self.config.threads, Arc::default());
            run_to_end(
                job,
                self.broker,
                self.registry,
                threads,
                progress,
                self.shutdown,
            )
            .await
        };
        let cut = tokio::select! {
            biased;
            cut = cut => cut,
            () = self.shutdown.cancelled() => Err(CutError::Cancelled.into()),
            stop = talk.listen() => {
                tracing::warn!(job_id = %request.job, why = ?stop?, "the job need not be cut any further");
                return Ok(Served::Stopped);
            }
            unsaid = talk.say() => match unsaid? {},
            never = talk.leave(held) => match never {},
        };
        match cut {
            Ok(manifest) => {
                let chunks = manifest.seqs().count();
                tracing::info!(job_id = %request.job, chunks, refusal = manifest.refusal, "job cut");
                Ok(Served::Cut)
            }
            Err(error) => Err(self.refuse(request, error).await?),
        }
    }

    /// Ends a job that can never be cut; the reason is given back.
    async fn refuse(
        &self,
        request: &JobRequest,
        error: ProducerError,
    ) -> Result<ProducerError, BrokerError> {
        if error.fate() == Fate::Bury {
            tracing::error!(job_id = %request.job, %error, "job refused");
            tell(self.broker, self.registry, request, &error).await?;
        }
        Ok(error)
    }
}

/// Ends a job that was refused: by a manifest, or, of a kind nobody knows, by the event alone.
async fn tell<B: Broker>(
    broker: &B,
    registry: &Registry,
    request: &JobRequest,
    error: &ProducerError,
) -> Result<(), BrokerError> {
    match Job::new(registry, request) {
        Ok(job) => send(broker, &job.refused(error.to_string())).await,
        Err(_) => {
            let event = Event::Finished {
                job: request.job.clone(),
                status: Status::Failed,
                reason: Some(error.to_string()),
                report: None,
                execution: None,
                cut: None,
            };
            broker.publish(written(event.to_message(0))?).await
        }
    }
}

/// A kind's name from outside, short enough to log.
fn name(kind: &str) -> &str {
    kind.get(..kind.len().min(MAX_NAME)).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_no_format_are_always_taken_first() {
        let formats = [1, 2, 3].map(|schema| Format::new("count", schema));
        let firsts = (0..1000).filter_map(|_| queues(formats.to_vec()).next());
        let firsts: Vec<Queue> = firsts.map(|(queue, _)| queue).collect();
        for format in formats {
            assert!(firsts.contains(&Queue::Jobs(format)));
        }
    }
}
