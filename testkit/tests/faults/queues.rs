//! Queues that are purged, unbound, redefined, or given a policy: no report is wrong, and a job that is requested again
//! completes.

use std::time::Duration;

use anyhow::{Result, ensure};
use autoconnect_common::broker::Queue;
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::sales;
use autoconnect_testkit::node::Ctl;
use autoconnect_testkit::proxy::Proxy;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use crate::case::{Case, Line};
use crate::stage::Stage;

/// Runs a job whose chunks wait for a slow worker, lets `meddle` act during it, and requests the job again.
async fn meddled(
    test: &str,
    what: &'static str,
    meddle: impl AsyncFnOnce(&Stage, &Ctl) -> Result<()>,
) -> Result<()> {
    let case = Case::sales(4_000, 5).await?;
    let (Some(stage), Some(ctl)) = (Stage::of(test).await?, Ctl::of(test)) else {
        return Ok(());
    };
    let proxy = Proxy::before(stage.uri()).await?;
    proxy.slow(Duration::from_millis(20), None);
    let _others = (stage.start("reducer")?, stage.start("producer")?);
    let _worker = stage.start_by("worker", proxy.uri())?;
    let mut progress = stage.follow(&case.request).await?;
    let line = Line::of(29, what, None);
    stage.ask(&case.request).await?;
    progress.reaches(10).await?;
    meddle(&stage, &ctl).await?;
    let before = progress.now();
    proxy.resume();
    stage.ask(&case.request).await?;
    let execution = stage.done(&case).await?;
    ensure!(before < execution.merged, "all chunks were merged before");
    line.ends(&execution);
    Ok(())
}

/// Puts a policy on a queue for as long as three seconds.
async fn policy(stage: &Stage, ctl: &Ctl, queue: Queue, definition: &str) -> Result<()> {
    let name = stage.named(&queue.name());
    let pattern = format!("^{}$", name.replace('.', "\\."));
    ctl.run(&[
        "set_policy",
        &name,
        &pattern,
        definition,
        "--apply-to",
        "queues",
    ])?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ctl.run(&["clear_policy", &name])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_chunks_purged() -> Result<()> {
    meddled(
        "row_29_chunks_purged",
        "q.chunks purged",
        async |stage, ctl| {
            let purged = ctl.run(&["purge_queue", &stage.named(&Queue::Chunks(sales()).name())]);
            purged.map(drop)
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_chunks_that_expire() -> Result<()> {
    let (test, what) = ("row_29_chunks_that_expire", "q.chunks with a TTL");
    meddled(test, what, async |stage, ctl| {
        policy(stage, ctl, Queue::Chunks(sales()), r#"{"message-ttl":1}"#).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_chunks_that_are_dropped() -> Result<()> {
    let (test, what) = (
        "row_29_chunks_that_are_dropped",
        "q.chunks drops its oldest",
    );
    meddled(test, what, async |stage, ctl| {
        let drops = r#"{"max-length":3,"overflow":"drop-head"}"#;
        policy(stage, ctl, Queue::Chunks(sales()), drops).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_a_queue_redefined() -> Result<()> {
    let (test, what) = ("row_29_a_queue_redefined", "q.chunks redefined as classic");
    meddled(test, what, async |stage, ctl| {
        let name = stage.named(&Queue::Chunks(sales()).name());
        let connection = Connection::connect(stage.uri(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        ctl.run(&["delete_queue", &name])?;
        // One of the programs may be faster; then it is only deleted, as in row 16.
        let classic = channel.queue_declare(name.as_str().into(), durable, FieldTable::default());
        let redefined = classic.await.is_ok();
        tokio::time::sleep(Duration::from_secs(5)).await;
        if redefined {
            ctl.run(&["delete_queue", &name])?;
        }
        Ok(())
    })
    .await
}

/// A binding of q.results that is away for a while loses no page and no partial: the job needs not be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn row_29_a_binding_away() -> Result<()> {
    let test = "row_29_a_binding_away";
    let case = Case::sales(4_000, 5).await?;
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let _others = (stage.start("reducer")?, stage.start("producer")?);
    let _worker = stage.start("worker")?;
    let line = Line::of(29, "a binding of q.results comes and goes", None);
    let connection = Connection::connect(stage.uri(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let (queue, exchange) = (
        stage.named(&Queue::Results(sales()).name()),
        stage.named(Exchange::Results.name()),
    );
    stage.ask(&case.request).await?;
    let flapping = async {
        loop {
            let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
            channel
                .queue_unbind(
                    queue,
                    exchange,
                    sales().key("#").into(),
                    FieldTable::default(),
                )
                .await?;
            tokio::time::sleep(Duration::from_millis(60)).await;
            let (queue, exchange) = (
                stage.named(&Queue::Results(sales()).name()),
                stage.named(Exchange::Results.name()),
            );
            let options = QueueBindOptions::default();
            channel
                .queue_bind(
                    queue.as_str().into(),
                    exchange.as_str().into(),
                    sales().key("#").into(),
                    options,
                    FieldTable::default(),
                )
                .await?;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        #[expect(unreachable_code, reason = "it names the type of the error")]
        anyhow::Ok(())
    };
    let execution = tokio::select! {
        execution = stage.done(&case) => execution?,
        flapped = flapping => return flapped,
    };
    line.ends(&execution);
    Ok(())
}
