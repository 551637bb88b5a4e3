//! One life of a process: from its start to its death. A dead process has no further effect on the world.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use autoconnect_common::Shutdown;
use tokio::time::{Instant, Sleep};

use crate::world::lock;

/// One life of a process.
#[derive(Debug)]
pub struct Life {
    /// The name of the process and the number of its life, as in `worker-1#3`.
    pub name: String,
    dead: AtomicBool,
    /// Whether its machine died with it, so that its connections were not closed.
    vanished: AtomicBool,
    /// Whether the chunk or request that it processed killed it. Its machine then closed its connections.
    crashed: AtomicBool,
    killed: Shutdown,
    frozen: Mutex<Option<Instant>>,
    /// How many operations on files, and polls, it has until it dies; never, if below zero.
    operations: AtomicI64,
    polls: AtomicI64,
    /// How many files it has open.
    pub(crate) open: AtomicU64,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Life>>> = const { RefCell::new(None) };
}

/// The process that runs right now.
pub(crate) fn current() -> Option<Arc<Life>> {
    CURRENT.with(|current| current.borrow().clone())
}

fn set_current(life: Option<Arc<Life>>) {
    CURRENT.with(|current| *current.borrow_mut() = life);
}

impl Life {
    /// A life that begins now.
    pub fn new(name: String) -> Arc<Self> {
        Arc::new(Self {
            name,
            dead: AtomicBool::new(false),
            vanished: AtomicBool::new(false),
            crashed: AtomicBool::new(false),
            killed: Shutdown::new(),
            frozen: Mutex::new(None),
            operations: AtomicI64::new(-1),
            polls: AtomicI64::new(-1),
            open: AtomicU64::new(0),
        })
    }

    /// Ends it at once, as SIGKILL does.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.killed.cancel();
    }

    /// Ends it together with its machine.
    pub fn vanish(&self) {
        self.vanished.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Whether its machine ended with it.
    pub fn has_vanished(&self) -> bool {
        self.vanished.load(Ordering::Relaxed)
    }

    /// Ends it because of the chunk or request that it processes.
    pub(crate) fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Whether the chunk or request that it processed ended it.
    pub fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Kills it at its `n`th next operation on a file.
    pub fn dies_after_operations(&self, n: u64) {
        self.operations
            .store(i64::try_from(n).unwrap_or(0), Ordering::Relaxed);
    }

    /// Kills it the `n`th next time that it is polled.
    pub fn dies_after_polls(&self, n: u64) {
        self.polls
            .store(i64::try_from(n).unwrap_or(0), Ordering::Relaxed);
    }

    /// Stops it until then, or for longer if it is stopped for longer already: its threads thaw together.
    pub fn freeze(&self, until: Instant) {
        let mut frozen = lock(&self.frozen);
        *frozen = (*frozen).max(Some(until));
    }

    /// Until when it is frozen, if it is.
    pub fn frozen(&self) -> Option<Instant> {
        lock(&self.frozen).filter(|until| *until > Instant::now())
    }

    /// Counts an operation on a file, and returns whether the process is still alive for it.
    pub(crate) fn operates(&self) -> bool {
        count(&self.operations, || self.kill());
        !self.is_dead()
    }

    /// Waits until `life` may run on this thread; the code after it in this poll runs as `life`. It never returns for a dead one.
    pub(crate) async fn work_as(life: Option<Arc<Self>>) {
        let Some(life) = life else { return };
        while let Some(until) = life.frozen() {
            tokio::time::sleep_until(until).await;
        }
        if life.is_dead() {
            std::future::pending::<()>().await;
        }
        set_current(Some(life));
    }

    /// Runs `process` as this life; `None` where it died first.
    pub(crate) async fn live<T>(self: Arc<Self>, process: impl Future<Output = T>) -> Option<T> {
        let mut process = Box::pin(process);
        let mut killed = Box::pin(self.killed.clone().cancelled_owned());
        let mut thaw: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |context| {
            if killed.as_mut().poll(context).is_ready() || self.is_dead() {
                return Poll::Ready(None);
            }
            if let Some(until) = self.frozen() {
                let sleep = thaw.insert(Box::pin(tokio::time::sleep_until(until)));
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            count(&self.polls, || self.kill());
            if self.is_dead() {
                return Poll::Ready(None);
            }
            set_current(Some(Arc::clone(&self)));
            let polled = process.as_mut().poll(context);
            set_current(None);
            match polled {
                _ if self.is_dead() => Poll::Ready(None),
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// Counts down, and calls `at_zero` once.
fn count(counter: &AtomicI64, at_zero: impl FnOnce()) {
    let left = counter.load(Ordering::Relaxed);
    if left >= 0 {
        counter.store(left - 1, Ordering::Relaxed);
        if left == 0 {
            at_zero();
        }
    }
}
