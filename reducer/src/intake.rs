//! What the reducer takes from the broker, and when: nothing while it cannot keep anything.

use autoconnect_common::broker::{BrokerError, Delivery, Queue, Subscription, subscribe_each};
use autoconnect_common::{Broker, Format};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Questions, cancellations and the like in hand, at most.
const CONTROL: u16 = 16;

/// What the reducer takes from: `prefetch` results of all formats together, and before any of them what it is asked and
/// told, so that an answer, or the end of a job that nobody wants, does not wait behind results.
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

/// A subscription that is being opened.
pub(crate) type Opening<'r> = BoxFuture<'r, Result<Subscription, BrokerError>>;

/// The reducer's subscription: closed while its disk refuses writes, so that it neither holds deliveries nor has the
/// broker count them again with every connection that is lost meanwhile.
pub(crate) enum Intake<'r> {
    /// Nothing is taken.
    Closed,
    /// The broker was asked, and may be away.
    Opening(Opening<'r>),
    /// Deliveries come.
    Open(Subscription),
}

/// What came.
pub(crate) enum Taken {
    /// The broker delivers from now on.
    Opened,
    /// A delivery.
    Delivery(Delivery),
    /// The broker delivers nothing more.
    Ended,
}

impl<'r> Intake<'r> {
    /// Starts taking, unless that was done.
    pub(crate) fn open(&mut self, subscribe: impl FnOnce() -> Opening<'r>) {
        if matches!(self, Self::Closed) {
            *self = Self::Opening(subscribe());
        }
    }

    /// Stops taking; what has arrived comes out.
    pub(crate) fn close(&mut self) -> Vec<Delivery> {
        let arrived = std::iter::from_fn(|| self.arrived()).collect();
        *self = Self::Closed;
        arrived
    }

    /// Whether nothing is taken.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether deliveries come.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// A delivery that has arrived already.
    pub(crate) fn arrived(&mut self) -> Option<Delivery> {
        match self {
            // the end of the stream shows again when somebody waits for it
            Self::Open(subscription) => subscription.next().now_or_never().flatten(),
            Self::Closed | Self::Opening(_) => None,
        }
    }

    /// Waits for what comes next; for ever while closed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker will not have us.
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
