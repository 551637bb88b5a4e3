//! Recognizes the exchanges and queues of a cluster by their names: those of [`topology`](super::topology), and those of
//! the topology before it.

use super::Queue;
use super::topology::UNROUTED;
use crate::Format;
use crate::message::Exchange;
use crate::settings::is_prefix;

/// The queues of the first topology that no program uses any more.
const OLDER_QUEUES: [&str; 5] = [
    "q.jobs",
    "q.chunks",
    "q.chunks.unrouted",
    "q.chunks.quarantine",
    "q.results",
];
/// The exchanges of the first topology that no program uses any more.
const OLDER_EXCHANGES: [&str; 5] = ["x.jobs", "x.chunks", "x.unrouted", "x.results", "x.dead"];

/// What a part of a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

/// An exchange or a durable queue of some cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The prefix of the names of its cluster.
    pub prefix: String,
    /// What it is.
    pub what: What,
    /// Its name, without the prefix.
    pub name: String,
}

impl Part {
    /// Everything that a cluster of these formats declares under `prefix`.
    pub fn current(prefix: &str, formats: &[Format]) -> Vec<Self> {
        let queues = Queue::durable(formats).into_iter();
        let queues = queues.map(|queue| (What::Queue, queue.name()));
        let exchanges = Exchange::ALL.map(Exchange::name).into_iter();
        let exchanges = exchanges.chain([UNROUTED]);
        let exchanges = exchanges.map(|name| (What::Exchange, name.to_owned()));
        under(prefix, queues.chain(exchanges))
    }

    /// Everything that the topology before declared under `prefix` and this one does not.
    pub fn older(prefix: &str) -> Vec<Self> {
        let queues = OLDER_QUEUES.map(|name| (What::Queue, name.to_owned()));
        let exchanges = OLDER_EXCHANGES.map(|name| (What::Exchange, name.to_owned()));
        under(prefix, queues.into_iter().chain(exchanges))
    }

    /// The part of a cluster that has this name on the broker, with any prefix and format; `None` for a name that no
    /// cluster of ours uses. Unambiguous.
    pub fn of_name(what: What, name: &str) -> Option<Self> {
        let letter = match what {
            What::Queue => "q.",
            What::Exchange => "x.",
        };
        name.match_indices(letter).find_map(|(at, _)| {
            let (prefix, name) = name.split_at(at);
            let part = Self {
                prefix: prefix.to_owned(),
                what,
                name: name.to_owned(),
            };
            (is_prefix(prefix) && part.is_ours()).then_some(part)
        })
    }

    fn is_ours(&self) -> bool {
        let known = self.format().into_iter().collect::<Vec<_>>();
        let ours = Self::current(&self.prefix, &known);
        self.is_older() || ours.contains(self)
    }

    /// The format in the name of a queue that has one.
    fn format(&self) -> Option<Format> {
        let (_, after) = self.name.strip_prefix("q.")?.split_once('.')?;
        Format::of_key(after)
    }

    /// Whether only the topology before declares it.
    pub fn is_older(&self) -> bool {
        let names = match self.what {
            What::Queue => OLDER_QUEUES,
            What::Exchange => OLDER_EXCHANGES,
        };
        names.contains(&self.name.as_str())
    }

    /// Its name on the broker.
    pub fn full_name(&self) -> String {
        format!("{}{}", self.prefix, self.name)
    }
}

fn under(prefix: &str, names: impl Iterator<Item = (What, String)>) -> Vec<Part> {
    let part = |(what, name)| Part {
        prefix: prefix.to_owned(),
        what,
        name,
    };
    names.map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats() -> [Format; 3] {
        ["sales", "faq", "q"].map(|kind| Format::new(kind, 1))
    }

    #[test]
    fn every_name_is_read_back_with_its_prefix_and_in_no_other_way() {
        for prefix in [
            "",
            "essai.",
            "q.jobs.",
            "run-sales-1-12345678.",
            "a.q.",
            "q.x.",
        ] {
            for part in [Part::current(prefix, &formats()), Part::older(prefix)].concat() {
                let read = Part::of_name(part.what, &part.full_name());
                assert_eq!(read, Some(part));
            }
        }
    }

    #[test]
    fn what_no_cluster_of_ours_declares_is_nobodys() {
        for name in [
            "",
            "q.",
            "celery",
            "q.chunks.sales",
            "q.chunks.sales.v01",
            "q.chunks.sales.v1.other",
            "q.jobs.sales.v1.quarantine",
            "q.jobs.deadx",
            "my queue.q.control",
            "x.jobs.2",
        ] {
            assert_eq!(Part::of_name(What::Queue, name), None, "{name}");
        }
        for name in ["amq.topic", "x.jobs.3", "x.dead.2.other", "q.control"] {
            assert_eq!(Part::of_name(What::Exchange, name), None, "{name}");
        }
        let long = format!("{}q.control", "p".repeat(65));
        assert_eq!(Part::of_name(What::Queue, &long), None);
    }

    #[test]
    fn nothing_older_is_declared_today() {
        for part in Part::current("", &formats()) {
            assert!(!part.is_older(), "{part:?}");
        }
    }
}
