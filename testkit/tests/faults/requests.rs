//! Requests that are held for long, and requests whose producers die.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::Status;
use autoconnect_testkit::broker::queue;
use autoconnect_testkit::node::{Ctl, OwnNode};

use crate::case::{Case, Line};
use crate::stage::Stage;

/// Limits the queue of chunks so that a cut waits while there are no workers.
fn narrow(stage: &Stage, ctl: &Ctl) -> Result<String> {
    let queue = stage.named(&queue(Queue::Chunks));
    let (policy, pattern) = (
        format!("narrow-{queue}"),
        format!("^{}$", queue.replace('.', "[.]")),
    );
    let limit = r#"{"max-length-bytes":100000}"#;
    let set = ["set_policy", "--apply-to", "queues"];
    ctl.run(&[&set[..], &[&policy, &pattern, limit]].concat())?;
    Ok(policy)
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_a_cut_longer_than_the_consumer_timeout() -> Result<()> {
    let test = "row_26_a_cut_longer_than_the_consumer_timeout";
    let (long, small) = (Case::sales(20_000, 5).await?, Case::sales(500, 5).await?);
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    node.set_consumer_timeout("q[.]jobs", 8_000)?;
    let stage = Stage::at(node.uri(), test).await?;
    let policy = narrow(&stage, &node.ctl())?;
    let _reducer = stage.start("reducer")?;
    let mut first = stage.start_talkative("producer")?;
    let line = Line::of(26, "a cut of over 20 s, a consumer timeout of 8 s", None);
    stage.ask(&long.request).await?;
    first.logs("request left to the reducer")?;
    // it neither comes back nor keeps the next one from others
    tokio::time::sleep(Duration::from_secs(20)).await;
    stage.ask(&small.request).await?;
    let mut second = stage.start_talkative("producer")?;
    second.logs("cutting a job")?;
    node.ctl().run(&["clear_policy", &policy])?;
    let _workers = stage.workers(2)?;
    for case in [&long, &small] {
        let end = stage.ended(&case.request).await?;
        ensure!(end.status == Status::Done, "{end:?}");
        let own = stage.results().join("jobs").join(case.request.job.as_str());
        case.check(&own)?;
    }
    let cuts = |wrote: String| wrote.matches("cutting a job").count();
    let seen = (cuts(first.wrote()), cuts(second.wrote()));
    ensure!(seen == (1, 1), "{seen:?} cuts");
    line.saw(2, "cuts of two jobs").print();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_27_a_request_whose_producer_dies_each_time() -> Result<()> {
    let test = "row_27_a_request_whose_producer_dies_each_time";
    let (deadly, next) = (Case::sales(20_000, 5).await?, Case::sales(500, 5).await?);
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let ctl = Ctl::of(test).context("rabbitmqctl")?;
    let policy = narrow(&stage, &ctl)?;
    let _reducer = stage.start("reducer")?;
    let line = Line::of(27, "a request whose producer dies each time", None);
    stage.ask(&deadly.request).await?;
    stage.ask(&next.request).await?;
    let mut kills = 0_u32;
    while stage.broker.waiting(Queue::DeadJobs).await? == 0 {
        ensure!(kills < 40, "it is tried again and again");
        let mut producer = stage.start("producer")?;
        producer.logs("cutting a job")?;
        producer.kill()?;
        kills += 1;
    }
    ctl.run(&["clear_policy", &policy])?;
    let _others = (stage.start("producer")?, stage.workers(1)?);
    let end = stage.ended(&next.request).await?;
    ensure!(end.status == Status::Done, "{end:?}");
    let end = stage.ended(&deadly.request).await?;
    ensure!(end.status == Status::Failed, "{end:?}");
    // the broker's own word for it
    let why =
        "delivered it too often (delivery_limit): each time its consumer died or gave it back";
    let reason = end.reason.as_deref().unwrap_or_default();
    ensure!(
        reason.starts_with("the job was not cut: ") && reason.ends_with(why),
        "{end:?}"
    );
    let mut list = stage.command("autoconnect")?;
    let listed = list.args(["dead", "list"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    ensure!(
        listed.contains(&format!("{}/job", deadly.request.job)) && listed.contains(why),
        "{listed}"
    );
    line.saw(kills, "producers dead").print();
    Ok(())
}
