//! Exchanges and queues: what is bound to what, said once for both brokers.
//!
//! ```text
//! x.chunks  topic  --#-->        q.chunks             --(20 deliveries)--> x.dead "quarantine"
//!    '-- unrouted --> x.unrouted q.chunks.unrouted    --(20 deliveries)--> x.dead "quarantine"
//! x.dead    direct --quarantine-> q.chunks.quarantine --(1 delivery)-----> x.dead "dead"
//!                  --dead-->     q.chunks.dead, q.results
//!                  --results-->  q.results.dead
//! x.results topic  --#-->        q.results            --(20 deliveries)--> x.dead "results"
//! x.jobs    topic  --#-->        q.jobs
//! x.events  topic  --job.<id>--> a queue of the listener's own, gone with it
//!                  --#-->        the same, of one who listens to everything
//! ```
//!
//! A dead chunk reaches the reducer by the same message that reaches the dead queue, so a job never waits for a chunk
//! that nobody can work. Names carry a version when arguments change: a queue is never deleted and declared again.

use crate::JobId;
use crate::message::{Exchange, Message};

/// A queue to take from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Chunks to work.
    Chunks,
    /// Chunks whose routing key no binding of `x.chunks` takes; workers take from here too.
    Unrouted,
    /// Chunks that came back too often; each is tried once more, alone.
    Quarantine,
    /// Partials, manifests, annexes and dead chunks; one active reducer.
    Results,
    /// Chunks that nobody could work, for the operator.
    DeadChunks,
    /// Results that the reducer could not read, for the operator.
    DeadResults,
    /// Requests for jobs; one at a time for each producer.
    Jobs,
    /// Events of one job, in a queue of the listener's own.
    Events(JobId),
    /// Events of every job and worker, in a queue of the listener's own.
    AllEvents,
}

/// The exchange that takes what no binding of `x.chunks` takes, and hands it to [`Queue::Unrouted`].
pub const UNROUTED: &str = "x.unrouted";

/// How an exchange reads routing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Words between dots, with wildcards.
    Topic,
    /// The whole key.
    Direct,
}

impl Exchange {
    /// Every exchange that messages are sent to.
    pub const ALL: [Self; 5] = [
        Self::Chunks,
        Self::Results,
        Self::Dead,
        Self::Jobs,
        Self::Events,
    ];

    /// How it reads routing keys.
    pub fn routing(self) -> Routing {
        match self {
            Self::Chunks | Self::Results | Self::Jobs | Self::Events => Routing::Topic,
            Self::Dead => Routing::Direct,
        }
    }

    /// Its name on the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chunks => "x.chunks",
            Self::Results => "x.results",
            Self::Dead => "x.dead",
            Self::Jobs => "x.jobs",
            Self::Events => "x.events",
        }
    }
}

impl Queue {
    /// Every durable queue.
    pub const DURABLE: [Self; 7] = [
        Self::Chunks,
        Self::Unrouted,
        Self::Quarantine,
        Self::Results,
        Self::DeadChunks,
        Self::DeadResults,
        Self::Jobs,
    ];

    /// Its name on the broker; a listener's own queue is named by the broker.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chunks => "q.chunks",
            Self::Unrouted => "q.chunks.unrouted",
            Self::Quarantine => "q.chunks.quarantine",
            Self::Results => "q.results",
            Self::DeadChunks => "q.chunks.dead",
            Self::DeadResults => "q.results.dead",
            Self::Jobs => "q.jobs",
            Self::Events(_) | Self::AllEvents => "",
        }
    }

    /// What it is bound to: exchanges and binding keys. `Unrouted` is bound to [`UNROUTED`] only; the queue of a
    /// listener by [`Queue::listens_to`].
    pub fn bindings(&self) -> &'static [(Exchange, &'static str)] {
        match self {
            Self::Chunks => &[(Exchange::Chunks, "#")],
            Self::Quarantine => &[(Exchange::Dead, "quarantine")],
            Self::Results => &[(Exchange::Results, "#"), (Exchange::Dead, "dead")],
            Self::DeadChunks => &[(Exchange::Dead, "dead")],
            Self::DeadResults => &[(Exchange::Dead, "results")],
            Self::Jobs => &[(Exchange::Jobs, "#")],
            Self::Unrouted | Self::Events(_) | Self::AllEvents => &[],
        }
    }

    /// The binding key of a listener's own queue; none of a durable one.
    pub fn listens_to(&self) -> Option<String> {
        match self {
            Self::Events(job) => Some(format!("job.{job}")),
            Self::AllEvents => Some("#".to_owned()),
            _ => None,
        }
    }

    /// Whether only one consumer is served at a time, the next one once it is gone.
    pub fn single_active_consumer(&self) -> bool {
        matches!(self, Self::Results)
    }

    /// How often a message may come back before it is dead-lettered, and under which key of `x.dead`.
    pub fn delivery_limit(&self) -> Option<(u32, &'static str)> {
        match self {
            Self::Chunks | Self::Unrouted => Some((20, "quarantine")),
            Self::Quarantine => Some((1, "dead")),
            Self::Results => Some((20, "results")),
            Self::DeadChunks
            | Self::DeadResults
            | Self::Jobs
            | Self::Events(_)
            | Self::AllEvents => None,
        }
    }

    /// The most bytes of messages it holds; publishers wait (or are refused and try again) beyond it.
    pub fn max_bytes(&self) -> u64 {
        match self {
            Self::Chunks | Self::Unrouted => 256 << 20,
            Self::Results => 256 << 20,
            Self::Quarantine | Self::DeadChunks | Self::DeadResults => 1 << 30,
            Self::Jobs | Self::Events(_) | Self::AllEvents => 64 << 20,
        }
    }

    /// Whether a message belongs in this queue, by its exchange and routing key; the bindings, as a function.
    ///
    /// `Unrouted` takes none here: in one process every chunk is routed.
    pub fn takes(&self, message: &Message) -> bool {
        match (self, message.exchange) {
            (Self::Chunks, Exchange::Chunks)
            | (Self::Results, Exchange::Results)
            | (Self::Jobs, Exchange::Jobs) => true,
            (Self::Quarantine, Exchange::Dead) => message.key == "quarantine",
            (Self::DeadChunks | Self::Results, Exchange::Dead) => message.key == "dead",
            (Self::DeadResults, Exchange::Dead) => message.key == "results",
            (Self::Events(job), Exchange::Events) => {
                message.key.strip_prefix("job.") == Some(job.as_str())
            }
            (Self::AllEvents, Exchange::Events) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn message(exchange: Exchange, key: &str) -> Message {
        Message {
            exchange,
            key: key.to_owned(),
            id: String::new(),
            kind: String::new(),
            headers: BTreeMap::new(),
            body: crate::Body::default(),
        }
    }

    #[test]
    fn what_a_queue_takes_is_what_its_bindings_say() {
        for queue in Queue::DURABLE {
            for exchange in Exchange::ALL {
                for key in ["sales.lyon", "quarantine", "dead", "results", "job.a", ""] {
                    let bound = queue
                        .bindings()
                        .iter()
                        .any(|(from, binding)| *from == exchange && ["#", key].contains(binding));
                    let taken = queue.takes(&message(exchange, key));
                    assert_eq!(taken, bound, "{queue:?} {exchange:?} {key}");
                }
            }
        }
    }

    #[test]
    fn a_dead_letter_always_has_a_queue_to_go_to() {
        for queue in Queue::DURABLE {
            if let Some((_, key)) = queue.delivery_limit() {
                let dead = message(Exchange::Dead, key);
                assert!(
                    Queue::DURABLE.iter().any(|taker| taker.takes(&dead)),
                    "{queue:?}"
                );
            }
        }
    }
}
