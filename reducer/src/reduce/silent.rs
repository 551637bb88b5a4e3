//! Gives up idle jobs, once the broker holds nothing of them either.

use std::time::Duration;

use autoconnect_common::Broker;
use tokio::time::Instant;

use super::Reducer;
use super::phase::Phase;

/// How long a job waits for a requeued chunk while no queue holds a chunk. A requeue publishes the chunk right after its
/// notice; the broker requeues the chunk of a dead worker within the 30 seconds of a missed heartbeat.
pub(super) const REQUEUED: Duration = Duration::from_secs(120);

impl<B: Broker> Reducer<'_, B> {
    /// Ends the jobs that are idle for too long; has the queues checked while one is idle. Time in which the reducer
    /// consumed nothing does not count.
    pub(super) fn give_up_silent(&mut self) {
        let (mut abandoned, mut requeued) = (Vec::new(), Vec::new());
        let (mut silent, mut awaiting) = (Duration::ZERO, Duration::ZERO);
        let may_wait = self.config.abandon_after.min(REQUEUED);
        for (id, phase) in &mut self.jobs {
            let Phase::Open(job) = phase else { continue };
            let idle = job.idle();
            silent = silent.max(idle);
            if idle > self.config.abandon_after {
                let is_over = self.silence.is_final(job.has_manifest());
                let is_ours = job.is_known_to(self.registry) && !self.conclusions.knows(id);
                // the last to be tried before a job is given up
                if is_over && is_ours && !job.redo_before_giving_up() {
                    abandoned.push((id.clone(), job.abandon(idle)));
                }
            } else if idle > may_wait / 2 && job.awaits_only_requeued() {
                awaiting = awaiting.max(idle);
                if idle > may_wait && self.requeued.is_final(true) {
                    requeued.push(id.clone());
                }
            }
        }
        self.silence.watch(silent);
        self.requeued.watch(awaiting);
        for id in requeued {
            if let Some(Phase::Open(job)) = self.jobs.get_mut(&id) {
                tracing::warn!(job_id = %id, "what was to be requeued never came: it counts as dead again");
                job.give_requeued_up();
                self.ripe.insert(id);
                self.commit_at.get_or_insert_with(Instant::now);
            }
        }
        for (id, end) in abandoned {
            tracing::warn!(job_id = %id, "job abandoned");
            self.end(&id, end);
        }
    }
}
