//! One job as the reducer knows it: what was merged, what is dead, what is still to come.
//!
//! A [`Job`] is a pure state machine: entries go in ([`Job::absorb`]), a verdict on each comes out ([`Absorbed`]), and at
//! some point the job knows how it ends ([`Job::end`]). Absorbing the same entries again changes nothing.
//!
//! ```text
//!            partial                       dead notice
//!   unseen ----------> merged     unseen ------------> dead ---(a partial after all)---> merged
//!                        |           ^                   |
//!     same digests: duplicate        '----(revived)------|
//!     others: the job fails                    dead notice, of this death or an earlier one: duplicate
//!     dead notice: duplicate (the chunk was worked, and that counts)
//! ```
//!
//! # Two cuts of one job
//!
//! A job may be cut twice, and its input may have changed in between. The manifest seals its own cut ([`KnownSeal`]), and
//! a job ends with a report only once its seal is whole and everything merged is what the seal says:
//!
//! * a chunk that was merged before the seal was known, and is another one, cannot be taken out again: the job fails;
//! * a dead notice that came before and is of another chunk is forgotten: the sealed one still comes;
//! * whatever comes after the seal was known and is of another cut is dropped ([`Absorbed::Stale`]), and what is sealed is
//!   waited for: its producer had published all of it before the manifest.
//!
//! Whatever says that there is to be no report (an inconsistency, a cancellation) is the last thing a job takes in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use autoconnect_common::kind::{AddError, REPORT, Tally};
use autoconnect_common::message::{Begun, Manifest, Status};
use autoconnect_common::results::EXECUTION;
use autoconnect_common::seal::{self, MAX_SEALED, Prefix};
use autoconnect_common::{Digest, Format, JobId, Registry, Seq};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::asked::{self, Asked, Heard, Orphan};
use crate::entry::{Entry, PageEntry, PartialEntry};
use crate::execution::Figures;
use crate::merged::{Merged, MergedChunks};
use crate::seal::{KnownSeal, StoredPage, Taken};

/// The most pages a side file may have.
const MAX_PAGES: u32 = 1 << 20;

/// What is said of a missing chunk of which nothing is known.
const NO_PARTIAL: &str = "no partial came";
/// What became of what never came, where nothing that the reducer lost explains it: a job is given up only once the
/// broker's queues were seen empty (see [`silence`](crate::silence)), and the manifest came after all that it counts.
const GONE: &str = "nothing of it is at the broker any more: purged, expired or dropped";

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absorbed {
    /// It changed the job; the journal must have it.
    News,
    /// It changed nothing: it was known.
    Duplicate,
    /// It says that a producer still cuts the job, which is no news to keep.
    Renewed,
    /// It changed nothing: it is of another cut than the one that the manifest seals, as this sentence says.
    Stale(String),
    /// It is wrong and changed nothing; it is to be buried with this reason.
    Refused(String),
    /// It is wrong and changed the job into what this entry says; it is to be buried with that reason.
    Harmful(Entry<'static>),
    /// It is right, and was one too many: the job is over as this entry says, which the journal must have.
    Last(Entry<'static>),
}

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

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With a report that lacks these chunks (normally none); why it is incomplete, if it is.
    Report {
        missing: Vec<Seq>,
        lacking: Option<String>,
    },
    /// Without a report.
    Without(Without),
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Without {
    /// [`Status::Failed`] or [`Status::Cancelled`].
    pub(crate) status: Status,
    /// In one sentence.
    pub(crate) reason: String,
}

impl Without {
    /// It went wrong.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            reason: reason.into(),
        }
    }

    /// Somebody wants none.
    fn cancelled(reason: &str) -> Self {
        Self {
            status: Status::Cancelled,
            reason: match reason {
                "" => "cancelled".to_owned(),
                reason => format!("cancelled: {reason}"),
            },
        }
    }
}

/// A chunk that is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Dead {
    reason: String,
    /// Which one it is, where its message says so.
    chunk: Option<Prefix>,
    /// How often it had been sent once more before it died.
    #[serde(default)]
    revived: u32,
}

/// A chunk that was sent once more after its death.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SentAgain {
    times: u32,
    /// Which one it is, where its message says so.
    chunk: Option<Prefix>,
    /// Why it died before, where that is known.
    #[serde(default)]
    reason: Option<String>,
}

/// A job that has not ended.
pub(crate) struct Job {
    id: JobId,
    format: Option<Format>,
    tally: Option<Box<dyn Tally>>,
    merged: MergedChunks,
    dead: BTreeMap<Seq, Dead>,
    revived: BTreeMap<Seq, SentAgain>,
    seal: KnownSeal,
    /// What is to be asked again should nobody cut it any more; nothing of a job that no queue of requests had.
    asked: Option<Asked>,
    pages: BTreeMap<String, BTreeMap<u32, Digest>>,
    manifest: Option<Manifest>,
    without: Option<Without>,
    figures: Figures,
    /// What could not be read of the job's journals, in one phrase: some of what came may be lost.
    damage: Option<String>,
    /// Whether something was lost for certain, so that the job is to be asked for again.
    redo: bool,
    /// Whether the job was asked for again, because nobody cut it any more or because of damage.
    asked_again: bool,
    /// Whether it ended before: late copies of that life may be among what came.
    anew: bool,
    /// When the job came to its end, among all jobs.
    order: Option<u64>,
    /// When the last entry came that changed the job.
    last_news: Instant,
    /// Whether anything changed since somebody asked.
    changed: bool,
}

/// A job as it is kept on disk: everything but the clock.
#[derive(Serialize, Deserialize)]
pub(crate) struct Snapshot {
    format: Option<Format>,
    tally: Option<Box<RawValue>>,
    merged: Vec<(Seq, Merged)>,
    dead: BTreeMap<Seq, Dead>,
    revived: BTreeMap<Seq, SentAgain>,
    seal: Vec<StoredPage>,
    asked: Option<Asked>,
    pages: BTreeMap<String, BTreeMap<u32, Digest>>,
    manifest: Option<Manifest>,
    without: Option<Without>,
    figures: Figures,
    #[serde(default)]
    damage: Option<String>,
    #[serde(default)]
    redo: bool,
    #[serde(default)]
    asked_again: bool,
    #[serde(default)]
    anew: bool,
    #[serde(default)]
    order: Option<u64>,
}

impl Snapshot {
    /// The format of what was merged, if anything was.
    pub(crate) fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }
}

/// A job that ends: all that its conclusion needs.
pub(crate) struct Ended {
    pub(crate) id: JobId,
    pub(crate) end: End,
    pub(crate) tally: Option<Box<dyn Tally>>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) kind: Option<String>,
    pub(crate) merged: u64,
    pub(crate) dead: BTreeMap<Seq, String>,
    /// The side files that are whole, with the digests of their pages.
    pub(crate) annexes: BTreeMap<String, Vec<Digest>>,
    pub(crate) figures: Figures,
    /// What is said of a missing chunk of which nothing is known.
    pub(crate) unknown: String,
    /// When it came to its end, among all jobs.
    pub(crate) order: u64,
}

impl Job {
    /// A job nothing is known of.
    pub(crate) fn new(id: JobId) -> Self {
        Self {
            id,
            format: None,
            tally: None,
            merged: MergedChunks::default(),
            dead: BTreeMap::new(),
            revived: BTreeMap::new(),
            seal: KnownSeal::default(),
            asked: None,
            pages: BTreeMap::new(),
            manifest: None,
            without: None,
            figures: Figures::default(),
            damage: None,
            redo: false,
            asked_again: false,
            anew: false,
            order: None,
            last_news: Instant::now(),
            changed: false,
        }
    }

    /// The name of its kind: what its results say, or the request that is being cut.
    pub(crate) fn kind(&self) -> Option<&str> {
        let said = self.format.as_ref().map(|format| format.kind.as_str());
        said.or_else(|| self.asked.as_ref().map(|asked| asked.format().0))
    }

    /// Takes an entry in, once.
    pub(crate) fn absorb(&mut self, entry: &Entry<'_>, registry: &Registry) -> Absorbed {
        // of a job without a report only the side files still matter, and the manifest says which there are
        let refused = self.manifest.as_ref().and_then(refusal).is_some();
        let beside = match entry {
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
        };
        let is_news = !matches!(entry, Entry::AtEnd { .. });
        if is_news && (self.without.is_some() || beside) {
            return Absorbed::Duplicate;
        }
        let absorbed = match entry {
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
            Entry::Revived { seq, time, chunk } => self.absorb_revived(*seq, *time, *chunk),
            Entry::Begun(begun) => self.absorb_begun(begun),
            Entry::AskedAgain => self.absorb_asked_again(),
            Entry::Anew => {
                self.anew = true;
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
        };
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

    fn absorb_partial(&mut self, partial: &PartialEntry<'_>, registry: &Registry) -> Absorbed {
        let seq = partial.seq;
        let chunk = Prefix::of(&partial.chunk);
        if let Some(stale) = self.stale_chunk(seq, Some(chunk)) {
            return stale;
        }
        if let Some(old) = self.merged.get(seq) {
            if old.chunk != chunk {
                return self.fail(format!(
                    "inconsistent: chunk {seq} came twice, with different contents: the job was cut twice, from an input that had changed; ask for it again"
                ));
            }
            return match self.says(partial, old.partial) {
                Ok(true) => Absorbed::Duplicate,
                Ok(false) => self.fail(format!(
                    "inconsistent: chunk {seq} was worked twice, with different results"
                )),
                Err(what) => Absorbed::Refused(unreadable(seq, &what)),
            };
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        if self.merged.len() >= MAX_SEALED {
            return Absorbed::Refused(format!("chunk {seq}, expected at most {MAX_SEALED} chunks"));
        }
        if let Err(reason) = self.accept_format(&partial.kind, partial.schema, registry) {
            return Absorbed::Refused(reason);
        }
        match self.merge(partial.json) {
            Ok(said) => {
                self.dead.remove(&seq);
                let new = Merged {
                    chunk,
                    partial: Prefix::of(&said),
                };
                self.merged.insert(seq, new);
                self.figures.count(partial);
                Absorbed::News
            }
            Err(AddError::Unreadable(what)) => {
                let reason = unreadable(seq, &what);
                let (chunk, revived) = (Some(chunk), self.times_revived(seq, Some(chunk)));
                let dead = Dead {
                    reason: reason.clone(),
                    chunk,
                    revived,
                };
                self.dead.insert(seq, dead);
                Absorbed::Harmful(Entry::Dead {
                    seq,
                    reason: Cow::Owned(reason),
                    revived,
                    chunk,
                })
            }
            Err(AddError::Overflow(overflow)) => {
                self.fail(format!("chunk {seq} cannot be merged: {overflow}"))
            }
            // the chunk is as good as the others
            Err(AddError::TooHeavy(too_heavy)) => {
                let reason = too_heavy.to_string();
                self.without = Some(Without::failed(reason.clone()));
                Absorbed::Last(Entry::Failed {
                    reason: Cow::Owned(reason),
                })
            }
        }
    }

    /// Whether a partial says what the one with this digest said, however each is written; why it cannot be read, if it
    /// cannot.
    fn says(&self, partial: &PartialEntry<'_>, what: Prefix) -> Result<bool, String> {
        // bytes that we would write ourselves need not be read
        if Prefix::of(&partial.digest) == what {
            return Ok(true);
        }
        let Some(tally) = &self.tally else {
            return Ok(false);
        };
        let said = tally.digest(partial.json);
        let said = said.map_err(|error| error.to_string())?;
        Ok(Prefix::of(&said) == what)
    }

    fn merge(&mut self, partial: &RawValue) -> Result<Digest, AddError> {
        let Some(tally) = self.tally.as_mut() else {
            return Err(AddError::Unreadable("its kind is unknown".to_owned()));
        };
        let start = Instant::now();
        // a kind's bug must cost its own job only
        let merged = catch_unwind(AssertUnwindSafe(|| tally.add(partial)))
            .unwrap_or(Err(AddError::Overflow(autoconnect_common::kind::Overflow)));
        self.figures.merge += start.elapsed();
        merged
    }

    /// Makes sure that the job is of this kind and version; a job whose kind is not known yet becomes of this one.
    fn accept_format(
        &mut self,
        kind: &str,
        schema: u32,
        registry: &Registry,
    ) -> Result<(), String> {
        if let Some(known) = &self.format {
            return if known.kind == kind && known.schema == schema {
                Ok(())
            } else {
                Err(format!(
                    "kind {kind:?} with schema {schema}, expected {:?} with schema {} as the rest of the job",
                    known.kind, known.schema
                ))
            };
        }
        let here = registry.known(kind, schema)?;
        self.tally = Some(here.tally());
        self.format = Some(Format::new(kind, schema));
        Ok(())
    }

    fn absorb_manifest(&mut self, manifest: &Manifest, registry: &Registry) -> Absorbed {
        if let Some(old) = &self.manifest {
            return if same_manifest(old, manifest) {
                Absorbed::Duplicate
            } else if refusal(old).is_none() && refusal(manifest).is_some() {
                Absorbed::Stale("the job was cut to its end before: that cut counts".to_owned())
            } else {
                self.fail("inconsistent: the producer sent two different manifests".to_owned())
            };
        }
        if let Err(reason) = check_manifest(manifest) {
            return Absorbed::Refused(reason);
        }
        // a producer that gave up does not say what it had sent
        if refusal(manifest).is_none()
            && let Some(stray) = self.stray(manifest)
        {
            return self.fail(format!(
                "inconsistent: {stray} came, and is not in the manifest"
            ));
        }
        if let Err(reason) = self.accept_format(&manifest.kind, manifest.schema, registry) {
            return self.fail(format!("the job cannot be reduced here: {reason}"));
        }
        self.figures.cut(manifest.cut_ms);
        self.manifest = Some(manifest.clone());
        self.look_at_seal()
    }

    /// Takes note of a producer that cuts the job.
    fn absorb_begun(&mut self, begun: &Begun) -> Absorbed {
        let Some(asked) = &mut self.asked else {
            self.asked = Some(Asked::new(begun));
            return Absorbed::News;
        };
        if self.manifest.is_some() {
            return Absorbed::Renewed;
        }
        match asked.hear(begun) {
            Heard::Anew => Absorbed::News,
            Heard::Still => Absorbed::Renewed,
            Heard::Changed => {
                let reason = "inconsistent: the input changed between two attempts to cut the job: ask for it again";
                self.without = Some(Without::failed(reason));
                Absorbed::Last(Entry::Failed {
                    reason: reason.into(),
                })
            }
        }
    }

    fn absorb_asked_again(&mut self) -> Absorbed {
        (self.redo, self.asked_again) = (false, true);
        match &mut self.asked {
            Some(asked) => {
                asked.ask_again();
                Absorbed::News
            }
            None => Absorbed::Duplicate,
        }
    }

    /// A request that is dead ends a job that nobody cuts: one that was cut to its end needs no request any more, and
    /// one that somebody still cuts may come to it.
    fn absorb_dead_request(&mut self, reason: &str) -> Absorbed {
        match &mut self.asked {
            _ if self.manifest.is_some() => return Absorbed::Duplicate,
            Some(asked) => asked.bury(reason),
            None => self.without = Some(Without::failed(asked::no_request(reason))),
        }
        Absorbed::News
    }

    /// Whether its results come to a program of these kinds: of another format they wait for a program that knows it, and
    /// their silence says nothing.
    pub(crate) fn is_known_to(&self, registry: &Registry) -> bool {
        let format = self.format.as_ref().map(|f| (f.kind.as_str(), f.schema));
        let format = format.or(self.asked.as_ref().map(Asked::format));
        format.is_none_or(|(kind, schema)| registry.get(kind, schema).is_some())
    }

    /// What is to be done about the job, if no producer said for longer than `lease` that it cuts it.
    pub(crate) fn orphan(&self, lease: Duration) -> Option<Orphan> {
        let asked = self.asked.as_ref().filter(|_| self.without.is_none())?;
        if self.redo {
            return Some(Orphan::AskAgain(asked.request()));
        }
        let is_cut = self.manifest.is_some();
        asked.orphan(lease).filter(|_| !is_cut)
    }

    /// Takes a page of the seal.
    fn absorb_seal(&mut self, seal: Digest, page: u32, prefixes: &str) -> Absorbed {
        let sealed = self.manifest.as_ref().map(|manifest| &manifest.seal);
        let is_sealed =
            |sealed: &Option<seal::Seal>| sealed.as_ref().is_some_and(|s| s.digest == seal);
        match sealed.map(is_sealed) {
            Some(false) => {
                return Absorbed::Stale(format!(
                    "page {page} of a seal that is not the manifest's"
                ));
            }
            Some(true) if self.seal.is_whole() => return Absorbed::Duplicate,
            Some(true) | None => {}
        }
        let Some(prefixes) = seal::from_text(prefixes) else {
            return Absorbed::Refused(format!("page {page} of a seal cannot be read"));
        };
        match self.seal.take(seal, page, prefixes) {
            Taken::New => self.look_at_seal(),
            Taken::Known => Absorbed::Duplicate,
            Taken::Wrong(reason) => Absorbed::Refused(reason),
        }
    }

    /// Puts the seal together once all of it is there, and holds everything that came against it.
    fn look_at_seal(&mut self) -> Absorbed {
        let Some(manifest) = &self.manifest else {
            return Absorbed::News;
        };
        match self.seal.put_together(manifest) {
            Ok(false) => return Absorbed::News,
            Ok(true) => {}
            Err(reason) => return self.fail(reason),
        }
        if let Some(what) = self.unsealed() {
            return self.fail(format!(
                "inconsistent: {what} came, and is not the one of the manifest: the job was cut twice, from an input that had changed; ask for it again"
            ));
        }
        // nothing of these was merged
        let seal = &self.seal;
        let is_sealed = |seq: Seq, chunk: Option<Prefix>| {
            chunk.is_none_or(|chunk| !seal.contradicts_chunk(seq, chunk))
                && has_chunk(manifest, seq)
        };
        self.dead.retain(|&seq, dead| is_sealed(seq, dead.chunk));
        self.revived.retain(|&seq, sent| is_sealed(seq, sent.chunk));
        Absorbed::News
    }

    /// The first thing that came and is not what the seal says. The seal of a job that was refused holds no chunk, and perhaps
    /// no side file: what came of those before is in no report.
    fn unsealed(&self) -> Option<String> {
        let refused = self.manifest.as_ref().and_then(refusal).is_some();
        let mut merged = self.merged.iter().filter(|_| !refused);
        let chunk = merged.find(|(seq, merged)| self.seal.contradicts_chunk(*seq, merged.chunk));
        let page = self.pages.iter().find_map(|(name, pages)| {
            let counts = |page| !refused || self.expects_page(name, page);
            let mut pages = pages.iter().filter(|(page, _)| counts(**page));
            let (page, _) = pages.find(|(page, d)| self.seal.contradicts_page(name, **page, d))?;
            Some(format!("page {page} of {name}"))
        });
        chunk.map(|(seq, _)| format!("chunk {seq}")).or(page)
    }

    /// The verdict on whatever says that it is of a chunk which is not the sealed one.
    fn stale_chunk(&self, seq: Seq, chunk: Option<Prefix>) -> Option<Absorbed> {
        let is_stale = chunk.is_some_and(|chunk| self.seal.contradicts_chunk(seq, chunk));
        is_stale.then(|| {
            Absorbed::Stale(format!(
                "chunk {seq} is of another cut than the one that the manifest seals"
            ))
        })
    }

    /// The first thing that came and is not in `manifest`. A dead chunk is none: nothing of it was merged.
    fn stray(&self, manifest: &Manifest) -> Option<String> {
        let mut seen = self.merged.iter().map(|(seq, _)| seq);
        let chunk = seen.find(|&seq| !has_chunk(manifest, seq));
        let page = self.pages.iter().find_map(|(name, pages)| {
            let expected = manifest.annexes.get(name).copied().unwrap_or(0);
            let last = *pages.last_key_value()?.0;
            (last >= expected).then(|| format!("page {last} of {name}"))
        });
        chunk.map(|seq| format!("chunk {seq}")).or(page)
    }

    /// Whether the manifest, if it is known, names this page.
    fn expects_page(&self, name: &str, page: u32) -> bool {
        self.manifest
            .as_ref()
            .is_none_or(|m| m.annexes.get(name).is_some_and(|&pages| page < pages))
    }

    /// How many of the first `expected` pages of a side file came.
    fn pages_came(&self, name: &str, expected: u32) -> u64 {
        let pages = self.pages.get(name);
        pages.map_or(0, |pages| pages.range(..expected).count() as u64)
    }

    fn absorb_page(&mut self, page: &PageEntry<'_>) -> Absorbed {
        let PageEntry { name, digest, .. } = page;
        let page = page.page;
        if let Err(reason) = check_name(name) {
            return Absorbed::Refused(reason);
        }
        if page >= MAX_PAGES {
            return Absorbed::Refused(format!(
                "page {page} of {name}, expected at most {MAX_PAGES} pages"
            ));
        }
        if !self.expects_page(name, page) {
            return Absorbed::Refused(format!("page {page} of {name} is not in the manifest"));
        }
        if self.seal.contradicts_page(name, page, digest) {
            return Absorbed::Stale(format!(
                "page {page} of {name} is of another cut than the one that the manifest seals"
            ));
        }
        match self.pages.get(name.as_ref()).and_then(|p| p.get(&page)) {
            Some(old) if old == digest => Absorbed::Duplicate,
            Some(_) => self.fail(format!(
                "inconsistent: page {page} of {name} came twice, with different contents"
            )),
            None => {
                let pages = self.pages.entry(name.clone().into_owned()).or_default();
                pages.insert(page, *digest);
                Absorbed::News
            }
        }
    }

    fn absorb_dead(
        &mut self,
        seq: Seq,
        reason: &str,
        revived: u32,
        chunk: Option<Prefix>,
    ) -> Absorbed {
        if let Some(stale) = self.stale_chunk(seq, chunk) {
            return stale;
        }
        // word of a later death comes first where word of the requeue between them is late
        let known = self
            .dead
            .get(&seq)
            .is_some_and(|dead| revived <= dead.revived);
        if self.merged.contains(seq) || known || revived < self.times_revived(seq, chunk) {
            return Absorbed::Duplicate;
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        let dead = Dead {
            reason: reason.to_owned(),
            chunk,
            revived,
        };
        self.dead.insert(seq, dead);
        Absorbed::News
    }

    fn absorb_revived(&mut self, seq: Seq, time: u32, chunk: Option<Prefix>) -> Absorbed {
        if let Some(stale) = self.stale_chunk(seq, chunk) {
            return stale;
        }
        if self.merged.contains(seq) || time <= self.times_revived(seq, chunk) {
            return Absorbed::Duplicate;
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        // word of an earlier time may come after that of the death that followed
        if self.dead.get(&seq).is_some_and(|dead| time <= dead.revived) {
            return Absorbed::Duplicate;
        }
        let sent = SentAgain {
            times: time,
            chunk,
            reason: self.dead.remove(&seq).map(|dead| dead.reason),
        };
        self.revived.insert(seq, sent);
        // it is waited for: the job comes to its end another time
        self.order = None;
        Absorbed::News
    }

    /// The pages that came of a job that can be asked for again.
    pub(crate) fn pages_to_redo(&self) -> Vec<(String, u32, Digest)> {
        if self.asked.is_none() || self.without.is_some() {
            return Vec::new();
        }
        let of = |(name, pages): (&String, &BTreeMap<u32, Digest>)| {
            let of = |(&page, &digest)| (name.clone(), page, digest);
            pages.iter().map(of).collect::<Vec<_>>()
        };
        self.pages.iter().flat_map(of).collect()
    }

    /// Takes a page for one that never came: it is not on disk as it came. The job is asked for again.
    pub(crate) fn lose_page(&mut self, name: &str, page: u32) {
        let Some(pages) = self.pages.get_mut(name) else {
            return;
        };
        pages.remove(&page);
        let damage = format!("page {page} of {name} is damaged");
        tracing::error!(job_id = %self.id, damage, "page of a side file is damaged; it is waited for again");
        self.note_damage(&damage, true);
        // the job comes to its end another time
        self.order = None;
    }

    /// The chunks that were sent once more, as we were told, and of which nothing came since.
    fn awaited_again(&self) -> impl Iterator<Item = Seq> {
        let sent = self.revived.keys().copied();
        sent.filter(|&seq| !self.merged.contains(seq) && !self.dead.contains_key(&seq))
    }

    /// Whether nothing holds the job up but chunks that were sent once more, as we were told.
    pub(crate) fn awaits_only_requeued(&self) -> bool {
        let whole = |m: &Manifest| self.seal.is_whole() && self.lacking_annexes(m).is_empty();
        if self.revived.is_empty() {
            return false;
        }
        let Some(manifest) = self.manifest.as_ref().filter(|m| whole(m)) else {
            return false;
        };
        let awaited = self.awaited_again().count() as u64;
        let seen = self.merged.len() + self.dead.len() as u64;
        self.without.is_none() && awaited > 0 && seen + awaited == total(manifest)
    }

    /// Takes the chunks for dead again that were to be sent once more and never came: whoever told us so did not live to
    /// send them, and the dead queue has them still. A reducer that starts again waits for them again, so no journal
    /// needs to know.
    pub(crate) fn give_requeued_up(&mut self) {
        for seq in self.awaited_again().collect::<Vec<_>>() {
            let Some(sent) = self.revived.get(&seq) else {
                continue;
            };
            let before = sent.reason.as_deref().unwrap_or("unknown");
            let dead = Dead {
                reason: format!(
                    "it was to be requeued, and never came; why it died before: {before}"
                ),
                chunk: sent.chunk,
                // the same word, told again, counts again
                revived: sent.times.saturating_sub(1),
            };
            self.revived.remove(&seq);
            self.dead.insert(seq, dead);
        }
    }

    /// How often this chunk was sent once more; another one of the same number, of another cut, does not count.
    fn times_revived(&self, seq: Seq, chunk: Option<Prefix>) -> u32 {
        let sent = self.revived.get(&seq);
        let is_it =
            |sent: &&SentAgain| sent.chunk.is_none() || chunk.is_none() || sent.chunk == chunk;
        sent.filter(is_it).map_or(0, |sent| sent.times)
    }

    fn fail(&mut self, reason: String) -> Absorbed {
        self.without = Some(Without::failed(reason.clone()));
        Absorbed::Harmful(Entry::Failed {
            reason: Cow::Owned(reason),
        })
    }

    /// Takes note that some of what came may be lost: the job's end must not say that it never came.
    /// What was lost for certain (`redo`) is asked for again, where the request is known.
    pub(crate) fn note_damage(&mut self, damage: &str, redo: bool) {
        self.redo |= redo;
        let known = self.damage.get_or_insert_default();
        if !known.contains(damage) && known.len() < 500 {
            let separator = if known.is_empty() { "" } else { "; " };
            known.extend([separator, damage]);
        }
    }

    /// Has a silent job asked for again, once, where some of what came may be lost, for what the end of a journal does not
    /// hold any more may have been acknowledged; or where some of it may be of an earlier life, as the manifest that keeps
    /// producers from cutting it once more. Says whether it is.
    pub(crate) fn redo_before_giving_up(&mut self) -> bool {
        self.redo |= (self.damage.is_some() || self.anew) && !self.asked_again;
        self.redo && self.asked.is_some() && self.without.is_none()
    }

    /// `fact`, that something did not come, or what else it may be that nothing is known of it.
    fn unless_lost(&self, fact: &str) -> String {
        match &self.damage {
            None => fact.to_owned(),
            Some(damage) => {
                format!("{fact}, or it was lost with what the reducer cannot read: {damage}")
            }
        }
    }

    /// Whether this page came, with these contents.
    pub(crate) fn has_page(&self, page: &PageEntry<'_>) -> bool {
        let known = self.pages.get(page.name.as_ref());
        known.and_then(|pages| pages.get(&page.page)) == Some(&page.digest)
    }

    /// Fails the job for a reason that lies outside it.
    pub(crate) fn give_up(&mut self, reason: String) {
        self.without.get_or_insert(Without::failed(reason));
    }

    /// What the job's figures weigh, in bytes of memory.
    pub(crate) fn weight(&self) -> u64 {
        self.tally.as_ref().map_or(0, |tally| tally.weight())
    }

    /// How the job ends, once nothing more is to come.
    pub(crate) fn end(&self) -> Option<End> {
        if let Some(without) = &self.without {
            return Some(End::Without(without.clone()));
        }
        let manifest = self.manifest.as_ref()?;
        if !self.seal.is_whole() || !self.lacking_annexes(manifest).is_empty() {
            return None;
        }
        if let Some(refusal) = refusal(manifest) {
            return Some(End::Without(Without::failed(refusal)));
        }
        let seen = self.merged.len() + self.dead.len() as u64;
        (seen == total(manifest)).then(|| self.report(manifest))
    }

    /// How the job ends if nothing more comes; `waited` is how long nothing came.
    pub(crate) fn abandon(&self, waited: Duration) -> End {
        if let Some(end) = self.end() {
            return end;
        }
        match &self.manifest {
            None => End::Without(Without::failed(self.unless_lost(&format!(
                "abandoned: nothing came for {waited:?}, and the producer never said its last word"
            )))),
            Some(manifest) => match refusal(manifest) {
                Some(refusal) => End::Without(Without::failed(refusal)),
                None if !self.seal.is_whole() => {
                    let (came, pages) = self.seal.pages_came(manifest);
                    End::Without(Without::failed(self.unless_lost(&format!(
                        "abandoned: nothing came for {waited:?}, and only {came} of {pages} pages of the seal, which proves that all chunks are of one cut"
                    ))))
                }
                None => self.report(manifest),
            },
        }
    }

    /// The end with a report, complete or not.
    fn report(&self, manifest: &Manifest) -> End {
        let missing: Vec<Seq> = manifest
            .seqs()
            .filter(|&seq| !self.merged.contains(seq))
            .collect();
        let mut lacking = self.lacking_annexes(manifest);
        let never_came = missing.iter().any(|seq| !self.dead.contains_key(seq));
        let is_gone = (never_came || !lacking.is_empty()) && self.damage.is_none();
        if !missing.is_empty() {
            lacking.insert(0, self.name_missing(&missing, total(manifest)));
        }
        if is_gone {
            lacking.push(GONE.to_owned());
        }
        let lacking = (!lacking.is_empty()).then(|| lacking.join("; "));
        End::Report { missing, lacking }
    }

    /// One phrase that counts the missing chunks and names the first of them, with what is known of each.
    fn name_missing(&self, missing: &[Seq], total: u64) -> String {
        const NAMED: usize = 5;
        let named: Vec<String> = missing
            .iter()
            .take(NAMED)
            .map(|seq| match self.dead.get(seq) {
                Some(dead) => format!("{seq} ({})", dead.reason),
                None => format!("{seq} ({})", self.unless_lost(NO_PARTIAL)),
            })
            .collect();
        let more = if missing.len() > NAMED { ", …" } else { "" };
        format!(
            "{} of {total} chunks are missing: {}{more}",
            missing.len(),
            named.join(", ")
        )
    }

    /// One phrase for each side file that is not whole.
    fn lacking_annexes(&self, manifest: &Manifest) -> Vec<String> {
        let lacking = |(name, &expected): (&String, &u32)| {
            let came = self.pages_came(name, expected);
            (came != u64::from(expected))
                .then(|| self.unless_lost(&format!("{came} of {expected} pages of {name} came")))
        };
        manifest.annexes.iter().filter_map(lacking).collect()
    }

    /// When the job came to its end, among all jobs, if that was decided.
    pub(crate) fn order(&self) -> Option<u64> {
        self.order
    }

    /// Takes the job apart for its end, which came at `order` among all jobs.
    pub(crate) fn into_ended(self, end: End, order: u64) -> Ended {
        let mut annexes = BTreeMap::new();
        if let Some(manifest) = &self.manifest {
            for (name, &expected) in &manifest.annexes {
                if self.pages_came(name, expected) == u64::from(expected) {
                    let pages = self.pages.get(name).into_iter();
                    let digests = pages.flat_map(|pages| pages.range(..expected).map(|(_, d)| *d));
                    annexes.insert(name.clone(), digests.collect());
                }
            }
        }
        let unknown = self.unless_lost(NO_PARTIAL);
        Ended {
            id: self.id,
            end,
            tally: self.tally,
            kind: self.format.map(|format| format.kind),
            manifest: self.manifest,
            merged: self.merged.len(),
            dead: self
                .dead
                .into_iter()
                .map(|(seq, dead)| (seq, dead.reason))
                .collect(),
            annexes,
            figures: self.figures,
            unknown,
            order,
        }
    }

    /// Whether nothing is known of the job: every entry was refused.
    pub(crate) fn is_blank(&self) -> bool {
        self.merged.len() == 0
            && self.dead.is_empty()
            && self.seal.is_blank()
            && self.asked.is_none()
            && self.revived.is_empty()
            && self.pages.is_empty()
            && self.manifest.is_none()
            && self.without.is_none()
            && self.damage.is_none()
    }

    /// Whether somebody asked for the job: a producer says that it cuts it, or all that its manifest counts came. A manifest
    /// without that may be a late copy, and nothing else of the job may come.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.asked.is_some() || self.has_manifest() && self.end().is_some()
    }

    /// Whether nothing that the producer sends once more can be of use.
    pub(crate) fn is_cut(&self) -> bool {
        self.manifest.is_some() && self.damage.is_none()
    }

    /// Whether the producer said its last word.
    pub(crate) fn has_manifest(&self) -> bool {
        self.manifest.is_some()
    }

    /// How long ago the last news came.
    pub(crate) fn idle(&self) -> Duration {
        self.last_news.elapsed()
    }

    /// Chunks merged or dead, chunks in all once that is known, and rows merged.
    pub(crate) fn counts(&self) -> (u64, Option<u64>, u64) {
        let done = self.merged.len() + self.dead.len() as u64;
        (done, self.manifest.as_ref().map(total), self.figures.rows)
    }

    /// As [`Job::counts`], if any of it changed since last asked.
    pub(crate) fn progress(&mut self) -> Option<(u64, Option<u64>, u64)> {
        std::mem::take(&mut self.changed).then(|| self.counts())
    }

    /// The job as it is now.
    ///
    /// # Errors
    /// One sentence, where the merged partial cannot be written.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, String> {
        let tally = self.tally.as_ref().map(|tally| tally.snapshot());
        Ok(Snapshot {
            format: self.format.clone(),
            tally: tally.transpose().map_err(|error| error.to_string())?,
            merged: self.merged.iter().collect(),
            dead: self.dead.clone(),
            revived: self.revived.clone(),
            seal: self.seal.stored(self.manifest.as_ref()),
            asked: self.asked.clone(),
            pages: self.pages.clone(),
            manifest: self.manifest.clone(),
            without: self.without.clone(),
            figures: self.figures.clone(),
            damage: self.damage.clone(),
            redo: self.redo,
            asked_again: self.asked_again,
            anew: self.anew,
            order: self.order,
        })
    }

    /// The job as it was.
    ///
    /// # Errors
    /// One sentence, where its kind is unknown here or its merged partial cannot be read.
    pub(crate) fn restore(
        id: JobId,
        snapshot: Snapshot,
        registry: &Registry,
    ) -> Result<Self, String> {
        let mut job = Self::new(id);
        if let Some(format) = &snapshot.format {
            let mut tally = registry.known(&format.kind, format.schema)?.tally();
            if let Some(merged) = &snapshot.tally {
                match tally.add(merged) {
                    Ok(_) => {}
                    Err(AddError::TooHeavy(too_heavy)) => job.give_up(too_heavy.to_string()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            job.tally = Some(tally);
        }
        job.format = snapshot.format;
        job.merged = snapshot.merged.into_iter().collect();
        job.dead = snapshot.dead;
        job.revived = snapshot.revived;
        job.asked = snapshot.asked;
        job.seal = KnownSeal::restore(snapshot.seal, snapshot.manifest.as_ref())?;
        job.pages = snapshot.pages;
        job.manifest = snapshot.manifest;
        job.without = snapshot.without.or(job.without);
        job.figures = snapshot.figures;
        job.damage = snapshot.damage;
        job.redo = snapshot.redo;
        job.asked_again = snapshot.asked_again;
        job.anew = snapshot.anew;
        job.order = snapshot.order;
        Ok(job)
    }
}

fn has_chunk(manifest: &Manifest, seq: Seq) -> bool {
    manifest
        .chunks
        .get(usize::from(seq.part))
        .is_some_and(|&chunks| seq.number < chunks)
}

fn total(manifest: &Manifest) -> u64 {
    manifest.chunks.iter().map(|&n| u64::from(n)).sum()
}

/// Why there is to be no report, if there is none.
fn refusal(manifest: &Manifest) -> Option<String> {
    match (&manifest.refusal, &manifest.facts) {
        (Some(refusal), _) => Some(refusal.clone()),
        (None, None) => Some("the producer could not cut the job".to_owned()),
        (None, Some(_)) => None,
    }
}

/// Why a partial is no use.
fn unreadable(seq: Seq, what: &str) -> String {
    format!("the partial of chunk {seq} cannot be read: {what}")
}

/// Whether two manifests say the same; how long the cut took is not part of it.
fn same_manifest(a: &Manifest, b: &Manifest) -> bool {
    let facts = |m: &Manifest| m.facts.as_ref().map(|facts| facts.get().to_owned());
    let said = |m: &Manifest| (m.kind.clone(), m.schema, m.refusal.clone());
    let sealed = |m: &Manifest| (m.chunks.clone(), m.annexes.clone(), m.seal.clone());
    said(a) == said(b) && sealed(a) == sealed(b) && facts(a) == facts(b)
}

fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    let pages = manifest
        .annexes
        .values()
        .map(|&n| u64::from(n))
        .sum::<u64>();
    let sealed = total(manifest) + pages;
    if manifest.chunks.len() > 1 << 16 || sealed > MAX_SEALED {
        return Err(format!(
            "manifest of {sealed} chunks and pages in {} parts, expected at most {MAX_SEALED} in 65536",
            manifest.chunks.len()
        ));
    }
    for (name, &pages) in &manifest.annexes {
        check_name(name)?;
        if pages > MAX_PAGES {
            return Err(format!(
                "{name} of {pages} pages, expected at most {MAX_PAGES}"
            ));
        }
    }
    Ok(())
}

/// Refuses a name that would leave the job's folder or take the place of one of our own files.
fn check_name(name: &str) -> Result<(), String> {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let safe = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
    let ours = name == REPORT || name == EXECUTION || name.ends_with(".tmp");
    if safe && !ours && !name.starts_with('.') {
        Ok(())
    } else {
        Err(format!(
            "side file {:?}: expected a name of a-z, 0-9, '.', '_' and '-' that is not one of ours",
            name.chars().take(80).collect::<String>()
        ))
    }
}

#[cfg(test)]
mod tests;
