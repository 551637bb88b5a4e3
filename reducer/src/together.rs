//! Flushes several files at the same time: flushing is waiting, not work.

use std::sync::{Mutex, PoisonError};

use autoconnect_common::machine;

use crate::trouble::Trouble;

/// Files that are flushed at the same time: enough to overlap the waiting, and few descriptors.
pub(crate) const FLUSHING: usize = 8;

/// Calls `flush` on every item, up to `at_once` at the same time, and blocks until all are done.
///
/// # Errors
/// The first [`Trouble`]; nothing is begun after it.
pub(crate) fn together<T: Send>(
    items: impl IntoIterator<Item = T>,
    at_once: usize,
    flush: impl Fn(T) -> Result<(), Trouble> + Sync,
) -> Result<(), Trouble> {
    let items: Vec<T> = items.into_iter().collect();
    let threads = items.len().min(at_once);
    let left = Mutex::new((items.into_iter(), Ok(())));
    let lock = || left.lock().unwrap_or_else(PoisonError::into_inner);
    let go_on = || {
        loop {
            let next = match &mut *lock() {
                (items, Ok(())) => items.next(),
                (_, Err(_)) => None,
            };
            let Some(item) = next else { break };
            if let Err(trouble) = flush(item) {
                lock().1 = Err(trouble);
            }
        }
    };
    if machine::is_simulated() {
        go_on();
    } else {
        std::thread::scope(|threads_of| {
            for _ in 1..threads {
                threads_of.spawn(go_on);
            }
            go_on();
        });
    }
    let (_, done) = left.into_inner().unwrap_or_else(PoisonError::into_inner);
    done
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn so_many_at_the_same_time_and_each_of_them_once() {
        let (all, done) = (Barrier::new(4), Mutex::new(BTreeSet::new()));
        let flush = |item| {
            // passes only once four threads wait here
            all.wait();
            assert!(done.lock().expect("not poisoned").insert(item));
            Ok(())
        };
        together(0..8, 4, flush).expect("flushed");
        assert_eq!(done.into_inner().expect("not poisoned").len(), 8);
    }

    #[test]
    fn nothing_is_begun_after_trouble() {
        let done = Mutex::new(Vec::new());
        let flush = |item| {
            done.lock().expect("not poisoned").push(item);
            match item {
                3 => Err(Trouble::Rendering("3".to_owned())),
                _ => Ok(()),
            }
        };
        assert!(together(0..8, 1, flush).is_err());
        assert_eq!(done.into_inner().expect("not poisoned"), [0, 1, 2, 3]);
    }
}
