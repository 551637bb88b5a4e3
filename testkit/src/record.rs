//! A broker that records every publish and every verdict, in order: [`Recorded`] wraps any other.

use std::sync::{Arc, Mutex, PoisonError};

use autoconnect_common::broker::{
    Broker, BrokerError, Delivery, Offered, Queue, Subscription, Verdict,
};
use autoconnect_common::health::Health;
use autoconnect_common::message::Message;
use tokio::sync::mpsc;

/// A step of the record. Messages are named by their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A consumer subscribed to this queue.
    Subscribed(Queue),
    /// The broker confirmed the message.
    Published(String),
    /// The message was acked.
    Acked(String),
    /// The message was requeued.
    GivenBack(String),
    /// The message was rejected, which dead-letters it.
    Rejected(String),
}

/// A broker that records its steps; clones share the record.
#[derive(Clone)]
pub struct Recorded<B> {
    broker: B,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl<B: Broker> Recorded<B> {
    /// Wraps `broker`, with an empty record.
    pub fn over(broker: B) -> Self {
        let steps = Arc::default();
        Self { broker, steps }
    }

    /// The steps so far.
    pub fn steps(&self) -> Vec<Step> {
        let steps = self.steps.lock();
        steps.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The position of `step` among all steps, if it happened.
    pub fn when(&self, step: &Step) -> Option<usize> {
        self.steps().iter().position(|noted| noted == step)
    }
}

fn note(steps: &Mutex<Vec<Step>>, step: Step) {
    let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
    steps.push(step);
}

/// The delivery with a verdict that is recorded.
fn noted(steps: &Arc<Mutex<Vec<Step>>>, delivery: Delivery) -> Delivery {
    let (message, steps) = (delivery.message.clone(), Arc::clone(steps));
    let id = message.id.clone();
    Delivery::new(message, delivery.redeliveries, move |verdict| {
        let step = match verdict {
            Verdict::Ack => Step::Acked(id),
            Verdict::GiveBack => Step::GivenBack(id),
            Verdict::Reject => Step::Rejected(id),
        };
        note(&steps, step);
        delivery.settle(verdict);
    })
}

impl<B: Broker> Broker for Recorded<B> {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        let id = message.id.clone();
        // yield before the confirm: a publisher that does not await it then acks too early, which the record shows
        tokio::task::yield_now().await;
        self.broker.publish(message).await?;
        note(&self.steps, Step::Published(id));
        Ok(())
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        let id = message.id.clone();
        let offered = self.broker.offer(message).await?;
        if offered == Offered::Taken {
            note(&self.steps, Step::Published(id));
        }
        Ok(offered)
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        let mut from = self.broker.subscribe(queue.clone(), prefetch).await?;
        note(&self.steps, Step::Subscribed(queue));
        let (to, stream) = mpsc::channel(usize::from(prefetch.max(1)));
        let steps = Arc::clone(&self.steps);
        tokio::spawn(async move {
            loop {
                let delivery = tokio::select! {
                    () = to.closed() => return,
                    delivery = from.next() => delivery,
                };
                let Some(delivery) = delivery else { return };
                if to.send(noted(&steps, delivery)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Subscription::new(stream))
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        let taken = self.broker.take(queue).await?;
        Ok(taken.map(|delivery| noted(&self.steps, delivery)))
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
