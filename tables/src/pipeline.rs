//! Reads blocks in parallel, and gathers their rows in file order.
//!
//! ```text
//! blocks of lines --(threads: read)--> rows of a block --(one at a time, in file order: gather)--> output --(threads: send)-->
//! ```
//!
//! A kind implements [`Stage`], the work of one thread; [`run`] runs it on several, over an [`OrderedPipeline`].
//!
//! ```
//! use autoconnect_common::CutError;
//! use autoconnect_tables::blocks::Block;
//! use autoconnect_tables::pipeline::{self, Stage};
//!
//! /// Joins the words of a file, which stand one on a line.
//! struct Words;
//!
//! impl Stage for Words {
//!     type Rows = Vec<String>;
//!     type Gatherer = String;
//!     type Output = u64;
//! #   fn buffer(&mut self) -> Vec<u8> { Vec::new() }
//! #   fn rows(rows: &u64) -> u64 { *rows }
//! #   fn send(&mut self, _: u64) -> Result<(), CutError> { Ok(()) }
//!     // on any thread
//!     fn read(&mut self, block: Block) -> Result<Vec<String>, CutError> {
//!         let text = String::from_utf8_lossy(&block.buffer[block.begin..block.end]);
//!         Ok(text.lines().map(str::to_owned).collect())
//!     }
//!     // in file order, whichever thread read the words
//!     fn gather(&mut self, all: &mut String, words: Vec<String>) -> Result<u64, CutError> {
//!         all.extend(words.iter().map(String::as_str));
//!         Ok(words.len() as u64)
//!     }
//! }
//! # use autoconnect_common::{Outlet, Shutdown};
//! # use autoconnect_tables::{blocks, header::Wanted, input::{self, Encoding}};
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("words.csv");
//! # std::fs::write(&file, "mot\nla\nClio\nde\nLyon\n")?;
//! # let wanted = &[Wanted { name: "mot", required: true }];
//! # let options = blocks::Options { block: 8, delimiter: Some(b','), encoding: Encoding::Utf8, wanted };
//! # let blocks = blocks::Blocks::new(input::resolve(&[file])?.files, options);
//! # let job = "words-1".parse()?;
//! # let (outlet, _items) = Outlet::new(job, 8, 3, Default::default(), Shutdown::new());
//! let all = pipeline::run(blocks, String::new(), &outlet, || Words)?;
//! assert_eq!(all, "laCliodeLyon");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use autoconnect_common::{CutError, Outlet};

use super::blocks::{Block, Blocks};

/// A source of pieces, taken by any thread, and an absorber of their results, in order.
///
/// Bounds how many pieces are taken ahead of the one whose turn it is.
pub struct OrderedPipeline<Source, Absorber, Piece> {
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

impl<Source, Absorber, Piece> OrderedPipeline<Source, Absorber, Piece> {
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

    /// Takes the next piece off the source, once it is not too far ahead. A source that failed is not called again: its
    /// later errors would hide the first.
    ///
    /// # Errors
    /// What `take` says; [`CutError::Cancelled`] after that and after [`OrderedPipeline::stop`].
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
        // stop before the next thread takes the source
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

/// What one thread does with blocks.
pub trait Stage {
    /// What it reads off a block.
    type Rows: Send;
    /// What takes the rows of all threads, in file order.
    type Gatherer: Send;
    /// What that makes of the rows of a block.
    type Output;

    /// A buffer for the next block; one that was used before, or an empty one.
    fn buffer(&mut self) -> Vec<u8>;

    /// Reads the records of a block.
    ///
    /// # Errors
    /// [`CutError`] where the job cannot go on.
    fn read(&mut self, block: Block) -> Result<Self::Rows, CutError>;

    /// Gathers the rows whose turn it is, which may be another thread's; one thread at a time, so it must be short.
    ///
    /// # Errors
    /// [`CutError`] where the job cannot go on.
    fn gather(
        &mut self,
        gatherer: &mut Self::Gatherer,
        rows: Self::Rows,
    ) -> Result<Self::Output, CutError>;

    /// How many rows that is.
    fn rows(output: &Self::Output) -> u64;

    /// Sends an output.
    ///
    /// # Errors
    /// [`CutError`] where the job cannot go on.
    fn send(&mut self, output: Self::Output) -> Result<(), CutError>;
}

/// Runs one stage a thread over all blocks; returns the gatherer. The first error that is not a mere
/// cancellation counts.
///
/// # Errors
/// What the source of blocks or a stage says, and [`CutError::Failed`] where a thread crashed.
pub fn run<S: Stage + Send>(
    blocks: Blocks,
    gatherer: S::Gatherer,
    outlet: &Outlet,
    stage: impl Fn() -> S + Sync,
) -> Result<S::Gatherer, CutError> {
    let pipeline = OrderedPipeline::new(blocks, gatherer, outlet.threads());
    let one = || {
        let mut stop = StopUnlessDone {
            pipeline: &pipeline,
            done: false,
        };
        let result = run_stage(stage(), &pipeline, outlet);
        stop.done = result.is_ok();
        result
    };
    let results: Vec<_> = std::thread::scope(|threads| {
        let stages: Vec<_> = (0..outlet.threads()).map(|_| threads.spawn(one)).collect();
        stages
            .into_iter()
            .map(|stage| stage.join().unwrap_or_else(|_| Err(crashed())))
            .collect()
    });
    let (cancelled, others): (Vec<_>, Vec<_>) = results
        .into_iter()
        .partition(|result| matches!(result, Err(CutError::Cancelled)));
    others
        .into_iter()
        .chain(cancelled)
        .collect::<Result<(), _>>()?;
    Ok(pipeline.into_absorber())
}

/// One thread: takes blocks, reads them, waits for their turn, and sends what was gathered.
fn run_stage<S: Stage>(
    mut stage: S,
    pipeline: &OrderedPipeline<Blocks, S::Gatherer, S::Rows>,
    outlet: &Outlet,
) -> Result<(), CutError> {
    loop {
        outlet.check()?;
        let buffer = stage.buffer();
        let Some(block) = pipeline.take(|blocks| blocks.next(buffer))? else {
            return Ok(());
        };
        let (index, bytes) = (block.index, block.bytes);
        let rows = stage.read(block)?;
        let gathered =
            pipeline.absorb(index, rows, |gatherer, rows| stage.gather(gatherer, rows))?;
        for output in gathered {
            outlet.progress().advance(0, S::rows(&output));
            stage.send(output)?;
        }
        outlet.progress().advance(bytes, 0);
    }
}

fn crashed() -> CutError {
    CutError::Failed {
        what: "reading a block".to_owned(),
        source: std::io::Error::other("a reading thread crashed"),
    }
}

/// Stops the other threads where one fails or crashes.
struct StopUnlessDone<'p, Source, Absorber, Piece> {
    pipeline: &'p OrderedPipeline<Source, Absorber, Piece>,
    done: bool,
}

impl<Source, Absorber, Piece> Drop for StopUnlessDone<'_, Source, Absorber, Piece> {
    fn drop(&mut self) {
        if !self.done {
            self.pipeline.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pieces_are_absorbed_in_order_by_any_number_of_threads() {
        for threads in 1..=4 {
            let pipeline = OrderedPipeline::new(0..200_u64, Vec::new(), threads);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while let Some(piece) = pipeline
                            .take(|source| Ok(source.next()))
                            .expect("not stopped")
                        {
                            std::thread::sleep(Duration::from_micros(piece * 7919 % 97));
                            let absorb = |list: &mut Vec<u64>, piece| {
                                list.push(piece);
                                Ok(())
                            };
                            pipeline.absorb(piece, piece, absorb).expect("absorbed");
                        }
                    });
                }
            });
            assert_eq!(pipeline.into_absorber(), (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_source_that_failed_is_not_asked_again() {
        for _ in 0..100 {
            let pipeline: OrderedPipeline<_, (), ()> = OrderedPipeline::new(0, (), 4);
            let fail = |asked: &mut u32| {
                *asked += 1;
                Err::<(), _>(CutError::Refused(format!("asked {asked} times")))
            };
            let mut said: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| pipeline.take(fail)))
                    .collect();
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
        let pipeline: OrderedPipeline<_, (), u64> = OrderedPipeline::new(0..100_u64, (), 1);
        assert_eq!(
            pipeline.take(|source| Ok(source.next())).ok(),
            Some(Some(0))
        );
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                loop {
                    if pipeline.take(|source| Ok(source.next())).is_err() {
                        return;
                    }
                }
            });
            pipeline.stop();
            other.join().expect("it ends");
        });
    }
}
