//! The messages between the roles, and the checks that refuse an invalid one.
//!
//! `<f>` is a [`Format`], as in `sales.v1`; the exchanges and queues behind these names are those of
//! [`topology`](crate::broker::topology).
//!
//! | type | from -> to | exchange, routing key | body |
//! |---|---|---|---|
//! | `job` | anyone -> producer | jobs, `<f>` | JSON of [`JobRequest`] |
//! | `chunk` | producer -> worker | chunks, `<f>.<key>` | the kind's own (`sales`: Arrow IPC); none where it is in the blob store, see [`Claim`] |
//! | `partial` | worker -> reducer | results, `<f>.<job>` | JSON of the kind |
//! | `manifest` | producer -> reducer | results, `<f>.<job>` | JSON of [`Manifest`] |
//! | `annex` | producer -> reducer | results, `<f>.<job>` | a page of a side file |
//! | `seal` | producer -> reducer | results, `<f>.<job>` | a page of a large job's [`Seal`](crate::seal::Seal) |
//! | `begun` | producer -> reducer | control, `begun.<job>` | JSON of [`Begun`] |
//! | `cancel` | anyone -> reducer | control, `cancel.<job>` | JSON of [`Cancel`] |
//! | `revived` | anyone -> reducer | control, `revived.<job>` | none, see [`Revived`] |
//! | `question` | anyone -> reducer | control, `question.<token>` | JSON of [`Question`] |
//! | `newest` | anyone -> reducer | control, `newest.<token>` | JSON of [`Newest`] |
//! | `fetch` | anyone -> reducer | control, `fetch.<token>` | JSON of [`parts::Fetch`] |
//! | `part` | reducer -> the one that asked | events, `job.<token>` | a part of a report, see [`parts::Part`] |
//! | `chunk`, dead | worker or broker -> reducer and dead queue | dead, `dead.<f>` | as the chunk, with a `reason` |
//! | `job`, dead | broker or producer -> reducer and dead queue | dead, `jobs` | as the request, perhaps with a `reason` |
//! | `event` | any role -> all listeners | events, `job.<id>`, `worker.<name>` or `program.<name>` | JSON of [`Event`] |
//!
//! Every message but an event is persistent; every message has a deterministic id, so that it may be published twice.

mod change;
mod chunk;
mod control;
mod dead;
mod event;
pub mod parts;
mod request;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::chunk::{Digest, MAX_BODY};
use crate::{Body, Format, JobId};

pub use change::{Annex, Change, Made, Manifest, Partial, SealPage};
pub use chunk::Claim;
pub use control::{Begun, Cancel, Newest, Question, ReducerInput, Revived};
pub use dead::{NO_PRODUCER, NO_REASON, bury, bury_request, reason, revive};
pub use event::{Current, Event, Heartbeat, JobStage, Stage, Status};
pub use request::JobRequest;

/// The largest JSON body that is accepted, in bytes (RabbitMQ 4 refuses messages above 16 MiB).
pub const MAX_JSON: usize = 8 << 20;
/// The longest message id and routing key, in bytes: AMQP's short strings.
pub const MAX_NAME: usize = 255;

/// The exchange that a message is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exchange {
    /// Requests for jobs.
    Jobs,
    /// Chunks to work.
    Chunks,
    /// Partials, manifests and annexes.
    Results,
    /// Questions to the reducer, cancellations, notices of begun cuts and of requeued chunks.
    Control,
    /// Dead letters: chunks that could not be worked, and messages that could not be read.
    Dead,
    /// Events, for every listener; dropped where there is none.
    Events,
}

/// A message, independent of its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is sent.
    pub exchange: Exchange,
    /// Its routing key; at most [`MAX_NAME`] bytes.
    pub key: String,
    /// Unique, and the same for every copy; at most [`MAX_NAME`] bytes.
    pub id: String,
    /// `chunk`, `partial`, `manifest`, `annex`, `seal`, `begun`, `cancel`, `revived`, `question`, `job` or `event`.
    pub kind: String,
    /// The headers, which describe the body.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Body,
}

/// An invalid message; it is dead-lettered, never retried.
#[derive(Debug, thiserror::Error)]
#[error("message {id:?}: {what}")]
pub struct MessageError {
    id: String,
    what: String,
}

impl Message {
    fn refuse(&self, what: impl Into<String>) -> MessageError {
        MessageError {
            id: self.id.chars().take(80).collect(),
            what: what.into(),
        }
    }

    /// The format in its routing key: at its beginning, or after `dead` or `quarantine`.
    pub fn format(&self) -> Option<Format> {
        let after = self.key.split_once('.').map(|(_, rest)| rest);
        Format::of_key(&self.key).or_else(|| Format::of_key(after?))
    }

    /// The job in its header.
    ///
    /// # Errors
    /// [`MessageError`] where there is none, or an invalid one.
    pub fn job(&self) -> Result<JobId, MessageError> {
        self.header("job")
    }

    fn header<T: std::str::FromStr>(&self, name: &str) -> Result<T, MessageError> {
        let text = self
            .headers
            .get(name)
            .ok_or_else(|| self.refuse(format!("header {name} is missing")))?;
        text.parse().map_err(|_| {
            self.refuse(format!(
                "header {name}: found {:?}",
                text.chars().take(80).collect::<String>()
            ))
        })
    }

    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, MessageError> {
        if self.body.len() > MAX_JSON {
            return Err(self.refuse(format!(
                "body of {} bytes, expected at most {MAX_JSON}",
                self.body.len()
            )));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.refuse(format!("body: {error}")))
    }

    /// The body, if it has the digest in its header.
    fn body_as_said(&self) -> Result<Body, MessageError> {
        if self.body.len() > MAX_BODY {
            return Err(self.refuse(format!(
                "body of {} bytes, expected at most {MAX_BODY}",
                self.body.len()
            )));
        }
        let said: Digest = self.header("sha256")?;
        if self.body.digest() == said {
            Ok(self.body.clone())
        } else {
            Err(self.refuse("body does not have the digest its header says"))
        }
    }
}

fn headers<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests;
