//! A job, as known from its events.

use std::collections::BTreeMap;

use autoconnect_common::message::Status;
use autoconnect_common::{JobId, execution};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Requested; its work has not begun.
    Queued,
    /// Being cut, worked, merged or written.
    Processing,
    /// Ended with a complete report.
    Done,
    /// Ended with a report that names what it lacks.
    Incomplete,
    /// Ended without a report; `reason` says why.
    Failed,
    /// Ended without a report, because somebody cancelled it.
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
    /// Whether the job has ended.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Processing)
    }

    /// Whether a job of this status has a report.
    pub fn has_report(self) -> bool {
        matches!(self, Self::Done | Self::Incomplete)
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JobView {
    /// The id of the job.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// The status of the job.
    pub status: JobState,
    /// The progress of the job.
    pub progress: Progress,
    /// The kind of job; null for a job that another program requested, until the reducer names its kind.
    pub kind: Option<String>,
    /// The name of the file that the job reads; null for a job that another program requested.
    pub fichier: Option<String>,
    /// Rows merged so far.
    pub rows: u64,
    /// When the job was requested, or the API received its first event, in milliseconds since 1970.
    pub asked_at_ms: u64,
    /// When its work began, in milliseconds since 1970.
    pub started_at_ms: Option<u64>,
    /// When it ended, in milliseconds since 1970: all its results were merged, and the reducer began to make its report.
    pub ended_at_ms: Option<u64>,
    /// The estimated time until it ends, in seconds.
    pub eta_seconds: Option<u64>,
    /// Why there is no report, or an incomplete one, or why the report is not the newest, in one sentence.
    pub reason: Option<String>,
    /// The duration of each act, in milliseconds, once the job has ended.
    pub acts_ms: Option<Acts>,
    /// How many of its chunks each worker processed, once the job has ended.
    pub workers: BTreeMap<String, u64>,
    /// Results that were received twice and counted once, once the job has ended.
    pub duplicates_dropped: u64,
}

/// The progress of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    /// Chunks that are merged or dead-lettered.
    pub completed_tasks: u64,
    /// The total of chunks; an estimate until the file is read to its end, and 0 before the first estimate.
    pub total_tasks: u64,
    /// 0 to 100; 100 only once the job has ended with a report.
    pub percentage: f64,
}

/// The duration of each act of a job, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Acts {
    /// Cutting the file and publishing its chunks; null for a job without a manifest.
    pub cut: Option<f64>,
    /// Computing the partials, summed over all workers.
    pub work: f64,
    /// Merging the partials.
    pub merge: f64,
    /// Concluding the report.
    pub conclude: f64,
    /// Writing the report's files.
    pub publish: f64,
    /// The time from the first result to the last file.
    pub elapsed: f64,
}

impl Acts {
    /// The acts of an `execution.json`; `None` unless it has all of them, except the cut of a job without a manifest.
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
