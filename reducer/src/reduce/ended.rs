//! What follows once a thread ended a job: its end is announced and its state removed, or it is tried again where the disk
//! refused it.

use autoconnect_common::message::Status;
use autoconnect_common::{Broker, JobId, wait};
use tokio::time::Instant;

use super::Reducer;
use super::conclude::Attempt;
use super::phase::Phase;
use crate::ending::Work;
use crate::faults::Point;
use crate::store::Store;
use crate::trouble::Trouble;
use crate::{Error, announce};

impl<B: Broker> Reducer<'_, B> {
    /// Takes what a thread hands back that ended a job, and what others have handed back by now.
    pub(super) async fn concluded(
        &mut self,
        first: Result<Attempt, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let mut next = Some(first);
        let mut over = Vec::new();
        while let Some(attempt) = next {
            let attempt = attempt.map_err(|error| Error::Internal(error.to_string()))?;
            over.extend(self.took_end(attempt)?);
            next = self.attempts.try_join_next();
        }
        if let Some(store) = self.store.take_if(|_| !over.is_empty()) {
            let forget = move |store: &mut Store| over.iter().for_each(|job| store.forget(job));
            self.on_a_thread(store, forget).await?;
        }
        self.conclude_due();
        Ok(())
    }

    /// Announces the end of a job, if it ended; returns the job then.
    fn took_end(&mut self, attempt: Attempt) -> Result<Option<JobId>, Error> {
        let Attempt { job, number, .. } = attempt;
        let ending = match attempt.result {
            Ok(ending) => ending,
            Err((_, Trouble::Killed(killed))) => return Err(killed.into()),
            Err((work, error)) => {
                self.try_again(job, number, work, error)?;
                return Ok(None);
            }
        };
        self.conclusions.over(&job);
        self.broker.health().clear(&unwritten(&job));
        tracing::info!(job_id = %job, status = ?ending.status, reason = ending.reason, "job ended");
        match ending.status {
            Status::Done => self.summary.done += 1,
            Status::Incomplete => self.summary.incomplete += 1,
            Status::Failed => self.summary.failed += 1,
            Status::Cancelled => self.summary.cancelled += 1,
        }
        self.jobs.remove(&job);
        self.tombstones.insert(ending.tombstone());
        self.announce(&job);
        self.removals.remove(&job);
        self.config.faults.at(Point::Announced)?;
        Ok(Some(job))
    }

    /// Lets a job wait until what the disk refused is tried again; without a state folder, the reducer ends.
    fn try_again(
        &mut self,
        job: JobId,
        number: u32,
        work: Option<Work>,
        error: Trouble,
    ) -> Result<(), Error> {
        let (Some(work), Trouble::Disk { what, source }) = (work, error) else {
            return Err(Error::Internal(format!("job {job} was not concluded")));
        };
        if self.config.state.is_none() {
            return Err(Error::Publish { what, source });
        }
        let pause = wait::pause(self.config.retry, number);
        tracing::error!(job_id = %job, error = %source, ?pause, "report not published: cannot {what}");
        let why = format!("the report of job {job} is not written: cannot {what}: {source}");
        self.broker.health().raise(&unwritten(&job), why);
        self.conclusions.stuck(&job);
        let waiting = Phase::Waiting {
            work,
            attempt: number + 1,
            at: Instant::now() + pause,
        };
        self.jobs.insert(job, waiting);
        Ok(())
    }

    /// Announces how a job ended.
    pub(super) fn announce(&mut self, job: &JobId) {
        self.announce_to(job, None);
    }

    /// Announces how a job ended, as an answer to this attempt to cut it.
    pub(super) fn announce_to(&mut self, job: &JobId, cut: Option<JobId>) {
        if let Some(tombstone) = self.tombstones.get(job) {
            self.announcer.end(announce::End {
                job: job.clone(),
                status: tombstone.status,
                reason: tombstone.reason,
                cut,
            });
        }
    }
}

/// The name of the trouble that the report of a job cannot be written.
fn unwritten(job: &JobId) -> String {
    format!("report of {job}")
}
