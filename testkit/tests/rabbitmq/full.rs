//! A full queue stops only the messages for it, and is reported.

use anyhow::{Result, ensure};
use autoconnect_common::broker::{Broker, Offered, Queue};
use autoconnect_common::dead;
use autoconnect_common::message::{Exchange, reason};
use autoconnect_testkit::broker::{Home as _, message, next, queue, sales, soon};
use autoconnect_testkit::node::{OnNode, OwnNode};

use crate::stage::until;

/// A node of its own whose queue `name` holds almost nothing.
async fn with_full(test: &str, name: &str) -> Result<Option<(OwnNode, OnNode)>> {
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(None);
    };
    // the time after which the broker retries a refused dead letter: 3 minutes by default
    let impatient =
        "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000).";
    node.ctl().run(&["eval", impatient])?;
    let queues = OnNode::at(node.uri().to_owned(), test);
    let broker = queues.connect().await?;
    broker.reach().await?;
    broker.close().await;
    let pattern = format!("^{}$", queues.named(name).replace('.', "\\."));
    let limit = r#"{"max-length":1}"#;
    node.ctl().run(&[
        "set_policy",
        "full",
        &pattern,
        limit,
        "--apply-to",
        "queues",
    ])?;
    Ok(Some((node, queues)))
}

/// Publishes to the full queue until it takes no more.
async fn fill(broker: &impl Broker, key: &str) -> Result<()> {
    for number in 0..1000 {
        let filling = message(Exchange::Dead, key, &format!("filling/{number}"), "x");
        if matches!(broker.offer(filling).await?, Offered::Refused(_)) {
            return Ok(());
        }
    }
    anyhow::bail!("the queue is never full")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_dead_queue_refuses_at_once_and_stops_no_other_message() -> Result<()> {
    let test = "a_full_dead_queue_refuses_at_once_and_stops_no_other_message";
    let Some((_node, queues)) = with_full(test, "q.results.dead").await? else {
        return Ok(());
    };
    let broker = queues.connect().await?;
    fill(&broker, "results").await?;
    // More than the publisher's window of messages wait for the dead queue, and more are offered.
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..200 {
        let broker = broker.clone();
        let dead = message(Exchange::Dead, "results", &format!("dead/{number}"), "x");
        waiting.spawn(async move { broker.publish(dead).await });
    }
    for number in 0..50 {
        let good = message(
            Exchange::Jobs,
            sales().to_string(),
            &number.to_string(),
            "x",
        );
        soon("a good message to be taken", broker.publish(good)).await??;
        let dead = message(Exchange::Dead, "results", &format!("offer/{number}"), "x");
        let offered = soon("an answer", broker.offer(dead)).await??;
        ensure!(matches!(offered, Offered::Refused(_)), "{offered:?}");
    }
    until("word of the full queue", async || {
        let troubles = broker.health().troubles();
        Ok(troubles.iter().any(|why| why.contains("is full")))
    })
    .await?;
    waiting.shutdown().await;
    broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_dead_lettered_now_is_so_by_the_broker_once_there_is_room() -> Result<()> {
    let test = "what_cannot_be_dead_lettered_now_is_so_by_the_broker_once_there_is_room";
    let Some((node, queues)) = with_full(test, "q.results.dead").await? else {
        return Ok(());
    };
    let broker = queues.connect().await?;
    fill(&broker, "results").await?;
    let odd = message(Exchange::Results, sales().key("job"), "odd", "x");
    broker.publish(odd).await?;
    let good = message(Exchange::Results, sales().key("job"), "good", "x");
    broker.publish(good).await?;
    let mut results = broker.subscribe(Queue::Results(sales()), 1).await?;
    let delivery = next(&mut results).await?;
    ensure!(delivery.message.id == "odd", "{delivery:?}");
    let mut dead = delivery.message.clone();
    (dead.exchange, dead.key) = (Exchange::Dead, "results".to_owned());
    let verdict = soon("a verdict", dead::dead_letter(&broker, dead)).await??;
    delivery.settle(verdict);
    // The next one comes although the prefetch is 1 and the dead queue is full.
    let delivery = next(&mut results).await?;
    ensure!(delivery.message.id == "good", "{delivery:?}");
    delivery.ack();
    let troubles = broker.health().troubles();
    ensure!(
        troubles
            .iter()
            .any(|why| why.contains("autoconnect dead list")),
        "{troubles:?}"
    );
    node.ctl().run(&["clear_policy", "full"])?;
    let mut dead = broker.subscribe(Queue::DeadResults, 100).await?;
    let odd = loop {
        let delivery = next(&mut dead).await?;
        if delivery.message.id == "odd" {
            break delivery;
        }
        delivery.ack();
    };
    let why = reason(&odd.message);
    ensure!(
        why.contains("rejected") && why.contains(&queue(Queue::Results)),
        "{why}"
    );
    odd.ack();
    broker.close().await;
    Ok(())
}

/// A time limit that a policy puts on a queue moves messages to the dead ones; these say so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_lets_expire_says_so() -> Result<()> {
    let test = "what_a_policy_lets_expire_says_so";
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    let queues = OnNode::at(node.uri().to_owned(), test);
    let broker = queues.connect().await?;
    broker.reach().await?;
    let ttl = r#"{"message-ttl":100}"#;
    let pattern = format!(
        "^{}$",
        queues.named(&queue(Queue::Results)).replace('.', "\\.")
    );
    node.ctl()
        .run(&["set_policy", "ttl", &pattern, ttl, "--apply-to", "queues"])?;
    let result = message(Exchange::Results, sales().key("job"), "late", "x");
    broker.publish(result).await?;
    let mut dead = broker.subscribe(Queue::DeadResults, 1).await?;
    let late = next(&mut dead).await?;
    let why = reason(&late.message).to_owned();
    let named = queues.named(&queue(Queue::Results));
    ensure!(why.contains("expired") && why.contains(&named), "{why}");
    let none = late
        .message
        .headers
        .keys()
        .find(|name| name.starts_with("x-"));
    ensure!(none.is_none(), "{:?}", late.message.headers);
    late.ack();
    broker.close().await;
    Ok(())
}

/// A policy that drops the oldest messages of a queue: these are dead, and say so; none is lost in silence.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_drops_is_dead_and_says_so() -> Result<()> {
    let test = "what_a_policy_drops_is_dead_and_says_so";
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    let queues = OnNode::at(node.uri().to_owned(), test);
    let broker = queues.connect().await?;
    broker.reach().await?;
    let drops = r#"{"max-length":3,"overflow":"drop-head"}"#;
    let pattern = format!(
        "^{}$",
        queues.named(&queue(Queue::Results)).replace('.', "\\.")
    );
    node.ctl().run(&[
        "set_policy",
        "drops",
        &pattern,
        drops,
        "--apply-to",
        "queues",
    ])?;
    for number in 0..20 {
        let id = number.to_string();
        let result = message(Exchange::Results, sales().key("job"), &id, "x");
        soon("a result to be taken", broker.publish(result)).await??;
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut results = broker.subscribe(Queue::Results(sales()), 20).await?;
    let mut dead = broker.subscribe(Queue::DeadResults, 20).await?;
    while seen.len() < 20 {
        let delivery = tokio::select! {
            delivery = next(&mut results) => delivery?,
            delivery = next(&mut dead) => {
                let delivery = delivery?;
                let why = reason(&delivery.message);
                ensure!(why.contains("maxlen"), "{why}");
                delivery
            }
        };
        seen.insert(delivery.message.id.clone());
        delivery.ack();
    }
    broker.close().await;
    Ok(())
}
