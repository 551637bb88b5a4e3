//! The transport interface: a [`Broker`] takes messages and delivers them at least once.
//!
//! Two brokers keep the same promises and pass the same suite (`testkit::broker`): [`embedded`], a queue inside this
//! process, and [`rabbitmq`]. The roles do not know which one they use.

pub mod embedded;
pub mod part;
pub mod rabbitmq;
pub mod topology;

use std::future::{Future, poll_fn};
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::health::Health;
use crate::message::{MAX_NAME, Message};
use crate::{Format, Shutdown};
pub use topology::Queue;

/// A transport of messages.
///
/// Promises: a message whose [`publish`](Broker::publish) returned `Ok` is delivered to every queue it is routed to, at
/// least once: until a delivery of it is acknowledged there. No order is promised. A delivery that is dropped unsettled is
/// requeued, and delivered to any consumer.
pub trait Broker: Send + Sync + 'static {
    /// Publishes a message. Returns once the broker has confirmed it; waits while the queue is full or the broker is down,
    /// however long that is.
    ///
    /// # Errors
    /// [`BrokerError`] where waiting cannot help.
    fn publish(&self, message: Message) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Publishes a message once, without a retry after a refusal: for callers that have a fallback. A message that is refused
    /// may still have reached some of the queues that it is routed to.
    ///
    /// # Errors
    /// [`BrokerError`] where waiting cannot help. While the broker is down, the attempt waits for it.
    fn offer(&self, message: Message) -> impl Future<Output = Result<Offered, BrokerError>> + Send;

    /// Consumes a queue, with at most `prefetch` unacknowledged deliveries at any time. The subscription survives
    /// reconnects: deliveries of the old connection are redelivered, and settling them late has no effect.
    ///
    /// # Errors
    /// [`BrokerError`] where waiting cannot help.
    fn subscribe(
        &self,
        queue: Queue,
        prefetch: u16,
    ) -> impl Future<Output = Result<Subscription, BrokerError>> + Send;

    /// Gets one message, if one waits in a durable queue now. Acknowledgements of earlier messages from this queue reach the broker
    /// before the request does, so a message that was just acknowledged is not in the way.
    ///
    /// # Errors
    /// [`BrokerError`] where waiting cannot help.
    fn take(
        &self,
        queue: Queue,
    ) -> impl Future<Output = Result<Option<Delivery>, BrokerError>> + Send;

    /// How many messages are ready in a durable queue, unacknowledged ones not counted; not for a listener's own queue.
    ///
    /// # Errors
    /// [`BrokerError`] where waiting cannot help.
    fn waiting(&self, queue: Queue) -> impl Future<Output = Result<u64, BrokerError>> + Send;

    /// What keeps this program from making progress: the broker's part of it, and what the roles add.
    fn health(&self) -> Health;

    /// Flushes pending acknowledgements and disconnects. Every subscription ends.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The outcome of one attempt to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// The broker is responsible for it.
    Taken,
    /// A queue is full, or the message cannot be routed; why, in one sentence.
    Refused(String),
}

/// Permanent errors.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The broker was closed, by us.
    #[error("the broker connection is closed")]
    Closed,
    /// The broker will never take us: wrong address, credentials, virtual host or certificate. One sentence.
    #[error("{0}")]
    Refused(String),
    /// The message itself cannot be sent. One sentence.
    #[error("{0}")]
    Unsendable(String),
}

/// The largest body that is sent, in bytes (RabbitMQ 4 refuses messages above 16 MiB).
pub const MAX_MESSAGE: usize = 15 << 20;
/// The most bytes all headers of a message have together: they travel in one frame.
pub const MAX_HEADERS: usize = 64 << 10;

/// Refuses a message that is beyond the limits, so that both brokers refuse the same messages.
///
/// # Errors
/// [`BrokerError::Unsendable`] for a routing key, id, type or header name over [`MAX_NAME`] bytes, a routing key that does
/// not begin with a format where it must, headers over [`MAX_HEADERS`] and a body over [`MAX_MESSAGE`].
pub fn check_sendable(message: &Message) -> Result<(), BrokerError> {
    let at_most = |what: &str, found: usize, limit: usize| {
        if found <= limit {
            return Ok(());
        }
        let id: String = message.id.chars().take(80).collect();
        Err(BrokerError::Unsendable(format!(
            "message {id:?}: {what} of {found} bytes, expected at most {limit}"
        )))
    };
    at_most("routing key", message.key.len(), MAX_NAME)?;
    if message.exchange.is_by_format() && Format::of_key(&message.key).is_none() {
        let key: String = message.key.chars().take(80).collect();
        return Err(BrokerError::Unsendable(format!(
            "message {:?}: routing key {key:?}, expected a kind and its version first, as in sales.v1.lyon",
            message.id.chars().take(80).collect::<String>()
        )));
    }
    at_most("id", message.id.len(), MAX_NAME)?;
    at_most("type", message.kind.len(), MAX_NAME)?;
    at_most("body", message.body.len(), MAX_MESSAGE)?;
    let mut headers = 0;
    for (name, value) in &message.headers {
        at_most("name of a header", name.len(), MAX_NAME)?;
        headers += name.len() + value.len() + 6;
    }
    at_most("headers", headers, MAX_HEADERS)
}

/// Takes from several queues as from one, each with its own `prefetch`, in turn.
///
/// # Errors
/// As [`Broker::subscribe`].
pub async fn subscribe_each<B: Broker>(
    broker: &B,
    queues: impl IntoIterator<Item = (Queue, u16)>,
) -> Result<Subscription, BrokerError> {
    let mut all = Vec::new();
    for (queue, prefetch) in queues {
        all.push(broker.subscribe(queue, prefetch).await?);
    }
    Ok(Subscription::merged(all))
}

/// A stream of deliveries from one queue, or from several of one broker. Dropping it stops consuming and requeues what was
/// not settled.
#[derive(Debug)]
pub struct Subscription {
    /// Queues that come before all of `lanes`, in order of priority.
    urgent: Vec<mpsc::Receiver<Delivery>>,
    /// Queues that are served in turn.
    lanes: Vec<mpsc::Receiver<Delivery>>,
    /// The lane whose turn it is.
    turn: usize,
    closed: Shutdown,
}

impl Subscription {
    /// The stream that comes out of `deliveries`; for brokers.
    pub fn new(deliveries: mpsc::Receiver<Delivery>) -> Self {
        Self {
            urgent: Vec::new(),
            lanes: vec![deliveries],
            turn: 0,
            closed: Shutdown::new(),
        }
    }

    /// The same stream, which ends on `closed` and discards what is buffered; for brokers.
    #[must_use]
    pub fn ending_with(mut self, closed: Shutdown) -> Self {
        self.closed = closed;
        self
    }

    /// One subscription that takes from all of these in turn, and ends as soon as one of them ends. All are of one broker.
    pub fn merged(all: impl IntoIterator<Item = Self>) -> Self {
        let mut merged = Self {
            urgent: Vec::new(),
            lanes: Vec::new(),
            turn: 0,
            closed: Shutdown::new(),
        };
        for each in all {
            merged.urgent.extend(each.urgent);
            merged.lanes.extend(each.lanes);
            merged.closed = each.closed;
        }
        merged
    }

    /// This one and `rest` as one, in which `self` has priority over `rest`. Both are of one broker.
    #[must_use]
    pub fn ahead_of(mut self, mut rest: Self) -> Self {
        self.urgent.append(&mut self.lanes);
        self.urgent.append(&mut rest.urgent);
        self.lanes = rest.lanes;
        self
    }

    /// The next delivery; `None` once the broker is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        let Self {
            urgent,
            lanes,
            turn,
            closed,
        } = self;
        let arriving = poll_fn(|context| {
            for lane in urgent.iter_mut() {
                if let Poll::Ready(arrived) = lane.poll_recv(context) {
                    return Poll::Ready(arrived);
                }
            }
            for step in 0..lanes.len() {
                let lane = (*turn + step) % lanes.len();
                if let Poll::Ready(arrived) = lanes[lane].poll_recv(context) {
                    *turn = lane + 1;
                    return Poll::Ready(arrived);
                }
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = closed.cancelled() => None,
            arrived = arriving => arrived,
        }
    }
}

/// How a delivery is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledged: the broker removes it.
    Ack,
    /// Requeued: any consumer gets it.
    GiveBack,
    /// Rejected: the broker dead-letters it with the routing key that the delivery limit of its queue uses. It stays in
    /// its queue for as long as the dead queue is full.
    Reject,
}

/// A message that was delivered and is not settled; dropping it requeues it.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// How often it had been delivered before, to anyone, as far as the broker knows.
    pub redeliveries: u32,
    settle: Option<Box<dyn FnOnce(Verdict) + Send>>,
}

impl Delivery {
    /// A delivery that is settled through `settle`; for brokers.
    pub fn new(
        message: Message,
        redeliveries: u32,
        settle: impl FnOnce(Verdict) + Send + 'static,
    ) -> Self {
        Self {
            message,
            redeliveries,
            settle: Some(Box::new(settle)),
        }
    }

    /// Acknowledges the message. Call it only once its result is safe elsewhere.
    pub fn ack(mut self) {
        self.settle_as(Verdict::Ack);
    }

    /// Requeues the message.
    pub fn give_back(mut self) {
        self.settle_as(Verdict::GiveBack);
    }

    /// Settles the delivery.
    pub fn settle(mut self, verdict: Verdict) {
        self.settle_as(verdict);
    }

    fn settle_as(&mut self, verdict: Verdict) {
        if let Some(settle) = self.settle.take() {
            settle(verdict);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle_as(Verdict::GiveBack);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.message.id)
            .field("redeliveries", &self.redeliveries)
            .finish()
    }
}

/// Publishes with a bounded number of messages and bytes in flight, which bounds the producer's memory.
pub struct Window<'b, B> {
    broker: &'b B,
    on_their_way: FuturesUnordered<BoxFuture<'b, (usize, Result<(), BrokerError>)>>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

impl<'b, B: Broker> Window<'b, B> {
    /// A window of at most `max_messages` messages and `max_bytes` bytes; a single message may be larger.
    pub fn new(broker: &'b B, max_messages: usize, max_bytes: usize) -> Self {
        Self {
            broker,
            on_their_way: FuturesUnordered::new(),
            bytes: 0,
            max_messages,
            max_bytes,
        }
    }

    /// Publishes a message, after waiting for room in the window.
    ///
    /// # Errors
    /// The first [`BrokerError`] of any message sent before.
    pub async fn publish(&mut self, message: Message) -> Result<(), BrokerError> {
        let bytes = message.body.len();
        while !self.on_their_way.is_empty()
            && (self.on_their_way.len() >= self.max_messages || self.bytes + bytes > self.max_bytes)
        {
            self.settle_one().await?;
        }
        self.bytes += bytes;
        let broker = self.broker;
        self.on_their_way.push(Box::pin(
            async move { (bytes, broker.publish(message).await) },
        ));
        Ok(())
    }

    /// Awaits `future`, and the confirms that come meanwhile: publishes proceed only while the window is polled.
    ///
    /// # Errors
    /// As [`Window::publish`]; `future` is then dropped.
    pub async fn settle_while<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> Result<T, BrokerError> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                settled = self.settle_one(), if !self.is_empty() => settled?,
                done = &mut future => return Ok(done),
            }
        }
    }

    /// Waits for the confirm of one message of the window, if it holds any.
    async fn settle_one(&mut self) -> Result<(), BrokerError> {
        if let Some((bytes, sent)) = self.on_their_way.next().await {
            self.bytes -= bytes;
            sent?;
        }
        Ok(())
    }

    /// Whether nothing is in flight.
    fn is_empty(&self) -> bool {
        self.on_their_way.is_empty()
    }

    /// Waits for the confirm of every message.
    ///
    /// # Errors
    /// As [`Window::publish`].
    pub async fn drain(&mut self) -> Result<(), BrokerError> {
        while !self.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Exchange;

    /// A queue that holds these messages, and its other end.
    fn holding(ids: &[&str]) -> (mpsc::Sender<Delivery>, Subscription) {
        let (queue, deliveries) = mpsc::channel(16);
        for id in ids {
            let message = Message {
                exchange: Exchange::Control,
                key: String::new(),
                id: (*id).to_owned(),
                kind: String::new(),
                headers: Default::default(),
                body: crate::Body::default(),
            };
            let delivery = Delivery::new(message, 0, |_| {});
            queue.try_send(delivery).expect("room");
        }
        (queue, Subscription::new(deliveries))
    }

    async fn ids(merged: &mut Subscription, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let next = merged.next().await.expect("open");
            ids.push(next.message.id.clone());
            next.ack();
        }
        ids
    }

    #[tokio::test]
    async fn queues_are_taken_from_in_turn_and_what_is_urgent_comes_first() {
        let (_a, a) = holding(&["a1", "a2", "a3"]);
        let (_b, b) = holding(&["b1"]);
        let (urgent, first) = holding(&["u1", "u2"]);
        let mut merged = first.ahead_of(Subscription::merged([a, b]));
        assert_eq!(ids(&mut merged, 4).await, ["u1", "u2", "a1", "b1"]);
        let (_, more) = holding(&["u3"]);
        let mut more = more;
        let late = more.next().await.expect("held");
        urgent.try_send(late).expect("room");
        assert_eq!(ids(&mut merged, 3).await, ["u3", "a2", "a3"]);
    }

    #[tokio::test]
    async fn a_merged_subscription_ends_with_the_first_of_its_queues_and_with_the_broker() {
        let (a, one) = holding(&[]);
        let (_b, two) = holding(&[]);
        let mut merged = Subscription::merged([one, two]);
        drop(a);
        assert!(merged.next().await.is_none());
        let closed = Shutdown::new();
        let (_a, one) = holding(&["a"]);
        let (_b, two) = holding(&["b"]);
        let ending = [one, two].map(|each| each.ending_with(closed.clone()));
        let mut merged = Subscription::merged(ending);
        assert!(merged.next().await.is_some());
        closed.cancel();
        assert!(merged.next().await.is_none());
    }

    #[test]
    fn a_message_whose_key_names_no_format_is_refused() {
        for (exchange, key, fits) in [
            (Exchange::Chunks, "sales.v1.lyon", true),
            (Exchange::Chunks, "sales.lyon", false),
            (Exchange::Results, "sales.v1", true),
            (Exchange::Jobs, "sales", false),
            (Exchange::Control, "cancel.a", true),
            (Exchange::Dead, "dead", true),
        ] {
            let message = Message {
                exchange,
                key: key.to_owned(),
                id: "1".to_owned(),
                kind: String::new(),
                headers: Default::default(),
                body: crate::Body::default(),
            };
            assert_eq!(check_sendable(&message).is_ok(), fits, "{exchange:?} {key}");
        }
    }
}
