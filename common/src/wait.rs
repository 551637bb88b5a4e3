//! How a role waits: for what may be absent, and between two attempts.

use std::future::{Future, pending};
use std::time::Duration;

/// The longest pause between two attempts: once a disk or a store works again, a role uses it within half a minute, and
/// meanwhile it writes only two lines a minute to the log.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Awaits `future`; pending forever where there is none. Cancel-safe if `future` is.
pub async fn or_pending<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// The pause before the next attempt after `failures` earlier failures in a row and this one: `first` doubles with each of
/// them up to 30 seconds, or stays `first` where that is longer.
pub fn pause(first: Duration, failures: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures));
    doubled.min(LONGEST_PAUSE.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_is_awaited_and_what_is_absent_never_comes() {
        assert_eq!(or_pending(Some(async { 7 })).await, 7);
        let absent = or_pending(None::<std::future::Ready<i32>>);
        let first = tokio::select! {
            biased;
            found = absent => found,
            other = async { 8 } => other,
        };
        assert_eq!(first, 8);
    }

    #[test]
    fn a_pause_doubles_up_to_half_a_minute_and_is_never_shorter_than_the_first() {
        let seconds = |first, failures| pause(Duration::from_secs(first), failures).as_secs();
        let pauses: Vec<u64> = (0..7).map(|failures| seconds(1, failures)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(seconds(1, u32::MAX), 30);
        assert_eq!((seconds(60, 0), seconds(60, 9)), (60, 60));
    }
}
