//! Checks the broker's queues before an idle job is abandoned.
//!
//! No job is abandoned while a queue of chunks or of results holds a message, and no job without a manifest while a queue of
//! requests does. (A producer that cuts publishes `begun` every few seconds, which counts as news of its job.) Unacknowledged
//! chunks are not counted by the broker, but return to their queue within the consumer timeout of 30 minutes. So the queues must
//! have been empty for half of `abandon_after`, whose default is an hour.
//!
//! ```text
//! last news                                            abandoned
//!     |<------------------ abandon_after ------------------>|
//!       checks of the queues: .   .   .   .   .   .   .   .
//!                                     ^^^^^^^^^^^^^^^^^^^^^ only if all of these found nothing, and none took long
//! ```

use std::time::Duration;

use autoconnect_common::Format;
use autoconnect_common::broker::{Broker, BrokerError, Queue};
use autoconnect_common::wait::or_pending;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// Checks of the queues during `abandon_after`: enough to notice a backlog, few enough to cost nothing.
const LOOKS: u32 = 8;
/// The result of a check: whether all queues of chunks and results are empty, and whether all queues of requests are.
type Found = [bool; 2];

/// Watches the queues while a job is idle.
pub(crate) struct Silence<'r, B> {
    broker: &'r B,
    /// The formats that this reducer knows.
    formats: Vec<Format>,
    /// How long a job may be idle before it is abandoned.
    patience: Duration,
    /// The running check: yields when it began, and its result.
    look: Option<BoxFuture<'r, (Instant, Result<Found, BrokerError>)>>,
    looked_at: Option<Instant>,
    /// When the unbroken run of checks began that found each group of queues empty.
    empty_since: [Option<Instant>; 2],
}

impl<'r, B: Broker> Silence<'r, B> {
    /// Nothing is known yet.
    pub(crate) fn new(broker: &'r B, formats: Vec<Format>, patience: Duration) -> Self {
        Self {
            broker,
            formats,
            patience,
            look: None,
            looked_at: None,
            empty_since: [None; 2],
        }
    }

    /// The time between two checks.
    fn pace(&self) -> Duration {
        self.patience / LOOKS
    }

    /// Starts a check if one is due; `silent` is the longest idle time of any open job.
    pub(crate) fn watch(&mut self, silent: Duration) {
        if silent < self.pace() {
            self.empty_since = [None; 2];
        } else if self.look.is_none() && self.looked_at.is_none_or(|at| at.elapsed() >= self.pace())
        {
            let (began, look) = (Instant::now(), look(self.broker, self.formats.clone()));
            self.look = Some(Box::pin(async move { (began, look.await) }));
        }
    }

    /// Awaits the running check and records its result; pending while no check runs. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        let (began, found) = or_pending(self.look.as_mut()).await;
        let now = Instant::now();
        (self.look, self.looked_at) = (None, Some(now));
        let slow = now - began > self.pace();
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "queues not looked at: no silent job is given up");
            Found::default()
        });
        for (since, empty) in self.empty_since.iter_mut().zip(found) {
            *since = match *since {
                // messages may have returned to their queues while the broker was away: start the empty period again
                Some(before) if empty && !slow => Some(before),
                _ => empty.then_some(now),
            };
        }
    }

    /// Whether the queues have been empty for long enough to abandon the job.
    pub(crate) fn is_final(&self, has_manifest: bool) -> bool {
        let [no_work, no_request] = self.empty_since.map(|since| {
            let half = self.patience / 2;
            since.is_some_and(|since| since.elapsed() >= half)
        });
        no_work && (has_manifest || no_request)
    }
}

async fn look<B: Broker>(broker: &B, formats: Vec<Format>) -> Result<Found, BrokerError> {
    let of = |is_request: bool| {
        let all = Queue::durable(&formats).into_iter();
        all.filter(move |queue| match queue {
            Queue::Jobs(_) => is_request,
            Queue::Chunks(_) | Queue::Quarantine(_) | Queue::Results(_) => !is_request,
            _ => false,
        })
    };
    Ok([
        are_empty(broker, of(false)).await?,
        are_empty(broker, of(true)).await?,
    ])
}

async fn are_empty<B: Broker>(
    broker: &B,
    queues: impl IntoIterator<Item = Queue>,
) -> Result<bool, BrokerError> {
    for queue in queues {
        if broker.waiting(queue).await? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
