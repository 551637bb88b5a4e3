//! Removes the bodies of jobs from the blob store: when a job ends, and what is left behind by a sweep.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use autoconnect_common::blob::{BlobError, Blobs, Left};
use autoconnect_common::health::Health;
use autoconnect_common::wait::or_pending;
use autoconnect_common::{Broker, JobId, machine};
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::Reducer;

/// How often the store is swept: it lists every job, and what it removes is at least a day old.
const SWEEP: Duration = Duration::from_secs(3600);
/// How soon a sweep that failed is tried again: the trouble that it shows ends soon after the store works.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);
/// The name of the trouble that a failed sweep shows.
const TROUBLE: &str = "blobs sweep";
/// How long nothing was put for a job that is not open before its bodies count as left behind. A producer that cuts a job
/// sends `begun` within seconds, which opens the job; a day is longer than a reducer is down while one cuts.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);
/// How long the mark of an ended job stays: longer than any of its chunks waits in a queue that has workers.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Removals in progress at once. In a bucket each lists the job's objects and deletes some twenty at a time, each over a
/// connection of its own.
const AT_ONCE: usize = 8;
/// How long a stopping reducer still removes bodies, so that it stops soon; the next sweep removes the rest.
const LAST_REMOVALS: Duration = Duration::from_secs(2);

/// What to remove of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// Its bodies; the mark that it ended stays.
    Bodies,
    /// Everything, the mark included.
    All,
}

/// What to remove of a job that is not open.
fn due(left: Left, now: SystemTime) -> Option<Removal> {
    let age = now.duration_since(left.put).unwrap_or_default();
    match (left.has_bodies, left.is_ended) {
        // a producer put a body while its job ended
        (true, true) => (age > LEFT_BEHIND).then_some(Removal::Bodies),
        // without a mark: a chunk that still waits must be a dead one
        (_, false) => (age > LEFT_BEHIND).then_some(Removal::All),
        (false, true) => (age > REMEMBERED).then_some(Removal::All),
    }
}

/// The blob store of a reducer, and the removals in progress.
pub(super) struct Removals<'r> {
    blobs: Option<Blobs>,
    health: Health,
    /// When the next sweep begins; never where the store ends with the process.
    sweep_at: Option<Instant>,
    sweeping: Option<BoxFuture<'r, Result<BTreeMap<JobId, Left>, BlobError>>>,
    /// Removals that have not begun.
    waiting: VecDeque<(JobId, Removal)>,
    removing: FuturesUnordered<BoxFuture<'r, JobId>>,
    /// The jobs of `removing`, each with what aborts its removal.
    in_progress: BTreeMap<JobId, AbortHandle>,
    /// The jobs that ended, where chunks end with the process: their marks are then removed as well.
    ended: Option<Vec<JobId>>,
}

impl<'r> Removals<'r> {
    /// Removals in `blobs`, with [sweeps](crate::Config::sweeps) or without. Sweeps that fail are shown by `health`.
    pub(super) fn new(blobs: Option<Blobs>, health: Health, sweeps: bool) -> Self {
        Self {
            // by then the reducer knows every job whose results waited in its queues
            sweep_at: (sweeps && blobs.is_some()).then(|| Instant::now() + SWEEP),
            blobs,
            health,
            sweeping: None,
            waiting: VecDeque::new(),
            removing: FuturesUnordered::new(),
            in_progress: BTreeMap::new(),
            ended: (!sweeps).then(Vec::new),
        }
    }

    /// Removes the bodies of a job that ended.
    pub(super) fn remove(&mut self, job: &JobId) {
        if let Some(ended) = &mut self.ended
            && self.blobs.is_some()
        {
            ended.push(job.clone());
        }
        self.waiting.push_back((job.clone(), Removal::Bodies));
    }

    /// Keeps the bodies of a job that is cut again: they have the names of those that were to be removed. A sweep finds
    /// what is left of the earlier cut.
    pub(super) fn keep(&mut self, job: &JobId) {
        self.waiting.retain(|(waiting, _)| waiting != job);
        if let Some(removal) = self.in_progress.get(job) {
            removal.abort();
        }
    }

    /// Begins what waits while there is room. Tries each removal once: a later retry could remove the new bodies of a job
    /// that is cut again.
    fn begin(&mut self) {
        let Some(blobs) = &self.blobs else {
            return self.waiting.clear();
        };
        while self.removing.len() < AT_ONCE
            && let Some((job, removal)) = self.waiting.pop_front()
        {
            let (blobs, of) = (blobs.clone(), job.clone());
            let (removed, abort) = abortable(async move {
                let removed = match removal {
                    Removal::Bodies => blobs.end(&of).await,
                    Removal::All => blobs.remove(&of).await,
                };
                if let Err(error) = removed {
                    tracing::error!(job_id = %of, %error, "bodies not removed from the blob store");
                }
            });
            self.in_progress.insert(job.clone(), abort);
            self.removing.push(Box::pin(async move {
                let _aborted = removed.await;
                job
            }));
        }
    }

    /// Drives removals and sweeps; returns the jobs that a sweep found.
    pub(super) async fn next(&mut self) -> BTreeMap<JobId, Left> {
        loop {
            self.begin();
            if self.sweeping.is_none()
                && self.sweep_at.is_some_and(|at| at <= Instant::now())
                && let Some(blobs) = self.blobs.clone()
            {
                self.sweep_at = Some(Instant::now() + SWEEP);
                self.sweeping = Some(Box::pin(async move { blobs.jobs().await }));
            }
            tokio::select! {
                biased;
                Some(job) = self.removing.next() => {
                    self.in_progress.remove(&job);
                }
                found = or_pending(self.sweeping.as_mut()) => {
                    self.sweeping = None;
                    match found {
                        Ok(jobs) => {
                            self.health.clear(TROUBLE);
                            return jobs;
                        }
                        Err(error) => {
                            self.sweep_at = Some(Instant::now() + SWEEP_AGAIN);
                            self.health.raise(TROUBLE, error.to_string());
                        }
                    }
                }
                () = or_pending(self.sweep_at.map(sleep_until)), if self.sweeping.is_none() => {}
            }
        }
    }

    async fn remove_all(&mut self) {
        self.begin();
        while self.removing.next().await.is_some() {
            self.begin();
        }
    }

    /// Finishes the removals, within [`LAST_REMOVALS`].
    pub(super) async fn finish(mut self) {
        let all = async {
            self.remove_all().await;
            for job in self.ended.take().unwrap_or_default() {
                self.waiting.push_back((job, Removal::All));
            }
            self.remove_all().await;
        };
        if tokio::time::timeout(LAST_REMOVALS, all).await.is_err() {
            tracing::warn!("bodies of ended jobs are left in the blob store, for a sweep");
        }
    }
}

impl<B: Broker> Reducer<'_, B> {
    /// Removes what is left behind of jobs that are not open.
    pub(super) fn sweep(&mut self, found: BTreeMap<JobId, Left>) {
        let now = machine::now();
        for (job, left) in found {
            if self.jobs.contains_key(&job) {
                continue;
            }
            if let Some(removal) = due(left, now) {
                self.removals.waiting.push_back((job, removal));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use autoconnect_common::Body;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// What is removed of a job with that content and age.
    fn removed(has_bodies: bool, is_ended: bool, age: Duration) -> Option<Removal> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let left = Left {
            put: now - age,
            has_bodies,
            is_ended,
        };
        due(left, now)
    }

    #[test]
    fn what_is_left_of_a_job_that_is_not_marked_as_ended_goes_after_a_day() {
        let day = Duration::from_secs(86_400);
        for has_bodies in [true, false] {
            assert_eq!(removed(has_bodies, false, Duration::ZERO), None);
            assert_eq!(removed(has_bodies, false, day - MINUTE), None);
            let all = Some(Removal::All);
            assert_eq!(removed(has_bodies, false, day + MINUTE), all);
        }
    }

    #[test]
    fn the_mark_of_an_ended_job_stays_for_a_month_and_late_bodies_for_a_day() {
        let day = Duration::from_secs(86_400);
        assert_eq!(removed(true, true, day - MINUTE), None);
        assert_eq!(removed(true, true, day * 60), Some(Removal::Bodies));
        assert_eq!(removed(true, true, day + MINUTE), Some(Removal::Bodies));
        assert_eq!(removed(false, true, day * 30 - MINUTE), None);
        assert_eq!(removed(false, true, day * 30 + MINUTE), Some(Removal::All));
    }

    #[test]
    fn a_clock_that_was_set_back_removes_nothing() {
        let put = SystemTime::now() + MINUTE;
        let left = Left {
            put,
            has_bodies: true,
            is_ended: false,
        };
        assert_eq!(due(left, SystemTime::now()), None);
    }

    #[tokio::test]
    async fn the_bodies_of_a_job_that_is_cut_again_are_kept()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().display().to_string().parse()?;
        let blobs = Blobs::open(&place, 100)?;
        let jobs: [JobId; 2] = ["count-1".parse()?, "count-2".parse()?];
        let body = Body::from("a body");
        for job in &jobs {
            blobs.put(job, &body, body.digest()).await?;
        }
        let mut removals = Removals::new(Some(blobs.clone()), Health::default(), true);
        for job in &jobs {
            removals.remove(job);
        }
        removals.keep(&jobs[0]);
        removals.begin();
        removals.remove(&jobs[0]);
        removals.keep(&jobs[0]);
        removals.finish().await;
        let left = blobs.jobs().await?;
        assert!(
            left[&jobs[0]].has_bodies && !left[&jobs[0]].is_ended,
            "{left:?}"
        );
        assert!(
            !left[&jobs[1]].has_bodies && left[&jobs[1]].is_ended,
            "{left:?}"
        );
        Ok(())
    }
}
