//! A simulated broker that decides the time of every delivery, with RabbitMQ's rules: competing consumers, a single active
//! consumer, delivery limits and dead letters, full queues that reject, an alternate exchange, and requeues when a
//! connection is lost, which may happen at any moment.
//!
//! Events with a time are on an agenda (`agenda`); `queues` has the messages.

mod agenda;
mod queues;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use autoconnect_common::broker::{
    Broker, BrokerError, Delivery, Offered, Queue, Subscription, Verdict, check_sendable,
};
use autoconnect_common::health::Health;
use autoconnect_common::message::Message;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::life::Life;
use crate::world::{World, lock, tell};
use agenda::Due;
use queues::{Held, Stored};

/// How the network and the broker behave.
#[derive(Debug, Clone)]
pub struct Net {
    /// The longest time of a message, confirm, delivery or verdict on its way.
    pub latency: Duration,
    /// The percentage of deliveries that are out of order.
    pub shuffled: u64,
    /// How many of ten thousand messages are stored twice.
    pub repeated: u64,
    /// How many of ten thousand messages are lost with their connection, without a confirm.
    pub lost: u64,
    /// The most bytes that a queue of chunks or results holds.
    pub room: u64,
}

/// The broker; clones are the same broker.
#[derive(Clone)]
pub struct Simulated(Arc<Shared>);

struct Shared {
    world: World,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    net: Net,
    queues: BTreeMap<String, Held>,
    clients: BTreeMap<u64, Client>,
    consumers: BTreeMap<u64, Consumer>,
    sending: BTreeMap<u64, Sending>,
    agenda: BTreeMap<(Instant, u64), Due>,
    next: u64,
    /// Whether an alarm blocks every publish.
    alarm: bool,
    /// Whether the broker runs.
    up: bool,
}

/// A connection of a process.
struct Client {
    life: Arc<Life>,
    health: Health,
    up: bool,
    closed: bool,
}

struct Consumer {
    client: u64,
    queue: String,
    prefetch: usize,
    /// The session of the client. Verdicts of an earlier session have no effect.
    session: u64,
    /// Unacked deliveries, by tag.
    unsettled: BTreeMap<u64, Stored>,
    deliveries: mpsc::Sender<Delivery>,
}

/// A message on its way to the broker.
struct Sending {
    client: u64,
    message: Message,
    pause: Duration,
    /// Whether it is stored, and its confirm is on its way.
    stored: bool,
    /// Whether the publisher offers it once: a reject is then an answer, not a reason to publish again.
    once: bool,
    done: Option<oneshot::Sender<Result<Offered, BrokerError>>>,
}

/// Deliveries to send after the lock is released. Sending them inside could drop one, and a drop takes the lock.
type Outbox = Vec<(mpsc::Sender<Delivery>, Delivery)>;

/// The connection of one process.
#[derive(Clone)]
pub struct Connection {
    broker: Simulated,
    client: u64,
}

impl Simulated {
    /// A broker with empty queues; its task runs until the runtime ends.
    pub fn start(world: World, net: Net, durable: Vec<Queue>) -> Self {
        let queues = durable.into_iter().map(|queue| {
            let held = Held::new(queue.clone());
            (key(&queue), held)
        });
        let broker = Self(Arc::new(Shared {
            world,
            state: Mutex::new(State {
                net,
                queues: queues.collect(),
                clients: BTreeMap::new(),
                consumers: BTreeMap::new(),
                sending: BTreeMap::new(),
                agenda: BTreeMap::new(),
                next: 0,
                alarm: false,
                up: true,
            }),
            changed: Notify::new(),
        }));
        tokio::spawn(agenda::keep(broker.clone()));
        broker
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    fn world(&self) -> &World {
        &self.0.world
    }

    /// The connection of a new process.
    pub fn connect(&self, life: Arc<Life>) -> Connection {
        let mut state = self.state();
        let client = state.number();
        let up = state.up;
        state.clients.insert(
            client,
            Client {
                life,
                health: Health::default(),
                up,
                closed: false,
            },
        );
        Connection {
            broker: self.clone(),
            client,
        }
    }

    /// Changes how the network behaves.
    pub fn set_net(&self, change: impl FnOnce(&mut Net)) {
        change(&mut self.state().net);
    }

    /// Cuts the connections of a process, which reconnect after `away`.
    pub fn cut(&self, life: &Life, away: Duration) {
        let mut state = self.state();
        let ours: Vec<u64> = state.clients_of(life);
        for client in ours {
            state.disconnect(self.world(), client);
            state.due(away, Due::Reconnect { client });
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Closes the connections of a process that has died, and requeues its deliveries.
    pub fn bury(&self, life: &Life) {
        let mut state = self.state();
        for client in state.clients_of(life) {
            state.disconnect(self.world(), client);
            state.forget(client);
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Stops, and starts again after `away`.
    pub fn restart(&self, away: Duration) {
        tell!(self.world(), "broker is away for {away:?}");
        let mut state = self.state();
        state.up = false;
        let clients: Vec<u64> = state.clients.keys().copied().collect();
        for client in clients {
            state.disconnect(self.world(), client);
        }
        state.due(away, Due::Up);
        drop(state);
        self.0.changed.notify_one();
    }

    /// Starts or ends an alarm, during which every publish waits.
    pub fn alarm(&self, alarm: bool) {
        tell!(self.world(), "alarm {alarm}");
        self.state().alarm = alarm;
    }

    /// Removes the bindings of a queue, or adds them again.
    pub fn unbind(&self, queue: &Queue, unbound: bool) {
        tell!(self.world(), "{queue:?} is unbound: {unbound}");
        if let Some(held) = self.state().queues.get_mut(&key(queue)) {
            held.unbound = unbound;
        }
    }

    /// Makes a queue reject every message as full, or not.
    pub fn fill(&self, queue: &Queue, full: bool) {
        tell!(self.world(), "{queue:?} is full: {full}");
        if let Some(held) = self.state().queues.get_mut(&key(queue)) {
            held.full = full;
        }
    }

    /// Drops the ready messages of a queue.
    pub fn purge(&self, queue: &Queue) -> usize {
        let mut state = self.state();
        let held = state.queues.get_mut(&key(queue));
        let purged = held.map_or(0, |held| held.waiting.drain(..).count());
        tell!(self.world(), "{queue:?} is purged of {purged}");
        purged
    }

    /// Deletes a queue with its ready and unacked messages, and declares it again after `away`.
    pub fn delete(&self, queue: &Queue, away: Duration) {
        tell!(self.world(), "{queue:?} is deleted for {away:?}");
        let name = key(queue);
        let mut state = self.state();
        if let Some(held) = state.queues.get_mut(&name) {
            held.waiting.clear();
            held.absent = true;
        }
        for consumer in state.consumers.values_mut().filter(|c| c.queue == name) {
            consumer.session += 1;
            consumer.unsettled.clear();
        }
        state.due(away, Due::Restored { queue: name });
        drop(state);
        self.0.changed.notify_one();
    }

    /// Every message of a queue, ready or unacked.
    pub fn look(&self, queue: &Queue) -> Vec<Message> {
        let state = self.state();
        let name = key(queue);
        let waiting = state.queues.get(&name).into_iter();
        let waiting = waiting.flat_map(|held| held.waiting.iter());
        let taken = state.consumers.values().filter(|c| c.queue == name);
        let taken = taken.flat_map(|consumer| consumer.unsettled.values());
        waiting
            .chain(taken)
            .map(|stored| stored.message.clone())
            .collect()
    }

    /// Stores a message that no role publishes now: a late copy, or a forged message.
    pub fn inject(&self, message: Message) {
        let mut state = self.state();
        tell!(self.world(), "injected {}", message.id);
        let _returned = state.route(self.world(), &message);
        drop(state);
        self.0.changed.notify_one();
    }

    /// A copy of a message that was in a queue before.
    pub fn any_old(&self, queue: &Queue) -> Option<Message> {
        let state = self.state();
        let seen = &state.queues.get(&key(queue))?.seen;
        let place = self.world().roll(|dice| dice.index(seen.len()));
        seen.get(place).cloned()
    }

    /// How many messages are on their way.
    pub fn sending(&self) -> usize {
        self.state().sending.len()
    }
}

/// The key of a queue in the state.
fn key(queue: &Queue) -> String {
    format!("{queue:?}")
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.broker.state()
    }

    fn is_closed(&self, state: &State) -> bool {
        let client = state.clients.get(&self.client);
        client.is_none_or(|client| client.closed || client.life.is_dead())
    }

    /// Waits until the connection is open.
    async fn up(&self) -> Result<(), BrokerError> {
        loop {
            let latency = self.state().net.latency;
            let takes = self.broker.world().roll(|dice| dice.within(latency));
            tokio::time::sleep(takes + Duration::from_millis(1)).await;
            let state = self.state();
            if self.is_closed(&state) {
                return Err(BrokerError::Closed);
            }
            if state.clients.get(&self.client).is_some_and(|c| c.up) {
                return Ok(());
            }
        }
    }

    async fn send(&self, message: Message, once: bool) -> Result<Offered, BrokerError> {
        check_sendable(&message)?;
        let (done, sent) = oneshot::channel();
        {
            let mut state = self.state();
            if self.is_closed(&state) {
                return Err(BrokerError::Closed);
            }
            let number = state.number();
            let sending = Sending {
                client: self.client,
                message,
                pause: Duration::ZERO,
                stored: false,
                once,
                done: Some(done),
            };
            state.sending.insert(number, sending);
            let latency = state.net.latency;
            let takes = self.broker.world().roll(|dice| dice.within(latency));
            state.due(takes, Due::Arrive { sending: number });
        }
        self.broker.0.changed.notify_one();
        sent.await.unwrap_or(Err(BrokerError::Closed))
    }

    fn settler(
        &self,
        consumer: u64,
        session: u64,
        tag: u64,
    ) -> impl FnOnce(Verdict) + Send + 'static {
        let broker = self.broker.clone();
        let client = self.client;
        move |verdict| broker.settle(client, consumer, session, tag, verdict)
    }
}

impl Simulated {
    fn settle(&self, client: u64, consumer: u64, session: u64, tag: u64, verdict: Verdict) {
        let mut state = self.state();
        // a verdict of a dead process is never sent
        let alive = state
            .clients
            .get(&client)
            .is_some_and(|c| !c.life.is_dead());
        if alive {
            let latency = state.net.latency;
            let takes = self.world().roll(|dice| dice.within(latency));
            let due = Due::Settle {
                consumer,
                session,
                tag,
                verdict,
            };
            state.due(takes, due);
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

impl Broker for Connection {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        self.send(message, false).await.map(drop)
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.send(message, true).await
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        self.up().await?;
        let (deliveries, stream) = mpsc::channel(Semaphore::MAX_PERMITS);
        let mut state = self.state();
        let number = state.number();
        let name = match queue.listens_to() {
            Some(_) => format!("{queue:?} of {number}"),
            None => key(&queue),
        };
        if queue.listens_to().is_some() {
            state.queues.insert(name.clone(), Held::new(queue));
        } else if !state.queues.contains_key(&name) {
            return Err(BrokerError::Refused(format!("no queue {name}")));
        }
        let life = state.clients.get(&self.client).map(|c| c.life.name.clone());
        tell!(
            self.broker.world(),
            "{} takes from {name}",
            life.unwrap_or_default()
        );
        state.consumers.insert(
            number,
            Consumer {
                client: self.client,
                queue: name.clone(),
                prefetch: usize::from(prefetch.max(1)),
                session: 0,
                unsettled: BTreeMap::new(),
                deliveries,
            },
        );
        state.hand_out(self.broker.world(), &name);
        drop(state);
        self.broker.0.changed.notify_one();
        Ok(Subscription::new(stream))
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        self.up().await?;
        // the broker reads a channel in order: verdicts that are on their way arrive before this request
        while self.state().settles(self.client) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut state = self.state();
        if !state.clients.get(&self.client).is_some_and(|c| c.up) {
            // the request is lost with the connection; the role takes again later
            return Ok(None);
        }
        let taken = state.take(self.broker.world(), self.client, &key(&queue));
        Ok(taken.map(|(consumer, tag, stored)| {
            let settler = self.settler(consumer, 0, tag);
            Delivery::new(stored.message, stored.returned, settler)
        }))
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        self.up().await?;
        let state = self.state();
        let held = state.queues.get(&key(&queue));
        Ok(held.map_or(0, |held| held.waiting.len() as u64))
    }

    fn health(&self) -> Health {
        let state = self.state();
        let client = state.clients.get(&self.client);
        client.map_or_else(Health::default, |client| client.health.clone())
    }

    async fn close(&self) {
        let mut state = self.state();
        state.disconnect(self.broker.world(), self.client);
        if let Some(client) = state.clients.get_mut(&self.client) {
            client.closed = true;
        }
        drop(state);
        self.broker.0.changed.notify_one();
    }
}
