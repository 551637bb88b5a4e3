//! Removes the bodies of jobs from the blob store: when a job ends, and what is left behind by a sweep.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use autoconnect_common::blob::{BlobError, Blobs, Left};
use autoconnect_common::health::Health;
use autoconnect_common::wait::or_pending;
use autoconnect_common::{Broker, JobId, machine};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::Reducer;

/// How often the store is swept: it lists every job, and what it removes is at least a day old.
const SWEEP: Duration = Duration::from_secs(3600);
/// How soon a sweep that failed is tried again: the trouble that it shows ends soon after the store works.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);
/// The name of the trouble that a failed sweep shows.
const TROUBLE: &str = "blobs";
/// How long nothing was put for a job that is not open before its bodies count as left behind. A producer that cuts a job
/// sends `begun` within seconds, which opens the job; a day is longer than a reducer is down while one cuts.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);
/// How long the mark of an ended job stays: longer than any of its chunks waits in a queue that has workers.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
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
    removing: FuturesUnordered<BoxFuture<'r, ()>>,
    /// The jobs that ended, where chunks end with the process: their marks are then removed as well.
    ended: Option<Vec<JobId>>,
}

impl<'r> Removals<'r> {
    /// Removals in `blobs`; `sweeps` says whether the store outlives this process. Sweeps that fail are shown by `health`.
    pub(super) fn new(blobs: Option<Blobs>, health: Health, sweeps: bool) -> Self {
        Self {
            // by then the reducer knows every job whose results waited in its queues
            sweep_at: (sweeps && blobs.is_some()).then(|| Instant::now() + SWEEP),
            blobs,
            health,
            sweeping: None,
            removing: FuturesUnordered::new(),
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
        self.begin(job, Removal::Bodies);
    }

    /// Tries once: a later retry could remove the new bodies of a job that was requested again. The sweep finds what is
    /// left.
    fn begin(&mut self, job: &JobId, removal: Removal) {
        let Some(blobs) = self.blobs.clone() else {
            return;
        };
        let job = job.clone();
        self.removing.push(Box::pin(async move {
            let removed = match removal {
                Removal::Bodies => blobs.end(&job).await,
                Removal::All => blobs.remove(&job).await,
            };
            if let Err(error) = removed {
                tracing::error!(job_id = %job, %error, "bodies not removed from the blob store");
            }
        }));
    }

    /// Drives removals and sweeps; returns the jobs that a sweep found.
    pub(super) async fn next(&mut self) -> BTreeMap<JobId, Left> {
        loop {
            if self.sweeping.is_none()
                && self.sweep_at.is_some_and(|at| at <= Instant::now())
                && let Some(blobs) = self.blobs.clone()
            {
                self.sweep_at = Some(Instant::now() + SWEEP);
                self.sweeping = Some(Box::pin(async move { blobs.jobs().await }));
            }
            tokio::select! {
                biased;
                Some(()) = self.removing.next() => {}
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

    /// Finishes the removals in progress, within [`LAST_REMOVALS`].
    pub(super) async fn finish(mut self) {
        let all = async {
            while self.removing.next().await.is_some() {}
            for job in self.ended.take().unwrap_or_default() {
                self.begin(&job, Removal::All);
            }
            while self.removing.next().await.is_some() {}
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
                self.removals.begin(&job, removal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
