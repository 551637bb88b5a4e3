//! A message that no queue takes is never called taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use autoconnect_common::broker::{Broker, Offered, Queue};
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::{Home as _, message, next, queue, sales, soon};
use autoconnect_testkit::node::OnNode;
use tokio::task::JoinSet;

use crate::stage::{Meddler, guest_of, until};

/// Routable publishes, in all.
const GOOD: u64 = 30_000;

/// Unroutable publishes beside good ones, pipelined: lapin hands a return out with another message's ack, of this batch
/// or a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_no_queue_takes_is_never_called_taken_beside_good_messages() -> Result<()> {
    let test = "what_no_queue_takes_is_never_called_taken_beside_good_messages";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let declaring = node.connect().await?;
    declaring.reach().await?;
    declaring.close().await;
    let meddler = Meddler::at(&node).await?;
    meddler
        .unbind(&queue(Queue::Jobs), "x.jobs.2", &sales().key("#"))
        .await?;
    let broker = Arc::new(guest_of(&node)?);
    let good = Arc::new(AtomicU64::new(0));
    let called_taken = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for lane in 0..24 {
        let (broker, good) = (Arc::clone(&broker), Arc::clone(&good));
        lanes.spawn(async move {
            let exchange = [Exchange::Chunks, Exchange::Results][lane % 2];
            for number in 0.. {
                if good.fetch_add(1, Ordering::Relaxed) >= GOOD {
                    break;
                }
                let id = format!("good/{lane}/{number}");
                broker
                    .publish(message(exchange, sales().key("lyon"), &id, "x"))
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    let mut lost = JoinSet::new();
    for lane in 0..12 {
        let (broker, called_taken) = (Arc::clone(&broker), Arc::clone(&called_taken));
        lost.spawn(async move {
            for number in 0.. {
                // Each attempt is another message: half are published until their caller gives up, half offered once.
                let id = format!("lost/{lane}/{number}");
                let message = message(Exchange::Jobs, sales().to_string(), &id, "x");
                let taken = if number % 2 == 0 {
                    let publish = broker.publish(message);
                    let patience = Duration::from_millis(20);
                    matches!(tokio::time::timeout(patience, publish).await, Ok(Ok(())))
                } else {
                    matches!(broker.offer(message).await, Ok(Offered::Taken))
                };
                called_taken.fetch_add(u64::from(taken), Ordering::Relaxed);
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    lost.shutdown().await;
    let wrong = called_taken.load(Ordering::Relaxed);
    ensure!(
        wrong == 0,
        "{wrong} messages that no queue took were called taken"
    );
    broker.close().await;
    meddler.leave().await
}

/// A binding that comes and goes under pipelined publishes loses nothing: all that was called taken is in the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_binding_that_comes_and_goes_loses_nothing_that_was_called_taken() -> Result<()> {
    let test = "a_binding_that_comes_and_goes_loses_nothing_that_was_called_taken";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let declaring = node.connect().await?;
    declaring.reach().await?;
    declaring.close().await;
    let meddler = Meddler::at(&node).await?;
    let broker = Arc::new(guest_of(&node)?);
    let mut lanes = JoinSet::new();
    for lane in 0..16 {
        let broker = Arc::clone(&broker);
        lanes.spawn(async move {
            for number in 0..250 {
                let id = format!("{lane}/{number}");
                broker
                    .publish(message(Exchange::Jobs, sales().to_string(), &id, "x"))
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    let mut away = 0;
    while !lanes.is_empty() {
        meddler
            .unbind(&queue(Queue::Jobs), "x.jobs.2", &sales().key("#"))
            .await?;
        tokio::time::sleep(Duration::from_millis(30)).await;
        meddler
            .bind(&queue(Queue::Jobs), "x.jobs.2", &sales().key("#"))
            .await?;
        tokio::time::sleep(Duration::from_millis(30)).await;
        away += 1;
        while let Some(lane) = lanes.try_join_next() {
            lane??;
        }
    }
    ensure!(away > 1, "the binding was away once only");
    let mut there = std::collections::BTreeSet::new();
    let mut jobs = broker.subscribe(Queue::Jobs(sales()), 500).await?;
    while there.len() < 16 * 250 {
        let delivery = next(&mut jobs).await?;
        there.insert(delivery.message.id.clone());
        delivery.ack();
    }
    broker.close().await;
    meddler.leave().await
}

/// A program that declares restores a removed binding as soon as a publish misses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_binding_is_put_back_by_the_one_who_misses_it() -> Result<()> {
    let test = "a_removed_binding_is_put_back_by_the_one_who_misses_it";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let broker = node.connect().await?;
    broker.reach().await?;
    let meddler = Meddler::at(&node).await?;
    meddler
        .unbind(&queue(Queue::Jobs), "x.jobs.2", &sales().key("#"))
        .await?;
    let sent = broker.publish(message(Exchange::Jobs, sales().to_string(), "1", "x"));
    soon("the message to be taken", sent).await??;
    until("the message in its queue", async || {
        Ok(broker.waiting(Queue::Jobs(sales())).await? == 1)
    })
    .await?;
    broker.close().await;
    meddler.leave().await
}
