//! Cuts one job and publishes its chunks, annexes, seal and manifest, in that order.

use std::convert::Infallible;
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
    Body, Broker, Chunk, CutError, Fate, Outlet, Registry, Seq, Shutdown, machine,
};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::ahead::Ahead;
use crate::error::ProducerError;
use crate::input::{SINCE_ASKED, known, unchanged};
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
    let producer = Producer {
        broker,
        registry,
        config,
        shutdown,
    };
    let job = Job::new(&producer, request)?;
    tokio::select! {
        biased;
        manifest = job.run(progress) => manifest,
        () = shutdown.cancelled() => Err(CutError::Cancelled.into()),
    }
}

/// What a producer works with.
pub(crate) struct Producer<'p, B> {
    pub(crate) broker: &'p B,
    pub(crate) registry: &'p Arc<Registry>,
    pub(crate) config: &'p Config,
    pub(crate) shutdown: &'p Shutdown,
}

/// A job that is being cut.
pub(crate) struct Job<'p, B> {
    producer: &'p Producer<'p, B>,
    request: &'p JobRequest,
    kind: &'static str,
    schema: u32,
    start: Instant,
    /// The digests of the chunks and pages so far, for the seal of the cut.
    digests: Gathered,
    /// Bytes of the messages of its chunks so far.
    bytes: u64,
    /// Whether the blob store holds a body of this cut.
    has_blobs: bool,
    /// Limits how far the job runs ahead of the reducer; `None` where only the queue's length limits it.
    ahead: Option<Arc<Ahead>>,
}

impl<'p, B: Broker> Job<'p, B> {
    pub(crate) fn new(
        producer: &'p Producer<'p, B>,
        request: &'p JobRequest,
    ) -> Result<Self, ProducerError> {
        let kind = known(producer.registry, &request.kind, request.schema)?;
        Ok(Self {
            producer,
            request,
            kind: kind.name(),
            schema: kind.schema(),
            start: Instant::now(),
            digests: Gathered::default(),
            bytes: 0,
            has_blobs: false,
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

    /// Cuts the job to its end, and publishes all of it.
    pub(crate) async fn run(mut self, progress: Arc<Progress>) -> Result<Manifest, ProducerError> {
        let broker = self.producer.broker;
        let cut = self.cut_unchanged(progress).await;
        match cut.and_then(|cut| self.sealed(cut)) {
            Ok((manifest, seal)) => {
                let mut window = Window::new(broker, WINDOW_MESSAGES, WINDOW_BYTES);
                for page in seal {
                    window.publish(page.to_message()).await?;
                }
                window.drain().await?;
                send(broker, &manifest).await?;
                Ok(manifest)
            }
            Err(error) => {
                let is_begun = self.digests.chunks() + self.digests.pages() > 0;
                if error.fate() == Fate::Bury && is_begun {
                    send(broker, &self.refused(error.to_string())).await?;
                }
                Err(error)
            }
        }
    }

    /// Cuts the input; refuses it where it changed since the job was named, or changes during the cut.
    async fn cut_unchanged(
        &mut self,
        progress: Arc<Progress>,
    ) -> Result<Cut<Box<RawValue>>, ProducerError> {
        let (registry, request) = (self.producer.registry, self.request);
        let before = unchanged(registry, request, request.fingerprint, SINCE_ASKED).await?;
        let cut = self.cut_and_publish(progress).await?;
        unchanged(registry, request, before, "while it was cut").await?;
        Ok(cut)
    }

    /// Cuts the input on a thread, and publishes each item as it comes and the progress beside them.
    async fn cut_and_publish(
        &mut self,
        progress: Arc<Progress>,
    ) -> Result<Cut<Box<RawValue>>, ProducerError> {
        // stops the cut when this future is dropped
        let stop_cut = self.producer.shutdown.child_token();
        let _guard = stop_cut.clone().drop_guard();
        let (outlet, items) = Outlet::new(
            self.request.job.clone(),
            OUTLET_ITEMS,
            self.producer.config.threads,
            Arc::clone(&progress),
            stop_cut,
        );
        let cut = self.begin_cut(outlet);
        let (broker, request) = (self.producer.broker, self.request);
        tokio::select! {
            biased;
            published = self.publish_all(items) => published?,
            never = tell_progress(broker, request, &progress) => match never {},
        }
        cut.await
            .map_err(|death| self.broken(format!("it died: {death}")))?
            .map_err(ProducerError::from)
    }

    fn begin_cut(&self, outlet: Outlet) -> JoinHandle<Result<Cut<Box<RawValue>>, CutError>> {
        let registry = Arc::clone(self.producer.registry);
        let (kind, schema, request) = (self.kind, self.schema, self.request.request.clone());
        machine::block(move || match registry.get(kind, schema) {
            Some(kind) => kind.cut(&request, &outlet),
            None => Err(CutError::Cancelled),
        })
    }

    /// Publishes what the cut puts; every message is confirmed on return.
    async fn publish_all(&mut self, mut items: mpsc::Receiver<Item>) -> Result<(), ProducerError> {
        let mut window = Window::new(self.producer.broker, WINDOW_MESSAGES, WINDOW_BYTES);
        while let Some(item) = window.settle_while(items.recv()).await? {
            let message = match item {
                Item::Chunk {
                    seq,
                    key,
                    rows,
                    body,
                } => {
                    let chunk = self.chunk(seq, key, rows, body.into())?;
                    self.wait_for_room(&mut window).await?;
                    self.chunk_message(chunk, &mut window).await?
                }
                Item::Annex { name, page, body } => self.annex(name, page, body.into())?,
            };
            window.publish(message).await?;
        }
        Ok(window.drain().await?)
    }

    /// Notes the digest of a chunk. That of a chunk of the usual size takes about a tenth of a millisecond: too little to
    /// move to another thread.
    fn chunk(
        &mut self,
        seq: Seq,
        key: String,
        rows: u32,
        body: Body,
    ) -> Result<Chunk, ProducerError> {
        let blobs = self.producer.config.blobs.as_ref();
        self.check_size(&body, blobs.map_or(0, Blobs::max).max(MAX_BODY as u64))?;
        let noted = self.digests.chunk(seq, &body.digest());
        noted.map_err(|what| self.broken(what))?;
        let (job, kind) = (self.request.job.clone(), self.kind.to_owned());
        tracing::debug!(job_id = %job, kind, chunk = %seq, rows, "chunk cut");
        Ok(Chunk {
            job,
            kind,
            schema: self.schema,
            seq,
            key,
            rows,
            body,
        })
    }

    /// Waits while too much of the job is not merged yet.
    async fn wait_for_room(&mut self, window: &mut Window<'_, B>) -> Result<(), BrokerError> {
        if let Some(ahead) = &self.ahead {
            let room = ahead.room(self.digests.chunks(), self.bytes);
            if !window.settle_while(room).await? {
                self.ahead = None;
            }
        }
        Ok(())
    }

    /// The message of a chunk; a body that is too large for a message goes into the blob store first.
    async fn chunk_message(
        &mut self,
        chunk: Chunk,
        window: &mut Window<'_, B>,
    ) -> Result<Message, ProducerError> {
        let message = if chunk.body.len() > MAX_BODY {
            window.settle_while(self.put_blob(&chunk.body)).await??;
            chunk.to_claim()
        } else {
            chunk.to_message()
        };
        self.bytes += message.body.len() as u64;
        Ok(message)
    }

    /// Puts a body into the blob store. Waits while the store is down, as for a broker.
    async fn put_blob(&mut self, body: &Body) -> Result<(), ProducerError> {
        let Some(blobs) = &self.producer.config.blobs else {
            return Err(self.broken("it put a body that only a blob store takes".to_owned()));
        };
        let (job, digest, is_first) = (&self.request.job, body.digest(), !self.has_blobs);
        let health = self.producer.broker.health();
        let put = patiently(&health, || async move {
            if is_first {
                blobs.begin(job).await?;
            }
            blobs.put(job, body, digest).await
        });
        put.await.map_err(|error| self.broken(error.to_string()))?;
        self.has_blobs = true;
        Ok(())
    }

    /// The message of a page of a side file, whose digest it notes.
    fn annex(
        &mut self,
        name: &'static str,
        page: u32,
        body: Body,
    ) -> Result<Message, ProducerError> {
        self.check_size(&body, MAX_BODY as u64)?;
        let noted = self.digests.page(name, page, &body.digest());
        noted.map_err(|what| self.broken(what))?;
        let annex = Annex {
            job: self.request.job.clone(),
            kind: self.kind.to_owned(),
            schema: self.schema,
            name: name.to_owned(),
            page,
            body,
        };
        Ok(annex.to_message())
    }

    fn check_size(&self, body: &Body, most: u64) -> Result<(), ProducerError> {
        match body.len() as u64 {
            found if found > most => Err(self.broken(format!(
                "it put an item of {found} bytes, expected at most {most}"
            ))),
            _ => Ok(()),
        }
    }

    /// The manifest of the cut, and the pages of its seal, if it has any.
    fn sealed(&self, cut: Cut<Box<RawValue>>) -> Result<(Manifest, Vec<SealPage>), ProducerError> {
        self.check_counts(&cut)?;
        // no chunk of a refused job counts
        let (chunks, facts) = match cut.refusal {
            None => (cut.chunks, Some(cut.facts)),
            Some(_) => (Vec::new(), None),
        };
        let entries = self.digests.entries(&chunks, &cut.annexes);
        let (seal, pages) = Seal::of(&entries.map_err(|what| self.broken(what))?);
        let pages = (0..).zip(pages).map(|(page, body)| SealPage {
            job: self.request.job.clone(),
            kind: self.kind.to_owned(),
            schema: self.schema,
            seal: seal.digest,
            page,
            body: body.into(),
        });
        let pages = pages.collect();
        let manifest = Manifest {
            chunks,
            annexes: cut.annexes,
            seal: Some(seal),
            facts,
            ..self.manifest(cut.refusal)
        };
        Ok((manifest, pages))
    }

    /// Compares the counts of the cut with what it put: a manifest that promises more would leave the reducer waiting
    /// forever.
    fn check_counts(&self, cut: &Cut<Box<RawValue>>) -> Result<(), ProducerError> {
        let chunks: u64 = cut.chunks.iter().copied().map(u64::from).sum();
        let pages: u64 = cut.annexes.values().copied().map(u64::from).sum();
        let put = (self.digests.chunks(), self.digests.pages());
        if (chunks, pages) != put {
            return Err(self.broken(format!(
                "it says {chunks} chunks and {pages} pages, and put {} and {}",
                put.0, put.1
            )));
        }
        Ok(())
    }

    /// The manifest of a job that ends without a report.
    pub(crate) fn refused(&self, why: String) -> Manifest {
        self.manifest(Some(why))
    }

    /// A manifest that counts nothing.
    fn manifest(&self, refusal: Option<String>) -> Manifest {
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

/// Publishes the progress of the cut every [`TELL_EVERY`].
async fn tell_progress<B: Broker>(
    broker: &B,
    request: &JobRequest,
    progress: &Progress,
) -> Infallible {
    for stamp in 0.. {
        let event = Event::Cut {
            job: request.job.clone(),
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
