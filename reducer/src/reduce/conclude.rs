//! When a job that is at its end is concluded: at once, in its turn, or once what waits at the broker was taken; and in
//! which order jobs ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use autoconnect_common::{Broker, JobId, machine};

use super::Reducer;
use super::phase::Phase;
use crate::Error;
use crate::attempts;
use crate::conclusions::Due;
use crate::ending::{Ending, PageOf, Place, Work, kept};
use crate::entry::Entry;
use crate::job::End;
use crate::store::stored_page;
use crate::together::FLUSHING;
use crate::trouble::{Trouble, chain};

/// What a thread that ends a job hands back.
pub(super) struct Attempt {
    pub(super) job: JobId,
    pub(super) number: u32,
    pub(super) result: Result<Ending, (Option<Work>, Trouble)>,
}

impl<B: Broker> Reducer<'_, B> {
    /// When the end is that is decided now, among all jobs: in milliseconds since 1970, unless the clock was set back.
    pub(super) fn next_order(&mut self) -> u64 {
        let now = machine::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(0);
        self.last_order = now.max(self.last_order.saturating_add(1));
        self.last_order
    }

    /// Notes when a job comes to its end, before it is concluded: however often its publication is tried, and by however
    /// many reducers, it does not take the place of one that came to its end later.
    pub(super) fn note_end(&mut self, id: &JobId) {
        let decided = match self.jobs.get(id) {
            Some(Phase::Open(job)) => job.order().is_none() && job.end().is_some(),
            _ => false,
        };
        if decided {
            let order = self.next_order();
            self.note(id, &Entry::AtEnd { order });
        }
    }

    /// Ends the jobs that are at their end.
    pub(super) fn end_ripe(&mut self) {
        for id in std::mem::take(&mut self.ripe) {
            let end = match self.jobs.get(&id) {
                Some(Phase::Open(job)) => job.end(),
                _ => None,
            };
            if let Some(end) = end {
                self.end(&id, end);
            }
        }
    }

    /// Ends a job: at once where there is no report to make, so that a cancellation waits for no other job; in its turn
    /// otherwise.
    pub(super) fn end(&mut self, id: &JobId, end: End) {
        match (&end, self.jobs.get(id)) {
            // what waits at the broker comes first
            (End::Report { .. }, _) if self.found.contains(id) => {}
            (End::Report { .. }, Some(Phase::Open(job))) => {
                let (job, weight) = (id.clone(), job.weight());
                self.conclusions.push(Due { job, end, weight });
                self.conclude_due();
            }
            _ => self.begin_end(id, end),
        }
    }

    /// Begins the conclusions there is room for.
    pub(super) fn conclude_due(&mut self) {
        while !self.stopping
            && let Some(Due { job: id, end, .. }) = self.conclusions.next()
        {
            let end = match self.jobs.get(&id) {
                // something may have come since: its partial after all, or a cancellation
                Some(Phase::Open(job)) => job.end().or_else(|| {
                    let still_silent = job.idle() > self.config.abandon_after;
                    still_silent.then_some(end)
                }),
                _ => None,
            };
            match end {
                Some(end) => self.begin_end(&id, end),
                None => self.conclusions.over(&id),
            }
        }
    }

    /// Takes a job apart, and has a thread conclude it.
    fn begin_end(&mut self, id: &JobId, end: End) {
        let kind = self.jobs.get(id).and_then(Phase::kind);
        let ending = Phase::Ending { kind };
        let Some(Phase::Open(job)) = self.jobs.insert(id.clone(), ending) else {
            return;
        };
        let order = job.order().unwrap_or_else(|| self.next_order());
        let ended = Box::new(job.into_ended(end, order));
        let stored = self.store.as_ref().map(|store| store.job_folder(id));
        let page: PageOf = match stored {
            Some(folder) => {
                Box::new(move |name, page, digest| Some(stored_page(&folder, name, page, digest)))
            }
            None => Box::new(kept(self.volatile_pages.take(id))),
        };
        self.carry_out(id, Work::Conclude(ended, page, None), 0);
    }

    /// Has a thread do what is left to do for a job that ends.
    pub(super) fn carry_out(&mut self, id: &JobId, work: Work, number: u32) {
        let job = id.clone();
        let place = Place {
            // side by side with the files of other jobs that end
            flushing: FLUSHING.div_ceil(self.attempts.len() + 1),
            ..self.place.clone()
        };
        let state = self.store.as_ref().map(|store| store.job_folder(id));
        machine::block_in(&mut self.attempts, move || Attempt {
            job,
            number,
            result: work.carry_out(state.as_deref(), &place),
        });
    }

    /// Takes back the attempts that are being made: a supervisor that stops us may not wait for them.
    pub(super) async fn take_attempts_back(&mut self) -> Result<(), Error> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let running = self.conclusions.running();
        let folders: Vec<PathBuf> = running.map(|job| store.job_folder(job)).collect();
        let disk = Arc::clone(&self.place.disk);
        let taken_back = machine::block(move || {
            for folder in folders {
                if let Err(error) = attempts::take_back(&*disk, &folder) {
                    tracing::warn!(error = %chain(&error), "attempt to conclude not taken back");
                }
            }
        });
        taken_back
            .await
            .map_err(|error| Error::Internal(error.to_string()))
    }
}
