//! The progress of a job: a pure function of its events and their times.

use std::collections::BTreeMap;
use std::time::Instant;

use autoconnect_common::JobId;
use autoconnect_common::execution::Execution;
use autoconnect_common::message::Status;

use super::clock::now_ms;
use super::job::{Acts, JobState, JobView, Progress};

/// A job, and the figures that its estimates are computed from.
pub(super) struct Job {
    /// The number of the job in the order in which jobs became known, from 1.
    pub(super) number: u64,
    /// The view that is served.
    pub(super) view: JobView,
    /// Of the file: rows and bytes read so far, and its total bytes.
    pub(super) cut: Option<(u64, u64, u64)>,
    /// The total of chunks, once known.
    total: Option<u64>,
    started: Option<Instant>,
    /// When the job's last event arrived.
    pub(super) changed: Instant,
}

impl Job {
    /// A job at its first event.
    pub(super) fn new(number: u64, job_id: JobId) -> Self {
        Self {
            number,
            view: JobView {
                job_id,
                status: JobState::Queued,
                progress: Progress::default(),
                kind: None,
                fichier: None,
                rows: 0,
                asked_at_ms: now_ms(),
                started_at_ms: None,
                ended_at_ms: None,
                eta_seconds: None,
                reason: None,
                acts_ms: None,
                workers: BTreeMap::new(),
                duplicates_dropped: 0,
            },
            cut: None,
            total: None,
            started: None,
            changed: Instant::now(),
        }
    }

    /// Records that the job's work has begun.
    pub(super) fn begin(&mut self) {
        self.changed = Instant::now();
        if self.view.status == JobState::Queued {
            self.view.status = JobState::Processing;
            self.view.started_at_ms = Some(now_ms());
            self.started = Some(Instant::now());
        }
    }

    /// Records the merged chunks, the total of chunks and the merged rows.
    pub(super) fn advance(&mut self, done: u64, total: Option<u64>, rows: u64) {
        self.begin();
        // a reducer that was killed counts up again while it replays its journal: show no step back
        self.view.progress.completed_tasks = self.view.progress.completed_tasks.max(done);
        self.view.rows = self.view.rows.max(rows);
        self.total = total.or(self.total);
        self.estimate();
    }

    /// The fraction of the job that is done: of its chunks or, until their total is known, of its rows.
    fn part(&self) -> f64 {
        let done = self.view.progress.completed_tasks;
        match (self.total, self.cut) {
            (Some(total), _) if total > 0 => done as f64 / total as f64,
            (None, Some((rows, read, size))) if rows > 0 && size > 0 => {
                let all = rows as f64 * size as f64 / read.max(1) as f64;
                (self.view.rows as f64 / all).min(0.99)
            }
            _ => 0.0,
        }
    }

    /// Estimates the percentage that is done, and the time until the end.
    pub(super) fn estimate(&mut self) {
        // never show less than before: a better estimate, or a producer that starts over, may give less
        let shown = self.view.progress.percentage / 100.0;
        let part = self.part().max(shown).clamp(0.0, 0.99);
        let progress = &mut self.view.progress;
        progress.percentage = (part * 1000.0).round() / 10.0;
        progress.total_tasks = match self.total {
            Some(total) => total,
            None if part > 0.0 => (progress.completed_tasks as f64 / part).round() as u64,
            None => 0,
        };
        self.view.eta_seconds = self.started.filter(|_| part > 0.01).map(|started| {
            let left = started.elapsed().as_secs_f64() * (1.0 - part) / part;
            left.ceil() as u64
        });
    }

    /// Records the job's end.
    pub(super) fn end(
        &mut self,
        status: Status,
        reason: Option<String>,
        at_ms: u64,
        execution: Option<&str>,
    ) {
        self.changed = Instant::now();
        let view = &mut self.view;
        view.status = status.into();
        view.reason = reason;
        view.ended_at_ms = Some(view.ended_at_ms.unwrap_or(at_ms));
        view.eta_seconds = None;
        if view.status.has_report() {
            view.progress.percentage = 100.0;
        }
        let read = |json: &str| Execution::read(json.as_bytes()).ok();
        let Some(execution) = execution.and_then(read) else {
            return;
        };
        // use the time by which reports are ordered, not when the event arrived: every page then shows the same time
        if execution.order > 0 {
            view.ended_at_ms = Some(execution.order);
        }
        view.kind = execution.kind.or(view.kind.take());
        view.acts_ms = Acts::of(&execution.acts_ms);
        view.workers = execution
            .workers
            .into_iter()
            .map(|(name, worker)| (name, worker.chunks))
            .collect();
        view.rows = execution.rows;
        view.duplicates_dropped = execution.duplicates_dropped;
        view.progress.completed_tasks = execution.chunks.merged;
        view.progress.total_tasks = execution.chunks.total.unwrap_or(view.progress.total_tasks);
    }
}
