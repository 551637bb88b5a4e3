//! A whole cluster in one process, over any broker: producer, workers and reducer, each as in its own program.
//!
//! [`Cluster::run`] sends a request to the queue of jobs and returns the job's outcome. [`results_of`] runs no reducer, and
//! returns the messages that it would receive.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::blob::Blobs;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue, Subscription};
use autoconnect_common::cut::Progress;
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::{Event, JobRequest, Message, Status};
use autoconnect_common::results::Results;
use autoconnect_common::{Format, JobId, Registry, Shutdown, disk};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_worker as worker;
use tokio::task::JoinSet;

use crate::broker::soon;
use crate::chaos::{Chaos, Figures, Mischief};

/// How long a job may take before a test fails, on a slow and busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The setup of a cluster.
#[derive(Clone)]
pub struct Cluster {
    /// The kinds that every role knows.
    pub registry: Arc<Registry>,
    /// How many workers.
    pub workers: usize,
    /// How many threads cut a job.
    pub threads: usize,
    /// The mischief of the broker.
    pub mischief: Mischief,
    /// The store of bodies that are too large for a message.
    pub blobs: Option<Blobs>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The status of the job.
    pub status: Status,
    /// Why there is no report, or an incomplete one.
    pub reason: Option<String>,
}

/// The outcome of a job.
#[derive(Debug)]
pub struct Outcome {
    /// How the job ended.
    pub end: End,
    /// Every file of the newest results by its path, `execution.json` included.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The producer's counts.
    pub producer: producer::Summary,
    /// The counts of each worker.
    pub workers: Vec<worker::Summary>,
    /// The reducer's counts.
    pub reducer: reducer::Summary,
    /// The broker's counts.
    pub figures: Figures,
}

impl Outcome {
    /// The bytes of `report.json`.
    ///
    /// # Errors
    /// If there is none, with the reason.
    pub fn report(&self) -> Result<&[u8]> {
        let report = self.files.get(REPORT).map(Vec::as_slice);
        report.with_context(|| format!("no report: {:?}", self.end))
    }

    /// Every file that must be the same from run to run.
    pub fn exact(&self) -> BTreeMap<&str, &[u8]> {
        let files = self.files.iter();
        let exact = files.filter(|(path, _)| *path != "execution.json");
        exact.map(|(path, b)| (path.as_str(), &b[..])).collect()
    }
}

enum Did {
    Produced(producer::Summary),
    Worked(worker::Summary),
    Reduced(reducer::Summary),
}

impl Cluster {
    /// A cluster of `workers` workers on a broker without mischief.
    pub fn of(registry: Registry, workers: usize) -> Self {
        Self {
            registry: Arc::new(registry),
            workers,
            threads: 2,
            mischief: Mischief::default(),
            blobs: None,
        }
    }

    /// Runs one job over `broker`, which is closed at the end.
    ///
    /// # Errors
    /// If a role fails, or the job takes too long. A job that ends without a report is no error.
    pub async fn run<B: Broker + Clone>(&self, broker: B, request: JobRequest) -> Result<Outcome> {
        let folder = tempfile::tempdir()?;
        let results = Results::new(disk::real(), folder.path(), self.registry.at_root());
        let broker = Chaos::over(broker, self.mischief);
        let mut events = broker
            .subscribe(Queue::Events(request.job.clone()), 64)
            .await?;
        let stop = Shutdown::new();
        let mut roles = self.start(&broker, folder.path(), &stop);
        broker.publish(request.to_message()?).await?;
        let end = tokio::select! {
            end = finished(&mut events, &request.job) => end?,
            Some(ended) = roles.join_next() => {
                ended??;
                bail!("a role ended before the job did");
            }
        };
        // the reducer drops and counts the results that arrive after the end
        soon("the last results to be acknowledged", broker.quiet()).await?;
        stop.cancel();
        let mut outcome = Outcome {
            end,
            files: files_of(&results.newest_folder(&request.kind)?).unwrap_or_default(),
            producer: producer::Summary::default(),
            workers: Vec::new(),
            reducer: reducer::Summary::default(),
            figures: broker.figures(),
        };
        while let Some(did) = soon("the roles to stop", roles.join_next()).await? {
            match did?? {
                Did::Produced(summary) => outcome.producer = summary,
                Did::Worked(summary) => outcome.workers.push(summary),
                Did::Reduced(summary) => outcome.reducer = summary,
            }
        }
        broker.close().await;
        Ok(outcome)
    }

    fn start<B: Broker + Clone>(
        &self,
        broker: &B,
        results: &Path,
        stop: &Shutdown,
    ) -> JoinSet<Result<Did>> {
        let mut roles = JoinSet::new();
        let config = reducer::Config {
            blobs: self.blobs.clone(),
            ..reducer::Config::volatile(results)
        };
        let all = || (broker.clone(), Arc::clone(&self.registry), stop.clone());
        let (broker, registry, stop) = all();
        roles.spawn(async move {
            let reduced = reducer::run(&broker, &registry, config, stop).await;
            Ok(Did::Reduced(reduced?))
        });
        for number in 1..=self.workers {
            let config = worker::Config {
                blobs: self.blobs.clone(),
                ..worker::Config::named(format!("worker-{number}"))
            };
            let (broker, registry, stop) = all();
            roles.spawn(async move {
                let worked = worker::run(&broker, &registry, &config, &stop).await;
                Ok(Did::Worked(worked?))
            });
        }
        let config = producer::Config {
            threads: self.threads,
            data: None,
            blobs: self.blobs.clone(),
        };
        let (broker, registry, stop) = all();
        roles.spawn(async move {
            let produced = producer::run(&broker, &registry, &config, &stop).await;
            Ok(Did::Produced(produced?))
        });
        roles
    }
}

/// Waits for the end of a job.
///
/// # Errors
/// If it does not end within two minutes.
pub async fn finished(events: &mut Subscription, ours: &JobId) -> Result<End> {
    let listening = async {
        while let Some(event) = events.next().await {
            let news = Event::from_message(&event.message)?;
            event.ack();
            if let Event::Finished {
                job,
                status,
                reason,
                ..
            } = news
                && job == *ours
            {
                return Ok(End { status, reason });
            }
        }
        bail!("the broker was closed before the job ended")
    };
    let listening = tokio::time::timeout(LONG, listening).await;
    listening.with_context(|| format!("the job took over {} s", LONG.as_secs()))?
}

/// Whether this is the link to the newest report of a kind, in a folder of results.
fn is_newest(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.starts_with("jobs"))
}

/// Every file of a job's results by its path. `results` is a job's own folder, the folder of the newest report of a kind, or
/// a folder of results with files at its root.
///
/// # Errors
/// The error of the system.
pub fn files_of(results: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![results.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(results)?.to_string_lossy().into_owned();
            if !path.is_dir() {
                files.insert(name, fs::read(&path)?);
            } else if name != "jobs" && !is_newest(&path) && !name.starts_with('.') {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

/// Every message that a reducer receives for `request` with one worker: partials and side files, then the manifest.
///
/// # Errors
/// Where the job cannot be cut.
pub async fn results_of(registry: Registry, request: &JobRequest) -> Result<Vec<Message>> {
    let (broker, registry, stop) = (Embedded::new(), Arc::new(registry), Shutdown::new());
    let format = Format::new(request.kind.as_str(), request.schema);
    let mut results = broker.subscribe(Queue::Results(format), u16::MAX).await?;
    let working = {
        let (broker, registry, stop) = (broker.clone(), Arc::clone(&registry), stop.clone());
        let config = worker::Config::named("worker");
        tokio::spawn(async move { worker::run(&broker, &registry, &config, &stop).await })
    };
    let progress = Arc::new(Progress::default());
    let config = producer::Config {
        threads: 2,
        data: None,
        blobs: None,
    };
    let manifest = producer::run_job(&broker, &registry, request, &config, progress, &stop).await?;
    let pages: u32 = manifest.annexes.values().sum();
    let expected = manifest.seqs().count() + pages as usize + 1;
    let mut messages = Vec::new();
    while messages.len() < expected {
        let delivery = soon("a result", results.next()).await?;
        let delivery = delivery.context("the broker was closed")?;
        messages.push(delivery.message.clone());
        delivery.ack();
    }
    stop.cancel();
    let worked = working.await??;
    ensure!(worked.buried == 0, "{} chunks were buried", worked.buried);
    messages.sort_by_key(|message| (message.kind == "manifest", message.id.clone()));
    Ok(messages)
}
