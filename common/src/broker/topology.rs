//! Exchanges, queues and bindings, defined once for both brokers.
//!
//! `<f>` is a [`Format`], a kind of job and the version of its formats, as in `sales.v1`. A program consumes the queues of
//! the formats that it knows; messages of other formats wait for a program that knows them.
//!
//! ```text
//! x.jobs.2     topic --<f>.#-->          q.jobs.<f>               --(20 returns)-----> x.dead.2 "jobs"
//! x.chunks.2   topic --<f>.#-->          q.chunks.<f>             --(20 returns)-----> x.dead.2 "quarantine.<f>"
//!    '-- unrouted --> x.unrouted.2 topic --<f>.#--> the same
//! x.dead.2     topic --quarantine.<f>--> q.chunks.<f>.quarantine  --(1 return)-------> x.dead.2 "dead.<f>"
//!                    --dead.<f>-->       q.results.<f>
//!                    --dead.#-->         q.chunks.dead
//!                    --results-->        q.results.dead
//!                    --jobs-->           q.control, q.jobs.dead
//! x.results.2  topic --<f>.#-->          q.results.<f>            --(20 returns)-----> x.dead.2 "results"
//! x.control    topic --#-->              q.control                --(20 returns)-----> x.dead.2 "results"
//! x.events     topic --job.<id>-->       a listener's own queue, removed with it
//!                    --#-->              the same, of a listener to every event
//! ```
//!
//! A message may return that often; the next return dead-letters it. The message that reaches the dead queue also reaches
//! the reducer, so no job waits for a chunk that cannot be worked, nor for a request that no producer survives. A chunk
//! without a binding in `x.chunks.2` (a site with queues of its own for some cities may have removed it) reaches the same
//! queue through the alternate exchange. A message of a format without a queue is returned to its publisher, which waits:
//! a program that may declare, declares the queues of the formats it knows.
//!
//! A queue is never deleted and redeclared: where arguments change, so does the name. The `2` is the version of this
//! topology; the first had no number, and no formats.

use crate::message::{Exchange, Message};
use crate::{Format, JobId};

/// A queue to consume.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Requests for jobs of a format.
    Jobs(Format),
    /// Chunks to work.
    Chunks(Format),
    /// Chunks that reached the delivery limit; a worker takes each alone, twice at most.
    Quarantine(Format),
    /// Partials, manifests, annexes and dead chunks; one active reducer.
    Results(Format),
    /// Other messages to the reducer: questions, cancellations, notices of cuts that begin, of requeued chunks and of dead
    /// requests; one active reducer.
    Control,
    /// Requests that no producer could read or survive, for the operator.
    DeadJobs,
    /// Chunks that could not be worked, for the operator.
    DeadChunks,
    /// Results that the reducer could not read, for the operator.
    DeadResults,
    /// Events of one job, in a queue of the listener's own.
    Events(JobId),
    /// Events of every job and worker, in a queue of the listener's own.
    AllEvents,
}

/// The alternate exchange of `x.chunks.2`, for chunks that no binding there matches; the queues of chunks are bound to it.
pub const UNROUTED: &str = "x.unrouted.2";

/// The consumer timeout, in milliseconds: a delivery that is unacked for longer is requeued and its channel closed
/// (RabbitMQ 3.12 and later; before, the node decides for all its queues). RabbitMQ's default of half an hour, declared:
/// a consumer that takes longer is stuck, not slow, since a chunk is worked in seconds and a result is journaled in
/// milliseconds.
pub const CONSUMER_TIMEOUT_MS: u32 = 30 * 60 * 1000;

impl Exchange {
    /// Every exchange that messages are sent to.
    pub const ALL: [Self; 6] = [
        Self::Jobs,
        Self::Chunks,
        Self::Results,
        Self::Control,
        Self::Dead,
        Self::Events,
    ];

    /// Its name on the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jobs => "x.jobs.2",
            Self::Chunks => "x.chunks.2",
            Self::Results => "x.results.2",
            Self::Control => "x.control",
            Self::Dead => "x.dead.2",
            Self::Events => "x.events",
        }
    }

    /// Whether its routing keys begin with a [`Format`].
    pub fn is_by_format(self) -> bool {
        matches!(self, Self::Jobs | Self::Chunks | Self::Results)
    }
}

impl Queue {
    /// The durable queues that every cluster has.
    pub const COMMON: [Self; 4] = [
        Self::Control,
        Self::DeadJobs,
        Self::DeadChunks,
        Self::DeadResults,
    ];

    /// The durable queues of one format.
    pub fn of(format: &Format) -> [Self; 4] {
        let format = || format.clone();
        [
            Self::Jobs(format()),
            Self::Chunks(format()),
            Self::Quarantine(format()),
            Self::Results(format()),
        ]
    }

    /// Every durable queue of a cluster of these formats.
    pub fn durable(formats: &[Format]) -> Vec<Self> {
        let theirs = formats.iter().flat_map(Self::of);
        theirs.chain(Self::COMMON).collect()
    }

    /// Its name on the broker; a listener's own queue is named by the broker.
    pub fn name(&self) -> String {
        match self {
            Self::Jobs(format) => format!("q.jobs.{format}"),
            Self::Chunks(format) => format!("q.chunks.{format}"),
            Self::Quarantine(format) => format!("q.chunks.{format}.quarantine"),
            Self::Results(format) => format!("q.results.{format}"),
            Self::Control => "q.control".to_owned(),
            Self::DeadJobs => "q.jobs.dead".to_owned(),
            Self::DeadChunks => "q.chunks.dead".to_owned(),
            Self::DeadResults => "q.results.dead".to_owned(),
            Self::Events(_) | Self::AllEvents => String::new(),
        }
    }

    /// What it is bound to: exchanges and binding keys. The queue of a listener is bound as [`Queue::listens_to`] says.
    pub fn bindings(&self) -> Vec<(Exchange, String)> {
        match self {
            Self::Jobs(format) => vec![(Exchange::Jobs, format.key("#"))],
            Self::Chunks(format) => vec![(Exchange::Chunks, format.key("#"))],
            Self::Quarantine(format) => vec![(Exchange::Dead, format!("quarantine.{format}"))],
            Self::Results(format) => vec![
                (Exchange::Results, format.key("#")),
                (Exchange::Dead, format!("dead.{format}")),
            ],
            Self::Control => vec![
                (Exchange::Control, "#".to_owned()),
                (Exchange::Dead, "jobs".to_owned()),
            ],
            Self::DeadJobs => vec![(Exchange::Dead, "jobs".to_owned())],
            Self::DeadChunks => vec![(Exchange::Dead, "dead.#".to_owned())],
            Self::DeadResults => vec![(Exchange::Dead, "results".to_owned())],
            Self::Events(_) | Self::AllEvents => Vec::new(),
        }
    }

    /// Its binding key in [`UNROUTED`], if it is bound there.
    pub fn takes_unrouted(&self) -> Option<String> {
        match self {
            Self::Chunks(format) => Some(format.key("#")),
            _ => None,
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

    /// Whether the broker delivers to one consumer at a time, and to the next one once that is gone.
    pub fn single_active_consumer(&self) -> bool {
        matches!(self, Self::Results(_) | Self::Control)
    }

    /// How often a message may return before it is dead-lettered, and the dead-letter routing key.
    pub fn delivery_limit(&self) -> Option<(u32, String)> {
        match self {
            Self::Jobs(_) => Some((20, "jobs".to_owned())),
            Self::Chunks(format) => Some((20, format!("quarantine.{format}"))),
            Self::Quarantine(format) => Some((1, format!("dead.{format}"))),
            Self::Results(_) | Self::Control => Some((20, "results".to_owned())),
            Self::DeadJobs
            | Self::DeadChunks
            | Self::DeadResults
            | Self::Events(_)
            | Self::AllEvents => None,
        }
    }

    /// The most bytes of messages it holds; beyond, publishes are rejected, and publishers retry.
    pub fn max_bytes(&self) -> u64 {
        match self {
            Self::Chunks(_) | Self::Results(_) => 256 << 20,
            Self::Quarantine(_) | Self::DeadChunks | Self::DeadResults => 1 << 30,
            Self::Jobs(_) | Self::Control | Self::DeadJobs | Self::Events(_) | Self::AllEvents => {
                64 << 20
            }
        }
    }

    /// The consumer timeout that it is declared with, in milliseconds; the dead queues are declared without, as they
    /// always were.
    pub fn consumer_timeout(&self) -> Option<u32> {
        match self {
            Self::DeadJobs | Self::DeadChunks | Self::DeadResults => None,
            _ => Some(CONSUMER_TIMEOUT_MS),
        }
    }

    /// Whether a message is routed to this queue: the bindings, as a function.
    pub fn takes(&self, message: &Message) -> bool {
        let bound = self.bindings();
        let listens = self.listens_to().map(|key| (Exchange::Events, key));
        let mut keys = bound.into_iter().chain(listens);
        keys.any(|(exchange, key)| exchange == message.exchange && matches(&key, &message.key))
    }
}

/// Whether a topic binding of ours matches `key`: whole words, with an optional `#` at the end for any further words.
fn matches(binding: &str, key: &str) -> bool {
    match binding.strip_suffix('#') {
        None => binding == key,
        Some("") => true,
        Some(words) => key.starts_with(words) || words.strip_suffix('.') == Some(key),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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

    fn formats() -> [Format; 4] {
        [
            Format::new("sales", 1),
            Format::new("sales", 2),
            Format::new("sales", 11),
            Format::new("explore", 1),
        ]
    }

    /// The names of the queues that a message is routed to.
    fn takers(exchange: Exchange, key: &str) -> Vec<String> {
        let message = message(exchange, key);
        let queues = Queue::durable(&formats()).into_iter();
        let takers = queues.filter(|queue| queue.takes(&message));
        takers.map(|queue| queue.name()).collect()
    }

    #[test]
    fn each_message_has_the_queues_of_its_format_and_no_other() {
        assert_eq!(
            takers(Exchange::Chunks, "sales.v1.lyon"),
            ["q.chunks.sales.v1"]
        );
        assert_eq!(
            takers(Exchange::Chunks, "sales.v11.lyon"),
            ["q.chunks.sales.v11"]
        );
        assert_eq!(
            takers(Exchange::Results, "explore.v1.e-1"),
            ["q.results.explore.v1"]
        );
        assert_eq!(takers(Exchange::Jobs, "sales.v2"), ["q.jobs.sales.v2"]);
        assert_eq!(takers(Exchange::Control, "cancel.sales-1"), ["q.control"]);
        assert_eq!(
            takers(Exchange::Dead, "quarantine.sales.v2"),
            ["q.chunks.sales.v2.quarantine"]
        );
        assert_eq!(
            takers(Exchange::Dead, "dead.sales.v2"),
            ["q.results.sales.v2", "q.chunks.dead"]
        );
        assert_eq!(takers(Exchange::Dead, "results"), ["q.results.dead"]);
        assert_eq!(takers(Exchange::Dead, "jobs"), ["q.control", "q.jobs.dead"]);
    }

    #[test]
    fn what_nobody_knows_yet_goes_to_nobody_else() {
        for exchange in [Exchange::Chunks, Exchange::Results, Exchange::Jobs] {
            assert!(takers(exchange, "sales.v3.lyon").is_empty());
            assert!(takers(exchange, "linear.v1.lyon").is_empty());
        }
        assert_eq!(takers(Exchange::Dead, "dead.linear.v1"), ["q.chunks.dead"]);
        assert_eq!(takers(Exchange::Dead, "dead"), ["q.chunks.dead"]);
    }

    #[test]
    fn a_chunk_that_lost_its_binding_still_has_its_queue() {
        for queue in Queue::durable(&formats()) {
            let unrouted = queue.takes_unrouted();
            let mut bound = queue.bindings().into_iter();
            let chunks = bound.find(|(exchange, _)| *exchange == Exchange::Chunks);
            assert_eq!(unrouted, chunks.map(|(_, key)| key), "{queue:?}");
        }
    }

    #[test]
    fn a_dead_letter_always_has_a_queue_to_go_to() {
        let all = Queue::durable(&formats());
        for queue in &all {
            if let Some((_, key)) = queue.delivery_limit() {
                let dead = message(Exchange::Dead, &key);
                assert!(all.iter().any(|taker| taker.takes(&dead)), "{queue:?}");
            }
        }
    }

    #[test]
    fn every_queue_has_a_name_of_its_own_and_none_of_the_first_version_whose_arguments_differ() {
        let all = Queue::durable(&formats());
        let names: BTreeSet<String> = all.iter().map(Queue::name).collect();
        assert_eq!(names.len(), all.len());
        for old in [
            "q.jobs",
            "q.chunks",
            "q.chunks.unrouted",
            "q.chunks.quarantine",
            "q.results",
        ] {
            assert!(!names.contains(old), "{old}");
        }
    }
}
