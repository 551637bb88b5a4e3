//! Decides when a worker takes from the quarantine queues.
//!
//! A chunk that was returned 20 times is in quarantine: it may kill its workers, or it was only held unacked beside such a
//! chunk. In quarantine it may be returned once; after the second return it is dead. The broker counts what a dead worker
//! held, not what it computed, so a quarantined chunk must be the only one that a worker can die of: the worker takes
//! one while it computes nothing and awaits no confirm, and computes nothing else until that chunk is settled. Chunks
//! prefetched from the other queues may wait meanwhile: a return costs them one of 20.
//!
//! ```text
//! resting --(1 s)--> a quarantine: take one, work it, take the next, ... none left --> the next quarantine --> ... --> resting
//! ```
//!
//! So chunks in quarantine come first. They are few, because each was returned 20 times.

use std::time::Duration;

use autoconnect_common::Registry;
use autoconnect_common::broker::Queue;
use tokio::time::Instant;

/// How long a worker rests between two looks: short, so that a quarantined chunk waits little longer than for the current
/// chunk; and long beside the few milliseconds of a look, for which the pipeline of chunks and confirms stops.
const REST: Duration = Duration::from_secs(1);

/// The quarantine queues of a worker, and which one it takes from.
#[derive(Debug)]
pub(crate) struct Quarantine {
    queues: Vec<Queue>,
    /// The queue that it takes from now, unless it rests.
    looking: Option<usize>,
    /// When its rest ends.
    until: Instant,
}

impl Quarantine {
    /// The quarantines of every format that the worker knows; the first look is due at once.
    pub(crate) fn of(registry: &Registry) -> Self {
        let formats = registry.formats().into_iter();
        Self {
            queues: formats.map(Queue::Quarantine).collect(),
            looking: None,
            until: Instant::now(),
        }
    }

    /// The queue to take from until it is empty; `None` while the worker rests.
    pub(crate) fn queue(&self) -> Option<Queue> {
        self.queues.get(self.looking?).cloned()
    }

    /// Waits until the rest ends. Cancel-safe.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep_until(self.until).await;
    }

    /// Ends the rest: turns to the first queue.
    pub(crate) fn look(&mut self) {
        self.turn_to(0);
    }

    /// The current queue is empty: turns to the next one, or rests.
    pub(crate) fn found_none(&mut self) {
        self.turn_to(self.looking.map_or(0, |queue| queue + 1));
    }

    fn turn_to(&mut self, queue: usize) {
        self.looking = (queue < self.queues.len()).then_some(queue);
        if self.looking.is_none() {
            self.until = Instant::now() + REST;
        }
    }
}
