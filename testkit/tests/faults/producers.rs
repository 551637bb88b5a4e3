//! Producers that are killed, and producers that must wait.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use autoconnect_common::Shutdown;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_producer as producer;
use autoconnect_testkit::broker::{queue, sales};
use autoconnect_testkit::jobs;
use autoconnect_testkit::node::Ctl;
use autoconnect_testkit::proxy::Proxy;
use rand::RngExt as _;

use crate::case::{Case, Line, random, seeds};
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn row_4_a_producer_killed_and_run_again() -> Result<()> {
    let case = Case::sales(4_000, 5).await?;
    for seed in seeds(1)? {
        let Some(stage) = Stage::of("row_4_a_producer_killed_and_run_again").await? else {
            return Ok(());
        };
        let mut rng = random(seed);
        let _others = (stage.start("reducer")?, stage.workers(2)?);
        let mut progress = stage.follow(&case.request).await?;
        let line = Line::of(4, "a producer killed, and run again", Some(seed));
        stage.ask(&case.request).await?;
        let kills = 3;
        for _ in 0..kills {
            // so slow that it is amid its chunks
            let proxy = Proxy::before(stage.uri()).await?;
            proxy.slow(Duration::ZERO, Some(300_000));
            let mut producer = stage.start_by("producer", proxy.uri())?;
            progress.moves().await?;
            let pause = Duration::from_millis(rng.random_range(0..500));
            tokio::time::sleep(pause).await;
            ensure!(!stage.is_over(&case), "it was over");
            producer.kill()?;
        }
        let _producer = stage.start("producer")?;
        let execution = stage.done(&case).await?;
        ensure!(execution.duplicates > 0, "{execution:?}");
        line.saw(kills, "kills").ends(&execution);
    }
    Ok(())
}

/// What a process uses of the memory, and the most it ever did, in MiB.
fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.context("a figure")?.trim().parse()?;
        anyhow::Ok(kib >> 10)
    };
    Ok((figure("VmRSS:")?, figure("VmHWM:")?))
}

/// The bytes of the smallest and of the largest chunk of a case.
async fn sizes(case: &Case) -> Result<(u64, u64)> {
    let (broker, registry) = (Embedded::new(), Arc::new(jobs::registry()));
    let mut chunks = broker.subscribe(Queue::Chunks(sales()), 1).await?;
    let progress = Arc::default();
    let stop = Shutdown::new();
    let config = producer::Config {
        threads: 1,
        data: None,
        blobs: None,
    };
    let cutting = producer::run_job(&broker, &registry, &case.request, &config, progress, &stop);
    let mut cutting = std::pin::pin!(cutting);
    let mut bodies = Vec::new();
    let manifest = loop {
        tokio::select! {
            manifest = &mut cutting => break manifest?,
            Some(chunk) = chunks.next() => {
                bodies.push(chunk.message.body.len() as u64);
                chunk.ack();
            }
        }
    };
    while bodies.len() < manifest.seqs().count() {
        let chunk = chunks.next().await.context("a chunk")?;
        bodies.push(chunk.message.body.len() as u64);
        chunk.ack();
    }
    let smallest = bodies.iter().min().context("a chunk")?;
    let largest = bodies.iter().max().context("a chunk")?;
    Ok((*smallest, *largest))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_a_slow_worker_and_a_full_queue() -> Result<()> {
    let test = "row_14_a_slow_worker_and_a_full_queue";
    let case = Case::sales(20_000, 5).await?;
    let (smallest, largest) = sizes(&case).await?;
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let ctl = Ctl::of(test).context("rabbitmqctl")?;
    let chunks = queue(Queue::Chunks);
    let queue = stage.named(&chunks);
    // as with 2 GB before a queue of 256 MiB, but quicker
    let (cap, policy) = (1 << 20, format!("small-{queue}"));
    let pattern = format!("^{}$", queue.replace('.', "[.]"));
    let limit = format!("{{\"max-length-bytes\":{cap}}}");
    ctl.run(&[
        "set_policy",
        "--apply-to",
        "queues",
        &policy,
        &pattern,
        &limit,
    ])?;
    let _reducer = stage.start("reducer")?;
    let proxy = Proxy::before(stage.uri()).await?;
    proxy.slow(Duration::from_millis(50), Some(100_000));
    let _slow = stage.start_by("worker", proxy.uri())?;
    let producer = stage.start("producer")?;
    let mut progress = stage.follow(&case.request).await?;
    let (idle, _) = memory(producer.pid())?;
    let line = Line::of(14, "a slow worker before a queue of 1 MiB", None);
    stage.ask(&case.request).await?;
    progress.moves().await?;
    // a queue does not say how many bytes it holds, only how many chunks: between so many bytes and so many
    let mut fullest = 0;
    while fullest * largest < cap {
        ensure!(!stage.is_over(&case), "{fullest} chunks in the queue");
        let counts = stage.messages(&ctl)?;
        fullest = fullest.max(counts[&chunks]);
    }
    let window = producer::WINDOW_BYTES as u64;
    ensure!(
        fullest * smallest <= cap + window,
        "{fullest} chunks in the queue"
    );
    let _workers = stage.workers(2)?;
    let execution = stage.done(&case).await?;
    let (_, peak) = memory(producer.pid())?;
    ensure!(peak < idle + 64, "{peak} MiB, {idle} MiB idle");
    ctl.run(&["clear_policy", &policy])?;
    line.saw((fullest * largest) >> 10, "KiB in the queue at most")
        .saw(peak, "MiB in the producer at most")
        .saw(idle, "MiB idle")
        .ends(&execution);
    Ok(())
}
