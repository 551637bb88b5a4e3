//! When a worker looks into the quarantines.
//!
//! A chunk that came back 20 times is in quarantine: it may be one that kills whoever works it, or one that was only held
//! beside such a chunk. There it comes back once, and the next time it is dead. The broker counts what a dead worker
//! held, not what it computed, so that a chunk of a quarantine must be all that a worker can die of: the worker asks for
//! one while it computes nothing and awaits no confirm, and computes nothing else until the broker has its verdict. What
//! is prefetched from the other queues may wait meanwhile: a return is one of 20 there.
//!
//! ```text
//! resting --(1 s)--> a quarantine: takes one, works it, takes the next, ... none --> the next quarantine --> ... --> resting
//! ```
//!
//! So chunks in quarantine come first. Each of them came back 20 times, so that they are few.

use std::time::Duration;

use autoconnect_common::Registry;
use autoconnect_common::broker::Queue;
use tokio::time::Instant;

/// How long a worker rests: a chunk waits in quarantine for no longer than that and the chunk in hand, and a look, which
/// the pipeline of chunks and confirms stops for, takes a few milliseconds of it.
const REST: Duration = Duration::from_secs(1);

/// Which quarantine a worker looks into.
#[derive(Debug)]
pub(crate) struct Quarantine {
    queues: Vec<Queue>,
    /// The one that it looks into now, unless it rests.
    looking: Option<usize>,
    /// Until when it rests.
    until: Instant,
}

impl Quarantine {
    /// Those of every format that the worker knows, to be looked into at once.
    pub(crate) fn of(registry: &Registry) -> Self {
        let formats = registry.formats().into_iter();
        Self {
            queues: formats.map(Queue::Quarantine).collect(),
            looking: None,
            until: Instant::now(),
        }
    }

    /// The queue that is to be looked into, again and again until it is empty; `None` while the worker rests.
    pub(crate) fn queue(&self) -> Option<Queue> {
        self.queues.get(self.looking?).cloned()
    }

    /// Rests. Dropping the future loses nothing.
    pub(crate) async fn rest(&self) {
        tokio::time::sleep_until(self.until).await;
    }

    /// The worker has rested: it looks into the first one.
    pub(crate) fn look(&mut self) {
        self.turn_to(0);
    }

    /// The one that it looked into is empty: it looks into the next one, or rests.
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
