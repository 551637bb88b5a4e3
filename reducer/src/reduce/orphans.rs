//! Jobs whose cut has begun: their producers are answered once that is durable, and asked for again once they fall silent.

use autoconnect_common::message::{Event, JobRequest};
use autoconnect_common::{Broker, JobId};
use tokio::time::Instant;

use super::Reducer;
use super::phase::Phase;
use crate::asked::Orphan;
use crate::entry::Entry;

impl<B: Broker> Reducer<'_, B> {
    /// Answers the producers that began to cut a job, once that is durable.
    pub(super) fn answer_begun(&mut self) {
        for (job, cut) in std::mem::take(&mut self.begun) {
            if let Some(Phase::Open(open)) = self.jobs.get(&job) {
                let (done, _, _) = open.counts();
                self.announcer.news(Event::Begun {
                    whole: open.is_cut(),
                    job,
                    cut,
                    done,
                });
            }
        }
    }

    /// Asks again for the jobs that no producer cuts any more, and gives up those that were asked for too often.
    pub(super) fn look_after_orphans(&mut self) {
        // what cannot be made durable is not done either
        if self.failed_commits > 0 {
            return;
        }
        let lease = self.config.lease;
        let orphans = self.jobs.iter().filter_map(|(id, phase)| match phase {
            Phase::Open(job) => Some((id.clone(), job.orphan(lease)?)),
            Phase::Again(_) | Phase::Ending { .. } | Phase::Waiting { .. } => None,
        });
        for (id, orphan) in orphans.collect::<Vec<_>>() {
            match orphan {
                Orphan::AskAgain(request) => {
                    tracing::warn!(job_id = %id, "no producer cuts the job any more: it is asked for again");
                    self.note(&id, &Entry::AskedAgain);
                    self.ask_again(id, &request);
                }
                Orphan::GiveUp(reason) => {
                    tracing::error!(job_id = %id, reason, "job given up");
                    let reason = reason.into();
                    self.note(&id, &Entry::Failed { reason });
                }
            }
        }
    }

    /// Has a job absorb an entry that no message brought.
    pub(super) fn note(&mut self, id: &JobId, entry: &Entry<'_>) {
        let Some(Phase::Open(job)) = self.jobs.get_mut(id) else {
            return;
        };
        job.absorb(entry, self.registry);
        if job.end().is_some() {
            self.ripe.insert(id.clone());
        }
        if let Some(store) = &mut self.store
            && let Err(error) = store.append(id, entry)
        {
            tracing::error!(job_id = %id, error, "entry of the journal not written");
        }
        self.commit_at.get_or_insert_with(Instant::now);
    }

    /// Sends the request of a job once more. Should it be lost with us, the job falls silent again.
    fn ask_again(&mut self, id: JobId, request: &JobRequest) {
        let broker = self.broker;
        let message = match request.to_message() {
            Ok(message) => message,
            Err(error) => return tracing::error!(job_id = %id, %error, "request not written"),
        };
        self.asking.push(Box::pin(async move {
            if let Err(error) = broker.publish(message).await {
                tracing::error!(job_id = %id, %error, "job not asked for again");
            }
        }));
    }
}
