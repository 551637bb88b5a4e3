//! `execution.json`: what may differ from run to run, and therefore stays out of the report.
//!
//! | key | what it says |
//! |---|---|
//! | `schema` | `autoconnect.execution/1` |
//! | `job`, `kind`, `status`, `reason` | which job, its [`Status`] in a word, and why if it is not `done` |
//! | `chunks` | `total` (null without a manifest), `merged`, and `missing`: number -> why |
//! | `rows` | rows merged; a report of none is empty |
//! | `order` | when the job's end was decided: larger than that of every job that ended before. Where a person made the report the newest, when that was |
//! | `duplicates_dropped` | results that arrived again before the job ended, and were counted once |
//! | `acts_ms` | `cut` (and publish the chunks), `work` (summed over workers), `merge`, `conclude`, `publish` (the files, up to this one), `elapsed` (the begin of the cut, or the first result, to this file) |
//! | `calculations` | each calculation that the conclusion named as it began: `name`, and `ms` until the next one or the end |
//! | `workers` | name -> `chunks`, `rows`, `ms`, `redeliveries` |
//!
//! The reducer writes it; a reader may meet a file of an earlier version, so that only `status` must be there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::Status;
use crate::{JobId, Seq};

/// The value of `schema`.
pub const SCHEMA: &str = "autoconnect.execution/1";

/// `execution.json`, key for key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// [`SCHEMA`], in a file of this version.
    #[serde(default)]
    pub schema: String,
    /// The job.
    #[serde(default)]
    pub job: Option<JobId>,
    /// The name of its kind, where anything said it.
    #[serde(default)]
    pub kind: Option<String>,
    /// How the job ended.
    pub status: Status,
    /// Why it is not done, or what its report lacks, in one sentence.
    #[serde(default)]
    pub reason: Option<String>,
    /// How many chunks, and which are missing.
    #[serde(default)]
    pub chunks: Chunks,
    /// Rows that were merged.
    #[serde(default)]
    pub rows: u64,
    /// When the end was decided, in milliseconds since 1970 or a few more: no two jobs of a folder have the same.
    #[serde(default)]
    pub order: u64,
    /// Results that arrived again while the job was open.
    #[serde(default)]
    pub duplicates_dropped: u64,
    /// How long each act took.
    #[serde(default)]
    pub acts_ms: Acts,
    /// How long each calculation of the conclusion took.
    #[serde(default)]
    pub calculations: Vec<Timing>,
    /// What each worker did, by its name.
    #[serde(default)]
    pub workers: BTreeMap<String, WorkerFigures>,
}

/// How many chunks a job has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Chunks {
    /// Those that the manifest counts.
    pub total: Option<u64>,
    /// Those that are in the report.
    pub merged: u64,
    /// Those that are not, each with its reason.
    pub missing: BTreeMap<Seq, String>,
}

/// How long each act took, in milliseconds; absent where that is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acts {
    /// Cutting the input and publishing the chunks.
    pub cut: Option<u64>,
    /// Working, summed over workers.
    pub work: Option<f64>,
    /// Merging the partials.
    pub merge: Option<f64>,
    /// Concluding the report.
    pub conclude: Option<f64>,
    /// Writing the files.
    pub publish: Option<f64>,
    /// From the begin of the cut, or the first result, to the end.
    pub elapsed: Option<f64>,
}

impl Acts {
    /// All of them by their keys, in order.
    pub fn by_name(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("cut", self.cut.map(|ms| ms as f64)),
            ("work", self.work),
            ("merge", self.merge),
            ("conclude", self.conclude),
            ("publish", self.publish),
            ("elapsed", self.elapsed),
        ]
    }
}

/// One calculation and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// What was calculated, as its kind names it.
    pub name: String,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// What one worker did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerFigures {
    /// Chunks whose partials were merged.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
    /// How long it worked, in milliseconds.
    pub ms: f64,
    /// How often these chunks had been delivered before.
    pub redeliveries: u64,
}

/// `duration` in milliseconds, to the microsecond.
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl Execution {
    /// What the bytes of an `execution.json` say.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    /// The bytes of `execution.json`.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_written_the_same() {
        let json = br#"{"schema": "autoconnect.execution/1", "job": "sales-1", "kind": "sales", "status": "incomplete",
            "reason": "a chunk is missing", "chunks": {"total": 3, "merged": 2, "missing": {"0.1": "boom"}}, "rows": 7, "order": 9,
            "duplicates_dropped": 1, "acts_ms": {"cut": 12, "work": 3.5, "merge": 0.25, "conclude": 1.0, "publish": 2.0, "elapsed": 20.0},
            "calculations": [{"name": "sum", "ms": 0.01}], "workers": {"w": {"chunks": 2, "rows": 7, "ms": 3.5, "redeliveries": 0}}}"#;
        let execution = Execution::read(json).expect("all of it is known");
        let written = execution.to_json().expect("JSON");
        let value = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).expect("JSON");
        assert_eq!(value(&written), value(json));
        assert_eq!(Execution::read(&written).expect("as written"), execution);
    }

    #[test]
    fn a_file_of_an_earlier_version_says_how_the_job_ended() {
        let old =
            Execution::read(br#"{"status": "done", "acts_ms": {"publish": null}, "later": 1}"#);
        let old = old.expect("only the status must be there");
        assert_eq!(
            (old.status, old.order, old.acts_ms.publish),
            (Status::Done, 0, None)
        );
        assert!(Execution::read(br#"{"rows": 3}"#).is_err());
    }
}
