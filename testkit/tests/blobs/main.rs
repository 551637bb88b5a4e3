//! Bodies that are too large for a message: they go through the blob store, verified, and nothing of them stays. What is
//! missing or damaged there is a dead chunk with its reason; a store that is away is waited for. So it is in a folder and in a
//! bucket of S3.

mod s3;
mod server;
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use autoconnect_common::blob::{Blobs, Place};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue, Subscription};
use autoconnect_common::message::{Cancel, JobRequest, Message, Status};
use autoconnect_common::{Registry, Shutdown};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_testkit::broker::soon;
use autoconnect_testkit::cluster::{Cluster, End, finished};
use autoconnect_testkit::large::{Large, Report, Request, check, registry};
use autoconnect_worker as worker;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::store::Store;

/// Twice what a message may have.
const BYTES: usize = 2 << 20;
const CHUNKS: u32 = 3;

fn request(chunks: u32, bytes: usize) -> Result<JobRequest> {
    let request = Request { chunks, bytes };
    Ok(producer::name_job::<Large>(&registry(), &request, None)?)
}

fn blobs(folder: &Path, max: u64) -> Result<Blobs> {
    Ok(Blobs::open(&Place::folder(folder), max)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_64_megabytes_are_worked_and_none_stays() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bytes = 64 << 20;
    let cluster = Cluster {
        blobs: Some(blobs(folder.path(), 64 << 20)?),
        ..Cluster::of(registry(), 2)
    };
    let outcome = cluster
        .run(Embedded::new(), request(CHUNKS, bytes)?)
        .await?;
    ensure!(outcome.end.status == Status::Done, "{:?}", outcome.end);
    check(outcome.report()?, CHUNKS, bytes, &[])?;
    let left = fs::read_dir(folder.path().join("jobs"))?.count();
    ensure!(left == 0, "something of {left} jobs is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_through_a_bucket_and_none_stays() -> Result<()> {
    let store = Store::s3().await?;
    let cluster = Cluster {
        blobs: Some(store.open(BYTES as u64)?),
        ..Cluster::of(registry(), 2)
    };
    let outcome = cluster
        .run(Embedded::new(), request(CHUNKS, BYTES)?)
        .await?;
    ensure!(outcome.end.status == Status::Done, "{:?}", outcome.end);
    check(outcome.report()?, CHUNKS, BYTES, &[])?;
    let left = store.open(BYTES as u64)?.jobs().await?;
    ensure!(left.is_empty(), "{left:?} are left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_no_store_takes_fails_its_job_in_one_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (blobs, most) in [
        (None, 1 << 20),
        (Some(blobs(folder.path(), 1 << 20)?), 1 << 20),
    ] {
        let cluster = Cluster {
            blobs,
            ..Cluster::of(registry(), 1)
        };
        let outcome = cluster.run(Embedded::new(), request(1, BYTES)?).await?;
        let reason = outcome.end.reason.unwrap_or_default();
        let expected = format!("an item of {BYTES} bytes, expected at most {most}");
        ensure!(outcome.end.status == Status::Failed, "{reason}");
        ensure!(reason.contains(&expected), "{reason}");
    }
    Ok(())
}

async fn produce(
    broker: &Embedded,
    request: &JobRequest,
    store: Blobs,
    stop: &Shutdown,
) -> Result<()> {
    let config = producer::Config {
        threads: 1,
        data: None,
        blobs: Some(store),
    };
    let known = Arc::new(registry());
    producer::run_job(broker, &known, request, &config, Arc::default(), stop).await?;
    Ok(())
}

/// A job that was cut while no worker lived: its chunks wait, and its bodies are in the store.
struct Cut {
    folder: TempDir,
    store: Store,
    broker: Embedded,
    request: JobRequest,
    events: Subscription,
    stop: Shutdown,
    reducing: JoinHandle<Result<reducer::Summary, reducer::Error>>,
}

impl Cut {
    async fn new(store: Store) -> Result<Self> {
        let (folder, broker, stop) = (tempfile::tempdir()?, Embedded::new(), Shutdown::new());
        let request = request(CHUNKS, BYTES)?;
        let events = Queue::Events(request.job.clone());
        let events = broker.subscribe(events, 64).await?;
        let blobs = store.open(BYTES as u64)?;
        produce(&broker, &request, blobs.clone(), &stop).await?;
        let reducing = {
            let config = reducer::Config {
                blobs: Some(blobs),
                ..reducer::Config::durable(folder.path().join("out"), folder.path().join("state"))
            };
            let (broker, stop) = (broker.clone(), stop.clone());
            tokio::spawn(async move { reducer::run(&broker, &registry(), config, stop).await })
        };
        Ok(Self {
            folder,
            store,
            broker,
            request,
            events,
            stop,
            reducing,
        })
    }

    /// A worker, until the roles are stopped.
    fn work(&self) -> Result<JoinHandle<Result<worker::Summary, worker::WorkerError>>> {
        let config = worker::Config {
            blobs: Some(self.store.open(BYTES as u64)?),
            ..worker::Config::named("worker")
        };
        let (broker, stop) = (self.broker.clone(), self.stop.clone());
        let registry: Arc<Registry> = Arc::new(registry());
        Ok(tokio::spawn(async move {
            worker::run(&broker, &registry, &config, &stop).await
        }))
    }

    /// Cuts the job.
    async fn produce(&self) -> Result<()> {
        let store = self.store.open(BYTES as u64)?;
        produce(&self.broker, &self.request, store, &self.stop).await
    }

    /// Waits until no body is left.
    async fn bodies_are_removed(&self) -> Result<()> {
        let gone = async {
            while !self.store.bodies().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("the bodies to be removed", gone).await
    }

    /// What cancels the job.
    fn cancel(&self) -> Result<Message> {
        let cancel = Cancel {
            job: self.request.job.clone(),
            reason: "not needed".to_owned(),
        };
        Ok(cancel.to_message()?)
    }

    /// The job's end, its report, and whether every body is gone once the reducer stopped.
    async fn ends(mut self) -> Result<(End, Vec<u8>)> {
        let end = finished(&mut self.events, &self.request.job).await?;
        self.stop.cancel();
        soon("the reducer to stop", self.reducing).await???;
        let left = self.store.bodies();
        ensure!(left.is_empty(), "{left:?} are left");
        let own = self
            .folder
            .path()
            .join("out/jobs")
            .join(self.request.job.as_str());
        let report = fs::read(own.join("report.json"));
        Ok((end, report.unwrap_or_default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_missing_or_damaged_is_a_dead_chunk_with_its_reason() -> Result<()> {
    type Harm = fn(&Path) -> std::io::Result<()>;
    let removed: Harm = |blob| fs::remove_file(blob);
    let shorter: Harm = |blob| fs::write(blob, "short");
    let flipped: Harm = |blob| {
        let mut bytes = fs::read(blob)?;
        bytes[BYTES / 2] ^= 1;
        fs::write(blob, bytes)
    };
    for (harm, reason) in [
        (removed, "is not in the blob store"),
        (shorter, "is damaged: found 5 bytes"),
        (flipped, "is damaged: found the digest"),
    ] {
        for store in Store::each().await? {
            let cut = Cut::new(store).await?;
            let bodies = cut.store.bodies();
            ensure!(bodies.len() == CHUNKS as usize, "{bodies:?}");
            harm(&bodies[1])?;
            one_chunk_is_dead(cut, &bodies[1], reason).await?;
        }
    }
    Ok(())
}

/// The job ends without the chunk of that body, which is dead for that reason.
async fn one_chunk_is_dead(cut: Cut, body: &Path, reason: &str) -> Result<()> {
    let digest = body.file_name().context("a name")?.to_string_lossy();
    let working = cut.work()?;
    let broker = cut.broker.clone();
    let (end, report) = cut.ends().await?;
    let said = end.reason.unwrap_or_default();
    ensure!(
        end.status == Status::Incomplete && said.contains(reason),
        "{said}"
    );
    let found: Report = serde_json::from_slice(&report)?;
    ensure!(found.missing.len() == 1, "{found:?}");
    check(&report, CHUNKS, BYTES, &found.missing)?;
    let summary = soon("the worker to stop", working).await???;
    ensure!(summary.buried == 1 && summary.chunks == 2, "{summary:?}");
    let dead = broker.take(Queue::DeadChunks).await?;
    let dead = dead.context("a dead chunk")?;
    ensure!(dead.message.headers["sha256"] == *digest);
    ensure!(dead.message.body.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_waited_for_and_kills_no_chunk() -> Result<()> {
    for store in Store::each().await? {
        let cut = Cut::new(store).await?;
        cut.store.go()?;
        let working = cut.work()?;
        let health = cut.broker.health();
        let waits = async {
            while !health.is_raised("blobs") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("the worker to say that the store is away", waits).await?;
        cut.store.come_back()?;
        let (end, report) = cut.ends().await?;
        ensure!(end.status == Status::Done, "{end:?}");
        check(&report, CHUNKS, BYTES, &[])?;
        let summary = soon("the worker to stop", working).await???;
        ensure!(summary.buried == 0, "{summary:?}");
        ensure!(!health.is_raised("blobs"), "a trouble that is over");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cancelled_leaves_no_body() -> Result<()> {
    for store in Store::each().await? {
        let cut = Cut::new(store).await?;
        ensure!(cut.store.bodies().len() == CHUNKS as usize);
        cut.broker.publish(cut.cancel()?).await?;
        let (end, _) = cut.ends().await?;
        ensure!(end.status == Status::Cancelled, "{end:?}");
    }
    Ok(())
}

/// Waits until no message waits in a queue.
async fn is_taken(broker: &Embedded, queue: Queue) -> Result<()> {
    let empty = async {
        while broker.waiting(queue.clone()).await? > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    soon("an empty queue", empty).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_outlive_their_job_are_done_with_and_are_not_dead() -> Result<()> {
    let cut = Cut::new(Store::folder()?).await?;
    let broker = cut.broker.clone();
    let [format] = &registry().formats()[..] else {
        anyhow::bail!("one format");
    };
    let chunks = Queue::Chunks(format.clone());
    cut.broker.publish(cut.cancel()?).await?;
    cut.bodies_are_removed().await?;
    ensure!(broker.waiting(chunks.clone()).await? == u64::from(CHUNKS));
    let working = cut.work()?;
    is_taken(&broker, chunks.clone()).await?;
    let (end, _) = cut.ends().await?;
    ensure!(end.status == Status::Cancelled, "{end:?}");
    let summary = soon("the worker to stop", working).await???;
    // of three, two are held at once: one at least was done with before the last was taken
    let given_back = broker.waiting(chunks).await?;
    ensure!(
        summary.over >= 1 && summary.over + given_back == u64::from(CHUNKS),
        "{summary:?}, {given_back} given back"
    );
    ensure!(summary.buried + summary.chunks == 0, "{summary:?}");
    ensure!(broker.take(Queue::DeadChunks).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cut_again_after_its_end_has_its_bodies_and_is_not_taken_for_ended()
-> Result<()> {
    let cut = Cut::new(Store::folder()?).await?;
    let store = cut.store.open(BYTES as u64)?;
    cut.broker.publish(cut.cancel()?).await?;
    cut.bodies_are_removed().await?;
    ensure!(store.jobs().await?[&cut.request.job].is_ended);
    cut.produce().await?;
    let left = store.jobs().await?[&cut.request.job];
    ensure!(!left.is_ended && left.has_bodies, "{left:?}");
    ensure!(cut.store.bodies().len() == CHUNKS as usize);
    cut.stop.cancel();
    soon("the reducer to stop", cut.reducing).await???;
    Ok(())
}

/// A job with a body in a store, put that long ago.
async fn put_before(store: &Path, job: &str, age: Duration) -> Result<PathBuf> {
    let (blobs, job) = (blobs(store, BYTES as u64)?, job.parse()?);
    let body = autoconnect_common::Body::from("a body");
    blobs.put(&job, &body, body.digest()).await?;
    let own = store.join("jobs").join(job.as_str());
    fs::File::open(&own)?.set_modified(SystemTime::now() - age)?;
    Ok(own)
}

#[tokio::test(start_paused = true)]
async fn what_a_job_left_behind_that_is_not_open_is_removed_in_time() -> Result<()> {
    let (old, new, strange) = swept(true).await?;
    ensure!(!old && new && strange);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_reducer_of_one_run_removes_nothing_of_jobs_that_it_does_not_know() -> Result<()> {
    let (old, new, strange) = swept(false).await?;
    ensure!(old && new && strange);
    Ok(())
}

/// Whether an old job's bodies, a new one's, and what is no job's are there once a reducer has run for longer than an hour.
async fn swept(sweeps: bool) -> Result<(bool, bool, bool)> {
    let (folder, broker, stop) = (tempfile::tempdir()?, Embedded::new(), Shutdown::new());
    let store = folder.path().join("blobs");
    let hour = Duration::from_secs(3600);
    let old = put_before(&store, "large-1", 25 * hour).await?;
    let new = put_before(&store, "large-2", 23 * hour).await?;
    let strange = store.join("jobs/No job");
    fs::create_dir(&strange)?;
    let config = reducer::Config {
        blobs: Some(blobs(&store, BYTES as u64)?),
        sweeps,
        ..reducer::Config::durable(folder.path().join("out"), folder.path().join("state"))
    };
    let reducing = {
        let (broker, stop) = (broker.clone(), stop.clone());
        tokio::spawn(async move { reducer::run(&broker, &registry(), config, stop).await })
    };
    tokio::time::sleep(hour / 2).await;
    ensure!(
        old.exists(),
        "removed before the results that wait were read"
    );
    tokio::time::sleep(hour).await;
    let left = (old.exists(), new.exists(), strange.exists());
    stop.cancel();
    soon("the reducer to stop", reducing).await???;
    Ok(left)
}
