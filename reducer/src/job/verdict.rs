//! What becomes of an entry that a job takes in: the verdict decides whether the journal has it, whether its message is
//! dead-lettered, and whether the job is over.

use crate::entry::Entry;

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absorbed {
    /// It changed the job; the journal must have it.
    News,
    /// It changed nothing: it was known.
    Duplicate,
    /// A producer still cuts the job: the silence is over, and the journal needs no entry.
    Renewed,
    /// It changed nothing: it is of another cut than the one that the manifest seals, as this sentence says.
    Stale(String),
    /// It is wrong and changed nothing; its message is dead-lettered with this reason.
    Refused(String),
    /// It is wrong and changed the job into what this entry says; its message is dead-lettered with that reason.
    Harmful(Entry<'static>),
    /// It is right, and was one too many: the job is over as this entry says, which the journal must have.
    Last(Entry<'static>),
}

/// Only what a verdict holds is compared: deaths and failures.
impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Dead { seq, reason, .. },
                Self::Dead {
                    seq: s, reason: r, ..
                },
            ) => seq == s && reason == r,
            (Self::Failed { reason }, Self::Failed { reason: r }) => reason == r,
            _ => false,
        }
    }
}

impl Eq for Entry<'_> {}
