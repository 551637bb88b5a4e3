//! A request whose cut has begun: the producer that took it may die, so the reducer has the request and asks for the job
//! again once no producer says any more that it cuts it.
//!
//! ```text
//!             begun, again and again                     manifest
//!   unknown -----------------------> being cut ------------------------> cut: nothing more to watch
//!                                     |   ^
//!         not a word for the lease    |   | begun, by a producer that took it once more
//!                                     v   |
//!                                 asked for again --(three times in vain, or the request is dead)--> the job fails
//! ```

use std::time::Duration;

use autoconnect_common::JobId;
use autoconnect_common::message::{Begun, JobRequest};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often a job is asked for again in vain: one that kills its producers may do so no oftener, and a cluster that loses
/// three producers in one cut needs an operator.
const AGAIN: u32 = 3;

/// A request whose cut has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Asked {
    request: JobRequest,
    /// Which attempt to cut it lives, as far as we know.
    cut: JobId,
    /// How often it was asked for again since somebody said that an attempt lives.
    again: u32,
    /// Why its request is dead, if it is.
    dead: Option<String>,
    /// When a producer last said that it cuts the job.
    #[serde(skip, default = "Instant::now")]
    heard: Instant,
}

/// What a producer that says that it cuts the job changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is another attempt.
    Anew,
    /// It still lives.
    Still,
    /// It cuts another input.
    Changed,
}

/// What is to be done about a job that is not cut any more.
#[derive(Debug, Clone)]
pub(crate) enum Orphan {
    /// It is to be asked for again.
    AskAgain(Box<JobRequest>),
    /// It fails, for this reason.
    GiveUp(String),
}

impl Asked {
    /// What kind of job was asked for, and in which version.
    pub(crate) fn format(&self) -> (&str, u32) {
        (&self.request.kind, self.request.schema)
    }

    /// The request of an attempt that just began.
    pub(crate) fn new(begun: &Begun) -> Self {
        Self {
            request: begun.request.clone(),
            cut: begun.cut.clone(),
            again: 0,
            dead: None,
            heard: Instant::now(),
        }
    }

    /// Takes note of a producer that cuts the job.
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

    /// Takes note that the job was asked for again.
    pub(crate) fn ask_again(&mut self) {
        self.again += 1;
        self.heard = Instant::now();
    }

    /// Takes note that its request is dead: whoever still cuts it may go on, and nobody else will.
    pub(crate) fn bury(&mut self, reason: &str) {
        self.dead = Some(reason.to_owned());
    }

    /// The request.
    pub(crate) fn request(&self) -> Box<JobRequest> {
        Box::new(self.request.clone())
    }

    /// What is to be done, if no producer said for longer than `lease` that it cuts the job.
    pub(crate) fn orphan(&self, lease: Duration) -> Option<Orphan> {
        if self.heard.elapsed() <= lease {
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

/// Why a job fails whose request is dead.
pub(crate) fn no_request(reason: &str) -> String {
    format!("the job was not cut: {reason}")
}
