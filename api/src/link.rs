//! The broker of the API: RabbitMQ, or the embedded broker of its own process.

use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::rabbitmq::RabbitMq;
use autoconnect_common::broker::{Broker, BrokerError, Delivery, Offered, Queue, Subscription};
use autoconnect_common::health::Health;
use autoconnect_common::message::Message;

/// One of the two brokers.
#[derive(Clone)]
pub enum Link {
    /// The embedded broker of this process.
    Embedded(Embedded),
    /// The RabbitMQ of a cluster.
    RabbitMq(RabbitMq),
}

impl Link {
    /// Whether the broker is connected at this moment.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Embedded(_) => true,
            Self::RabbitMq(rabbit) => rabbit.is_up(),
        }
    }
}

impl Broker for Link {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        match self {
            Self::Embedded(broker) => broker.publish(message).await,
            Self::RabbitMq(broker) => broker.publish(message).await,
        }
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        match self {
            Self::Embedded(broker) => broker.offer(message).await,
            Self::RabbitMq(broker) => broker.offer(message).await,
        }
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        match self {
            Self::Embedded(broker) => broker.subscribe(queue, prefetch).await,
            Self::RabbitMq(broker) => broker.subscribe(queue, prefetch).await,
        }
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        match self {
            Self::Embedded(broker) => broker.take(queue).await,
            Self::RabbitMq(broker) => broker.take(queue).await,
        }
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        match self {
            Self::Embedded(broker) => broker.waiting(queue).await,
            Self::RabbitMq(broker) => broker.waiting(queue).await,
        }
    }

    fn health(&self) -> Health {
        match self {
            Self::Embedded(broker) => broker.health(),
            Self::RabbitMq(broker) => broker.health(),
        }
    }

    async fn close(&self) {
        match self {
            Self::Embedded(broker) => broker.close().await,
            Self::RabbitMq(broker) => broker.close().await,
        }
    }
}
