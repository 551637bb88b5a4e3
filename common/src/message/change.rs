//! Results of a job's chunks and of its cut, for the reducer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dead::{reason, times_revived};
use super::{Begun, Cancel, Exchange, Message, MessageError, Revived, headers};
use crate::chunk::{Chunk, Digest};
use crate::results::Accept;
use crate::seal::{self, Prefix, Seal};
use crate::{Body, Format, JobId, Seq};

/// What a worker made of a chunk.
#[derive(Debug, Clone)]
pub struct Partial {
    /// The chunk's job.
    pub job: JobId,
    /// The job's kind.
    pub kind: String,
    /// The version of the kind's formats.
    pub schema: u32,
    /// The chunk's number.
    pub seq: Seq,
    /// The chunk's digest.
    pub chunk: Digest,
    /// How many rows the chunk had.
    pub rows: u32,
    /// The digest of `json`: it differs where two workers made different partials of one chunk.
    pub digest: Digest,
    /// The kind's partial.
    pub json: Box<RawValue>,
    /// Who made it and how long it took; reported, never merged.
    pub made: Made,
}

/// Who made a partial, for `execution.json`; never part of what is merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The worker's name.
    pub worker: String,
    /// How long the work took, in microseconds.
    pub micros: u64,
    /// How often the chunk had been delivered before.
    pub redeliveries: u32,
}

impl Partial {
    /// The partial of `chunk`.
    pub fn of(chunk: &Chunk, json: Box<RawValue>, made: Made) -> Self {
        Self {
            job: chunk.job.clone(),
            kind: chunk.kind.clone(),
            schema: chunk.schema,
            seq: chunk.seq,
            chunk: chunk.body.digest(),
            rows: chunk.rows,
            digest: Digest::of(json.get().as_bytes()),
            json,
            made,
        }
    }

    fn format(&self) -> Format {
        Format::new(self.kind.as_str(), self.schema)
    }

    /// The partial as a message to the reducer.
    pub fn to_message(&self) -> Message {
        Message {
            exchange: Exchange::Results,
            key: self.format().key(&self.job),
            id: format!("{}/{}/partial", self.job, self.seq),
            kind: "partial".to_owned(),
            headers: headers([
                ("job", self.job.to_string()),
                ("kind", self.kind.clone()),
                ("schema", self.schema.to_string()),
                ("seq", self.seq.to_string()),
                ("chunk", self.chunk.to_string()),
                ("rows", self.rows.to_string()),
                ("sha256", self.digest.to_string()),
                ("worker", self.made.worker.clone()),
                ("micros", self.made.micros.to_string()),
                ("redeliveries", self.made.redeliveries.to_string()),
            ]),
            body: self.json.get().to_owned().into(),
        }
    }

    fn from_message(message: &Message) -> Result<Self, MessageError> {
        let digest = message.header("sha256")?;
        if message.body.digest() != digest {
            return Err(message.refuse("body does not have the digest its header says"));
        }
        Ok(Self {
            job: message.header("job")?,
            kind: message.header("kind")?,
            schema: message.header("schema")?,
            seq: message.header("seq")?,
            chunk: message.header("chunk")?,
            rows: message.header("rows")?,
            digest,
            json: message.json()?,
            made: Made {
                worker: message.header("worker")?,
                micros: message.header("micros")?,
                redeliveries: message.header("redeliveries")?,
            },
        })
    }
}

/// Ends the cut of a job: counts everything that the producer sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// The version of the kind's formats.
    pub schema: u32,
    /// How many chunks each part has; empty where the cut was refused or failed.
    pub chunks: Vec<u32>,
    /// How many pages each annex has.
    pub annexes: BTreeMap<String, u32>,
    /// Proves that chunks and pages are of one cut; absent where there are none of either.
    #[serde(default)]
    pub seal: Option<Seal>,
    /// What the kind learnt that no chunk carries; absent where the cut failed.
    pub facts: Option<Box<RawValue>>,
    /// Why there will be no report, in one sentence; absent where there will be one.
    pub refusal: Option<String>,
    /// How long cutting and publishing took, in milliseconds; reported, never merged.
    pub cut_ms: u64,
    /// As [`JobRequest::accept`](super::JobRequest::accept).
    #[serde(default, skip_serializing_if = "Accept::is_usual")]
    pub accept: Accept,
}

impl Manifest {
    /// The manifest as a message to the reducer.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        Ok(Message {
            exchange: Exchange::Results,
            key: Format::new(self.kind.as_str(), self.schema).key(&self.job),
            id: format!("{}/manifest", self.job),
            kind: "manifest".to_owned(),
            headers: headers([
                ("job", self.job.to_string()),
                ("kind", self.kind.clone()),
                ("schema", self.schema.to_string()),
            ]),
            body: serde_json::to_vec(self)?.into(),
        })
    }

    /// Every chunk the job has.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        (0u16..)
            .zip(&self.chunks)
            .flat_map(|(part, &chunks)| (0..chunks).map(move |number| Seq { part, number }))
    }
}

/// A page of a side file of the report.
#[derive(Debug, Clone)]
pub struct Annex {
    /// The job.
    pub job: JobId,
    /// The job's kind.
    pub kind: String,
    /// The version of the kind's formats.
    pub schema: u32,
    /// The side file's name: `a-z`, `0-9`, `.`, `_` and `-` only, no leading dot.
    pub name: String,
    /// Which page of it, from 0.
    pub page: u32,
    /// The page.
    pub body: Body,
}

impl Annex {
    /// The annex as a message to the reducer.
    pub fn to_message(&self) -> Message {
        Message {
            exchange: Exchange::Results,
            key: Format::new(self.kind.as_str(), self.schema).key(&self.job),
            id: format!("{}/{}/{}", self.job, self.name, self.page),
            kind: "annex".to_owned(),
            headers: headers([
                ("job", self.job.to_string()),
                ("kind", self.kind.clone()),
                ("schema", self.schema.to_string()),
                ("name", self.name.clone()),
                ("page", self.page.to_string()),
                ("sha256", self.body.digest().to_string()),
            ]),
            body: self.body.clone(),
        }
    }

    fn from_message(message: &Message) -> Result<Self, MessageError> {
        let name: String = message.header("name")?;
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.bytes().all(allowed)
        {
            return Err(message.refuse("header name: expected the name of a side file"));
        }
        Ok(Self {
            job: message.header("job")?,
            kind: message.header("kind")?,
            schema: message.header("schema")?,
            name,
            page: message.header("page")?,
            body: message.body_as_said()?,
        })
    }
}

/// A page of the [`Seal`] of a job with many chunks.
#[derive(Debug, Clone)]
pub struct SealPage {
    /// The job.
    pub job: JobId,
    /// The job's kind.
    pub kind: String,
    /// The version of the kind's formats.
    pub schema: u32,
    /// The digest of the whole seal: the pages of two cuts do not mix.
    pub seal: Digest,
    /// Which page of it, from 0.
    pub page: u32,
    /// The page: eight bytes for each chunk and page of a side file.
    pub body: Body,
}

impl SealPage {
    /// The page as a message to the reducer.
    pub fn to_message(&self) -> Message {
        Message {
            exchange: Exchange::Results,
            key: Format::new(self.kind.as_str(), self.schema).key(&self.job),
            id: format!("{}/seal/{}/{}", self.job, self.seal.short(16), self.page),
            kind: "seal".to_owned(),
            headers: headers([
                ("job", self.job.to_string()),
                ("kind", self.kind.clone()),
                ("schema", self.schema.to_string()),
                ("seal", self.seal.to_string()),
                ("page", self.page.to_string()),
                ("sha256", self.body.digest().to_string()),
            ]),
            body: self.body.clone(),
        }
    }

    fn from_message(message: &Message) -> Result<Self, MessageError> {
        Ok(Self {
            job: message.header("job")?,
            kind: message.header("kind")?,
            schema: message.header("schema")?,
            seal: message.header("seal")?,
            page: message.header("page")?,
            body: message.body_as_said()?,
        })
    }

    /// Its entries; `None` where the body has an invalid length.
    pub fn prefixes(&self) -> Option<Vec<Prefix>> {
        seal::from_bytes(&self.body)
    }
}

/// Everything that changes a job.
#[derive(Debug, Clone)]
pub enum Change {
    /// A chunk was worked.
    Partial(Partial),
    /// The producer finished the cut.
    Manifest(Manifest),
    /// A page of a side file.
    Annex(Annex),
    /// A page of a large job's seal.
    Seal(SealPage),
    /// A producer cuts a job.
    Begun(Begun),
    /// A request that no producer could read or survive.
    DeadRequest {
        /// Its job.
        job: JobId,
        /// Why, in one sentence.
        reason: String,
    },
    /// The job is cancelled.
    Cancel(Cancel),
    /// A chunk that could not be worked.
    Dead {
        /// Its job.
        job: JobId,
        /// Its number.
        seq: Seq,
        /// Why, in one sentence.
        reason: String,
        /// How often it had been requeued before.
        revived: u32,
        /// Its digest, where its message has one.
        chunk: Option<Digest>,
    },
    /// A dead chunk that is being requeued.
    Revived(Revived),
}

impl Change {
    /// Reads and verifies `message`.
    ///
    /// # Errors
    /// [`MessageError`] for an invalid message.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        match message.kind.as_str() {
            "partial" => Partial::from_message(message).map(Self::Partial),
            "manifest" => message.json().map(Self::Manifest),
            "annex" => Annex::from_message(message).map(Self::Annex),
            "seal" => SealPage::from_message(message).map(Self::Seal),
            "begun" => message.json().map(Self::Begun),
            "job" => Ok(Self::DeadRequest {
                job: message.header("job")?,
                reason: reason(message).to_owned(),
            }),
            "cancel" => Cancel::from_message(message).map(Self::Cancel),
            "revived" => Revived::from_message(message).map(Self::Revived),
            "chunk" => Ok(Self::Dead {
                job: message.header("job")?,
                seq: message.header("seq")?,
                reason: reason(message).to_owned(),
                revived: times_revived(message)?,
                chunk: message.header("sha256").ok(),
            }),
            other => Err(message.refuse(format!(
                "type {:?}, expected partial, manifest, annex, seal, begun, cancel, revived, question, job or chunk",
                other.chars().take(40).collect::<String>()
            ))),
        }
    }

    /// The job it is about.
    pub fn job(&self) -> &JobId {
        match self {
            Self::Partial(partial) => &partial.job,
            Self::Manifest(manifest) => &manifest.job,
            Self::Annex(annex) => &annex.job,
            Self::Seal(page) => &page.job,
            Self::Begun(begun) => &begun.request.job,
            Self::DeadRequest { job, .. } => job,
            Self::Cancel(cancel) => &cancel.job,
            Self::Dead { job, .. } => job,
            Self::Revived(revived) => &revived.job,
        }
    }
}
