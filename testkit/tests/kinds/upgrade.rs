//! An upgrade, program by program, while jobs run: one kind has a second version, which the new programs know beside the
//! first. Nothing is lost, no chunk dies, and no program takes what it cannot read.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue, Subscription};
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::{JobRequest, Status};
use autoconnect_common::{JobKind, Registry, Shutdown};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_testkit::broker::{Home, soon};
use autoconnect_testkit::cluster::finished;
use autoconnect_testkit::jobs;
use autoconnect_testkit::node::OnNode;
use autoconnect_testkit::wordcount::{Request, WordCount, write_text};
use autoconnect_testkit::wordcount2::WordCountTwo;
use tokio::task::JoinHandle;

/// How many chunks a job has.
const CHUNKS: u32 = 300;

/// A running program, and its shutdown.
struct Program<T> {
    stop: Shutdown,
    running: JoinHandle<Result<T>>,
}

impl<T: 'static> Program<T> {
    async fn stopped(self) -> Result<T> {
        self.stop.cancel();
        soon("a program to stop", self.running).await??
    }
}

/// Where the programs of a cluster run.
struct Site<'s, B> {
    broker: B,
    folder: &'s Path,
}

impl<B: Broker + Clone> Site<'_, B> {
    fn reducer(&self, registry: Registry) -> Program<reducer::Summary> {
        let (results, state) = (self.folder.join("results"), self.folder.join("state"));
        let config = reducer::Config::durable(results, state);
        let (broker, stop) = (self.broker.clone(), Shutdown::new());
        let told = stop.clone();
        let running =
            tokio::spawn(async move { Ok(reducer::run(&broker, &registry, config, told).await?) });
        Program { stop, running }
    }

    fn worker(&self, name: &str, registry: Registry) -> Program<autoconnect_worker::Summary> {
        let config = autoconnect_worker::Config::named(name);
        let (broker, stop) = (self.broker.clone(), Shutdown::new());
        let told = stop.clone();
        let running = tokio::spawn(async move {
            let registry = Arc::new(registry);
            Ok(autoconnect_worker::run(&broker, &registry, &config, &told).await?)
        });
        Program { stop, running }
    }

    fn producer(&self, registry: Registry) -> Program<producer::Summary> {
        let config = producer::Config {
            threads: 1,
            data: None,
            blobs: None,
        };
        let (broker, stop) = (self.broker.clone(), Shutdown::new());
        let told = stop.clone();
        let running = tokio::spawn(async move {
            let registry = Arc::new(registry);
            Ok(producer::run(&broker, &registry, &config, &told).await?)
        });
        Program { stop, running }
    }

    /// Asks for the words of text `number`, as a job of the version `K`.
    async fn ask<K>(&self, number: u32) -> Result<Asked>
    where
        K: JobKind<Request = Request>,
    {
        let file = self.folder.join(format!("text-{number}.txt"));
        write_text(&file, CHUNKS * 10 + number)?;
        let request = Request {
            files: vec![file],
            chunk_lines: 10,
        };
        let request = producer::name_job::<K>(&jobs::newer_registry(), &request, None)?;
        let events = Queue::Events(request.job.clone());
        let events = self.broker.subscribe(events, 64).await?;
        self.broker.publish(request.to_message()?).await?;
        Ok(Asked { request, events })
    }

    /// Waits for the end of a job, whose report must say what one process says of the same text.
    async fn is_done(&self, mut asked: Asked) -> Result<()> {
        let job = &asked.request.job;
        let end = finished(&mut asked.events, job).await?;
        ensure!(end.status == Status::Done, "{job}: {end:?}");
        let folder = self.folder.join("results/jobs").join(job.as_str());
        let found: serde_json::Value = serde_json::from_slice(&fs::read(folder.join(REPORT))?)?;
        let request: Request = serde_json::from_str(asked.request.request.get())?;
        let text = fs::read_to_string(&request.files[0])?;
        let mut words = std::collections::BTreeMap::<String, u64>::new();
        for word in text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
        {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
        let lines = text.lines().count();
        let expected = serde_json::json!({"lines": lines, "words": words, "missing": []});
        ensure!(found == expected, "{job}: another report");
        Ok(())
    }

    async fn nothing_is_dead(&self) -> Result<()> {
        for queue in [Queue::DeadChunks, Queue::DeadResults, Queue::DeadJobs] {
            let dead = self.broker.waiting(queue.clone()).await?;
            ensure!(dead == 0, "{dead} messages in {queue:?}");
        }
        Ok(())
    }
}

/// A job that was asked for.
struct Asked {
    request: JobRequest,
    events: Subscription,
}

async fn rolled(home: impl Home<Broker: Clone>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site {
        broker: home.connect().await?,
        folder: folder.path(),
    };
    let old = jobs::registry;
    let new = jobs::newer_registry;
    let (mut asked, mut done) = (Vec::new(), Vec::new());
    let reducer = site.reducer(old());
    let workers = ["a", "b"].map(|name| site.worker(name, old()));
    let cutting = site.producer(old());
    for number in 0..3 {
        asked.push(site.ask::<WordCount>(number).await?);
    }
    // amid these, one program after the other; what is asked for in the new version meanwhile waits
    asked.push(site.ask::<WordCountTwo>(3).await?);
    let mut buried = reducer.stopped().await?.buried;
    let reducer = site.reducer(new());
    asked.push(site.ask::<WordCount>(4).await?);
    let mut renewed = Vec::new();
    for ((number, name), worker) in [(10, "c"), (11, "d")].into_iter().zip(workers) {
        done.push(worker.stopped().await?);
        asked.push(site.ask::<WordCount>(number).await?);
        renewed.push(site.worker(name, new()));
    }
    cutting.stopped().await?;
    let cutting = site.producer(new());
    asked.push(site.ask::<WordCountTwo>(20).await?);
    asked.push(site.ask::<WordCount>(21).await?);
    for asked in asked {
        site.is_done(asked).await?;
    }
    site.nothing_is_dead().await?;
    for worker in renewed {
        done.push(worker.stopped().await?);
    }
    ensure!(done.iter().all(|worker| worker.buried == 0), "{done:?}");
    ensure!(
        done[0].chunks > 0 && done[2].chunks + done[3].chunks > 0,
        "{done:?}"
    );
    let refused = cutting.stopped().await?.refused;
    buried += reducer.stopped().await?.buried;
    ensure!(
        (buried, refused) == (0, 0),
        "{buried} buried, {refused} refused"
    );
    site.broker.close().await;
    Ok(())
}

/// What a new producer cuts waits, untouched, while only old workers are there, and the old jobs pass it.
async fn waits(home: impl Home<Broker: Clone>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site {
        broker: home.connect().await?,
        folder: folder.path(),
    };
    let _reducer = site.reducer(jobs::newer_registry());
    let _producer = site.producer(jobs::newer_registry());
    let worker = site.worker("old", jobs::registry());
    let new = site.ask::<WordCountTwo>(0).await?;
    let old = site.ask::<WordCount>(1).await?;
    site.is_done(old).await?;
    let format = autoconnect_common::Format::of::<WordCountTwo>();
    let all_wait = async {
        let queue = Queue::Chunks(format.clone());
        while site.broker.waiting(queue.clone()).await? != u64::from(CHUNKS) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    soon("all new chunks to wait", all_wait).await??;
    let summary = worker.stopped().await?;
    ensure!(summary.buried == 0 && summary.chunks > 0, "{summary:?}");
    // none of them was ever delivered
    let mut chunks = site.broker.subscribe(Queue::Chunks(format), 1).await?;
    let first = soon("a chunk", chunks.next()).await?.context("open")?;
    ensure!(first.redeliveries == 0, "{first:?}");
    drop((first, chunks));
    let _worker = site.worker("new", jobs::newer_registry());
    site.is_done(new).await?;
    site.nothing_is_dead().await?;
    site.broker.close().await;
    Ok(())
}

/// One embedded broker.
struct InProcess;

impl Home for InProcess {
    type Broker = Embedded;

    async fn connect(&self) -> Result<Embedded> {
        Ok(Embedded::new())
    }

    fn features(&self) -> autoconnect_testkit::broker::Features {
        unreachable!("only the suite of brokers asks")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_upgraded_one_program_at_a_time_in_one_process() -> Result<()> {
    rolled(InProcess).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_upgraded_one_program_at_a_time_through_rabbitmq() -> Result<()> {
    let test = "a_cluster_is_upgraded_one_program_at_a_time_through_rabbitmq";
    match OnNode::of(test) {
        Some(node) => rolled(node).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_old_workers_cannot_read_waits_for_new_ones_in_one_process() -> Result<()> {
    waits(InProcess).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_old_workers_cannot_read_waits_for_new_ones_through_rabbitmq() -> Result<()> {
    let test = "what_old_workers_cannot_read_waits_for_new_ones_through_rabbitmq";
    match OnNode::of(test) {
        Some(node) => waits(node).await,
        None => Ok(()),
    }
}
