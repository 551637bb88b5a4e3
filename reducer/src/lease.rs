//! The lease of a producer on a request whose cut has begun. The producer may die, so the reducer keeps the request and
//! requests the job again once no producer sends `begun` for it any more.
//!
//! ```text
//!             begun, again and again                     manifest
//!   unknown -----------------------> being cut ------------------------> cut: nothing more to watch
//!                                     |   ^
//!         no `begun` for its term     |   | begun, by a producer that took it again
//!                                     v   |
//!                                 requested again --(three times in vain, or the request is dead)--> the job fails
//! ```

use std::time::Duration;

use autoconnect_common::JobId;
use autoconnect_common::message::{Begun, JobRequest};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often a job is requested again in vain: a job that kills its producers must not kill more of them, and a cluster
/// that loses three producers in one cut needs an operator.
const AGAIN: u32 = 3;

/// A request whose cut has begun, and the producer's last sign of life.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lease {
    request: JobRequest,
    /// The attempt to cut it that was heard of last.
    cut: JobId,
    /// How often it was requested again since a producer last repeated `begun`.
    again: u32,
    /// Why its request was dead-lettered, if it was.
    dead: Option<String>,
    /// When the last `begun` arrived.
    #[serde(skip, default = "Instant::now")]
    heard: Instant,
}

/// What a `begun` changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is of another attempt.
    Anew,
    /// The known attempt still runs.
    Still,
    /// The attempt cuts another input.
    Changed,
}

/// What to do about a job that no producer cuts any more.
#[derive(Debug, Clone)]
pub(crate) enum Orphan {
    /// Request it again.
    AskAgain(Box<JobRequest>),
    /// Fail it, for this reason.
    GiveUp(String),
}

impl Lease {
    /// The kind and schema of the request.
    pub(crate) fn format(&self) -> (&str, u32) {
        (&self.request.kind, self.request.schema)
    }

    /// The request of a first attempt.
    pub(crate) fn new(begun: &Begun) -> Self {
        Self {
            request: begun.request.clone(),
            cut: begun.cut.clone(),
            again: 0,
            dead: None,
            heard: Instant::now(),
        }
    }

    /// Records a `begun`.
    pub(crate) fn hear(&mut self, begun: &Begun) -> Heard {
        let (before, now) = (self.request.fingerprint, begun.request.fingerprint);
        if before.is_some() && now.is_some() && before != now {
            return Heard::Changed;
        }
        self.heard = Instant::now();
        if self.cut == begun.cut {
            self.again = 0;
            return Heard::Still;
        }
        self.cut = begun.cut.clone();
        Heard::Anew
    }

    /// Records that the job was requested again.
    pub(crate) fn ask_again(&mut self) {
        self.again += 1;
        self.heard = Instant::now();
    }

    /// Records that its request was dead-lettered: a running attempt may finish, and no other will begin.
    pub(crate) fn bury(&mut self, reason: &str) {
        self.dead = Some(reason.to_owned());
    }

    /// The request.
    pub(crate) fn request(&self) -> Box<JobRequest> {
        Box::new(self.request.clone())
    }

    /// What to do, if no `begun` arrived for longer than `term`.
    pub(crate) fn orphan(&self, term: Duration) -> Option<Orphan> {
        if self.heard.elapsed() <= term {
            return None;
        }
        Some(match &self.dead {
            Some(reason) => Orphan::GiveUp(no_request(reason)),
            None if self.again >= AGAIN => Orphan::GiveUp(format!(
                "the job was never cut to its end: it was asked for again {AGAIN} times, and each time its producer died or fell silent"
            )),
            None => Orphan::AskAgain(self.request()),
        })
    }
}

/// Why a job fails whose request was dead-lettered.
pub(crate) fn no_request(reason: &str) -> String {
    format!("the job was not cut: {reason}")
}
