//! The broker for one machine: bounded queues inside this process, with the guarantees of RabbitMQ.
//!
//! A task waits at one queue for one thing, a message or room. A message wakes one consumer, room wakes one publisher; a
//! woken task that leaves messages or room behind wakes the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{Notify, Semaphore, mpsc};

use super::{Broker, BrokerError, Delivery, Offered, Queue, Subscription, Verdict, check_sendable};
use crate::Shutdown;
use crate::health::Health;
use crate::message::{Exchange, Message};

/// Bytes of bodies a queue holds before publishers wait: small, so that the whole job stays in a few megabytes.
const QUEUE_BYTES: usize = 4 << 20;

/// A broker inside this process; clones share their queues.
#[derive(Clone)]
pub struct Embedded {
    queues: Arc<Queues>,
}

struct Queues {
    /// The queues of a format are made when it is first named.
    durable: RwLock<BTreeMap<Queue, Arc<Waiting>>>,
    /// The queues of event listeners, removed with their listeners.
    listeners: Mutex<Vec<Arc<Waiting>>>,
    closed: Shutdown,
    health: Health,
}

/// One queue: its ready messages, and the tasks to wake.
struct Waiting {
    queue: Queue,
    /// A blocking mutex suffices: it is held for a push or a pop, never across an await.
    messages: Mutex<Messages>,
    arrived: Notify,
    room: Notify,
}

#[derive(Default)]
struct Messages {
    /// Each with how often it was delivered before.
    waiting: VecDeque<(Message, u32)>,
    bytes: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn new(queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            queue,
            messages: Mutex::default(),
            arrived: Notify::new(),
            room: Notify::new(),
        })
    }

    /// Enqueues `message`; returns it where the queue is full.
    fn offer(&self, message: Message) -> Option<Message> {
        let mut messages = lock(&self.messages);
        if messages.bytes > 0 && messages.bytes + message.body.len() > QUEUE_BYTES {
            return Some(message);
        }
        messages.bytes += message.body.len();
        let more_room = messages.bytes < QUEUE_BYTES;
        messages.waiting.push_back((message, 0));
        drop(messages);
        self.arrived.notify_one();
        if more_room {
            self.room.notify_one();
        }
        None
    }

    /// Enqueues `message`, however full the queue is; returns whether it did. Only the dead queues, which an operator
    /// empties, are bounded here, at their size on RabbitMQ.
    fn force(&self, message: Message) -> bool {
        let mut messages = lock(&self.messages);
        let bytes = messages.bytes + message.body.len();
        if self.is_for_operator() && bytes as u64 > self.queue.max_bytes() {
            return false;
        }
        messages.bytes = bytes;
        messages.waiting.push_back((message, 0));
        drop(messages);
        self.arrived.notify_one();
        true
    }

    fn is_for_operator(&self) -> bool {
        let dead = [Queue::DeadJobs, Queue::DeadChunks, Queue::DeadResults];
        dead.contains(&self.queue)
    }

    /// Requeues a message at the head of the queue.
    fn put_back(&self, message: Message, redeliveries: u32) {
        let mut messages = lock(&self.messages);
        messages.bytes += message.body.len();
        messages.waiting.push_front((message, redeliveries));
        drop(messages);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<(Message, u32)> {
        let mut messages = lock(&self.messages);
        let taken = messages.waiting.pop_front()?;
        messages.bytes -= taken.0.body.len();
        let more = !messages.waiting.is_empty();
        drop(messages);
        self.room.notify_one();
        if more {
            self.arrived.notify_one();
        }
        Some(taken)
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new()
    }
}

impl Embedded {
    /// A broker with empty queues.
    pub fn new() -> Self {
        Self {
            queues: Arc::new(Queues {
                durable: RwLock::new(
                    Queue::COMMON
                        .into_iter()
                        .map(|queue| (queue.clone(), Waiting::new(queue)))
                        .collect(),
                ),
                listeners: Mutex::default(),
                closed: Shutdown::new(),
                health: Health::default(),
            }),
        }
    }
}

impl Queues {
    /// A durable queue, made on first use; `None` for a listener's own queue.
    fn durable(&self, queue: &Queue) -> Option<Arc<Waiting>> {
        if queue.listens_to().is_some() {
            return None;
        }
        let found = self.durable.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = found.get(queue) {
            return Some(Arc::clone(waiting));
        }
        drop(found);
        let mut all = self.durable.write().unwrap_or_else(PoisonError::into_inner);
        let made = all.entry(queue.clone());
        Some(Arc::clone(
            made.or_insert_with(|| Waiting::new(queue.clone())),
        ))
    }

    /// Every durable queue that a message is routed to.
    fn takers(&self, message: &Message) -> Vec<Arc<Waiting>> {
        let theirs = message
            .format()
            .into_iter()
            .flat_map(|format| Queue::of(&format))
            .chain(Queue::COMMON);
        let takers = theirs.filter(|queue| queue.takes(message));
        takers.filter_map(|queue| self.durable(&queue)).collect()
    }

    /// Enqueues a message in every queue that it is routed to, however full those are: there may be no consumer to make
    /// room. A full dead queue drops it, where RabbitMQ would have its publisher wait for an operator: a single process
    /// may have no operator, and its dead messages end with it anyway. The reducer receives it all the same, so the job
    /// ends with the reason.
    fn force(&self, message: &Message) {
        for waiting in self.takers(message) {
            if !waiting.force(message.clone()) {
                let name = waiting.queue.name();
                let why = format!(
                    "{name} is full: dead messages are dropped until somebody requeues or drops what is there"
                );
                self.health.alarm(&name, why);
                tracing::error!(id = message.id, queue = name, "a dead message was dropped");
            }
        }
        for waiting in lock(&self.listeners).iter() {
            if waiting.queue.takes(message) {
                waiting.force(message.clone());
            }
        }
    }

    /// Requeues a message at the head of its queue, or dead-letters it once it reached the delivery limit.
    fn give_back(&self, from: &Waiting, message: Message, redeliveries: u32) {
        match from.queue.delivery_limit() {
            Some((limit, _)) if redeliveries >= limit => self.dead_letter(from, message),
            _ => from.put_back(message, redeliveries + 1),
        }
    }

    /// Dead-letters a message of `from`; drops one of a queue without a delivery limit, as RabbitMQ does.
    fn dead_letter(&self, from: &Waiting, mut message: Message) {
        if let Some((_, key)) = from.queue.delivery_limit() {
            message.exchange = Exchange::Dead;
            message.key = key;
            self.force(&message);
        }
    }

    /// The queue for whose room a publisher of `message` waits. Dead chunks and events are few and always enqueued; any
    /// other message has one queue, which may be full.
    fn bounded(&self, message: &Message) -> Option<Arc<Waiting>> {
        match message.exchange {
            Exchange::Dead | Exchange::Events => None,
            _ => self.takers(message).pop(),
        }
    }

    /// Refuses an unsendable message, and any message after closing.
    fn check(&self, message: &Message) -> Result<(), BrokerError> {
        check_sendable(message)?;
        match self.closed.is_cancelled() {
            true => Err(BrokerError::Closed),
            false => Ok(()),
        }
    }

    /// Makes a delivery of a message of `from`; calls `settled` once it is settled.
    fn delivery(
        self: &Arc<Self>,
        from: &Arc<Waiting>,
        message: Message,
        redeliveries: u32,
        settled: impl FnOnce() + Send + 'static,
    ) -> Delivery {
        let (queues, origin, copy) = (Arc::clone(self), Arc::clone(from), message.clone());
        self.health.took();
        Delivery::new(message, redeliveries, move |verdict| {
            queues.health.settled();
            match verdict {
                Verdict::Ack => {}
                Verdict::GiveBack => queues.give_back(&origin, copy, redeliveries),
                Verdict::Reject => queues.dead_letter(&origin, copy),
            }
            settled();
        })
    }

    /// Moves messages from a queue into `deliveries` until either end is gone.
    async fn pump(
        self: Arc<Self>,
        from: Arc<Waiting>,
        prefetch: u16,
        deliveries: mpsc::Sender<Delivery>,
    ) {
        let unsettled = Arc::new(Semaphore::new(usize::from(prefetch)));
        loop {
            let permit = tokio::select! {
                permit = Arc::clone(&unsettled).acquire_owned() => permit,
                () = self.closed.cancelled() => return,
                () = deliveries.closed() => return,
            };
            let (message, redeliveries) = loop {
                if let Some(taken) = from.take() {
                    if from.is_for_operator() {
                        self.health.clear(&from.queue.name());
                    }
                    break taken;
                }
                // where this task leaves without using its wake-up, tokio passes it to the next one
                tokio::select! {
                    () = from.arrived.notified() => {}
                    () = self.closed.cancelled() => return,
                    () = deliveries.closed() => return,
                }
            };
            // a consumer that left before the message arrived has not seen it
            if deliveries.is_closed() {
                from.put_back(message, redeliveries);
                return;
            }
            let delivery = self.delivery(&from, message, redeliveries, || drop(permit));
            if deliveries.send(delivery).await.is_err() {
                return;
            }
        }
    }

    /// A queue of a listener's own, until it leaves.
    async fn listen(
        self: Arc<Self>,
        own: Arc<Waiting>,
        prefetch: u16,
        deliveries: mpsc::Sender<Delivery>,
    ) {
        Arc::clone(&self)
            .pump(Arc::clone(&own), prefetch, deliveries)
            .await;
        lock(&self.listeners).retain(|listener| !Arc::ptr_eq(listener, &own));
    }
}

impl Broker for Embedded {
    async fn publish(&self, mut message: Message) -> Result<(), BrokerError> {
        self.queues.check(&message)?;
        let Some(taker) = self.queues.bounded(&message) else {
            self.queues.force(&message);
            return Ok(());
        };
        loop {
            match taker.offer(message) {
                None => return Ok(()),
                Some(refused) => message = refused,
            }
            tokio::select! {
                () = taker.room.notified() => {}
                () = self.queues.closed.cancelled() => return Err(BrokerError::Closed),
            }
        }
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.queues.check(&message)?;
        let Some(taker) = self.queues.bounded(&message) else {
            self.queues.force(&message);
            return Ok(Offered::Taken);
        };
        Ok(match taker.offer(message) {
            None => Offered::Taken,
            Some(_) => Offered::Refused(format!("{} is full", taker.queue.name())),
        })
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        if self.queues.closed.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        let prefetch = prefetch.max(1);
        let (deliveries, stream) = mpsc::channel(usize::from(prefetch));
        let queues = Arc::clone(&self.queues);
        if let Some(from) = queues.durable(&queue) {
            tokio::spawn(queues.pump(from, prefetch, deliveries));
        } else {
            let own = Waiting::new(queue);
            lock(&queues.listeners).push(Arc::clone(&own));
            tokio::spawn(queues.listen(own, prefetch, deliveries));
        }
        Ok(Subscription::new(stream).ending_with(self.queues.closed.clone()))
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        if self.queues.closed.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        let from = self.queues.durable(&queue);
        let taken = from.and_then(|from| from.take().map(|taken| (from, taken)));
        Ok(taken.map(|(from, (message, redeliveries))| {
            self.queues.delivery(&from, message, redeliveries, || ())
        }))
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        let known = self.queues.durable(&queue);
        Ok(known.map_or(0, |each| lock(&each.messages).waiting.len() as u64))
    }

    fn health(&self) -> Health {
        self.queues.health.clone()
    }

    async fn close(&self) {
        self.queues.closed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn jobs() -> Queue {
        Queue::Jobs(crate::Format::new("sales", 1))
    }

    #[tokio::test]
    async fn a_full_dead_queue_says_so_and_the_reducer_hears_of_every_dead_chunk() {
        let broker = Embedded::new();
        let format = crate::Format::new("sales", 1);
        // the clones share one body: they exceed the queue's limit, and take 15 MiB of memory
        let body = crate::Body::from(vec![0; crate::broker::MAX_MESSAGE]);
        let dead = |number: usize| Message {
            exchange: Exchange::Dead,
            key: format!("dead.{format}"),
            id: number.to_string(),
            kind: "chunk".to_owned(),
            headers: BTreeMap::new(),
            body: body.clone(),
        };
        let most = Queue::DeadChunks.max_bytes() / crate::broker::MAX_MESSAGE as u64;
        for number in 0..most + 5 {
            let offered = broker.offer(dead(number as usize)).await;
            assert_eq!(offered.expect("open"), Offered::Taken);
        }
        let waiting = async |queue| broker.waiting(queue).await.expect("open");
        assert_eq!(waiting(Queue::DeadChunks).await, most);
        assert_eq!(waiting(Queue::Results(format.clone())).await, most + 5);
        let troubles = broker.health().troubles();
        assert!(
            matches!(troubles.as_slice(), [why] if why.starts_with("q.chunks.dead is full")),
            "{troubles:?}"
        );
        // an operator makes room
        let mut chunks = broker.subscribe(Queue::DeadChunks, 1).await.expect("open");
        chunks.next().await.expect("a dead chunk").ack();
        drop(chunks);
        assert!(broker.health().troubles().is_empty());
        broker.publish(dead(0)).await.expect("open");
        assert!(broker.health().troubles().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_left_before_a_message_came_does_not_count_as_having_seen_it() {
        let broker = Embedded::new();
        for number in 0..2000 {
            let gone = broker.subscribe(jobs(), 1).await.expect("open");
            // so that it waits for a message
            tokio::task::yield_now().await;
            drop(gone);
            let message = Message {
                exchange: Exchange::Jobs,
                key: "sales.v1".to_owned(),
                id: number.to_string(),
                kind: "job".to_owned(),
                headers: BTreeMap::new(),
                body: "{}".into(),
            };
            broker.publish(message).await.expect("open");
            let mut jobs = broker.subscribe(jobs(), 1).await.expect("open");
            let delivery = jobs.next().await.expect("a job");
            assert_eq!(delivery.redeliveries, 0, "message {number}");
            delivery.ack();
        }
    }
}
