//! A chunk that harms its worker: [`Mined`] wraps a kind, and does harm at one chunk, the mine.
//!
//! A process sets this chunk once, by [`lay`], because a kind has no state of its own; the program `mined-worker` reads it
//! from the environment variable [`MINE`].

use std::hint::black_box;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use autoconnect_common::kind::{ConcludeError, Cut, ReportFile, Steps, WorkError};
use autoconnect_common::{Chunk, CutError, Digest, JobKind, Outlet, Seq};

/// The variable that lays a mine in `mined-worker`: `<seq>=panic`, `abort`, `memory` or a number of seconds.
pub const MINE: &str = "AUTOCONNECT_TEST_MINE";
/// The variable that has `mined-worker` killed by SIGKILL: once this many of its partials are confirmed, and before it acks the
/// chunk of the last one.
pub const KILL: &str = "AUTOCONNECT_TEST_KILL";

/// The log message just before the harm.
pub const STRUCK: &str = "mine struck";

/// The harm to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It panics.
    Panic,
    /// Its process aborts.
    Abort,
    /// It allocates memory without end. The process should have a limit.
    Memory,
    /// It sleeps for this long, the first time only.
    Sleep(Duration),
}

/// A chunk that does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mine {
    /// The number of the chunk.
    pub seq: Seq,
    /// The harm that it does.
    pub harm: Harm,
}

impl FromStr for Mine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{MINE}={text:?}: expected <seq>=panic, abort, memory or seconds");
        let (seq, harm) = text.split_once('=').ok_or_else(unknown)?;
        let harm = match harm {
            "panic" => Harm::Panic,
            "abort" => Harm::Abort,
            "memory" => Harm::Memory,
            seconds => Harm::Sleep(Duration::from_secs(seconds.parse().map_err(|_| unknown())?)),
        };
        let seq = seq.parse().map_err(|_| unknown())?;
        Ok(Self { seq, harm })
    }
}

static LAID: OnceLock<Mine> = OnceLock::new();

/// Sets the mine of this process; a second call has no effect.
pub fn lay(mine: Mine) {
    let _stays = LAID.set(mine);
}

impl Harm {
    fn strike(self) {
        static SLEPT: AtomicBool = AtomicBool::new(false);
        match self {
            Self::Panic => panic!("a mine"),
            Self::Abort => std::process::abort(),
            Self::Memory => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(black_box(vec![0u8; 64 << 20]));
                }
            }
            Self::Sleep(long) => {
                if !SLEPT.swap(true, Ordering::Relaxed) {
                    std::thread::sleep(long);
                }
            }
        }
    }
}

/// The kind `K`, with a mine in it.
pub struct Mined<K>(PhantomData<K>);

impl<K: JobKind> JobKind for Mined<K> {
    const NAME: &'static str = K::NAME;
    const SCHEMA: u32 = K::SCHEMA;
    const AT_ROOT: bool = K::AT_ROOT;
    type Request = K::Request;
    type Facts = K::Facts;
    type Partial = K::Partial;
    type Report = K::Report;

    fn files(report: &K::Report) -> Vec<ReportFile<K::Report>> {
        K::files(report)
    }

    fn inputs(request: &K::Request) -> Vec<PathBuf> {
        K::inputs(request)
    }

    fn fingerprint(request: &K::Request) -> Result<Digest, CutError> {
        K::fingerprint(request)
    }

    fn cut(request: &K::Request, outlet: &Outlet) -> Result<Cut<K::Facts>, CutError> {
        K::cut(request, outlet)
    }

    fn work(chunk: &Chunk) -> Result<K::Partial, WorkError> {
        if let Some(mine) = LAID.get()
            && mine.seq == chunk.seq
        {
            tracing::warn!(chunk = %chunk.seq, harm = ?mine.harm, "{STRUCK}");
            mine.harm.strike();
        }
        K::work(chunk)
    }

    fn conclude(
        facts: K::Facts,
        partial: K::Partial,
        missing: &[Seq],
        steps: &mut Steps<'_>,
    ) -> Result<K::Report, ConcludeError> {
        K::conclude(facts, partial, missing, steps)
    }

    fn weigh(partial: &K::Partial) -> u64 {
        K::weigh(partial)
    }
}
