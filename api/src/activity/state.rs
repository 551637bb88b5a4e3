//! The state behind the views: a pure function of what was heard, and when.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use autoconnect_common::message::{Event, Heartbeat, JobStage, Stage, Status};
use autoconnect_common::{JobId, health};
use serde::Deserialize;

use super::job::{Acts, JobState, JobView, Progress};
use super::view::{BrokerView, Chunk, Point, Queues, Snapshot, TroubleView, WorkerView};
use super::{JOBS, POINTS, WORKERS};

/// After how long without a heartbeat a worker is taken for gone.
const GONE: Duration = Duration::from_secs(5);
/// After how long it is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// The newest jobs that are part of a snapshot.
const NEWEST: usize = 20;
/// The most programs whose troubles are kept: a page has no room for more.
const TROUBLED: usize = 64;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What was heard.
#[derive(Default)]
pub(super) struct Cluster {
    jobs: BTreeMap<JobId, Job>,
    /// Numbers jobs as they are heard of.
    heard: u64,
    workers: BTreeMap<String, Worker>,
    history: VecDeque<Point>,
    /// What programs told of what keeps them from making progress, and when.
    troubles: BTreeMap<String, (Vec<String>, Instant)>,
    broker: BrokerView,
    queues: Option<Queues>,
    /// Chunks and rows worked since the last second was over.
    second: (u64, u64),
}

struct Job {
    number: u64,
    view: JobView,
    /// The file: rows and bytes read so far, bytes in all.
    cut: Option<(u64, u64, u64)>,
    /// Chunks in all, once known.
    total: Option<u64>,
    started: Option<Instant>,
    changed: Instant,
}

struct Worker {
    beat: Heartbeat,
    seen: Instant,
    rows_per_second: u64,
}

/// What of `execution.json` is shown.
#[derive(Deserialize)]
struct Execution {
    /// When the job came to its end, in milliseconds since 1970; later than every job's that ended before.
    #[serde(default)]
    order: Option<u64>,
    #[serde(default)]
    acts_ms: Option<Acts>,
    #[serde(default)]
    workers: BTreeMap<String, Worked>,
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    duplicates_dropped: u64,
    #[serde(default)]
    chunks: Merged,
}

#[derive(Deserialize)]
struct Worked {
    chunks: u64,
}

#[derive(Deserialize, Default)]
struct Merged {
    total: Option<u64>,
    merged: u64,
}

impl Job {
    fn new(number: u64, job_id: JobId) -> Self {
        Self {
            number,
            view: JobView {
                job_id,
                status: JobState::Queued,
                progress: Progress::default(),
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

    fn begin(&mut self) {
        self.changed = Instant::now();
        if self.view.status == JobState::Queued {
            self.view.status = JobState::Processing;
            self.view.started_at_ms = Some(now_ms());
            self.started = Some(Instant::now());
        }
    }

    fn advance(&mut self, done: u64, total: Option<u64>, rows: u64) {
        self.begin();
        // a reducer that was killed goes on from its journal: what was merged is not taken back
        self.view.progress.completed_tasks = self.view.progress.completed_tasks.max(done);
        self.view.rows = self.view.rows.max(rows);
        self.total = total.or(self.total);
        self.estimate();
    }

    /// The part of the job that is done: of its chunks, or, until they are counted, of its rows.
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

    fn estimate(&mut self) {
        // a better estimate, and a producer that begins again, would take back what was shown
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

    fn end(&mut self, status: Status, reason: Option<String>, at_ms: u64, execution: Option<&str>) {
        self.changed = Instant::now();
        let view = &mut self.view;
        view.status = status.into();
        view.reason = reason;
        view.ended_at_ms = Some(view.ended_at_ms.unwrap_or(at_ms));
        view.eta_seconds = None;
        if view.status.has_report() {
            view.progress.percentage = 100.0;
        }
        let Some(execution) = execution.and_then(|json| serde_json::from_str(json).ok()) else {
            return;
        };
        let Execution {
            order,
            acts_ms,
            workers,
            rows,
            duplicates_dropped,
            chunks,
        } = execution;
        // one time wherever it is shown: what orders the reports, not when word of the end came here
        view.ended_at_ms = order.or(view.ended_at_ms);
        view.acts_ms = acts_ms;
        view.workers = workers
            .into_iter()
            .map(|(name, worked)| (name, worked.chunks))
            .collect();
        view.rows = rows;
        view.duplicates_dropped = duplicates_dropped;
        view.progress.completed_tasks = chunks.merged;
        view.progress.total_tasks = chunks.total.unwrap_or(view.progress.total_tasks);
    }
}

impl Cluster {
    fn known(&mut self, job: JobId) -> &mut Job {
        if !self.jobs.contains_key(&job) && self.jobs.len() >= JOBS {
            self.forget_one();
        }
        let heard = &mut self.heard;
        self.jobs.entry(job).or_insert_with_key(|job| {
            *heard += 1;
            Job::new(*heard, job.clone())
        })
    }

    /// Forgets the oldest job, one that ended if there is any.
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

    pub(super) fn asked(&mut self, job: JobId, fichier: &str) -> JobView {
        let job = self.known(job);
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

    /// Takes note of an event; the job that it changed.
    pub(super) fn hear(&mut self, event: Event) -> Option<JobView> {
        let job = match event {
            Event::Worker(beat) => {
                self.beat(beat);
                return None;
            }
            Event::Troubles { program, troubles } => {
                self.troubled(program, troubles);
                return None;
            }
            // those of our own questions come back to whoever asked
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

    /// Takes note of what the reducer answered; the job that it changed.
    pub(super) fn answered(&mut self, told: JobStage) -> Option<JobView> {
        let JobStage { job, stage } = told;
        let is_new = !self.jobs.contains_key(&job);
        if is_new && self.jobs.len() >= JOBS {
            return None;
        }
        let job = self.known(job);
        if job.view.status.has_ended() {
            return None;
        }
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

    /// Takes note of a job's `execution.json`.
    pub(super) fn executed(&mut self, job: &JobId, execution: &str) {
        if let Some(job) = self.jobs.get_mut(job)
            && let Some(status) = ended_as(job.view.status)
        {
            let (reason, at) = (job.view.reason.clone(), job.view.ended_at_ms.unwrap_or(0));
            job.end(status, reason, at, Some(execution));
        }
    }

    /// The jobs that have not ended and of which nothing was heard for that long.
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
        // one that was started again under the same name counts from nothing
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

    /// A program says what keeps it from making progress. Of more programs than we can show the first are kept.
    pub(super) fn troubled(&mut self, program: String, troubles: Vec<String>) {
        if troubles.is_empty() {
            self.troubles.remove(&program);
        } else if self.troubles.len() < TROUBLED || self.troubles.contains_key(&program) {
            self.troubles.insert(program, (troubles, Instant::now()));
        }
    }

    fn troubles(&mut self) -> Vec<TroubleView> {
        self.troubles
            .retain(|_, (_, told)| told.elapsed() < health::TOLD);
        let each = self.troubles.iter();
        each.flat_map(|(program, (troubles, _))| {
            troubles.iter().map(|why| TroubleView {
                program: program.clone(),
                why: why.clone(),
            })
        })
        .collect()
    }

    /// A second is over: what it came to.
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

/// How a job ended, as the reducer says it.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobId {
        name.parse().expect("valid")
    }

    fn progress(done: u64, total: Option<u64>, rows: u64) -> Event {
        Event::Progress {
            job: job("a"),
            done,
            total,
            rows,
        }
    }

    fn finished(status: Status, execution: Option<&str>) -> Event {
        Event::Finished {
            job: job("a"),
            status,
            reason: None,
            report: None,
            execution: execution.map(str::to_owned),
            cut: None,
        }
    }

    fn beat(worker: &str, chunks: u64, rows: u64) -> Event {
        Event::Worker(Heartbeat {
            worker: worker.to_owned(),
            chunks,
            rows,
            ..Heartbeat::default()
        })
    }

    const EXECUTION: &str = r#"{"chunks": {"total": 4, "merged": 4, "missing": {}}, "rows": 40, "duplicates_dropped": 2,
        "acts_ms": {"cut": 5, "work": 1.5, "merge": 0.5, "conclude": 1, "publish": 2, "elapsed": 9},
        "workers": {"w1": {"chunks": 3, "rows": 30, "ms": 1.0, "redeliveries": 0}, "w2": {"chunks": 1, "rows": 10, "ms": 0.5, "redeliveries": 1}}}"#;

    #[test]
    fn a_job_goes_from_queued_to_done_and_never_back() {
        let mut cluster = Cluster::default();
        let asked = cluster.asked(job("a"), "ventes.csv");
        assert_eq!(asked.status, JobState::Queued);
        let cut = Event::Cut {
            job: job("a"),
            rows: 20,
            read: 500,
            size: 1000,
        };
        let view = cluster.hear(cut.clone()).expect("changed");
        assert_eq!(view.status, JobState::Processing);

        // 10 of some 40 rows: half of the file has 20
        let view = cluster.hear(progress(1, None, 10)).expect("changed");
        assert_eq!(view.progress.percentage, 25.0);
        assert_eq!(view.progress.total_tasks, 4);
        // its producer was killed and begins again; then the file is longer than it seemed
        for (rows, read) in [(0, 0), (20, 250)] {
            let view = cluster.hear(Event::Cut {
                job: job("a"),
                rows,
                read,
                size: 1000,
            });
            assert_eq!(view.expect("changed").progress.percentage, 25.0);
        }
        let view = cluster.hear(progress(3, Some(4), 30)).expect("changed");
        assert_eq!(view.progress.percentage, 75.0);
        // a reducer that was started again may say less for a moment
        let view = cluster.hear(progress(2, Some(4), 20)).expect("changed");
        assert_eq!((view.progress.completed_tasks, view.rows), (3, 30));

        let done = finished(Status::Done, Some(EXECUTION));
        let view = cluster.hear(done.clone()).expect("changed");
        assert_eq!(view.status, JobState::Done);
        assert_eq!(view.progress.percentage, 100.0);
        assert_eq!(view.fichier.as_deref(), Some("ventes.csv"));
        assert_eq!(
            view.workers,
            BTreeMap::from([("w1".to_owned(), 3), ("w2".to_owned(), 1)])
        );
        assert_eq!(
            view.acts_ms.map(|acts| (acts.cut, acts.elapsed)),
            Some((Some(5.0), 9.0))
        );
        assert_eq!(view.duplicates_dropped, 2);
        // what comes late, or again, changes nothing
        for late in [cut, progress(1, Some(4), 10), done] {
            assert_eq!(cluster.hear(late), None);
        }
        assert_eq!(cluster.job(&job("a")), Some(view));
    }

    #[test]
    fn a_job_is_at_a_hundred_percent_only_once_there_is_a_report() {
        let mut cluster = Cluster::default();
        let view = cluster.hear(progress(4, Some(4), 40)).expect("changed");
        assert_eq!(view.progress.percentage, 99.0);
        let view = cluster
            .hear(finished(Status::Failed, None))
            .expect("changed");
        assert_eq!(view.progress.percentage, 99.0);
        assert_eq!(view.status, JobState::Failed);
    }

    #[test]
    fn an_end_that_nobody_heard_is_learnt_from_the_reducer() {
        let mut cluster = Cluster::default();
        cluster.hear(progress(1, Some(4), 10));
        let ended = |name: &str| JobStage {
            job: job(name),
            stage: Stage::Ended {
                status: Status::Done,
                reason: None,
                ended_at: 1_700_000_000,
            },
        };
        for name in ["a", "b"] {
            let view = cluster.answered(ended(name)).expect("changed");
            assert_eq!(view.ended_at_ms, Some(1_700_000_000_000));
            assert_eq!(cluster.answered(ended(name)), None);
        }
        cluster.executed(&job("b"), EXECUTION);
        let view = cluster.job(&job("b")).expect("known");
        assert_eq!((view.rows, view.progress.completed_tasks), (40, 4));
        // the one that was heard of before we listened is the older one
        let names: Vec<JobId> = cluster.jobs().into_iter().map(|job| job.job_id).collect();
        assert_eq!(names, [job("a"), job("b")]);
    }

    #[test]
    fn a_job_ended_when_its_execution_says_whoever_tells_of_its_end() {
        let order = 1_700_000_000_123;
        let execution = EXECUTION.replacen('{', &format!("{{\"order\": {order}, "), 1);
        let mut heard = Cluster::default();
        let view = heard.hear(finished(Status::Done, Some(&execution)));
        assert_eq!(view.expect("changed").ended_at_ms, Some(order));
        let mut asked = Cluster::default();
        asked.answered(JobStage {
            job: job("a"),
            stage: Stage::Ended {
                status: Status::Done,
                reason: None,
                ended_at: order / 1000,
            },
        });
        asked.executed(&job("a"), &execution);
        let view = asked.job(&job("a")).expect("known");
        assert_eq!(view.ended_at_ms, Some(order));
    }

    #[test]
    fn a_second_holds_what_all_workers_did_in_it() {
        let mut cluster = Cluster::default();
        let mut second = |beats: &[Event]| {
            for beat in beats {
                assert_eq!(cluster.hear(beat.clone()), None);
            }
            let snapshot = cluster.tick(true, false, Some(Queues::default()));
            (snapshot.chunks_per_second, snapshot.rows_per_second)
        };
        // what they did before we listened happened in no second of ours
        assert_eq!(
            second(&[beat("w1", 100, 1000), beat("w2", 50, 500)]),
            (0, 0)
        );
        assert_eq!(
            second(&[beat("w1", 103, 1030), beat("w2", 51, 510)]),
            (4, 40)
        );
        // started again under the same name, it counts from nothing
        assert_eq!(second(&[beat("w1", 2, 20)]), (0, 0));
        assert_eq!(second(&[beat("w1", 5, 50)]), (3, 30));
        assert_eq!(second(&[]), (0, 0));
        let snapshot = cluster.tick(false, false, None);
        assert!(!snapshot.broker.up && snapshot.history.len() == 6);
        assert!(snapshot.workers.iter().all(|worker| worker.alive));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cluster = Cluster::default();
        for number in 0..JOBS + 10 {
            let name = job(&format!("job-{number}"));
            cluster.asked(name.clone(), "a.csv");
            if number == 5 {
                cluster.hear(Event::Finished {
                    job: name,
                    status: Status::Done,
                    reason: None,
                    report: None,
                    execution: None,
                    cut: None,
                });
            }
        }
        assert_eq!(cluster.jobs().len(), JOBS);
        // the one that ended went first, then the oldest
        for gone in [5, 0, 8] {
            assert_eq!(cluster.job(&job(&format!("job-{gone}"))), None);
        }
        assert!(cluster.job(&job("job-10")).is_some());
        for number in 0..WORKERS + 10 {
            cluster.hear(beat(&format!("w{number}"), 1, 1));
        }
        assert_eq!(cluster.workers().len(), WORKERS);
        for _ in 0..POINTS + 10 {
            cluster.tick(true, true, None);
        }
        assert_eq!(cluster.tick(true, true, None).history.len(), POINTS);
    }
}
