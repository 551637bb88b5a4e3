//! Jobs that ended and whose results were removed: keeps their new results beside their tombstones until they are
//! requested again.

use std::time::Duration;

use autoconnect_common::message::Change;
use autoconnect_common::{Broker, JobId};
use tokio::time::Instant;

use super::Reducer;
use super::commit::GATHER;
use super::phase::Phase;
use crate::ending::Whereabouts;
use crate::entry::Entry;
use crate::job::Job;

/// How long the folder of all results may be missing before the results of a job that is requested again count as removed:
/// longer than a remount of its file system takes.
const AWAY: Duration = Duration::from_secs(5);

impl<B: Broker> Reducer<'_, B> {
    /// Whether `change` may belong to another run of an ended job, because its results are missing. Whether they were
    /// removed is decided later.
    pub(super) fn may_begin_again(&self, change: &Change) -> bool {
        let wish = matches!(change, Change::Cancel(_) | Change::Revived(_));
        let id = change.job();
        let begun = matches!(self.jobs.get(id), Some(Phase::Again(_)));
        !wish && (begun || self.place.results_of(id) != Whereabouts::There)
    }

    /// Decides on ended jobs with new results after their folders went missing: a producer that cuts or has cut a job
    /// reopens it; it stays ended if its folder is back, or if nothing more arrives for long.
    pub(super) fn decide_again(&mut self) {
        let again = self.jobs.iter().filter_map(|(id, phase)| match phase {
            Phase::Again(job) => Some((id.clone(), job.is_asked_for(), job.idle())),
            _ => None,
        });
        for (id, asked_for, idle) in again.collect::<Vec<_>>() {
            let opens = match self.place.results_of(&id) {
                Whereabouts::There => false,
                Whereabouts::Removed if asked_for => true,
                Whereabouts::Away if asked_for && idle > AWAY => true,
                Whereabouts::Removed | Whereabouts::Away if idle <= self.config.abandon_after => {
                    continue;
                }
                Whereabouts::Removed | Whereabouts::Away => false,
            };
            match self.jobs.remove(&id) {
                Some(Phase::Again(job)) if opens => self.open_again(id, job),
                _ => self.drop_again(&id),
            }
        }
    }

    fn open_again(&mut self, id: JobId, job: Box<Job>) {
        tracing::info!(job_id = %id, "its results were removed, and it was asked for again: the job begins anew");
        self.tombstones.remove(&id);
        if let Some(store) = &mut self.store {
            store.reopen(&id);
        }
        self.ripe.insert(id.clone());
        self.jobs.insert(id.clone(), Phase::Open(job));
        self.note(&id, &Entry::Anew);
        self.note_end(&id);
        self.commit_at
            .get_or_insert_with(|| Instant::now() + GATHER);
    }

    fn drop_again(&mut self, id: &JobId) {
        tracing::info!(job_id = %id, "what came of an ended job is dropped");
        self.volatile_pages.take(id);
        if let Some(store) = &mut self.store {
            store.forget(id);
        }
    }
}
