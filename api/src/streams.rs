//! Streams of events, of which only a bounded number may be open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::Shutdown;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// The most streams of events at a time: one sixteenth of the connections, so that the others are free for requests.
pub const STREAMS: usize = 256;
/// How often a stream sends a keep-alive: below the 30 to 60 seconds after which proxies close idle connections.
const ALIVE: Duration = Duration::from_secs(15);
/// The time after which a browser reconnects a lost stream: one second, so that a restart of the API is barely noticed.
const RETRY: Duration = Duration::from_secs(1);

/// The open streams of events.
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    stop: Shutdown,
}

impl Streams {
    /// No streams yet; `stop` ends all of them.
    pub(crate) fn new(stop: &Shutdown) -> Self {
        Self {
            places: Arc::new(Semaphore::new(STREAMS)),
            stop: stop.clone(),
        }
    }

    /// The number of open streams.
    pub(crate) fn open(&self) -> usize {
        STREAMS - self.places.available_permits()
    }

    /// Takes a permit for one more stream.
    ///
    /// # Errors
    /// [`Problem`] where [`STREAMS`] are open.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| {
            Problem::unavailable(format!(
                "{STREAMS} flux d’événements sont déjà ouverts\u{a0}; fermez-en un, ou réessayez plus tard"
            ))
        })
    }

    /// A stream of events, which releases its permit when it ends.
    pub(crate) fn serve<S: Stream<Item = Event> + Send + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        events: S,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<S>> {
        let events = stream::once(async { Event::default().retry(RETRY) })
            .chain(events)
            .take_until(self.stop.clone().cancelled_owned())
            .map(move |event| {
                let _held = &place;
                Ok(event)
            });
        Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
    }
}
