//! Results that come again, too late or cannot be, several jobs at once, workers that come and go: on both brokers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::message::{Change, Message, Partial, Status};
use autoconnect_common::{Broker, Shutdown};
use autoconnect_testkit::broker::{Home, soon};
use autoconnect_testkit::chaos::Mischief;
use autoconnect_testkit::cluster::{files_of, finished, results_of};
use autoconnect_testkit::jobs;
use autoconnect_testkit::mine::{self, Harm, Mine};
use autoconnect_testkit::node::OnNode;
use autoconnect_worker::WorkerError;
use autoconnect_worker::faults::{Faults, Point};
use futures_util::future::try_join_all;
use rand::RngExt as _;
use serde_json::Value;

use crate::case::{Case, Line, random, seeds};
use crate::poison::{MINED, mined};
use crate::tasks::{InProcess, Tasks};

/// Writes a test for each broker: with more seeds where it costs less.
macro_rules! on_both_brokers {
    ($($row:ident, $seeds:literal;)*) => {
        mod embedded {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $row() -> Result<()> {
                    super::$row(|| Some(InProcess), $seeds, "in one process").await
                }
            )*
        }

        mod rabbitmq {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $row() -> Result<()> {
                    super::$row(|| OnNode::of(stringify!($row)), 1, "through RabbitMQ").await
                }
            )*
        }
    };
}

on_both_brokers! {
    row_1_workers_that_die_at_random_moments, 4;
    row_2_a_worker_that_dies_at_each_point, 4;
    row_10_every_result_three_times_in_another_order, 4;
    row_11_another_partial_for_the_same_chunk, 4;
    row_12_a_chunk_that_panics, 1;
    row_20_workers_that_come_and_go, 4;
    row_21_eight_jobs_at_once_one_abandoned, 1;
    row_24_results_of_a_job_that_ended, 4;
}

/// A broker that brings messages in another order.
fn in_any_order(seed: u64, copies: u32) -> Mischief {
    Mischief {
        seed,
        copies,
        shuffle: true,
        ..Mischief::default()
    }
}

fn start<B: Broker + Clone>(broker: B, mischief: Mischief) -> Result<Tasks<B>> {
    Tasks::start(
        broker,
        jobs::registry(),
        mischief,
        Duration::from_secs(3600),
    )
}

async fn row_1_workers_that_die_at_random_moments<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(2_000, 5).await?;
    let job = &case.request.job;
    for seed in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let mut rng = random(seed);
        let line = Line::of(1, &format!("workers that die {how}"), Some(seed));
        let tasks = start(home.connect().await?, Mischief::default())?;
        let mut events = tasks.listen(job).await?;
        let worker = || tasks.worker(Faults::default(), Shutdown::new());
        let mut workers: Vec<_> = (0..6).map(|_| worker()).collect();
        tasks.ask(&case.request).await?;
        let mut kills = 0;
        let end = {
            // a message that was on its way when its sender died may never have been sent
            let mut ended = std::pin::pin!(finished(&mut events, job));
            loop {
                let pause = Duration::from_millis(rng.random_range(1..60));
                tokio::select! {
                    end = &mut ended => break end?,
                    // on a busy machine more would die before a chunk is worked than a chunk may come back
                    () = tokio::time::sleep(pause), if kills < 20 => {
                        let at = rng.random_range(0..workers.len());
                        std::mem::replace(&mut workers[at], worker()).abort();
                        kills += 1;
                    }
                }
            }
        };
        ensure!(end.status == Status::Done, "{end:?}");
        let execution = case.check(&tasks.results())?;
        ensure!(kills > 0, "nobody died");
        let redelivered = execution.redeliveries + execution.duplicates;
        ensure!(redelivered <= 2 * kills, "{kills} deaths: {execution:?}");
        tasks.stop().await?;
        line.saw(kills, "deaths").ends(&execution);
    }
    Ok(())
}

async fn row_2_a_worker_that_dies_at_each_point<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let job = &case.request.job;
    for seed in seeds(usual)? {
        for (point, repeats) in [
            (Point::Worked, 0),
            (Point::Confirmed, 1),
            (Point::Acknowledged, 0),
        ] {
            let Some(home) = home() else { return Ok(()) };
            let line = Line::of(2, &format!("a worker dies at {point:?} {how}"), Some(seed));
            let tasks = start(home.connect().await?, in_any_order(seed, 0))?;
            let mut events = tasks.listen(job).await?;
            let (visit, seen) = (random(seed).random_range(1..20), AtomicU32::new(0));
            let dies = Faults::new(move |at| {
                at == point && seen.fetch_add(1, Ordering::Relaxed) + 1 == visit
            });
            let first = tasks.worker(dies, Shutdown::new());
            tasks.ask(&case.request).await?;
            let died = soon("its death", first).await??;
            ensure!(matches!(died, Err(WorkerError::Killed(_))), "{died:?}");
            let _second = tasks.worker(Faults::default(), Shutdown::new());
            let end = tasks.ended(&mut events, job).await?;
            ensure!(end.status == Status::Done, "{end:?}");
            let execution = case.check(&tasks.results())?;
            ensure!(execution.duplicates == repeats, "{point:?}: {execution:?}");
            tasks.stop().await?;
            line.ends(&execution);
        }
    }
    Ok(())
}

async fn row_10_every_result_three_times_in_another_order<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let job = &case.request.job;
    let results = results_of(jobs::registry(), &case.request).await?;
    for seed in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let line = Line::of(10, &format!("every result three times {how}"), Some(seed));
        let tasks = start(home.connect().await?, in_any_order(seed, 2))?;
        let mut events = tasks.listen(job).await?;
        tasks.send(&results).await?;
        let end = tasks.ended(&mut events, job).await?;
        ensure!(end.status == Status::Done, "{end:?}");
        let execution = case.check(&tasks.results())?;
        let summary = tasks.stop().await?;
        let (repeats, sent) = (summary.duplicates + summary.late, results.len() as u64);
        ensure!(repeats == 2 * sent, "{sent} results: {summary:?}");
        line.saw(sent, "results")
            .saw(repeats, "repeats")
            .ends(&execution);
    }
    Ok(())
}

/// The partial of a chunk, made of another one.
fn forged(results: &[Message], seed: u64) -> Result<Message> {
    let mut partials = Vec::new();
    for message in results.iter().filter(|message| message.kind == "partial") {
        match Change::from_message(message)? {
            Change::Partial(partial) => partials.push(partial),
            other => bail!("{other:?}"),
        }
    }
    let at = random(seed).random_range(1..partials.len());
    let other = partials.swap_remove(at - 1);
    let real = partials.pop().context("two partials")?;
    let forged = Partial {
        json: other.json,
        digest: other.digest,
        ..real
    };
    Ok(forged.to_message())
}

async fn row_11_another_partial_for_the_same_chunk<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let job = &case.request.job;
    let results = results_of(jobs::registry(), &case.request).await?;
    for seed in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let line = Line::of(
            11,
            &format!("another partial for a chunk {how}"),
            Some(seed),
        );
        let tasks = start(home.connect().await?, in_any_order(seed, 0))?;
        let mut events = tasks.listen(job).await?;
        tasks.send(&[forged(&results, seed)?]).await?;
        // the job must not be at its end before both of the two came
        let (manifest, partials) = results.split_last().context("a manifest")?;
        tasks.send(partials).await?;
        soon("everything to be acknowledged", tasks.broker.quiet()).await?;
        tasks.send(std::slice::from_ref(manifest)).await?;
        let end = tasks.ended(&mut events, job).await?;
        let reason = end.reason.unwrap_or_default();
        ensure!(
            end.status == Status::Failed && reason.contains("inconsistent"),
            "{:?}: {reason}",
            end.status
        );
        let own = tasks.results().join("jobs").join(job.as_str());
        ensure!(!own.join("report.json").exists(), "there is a report");
        ensure!(!tasks.results().join("report.json").exists());
        tasks.stop().await?;
        line.saw("failed", "as it must").print();
    }
    Ok(())
}

async fn row_12_a_chunk_that_panics<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let job = &case.request.job;
    mine::lay(Mine {
        seq: MINED.parse()?,
        harm: Harm::Panic,
    });
    for _ in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let line = Line::of(12, &format!("a chunk that panics {how}"), None);
        let broker = home.connect().await?;
        let forever = Duration::from_secs(3600);
        let tasks = Tasks::start(broker, mined(), Mischief::default(), forever)?;
        let mut events = tasks.listen(job).await?;
        let stop = Shutdown::new();
        let _workers = [(); 3].map(|()| tasks.worker(Faults::default(), stop.clone()));
        tasks.ask(&case.request).await?;
        let end = tasks.ended(&mut events, job).await?;
        ensure!(end.status == Status::Incomplete, "{end:?}");
        check_only_missing(&files_of(&tasks.results())?["report.json"], MINED)?;
        let summary = tasks.stop().await?;
        line.saw(summary.merged, "neighbours done").print();
    }
    Ok(())
}

/// Checks that a report says itself that it lacks one chunk, and no other.
fn check_only_missing(report: &[u8], seq: &str) -> Result<()> {
    let report: Value = serde_json::from_slice(report)?;
    let quality = &report["qualite"];
    ensure!(
        quality["complet"] == false && quality["chunks_perdus"] == serde_json::json!([seq]),
        "{quality}"
    );
    Ok(())
}

async fn row_20_workers_that_come_and_go<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(2_000, 5).await?;
    let job = &case.request.job;
    for seed in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let mut rng = random(seed);
        let line = Line::of(20, &format!("1 worker, then 6, then 2 {how}"), Some(seed));
        let tasks = start(home.connect().await?, in_any_order(seed, 0))?;
        let mut events = tasks.listen(job).await?;
        let leave = Shutdown::new();
        let worker = |stop| tasks.worker(Faults::default(), stop);
        let _first = worker(Shutdown::new());
        tasks.ask(&case.request).await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..40))).await;
        let _second = worker(Shutdown::new());
        let leaving: Vec<_> = (0..4).map(|_| worker(leave.clone())).collect();
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..40))).await;
        leave.cancel();
        for left in try_join_all(leaving).await? {
            left?;
        }
        let end = tasks.ended(&mut events, job).await?;
        ensure!(end.status == Status::Done, "{end:?}");
        let execution = case.check(&tasks.results())?;
        tasks.stop().await?;
        line.ends(&execution);
    }
    Ok(())
}

async fn row_21_eight_jobs_at_once_one_abandoned<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    // the same file in chunks of other sizes: eight jobs, one answer
    let requests = (10..18)
        .map(|rows| jobs::sales(&case.file, rows))
        .collect::<Result<Vec<_>>>()?;
    let (abandoned, whole) = requests.split_first().context("eight jobs")?;
    let results = results_of(jobs::registry(), abandoned).await?;
    for seed in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let mut rng = random(seed);
        let line = Line::of(
            21,
            &format!("8 jobs at once, one abandoned {how}"),
            Some(seed),
        );
        let (broker, mischief) = (home.connect().await?, in_any_order(seed, 0));
        let tasks = Tasks::start(broker, jobs::registry(), mischief, Duration::from_secs(20))?;
        let mut listening = Vec::new();
        for request in &requests {
            listening.push((request, tasks.listen(&request.job).await?));
        }
        let partials = results.iter().filter(|message| message.kind == "partial");
        let lost = partials.clone().nth(rng.random_range(0..partials.count()));
        let lost = lost.context("a partial")?.id.clone();
        let rest: Vec<_> = results.iter().filter(|m| m.id != lost).cloned().collect();
        let _workers = [(); 3].map(|()| tasks.worker(Faults::default(), Shutdown::new()));
        let asking = try_join_all(whole.iter().map(|request| tasks.ask(request)));
        let (asked, sent) = tokio::join!(asking, tasks.send(&rest));
        asked.and(sent)?;
        for (request, events) in &mut listening {
            let job = &request.job;
            let end = tasks.ended(events, job).await?;
            let mut files = files_of(&tasks.results().join("jobs").join(job.as_str()))?;
            files.remove("execution.json");
            if *job == abandoned.job {
                ensure!(end.status == Status::Incomplete, "{end:?}");
                let seq = lost.split('/').nth(1).context("a seq")?;
                check_only_missing(&files["report.json"], seq)?;
            } else {
                ensure!(end.status == Status::Done, "{job}: {end:?}");
                case.check_files(&files).with_context(|| job.to_string())?;
            }
        }
        let summary = tasks.stop().await?;
        ensure!((summary.done, summary.incomplete) == (7, 1), "{summary:?}");
        line.saw(7, "right").saw(1, "incomplete").print();
    }
    Ok(())
}

async fn row_24_results_of_a_job_that_ended<H: Home<Broker: Clone>>(
    home: impl Fn() -> Option<H>,
    usual: u64,
    how: &str,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let job = &case.request.job;
    let results = results_of(jobs::registry(), &case.request).await?;
    for seed in seeds(usual)? {
        let Some(home) = home() else { return Ok(()) };
        let line = Line::of(
            24,
            &format!("results of a job that ended {how}"),
            Some(seed),
        );
        let tasks = start(home.connect().await?, in_any_order(seed, 0))?;
        let mut events = tasks.listen(job).await?;
        tasks.send(&results).await?;
        tasks.ended(&mut events, job).await?;
        // all of them again, and one that says something else
        tasks.send(&results).await?;
        tasks.send(&[forged(&results, seed)?]).await?;
        let end = tasks.ended(&mut events, job).await?;
        ensure!(end.status == Status::Done, "{end:?}");
        let execution = case.check(&tasks.results())?;
        let summary = tasks.stop().await?;
        let late = results.len() as u64 + 1;
        ensure!(summary.late == late && summary.done == 1, "{summary:?}");
        line.saw(late, "late results dropped").ends(&execution);
    }
    Ok(())
}
