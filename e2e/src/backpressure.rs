//! A file of 2 GB and one slow worker: the producer must wait, with bounded memory and a bounded queue.
//!
//! The worker is slow because it is stopped (SIGSTOP) for most of each second. The run ends once the queue has been full for
//! a while, because nothing changes after that.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use autoconnect_common::broker::Queue;
use autoconnect_testkit::broker::queue;
use clap::Args;

use crate::cluster::{Cluster, folder};
use crate::figures::{mib, row, seconds, table};
use crate::process::{resident_peak, signal};
use crate::work::{Plan, Work};

/// The limit of the queue of chunks, and the bytes that may be on their way to it: the producer's window.
const QUEUE: u64 = (256 << 20) + (4 << 20);
/// The most memory of the producer, in KiB.
const PRODUCER: u64 = 64 << 10;
/// How long the worker runs and is stopped, by turns.
const TURN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(950));
/// How often queue and memory are measured.
const LOOK: Duration = Duration::from_secs(5);
/// The bytes from which the queue counts as full: less than a chunk of this file below its limit.
const FULL: u64 = 255 << 20;

/// The size of the file and the length of the run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rows of the file; 34 million are 2 GB
    #[arg(long, default_value_t = 34_000_000)]
    rows: u64,
    /// How long the queue is watched once it is full, in seconds
    #[arg(long, default_value_t = 90)]
    watch: u64,
}

/// Runs it, and prints the producer's memory and the queue's length.
///
/// # Errors
/// If either exceeds its bound.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let plan = Plan::new(options.rows, 12, 0.0, 16_384);
    let work = Work::file_only(plan, &folder()?.join("data"))?;
    let cluster = Cluster::start("backpressure", 1).await?;
    println!(
        "backpressure: {} rows, {:.2} GB, one worker that works 1/20 of the time\n",
        options.rows,
        work.bytes()? as f64 / 1e9
    );
    let _asked = cluster.ask(&work, "backpressure").await?;
    tokio::select! {
        slowed = slow(&cluster) => slowed,
        watched = watch(&cluster, Duration::from_secs(options.watch)) => watched,
    }?;
    // a stopped process (SIGSTOP) cannot handle the signal to end
    if let Some(pid) = cluster.program("worker-1")?.pid() {
        signal(pid, "CONT")?;
    }
    cluster.stop().await
}

/// Lets the worker run for a part of the time only.
async fn slow(cluster: &Cluster) -> Result<()> {
    loop {
        let pid = cluster.program("worker-1")?.pid();
        for (name, time) in [("CONT", TURN.0), ("STOP", TURN.1)] {
            if let Some(pid) = pid {
                signal(pid, name)?;
            }
            tokio::time::sleep(time).await;
        }
    }
}

async fn watch(cluster: &Cluster, length: Duration) -> Result<()> {
    let begin = Instant::now();
    let mut full: Option<Instant> = None;
    let mut rows = vec![row([
        &"s",
        &"chunks waiting",
        &"MiB waiting",
        &"producer MiB",
        &"its peak",
    ])];
    let chunks_queue = queue(Queue::Chunks);
    let (mut most_queued, mut peak) = (0, 0);
    while full.is_none_or(|since| since.elapsed() < length) {
        tokio::time::sleep(LOOK).await;
        let queues = cluster.node.queues().await?;
        let chunks = queues.iter().find(|(name, ..)| *name == chunks_queue);
        let (messages, bytes) = chunks.map_or((0, 0), |&(_, messages, bytes)| (messages, bytes));
        let pid = cluster.program("producer")?.pid();
        peak = pid.and_then(resident_peak).unwrap_or(0);
        most_queued = bytes.max(most_queued);
        if bytes >= FULL {
            full.get_or_insert_with(Instant::now);
        }
        rows.push(row([
            &seconds(begin.elapsed()),
            &messages,
            &mib(bytes / 1024),
            &mib(cluster.resident("producer").unwrap_or(0)),
            &mib(peak),
        ]));
        ensure!(
            full.is_some() || begin.elapsed() < Duration::from_secs(600),
            "the queue never came to its cap: the worker is not slow enough"
        );
    }
    table(&rows);
    println!(
        "\nmost: queue {} MiB, producer {} MiB",
        mib(most_queued / 1024),
        mib(peak)
    );
    ensure!(
        most_queued <= QUEUE,
        "the queue held {most_queued} bytes, expected at most {QUEUE}"
    );
    ensure!(
        peak <= PRODUCER,
        "the producer held {peak} KiB, expected at most {PRODUCER}"
    );
    Ok(())
}
