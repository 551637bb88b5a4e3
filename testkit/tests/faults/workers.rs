//! Workers that are killed, cut off, too slow, started and stopped.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use autoconnect_testkit::mine::{KILL, MINE, STRUCK};
use autoconnect_testkit::node::OwnNode;
use autoconnect_testkit::program::Running;
use autoconnect_testkit::proxy::Proxy;
use rand::RngExt as _;

use crate::case::{Case, Line, random, seeds};
use crate::stage::{Stage, at_most, stop};

#[tokio::test(flavor = "multi_thread")]
async fn row_1_a_worker_killed_every_now_and_then() -> Result<()> {
    let case = Case::sales(20_000, 4).await?;
    for seed in seeds(1)? {
        let Some(stage) = Stage::of("row_1_a_worker_killed_every_now_and_then").await? else {
            return Ok(());
        };
        let mut rng = random(seed);
        let _others = (stage.start("reducer")?, stage.start("producer")?);
        let mut workers = stage.workers(6)?;
        let mut progress = stage.follow(&case.request).await?;
        let line = Line::of(1, "6 workers, one killed now and then", Some(seed));
        stage.ask(&case.request).await?;
        progress.moves().await?;
        let mut kills = 0;
        let execution = {
            let mut done = std::pin::pin!(stage.done(&case));
            loop {
                let pause = Duration::from_millis(rng.random_range(200..2_000));
                tokio::select! {
                    execution = &mut done => break execution?,
                    () = tokio::time::sleep(pause) => {
                        let at = rng.random_range(0..workers.len());
                        workers[at].kill()?;
                        workers[at] = stage.start("worker")?;
                        kills += 1;
                    }
                }
            }
        };
        ensure!(kills > 0, "the job was over before anybody was killed");
        // a chunk comes again before its partial is merged, or after that, and is then a duplicate
        let redelivered = execution.redeliveries + execution.duplicates;
        ensure!(redelivered <= 2 * kills, "{kills} kills: {execution:?}");
        line.saw(kills, "kills").ends(&execution);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_2_a_worker_killed_between_confirm_and_acknowledgement() -> Result<()> {
    let case = Case::sales(1_000, 5).await?;
    for seed in seeds(2)? {
        let test = "row_2_a_worker_killed_between_confirm_and_acknowledgement";
        let Some(stage) = Stage::of(test).await? else {
            return Ok(());
        };
        let _others = (stage.start("reducer")?, stage.start("producer")?);
        let line = Line::of(2, "killed between confirm and acknowledgement", Some(seed));
        let mut command = stage.command("mined-worker")?;
        // with one chunk in hand, there is no other that may have come as far
        command.env("AUTOCONNECT_WORKER__PREFETCH", "1");
        command.env(KILL, random(seed).random_range(1..50).to_string());
        let mut killed = Running::start(command, "mined-worker started")?;
        stage.ask(&case.request).await?;
        killed.gone().context("it was not killed")?;
        let _worker = stage.start("worker")?;
        let execution = stage.done(&case).await?;
        ensure!(execution.duplicates == 1, "{execution:?}");
        line.saw(1, "kill").ends(&execution);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_a_worker_cut_off_with_chunks_in_hand() -> Result<()> {
    let test = "row_7_a_worker_cut_off_with_chunks_in_hand";
    let case = Case::sales(4_000, 5).await?;
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let proxy = Proxy::before(stage.uri()).await?;
    let mut reducer = stage.start_talkative("reducer")?;
    let _producer = stage.start("producer")?;
    let mut command = stage.command_by("mined-worker", proxy.uri())?;
    command.env(MINE, "0.100=2");
    let mut cut_off = Running::start(command, "mined-worker started")?;
    let line = Line::of(7, "a worker cut off", None);
    stage.ask(&case.request).await?;
    // it is amid a chunk, and will publish into the void
    cut_off.logs(STRUCK)?;
    proxy.freeze();
    let since = Instant::now();
    let _worker = stage.start("worker")?;
    let execution = stage.done(&case).await?;
    let line = line.took(since, "until others had its chunks");
    ensure!(
        since.elapsed() < at_most(Duration::from_secs(30)),
        "redelivered late"
    );
    ensure!(execution.redeliveries > 0, "{execution:?}");
    // it gave its connections up, comes back, and publishes what it still has
    proxy.resume();
    reducer.logs("late result dropped")?;
    case.check(&stage.results())?;
    line.saw(1, "late partial dropped").ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_chunk_held_longer_than_the_broker_allows() -> Result<()> {
    let test = "row_17_a_chunk_held_longer_than_the_broker_allows";
    let case = Case::sales(1_000, 5).await?;
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    node.set_consumer_timeout("q[.]chunks", 5_000)?;
    let stage = Stage::at(node.uri(), test).await?;
    let _others = (stage.start("reducer")?, stage.start("producer")?);
    let line = Line::of(17, "a consumer timeout of 5 s, a chunk held for 9 s", None);
    let mut command = stage.command("mined-worker")?;
    command.env(MINE, "0.7=9");
    let _slow = Running::start(command, "mined-worker started")?;
    stage.ask(&case.request).await?;
    let mut progress = stage.follow(&case.request).await?;
    progress.moves().await?;
    let _worker = stage.start("worker")?;
    let execution = stage.done(&case).await?;
    ensure!(execution.redeliveries > 0, "{execution:?}");
    line.ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_one_worker_then_six_then_two_under_load() -> Result<()> {
    let case = Case::sales(12_000, 4).await?;
    for seed in seeds(1)? {
        let test = "row_20_one_worker_then_six_then_two_under_load";
        let Some(stage) = Stage::of(test).await? else {
            return Ok(());
        };
        let mut rng = random(seed);
        let _others = (stage.start("reducer")?, stage.start("producer")?);
        let line = Line::of(20, "1 worker, then 6, then 2", Some(seed));
        let mut workers = stage.workers(1)?;
        let mut progress = stage.follow(&case.request).await?;
        stage.ask(&case.request).await?;
        progress.reaches(rng.random_range(1..300)).await?;
        workers.extend(stage.workers(5)?);
        progress
            .reaches(progress.now() + rng.random_range(1..400))
            .await?;
        for mut leaving in workers.drain(2..) {
            stop(&mut leaving)?;
        }
        let before = progress.now();
        let execution = stage.done(&case).await?;
        ensure!(before < execution.merged, "it was over before they left");
        ensure!(execution.missing.is_empty(), "{execution:?}");
        line.ends(&execution);
    }
    Ok(())
}
