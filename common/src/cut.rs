//! The output of `cut`: an [`Outlet`] for chunks, annexes and progress, and the errors of a cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::chunk::MAX_BODY;
use crate::{JobId, Seq, Shutdown, machine};

/// One item that `cut` made.
#[derive(Debug)]
pub enum Item {
    /// A chunk, without its job.
    Chunk {
        /// Its number; numbers of a part are 0, 1, 2, … without gaps, in any order of arrival.
        seq: Seq,
        /// The last word of its routing key.
        key: String,
        /// How many rows it carries.
        rows: u32,
        /// At most [`crate::chunk::MAX_BODY`] bytes travel in a message; a larger body goes through the blob store, up to
        /// that store's limit ([`crate::blob`]).
        body: Bytes,
    },
    /// A page of a side file that belongs to the report (`rejets.csv`): pages are joined in order of their number.
    Annex {
        /// The side file's name.
        name: &'static str,
        /// 0, 1, 2, … without gaps, for each name.
        page: u32,
        /// At most [`crate::chunk::MAX_BODY`] bytes.
        body: Bytes,
    },
}

impl Item {
    /// How many bytes its body has.
    fn size(&self) -> usize {
        let (Self::Chunk { body, .. } | Self::Annex { body, .. }) = self;
        body.len()
    }
}

/// The progress of a cut, in bytes of input; shared with the code that shows it.
#[derive(Debug, Default)]
pub struct Progress {
    read: AtomicU64,
    total: AtomicU64,
    rows: AtomicU64,
}

impl Progress {
    /// Bytes of input read so far.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes of input there are; 0 while unknown.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Sets how many bytes of input there are.
    pub fn set_total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    /// Adds `bytes` and `rows` to what was read.
    pub fn advance(&self, bytes: u64, rows: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Where `cut` puts its chunks and annexes. Putting waits while the queue is full: the only backpressure on a cut.
///
/// Any thread of `cut` may put, in any order.
#[derive(Clone, Debug)]
pub struct Outlet {
    job: JobId,
    items: mpsc::Sender<Item>,
    progress: Arc<Progress>,
    shutdown: Shutdown,
    threads: usize,
    /// Whether the cut shares its thread with the receiver, in a simulation: the queue is then unbounded.
    one_thread: bool,
    /// The runtime of the task that takes the items, to wait on; absent outside a runtime.
    runtime: Option<Handle>,
}

impl Outlet {
    /// An outlet for the items of `job` that holds at most `capacity` of them, for a `cut` that may use `threads`
    /// threads; and its receiver.
    pub fn new(
        job: JobId,
        capacity: usize,
        threads: usize,
        progress: Arc<Progress>,
        shutdown: Shutdown,
    ) -> (Self, mpsc::Receiver<Item>) {
        let one_thread = machine::is_simulated();
        let capacity = if one_thread {
            Semaphore::MAX_PERMITS
        } else {
            capacity.max(1)
        };
        let (items, outcome) = mpsc::channel(capacity);
        (
            Self {
                job,
                items,
                progress,
                shutdown,
                threads: threads.max(1),
                one_thread,
                runtime: Handle::try_current().ok(),
            },
            outcome,
        )
    }

    /// Hands out one item. Blocks the calling thread while the queue is full; never call it on an async thread. An item
    /// too large for a message waits until every item before it was taken: however many items the queue holds, at most
    /// one such is in it, one with the task that takes them, and one here.
    ///
    /// # Errors
    /// [`CutError::Cancelled`] once the receiver is dropped, or on shutdown.
    pub fn put(&self, item: Item) -> Result<(), CutError> {
        self.check()?;
        let put = if self.one_thread {
            // unbounded, as the receiver cannot run meanwhile
            self.items.try_send(item).is_ok()
        } else {
            match &self.runtime {
                Some(runtime) if item.size() > MAX_BODY => runtime.block_on(self.put_alone(item)),
                _ => self.items.blocking_send(item).is_ok(),
            }
        };
        put.then_some(()).ok_or(CutError::Cancelled)
    }

    /// Puts an item once the queue is empty; returns whether the receiver still exists.
    async fn put_alone(&self, item: Item) -> bool {
        let all = self.items.reserve_many(self.items.max_capacity()).await;
        let first = all.ok().and_then(|mut free| free.next());
        first.map(|free| free.send(item)).is_some()
    }

    /// Returns an error on shutdown; a long loop without items calls it now and then.
    ///
    /// # Errors
    /// [`CutError::Cancelled`].
    pub fn check(&self) -> Result<(), CutError> {
        if self.shutdown.is_cancelled() {
            Err(CutError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// The job that is being cut.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// The progress of the cut, to be advanced by `cut`.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How many threads `cut` may use; the chunks never depend on it.
    pub fn threads(&self) -> usize {
        self.threads
    }
}

/// Why a cut did not reach its end. Each message is one sentence that names the file and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The request or its input cannot be used; the user can correct it (exit code 2).
    #[error("{0}")]
    Refused(String),
    /// The machine failed: a disk, a temporary file (exit code 1).
    #[error("{what}")]
    Failed {
        /// What was being done, and to which file.
        what: String,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The cut was stopped by a shutdown.
    #[error("cancelled")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u32, bytes: usize) -> Item {
        Item::Chunk {
            seq: Seq::first_part(number),
            key: "text".to_owned(),
            rows: 1,
            body: vec![0; bytes].into(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_item_is_alone_in_the_queue_and_small_ones_are_not() {
        let job: JobId = "a-1".parse().expect("valid");
        let (outlet, mut items) = Outlet::new(job, 4, 1, Arc::default(), Shutdown::new());
        let cutting = machine::block(move || {
            let sizes = [1, 1, 1, MAX_BODY + 1, MAX_BODY + 1, 1];
            (0..)
                .zip(sizes)
                .try_for_each(|(number, size)| outlet.put(item(number, size)))
        });
        let mut sizes = Vec::new();
        while let Some(item) = items.recv().await {
            sizes.push(item.size());
            if item.size() > MAX_BODY {
                assert!(items.len() <= 1, "{} behind a large one", items.len());
            }
        }
        cutting.await.expect("no panic").expect("all was taken");
        assert_eq!(sizes, [1, 1, 1, MAX_BODY + 1, MAX_BODY + 1, 1]);
    }
}
