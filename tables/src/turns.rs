//! Lets several threads work on the pieces of one source, and takes their results in the order of the pieces.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use autoconnect_common::CutError;

/// A source of pieces, taken by any thread, and an absorber of what became of them, in order.
///
/// No thread runs away: at most so many pieces are taken ahead of the one whose turn it is.
pub struct Turns<Source, Absorber, Piece> {
    source: Mutex<Source>,
    order: Mutex<Order<Absorber, Piece>>,
    moved: Condvar,
    ahead: u64,
}

struct Order<Absorber, Piece> {
    absorber: Absorber,
    /// Pieces that are done before their turn.
    early: BTreeMap<u64, Piece>,
    taken: u64,
    next: u64,
    stopped: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<Source, Absorber, Piece> Turns<Source, Absorber, Piece> {
    /// For `threads` threads.
    pub fn new(source: Source, absorber: Absorber, threads: usize) -> Self {
        let order = Order {
            absorber,
            early: BTreeMap::new(),
            taken: 0,
            next: 0,
            stopped: false,
        };
        Self {
            source: Mutex::new(source),
            order: Mutex::new(order),
            moved: Condvar::new(),
            ahead: 3 * threads as u64,
        }
    }

    /// Takes the next piece off the source, once it is not too far ahead. A source that failed is never asked again: what
    /// it says then would hide what was wrong.
    ///
    /// # Errors
    /// What `take` says; [`CutError::Cancelled`] after that and after [`Turns::stop`].
    pub fn take<T>(
        &self,
        take: impl FnOnce(&mut Source) -> Result<T, CutError>,
    ) -> Result<T, CutError> {
        let too_far =
            |order: &mut Order<_, _>| order.taken >= order.next + self.ahead && !order.stopped;
        let mut order = self
            .moved
            .wait_while(lock(&self.order), too_far)
            .unwrap_or_else(PoisonError::into_inner);
        order.taken += 1;
        drop(order);
        let mut source = lock(&self.source);
        if lock(&self.order).stopped {
            return Err(CutError::Cancelled);
        }
        // told before the next thread gets at the source
        take(&mut source).inspect_err(|_| self.stop())
    }

    /// Hands in piece number `index`, and absorbs every piece whose turn it is now.
    ///
    /// # Errors
    /// What `absorb` says.
    pub fn absorb<T>(
        &self,
        index: u64,
        piece: Piece,
        mut absorb: impl FnMut(&mut Absorber, Piece) -> Result<T, CutError>,
    ) -> Result<Vec<T>, CutError> {
        let mut order = lock(&self.order);
        let Order {
            absorber,
            early,
            next,
            ..
        } = &mut *order;
        early.insert(index, piece);
        let mut absorbed = Vec::new();
        while let Some(piece) = early.remove(next) {
            absorbed.push(absorb(absorber, piece)?);
            *next += 1;
        }
        drop(order);
        self.moved.notify_all();
        Ok(absorbed)
    }

    /// Stops every thread at its next piece; a thread that fails or crashes leaves its turn open forever.
    pub fn stop(&self) {
        lock(&self.order).stopped = true;
        self.moved.notify_all();
    }

    /// The absorber, after all threads.
    pub fn into_absorber(self) -> Absorber {
        self.order
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .absorber
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pieces_are_absorbed_in_order_by_any_number_of_threads() {
        for threads in 1..=4 {
            let turns = Turns::new(0..200_u64, Vec::new(), threads);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while let Some(piece) =
                            turns.take(|source| Ok(source.next())).expect("not stopped")
                        {
                            std::thread::sleep(Duration::from_micros(piece * 7919 % 97));
                            let absorb = |list: &mut Vec<u64>, piece| {
                                list.push(piece);
                                Ok(())
                            };
                            turns.absorb(piece, piece, absorb).expect("absorbed");
                        }
                    });
                }
            });
            assert_eq!(turns.into_absorber(), (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_source_that_failed_is_not_asked_again() {
        for _ in 0..100 {
            let turns: Turns<_, (), ()> = Turns::new(0, (), 4);
            let fail = |asked: &mut u32| {
                *asked += 1;
                Err::<(), _>(CutError::Refused(format!("asked {asked} times")))
            };
            let mut said: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| turns.take(fail))).collect();
                let ends = threads
                    .into_iter()
                    .map(|thread| thread.join().expect("it ends"));
                ends.map(|end| end.expect_err("failed").to_string())
                    .collect()
            });
            said.sort_by_key(|said| !said.starts_with("asked"));
            assert_eq!(said[0], "asked 1 times");
            assert!(
                said[1..]
                    .iter()
                    .all(|said| *said == CutError::Cancelled.to_string()),
                "{said:?}"
            );
        }
    }

    #[test]
    fn a_thread_that_leaves_its_turn_open_stops_the_others_when_it_says_so() {
        let turns: Turns<_, (), u64> = Turns::new(0..100_u64, (), 1);
        assert_eq!(turns.take(|source| Ok(source.next())).ok(), Some(Some(0)));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                loop {
                    if turns.take(|source| Ok(source.next())).is_err() {
                        return;
                    }
                }
            });
            turns.stop();
            other.join().expect("it ends");
        });
    }
}
