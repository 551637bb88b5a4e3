//! Named points at which a test kills the reducer, to start it again and look.
//!
//! Outside tests nothing is there to kill it: [`Faults::default`] never does.

use std::fmt;
use std::sync::Arc;

/// A place in the life of a job where the power may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// A page of a side file is in the state folder; the journal does not name it yet.
    PageWritten,
    /// Entries were written to the journal and not flushed.
    JournalWritten,
    /// The journal is flushed; nothing of it was acknowledged.
    JournalFlushed,
    /// Everything in the journal was acknowledged.
    Acknowledged,
    /// A snapshot is in place; the journal it replaces still exists.
    SnapshotWritten,
    /// The report was made; no file of it was written.
    Concluded,
    /// One more file of the report is in the job's own folder.
    FileWritten,
    /// `report.json` is in the job's own folder; the newest report is still the old one.
    ReportWritten,
    /// One more file of the newest report is this job's.
    FileLinked,
    /// `results/report.json` is this job's; nothing says yet that the job ended.
    ReportLinked,
    /// The tombstone is in place; the job's journal still exists.
    TombstoneWritten,
    /// The job's end was announced; its journal still exists.
    Announced,
}

impl Point {
    /// Every point, in the order in which a job comes by.
    pub const ALL: [Self; 12] = [
        Self::PageWritten,
        Self::JournalWritten,
        Self::JournalFlushed,
        Self::Acknowledged,
        Self::SnapshotWritten,
        Self::Concluded,
        Self::FileWritten,
        Self::ReportWritten,
        Self::FileLinked,
        Self::ReportLinked,
        Self::TombstoneWritten,
        Self::Announced,
    ];
}

/// The reducer was killed at a [`Point`], by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("killed at {0:?}")]
pub struct Killed(pub Point);

/// Decides at each [`Point`] whether the reducer lives on.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Decide>>);

type Decide = dyn Fn(Point) -> bool + Send + Sync;

impl Faults {
    /// Kills the reducer wherever `kill` says so. It may also abort the process itself.
    pub fn new(kill: impl Fn(Point) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(kill)))
    }

    /// # Errors
    /// [`Killed`] where the reducer is to stop at once, without tidying up.
    pub(crate) fn at(&self, point: Point) -> Result<(), Killed> {
        match &self.0 {
            Some(kill) if kill(point) => Err(Killed(point)),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = self.0.is_some();
        f.debug_struct("Faults").field("armed", &armed).finish()
    }
}
