//! The suite that every [`Broker`] must pass: one function for each promise.
//!
//! A new broker is finished when it passes. Each promise is tested on a [`Home`] of its own, with empty queues. [`Features`]
//! has all that brokers may do differently.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::broker::{Broker, BrokerError, Delivery, Queue, Subscription};
use autoconnect_common::message::{Exchange, MAX_NAME, Message};
use autoconnect_common::{Body, Format, JobId};
use autoconnect_jobs::sales::Sales;
use bytes::Bytes;
use futures_util::future::try_join_all;

/// How long an event that must happen may take, on a slow and busy machine.
const SOON: Duration = Duration::from_secs(30);
/// How long a test waits for an event that must not happen. Most take milliseconds, so one that happens is seen.
const NEVER: Duration = Duration::from_millis(400);

/// The differences that are allowed between brokers.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Whether the other connections of a [`Home`] stay open when one is closed.
    pub independent_connections: bool,
    /// How many bytes of requests the queue of jobs holds before publishers wait.
    pub jobs_bytes: usize,
}

/// Empty queues of one test, and connections to them.
pub trait Home: Sync {
    /// The broker under test.
    type Broker: Broker;

    /// Opens a connection to these queues.
    fn connect(&self) -> impl Future<Output = Result<Self::Broker>> + Send;

    /// The differences of this broker.
    fn features(&self) -> Features;
}

/// The format of the messages of these tests.
pub fn sales() -> Format {
    Format::of::<Sales>()
}

/// The name of the queue of this sort that such messages have.
pub fn queue(sort: impl Fn(Format) -> Queue) -> String {
    sort(sales()).name()
}

/// A message like those of the roles.
pub fn message(
    exchange: Exchange,
    key: impl Into<String>,
    id: &str,
    body: impl Into<Body>,
) -> Message {
    Message {
        exchange,
        key: key.into(),
        id: id.to_owned(),
        kind: "chunk".to_owned(),
        headers: BTreeMap::from([("job".to_owned(), "j-1".to_owned())]),
        body: body.into(),
    }
}

/// Waits for `future`, at most 30 seconds; `what` names it in the error.
///
/// # Errors
/// If it is not ready in time.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(SOON, future)
        .await
        .with_context(|| format!("waited {} s for {what}", SOON.as_secs()))
}

/// The next delivery.
///
/// # Errors
/// If there is none in time.
pub async fn next(subscription: &mut Subscription) -> Result<Delivery> {
    soon("a delivery", subscription.next())
        .await?
        .context("the subscription ended")
}

/// Checks that nothing is delivered within 400 milliseconds.
///
/// # Errors
/// If a message is.
pub async fn nothing(subscription: &mut Subscription) -> Result<()> {
    match tokio::time::timeout(NEVER, subscription.next()).await {
        Err(_) => Ok(()),
        Ok(Some(delivery)) => bail!("{delivery:?} was delivered, expected nothing"),
        Ok(None) => bail!("the subscription ended"),
    }
}

async fn publish(broker: &impl Broker, message: Message) -> Result<()> {
    let id = message.id.clone();
    soon(
        &format!("message {id} to be taken"),
        broker.publish(message),
    )
    .await??;
    Ok(())
}

/// A message arrives whole in every queue that its exchange and key route it to, and in no other.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_message_reaches_the_queues_it_is_routed_to<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let sent = [
        message(
            Exchange::Chunks,
            sales().key("saint-etienne"),
            "j-1/0.0",
            "chunk",
        ),
        message(
            Exchange::Results,
            sales().key("j-1"),
            "j-1/0.0/partial",
            "partial",
        ),
        message(Exchange::Jobs, sales().to_string(), "j-1/job", "job"),
        message(
            Exchange::Dead,
            format!("quarantine.{}", sales()),
            "j-1/0.1",
            "poison",
        ),
        message(
            Exchange::Dead,
            format!("dead.{}", sales()),
            "j-1/0.2",
            "dead",
        ),
        message(Exchange::Dead, "results", "j-1/0.3", "unreadable"),
        message(Exchange::Control, "cancel.j-1", "j-1/cancel", "cancel"),
    ];
    for message in &sent {
        publish(&broker, message.clone()).await?;
    }
    for queue in Queue::durable(&[sales()]) {
        let mut subscription = broker.subscribe(queue.clone(), 10).await?;
        let expected: Vec<_> = sent.iter().filter(|message| queue.takes(message)).collect();
        let mut found = Vec::new();
        for _ in &expected {
            let delivery = next(&mut subscription).await?;
            ensure!(
                delivery.redeliveries == 0,
                "{delivery:?} of {queue:?} is no first one"
            );
            found.push(delivery.message.clone());
            delivery.ack();
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        ensure!(found.iter().eq(expected), "{queue:?}: {found:?}");
        nothing(&mut subscription).await?;
    }
    Ok(())
}

/// An acknowledged message is never delivered again, not even over a later connection.
///
/// # Errors
/// Where the promise is broken.
pub async fn an_acknowledged_message_never_comes_back<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    publish(
        &broker,
        message(Exchange::Jobs, sales().to_string(), "1", "x"),
    )
    .await?;
    let mut subscription = broker.subscribe(Queue::Jobs(sales()), 1).await?;
    next(&mut subscription).await?.ack();
    nothing(&mut subscription).await?;
    drop(subscription);
    if home.features().independent_connections {
        broker.close().await;
    }
    let broker = home.connect().await?;
    nothing(&mut broker.subscribe(Queue::Jobs(sales()), 1).await?).await
}

/// A delivery that was requeued, or dropped, is redelivered, with its delivery count.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_delivery_without_an_acknowledgement_comes_again<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let sent = message(Exchange::Chunks, sales().key("lyon"), "j-1/0.0", "rows");
    publish(&broker, sent.clone()).await?;
    let mut subscription = broker.subscribe(Queue::Chunks(sales()), 2).await?;
    for time in 0..4 {
        let delivery = next(&mut subscription).await?;
        ensure!(
            delivery.redeliveries == time,
            "{delivery:?}, expected {time}"
        );
        ensure!(delivery.message == sent, "{:?}", delivery.message);
        if time % 2 == 0 {
            delivery.give_back();
        } else {
            drop(delivery);
        }
    }
    next(&mut subscription).await?.ack();
    nothing(&mut subscription).await
}

/// No more than `prefetch` deliveries are unacked; each verdict allows one more.
///
/// # Errors
/// Where the promise is broken.
pub async fn no_more_is_delivered_than_asked_for<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    for n in 0..6 {
        publish(
            &broker,
            message(Exchange::Chunks, sales().key("lyon"), &n.to_string(), "x"),
        )
        .await?;
    }
    let mut subscription = broker.subscribe(Queue::Chunks(sales()), 2).await?;
    let mut held = vec![
        next(&mut subscription).await?,
        next(&mut subscription).await?,
    ];
    for _ in 2..6 {
        nothing(&mut subscription).await?;
        held.remove(0).ack();
        held.push(next(&mut subscription).await?);
    }
    Ok(())
}

/// A queue counts its ready messages; unacked ones are not counted.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_queue_says_how_many_messages_wait<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let waiting = async |expected: u64| {
        let counted = async {
            while broker.waiting(Queue::Jobs(sales())).await? != expected {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        soon("the right number of messages waiting", counted).await?
    };
    waiting(0).await?;
    for n in 0..3 {
        let sent = message(Exchange::Jobs, sales().to_string(), &n.to_string(), "x");
        publish(&broker, sent).await?;
    }
    waiting(3).await?;
    let mut subscription = broker.subscribe(Queue::Jobs(sales()), 2).await?;
    let held = [
        next(&mut subscription).await?,
        next(&mut subscription).await?,
    ];
    waiting(1).await?;
    drop((held, subscription));
    waiting(3).await
}

/// `take` returns a ready message, or `None` at once. Its delivery is settled like any other, and the verdict has reached the
/// broker before the next `take` returns.
///
/// # Errors
/// Where the promise is broken.
pub async fn one_message_is_taken_where_one_waits<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let queue = Queue::Quarantine(sales());
    let take = || async {
        let taken = soon("an answer", broker.take(queue.clone())).await??;
        anyhow::Ok(taken)
    };
    ensure!(take().await?.is_none(), "a message that nobody sent");
    for id in ["j-1/0.0", "j-1/1.0"] {
        publish(
            &broker,
            message(Exchange::Dead, format!("quarantine.{}", sales()), id, id),
        )
        .await?;
    }
    let first = take().await?.context("the first")?;
    let second = take().await?.context("the second")?;
    ensure!(first.message.id == "j-1/0.0" && *first.message.body == "j-1/0.0");
    ensure!(second.message.id == "j-1/1.0" && second.redeliveries == 0);
    ensure!(take().await?.is_none(), "a third message");
    first.give_back();
    let again = take().await?.context("what was given back")?;
    ensure!(again.message.id == "j-1/0.0" && again.redeliveries == 1);
    again.ack();
    second.ack();
    ensure!(take().await?.is_none(), "an acknowledged message");
    Ok(())
}

/// Messages of an unknown format wait for a program that knows it, and hold up no other.
///
/// # Errors
/// Where the promise is broken.
pub async fn each_format_has_queues_of_its_own<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let newer = Format::new("wordcount", 2);
    let keys = [newer.key("text"), sales().key("lyon"), newer.key("text")];
    for (id, key) in ["1", "2", "3"].into_iter().zip(&keys) {
        publish(&broker, message(Exchange::Chunks, key, id, "x")).await?;
    }
    let mut known = broker.subscribe(Queue::Chunks(sales()), 5).await?;
    let delivery = next(&mut known).await?;
    ensure!(delivery.message.id == "2", "{delivery:?}");
    delivery.ack();
    nothing(&mut known).await?;
    let mut new = broker.subscribe(Queue::Chunks(newer), 5).await?;
    for id in ["1", "3"] {
        let delivery = next(&mut new).await?;
        ensure!(
            delivery.message.id == id && delivery.redeliveries == 0,
            "{delivery:?}"
        );
        delivery.ack();
    }
    Ok(())
}

/// Consumers of one queue share its messages: each receives some, and no message is delivered to two of them.
///
/// # Errors
/// Where the promise is broken.
pub async fn consumers_share_a_queue<H: Home>(home: &H) -> Result<()> {
    let (one, two) = (home.connect().await?, home.connect().await?);
    let mut first = one.subscribe(Queue::Chunks(sales()), 1).await?;
    let mut second = two.subscribe(Queue::Chunks(sales()), 1).await?;
    for n in 0..10 {
        publish(
            &one,
            message(Exchange::Chunks, sales().key("lyon"), &n.to_string(), "x"),
        )
        .await?;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let (a, b) = (next(&mut first).await?, next(&mut second).await?);
        for delivery in [a, b] {
            ensure!(
                seen.insert(delivery.message.id.clone()),
                "{delivery:?} came twice"
            );
            delivery.ack();
        }
    }
    nothing(&mut first).await?;
    nothing(&mut second).await
}

/// A chunk that is always returned is delivered 21 times from its queue and twice from quarantine, and then dead-lettered to
/// the operator and the reducer. A result that is always returned is dead-lettered to the operator.
///
/// # Errors
/// Where the promise is broken.
pub async fn what_always_comes_back_ends_dead<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    publish(
        &broker,
        message(Exchange::Chunks, sales().key("lyon"), "j-1/0.0", "bad"),
    )
    .await?;
    exhaust(&broker, Queue::Chunks(sales()), 21).await?;
    exhaust(&broker, Queue::Quarantine(sales()), 2).await?;
    for queue in [Queue::DeadChunks, Queue::Results(sales())] {
        let mut subscription = broker.subscribe(queue.clone(), 1).await?;
        let dead = next(&mut subscription).await?;
        let found = &dead.message;
        ensure!(
            found.exchange == Exchange::Dead
                && found.key == format!("dead.{}", sales())
                && found.id == "j-1/0.0",
            "{queue:?}: {found:?}"
        );
        ensure!(
            found.kind == "chunk" && *found.body == "bad" && found.headers.len() == 1,
            "{found:?}"
        );
        dead.ack();
        nothing(&mut subscription).await?;
    }
    publish(
        &broker,
        message(
            Exchange::Results,
            sales().key("j-1"),
            "j-1/0.1/partial",
            "bad",
        ),
    )
    .await?;
    exhaust(&broker, Queue::Results(sales()), 21).await?;
    let mut subscription = broker.subscribe(Queue::DeadResults, 1).await?;
    let dead = next(&mut subscription).await?;
    ensure!(dead.message.id == "j-1/0.1/partial", "{dead:?}");
    dead.ack();
    Ok(())
}

/// Requeues the only message of `queue` until it is no longer delivered.
async fn exhaust(broker: &impl Broker, queue: Queue, deliveries: u32) -> Result<()> {
    let mut subscription = broker.subscribe(queue.clone(), 1).await?;
    for time in 0..deliveries {
        let delivery = next(&mut subscription).await?;
        ensure!(
            delivery.redeliveries == time,
            "{queue:?}: {delivery:?}, expected {time}"
        );
        delivery.give_back();
    }
    nothing(&mut subscription).await
}

/// A full queue makes publishers wait until messages are consumed; nothing is lost meanwhile.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_full_queue_makes_publishers_wait<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let body = Bytes::from(vec![7u8; 1 << 20]);
    let mut sent = 0;
    let limit = home.features().jobs_bytes / body.len() + 16;
    let waiting = loop {
        ensure!(sent < limit, "{sent} MiB were taken");
        let next = message(
            Exchange::Jobs,
            sales().to_string(),
            &sent.to_string(),
            body.clone(),
        );
        sent += 1;
        let mut publishing = Box::pin(broker.publish(next));
        match tokio::time::timeout(Duration::from_secs(2), &mut publishing).await {
            Ok(taken) => taken?,
            Err(_) => break publishing,
        }
    };
    let reading = async {
        let mut subscription = broker.subscribe(Queue::Jobs(sales()), 4).await?;
        let mut seen = BTreeSet::new();
        while seen.len() < sent {
            let delivery = next(&mut subscription).await?;
            ensure!(
                *delivery.message.body == body,
                "{delivery:?}: not the body that was sent"
            );
            seen.insert(delivery.message.id.clone());
            delivery.ack();
        }
        Ok(())
    };
    let (taken, read) = tokio::join!(soon("the waiting message to be taken", waiting), reading);
    taken??;
    read
}

/// Closing a connection does not close the others.
///
/// # Errors
/// Where the promise is broken.
pub async fn connections_are_independent<H: Home>(home: &H) -> Result<()> {
    if !home.features().independent_connections {
        return Ok(());
    }
    let (one, two) = (home.connect().await?, home.connect().await?);
    let mut kept = two.subscribe(Queue::Jobs(sales()), 1).await?;
    one.close().await;
    publish(&two, message(Exchange::Jobs, sales().to_string(), "1", "x")).await?;
    next(&mut kept).await?.ack();
    Ok(())
}

/// After a broker is closed, publishing and subscribing return an error, and every subscription ends.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_closed_broker_says_so<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    publish(
        &broker,
        message(Exchange::Jobs, sales().to_string(), "1", "x"),
    )
    .await?;
    publish(
        &broker,
        message(Exchange::Jobs, sales().to_string(), "2", "x"),
    )
    .await?;
    let mut read = broker.subscribe(Queue::Jobs(sales()), 2).await?;
    let mut idle = broker.subscribe(Queue::Chunks(sales()), 2).await?;
    let held = next(&mut read).await?;
    soon("the broker to close", broker.close()).await?;
    for subscription in [&mut read, &mut idle] {
        let after = soon("the end", subscription.next()).await?;
        ensure!(after.is_none(), "{after:?} after closing");
    }
    held.ack();
    let published = broker.publish(message(Exchange::Jobs, sales().to_string(), "3", "x"));
    let published = soon("an answer", published).await?;
    ensure!(
        matches!(published, Err(BrokerError::Closed)),
        "{published:?}"
    );
    let subscribed = soon("an answer", broker.subscribe(Queue::Jobs(sales()), 1)).await?;
    ensure!(
        matches!(subscribed, Err(BrokerError::Closed)),
        "{subscribed:?}"
    );
    soon("closing twice", broker.close()).await
}

/// Verdicts that were given before closing take effect; unacked deliveries are redelivered.
///
/// # Errors
/// Where the promise is broken.
pub async fn verdicts_given_before_closing_count<H: Home>(home: &H) -> Result<()> {
    if !home.features().independent_connections {
        return Ok(());
    }
    let broker = home.connect().await?;
    for n in 0..20 {
        publish(
            &broker,
            message(Exchange::Jobs, sales().to_string(), &n.to_string(), "x"),
        )
        .await?;
    }
    let mut subscription = broker.subscribe(Queue::Jobs(sales()), 15).await?;
    let mut deliveries = Vec::new();
    for _ in 0..15 {
        deliveries.push(next(&mut subscription).await?);
    }
    let kept = deliveries.split_off(10);
    let mut left: BTreeSet<String> = (0..20).map(|n| n.to_string()).collect();
    for delivery in deliveries {
        left.remove(&delivery.message.id);
        delivery.ack();
    }
    broker.close().await;
    drop(kept);
    let broker = home.connect().await?;
    let mut subscription = broker.subscribe(Queue::Jobs(sales()), 20).await?;
    while !left.is_empty() {
        let delivery = next(&mut subscription).await?;
        ensure!(
            left.remove(&delivery.message.id),
            "{delivery:?} was acknowledged"
        );
        delivery.ack();
    }
    nothing(&mut subscription).await
}

/// Dropping a subscription requeues the deliveries that were not taken out of it; those that were can still be acknowledged.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_dropped_subscription_gives_back_what_nobody_saw<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    for n in 0..5 {
        publish(
            &broker,
            message(Exchange::Jobs, sales().to_string(), &n.to_string(), "x"),
        )
        .await?;
    }
    let mut subscription = broker.subscribe(Queue::Jobs(sales()), 5).await?;
    let held = next(&mut subscription).await?;
    drop(subscription);
    let mut subscription = broker.subscribe(Queue::Jobs(sales()), 5).await?;
    let mut seen = BTreeSet::from([held.message.id.clone()]);
    for _ in 1..5 {
        let delivery = next(&mut subscription).await?;
        ensure!(
            seen.insert(delivery.message.id.clone()),
            "{delivery:?} came twice"
        );
        delivery.ack();
    }
    held.ack();
    nothing(&mut subscription).await
}

/// An event reaches every listener to its job or to all jobs that subscribed before it. Without a listener it is dropped.
///
/// # Errors
/// Where the promise is broken.
pub async fn events_reach_those_who_listen<H: Home>(home: &H) -> Result<()> {
    let (teller, hearer) = (home.connect().await?, home.connect().await?);
    let job = |id: &str| id.parse::<JobId>().context("a job id");
    let event = |id: &str, stamp: &str| message(Exchange::Events, format!("job.{id}"), stamp, "e");
    publish(&teller, event("a", "before anyone listens")).await?;
    let mut first = hearer.subscribe(Queue::Events(job("a")?), 8).await?;
    let mut second = teller.subscribe(Queue::Events(job("a")?), 8).await?;
    let mut other = hearer.subscribe(Queue::Events(job("b")?), 8).await?;
    let mut all = hearer.subscribe(Queue::AllEvents, 8).await?;
    publish(&teller, event("a", "1")).await?;
    publish(&teller, event("c", "2")).await?;
    let worker = message(Exchange::Events, "worker.w", "3", "e");
    publish(&teller, worker.clone()).await?;
    for listener in [&mut first, &mut second] {
        let heard = next(listener).await?;
        ensure!(heard.message == event("a", "1"), "{:?}", heard.message);
        heard.ack();
        nothing(listener).await?;
    }
    for expected in [event("a", "1"), event("c", "2"), worker] {
        let heard = next(&mut all).await?;
        ensure!(heard.message == expected, "{:?}", heard.message);
        heard.ack();
    }
    nothing(&mut other).await
}

/// A body of 1 MiB, and an empty one, arrive as they were sent.
///
/// # Errors
/// Where the promise is broken.
pub async fn bodies_arrive_as_they_were_sent<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let mut subscription = broker.subscribe(Queue::Chunks(sales()), 1).await?;
    let large: Vec<u8> = (0..1u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for body in [Bytes::from(large), Bytes::new()] {
        publish(
            &broker,
            message(Exchange::Chunks, sales().key("lyon"), "1", body.clone()),
        )
        .await?;
        let delivery = next(&mut subscription).await?;
        ensure!(
            *delivery.message.body == body,
            "the body changed on its way"
        );
        delivery.ack();
    }
    Ok(())
}

/// Names of 255 bytes are sent. A message with a longer name, too large headers or too large a body is refused, and no other
/// message with it.
///
/// # Errors
/// Where the promise is broken.
pub async fn what_cannot_be_sent_is_refused_alone<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let mut subscription = broker.subscribe(Queue::Chunks(sales()), 1).await?;
    let name = |bytes: usize| "é".repeat(bytes / 2) + &"x".repeat(bytes % 2);
    let key = |bytes: usize| sales().key(name(bytes - sales().key("").len()));
    let fits = message(Exchange::Chunks, key(MAX_NAME), &name(MAX_NAME), "x");
    let mut crowded = fits.clone();
    crowded
        .headers
        .insert("much".to_owned(), "x".repeat(1 << 17));
    let refused = [
        message(Exchange::Chunks, key(MAX_NAME + 1), "1", "x"),
        message(Exchange::Chunks, "sales.lyon", "1", "x"),
        message(
            Exchange::Chunks,
            sales().key("lyon"),
            &name(MAX_NAME + 1),
            "x",
        ),
        message(
            Exchange::Chunks,
            sales().key("lyon"),
            "1",
            vec![0; 16 << 20],
        ),
        crowded,
    ];
    for message in refused {
        let sent = soon("an answer", broker.publish(message)).await?;
        ensure!(matches!(sent, Err(BrokerError::Unsendable(_))), "{sent:?}");
    }
    publish(&broker, fits.clone()).await?;
    let delivery = next(&mut subscription).await?;
    ensure!(delivery.message == fits, "{:?}", delivery.message);
    delivery.ack();
    nothing(&mut subscription).await
}

/// A thousand messages, published a hundred at a time, arrive exactly once each without faults.
///
/// # Errors
/// Where the promise is broken.
pub async fn a_thousand_messages_arrive_once_each<H: Home>(home: &H) -> Result<()> {
    let broker = home.connect().await?;
    let sending = async {
        for hundred in 0..10 {
            let sent = (0..100).map(|n| {
                let id = (hundred * 100 + n).to_string();
                broker.publish(message(
                    Exchange::Chunks,
                    sales().key("lyon"),
                    &id,
                    id.clone(),
                ))
            });
            soon("a hundred messages", try_join_all(sent)).await??;
        }
        Ok(())
    };
    let receiving = async {
        let mut subscription = broker.subscribe(Queue::Chunks(sales()), 16).await?;
        let mut seen = BTreeSet::new();
        while seen.len() < 1000 {
            let delivery = next(&mut subscription).await?;
            ensure!(
                seen.insert(delivery.message.id.clone()),
                "{delivery:?} came twice"
            );
            delivery.ack();
        }
        nothing(&mut subscription).await
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent.and(received)
}

/// Writes a module with one test for each promise. An expression of type `Option<impl Home>` makes the home of a test; it is
/// `None` where the broker is not available, which must then have been reported.
#[macro_export]
macro_rules! broker_suite {
    ($module:ident, $home:expr) => {
        mod $module {
            use super::*;

            $crate::broker_suite! { @each $home;
                a_message_reaches_the_queues_it_is_routed_to
                an_acknowledged_message_never_comes_back
                a_delivery_without_an_acknowledgement_comes_again
                no_more_is_delivered_than_asked_for
                a_queue_says_how_many_messages_wait
                one_message_is_taken_where_one_waits
                each_format_has_queues_of_its_own
                consumers_share_a_queue
                what_always_comes_back_ends_dead
                a_full_queue_makes_publishers_wait
                connections_are_independent
                a_closed_broker_says_so
                verdicts_given_before_closing_count
                a_dropped_subscription_gives_back_what_nobody_saw
                events_reach_those_who_listen
                bodies_arrive_as_they_were_sent
                what_cannot_be_sent_is_refused_alone
                a_thousand_messages_arrive_once_each
            }
        }
    };
    (@each $home:expr; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() -> anyhow::Result<()> {
                match ($home)(stringify!($promise)) {
                    Some(home) => $crate::broker::$promise(&home).await,
                    None => Ok(()),
                }
            }
        )*
    };
}
