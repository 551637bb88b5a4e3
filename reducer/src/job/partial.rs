//! Which partial of a chunk counts: the first one; the same again is a duplicate, and another one fails the job as
//! inconsistent.

use std::borrow::Cow;

use autoconnect_common::kind::AddError;
use autoconnect_common::seal::{MAX_SEALED, Prefix};
use autoconnect_common::{Registry, Seq};
use tokio::time::Instant;

use super::deaths::Dead;
use super::manifest::has_chunk;
use super::{Absorbed, Job, Without};
use crate::entry::{Entry, PartialEntry};
use crate::merged::Merged;

impl Job {
    pub(super) fn absorb_partial(
        &mut self,
        partial: &PartialEntry<'_>,
        registry: &Registry,
    ) -> Absorbed {
        let seq = partial.seq;
        let chunk = Prefix::of(&partial.chunk);
        if let Some(stale) = self.stale_chunk(seq, Some(chunk)) {
            return stale;
        }
        if let Some(old) = self.merged.get(seq) {
            return self.absorb_second(partial, old);
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        if self.merged.len() >= MAX_SEALED {
            return Absorbed::Refused(format!("chunk {seq}, expected at most {MAX_SEALED} chunks"));
        }
        let format = self
            .tally
            .accept_format(&partial.kind, partial.schema, registry);
        if let Err(reason) = format {
            return Absorbed::Refused(reason);
        }
        let start = Instant::now();
        let merged = self.tally.merge(partial.json);
        self.figures.merge += start.elapsed();
        match merged {
            Ok(said) => {
                self.deaths.dead.remove(&seq);
                let new = Merged {
                    chunk,
                    partial: Prefix::of(&said),
                };
                self.merged.insert(seq, new);
                self.figures.count(partial);
                Absorbed::News
            }
            Err(error) => self.absorb_unmerged(seq, chunk, error),
        }
    }

    /// The verdict on a partial of a chunk that was merged.
    fn absorb_second(&mut self, partial: &PartialEntry<'_>, old: Merged) -> Absorbed {
        let seq = partial.seq;
        if old.chunk != Prefix::of(&partial.chunk) {
            return self.fail(format!(
                "inconsistent: chunk {seq} came twice, with different contents: the job was cut twice, from an input that had changed; ask for it again"
            ));
        }
        match self.tally.says(partial, old.partial) {
            Ok(true) => Absorbed::Duplicate,
            Ok(false) => self.fail(format!(
                "inconsistent: chunk {seq} was worked twice, with different results"
            )),
            Err(what) => Absorbed::Refused(unreadable(seq, &what)),
        }
    }

    /// The verdict on a partial that the job's kind did not add: the chunk is dead, or the job fails.
    fn absorb_unmerged(&mut self, seq: Seq, chunk: Prefix, error: AddError) -> Absorbed {
        match error {
            AddError::Unreadable(what) => {
                let reason = unreadable(seq, &what);
                let chunk = Some(chunk);
                let revived = self.deaths.times_requeued(seq, chunk);
                let dead = Dead {
                    reason: reason.clone(),
                    chunk,
                    revived,
                };
                self.deaths.dead.insert(seq, dead);
                Absorbed::Harmful(Entry::Dead {
                    seq,
                    reason: Cow::Owned(reason),
                    revived,
                    chunk,
                })
            }
            AddError::Overflow(overflow) => {
                self.fail(format!("chunk {seq} cannot be merged: {overflow}"))
            }
            // the chunk is as good as the others
            AddError::TooHeavy(too_heavy) => {
                let reason = too_heavy.to_string();
                self.without = Some(Without::failed(reason.clone()));
                Absorbed::Last(Entry::Failed {
                    reason: Cow::Owned(reason),
                })
            }
        }
    }
}

/// Why a partial is no use.
fn unreadable(seq: Seq, what: &str) -> String {
    format!("the partial of chunk {seq} cannot be read: {what}")
}
