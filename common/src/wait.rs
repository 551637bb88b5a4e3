//! How a role waits between two attempts.

use std::time::Duration;

/// The longest pause between two attempts: once a disk or a store works again, a role uses it within half a minute, and
/// meanwhile it writes only two lines a minute to the log.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause before the next attempt after `failures` earlier failures in a row and this one: `first` doubles with each of
/// them up to 30 seconds, or stays `first` where that is longer.
pub fn pause(first: Duration, failures: u32) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures));
    doubled.min(LONGEST_PAUSE.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_half_a_minute_and_is_never_shorter_than_the_first() {
        let seconds = |first, failures| pause(Duration::from_secs(first), failures).as_secs();
        let pauses: Vec<u64> = (0..7).map(|failures| seconds(1, failures)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(seconds(1, u32::MAX), 30);
        assert_eq!((seconds(60, 0), seconds(60, 9)), (60, 60));
    }
}
