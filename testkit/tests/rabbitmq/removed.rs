//! Queues that are deleted, redefined or locked under a client: it says so, and continues once that is corrected.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use autoconnect_common::broker::{Broker, BrokerError, Queue};
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::{Home as _, message, next, queue, sales, soon};
use autoconnect_testkit::node::{OnNode, OwnNode};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use crate::stage::{Meddler, guest_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_again_under_its_consumer() -> Result<()> {
    let test = "a_deleted_queue_is_declared_again_under_its_consumer";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let broker = node.connect().await?;
    let mut results = broker.subscribe(Queue::Results(sales()), 1).await?;
    let meddler = Meddler::at(&node).await?;
    meddler.delete(&queue(Queue::Results)).await?;
    let sent = broker.publish(message(Exchange::Results, sales().key("job"), "1", "x"));
    soon("the message to be taken", sent).await??;
    next(&mut results).await?.ack();
    broker.close().await;
    meddler.leave().await
}

/// One that does not declare says which queue is missing, and goes on once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_named_by_one_that_does_not_declare() -> Result<()> {
    let test = "a_deleted_queue_is_named_by_one_that_does_not_declare";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let declaring = node.connect().await?;
    declaring.reach().await?;
    declaring.close().await;
    let broker = guest_of(&node)?;
    let mut jobs = broker.subscribe(Queue::Jobs(sales()), 1).await?;
    let meddler = Meddler::at(&node).await?;
    meddler.delete(&queue(Queue::Jobs)).await?;
    let named = format!("no queue '{}'", node.named(&queue(Queue::Jobs)));
    until("word of the deleted queue", async || {
        let troubles = broker.health().troubles();
        Ok(troubles.iter().any(|why| why.contains(&named)))
    })
    .await?;
    let declaring = node.connect().await?;
    declaring.reach().await?;
    declaring
        .publish(message(Exchange::Jobs, sales().to_string(), "1", "x"))
        .await?;
    next(&mut jobs).await?.ack();
    until("health", async || Ok(broker.health().troubles().is_empty())).await?;
    declaring.close().await;
    broker.close().await;
    meddler.leave().await
}

/// A queue that was redeclared as a classic one: each client says so in the broker's words; a running one continues where
/// the queue is removed in time, a starting one ends at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_redefined_as_classic_is_named_and_mended_by_removing_it() -> Result<()> {
    let test = "a_queue_redefined_as_classic_is_named_and_mended_by_removing_it";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let broker = node.connect().await?;
    let mut jobs = broker.subscribe(Queue::Jobs(sales()), 1).await?;
    let meddler = Meddler::at(&node).await?;
    // The client declares it again within moments, unless the other one is first.
    let named = node.named(&queue(Queue::Jobs));
    for _ in 0..50 {
        meddler.delete(&queue(Queue::Jobs)).await?;
        if meddler.declare_classic(&queue(Queue::Jobs)).await.is_ok() {
            break;
        }
    }
    until("word of the other queue", async || {
        let troubles = broker.health().troubles();
        let ours = |why: &String| why.contains(&named) && why.contains("inequivalent arg");
        Ok(troubles.iter().any(ours))
    })
    .await?;
    let late = node.connect().await?;
    let since = Instant::now();
    let refused = late.reach().await;
    let Err(BrokerError::Refused(why)) = refused else {
        anyhow::bail!("{refused:?}");
    };
    ensure!(why.contains("exists with other arguments"), "{why}");
    ensure!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
    meddler.delete(&queue(Queue::Jobs)).await?;
    let sent = broker.publish(message(Exchange::Jobs, sales().to_string(), "1", "x"));
    soon("the message to be taken", sent).await??;
    next(&mut jobs).await?.ack();
    broker.close().await;
    meddler.leave().await
}

/// A name that another connection holds as a queue of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_queue_is_waited_for_and_named() -> Result<()> {
    let test = "a_locked_queue_is_waited_for_and_named";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let uri = node.options.uris.join(",");
    let other = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = other.create_channel().await?;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let name = node.named(&queue(Queue::Jobs));
    channel
        .queue_declare(name.as_str().into(), exclusive, FieldTable::default())
        .await?;
    let broker = node.connect().await?;
    let reaching = {
        let broker = broker.clone();
        tokio::spawn(async move { broker.reach().await })
    };
    until("word of the locked queue", async || {
        let troubles = broker.health().troubles();
        Ok(troubles.iter().any(|why| why.contains("RESOURCE_LOCKED")))
    })
    .await?;
    other.close(200, "unlocked".into()).await?;
    soon("the broker to be reached", reaching).await???;
    broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_virtual_host_is_named_and_waited_for() -> Result<()> {
    let test = "a_deleted_virtual_host_is_named_and_waited_for";
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(());
    };
    let queues = OnNode::at(node.uri().to_owned(), test);
    let broker = queues.connect().await?;
    let mut jobs = broker.subscribe(Queue::Jobs(sales()), 1).await?;
    node.ctl().run(&["delete_vhost", "/"])?;
    until("word of the virtual host", async || {
        let troubles = broker.health().troubles();
        Ok(troubles.iter().any(|why| why.contains("vhost / not found")))
    })
    .await?;
    let user = node
        .uri()
        .split("//")
        .nth(1)
        .and_then(|rest| rest.split(':').next());
    let user = user.unwrap_or_default().to_owned();
    node.ctl().run(&["add_vhost", "/"])?;
    node.ctl()
        .run(&["set_permissions", "-p", "/", &user, ".*", ".*", ".*"])?;
    let sent = broker.publish(message(Exchange::Jobs, sales().to_string(), "1", "x"));
    soon("the message to be taken", sent).await??;
    next(&mut jobs).await?.ack();
    broker.close().await;
    Ok(())
}
