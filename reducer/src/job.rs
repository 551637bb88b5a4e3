//! One job as the reducer knows it: what was merged, what is dead, what is still to come.
//!
//! A [`Job`] is a pure state machine: entries go in ([`Job::absorb`]), a verdict on each comes out ([`Absorbed`]), and at
//! some point the job knows how it ends ([`Job::end`]). Absorbing the same entries again changes nothing.
//!
//! ```text
//!            partial                       dead notice
//!   unseen ----------> merged     unseen ------------> dead ---(a partial after all)---> merged
//!                        |           ^                   |
//!     same digests: duplicate        '----(requeued)-----|
//!     others: the job fails                    dead notice, of this death or an earlier one: duplicate
//!     dead notice: duplicate (the chunk was worked, and that counts)
//! ```
//!
//! # Two cuts of one job
//!
//! A job may be cut twice, and its input may have changed in between. The manifest seals its own cut ([`KnownSeal`]), and
//! a job ends with a report only once its seal is whole and everything merged is what the seal says:
//!
//! * where a chunk that was merged before the seal was known differs from the sealed one, the job fails: a merge cannot be undone;
//! * where a dead notice that came before names a chunk that differs from the sealed one, it is forgotten: the sealed one still comes;
//! * an entry of another cut that comes after the seal was known is dropped ([`Absorbed::Stale`]), and what is sealed is
//!   waited for: its producer had published all of it before the manifest.
//!
//! An entry that rules a report out (an inconsistency, a cancellation) is the last that a job takes in.

mod annexes;
mod cut;
mod deaths;
mod end;
mod losses;
mod manifest;
mod partial;
mod request;
mod snapshot;
mod tally;
mod verdict;

use std::borrow::Cow;
use std::time::Duration;

use autoconnect_common::message::Manifest;
use autoconnect_common::{JobId, Registry};
use tokio::time::Instant;

use self::annexes::Annexes;
use self::deaths::Deaths;
pub(crate) use self::end::{End, Ended, Without};
use self::losses::Losses;
use self::manifest::{refusal, total};
pub(crate) use self::snapshot::Snapshot;
use self::tally::JobTally;
pub(crate) use self::verdict::Absorbed;
use crate::entry::Entry;
use crate::execution::Figures;
use crate::lease::Lease;
use crate::merged::MergedChunks;
use crate::seal::KnownSeal;

/// A job that has not ended.
pub(crate) struct Job {
    id: JobId,
    tally: JobTally,
    merged: MergedChunks,
    deaths: Deaths,
    seal: KnownSeal,
    /// The request, to be published again if its producer dies while it cuts. Absent where the job did not come through a queue
    /// of requests.
    lease: Option<Lease>,
    annexes: Annexes,
    manifest: Option<Manifest>,
    without: Option<Without>,
    figures: Figures,
    losses: Losses,
    /// When the job came to its end, among all jobs.
    order: Option<u64>,
    /// When the last entry came that changed the job.
    last_news: Instant,
    /// Whether anything changed since [`Job::progress`] was last called.
    changed: bool,
}

impl Job {
    /// A job nothing is known of.
    pub(crate) fn new(id: JobId) -> Self {
        Self {
            id,
            tally: JobTally::default(),
            merged: MergedChunks::default(),
            deaths: Deaths::default(),
            seal: KnownSeal::default(),
            lease: None,
            annexes: Annexes::default(),
            manifest: None,
            without: None,
            figures: Figures::default(),
            losses: Losses::default(),
            order: None,
            last_news: Instant::now(),
            changed: false,
        }
    }

    /// The name of its kind: what its results say, or the request that is being cut.
    pub(crate) fn kind(&self) -> Option<&str> {
        let said = self
            .tally
            .format
            .as_ref()
            .map(|format| format.kind.as_str());
        said.or_else(|| self.lease.as_ref().map(|lease| lease.format().0))
    }

    /// Takes an entry in, once.
    pub(crate) fn absorb(&mut self, entry: &Entry<'_>, registry: &Registry) -> Absorbed {
        let is_news = !matches!(entry, Entry::AtEnd { .. });
        if is_news && (self.without.is_some() || self.needs_no(entry)) {
            return Absorbed::Duplicate;
        }
        let absorbed = self.change(entry, registry);
        match &absorbed {
            Absorbed::News | Absorbed::Harmful(_) | Absorbed::Last(_) => {
                self.last_news = Instant::now();
                self.changed = true;
            }
            Absorbed::Duplicate => self.figures.duplicates += 1,
            Absorbed::Renewed => self.last_news = Instant::now(),
            Absorbed::Refused(_) | Absorbed::Stale(_) => {}
        }
        absorbed
    }

    /// Whether the entry can be ignored: of a job whose manifest says that it ends without a report, only the side files that the
    /// manifest names still count.
    fn needs_no(&self, entry: &Entry<'_>) -> bool {
        let refused = self.manifest.as_ref().and_then(refusal).is_some();
        match entry {
            Entry::Partial(_) | Entry::Dead { .. } | Entry::Revived { .. } => refused,
            Entry::Page(page) => refused && !self.expects_page(&page.name, page.page),
            Entry::Manifest(_)
            | Entry::Seal { .. }
            | Entry::Begun(_)
            | Entry::AskedAgain
            | Entry::Anew
            | Entry::AtEnd { .. }
            | Entry::DeadRequest { .. }
            | Entry::Failed { .. }
            | Entry::Cancelled { .. } => false,
        }
    }

    /// Changes the job into what the entry says, if it says anything new.
    fn change(&mut self, entry: &Entry<'_>, registry: &Registry) -> Absorbed {
        match entry {
            Entry::Partial(partial) => self.absorb_partial(partial, registry),
            Entry::Manifest(manifest) => self.absorb_manifest(manifest, registry),
            Entry::Page(page) => self.absorb_page(page),
            Entry::Seal {
                seal,
                page,
                prefixes,
            } => self.absorb_seal(*seal, *page, prefixes),
            Entry::Dead {
                seq,
                reason,
                revived,
                chunk,
            } => self.absorb_dead(*seq, reason, *revived, *chunk),
            Entry::Revived { seq, time, chunk } => self.absorb_requeued(*seq, *time, *chunk),
            Entry::Begun(begun) => self.absorb_begun(begun),
            Entry::AskedAgain => self.absorb_asked_again(),
            Entry::Anew => {
                self.losses.anew = true;
                Absorbed::News
            }
            Entry::AtEnd { order } => {
                self.order = Some(*order);
                Absorbed::News
            }
            Entry::DeadRequest { reason } => self.absorb_dead_request(reason),
            Entry::Failed { reason } => {
                self.without = Some(Without::failed(reason.clone()));
                Absorbed::News
            }
            Entry::Cancelled { reason } => {
                self.without = Some(Without::cancelled(reason));
                Absorbed::News
            }
        }
    }

    /// Fails the job because of the entry that is being taken in.
    fn fail(&mut self, reason: String) -> Absorbed {
        self.without = Some(Without::failed(reason.clone()));
        Absorbed::Harmful(Entry::Failed {
            reason: Cow::Owned(reason),
        })
    }

    /// Fails the job for a reason that lies outside it.
    pub(crate) fn give_up(&mut self, reason: String) {
        self.without.get_or_insert(Without::failed(reason));
    }

    /// What the job's figures weigh, in bytes of memory.
    pub(crate) fn weight(&self) -> u64 {
        self.tally.weight()
    }

    /// When the job came to its end, among all jobs, if that was decided.
    pub(crate) fn order(&self) -> Option<u64> {
        self.order
    }

    /// Whether nothing is known of the job: every entry was refused.
    pub(crate) fn is_blank(&self) -> bool {
        self.merged.len() == 0
            && self.deaths.is_empty()
            && self.seal.is_blank()
            && self.lease.is_none()
            && self.annexes.is_empty()
            && self.manifest.is_none()
            && self.without.is_none()
            && self.losses.damage.is_none()
    }

    /// Whether the job is known to be wanted: a producer announced its cut, or everything that its manifest counts came. A
    /// manifest alone may be a late copy from a job that ended long ago.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.lease.is_some() || self.has_manifest() && self.end().is_some()
    }

    /// Whether the job needs nothing that its producer may send once more.
    pub(crate) fn is_cut(&self) -> bool {
        self.manifest.is_some() && self.losses.damage.is_none()
    }

    /// Whether the manifest came.
    pub(crate) fn has_manifest(&self) -> bool {
        self.manifest.is_some()
    }

    /// How many chunks are merged or dead.
    fn seen(&self) -> u64 {
        self.merged.len() + self.deaths.dead.len() as u64
    }

    /// How long ago the last news came.
    pub(crate) fn idle(&self) -> Duration {
        self.last_news.elapsed()
    }

    /// Chunks merged or dead, chunks in all once that is known, and rows merged.
    pub(crate) fn counts(&self) -> (u64, Option<u64>, u64) {
        (
            self.seen(),
            self.manifest.as_ref().map(total),
            self.figures.rows,
        )
    }

    /// As [`Job::counts`], if anything changed since the last call.
    pub(crate) fn progress(&mut self) -> Option<(u64, Option<u64>, u64)> {
        std::mem::take(&mut self.changed).then(|| self.counts())
    }
}

#[cfg(test)]
mod tests;
