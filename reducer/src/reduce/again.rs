//! Jobs that ended and whose results are gone: what still comes of them is kept beside their tombstones until somebody asks for
//! them again.

use std::time::Duration;

use autoconnect_common::message::Outcome;
use autoconnect_common::{Broker, JobId};
use tokio::time::Instant;

use super::Reducer;
use super::commit::GATHER;
use super::phase::Phase;
use crate::ending::Whereabouts;
use crate::entry::Entry;
use crate::job::Job;

/// How long the folder of results may be away, as that of a whole file system, before a job that is asked for again
/// meanwhile is taken for one whose results somebody removed.
const AWAY: Duration = Duration::from_secs(5);

impl<B: Broker> Reducer<'_, B> {
    /// Whether `outcome` may belong to another life of a job that ended: its results are gone. Where they are only away,
    /// time tells.
    pub(super) fn may_begin_again(&self, outcome: &Outcome) -> bool {
        let wish = matches!(outcome, Outcome::Cancel(_) | Outcome::Revived(_));
        let id = outcome.job();
        let begun = matches!(self.jobs.get(id), Some(Phase::Again(_)));
        !wish && (begun || self.place.results_of(id) != Whereabouts::There)
    }

    /// Decides on the jobs that ended and of which something came after their results were gone: a producer that cuts them
    /// or has cut them opens them again; results that are back, or nothing for long, show that they ended after all.
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
        self.ended.remove(&id);
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
