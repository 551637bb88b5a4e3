//! Counts and times of a job's merging and conclusion, for `execution.json`
//! ([`autoconnect_common::execution`]).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use autoconnect_common::execution::{Execution, Timing, WorkerFigures, ms};
use autoconnect_common::machine;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::entry::PartialEntry;

/// Workers that are listed by name; the others are counted together, as `…`. More than any cluster of ours has, and bounds
/// what made-up names can cost.
const MAX_WORKERS: usize = 1024;

/// The counts of a job while it is merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rows: u64,
    pub(crate) duplicates: u64,
    pub(crate) merge: Duration,
    pub(crate) workers: BTreeMap<String, WorkerFigures>,
    pub(crate) first_news: SystemTime,
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
    /// Records that a cut of so many milliseconds has just ended: the job began with it, before its first result.
    pub(crate) fn cut(&mut self, cut_ms: u64) {
        // a snapshot cannot hold a time before 1970, which only an absurd `cut_ms` leads to
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

/// The duration of each calculation of a conclusion; [`JobKind::conclude`](autoconnect_common::JobKind::conclude) names
/// each as it begins.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    running: Option<(&'static str, Instant)>,
    over: Vec<Timing>,
}

impl Timings {
    /// Records that this calculation begins, and ends the one before.
    pub(crate) fn begin(&mut self, name: &'static str) {
        self.end();
        self.running = Some((name, Instant::now()));
    }

    /// Ends the current calculation.
    fn end(&mut self) {
        if let Some((name, began)) = self.running.take() {
            self.over.push(Timing {
                name: name.to_owned(),
                ms: ms(began.elapsed()),
            });
        }
    }

    /// Ends the last calculation; returns all, in the order in which they began.
    pub(crate) fn into_vec(mut self) -> Vec<Timing> {
        self.end();
        self.over
    }
}

/// `execution.json`, once the rest of the report is written; `publishing` is when writing began.
pub(crate) fn render(
    execution: &mut Execution,
    publishing: Instant,
    first_news: SystemTime,
) -> serde_json::Result<Vec<u8>> {
    execution.acts_ms.publish = Some(ms(publishing.elapsed()));
    // a clock set back must not make a time negative
    let elapsed = machine::now().duration_since(first_news);
    execution.acts_ms.elapsed = Some(ms(elapsed.unwrap_or_default()));
    execution.to_json()
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

    #[test]
    fn calculations_are_named_in_the_order_in_which_they_began() {
        let mut timings = Timings::default();
        timings.begin("sum");
        timings.begin("rank");
        let timings = timings.into_vec();
        assert!(timings.iter().all(|timing| timing.ms >= 0.0));
        let names: Vec<&str> = timings.iter().map(|timing| &*timing.name).collect();
        assert_eq!(names, ["sum", "rank"]);
        assert!(Timings::default().into_vec().is_empty());
    }
}
