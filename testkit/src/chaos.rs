//! A broker that misbehaves within its promises, as its seed decides: [`Chaos`] wraps any other.
//!
//! | mischief | the fault that it stands for |
//! |---|---|
//! | messages are published again | a producer or worker is killed between confirm and ack |
//! | deliveries are requeued before a role receives them | a consumer is cut off |
//! | acks become requeues | an ack is lost with its connection |
//! | deliveries come in another order, publishers wait | several workers, a busy network |
//!
//! Only chunks and results are affected: each request is cut once. Each of the first three makes the reducer receive one
//! extra result, except a requeue before any role received the delivery. So the number of duplicates that the reducer must
//! count is known exactly: [`Figures::repeats`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use autoconnect_common::broker::{
    Broker, BrokerError, Delivery, Offered, Queue, Subscription, Verdict,
};
use autoconnect_common::health::Health;
use autoconnect_common::message::{Exchange, Message};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use tokio::sync::{Notify, mpsc};

/// A delivery that was returned this often is not disturbed any more: a broker dead-letters it at its limit of 20.
const PATIENCE: u32 = 5;
/// The most deliveries that are shuffled together: enough to separate those that were published one after the other.
const DECK: usize = 32;

/// How a broker misbehaves; probabilities are from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mischief {
    /// The seed of all random choices.
    pub seed: u64,
    /// The probability that a message is published once more, after each publish.
    pub duplicate: f64,
    /// How often every message is published again at least.
    pub copies: u32,
    /// The probability that a delivery is requeued before a role receives it.
    pub give_back: f64,
    /// The probability that an ack is lost.
    pub lose_ack: f64,
    /// Whether deliveries are shuffled.
    pub shuffle: bool,
}

impl Mischief {
    /// Mischief of every kind.
    pub fn of_all_kinds(seed: u64) -> Self {
        Self {
            seed,
            duplicate: 0.2,
            copies: 0,
            give_back: 0.1,
            lose_ack: 0.1,
            shuffle: true,
        }
    }
}

/// Counts of the mischief so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages published again.
    pub duplicated: u64,
    /// Deliveries requeued before a role received them.
    pub given_back: u64,
    /// Acks lost.
    pub acks_lost: u64,
    /// Copies that were published and are not acked yet.
    pub on_their_way: u64,
}

impl Figures {
    /// How many duplicate results the reducer receives.
    pub fn repeats(&self) -> u64 {
        self.duplicated + self.acks_lost
    }
}

/// A broker that misbehaves; clones share its state.
#[derive(Clone)]
pub struct Chaos<B> {
    broker: B,
    shared: Arc<Shared>,
}

struct Shared {
    mischief: Mischief,
    rng: Mutex<Pcg64Mcg>,
    figures: Mutex<Figures>,
    changed: Notify,
    calm: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a message is subject to mischief.
fn is_ours(message: &Message) -> bool {
    matches!(message.exchange, Exchange::Chunks | Exchange::Results)
}

impl Shared {
    fn chance(&self, probability: f64) -> bool {
        !self.calm.load(Ordering::Relaxed) && lock(&self.rng).random_bool(probability)
    }

    fn count(&self, count: impl FnOnce(&mut Figures)) {
        count(&mut lock(&self.figures));
        self.changed.notify_waiters();
    }

    /// The delivery with a verdict that passes through this broker.
    fn wrap(self: &Arc<Self>, delivery: Delivery) -> Delivery {
        let shared = Arc::clone(self);
        let (message, redeliveries) = (delivery.message.clone(), delivery.redeliveries);
        // a dead chunk in the queue of results was not published through here
        let ours = u64::from(is_ours(&message));
        Delivery::new(message, redeliveries, move |verdict| match verdict {
            Verdict::GiveBack => delivery.give_back(),
            Verdict::Ack if redeliveries < PATIENCE && shared.chance(shared.mischief.lose_ack) => {
                shared.count(|figures| figures.acks_lost += 1);
                delivery.give_back();
            }
            Verdict::Ack | Verdict::Reject => {
                delivery.settle(verdict);
                shared.count(|figures| figures.on_their_way -= ours);
            }
        })
    }

    /// Forwards deliveries in another order, until the sender or the receiver is gone.
    async fn pump(self: Arc<Self>, mut from: Subscription, to: mpsc::Sender<Delivery>) {
        let mut deck: Vec<Delivery> = Vec::new();
        loop {
            let delivery = tokio::select! {
                () = to.closed() => return,
                delivery = from.next(), if deck.len() < DECK => match delivery {
                    Some(delivery) => delivery,
                    None => return,
                },
                () = self.wait_for_more(), if !deck.is_empty() => {
                    for _ in 0..deck.len().div_ceil(2) {
                        let card = lock(&self.rng).random_range(0..deck.len());
                        if to.send(deck.swap_remove(card)).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
            };
            if delivery.redeliveries < PATIENCE && self.chance(self.mischief.give_back) {
                self.count(|figures| figures.given_back += 1);
                delivery.give_back();
            } else {
                deck.push(self.wrap(delivery));
            }
        }
    }

    /// Waits for more deliveries, so that there are several to shuffle.
    async fn wait_for_more(&self) {
        if self.mischief.shuffle {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Yields at random, so that other tasks run first.
    async fn hesitate(&self) {
        if self.mischief.shuffle && self.chance(0.5) {
            let micros = lock(&self.rng).next_u64() % 2_000;
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}

impl<B: Broker> Chaos<B> {
    /// Wraps `broker`.
    pub fn over(broker: B, mischief: Mischief) -> Self {
        Self {
            broker,
            shared: Arc::new(Shared {
                mischief,
                rng: Mutex::new(Pcg64Mcg::seed_from_u64(mischief.seed)),
                figures: Mutex::default(),
                changed: Notify::new(),
                calm: AtomicBool::new(false),
            }),
        }
    }

    /// Counts of the mischief so far.
    pub fn figures(&self) -> Figures {
        *lock(&self.shared.figures)
    }

    /// Ends all mischief.
    pub fn calm(&self) {
        self.shared.calm.store(true, Ordering::Relaxed);
    }

    /// Waits until every chunk and result that was published through this broker is acked.
    pub async fn quiet(&self) {
        let mut changed = std::pin::pin!(self.shared.changed.notified());
        loop {
            changed.as_mut().enable();
            if self.figures().on_their_way == 0 {
                return;
            }
            changed.as_mut().await;
            changed.set(self.shared.changed.notified());
        }
    }
}

impl<B: Broker> Broker for Chaos<B> {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        if !is_ours(&message) {
            return self.broker.publish(message).await;
        }
        let shared = &self.shared;
        let mut copies = shared.mischief.copies;
        while shared.chance(shared.mischief.duplicate) {
            copies += 1;
        }
        for copy in 0..=copies {
            shared.hesitate().await;
            shared.count(|figures| {
                figures.duplicated += u64::from(copy > 0);
                figures.on_their_way += 1;
            });
            self.broker.publish(message.clone()).await?;
        }
        Ok(())
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        if !is_ours(&message) {
            return self.broker.offer(message).await;
        }
        self.publish(message).await.map(|()| Offered::Taken)
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        let meddle = matches!(queue, Queue::Chunks(_) | Queue::Results(_));
        let from = self.broker.subscribe(queue, prefetch).await?;
        if !meddle {
            return Ok(from);
        }
        let (to, stream) = mpsc::channel(usize::from(prefetch.max(1)));
        tokio::spawn(Arc::clone(&self.shared).pump(from, to));
        Ok(Subscription::new(stream))
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        self.broker.take(queue).await
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        self.broker.waiting(queue).await
    }

    fn health(&self) -> Health {
        self.broker.health()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}
