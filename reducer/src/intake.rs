//! What the reducer consumes, and when: nothing while its disk refuses writes.

use autoconnect_common::broker::{BrokerError, Delivery, Queue, Subscription, subscribe_each};
use autoconnect_common::{Broker, Format};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// The prefetch of the control queue: its messages are small and soon handled, and more in flight would gain nothing.
const CONTROL: u16 = 16;

/// Subscribes to the control queue and, with a prefetch of `prefetch` in all, to the results of every format. Control
/// messages come first, so that an answer or a cancellation does not wait behind results.
pub(crate) async fn subscribe<B: Broker>(
    broker: &B,
    formats: Vec<Format>,
    prefetch: u16,
) -> Result<Subscription, BrokerError> {
    let share = u16::try_from(formats.len()).map_or(1, |many| prefetch / many.max(1));
    let results = formats.into_iter().map(Queue::Results);
    let control = broker.subscribe(Queue::Control, CONTROL).await?;
    let results = subscribe_each(broker, results.map(|queue| (queue, share.max(1)))).await?;
    Ok(control.ahead_of(results))
}

/// A subscription that is not open yet.
pub(crate) type Opening<'r> = BoxFuture<'r, Result<Subscription, BrokerError>>;

/// The reducer's subscription: closed while its disk refuses writes, so that it holds no unacked deliveries, whose
/// delivery count would grow with every connection lost meanwhile.
pub(crate) enum Intake<'r> {
    /// Nothing is consumed.
    Closed,
    /// The broker has not confirmed the subscription yet, and may be down.
    Opening(Opening<'r>),
    /// The broker delivers.
    Open(Subscription),
}

/// What the intake yields.
pub(crate) enum Taken {
    /// The subscription has opened.
    Opened,
    /// A delivery.
    Delivery(Delivery),
    /// The subscription has ended.
    Ended,
}

impl<'r> Intake<'r> {
    /// Subscribes, unless it has.
    pub(crate) fn open(&mut self, subscribe: impl FnOnce() -> Opening<'r>) {
        if matches!(self, Self::Closed) {
            *self = Self::Opening(subscribe());
        }
    }

    /// Ends the subscription; returns the deliveries that have arrived.
    pub(crate) fn close(&mut self) -> Vec<Delivery> {
        let arrived = std::iter::from_fn(|| self.arrived()).collect();
        *self = Self::Closed;
        arrived
    }

    /// Whether there is no subscription.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the broker delivers.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Returns a delivery that has arrived, without waiting.
    pub(crate) fn arrived(&mut self) -> Option<Delivery> {
        match self {
            // the end of the stream is returned again by `next`
            Self::Open(subscription) => subscription.next().now_or_never().flatten(),
            Self::Closed | Self::Opening(_) => None,
        }
    }

    /// Waits for the next delivery; pending while closed. Cancel-safe.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refuses the subscription for good.
    pub(crate) async fn next(&mut self) -> Result<Taken, BrokerError> {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Opening(opening) => {
                let subscription = opening.await?;
                *self = Self::Open(subscription);
                Ok(Taken::Opened)
            }
            Self::Open(subscription) => Ok(match subscription.next().await {
                Some(delivery) => Taken::Delivery(delivery),
                None => Taken::Ended,
            }),
        }
    }
}
