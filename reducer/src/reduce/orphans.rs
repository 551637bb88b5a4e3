//! Jobs whose cut has begun: answers their producers once that is durable, and requests a job again once they fall silent.

use autoconnect_common::message::{Event, JobRequest};
use autoconnect_common::{Broker, JobId};
use tokio::time::Instant;

use super::Reducer;
use super::phase::Phase;
use crate::entry::Entry;
use crate::lease::Orphan;

impl<B: Broker> Reducer<'_, B> {
    /// Answers the producers whose `begun` was made durable.
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

    /// Requests the jobs again that no producer cuts any more, and gives up those that were requested too often.
    pub(super) fn look_after_orphans(&mut self) {
        // wait until what was noted before is durable
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

    /// Applies and journals an entry that comes from no message.
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

    /// Publishes the request of a job again. If this reducer dies before the confirm, the job falls silent again.
    fn ask_again(&mut self, id: JobId, request: &JobRequest) {
        let broker = self.broker;
        let message = match request.to_message() {
            Ok(message) => message,
            Err(error) => return tracing::error!(job_id = %id, %error, "request not written"),
        };
        self.requests.push(Box::pin(async move {
            if let Err(error) = broker.publish(message).await {
                tracing::error!(job_id = %id, %error, "job not asked for again");
            }
        }));
    }
}
