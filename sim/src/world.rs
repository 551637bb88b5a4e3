//! The shared state of a history: the dice, the wall clock, and the trace.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use autoconnect_common::machine::Simulated;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::life::{self, Life};

/// The time at which every history begins, in seconds since 1970: a fixed one, so that traces are the same.
const EPOCH: u64 = 1_790_000_000;

/// The world of one history; clones are the same world.
#[derive(Clone)]
pub struct World(Arc<Shared>);

struct Shared {
    start: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    dice: Dice,
    /// The offset of the wall clock, in seconds.
    off: i64,
    hash: u64,
    lines: Option<Vec<String>>,
    longest_work: Duration,
    violations: Vec<String>,
}

/// Locks `mutex`. A poisoned one is used all the same: the panic was reported where it happened.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// The world of `seed`. With `readable`, it keeps the lines of the trace.
    pub fn new(seed: u64, readable: bool) -> Self {
        Self(Arc::new(Shared {
            start: Instant::now(),
            inner: Mutex::new(Inner {
                dice: Dice::new(seed),
                off: 0,
                hash: 0xcbf2_9ce4_8422_2325,
                lines: readable.then(Vec::new),
                longest_work: Duration::from_millis(200),
                violations: Vec::new(),
            }),
        }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0.inner)
    }

    /// Draws from the dice.
    pub fn roll<T>(&self, ask: impl FnOnce(&mut Dice) -> T) -> T {
        ask(&mut self.inner().dice)
    }

    /// How long the history has lasted.
    pub fn age(&self) -> Duration {
        self.0.start.elapsed()
    }

    /// Adds a line to the trace.
    pub fn tell(&self, line: fmt::Arguments<'_>) {
        let text = format!("{:>10.3} {line}", self.age().as_secs_f64());
        let mut inner = self.inner();
        // FNV-1a, a hash that no version of a library changes: two histories are the same if their traces are
        inner.hash = text.bytes().fold(inner.hash, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        if let Some(lines) = &mut inner.lines {
            lines.push(text);
        }
    }

    /// Records a broken promise.
    pub fn violation(&self, what: impl fmt::Display) {
        self.tell(format_args!("VIOLATION {what}"));
        self.inner().violations.push(what.to_string());
    }

    /// The promises that were broken.
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    /// The hash of the trace, and its lines if they were kept.
    pub fn trace(&self) -> (u64, Vec<String>) {
        let inner = self.inner();
        (inner.hash, inner.lines.clone().unwrap_or_default())
    }

    /// Sets the wall clock forward, or back.
    pub fn jump(&self, seconds: i64) {
        self.inner().off += seconds;
    }

    /// Sets the longest time that blocking work takes.
    pub fn set_longest_work(&self, longest: Duration) {
        self.inner().longest_work = longest;
    }
}

macro_rules! tell {
    ($world:expr, $($line:tt)*) => {
        $world.tell(format_args!($($line)*))
    };
}
pub(crate) use tell;

/// The machine as the roles see it.
pub(crate) struct Machine(pub(crate) World);

impl Simulated for Machine {
    fn now(&self) -> SystemTime {
        let off = self.0.inner().off;
        let since = (EPOCH + self.0.age().as_secs()).saturating_add_signed(off);
        SystemTime::UNIX_EPOCH + Duration::new(since, self.0.age().subsec_nanos())
    }

    fn random(&self) -> u64 {
        self.0.roll(Dice::roll)
    }

    fn turn(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut inner = self.0.inner();
        let longest = inner.longest_work;
        // most blocking work takes no time; some takes up to `longest`
        let takes = match inner.dice.chance(80) {
            true => Duration::ZERO,
            false => inner.dice.within(longest),
        };
        let life = life::current();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            Life::work_as(life).await;
        })
    }
}
