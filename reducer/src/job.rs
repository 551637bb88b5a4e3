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
//! Whatever says that there is to be no report (an inconsistency, a cancellation) is the last thing a job takes in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use autoconnect_common::kind::{AddError, Kind, REPORT, Tally};
use autoconnect_common::message::{Manifest, Status};
use autoconnect_common::{Digest, JobId, Registry, Seq};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::entry::{Entry, PageEntry, PartialEntry};
use crate::execution::{EXECUTION, Figures};

/// The most chunks a job may have: a manifest that says more is hostile.
const MAX_CHUNKS: u64 = 4 << 20;
/// The most pages a side file may have.
const MAX_PAGES: u32 = 1 << 20;

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Absorbed {
    /// It changed the job; the journal must have it.
    News,
    /// It changed nothing: it was known.
    Duplicate,
    /// It is wrong and changed nothing; it is to be buried with this reason.
    Refused(String),
    /// It is wrong and changed the job into what this entry says; it is to be buried with that reason.
    Harmful(Entry<'static>),
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

/// What a chunk's number stands for, once it was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Merged {
    chunk: Digest,
    partial: Digest,
}

/// A kind and the version of its formats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Format {
    kind: String,
    schema: u32,
}

/// A job that has not ended.
pub(crate) struct Job {
    id: JobId,
    format: Option<Format>,
    tally: Option<Box<dyn Tally>>,
    merged: BTreeMap<Seq, Merged>,
    dead: BTreeMap<Seq, String>,
    /// How often each chunk was sent once more after its death.
    revived: BTreeMap<Seq, u32>,
    pages: BTreeMap<String, BTreeMap<u32, Digest>>,
    manifest: Option<Manifest>,
    without: Option<Without>,
    figures: Figures,
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
    dead: BTreeMap<Seq, String>,
    #[serde(default)]
    revived: BTreeMap<Seq, u32>,
    pages: BTreeMap<String, BTreeMap<u32, Digest>>,
    manifest: Option<Manifest>,
    without: Option<Without>,
    figures: Figures,
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
    /// The side files that are whole, with their number of pages.
    pub(crate) annexes: BTreeMap<String, u32>,
    pub(crate) figures: Figures,
}

impl Job {
    /// A job nothing is known of.
    pub(crate) fn new(id: JobId) -> Self {
        Self {
            id,
            format: None,
            tally: None,
            merged: BTreeMap::new(),
            dead: BTreeMap::new(),
            revived: BTreeMap::new(),
            pages: BTreeMap::new(),
            manifest: None,
            without: None,
            figures: Figures::default(),
            last_news: Instant::now(),
            changed: false,
        }
    }

    /// Takes an entry in, once.
    pub(crate) fn absorb(&mut self, entry: &Entry<'_>, registry: &Registry) -> Absorbed {
        // of a job without a report only the side files still matter, and the manifest says which there are
        let refused = self.manifest.as_ref().and_then(refusal).is_some();
        let beside = match entry {
            Entry::Partial(_) | Entry::Dead { .. } | Entry::Revived { .. } => refused,
            Entry::Page(page) => refused && !self.expects_page(&page.name, page.page),
            Entry::Manifest(_) | Entry::Failed { .. } | Entry::Cancelled { .. } => false,
        };
        if self.without.is_some() || beside {
            return Absorbed::Duplicate;
        }
        let absorbed = match entry {
            Entry::Partial(partial) => self.absorb_partial(partial, registry),
            Entry::Manifest(manifest) => self.absorb_manifest(manifest, registry),
            Entry::Page(page) => self.absorb_page(page),
            Entry::Dead {
                seq,
                reason,
                revived,
            } => self.absorb_dead(*seq, reason, *revived),
            Entry::Revived { seq, time } => self.absorb_revived(*seq, *time),
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
            Absorbed::News | Absorbed::Harmful(_) => {
                self.last_news = Instant::now();
                self.changed = true;
            }
            Absorbed::Duplicate => self.figures.duplicates += 1,
            Absorbed::Refused(_) => {}
        }
        absorbed
    }

    fn absorb_partial(&mut self, partial: &PartialEntry<'_>, registry: &Registry) -> Absorbed {
        let seq = partial.seq;
        let new = Merged {
            chunk: partial.chunk,
            partial: partial.digest,
        };
        if let Some(old) = self.merged.get(&seq) {
            return match (*old == new, old.chunk == new.chunk) {
                (true, _) => Absorbed::Duplicate,
                (false, true) => self.fail(format!(
                    "inconsistent: chunk {seq} was worked twice, with different results"
                )),
                (false, false) => self.fail(format!(
                    "inconsistent: chunk {seq} came twice, with different contents"
                )),
            };
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        if let Err(reason) = self.accept_format(&partial.kind, partial.schema, registry) {
            return Absorbed::Refused(reason);
        }
        match self.merge(partial.json) {
            Ok(()) => {
                self.dead.remove(&seq);
                self.merged.insert(seq, new);
                self.figures.count(partial);
                Absorbed::News
            }
            Err(AddError::Unreadable(what)) => {
                let reason = format!("the partial of chunk {seq} cannot be read: {what}");
                self.dead.insert(seq, reason.clone());
                Absorbed::Harmful(Entry::Dead {
                    seq,
                    reason: Cow::Owned(reason),
                    revived: self.times_revived(seq),
                })
            }
            Err(AddError::Overflow(overflow)) => {
                self.fail(format!("chunk {seq} cannot be merged: {overflow}"))
            }
        }
    }

    fn merge(&mut self, partial: &RawValue) -> Result<(), AddError> {
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
        let here = known_kind(kind, schema, registry)?;
        self.tally = Some(here.tally());
        self.format = Some(Format {
            kind: kind.to_owned(),
            schema,
        });
        Ok(())
    }

    fn absorb_manifest(&mut self, manifest: &Manifest, registry: &Registry) -> Absorbed {
        if let Some(old) = &self.manifest {
            return if same_manifest(old, manifest) {
                Absorbed::Duplicate
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
        self.manifest = Some(manifest.clone());
        Absorbed::News
    }

    /// The first thing that came and is not in `manifest`.
    fn stray(&self, manifest: &Manifest) -> Option<String> {
        let seen = self.merged.keys().chain(self.dead.keys()).copied();
        let chunk = seen.filter(|&seq| !has_chunk(manifest, seq)).min();
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

    fn absorb_dead(&mut self, seq: Seq, reason: &str, revived: u32) -> Absorbed {
        let is_known = self.merged.contains_key(&seq) || self.dead.contains_key(&seq);
        if is_known || revived < self.times_revived(seq) {
            return Absorbed::Duplicate;
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        self.dead.insert(seq, reason.to_owned());
        Absorbed::News
    }

    fn absorb_revived(&mut self, seq: Seq, time: u32) -> Absorbed {
        if self.merged.contains_key(&seq) || time <= self.times_revived(seq) {
            return Absorbed::Duplicate;
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        self.dead.remove(&seq);
        self.revived.insert(seq, time);
        Absorbed::News
    }

    fn times_revived(&self, seq: Seq) -> u32 {
        self.revived.get(&seq).copied().unwrap_or(0)
    }

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

    /// How the job ends, once nothing more is to come.
    pub(crate) fn end(&self) -> Option<End> {
        if let Some(without) = &self.without {
            return Some(End::Without(without.clone()));
        }
        let manifest = self.manifest.as_ref()?;
        if !self.lacking_annexes(manifest).is_empty() {
            return None;
        }
        if let Some(refusal) = refusal(manifest) {
            return Some(End::Without(Without::failed(refusal)));
        }
        let seen = self.merged.len() + self.dead.len();
        (seen as u64 == total(manifest)).then(|| self.report(manifest))
    }

    /// How the job ends if nothing more comes; `waited` is how long nothing came.
    pub(crate) fn abandon(&self, waited: Duration) -> End {
        if let Some(end) = self.end() {
            return end;
        }
        match &self.manifest {
            None => End::Without(Without::failed(format!(
                "abandoned: nothing came for {waited:?}, and the producer never said its last word"
            ))),
            Some(manifest) => match refusal(manifest) {
                Some(refusal) => End::Without(Without::failed(refusal)),
                None => self.report(manifest),
            },
        }
    }

    /// The end with a report, complete or not.
    fn report(&self, manifest: &Manifest) -> End {
        let missing: Vec<Seq> = manifest
            .seqs()
            .filter(|seq| !self.merged.contains_key(seq))
            .collect();
        let mut lacking = self.lacking_annexes(manifest);
        if !missing.is_empty() {
            lacking.insert(0, self.name_missing(&missing, total(manifest)));
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
                Some(reason) => format!("{seq} ({reason})"),
                None => format!("{seq} (no partial came)"),
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
                .then(|| format!("{came} of {expected} pages of {name} came"))
        };
        manifest.annexes.iter().filter_map(lacking).collect()
    }

    /// Takes the job apart for its end.
    pub(crate) fn into_ended(self, end: End) -> Ended {
        let mut annexes = BTreeMap::new();
        if let Some(manifest) = &self.manifest {
            for (name, &expected) in &manifest.annexes {
                if self.pages_came(name, expected) == u64::from(expected) {
                    annexes.insert(name.clone(), expected);
                }
            }
        }
        Ended {
            id: self.id,
            end,
            tally: self.tally,
            kind: self.format.map(|format| format.kind),
            manifest: self.manifest,
            merged: self.merged.len() as u64,
            dead: self.dead,
            annexes,
            figures: self.figures,
        }
    }

    /// Whether nothing is known of the job: every entry was refused.
    pub(crate) fn is_blank(&self) -> bool {
        self.merged.is_empty()
            && self.dead.is_empty()
            && self.revived.is_empty()
            && self.pages.is_empty()
            && self.manifest.is_none()
            && self.without.is_none()
    }

    /// How long ago the last news came.
    pub(crate) fn idle(&self) -> Duration {
        self.last_news.elapsed()
    }

    /// Chunks merged or dead, chunks in all once that is known, and rows merged.
    pub(crate) fn counts(&self) -> (u64, Option<u64>, u64) {
        let done = (self.merged.len() + self.dead.len()) as u64;
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
            merged: self.merged.iter().map(|(&s, &m)| (s, m)).collect(),
            dead: self.dead.clone(),
            revived: self.revived.clone(),
            pages: self.pages.clone(),
            manifest: self.manifest.clone(),
            without: self.without.clone(),
            figures: self.figures.clone(),
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
            let mut tally = known_kind(&format.kind, format.schema, registry)?.tally();
            if let Some(merged) = &snapshot.tally {
                tally.add(merged).map_err(|error| error.to_string())?;
            }
            job.tally = Some(tally);
        }
        job.format = snapshot.format;
        job.merged = snapshot.merged.into_iter().collect();
        job.dead = snapshot.dead;
        job.revived = snapshot.revived;
        job.pages = snapshot.pages;
        job.manifest = snapshot.manifest;
        job.without = snapshot.without;
        job.figures = snapshot.figures;
        Ok(job)
    }
}

fn known_kind<'r>(kind: &str, schema: u32, registry: &'r Registry) -> Result<&'r dyn Kind, String> {
    let short: String = kind.chars().take(40).collect();
    let known = registry
        .get(kind)
        .ok_or_else(|| format!("kind {short:?} is not known here"))?;
    if known.schema() == schema {
        Ok(known)
    } else {
        Err(format!(
            "schema {schema} of kind {short:?}, expected {}",
            known.schema()
        ))
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

/// Whether two manifests say the same; how long the cut took is not part of it.
fn same_manifest(a: &Manifest, b: &Manifest) -> bool {
    let facts = |m: &Manifest| m.facts.as_ref().map(|facts| facts.get().to_owned());
    (&a.kind, a.schema, &a.chunks, &a.annexes, &a.refusal)
        == (&b.kind, b.schema, &b.chunks, &b.annexes, &b.refusal)
        && facts(a) == facts(b)
}

fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    let chunks = total(manifest);
    if manifest.chunks.len() > 1 << 16 || chunks > MAX_CHUNKS {
        return Err(format!(
            "manifest of {chunks} chunks in {} parts, expected at most {MAX_CHUNKS} in 65536",
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
mod tests {
    use super::*;

    const SEQ: Seq = Seq { part: 0, number: 3 };

    fn dead(revived: u32) -> Entry<'static> {
        Entry::Dead {
            seq: SEQ,
            reason: "boom".into(),
            revived,
        }
    }

    fn revived(time: u32) -> Entry<'static> {
        Entry::Revived { seq: SEQ, time }
    }

    /// A job that took `entries` in, and how many of its chunks are accounted for after each.
    fn after(entries: &[Entry<'_>]) -> (Job, Vec<u64>) {
        let mut job = Job::new("sales-1".parse().expect("a name"));
        let registry = Registry::default();
        let counted = entries.iter().map(|entry| {
            assert!(!matches!(
                job.absorb(entry, &registry),
                Absorbed::Refused(_)
            ));
            job.counts().0
        });
        let counted = counted.collect();
        (job, counted)
    }

    #[test]
    fn a_dead_chunk_that_is_sent_once_more_is_waited_for_until_it_dies_again() {
        let story = [dead(0), revived(1), dead(1), revived(2)];
        let (_, counted) = after(&story);
        assert_eq!(counted, [1, 0, 1, 0]);
    }

    #[test]
    fn word_of_a_chunk_counts_once_in_whatever_order_it_comes() {
        let (_, counted) = after(&[revived(1), dead(0), dead(0), revived(1)]);
        assert_eq!(counted, [0, 0, 0, 0]);
        let (_, counted) = after(&[dead(1), revived(1), dead(0), revived(2), dead(1)]);
        assert_eq!(counted.last(), Some(&0));
    }

    #[test]
    fn a_job_that_is_made_again_from_its_snapshot_waits_for_the_same_chunks() {
        let (job, _) = after(&[dead(0), revived(1)]);
        let json = serde_json::to_string(&job.snapshot().expect("made")).expect("JSON");
        let snapshot = serde_json::from_str(&json).expect("a snapshot");
        let mut job = Job::restore(job.id, snapshot, &Registry::default()).expect("restored");
        let registry = Registry::default();
        assert_eq!(job.absorb(&dead(0), &registry), Absorbed::Duplicate);
        assert_eq!(job.absorb(&dead(1), &registry), Absorbed::News);
    }
}
