//! Events for listeners, and the reducer's answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Exchange, Message, MessageError};
use crate::{JobId, Seq};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The report is complete.
    Done,
    /// There is a report, and it names what it lacks.
    Incomplete,
    /// There is no report.
    Failed,
    /// There is no report, because the job was cancelled.
    Cancelled,
}

impl Status {
    /// Whether there is a report.
    pub fn has_report(self) -> bool {
        matches!(self, Self::Done | Self::Incomplete)
    }

    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Results are coming.
    Open {
        /// Chunks merged or dead so far.
        done: u64,
        /// Chunks in all, once the manifest is known.
        total: Option<u64>,
        /// Rows merged so far.
        rows: u64,
        /// The time since its last result, in milliseconds.
        idle_ms: u64,
    },
    /// Its report is being made or written.
    Ending,
    /// It ended.
    Ended {
        /// Its status.
        status: Status,
        /// Why there is no report or an incomplete one, in one sentence.
        reason: Option<String>,
        /// When it came to its end, in seconds since 1970.
        ended_at: u64,
    },
}

/// A job and its stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStage {
    /// The job.
    pub job: JobId,
    /// The name of its kind, where the reducer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub stage: Stage,
}

/// An event of a job, a worker or a program, for every listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Progress of a producer's cut.
    Cut {
        /// The job.
        job: JobId,
        /// Rows read so far.
        rows: u64,
        /// Bytes of input read so far.
        read: u64,
        /// Bytes of input there are; 0 while unknown.
        size: u64,
    },
    /// The heartbeat of a worker.
    Worker(Heartbeat),
    /// The troubles that keep a program from making progress.
    Troubles {
        /// Which: its role or name, machine and process.
        program: String,
        /// One sentence each; none once it is over.
        troubles: Vec<String>,
    },
    /// Progress of a job.
    Progress {
        /// The job.
        job: JobId,
        /// Chunks merged or dead so far.
        done: u64,
        /// Chunks in all, once the manifest is known.
        total: Option<u64>,
        /// Rows merged so far.
        rows: u64,
    },
    /// The reducer has the request of a cut in its journal: the answer to [`Begun`](super::Begun).
    Begun {
        /// The job.
        job: JobId,
        /// The attempt whose `begun` this answers.
        cut: JobId,
        /// Whether the job was cut to its end before: its manifest is there.
        whole: bool,
        /// Chunks merged or dead so far.
        done: u64,
    },
    /// A job ended.
    Finished {
        /// The job.
        job: JobId,
        /// Its status.
        status: Status,
        /// Why there is no report or an incomplete one, in one sentence.
        reason: Option<String>,
        /// `report.json`, where there is one of at most [`MAX_JSON`](super::MAX_JSON) / 2 bytes.
        report: Option<String>,
        /// `execution.json`.
        execution: Option<String>,
        /// The attempt whose [`Begun`](super::Begun) this answers; absent where the job has just ended. Older reducers
        /// never set it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut: Option<JobId>,
    },
    /// The answer to a [`Question`](super::Question).
    Jobs {
        /// Its token.
        token: JobId,
        /// The jobs asked about that the reducer knows: open ones first, then those that ended, the newest first.
        jobs: Vec<JobStage>,
        /// How many more there are, which did not fit.
        more: u64,
    },
    /// The answer to a [`Newest`](super::Newest).
    Newest {
        /// Its token.
        token: JobId,
        /// The job.
        job: JobId,
        /// Why its report did not become the newest, in one sentence; absent where it did.
        refused: Option<String>,
    },
}

/// What a worker does and needs, once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its name.
    pub worker: String,
    /// The machine, or container, it runs on.
    pub host: String,
    /// Its process; several workers may share one.
    pub pid: u32,
    /// Of its process, in percent of one core; unknown at first.
    pub cpu_percent: Option<f32>,
    /// Bytes of memory its process has.
    pub memory_bytes: u64,
    /// Chunks whose partial was confirmed, since it started.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
    /// Chunks dead-lettered, since it started.
    pub buried: u64,
    /// How long it computed, since it started, in milliseconds.
    pub busy_ms: u64,
    /// The chunk it computes.
    pub current: Option<Current>,
}

/// The chunk that a worker computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// Its job.
    pub job: JobId,
    /// Its number.
    pub seq: Seq,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

impl Event {
    /// The event as a message. `stamp` distinguishes it from other events of the same job or worker.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self, stamp: u64) -> Result<Message, serde_json::Error> {
        let (of, name) = match self {
            Self::Cut { job, .. }
            | Self::Progress { job, .. }
            | Self::Begun { job, .. }
            | Self::Finished { job, .. }
            | Self::Jobs { token: job, .. }
            | Self::Newest { token: job, .. } => ("job", job.as_str()),
            Self::Worker(heartbeat) => ("worker", heartbeat.worker.as_str()),
            Self::Troubles { program, .. } => ("program", program.as_str()),
        };
        Ok(Message {
            exchange: Exchange::Events,
            key: format!("{of}.{name}"),
            id: format!("{name}/event/{stamp}"),
            kind: "event".to_owned(),
            headers: BTreeMap::new(),
            body: serde_json::to_vec(self)?.into(),
        })
    }

    /// The event in a message.
    ///
    /// # Errors
    /// [`MessageError`] for anything else.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        message.json()
    }
}
