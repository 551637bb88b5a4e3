//! Whether something of a silent job may still come: the broker is asked before a job is given up.
//!
//! A job is not given up while chunks or results wait at the broker for a worker or for us, nor one without a manifest
//! while requests wait for a producer. (A producer that cuts says so every few seconds, which is news of its job.) What a
//! worker has in its hands is in no queue; it comes back to one within the consumer timeout of 30 minutes. So the queues
//! must have been seen empty for half of the time that a job may be silent, which is an hour unless set otherwise.
//!
//! ```text
//! last news                                            given up
//!     |<------------------ abandon_after ------------------>|
//!        looks at the queues: .   .   .   .   .   .   .   .
//!                                     ^^^^^^^^^^^^^^^^^^^^^ only if all of these found nothing, and none took long
//! ```

use std::time::Duration;

use autoconnect_common::Format;
use autoconnect_common::broker::{Broker, BrokerError, Queue};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// Looks in the time that a job may be silent: enough to notice a backlog, few enough to cost nothing.
const LOOKS: u32 = 8;
/// What a look found: whether the queues of work, and those of requests, are empty.
type Found = [bool; 2];

/// Watches the broker while a job is silent.
pub(crate) struct Silence<'r, B> {
    broker: &'r B,
    /// Those of the jobs that can be given up here.
    formats: Vec<Format>,
    /// How long a job may be silent.
    patience: Duration,
    look: Option<(Instant, BoxFuture<'r, Result<Found, BrokerError>>)>,
    looked_at: Option<Instant>,
    /// Since when every look found the queues of work, and those of requests, empty.
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

    /// How often the queues are looked at.
    fn pace(&self) -> Duration {
        self.patience / LOOKS
    }

    /// Looks, if it is time; `silent` is how long the most silent job has been so.
    pub(crate) fn watch(&mut self, silent: Duration) {
        if silent < self.pace() {
            self.empty_since = [None; 2];
        } else if self.look.is_none() && self.looked_at.is_none_or(|at| at.elapsed() >= self.pace())
        {
            self.look = Some((
                Instant::now(),
                Box::pin(look(self.broker, self.formats.clone())),
            ));
        }
    }

    /// Waits for what the look finds, and takes note of it; for ever while there is none. Dropping the future loses
    /// nothing.
    pub(crate) async fn next(&mut self) {
        let (began, found) = match &mut self.look {
            Some((began, look)) => (*began, look.await),
            None => std::future::pending().await,
        };
        let now = Instant::now();
        (self.look, self.looked_at) = (None, Some(now));
        let slow = now - began > self.pace();
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "queues not looked at: no silent job is given up");
            Found::default()
        });
        for (since, empty) in self.empty_since.iter_mut().zip(found) {
            *since = match *since {
                // while the broker was away, anything may have come back to its queues
                Some(before) if empty && !slow => Some(before),
                _ => empty.then_some(now),
            };
        }
    }

    /// Whether nothing of a job can come any more, as far as the broker knows.
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
