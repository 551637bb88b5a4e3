//! The records of a job's journal: one [`Entry`] for every change of the job.

use std::borrow::Cow;

use autoconnect_common::message::{Begun, Change, Manifest};
use autoconnect_common::seal::{self, Prefix};
use autoconnect_common::{Digest, Format, Seq};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One change of a job. Replaying a job's entries in order restores the job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry<'a> {
    /// A chunk was worked.
    Partial(#[serde(borrow)] PartialEntry<'a>),
    /// The producer finished the cut.
    Manifest(Cow<'a, Manifest>),
    /// A page of a side file; its bytes are in the folder of pages.
    Page(#[serde(borrow)] PageEntry<'a>),
    /// A page of the seal.
    Seal {
        /// The digest of the whole seal.
        seal: Digest,
        /// The number of the page.
        page: u32,
        /// Its entries, as text.
        prefixes: Cow<'a, str>,
    },
    /// A chunk that could not be worked.
    Dead {
        /// Its number.
        seq: Seq,
        /// Why, in one sentence.
        reason: Cow<'a, str>,
        /// How often the chunk had been requeued before.
        #[serde(default)]
        revived: u32,
        /// Which one it is, where its message says so.
        #[serde(default)]
        chunk: Option<Prefix>,
    },
    /// A dead chunk that was requeued.
    Revived {
        /// Its number.
        seq: Seq,
        /// How many times it has been requeued, from 1.
        time: u32,
        /// Which one it is, where its message says so.
        #[serde(default)]
        chunk: Option<Prefix>,
    },
    /// A producer cuts the job.
    Begun(Cow<'a, Begun>),
    /// No producer cut the job any more, and it was requested again.
    AskedAgain,
    /// It had ended, its results were removed, and it was requested again.
    Anew,
    /// Its request is dead.
    DeadRequest {
        /// Why, in one sentence.
        reason: Cow<'a, str>,
    },
    /// The job is ready to conclude.
    AtEnd {
        /// Larger than that of every job that became ready before.
        order: u64,
    },
    /// The job failed: it will have no report.
    Failed {
        /// Why, in one sentence.
        reason: Cow<'a, str>,
    },
    /// The job was cancelled: it will have no report.
    Cancelled {
        /// Why, in a few words.
        reason: Cow<'a, str>,
    },
}

/// A partial, as [`autoconnect_common::message::Partial`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartialEntry<'a> {
    pub(crate) kind: Cow<'a, str>,
    pub(crate) schema: u32,
    pub(crate) seq: Seq,
    pub(crate) chunk: Digest,
    pub(crate) digest: Digest,
    pub(crate) rows: u32,
    pub(crate) worker: Cow<'a, str>,
    pub(crate) micros: u64,
    pub(crate) redeliveries: u32,
    #[serde(borrow)]
    pub(crate) json: &'a RawValue,
}

/// A page of a side file, as [`autoconnect_common::message::Annex`] without its body.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PageEntry<'a> {
    pub(crate) kind: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) page: u32,
    pub(crate) digest: Digest,
}

impl Entry<'_> {
    /// The format that a program must know to replay the entry, if any.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::Partial(partial) => Some(Format::new(&*partial.kind, partial.schema)),
            Self::Manifest(manifest) => Some(Format::new(&manifest.kind, manifest.schema)),
            Self::Page(_)
            | Self::Seal { .. }
            | Self::Dead { .. }
            | Self::Revived { .. }
            | Self::Begun(_)
            | Self::AskedAgain
            | Self::Anew
            | Self::DeadRequest { .. }
            | Self::AtEnd { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. } => None,
        }
    }
}

impl<'a> From<&'a Change> for Entry<'a> {
    fn from(change: &'a Change) -> Self {
        match change {
            Change::Partial(partial) => Self::Partial(PartialEntry {
                kind: Cow::Borrowed(&partial.kind),
                schema: partial.schema,
                seq: partial.seq,
                chunk: partial.chunk,
                digest: partial.digest,
                rows: partial.rows,
                worker: Cow::Borrowed(&partial.made.worker),
                micros: partial.made.micros,
                redeliveries: partial.made.redeliveries,
                json: &partial.json,
            }),
            Change::Manifest(manifest) => Self::Manifest(Cow::Borrowed(manifest)),
            Change::Annex(annex) => Self::Page(PageEntry {
                kind: Cow::Borrowed(&annex.kind),
                name: Cow::Borrowed(&annex.name),
                page: annex.page,
                digest: annex.body.digest(),
            }),
            Change::Seal(page) => Self::Seal {
                seal: page.seal,
                page: page.page,
                prefixes: page
                    .prefixes()
                    .as_deref()
                    .map_or_else(String::new, seal::to_text)
                    .into(),
            },
            Change::Begun(begun) => Self::Begun(Cow::Borrowed(begun)),
            Change::DeadRequest { job: _, reason } => Self::DeadRequest {
                reason: Cow::Borrowed(reason),
            },
            Change::Cancel(cancel) => Self::Cancelled {
                reason: Cow::Borrowed(&cancel.reason),
            },
            Change::Dead {
                job: _,
                seq,
                reason,
                revived,
                chunk,
            } => Self::Dead {
                seq: *seq,
                reason: Cow::Borrowed(reason),
                revived: *revived,
                chunk: chunk.as_ref().map(Prefix::of),
            },
            Change::Revived(revived) => Self::Revived {
                seq: revived.seq,
                time: revived.time,
                chunk: revived.chunk.as_ref().map(Prefix::of),
            },
        }
    }
}
