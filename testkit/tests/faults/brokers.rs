//! Brokers that are killed, stopped, frozen, short of memory or disk, and whose queues are changed by hand.

use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::Queue;
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::{queue, sales};
use autoconnect_testkit::node::{Ctl, OwnNode};
use autoconnect_testkit::program::Running;
use autoconnect_testkit::proxy::Proxy;
use lapin::options::QueueBindOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties};
use rand::RngExt as _;

use crate::case::{Case, Line, random, seeds};
use crate::stage::{LONG, Stage, at_most, until};

/// How long everybody may take to be back after the broker is.
const BACK: Duration = Duration::from_secs(15);

/// Waits until every role of the stage takes from its queue again.
async fn all_back(stage: &Stage, workers: u32) -> Result<()> {
    let back = async || {
        let queues = [
            queue(Queue::Chunks),
            queue(Queue::Results),
            queue(Queue::Jobs),
        ];
        let found = stage.consumers(queues).await;
        found.is_ok_and(|found| found == [workers, 1, 1])
    };
    until("all to be back", at_most(BACK), back).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_5_a_broker_killed_and_stopped_three_times_in_a_job() -> Result<()> {
    let test = "row_5_a_broker_killed_and_stopped_three_times_in_a_job";
    let case = Case::sales(10_000, 5).await?;
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    for seed in seeds(1)? {
        let mut rng = random(seed);
        let stage = Stage::at(node.uri(), test).await?;
        let _others = (stage.start("reducer")?, stage.start("producer")?);
        let _workers = stage.workers(2)?;
        let mut progress = stage.follow(&case.request).await?;
        let mut line = Line::of(5, "a broker killed and stopped", Some(seed));
        stage.ask(&case.request).await?;
        let mut slowest = Duration::ZERO;
        for share in [1, 2, 3] {
            progress.reaches(share * rng.random_range(300..500)).await?;
            let signal = if rng.random_bool(0.5) { "KILL" } else { "TERM" };
            node.signal(signal)?;
            node.again()?;
            let since = Instant::now();
            all_back(&stage, 2).await?;
            slowest = slowest.max(since.elapsed());
            line = line.saw(signal, "");
        }
        let execution = stage.done(&case).await?;
        line.saw(
            format!("{:.1}", slowest.as_secs_f64()),
            "s until all were back at most",
        )
        .ends(&execution);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_5_the_command_sees_its_job_to_the_end() -> Result<()> {
    let test = "row_5_the_command_sees_its_job_to_the_end";
    let case = Case::sales(10_000, 5).await?;
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    for seed in seeds(1)? {
        let stage = Stage::at(node.uri(), test).await?;
        let line = Line::of(5, "a broker killed under autoconnect run", Some(seed));
        let mut run = stage.run(&case, "out", stage.uri())?;
        let run = run.args(["--workers", "2"]).spawn()?;
        let pause = Duration::from_millis(random(seed).random_range(1_000..5_000));
        tokio::time::sleep(pause).await;
        node.signal("KILL")?;
        node.again()?;
        succeeds(run).await?;
        let execution = case.check(&stage.path("out"))?;
        line.saw(format!("{:.1}", pause.as_secs_f64()), "s into the job")
            .ends(&execution);
    }
    Ok(())
}

/// Waits until `autoconnect run` ends well.
async fn succeeds(mut run: Child) -> Result<()> {
    let mut status = None;
    let ended = async || {
        status = run.try_wait().ok().flatten();
        status.is_some()
    };
    let waited = until("autoconnect run to end", LONG, ended).await;
    if waited.is_err() {
        run.kill()?;
    }
    waited?;
    ensure!(status.is_some_and(|status| status.success()), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_5_the_command_hears_of_an_end_that_it_missed() -> Result<()> {
    let test = "row_5_the_command_hears_of_an_end_that_it_missed";
    let case = Case::sales(1_000, 20).await?;
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let proxy = Proxy::before(stage.uri()).await?;
    let _reducer = stage.start("reducer")?;
    let line = Line::of(5, "autoconnect run cut off while its job ends", None);
    let run = stage.run(&case, "out", proxy.uri())?.spawn()?;
    // without workers, the manifest is the job's last message
    let manifest = async || {
        let Ok(mut jobs) = stage.path("state/jobs").read_dir() else {
            return false;
        };
        jobs.any(|job| {
            let journal = job.map(|job| std::fs::read(job.path().join("journal.0")));
            let journal = journal.and_then(|read| read).unwrap_or_default();
            String::from_utf8_lossy(&journal).contains("{\"manifest\":")
        })
    };
    until("the manifest", LONG, manifest).await?;
    proxy.refuse();
    let _worker = stage.start("worker")?;
    let done = stage.path("state/done");
    let ended = async || {
        done.read_dir()
            .is_ok_and(|mut ended| ended.next().is_some())
    };
    until("the job's end", LONG, ended).await?;
    proxy.resume();
    let since = Instant::now();
    succeeds(run).await?;
    let execution = case.check(&stage.path("out"))?;
    line.took(since, "until it heard").ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_6_a_frozen_broker() -> Result<()> {
    let case = Case::sales(4_000, 5).await?;
    let Some(node) = OwnNode::of("row_6_a_frozen_broker", None)? else {
        return Ok(());
    };
    let stage = Stage::at(node.uri(), "row_6_a_frozen_broker").await?;
    let proxy = Proxy::before(stage.uri()).await?;
    let start = |name| stage.start_by(name, proxy.uri());
    let _others = (start("reducer")?, start("producer")?, start("worker")?);
    let mut progress = stage.follow(&case.request).await?;
    let line = Line::of(6, "a broker frozen", None);
    stage.ask(&case.request).await?;
    progress.moves().await?;
    node.signal("STOP")?;
    let since = Instant::now();
    let noticed = async || proxy.given_up(since.into());
    let figure = at_most(Duration::from_secs(21));
    until("everybody to notice", figure, noticed).await?;
    let line = line.took(since, "until everybody noticed");
    node.signal("CONT")?;
    let since = Instant::now();
    all_back(&stage, 1).await?;
    let line = line.took(since, "until all were back");
    let execution = stage.done(&case).await?;
    line.ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_a_disk_alarm_and_a_memory_alarm() -> Result<()> {
    let test = "row_13_a_disk_alarm_and_a_memory_alarm";
    let case = Case::sales(6_000, 5).await?;
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    let ctl = node.ctl();
    let stage = Stage::at(node.uri(), test).await?;
    let _others = (stage.start("reducer")?, stage.start("producer")?);
    // some 100 chunks a second, on a machine that is quick as well
    let proxy = Proxy::before(stage.uri()).await?;
    proxy.slow(Duration::from_millis(5), None);
    let _worker = stage.start_by("worker", proxy.uri())?;
    let mut progress = stage.follow(&case.request).await?;
    let mut before = 0;
    let mut line = Line::of(13, "a disk alarm, then a memory alarm", None);
    stage.ask(&case.request).await?;
    let alarms: [(&[&str], &[&str]); 2] = [
        (
            &["set_disk_free_limit", "900000GB"],
            &["set_disk_free_limit", "50MB"],
        ),
        (
            &["set_vm_memory_high_watermark", "absolute", "1MB"],
            &["set_vm_memory_high_watermark", "absolute", "2GB"],
        ),
    ];
    for (raise, clear) in alarms {
        progress.moves().await?;
        ctl.run(raise)?;
        // the reducer still takes what was published before
        let mut last = progress.now();
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if std::mem::replace(&mut last, progress.now()) == last {
                break;
            }
        }
        let since = Instant::now();
        tokio::time::sleep(Duration::from_secs(6)).await;
        ensure!(progress.now() == last, "it went on under an alarm");
        before = last;
        ctl.run(clear)?;
        progress.moves().await?;
        line = line.took(since, "stalled");
    }
    proxy.resume();
    let execution = stage.done(&case).await?;
    ensure!(before < execution.merged, "it was over before the alarm");
    line.ends(&execution);
    Ok(())
}

/// Binds the queue of chunks to the chunks of one city instead of all: by a connection, since `rabbitmqctl` may take longer to
/// start than the job takes.
async fn only_one_city(stage: &Stage) -> Result<()> {
    let connection = Connection::connect(stage.uri(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let name = |name| ShortString::from(stage.named(name));
    let (chunks, exchange) = (name(&queue(Queue::Chunks)), name(Exchange::Chunks.name()));
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let bind = channel.queue_bind(
        chunks.clone(),
        exchange.clone(),
        sales().key("paris").into(),
        options,
        none.clone(),
    );
    bind.await?;
    let unbind = channel.queue_unbind(chunks, exchange, sales().key("#").into(), none);
    unbind.await?;
    Ok(connection.close(200, "unbound".into()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_a_binding_deleted_and_cities_that_nobody_expects() -> Result<()> {
    let test = "row_15_a_binding_deleted_and_cities_that_nobody_expects";
    let case = Case::sales(4_000, 5).await?;
    for seed in seeds(1)? {
        let (Some(stage), Some(ctl)) = (Stage::of(test).await?, Ctl::of(test)) else {
            return Ok(());
        };
        // one that declares puts the binding back with its next connection, or after half a minute
        let guest = |name, uri| {
            let mut command = stage.command_by(name, uri)?;
            command.env("AUTOCONNECT_BROKER__DECLARE", "false");
            Running::start(command, &format!("{name} started"))
        };
        let _others = ["reducer", "worker", "worker"]
            .map(|name| guest(name, stage.uri()))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        // so slow that it is amid its chunks
        let proxy = Proxy::before(stage.uri()).await?;
        proxy.slow(Duration::ZERO, Some(250_000));
        let _producer = guest("producer", proxy.uri())?;
        let mut progress = stage.follow(&case.request).await?;
        let line = Line::of(15, "all bindings but one city's deleted", Some(seed));
        stage.ask(&case.request).await?;
        progress.reaches(random(seed).random_range(1..100)).await?;
        only_one_city(&stage).await?;
        let before = progress.now();
        let execution = stage.done(&case).await?;
        let left = execution.merged - before;
        ensure!(left > 50, "only {left} chunks were still to come");
        let bound = ctl.run(&[
            "list_bindings",
            "--quiet",
            "destination_name",
            "routing_key",
        ])?;
        // but that of the exchange for what no other binding takes
        let all = format!(
            "{}\t{}",
            stage.named(&queue(Queue::Chunks)),
            sales().key("#")
        );
        ensure!(bound.matches(&all).count() == 1, "{bound}");
        line.saw(left, "chunks left to come").ends(&execution);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_queues_deleted_under_their_consumers() -> Result<()> {
    let test = "row_16_queues_deleted_under_their_consumers";
    let case = Case::sales(4_000, 5).await?;
    let (Some(stage), Some(ctl)) = (Stage::of(test).await?, Ctl::of(test)) else {
        return Ok(());
    };
    // so slow that most chunks are in the queue
    let proxy = Proxy::before(stage.uri()).await?;
    proxy.slow(Duration::from_millis(20), None);
    let _others = (stage.start("reducer")?, stage.start("producer")?);
    let _worker = stage.start_by("worker", proxy.uri())?;
    let mut progress = stage.follow(&case.request).await?;
    let line = Line::of(16, "the queues of chunks and results deleted", None);
    stage.ask(&case.request).await?;
    progress.reaches(10).await?;
    for queue in [queue(Queue::Chunks), queue(Queue::Results)] {
        ctl.run(&["delete_queue", &stage.named(&queue)])?;
    }
    let since = Instant::now();
    all_back(&stage, 1).await?;
    let line = line.took(since, "until all were back");
    let before = progress.now();
    proxy.resume();
    stage.ask(&case.request).await?;
    let execution = stage.done(&case).await?;
    ensure!(before < execution.merged, "all chunks were merged before");
    line.ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_all_connections_closed_every_three_seconds() -> Result<()> {
    let test = "row_19_all_connections_closed_every_three_seconds";
    let case = Case::sales(12_000, 5).await?;
    let Some(ctl) = Ctl::of(test) else {
        return Ok(());
    };
    for seed in seeds(1)? {
        let Some(elsewhere) = Stage::of(test).await? else {
            return Ok(());
        };
        let uri = elsewhere.uri();
        let vhost = elsewhere.named("closed");
        let user = uri.trim_start_matches("amqp://").split(':').next();
        let user = user.context("a user")?;
        ctl.run(&["add_vhost", &vhost])?;
        ctl.run(&["set_permissions", "-p", &vhost, user, ".*", ".*", ".*"])?;
        let stage = Stage::at(&uri.replace("%2f", &vhost), test).await?;
        let _others = (stage.start("reducer")?, stage.start("producer")?);
        let _worker = stage.start("worker")?;
        let line = Line::of(19, "all connections closed every 3 s", Some(seed));
        stage.ask(&case.request).await?;
        let mut closed = 0;
        let execution = {
            let mut done = std::pin::pin!(stage.done(&case));
            let mut every = tokio::time::interval(Duration::from_secs(3));
            loop {
                tokio::select! {
                    execution = &mut done => break execution?,
                    _ = every.tick() => {
                        ctl.run(&["close_all_connections", "--vhost", &vhost, "a test"])?;
                        closed += 1;
                    }
                }
            }
        };
        ctl.run(&["delete_vhost", &vhost])?;
        ensure!(closed > 1, "the job was over too soon");
        line.saw(closed, "times").ends(&execution);
    }
    Ok(())
}
