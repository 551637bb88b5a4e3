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
    /// The process, and which life of it: `worker-1#3`.
    pub name: String,
    dead: AtomicBool,
    /// Whether its machine died with it, so that its connections were not closed.
    vanished: AtomicBool,
    /// Whether its own work ended it, so that its machine closed its connections.
    crashed: AtomicBool,
    killed: Shutdown,
    frozen: Mutex<Option<Instant>>,
    /// Operations on files, and polls, until it dies; below zero: never.
    operations: AtomicI64,
    polls: AtomicI64,
    /// Files it has open.
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
    /// A new life.
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

    /// Ends it, at once.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.killed.cancel();
    }

    /// Ends it with its machine.
    pub fn vanish(&self) {
        self.vanished.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Whether its machine went with it.
    pub fn has_vanished(&self) -> bool {
        self.vanished.load(Ordering::Relaxed)
    }

    /// Ends it by what it works on.
    pub(crate) fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
        self.kill();
    }

    /// Whether its own work ended it.
    pub fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Kills it at the `n`th operation on a file from now on.
    pub fn dies_after_operations(&self, n: u64) {
        self.operations
            .store(i64::try_from(n).unwrap_or(0), Ordering::Relaxed);
    }

    /// Kills it the `n`th time that it is polled from now on.
    pub fn dies_after_polls(&self, n: u64) {
        self.polls
            .store(i64::try_from(n).unwrap_or(0), Ordering::Relaxed);
    }

    /// Stops it until then.
    pub fn freeze(&self, until: Instant) {
        *lock(&self.frozen) = Some(until);
    }

    /// Until when it is stopped, if it is.
    pub fn frozen(&self) -> Option<Instant> {
        lock(&self.frozen).filter(|until| *until > Instant::now())
    }

    /// Counts an operation on a file; whether it is still alive for it.
    pub(crate) fn operates(&self) -> bool {
        count(&self.operations, || self.kill());
        !self.is_dead()
    }

    /// Waits until `life` may work on this thread; whatever runs next in this poll runs as it. Never, once it is dead.
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

/// Counts down to zero, once.
fn count(counter: &AtomicI64, at_zero: impl FnOnce()) {
    let left = counter.load(Ordering::Relaxed);
    if left >= 0 {
        counter.store(left - 1, Ordering::Relaxed);
        if left == 0 {
            at_zero();
        }
    }
}
