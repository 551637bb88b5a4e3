//! The streams of events that are open: a bounded number of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::Shutdown;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// The most streams of events at a time: one sixteenth of the connections, so that requests find room beside them.
pub const STREAMS: usize = 256;
/// How often a stream sends a keep-alive: below the 30 to 60 seconds after which proxies close idle connections.
const ALIVE: Duration = Duration::from_secs(15);
/// The time after which a browser reconnects a lost stream: a restart of the API is barely noticed.
const RETRY: Duration = Duration::from_secs(1);

/// The streams of events that are open.
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    stop: Shutdown,
}

impl Streams {
    /// None yet; all of them end with `stop`.
    pub(crate) fn new(stop: &Shutdown) -> Self {
        Self {
            places: Arc::new(Semaphore::new(STREAMS)),
            stop: stop.clone(),
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        STREAMS - self.places.available_permits()
    }

    /// A place for one more.
    ///
    /// # Errors
    /// [`Problem`], while all are taken.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| {
            Problem::unavailable(format!(
                "{STREAMS} flux d’événements sont déjà ouverts\u{a0}; fermez-en un, ou réessayez plus tard"
            ))
        })
    }

    /// A stream of events that keeps its place for as long as it is read.
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
