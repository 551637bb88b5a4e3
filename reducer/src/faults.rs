//! Named points at which a test kills the reducer, to restart it and compare.

use autoconnect_common::faults;

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
    /// One more file of the report is in the unfinished folder.
    FileWritten,
    /// The job's own folder is there; the newest report is still the old one.
    ReportWritten,
    /// The newest report is this job's, if it may be; nothing says yet that the job ended.
    ReportLinked,
    /// The tombstone is in place; the job's journal still exists.
    TombstoneWritten,
    /// The job's end was announced; its journal still exists.
    Announced,
}

impl Point {
    /// Every point, in the order in which a job passes them.
    pub const ALL: [Self; 11] = [
        Self::PageWritten,
        Self::JournalWritten,
        Self::JournalFlushed,
        Self::Acknowledged,
        Self::SnapshotWritten,
        Self::Concluded,
        Self::FileWritten,
        Self::ReportWritten,
        Self::ReportLinked,
        Self::TombstoneWritten,
        Self::Announced,
    ];
}

/// The reducer was killed at a [`Point`], by a test.
pub type Killed = faults::Killed<Point>;

/// Decides at each [`Point`] whether the reducer is killed.
pub type Faults = faults::Faults<Point>;
