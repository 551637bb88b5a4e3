//! Named points at which a test kills a worker, to see what becomes of its unacked chunk.

use autoconnect_common::faults;

/// A place in the life of a chunk where the power may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The chunk was worked; its partial is not published.
    Worked,
    /// Its partial is confirmed; the chunk is not acknowledged.
    Confirmed,
    /// The chunk is acknowledged.
    Acknowledged,
}

/// The worker was killed at a [`Point`], by a test.
pub type Killed = faults::Killed<Point>;

/// Decides at each [`Point`] whether the worker is killed.
pub type Faults = faults::Faults<Point>;
