//! When a result is durable, and acknowledged: 64 of them or those of 20 ms are flushed together; what cannot be written is
//! not acknowledged, and tried again after a pause.

use std::time::Duration;

use autoconnect_common::broker::{Delivery, Verdict};
use autoconnect_common::{Broker, machine, wait};
use tokio::time::Instant;

use super::Reducer;
use super::phase::Phase;
use crate::Error;
use crate::faults::Point;
use crate::store::Store;
use crate::trouble::{Trouble, chain};

/// Changes that are made durable and acknowledged together, at most.
pub(super) const GROUP: usize = 64;
/// How long a change waits for others to be made durable with.
pub(super) const GATHER: Duration = Duration::from_millis(20);
/// The name of the trouble that the state cannot be written.
const STATE: &str = "state";

impl<B: Broker> Reducer<'_, B> {
    /// Acknowledges a delivery once everything that was merged is durable.
    pub(super) fn settle_later(&mut self, delivery: Delivery) {
        self.settle_as(delivery, Verdict::Ack);
    }

    /// Settles a delivery so once everything that was merged is durable.
    pub(super) fn settle_as(&mut self, delivery: Delivery, verdict: Verdict) {
        self.unsettled.push((delivery, verdict));
        self.commit_at
            .get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// Whether to commit now instead of waiting for more results.
    pub(super) fn is_due(&self) -> bool {
        self.unsettled.len() >= GROUP || !self.ripe.is_empty()
    }

    /// Whether everything that was merged is durable, and with it the first copy of any duplicate.
    pub(super) fn is_all_kept(&self) -> bool {
        let is_dirty = self.store.as_ref().is_some_and(Store::is_dirty);
        !is_dirty && self.unsettled.is_empty()
    }

    /// Makes what was merged durable, then acknowledges it, then ends the jobs that are at their end.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        self.commit_at = None;
        if let Some(store) = self.store.take_if(|store| store.is_dirty()) {
            match self.on_a_thread(store, Store::commit).await? {
                Ok(()) => {}
                Err(Trouble::Killed(killed)) => return Err(killed.into()),
                Err(error) => {
                    let pause = wait::pause(self.config.retry, self.failed_commits);
                    tracing::error!(error = %chain(&error), ?pause, "state not written; nothing is acknowledged");
                    let why = format!("the reducer's state cannot be written: {}", chain(&error));
                    self.broker.health().raise(STATE, why);
                    // one failure may last a moment; after the second, the broker redelivers what we hold
                    if self.failed_commits > 0 {
                        self.unsettled.clear();
                    }
                    self.failed_commits += 1;
                    self.commit_at = Some(Instant::now() + pause);
                    return Ok(());
                }
            }
        }
        // nothing is left to write, also where the job of what could not be written was forgotten meanwhile
        if std::mem::take(&mut self.failed_commits) > 0 {
            self.broker.health().clear(STATE);
        }
        for (delivery, verdict) in self.unsettled.drain(..) {
            delivery.settle(verdict);
        }
        self.answer_begun();
        self.config.faults.at(Point::Acknowledged)?;
        self.replace_long_journals().await?;
        self.end_ripe();
        Ok(())
    }

    /// Runs `work` on the store, which this reducer then has again: its writes block.
    pub(super) async fn on_a_thread<T: Send + 'static>(
        &mut self,
        mut store: Store,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let worked = machine::block(move || {
            let worked = work(&mut store);
            (store, worked)
        });
        let (store, worked) = worked
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
        self.store = Some(store);
        Ok(worked)
    }

    /// Writes a snapshot in the place of each journal that grew too long.
    async fn replace_long_journals(&mut self) -> Result<(), Error> {
        let long = self.store.as_mut().map(Store::long_journals);
        for id in long.unwrap_or_default() {
            let Some(Phase::Open(job)) = self.jobs.get(&id) else {
                continue;
            };
            let snapshot = match job.snapshot() {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    tracing::warn!(job_id = %id, error, "snapshot not taken");
                    continue;
                }
            };
            let Some(store) = self.store.take() else {
                continue;
            };
            let name = id.clone();
            let replace = move |store: &mut Store| store.replace_journal(&name, snapshot);
            match self.on_a_thread(store, replace).await? {
                Ok(()) => {}
                Err(Trouble::Killed(killed)) => return Err(killed.into()),
                Err(error) => {
                    tracing::warn!(job_id = %id, error = %chain(&error), "snapshot not written");
                }
            }
        }
        Ok(())
    }
}
