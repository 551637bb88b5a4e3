//! `execution.json`: what may differ from run to run, and therefore stays out of the report.
//!
//! | key | what it says |
//! |---|---|
//! | `schema` | `autoconnect.execution/1` |
//! | `job`, `kind`, `status`, `reason` | which job, its [`Status`] in a word, and why if it is not `done` |
//! | `chunks` | `total` (null without a manifest), `merged`, and `missing`: number -> why |
//! | `rows` | rows merged; a report of none is empty |
//! | `order` | when the job's end was decided: larger than that of every job that ended before. Where a person made the report the newest, when that was |
//! | `duplicates_dropped` | results that came again before the job ended, and were counted once |
//! | `acts_ms` | `cut` (and publish the chunks), `work` (summed over workers), `merge`, `conclude`, `publish` (the files, up to this one), `elapsed` (the begin of the cut, or the first result, to this file) |
//! | `calculations` | each calculation of the conclusion: `name`, `ms` |
//! | `workers` | name -> `chunks`, `rows`, `ms`, `redeliveries` |

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use autoconnect_common::kind::Lap;
use autoconnect_common::message::Status;
use autoconnect_common::{JobId, Seq, machine};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::entry::PartialEntry;

/// Workers that are named; the others are counted together, as `…`.
const MAX_WORKERS: usize = 1024;

/// What is counted while a job is merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    pub(crate) duplicates: u64,
    pub(crate) merge: Duration,
    pub(crate) workers: BTreeMap<String, WorkerFigures>,
    pub(crate) first_news: SystemTime,
}

/// What one worker did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct WorkerFigures {
    chunks: u64,
    rows: u64,
    ms: f64,
    redeliveries: u64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            rows: 0,
            duplicates: 0,
            merge: Duration::ZERO,
            workers: BTreeMap::new(),
            first_news: machine::now(),
        }
    }
}

impl Figures {
    /// Notes that a cut has just ended which lasted so many milliseconds: the job began with it, before any result came.
    pub(crate) fn cut(&mut self, cut_ms: u64) {
        // a snapshot cannot hold a time before 1970, which only an absurd figure leads to
        let began = machine::now()
            .checked_sub(Duration::from_millis(cut_ms))
            .filter(|began| *began >= SystemTime::UNIX_EPOCH);
        self.first_news = began.map_or(self.first_news, |began| began.min(self.first_news));
    }

    /// How long all workers worked, in milliseconds.
    pub(crate) fn work_ms(&self) -> f64 {
        // an empty sum of floats is -0
        self.workers
            .values()
            .fold(0.0, |sum, worker| sum + worker.ms)
    }

    /// Counts a partial that was merged.
    pub(crate) fn count(&mut self, partial: &PartialEntry<'_>) {
        let rows = u64::from(partial.rows);
        self.rows = self.rows.saturating_add(rows);
        let known = self.workers.contains_key(partial.worker.as_ref());
        let name = if known || self.workers.len() < MAX_WORKERS {
            partial.worker.chars().take(80).collect()
        } else {
            "…".to_owned()
        };
        let worker = self.workers.entry(name).or_default();
        worker.chunks += 1;
        worker.rows = worker.rows.saturating_add(rows);
        worker.ms += partial.micros as f64 / 1e3;
        worker.redeliveries += u64::from(partial.redeliveries);
    }
}

/// `execution.json`, key for key.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Execution {
    pub(crate) schema: &'static str,
    pub(crate) job: JobId,
    pub(crate) kind: Option<String>,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    pub(crate) chunks: Chunks,
    pub(crate) rows: u64,
    pub(crate) order: u64,
    pub(crate) duplicates_dropped: u64,
    pub(crate) acts_ms: Acts,
    pub(crate) calculations: Vec<Lap>,
    pub(crate) workers: BTreeMap<String, WorkerFigures>,
}

/// How many chunks.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Chunks {
    pub(crate) total: Option<u64>,
    pub(crate) merged: u64,
    pub(crate) missing: BTreeMap<Seq, String>,
}

/// How long each act took, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Acts {
    pub(crate) cut: Option<u64>,
    pub(crate) work: f64,
    pub(crate) merge: f64,
    pub(crate) conclude: f64,
    pub(crate) publish: f64,
    pub(crate) elapsed: f64,
}

/// `duration` in milliseconds, to the microsecond.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl Execution {
    /// `execution.json`, once the rest of the report is written; `publishing` is when writing began.
    pub(crate) fn render(
        &mut self,
        publishing: Instant,
        first_news: SystemTime,
    ) -> serde_json::Result<Vec<u8>> {
        self.acts_ms.publish = ms(publishing.elapsed());
        // a clock set back must not make a time negative
        self.acts_ms.elapsed = ms(machine::now()
            .duration_since(first_news)
            .unwrap_or_default());
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_worked_for_zero_milliseconds() {
        let work = Figures::default().work_ms();
        assert!(work == 0.0 && work.is_sign_positive(), "{work}");
    }

    #[test]
    fn a_cut_no_clock_can_count_back_changes_nothing() {
        let mut figures = Figures::default();
        let heard = figures.first_news;
        figures.cut(u64::MAX);
        assert_eq!(figures.first_news, heard);
    }
}
