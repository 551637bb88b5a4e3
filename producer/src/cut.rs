//! Cuts one job and publishes its chunks, annexes, seal and manifest, in that order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::blob::{Blobs, patiently};
use autoconnect_common::broker::{BrokerError, Window};
use autoconnect_common::chunk::MAX_BODY;
use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::kind::Cut;
use autoconnect_common::message::{Annex, Event, JobRequest, Manifest, Message, SealPage};
use autoconnect_common::seal::{Gathered, Seal};
use autoconnect_common::{
    Body, Broker, Chunk, CutError, Fate, JobId, Outlet, Registry, Shutdown, machine,
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ahead::Ahead;
use crate::error::ProducerError;
use crate::input::{SINCE_ASKED, fingerprint, known, refuse_change};
use crate::publish::send;
use crate::serve::Config;

/// The most unconfirmed messages: enough to cut on while confirms are awaited.
pub const WINDOW_MESSAGES: usize = 16;
/// The most bytes of unconfirmed bodies, unless one message alone is larger: bounds the producer's memory.
pub const WINDOW_BYTES: usize = 4 << 20;
/// How many items wait between `cut` and the window: enough for the cut to continue during a publish; each takes memory.
const OUTLET_ITEMS: usize = 4;
/// The time between two events of progress: smooth to a person watching, and a negligible part of the traffic.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Cuts one job and publishes all of it; returns the manifest once that is confirmed.
///
/// Of `config`, it reads the number of threads and the blob store; the chunks depend on neither. A manifest with a
/// [`refusal`](Manifest::refusal) ends the job without a report; it is also sent where the cut failed for good after
/// something was published, and the error is returned.
///
/// # Errors
/// [`ProducerError`]. On shutdown it sends no manifest and returns [`CutError::Cancelled`].
pub async fn run_job<B: Broker>(
    broker: &B,
    registry: &Arc<Registry>,
    request: &JobRequest,
    config: &Config,
    progress: Arc<Progress>,
    shutdown: &Shutdown,
) -> Result<Manifest, ProducerError> {
    let job = Job::new(registry, request, config.blobs.clone())?;
    run_to_end(job, broker, registry, config.threads, progress, shutdown).await
}

pub(crate) async fn run_to_end<B: Broker>(
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

/// A job that is being cut.
pub(crate) struct Job<'r> {
    request: &'r JobRequest,
    kind: &'static str,
    schema: u32,
    start: Instant,
    /// The chunks and pages put so far, for the seal of the cut.
    put: Gathered,
    /// Bytes of chunks that were put.
    bytes: u64,
    /// The blob store for bodies that are too large for a message; without it, no chunk may have one.
    blobs: Option<Blobs>,
    /// Whether the job has put a body.
    has_put: bool,
    /// Limits how far the job runs ahead of the reducer; `None` where only the queue's length limits it.
    ahead: Option<Arc<Ahead>>,
}

impl<'r> Job<'r> {
    pub(crate) fn new(
        registry: &Registry,
        request: &'r JobRequest,
        blobs: Option<Blobs>,
    ) -> Result<Self, ProducerError> {
        let kind = known(registry, &request.kind, request.schema)?;
        Ok(Self {
            request,
            kind: kind.name(),
            schema: kind.schema(),
            start: Instant::now(),
            put: Gathered::default(),
            bytes: 0,
            blobs,
            has_put: false,
            ahead: None,
        })
    }

    /// Makes the job wait where it is too far ahead of its reducer.
    pub(crate) fn behind(self, ahead: Arc<Ahead>) -> Self {
        Self {
            ahead: Some(ahead),
            ..self
        }
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

    /// Cuts the input; refuses it where it changed since the job was named, or changes during the cut.
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
        // stops the cut when this future is dropped
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
            // pending publishes proceed only while the window is polled
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
            let (message, blob) = self.message(item)?;
            if is_chunk {
                self.wait_for_room(&mut window).await?;
                self.bytes += message.body.len() as u64;
            }
            if let Some(body) = blob {
                self.put(broker, &mut window, &body).await?;
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

    /// Puts a body into the blob store. Waits while the store is down, as for a broker.
    async fn put<B: Broker>(
        &mut self,
        broker: &B,
        window: &mut Window<'_, B>,
        body: &Body,
    ) -> Result<(), ProducerError> {
        let (Some(blobs), job) = (&self.blobs, &self.request.job) else {
            return Err(self.broken("it put a body that only a blob store takes".to_owned()));
        };
        let (health, digest, is_first) = (broker.health(), body.digest(), !self.has_put);
        let mut put = std::pin::pin!(patiently(&health, || async move {
            if is_first {
                blobs.begin(job).await?;
            }
            blobs.put(job, body, digest).await
        }));
        loop {
            tokio::select! {
                biased;
                put = &mut put => {
                    put.map_err(|error| self.broken(error.to_string()))?;
                    break;
                }
                settled = window.settle_one(), if !window.is_empty() => settled?,
            }
        }
        self.has_put = true;
        Ok(())
    }

    /// Makes the message of an item; returns beside it a body that is too large for a message. The digest of a chunk of
    /// the usual size takes about a tenth of a millisecond: too little to move to another thread.
    fn message(&mut self, item: Item) -> Result<(Message, Option<Body>), ProducerError> {
        let (found, most) = match &item {
            Item::Chunk { body, .. } => (body.len() as u64, self.largest()),
            Item::Annex { body, .. } => (body.len() as u64, MAX_BODY as u64),
        };
        if found > most {
            return Err(self.broken(format!(
                "it put an item of {found} bytes, expected at most {most}"
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
                let chunk = Chunk {
                    job,
                    kind,
                    schema,
                    seq,
                    key,
                    rows,
                    body,
                };
                match chunk.body.len() > MAX_BODY {
                    true => (chunk.to_claim(), Some(chunk.body)),
                    false => (chunk.to_message(), None),
                }
            }
            Item::Annex { name, page, body } => {
                let body = Body::from(body);
                let put = self.put.page(name, page, &body.digest());
                put.map_err(|what| self.broken(what))?;
                let annex = Annex {
                    job,
                    kind,
                    schema: self.schema,
                    name: name.to_owned(),
                    page,
                    body,
                };
                (annex.to_message(), None)
            }
        })
    }

    /// The most bytes that the body of a chunk may have.
    fn largest(&self) -> u64 {
        let most = self.blobs.as_ref().map_or(0, Blobs::max);
        most.max(MAX_BODY as u64)
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

    /// Seals the cut; the pages of the seal, if it has any, are confirmed on return.
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

    /// Compares the counts of the cut with what was put: a manifest that promises more would leave the reducer waiting
    /// forever.
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

    pub(crate) fn refused(&self, why: String) -> Manifest {
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

/// Publishes the progress of the cut of `job` every [`TELL_EVERY`].
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
        // the publishing of chunks reports what is wrong with the broker
        if let Ok(message) = event.to_message(stamp) {
            let _lost = broker.publish(message).await;
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
    std::future::pending().await
}
