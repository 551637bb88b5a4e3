//! Limits how far a job runs ahead of its reducer: a large job leaves room in the queue of chunks for small ones of
//! others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The most bytes of one job's chunks that are not merged: a quarter of what the queue of chunks holds, and more than a
/// cluster works between two progress events of its reducer.
const AHEAD: u64 = 64 << 20;
/// How long a waiting job may see no chunk merged before the cut continues without this limit: chunks may have been lost
/// with their queue, and the job needs its manifest to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A job's progress, as the reducer reports it.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Chunks merged or dead.
    done: AtomicU64,
    moved: Notify,
}

impl Ahead {
    /// Records how many chunks are merged or dead.
    pub(crate) fn done(&self, chunks: u64) {
        if self.done.fetch_max(chunks, Ordering::Relaxed) < chunks {
            self.moved.notify_one();
        }
    }

    /// Waits until a job that sent that much may send more; `false` where nothing was merged for [`PATIENCE`].
    pub(crate) async fn room(&self, chunks: u64, bytes: u64) -> bool {
        while self.waiting(chunks, bytes) > AHEAD {
            let moved = tokio::time::timeout(PATIENCE, self.moved.notified());
            if moved.await.is_err() {
                return false;
            }
        }
        true
    }

    /// Bytes that are not merged, as if all chunks sent had one size.
    fn waiting(&self, chunks: u64, bytes: u64) -> u64 {
        let waiting = chunks.saturating_sub(self.done.load(Ordering::Relaxed));
        let share = u128::from(bytes) * u128::from(waiting) / u128::from(chunks.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_waits_once_it_is_far_ahead_and_goes_on_when_chunks_are_merged() {
        let ahead = Ahead::default();
        assert!(ahead.room(0, 0).await);
        assert!(ahead.room(64, AHEAD).await);
        let (room, ()) = tokio::join!(ahead.room(128, 2 * AHEAD), async {
            for done in [1, 63, 64] {
                tokio::time::sleep(PATIENCE / 2).await;
                ahead.done(done);
            }
        });
        assert!(room);
        // late progress changes nothing
        ahead.done(3);
        assert!(ahead.room(128, 2 * AHEAD).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_of_which_nothing_is_merged_any_more_does_not_wait_for_ever() {
        let ahead = Ahead::default();
        assert!(!ahead.room(128, 2 * AHEAD).await);
    }

    #[test]
    fn a_job_that_is_cut_again_is_not_ahead_of_what_was_merged_before() {
        let ahead = Ahead::default();
        ahead.done(1000);
        assert_eq!(ahead.waiting(10, 10 * AHEAD), 0);
    }
}
