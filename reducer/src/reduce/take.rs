//! What a message that was taken does: its verdict is kept, acknowledged at once or later, dropped as late, or the message
//! is dead-lettered.

use autoconnect_common::broker::Delivery;
use autoconnect_common::message::{Annex, Change, ReducerInput};
use autoconnect_common::{Broker, JobId};
use tokio::time::Instant;

use super::Reducer;
use super::phase::Phase;
use crate::ending::pages_folder;
use crate::entry::Entry;
use crate::job::{Absorbed, Job};

impl<B: Broker> Reducer<'_, B> {
    /// Takes one delivery in.
    pub(super) fn take(&mut self, delivery: Delivery) {
        self.took_at = Instant::now();
        match ReducerInput::from_message(&delivery.message) {
            Ok(ReducerInput::Change(change)) => self.take_change(delivery, &change),
            Ok(ReducerInput::Question(question)) => {
                self.ask(question);
                delivery.ack();
            }
            Ok(ReducerInput::Newest(wish)) => {
                self.choose(wish);
                delivery.ack();
            }
            Ok(ReducerInput::Fetch(asked)) => {
                self.announcer.part(asked);
                delivery.ack();
            }
            // it lies in the dead queue of requests as it is
            Err(error) if delivery.message.kind == "job" => {
                tracing::warn!(%error, "a dead request does not say which job it is of");
                self.settle_later(delivery);
            }
            Err(error) => self.dead_letter(delivery, &error.to_string()),
        }
    }

    /// Has the job of a change absorb it, unless the job ended.
    fn take_change(&mut self, delivery: Delivery, change: &Change) {
        let id = change.job();
        let ended = self.tombstones.contains(id);
        if ended && !self.may_begin_again(change) {
            return self.take_late(delivery, change);
        }
        let begins_again = ended && !self.jobs.contains_key(id);
        let fresh = || match (ended, Box::new(Job::new(id.clone()))) {
            (false, job) => Phase::Open(job),
            (true, job) => Phase::Again(job),
        };
        let job = match self.jobs.entry(id.clone()).or_insert_with(fresh) {
            Phase::Open(job) | Phase::Again(job) => job,
            Phase::Ending { .. } | Phase::Waiting { .. } => {
                return self.take_late(delivery, change);
            }
        };
        if let Change::Begun(begun) = change {
            self.removals.keep(id);
            self.begun.push((id.clone(), begun.cut.clone()));
        }
        let entry = Entry::from(change);
        let absorbed = job.absorb(&entry, self.registry);
        let known = !job.is_blank();
        if job.end().is_some() {
            self.ripe.insert(id.clone());
        }
        let came_again = match (&entry, change) {
            (Entry::Page(page), Change::Annex(annex)) if job.has_page(page) => Some(annex),
            _ => None,
        };
        if !known {
            self.jobs.remove(id);
        }
        if begins_again
            && known
            && let Some(store) = &mut self.store
        {
            store.begin_again(id);
        }
        self.absorbed(delivery, change, absorbed, came_again);
        self.note_end(change.job());
    }

    /// Does what the verdict on a change asks for.
    fn absorbed(
        &mut self,
        delivery: Delivery,
        change: &Change,
        absorbed: Absorbed,
        came_again: Option<&Annex>,
    ) {
        let (id, entry) = (change.job(), Entry::from(change));
        match absorbed {
            Absorbed::News => {
                self.summary.merged += u64::from(matches!(change, Change::Partial(_)));
                self.keep_and_settle(delivery, &entry, change);
            }
            Absorbed::Duplicate => {
                self.summary.duplicates += 1;
                if let Some(store) = &mut self.store {
                    store.touch(id);
                    // the first copy may be damaged by now
                    if let Some(annex) = came_again {
                        store.keep_page(id, &annex.name, annex.page, &annex.body);
                    }
                }
                if self.is_all_kept() {
                    delivery.ack();
                } else {
                    self.settle_later(delivery);
                }
            }
            Absorbed::Renewed => self.settle_later(delivery),
            Absorbed::Stale(reason) => {
                tracing::warn!(job_id = %id, reason, "result of another cut dropped");
                self.summary.stale += 1;
                self.settle_later(delivery);
            }
            // a dead chunk is in the dead queue of chunks as it is
            Absorbed::Refused(reason) if delivery.message.kind == "chunk" => {
                tracing::warn!(job_id = %id, reason, "dead notice refused");
                self.settle_later(delivery);
            }
            Absorbed::Refused(reason) => self.dead_letter(delivery, &reason),
            Absorbed::Last(entry) => {
                tracing::error!(job_id = %id, ?entry, "job given up");
                self.keep_and_settle(delivery, &entry, change);
            }
            Absorbed::Harmful(entry) => {
                let reason = match &entry {
                    Entry::Dead { reason, .. } | Entry::Failed { reason } => reason.to_string(),
                    _ => String::new(),
                };
                tracing::error!(job_id = %id, reason, "result that does its job harm");
                let kept = self.keep(id, &entry, change);
                self.dead_letter(delivery, kept.err().as_deref().unwrap_or(&reason));
            }
        }
    }

    /// Keeps what changed a job; acknowledges its message once that is durable, or dead-letters it where it cannot be kept.
    fn keep_and_settle(&mut self, delivery: Delivery, entry: &Entry<'_>, change: &Change) {
        match self.keep(change.job(), entry, change) {
            Ok(()) => self.settle_later(delivery),
            Err(reason) => self.dead_letter(delivery, &reason),
        }
    }

    /// Keeps what changed a job: in the journal, or nowhere but in memory.
    fn keep(&mut self, id: &JobId, entry: &Entry<'_>, change: &Change) -> Result<(), String> {
        let page = match change {
            Change::Annex(annex) if matches!(entry, Entry::Page(_)) => Some(annex),
            _ => None,
        };
        match (&mut self.store, page) {
            (Some(store), page) => {
                if let Some(annex) = page {
                    store.keep_page(id, &annex.name, annex.page, &annex.body);
                }
                store.append(id, entry)
            }
            (None, Some(annex)) => {
                let folder = pages_folder(&self.place.results, id);
                self.volatile_pages
                    .keep(
                        &*self.place.disk,
                        id,
                        (&annex.name, annex.page),
                        (annex.body.digest(), &annex.body),
                        &folder,
                    )
                    .map_err(|error| format!("page {} of {}: {error}", annex.page, annex.name))
            }
            (None, None) => Ok(()),
        }
    }

    /// Drops a result of a job that ended, and announces the end again: at once where a producer cuts the job or it is
    /// cancelled, at the next tick where its workers may still work chunks of a job without a report.
    fn take_late(&mut self, delivery: Delivery, change: &Change) {
        let id = change.job();
        self.summary.late += 1;
        tracing::debug!(job_id = %id, id = delivery.message.id, "late result dropped");
        match change {
            Change::Begun(begun) => self.announce_to(id, Some(begun.cut.clone())),
            Change::Manifest(_) | Change::Cancel(_) => self.announce(id),
            _ if self
                .tombstones
                .get(id)
                .is_some_and(|e| !e.status.has_report()) =>
            {
                self.pointless.insert(id.clone());
            }
            _ => {}
        }
        delivery.ack();
    }
}
