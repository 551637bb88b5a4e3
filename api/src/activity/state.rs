//! The state behind the views: a function of the events and of their times of arrival.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use autoconnect_common::message::{Event, Heartbeat, JobStage, Stage, Status};
use autoconnect_common::{JobId, health};

use super::clock::{millis, now_ms};
use super::job::{JobState, JobView};
use super::progress::Job;
use super::view::{BrokerView, Chunk, Point, Queues, Snapshot, TroubleView, WorkerView};
use super::{JOBS, POINTS, WORKERS};

/// The time without a heartbeat after which a worker is shown as away: workers send one each second, so five are missing.
const GONE: Duration = Duration::from_secs(5);
/// The time without a heartbeat after which a worker is removed: long enough for a person to notice that it is away.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// The most jobs in a snapshot, the newest ones: as many as the dashboard's table shows.
const NEWEST: usize = 20;
/// The most programs whose troubles are kept: the dashboard has no room for more.
const TROUBLED: usize = 64;

/// The state of the cluster, learned from events.
#[derive(Default)]
pub(super) struct Cluster {
    jobs: BTreeMap<JobId, Job>,
    /// The number of the last job that became known.
    last_number: u64,
    workers: BTreeMap<String, Worker>,
    history: VecDeque<Point>,
    /// The troubles that programs reported, and when.
    troubles: BTreeMap<String, (Vec<String>, Instant)>,
    broker: BrokerView,
    queues: Option<Queues>,
    /// Chunks and rows that workers processed since the last tick.
    second: (u64, u64),
}

struct Worker {
    beat: Heartbeat,
    seen: Instant,
    rows_per_second: u64,
}

impl Cluster {
    fn known(&mut self, job: JobId) -> &mut Job {
        if !self.jobs.contains_key(&job) && self.jobs.len() >= JOBS {
            self.forget_one();
        }
        let last_number = &mut self.last_number;
        self.jobs.entry(job).or_insert_with_key(|job| {
            *last_number += 1;
            Job::new(*last_number, job.clone())
        })
    }

    /// Drops the oldest ended job, or the oldest job where none has ended.
    fn forget_one(&mut self) {
        let oldest = self
            .jobs
            .iter()
            .min_by_key(|(_, job)| (!job.view.status.has_ended(), job.number))
            .map(|(name, _)| name.clone());
        if let Some(oldest) = oldest {
            self.jobs.remove(&oldest);
        }
    }

    pub(super) fn asked(&mut self, job: JobId, kind: &str, fichier: &str) -> JobView {
        let job = self.known(job);
        job.view.kind = Some(kind.to_owned());
        job.view.fichier = Some(fichier.to_owned());
        job.view.clone()
    }

    pub(super) fn job(&self, job: &JobId) -> Option<JobView> {
        self.jobs.get(job).map(|job| job.view.clone())
    }

    pub(super) fn jobs(&self) -> Vec<JobView> {
        let mut jobs: Vec<&Job> = self.jobs.values().collect();
        jobs.sort_unstable_by_key(|job| std::cmp::Reverse((job.view.asked_at_ms, job.number)));
        jobs.into_iter().map(|job| job.view.clone()).collect()
    }

    pub(super) fn workers(&self) -> Vec<WorkerView> {
        self.workers.values().map(Worker::view).collect()
    }

    /// Applies an event; returns the job that it changed.
    pub(super) fn apply(&mut self, event: Event) -> Option<JobView> {
        let job = match event {
            Event::Worker(beat) => {
                self.beat(beat);
                return None;
            }
            Event::Troubles { program, troubles } => {
                self.troubled(program, troubles);
                return None;
            }
            // the task that asked the reducer receives these answers itself
            Event::Jobs { .. } | Event::Newest { .. } | Event::Begun { .. } => return None,
            Event::Cut {
                job,
                rows,
                read,
                size,
            } => {
                let job = self.known(job);
                if job.view.status.has_ended() {
                    return None;
                }
                job.begin();
                job.cut = Some((rows, read, size));
                job.estimate();
                job
            }
            Event::Progress {
                job,
                done,
                total,
                rows,
            } => {
                let job = self.known(job);
                if job.view.status.has_ended() {
                    return None;
                }
                job.advance(done, total, rows);
                job
            }
            Event::Finished {
                job,
                status,
                reason,
                execution,
                ..
            } => {
                let job = self.known(job);
                let again = job.view.status.has_ended() && job.view.acts_ms.is_some();
                job.end(status, reason, now_ms(), execution.as_deref());
                if again {
                    return None;
                }
                job
            }
        };
        Some(job.view.clone())
    }

    /// Applies an answer of the reducer; returns the job that it changed.
    pub(super) fn answered(&mut self, answer: JobStage) -> Option<JobView> {
        let JobStage { job, kind, stage } = answer;
        let is_new = !self.jobs.contains_key(&job);
        if is_new && self.jobs.len() >= JOBS {
            return None;
        }
        let job = self.known(job);
        if job.view.status.has_ended() {
            return None;
        }
        job.view.kind = kind.or(job.view.kind.take());
        match stage {
            Stage::Open {
                done, total, rows, ..
            } => job.advance(done, total, rows),
            Stage::Ending => job.begin(),
            Stage::Ended {
                status,
                reason,
                ended_at,
            } => {
                let at = ended_at.saturating_mul(1000);
                if is_new {
                    job.view.asked_at_ms = at;
                }
                job.end(status, reason, at, None);
            }
        }
        Some(job.view.clone())
    }

    /// Applies a job's `execution.json`.
    pub(super) fn executed(&mut self, job: &JobId, execution: &str) {
        if let Some(job) = self.jobs.get_mut(job)
            && let Some(status) = ended_as(job.view.status)
        {
            let (reason, at) = (job.view.reason.clone(), job.view.ended_at_ms.unwrap_or(0));
            job.end(status, reason, at, Some(execution));
        }
    }

    /// The open jobs without an event for at least `for_long`.
    pub(super) fn silent(&self, for_long: Duration) -> Vec<JobId> {
        let silent = |job: &&Job| !job.view.status.has_ended() && job.changed.elapsed() >= for_long;
        let jobs = self.jobs.values().filter(silent);
        jobs.map(|job| job.view.job_id.clone()).collect()
    }

    fn beat(&mut self, beat: Heartbeat) {
        if !self.workers.contains_key(&beat.worker) && self.workers.len() >= WORKERS {
            return;
        }
        let before = self.workers.get(&beat.worker);
        // a worker that restarted under the same name counts from zero: the difference would be negative
        let more = |now: u64, then: Option<u64>| match then {
            Some(then) if then <= now => now - then,
            _ => 0,
        };
        let chunks = more(beat.chunks, before.map(|worker| worker.beat.chunks));
        let rows = more(beat.rows, before.map(|worker| worker.beat.rows));
        self.second.0 += chunks;
        self.second.1 += rows;
        let worker = Worker {
            seen: Instant::now(),
            rows_per_second: rows,
            beat,
        };
        self.workers.insert(worker.beat.worker.clone(), worker);
    }

    /// Records the troubles that a program reported; a program beyond [`TROUBLED`] is ignored.
    pub(super) fn troubled(&mut self, program: String, troubles: Vec<String>) {
        if troubles.is_empty() {
            self.troubles.remove(&program);
        } else if self.troubles.len() < TROUBLED || self.troubles.contains_key(&program) {
            self.troubles.insert(program, (troubles, Instant::now()));
        }
    }

    fn troubles(&mut self) -> Vec<TroubleView> {
        self.troubles
            .retain(|_, (_, reported)| reported.elapsed() < health::TOLD);
        let each = self.troubles.iter();
        each.flat_map(|(program, (troubles, _))| {
            troubles.iter().map(|why| TroubleView {
                program: program.clone(),
                why: why.clone(),
            })
        })
        .collect()
    }

    /// Ends an interval of one second, and returns its figures.
    pub(super) fn tick(&mut self, up: bool, embedded: bool, queues: Option<Queues>) -> Snapshot {
        let at_ms = now_ms();
        if self.broker.since_ms == 0 || self.broker.up != up {
            self.broker = BrokerView {
                up,
                since_ms: at_ms,
                embedded,
            };
        }
        self.queues = queues;
        self.workers
            .retain(|_, worker| worker.seen.elapsed() < FORGOTTEN);
        let (chunks, rows) = std::mem::take(&mut self.second);
        if self.history.len() >= POINTS {
            self.history.pop_front();
        }
        self.history.push_back(Point {
            at_ms,
            waiting: queues.map_or(0, |queues| queues.chunks),
            chunks,
            rows,
        });
        for job in self.jobs.values_mut() {
            if job.view.status == JobState::Processing {
                job.estimate();
            }
        }
        let mut jobs = self.jobs();
        jobs.truncate(NEWEST);
        Snapshot {
            at_ms,
            broker: self.broker.clone(),
            troubles: self.troubles(),
            queues,
            chunks_per_second: chunks,
            rows_per_second: rows,
            history: self.history.iter().copied().collect(),
            workers: self.workers(),
            jobs,
        }
    }
}

/// The status of an ended job; `None` for an open one.
fn ended_as(state: JobState) -> Option<Status> {
    match state {
        JobState::Done => Some(Status::Done),
        JobState::Incomplete => Some(Status::Incomplete),
        JobState::Failed => Some(Status::Failed),
        JobState::Cancelled => Some(Status::Cancelled),
        JobState::Queued | JobState::Processing => None,
    }
}

impl Worker {
    fn view(&self) -> WorkerView {
        let ago = self.seen.elapsed();
        let alive = ago < GONE;
        let beat = &self.beat;
        WorkerView {
            name: beat.worker.clone(),
            host: beat.host.clone(),
            pid: beat.pid,
            alive,
            seen_ms_ago: millis(ago),
            cpu_percent: beat.cpu_percent.filter(|_| alive),
            memory_bytes: beat.memory_bytes,
            chunks: beat.chunks,
            rows: beat.rows,
            buried: beat.buried,
            busy_ms: beat.busy_ms,
            rows_per_second: if alive { self.rows_per_second } else { 0 },
            current: beat
                .current
                .as_ref()
                .filter(|_| alive)
                .map(|current| Chunk {
                    job_id: current.job.clone(),
                    seq: current.seq,
                    for_ms: current.for_ms,
                }),
        }
    }
}
