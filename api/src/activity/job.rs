//! A job, as known from its events.

use std::collections::BTreeMap;

use autoconnect_common::message::Status;
use autoconnect_common::{JobId, execution};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It was asked for, and nothing came of it yet.
    Queued,
    /// It is cut, worked, merged or written.
    Processing,
    /// The report is complete.
    Done,
    /// There is a report, and it names what it lacks.
    Incomplete,
    /// There is no report.
    Failed,
    /// There is no report, because somebody wanted none.
    Cancelled,
}

impl From<Status> for JobState {
    fn from(status: Status) -> Self {
        match status {
            Status::Done => Self::Done,
            Status::Incomplete => Self::Incomplete,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

impl JobState {
    /// Whether it is over.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Processing)
    }

    /// Whether there is a report.
    pub fn has_report(self) -> bool {
        matches!(self, Self::Done | Self::Incomplete)
    }
}

/// A job, key for key as in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobView {
    /// Its name.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// Where it is.
    pub status: JobState,
    /// How far it is.
    pub progress: Progress,
    /// The kind of job; unknown until it is heard of from the reducer, where it was asked for elsewhere.
    pub kind: Option<String>,
    /// The file it reports on; unknown where somebody else asked for it.
    pub fichier: Option<String>,
    /// Rows merged so far.
    pub rows: u64,
    /// When it was first heard of, in milliseconds since 1970.
    pub asked_at_ms: u64,
    /// When its work began, in milliseconds since 1970.
    pub started_at_ms: Option<u64>,
    /// When it came to its end, in milliseconds since 1970: all its results were there, and its report was made next.
    pub ended_at_ms: Option<u64>,
    /// How much longer it takes at the pace so far, in seconds.
    pub eta_seconds: Option<u64>,
    /// Why there is no report, or an incomplete one, in one sentence.
    pub reason: Option<String>,
    /// How long each act took, in milliseconds, once it ended.
    pub acts_ms: Option<Acts>,
    /// Chunks of it that each worker worked, once it ended.
    pub workers: BTreeMap<String, u64>,
    /// Results that came twice and were counted once, once it ended.
    pub duplicates_dropped: u64,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    /// Chunks merged, or given up.
    pub completed_tasks: u64,
    /// Chunks in all; an estimate until the file is read to its end, and 0 before anything is known.
    pub total_tasks: u64,
    /// 0 to 100; 100 only once the job ended with a report.
    pub percentage: f64,
}

/// How long each act took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Acts {
    /// To cut the file and publish its chunks.
    pub cut: Option<f64>,
    /// To work them, summed over workers.
    pub work: f64,
    /// To merge the partials.
    pub merge: f64,
    /// To conclude the report.
    pub conclude: f64,
    /// To write its files.
    pub publish: f64,
    /// From the first result to the last file.
    pub elapsed: f64,
}

impl Acts {
    /// The acts of an `execution.json`; `None` unless it has them all, but for the cut of a job without a manifest.
    pub(super) fn of(acts: &execution::Acts) -> Option<Self> {
        Some(Self {
            cut: acts.cut.map(|ms| ms as f64),
            work: acts.work?,
            merge: acts.merge?,
            conclude: acts.conclude?,
            publish: acts.publish?,
            elapsed: acts.elapsed?,
        })
    }
}
