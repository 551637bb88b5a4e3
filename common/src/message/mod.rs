//! What the roles say to each other, and how a message that is not what it says is refused.
//!
//! `<f>` is a [`Format`], as in `sales.v1`; the exchanges and queues behind these names are those of
//! [`topology`](crate::broker::topology).
//!
//! | type | from -> to | exchange, routing key | body |
//! |---|---|---|---|
//! | `job` | anyone -> producer | jobs, `<f>` | JSON of [`JobRequest`] |
//! | `chunk` | producer -> worker | chunks, `<f>.<key>` | the kind's own (`sales`: Arrow IPC) |
//! | `partial` | worker -> reducer | results, `<f>.<job>` | JSON of the kind |
//! | `manifest` | producer -> reducer | results, `<f>.<job>` | JSON of [`Manifest`] |
//! | `annex` | producer -> reducer | results, `<f>.<job>` | a page of a side file |
//! | `seal` | producer -> reducer | results, `<f>.<job>` | a page of a large job's [`Seal`] |
//! | `begun` | producer -> reducer | control, `begun.<job>` | JSON of [`Begun`] |
//! | `cancel` | anyone -> reducer | control, `cancel.<job>` | JSON of [`Cancel`] |
//! | `revived` | anyone -> reducer | control, `revived.<job>` | none, see [`Revived`] |
//! | `question` | anyone -> reducer | control, `question.<token>` | JSON of [`Question`] |
//! | `newest` | anyone -> reducer | control, `newest.<token>` | JSON of [`Newest`] |
//! | `fetch` | anyone -> reducer | control, `fetch.<token>` | JSON of [`parts::Fetch`] |
//! | `part` | reducer -> whoever asked | events, `job.<token>` | a part of a report, see [`parts::Part`] |
//! | `chunk`, dead | worker or broker -> reducer and dead queue | dead, `dead.<f>` | as the chunk, with a `reason` |
//! | `job`, dead | broker or producer -> reducer and dead queue | dead, `jobs` | as the request, perhaps with a `reason` |
//! | `event` | any role -> whoever listens | events, `job.<id>`, `worker.<name>` or `program.<name>` | JSON of [`Event`] |
//!
//! Every message is persistent (events are not) and carries a deterministic id, so anything may be published twice.

pub mod parts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chunk::{Chunk, Digest, MAX_BODY};
use crate::results::Accept;
use crate::seal::{self, Prefix, Seal};
use crate::{Body, Format, JobId, Seq};

/// The largest JSON body that is accepted, in bytes (RabbitMQ 4 refuses messages above 16 MiB).
pub const MAX_JSON: usize = 8 << 20;
/// The longest message id and routing key, in bytes: AMQP's short strings.
pub const MAX_NAME: usize = 255;
/// The header that says how often a chunk was dead and sent once more.
const REVIVED: &str = "revived";

/// Where a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exchange {
    /// Requests for jobs.
    Jobs,
    /// Chunks to work.
    Chunks,
    /// Partials, manifests and annexes.
    Results,
    /// Questions to the reducer, cancellations, word of requeued chunks.
    Control,
    /// Chunks that nobody could work, and whatever else nobody could use.
    Dead,
    /// What happens, for whoever listens; lost when nobody does.
    Events,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is sent.
    pub exchange: Exchange,
    /// Its routing key; at most [`MAX_NAME`] bytes.
    pub key: String,
    /// Tells it from every other; the same for every copy; at most [`MAX_NAME`] bytes.
    pub id: String,
    /// `chunk`, `partial`, `manifest`, `annex`, `seal`, `begun`, `cancel`, `revived`, `question`, `job` or `event`.
    pub kind: String,
    /// What is said about the body.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Body,
}

/// A message that is not what it says it is; it is buried, never tried again.
#[derive(Debug, thiserror::Error)]
#[error("message {id:?}: {what}")]
pub struct MessageError {
    id: String,
    what: String,
}

impl Message {
    fn refuse(&self, what: impl Into<String>) -> MessageError {
        MessageError {
            id: self.id.chars().take(80).collect(),
            what: what.into(),
        }
    }

    /// The format that its routing key names: first, or after the word that says what became of it.
    pub fn format(&self) -> Option<Format> {
        let after = self.key.split_once('.').map(|(_, rest)| rest);
        Format::of_key(&self.key).or_else(|| Format::of_key(after?))
    }

    /// The job that its header names.
    ///
    /// # Errors
    /// [`MessageError`] where there is none, or something else.
    pub fn job(&self) -> Result<JobId, MessageError> {
        self.header("job")
    }

    fn header<T: std::str::FromStr>(&self, name: &str) -> Result<T, MessageError> {
        let text = self
            .headers
            .get(name)
            .ok_or_else(|| self.refuse(format!("header {name} is missing")))?;
        text.parse().map_err(|_| {
            self.refuse(format!(
                "header {name}: found {:?}",
                text.chars().take(80).collect::<String>()
            ))
        })
    }

    fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, MessageError> {
        if self.body.len() > MAX_JSON {
            return Err(self.refuse(format!(
                "body of {} bytes, expected at most {MAX_JSON}",
                self.body.len()
            )));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.refuse(format!("body: {error}")))
    }

    /// The body, if it has the digest its header says.
    fn body_as_said(&self) -> Result<Body, MessageError> {
        if self.body.len() > MAX_BODY {
            return Err(self.refuse(format!(
                "body of {} bytes, expected at most {MAX_BODY}",
                self.body.len()
            )));
        }
        let said: Digest = self.header("sha256")?;
        if self.body.digest() == said {
            Ok(self.body.clone())
        } else {
            Err(self.refuse("body does not have the digest its header says"))
        }
    }
}

fn headers<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl Chunk {
    /// The chunk as a message to the workers.
    pub fn to_message(&self) -> Message {
        Message {
            exchange: Exchange::Chunks,
            key: self.format().key(&self.key),
            id: format!("{}/{}", self.job, self.seq),
            kind: "chunk".to_owned(),
            headers: headers([
                ("job", self.job.to_string()),
                ("kind", self.kind.clone()),
                ("schema", self.schema.to_string()),
                ("seq", self.seq.to_string()),
                ("key", self.key.clone()),
                ("rows", self.rows.to_string()),
                ("bytes", self.body.len().to_string()),
                ("sha256", self.body.digest().to_string()),
            ]),
            body: self.body.clone(),
        }
    }

    /// The chunk in a message, its digest verified.
    ///
    /// # Errors
    /// [`MessageError`] for a message that is no chunk, too large, or not what its digest says.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        Ok(Self {
            job: message.header("job")?,
            kind: message.header("kind")?,
            schema: message.header("schema")?,
            seq: message.header("seq")?,
            key: message.header("key")?,
            rows: message.header("rows")?,
            body: message.body_as_said()?,
        })
    }
}

/// Turns a chunk's message into the message that declares it dead, for the reducer and the dead queue.
///
/// It works for a message that cannot be read as well: then only the dead queue learns what it was.
#[must_use]
pub fn bury(mut message: Message, reason: &str) -> Message {
    message.exchange = Exchange::Dead;
    // of another format than its queue it would not reach the reducer that waits for it
    let format = message.format().or_else(|| format_said(&message).ok());
    message.key = match format {
        Some(format) if format.is_plain() => format!("dead.{format}"),
        _ => "dead".to_owned(),
    };
    message
        .headers
        .insert("reason".to_owned(), reason.chars().take(500).collect());
    message
}

/// Turns the message of a request into the one that declares it dead, for the reducer and the dead queue. As with
/// [`bury`], only the dead queue learns of one that does not say its job.
#[must_use]
pub fn bury_request(mut message: Message, reason: &str) -> Message {
    message.exchange = Exchange::Dead;
    message.key = "jobs".to_owned();
    message.kind = "job".to_owned();
    let reason = reason.chars().take(500).collect();
    message.headers.insert("reason".to_owned(), reason);
    message
}

/// The format that a message's headers say it is of.
fn format_said(message: &Message) -> Result<Format, MessageError> {
    Ok(Format {
        kind: message.header("kind")?,
        schema: message.header("schema")?,
    })
}

/// What is said of a dead chunk that brings no reason with it: the broker gave it up.
pub const NO_REASON: &str = "every worker that took it died";
/// The same of a dead request.
pub const NO_PRODUCER: &str = "every producer that took the request died";

/// Why a dead message is dead, as its header says.
pub fn reason(message: &Message) -> &str {
    let unsaid = match message.kind.as_str() {
        "job" => NO_PRODUCER,
        _ => NO_REASON,
    };
    let said = message.headers.get("reason");
    said.map_or(unsaid, String::as_str)
}

/// How often a chunk was dead and sent once more.
fn times_revived(message: &Message) -> Result<u32, MessageError> {
    match message.headers.contains_key(REVIVED) {
        true => message.header(REVIVED),
        false => Ok(0),
    }
}

/// Turns a dead message into what it was before, to be sent once more: the opposite of [`bury`]. A chunk says from then
/// on how often that was done.
///
/// # Errors
/// [`MessageError`] for one whose headers do not say where it belongs.
pub fn revive(mut message: Message) -> Result<Message, MessageError> {
    let format = format_said(&message)?;
    let last = match message.kind.as_str() {
        "chunk" => {
            let time = times_revived(&message)?.saturating_add(1);
            message.headers.insert(REVIVED.to_owned(), time.to_string());
            "key"
        }
        _ => "job",
    };
    let last: String = message.header(last)?;
    (message.exchange, message.key) = match message.kind.as_str() {
        "job" => (Exchange::Jobs, format.to_string()),
        "chunk" => (Exchange::Chunks, format.key(last)),
        _ => (Exchange::Results, format.key(last)),
    };
    message.headers.remove("reason");
    Ok(message)
}

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
    /// The digest of `json`: two workers that made something else of one chunk show here.
    pub digest: Digest,
    /// The kind's partial.
    pub json: Box<RawValue>,
    /// Who made it and how long it took; told, never merged.
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

/// The last word of the producer on a job: what it was asked, and everything it sent.
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
    /// Why there is to be no report, in one sentence; absent where there is to be one.
    pub refusal: Option<String>,
    /// How long cutting and publishing took, in milliseconds; told, never merged.
    pub cut_ms: u64,
    /// As [`JobRequest::accept`].
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

    /// The entries in it; none where the body is not made of entries.
    pub fn prefixes(&self) -> Option<Vec<Prefix>> {
        seal::from_bytes(&self.body)
    }
}

/// Word of a producer that it cuts a job, at the beginning and again and again until the manifest. It brings the request, so
/// that the reducer can ask for the job again should the producer die; the reducer answers with [`Event::Begun`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// What is being cut, with the fingerprint of the input as it is now.
    pub request: JobRequest,
    /// Tells this attempt to cut the job from any other.
    pub cut: JobId,
}

impl Begun {
    /// The word as a message to the reducer.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        let job = &self.request.job;
        Ok(Message {
            exchange: Exchange::Control,
            key: format!("begun.{job}"),
            id: format!("{job}/begun/{}", self.cut),
            kind: "begun".to_owned(),
            headers: headers([("job", job.to_string())]),
            body: serde_json::to_vec(self)?.into(),
        })
    }
}

/// Somebody's wish that a job should end without a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
    /// Why, in a few words; of a longer text the beginning counts.
    pub reason: String,
}

impl Cancel {
    /// The wish as a message to the reducer.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        let job = &self.job;
        Ok(Message {
            exchange: Exchange::Control,
            key: format!("cancel.{job}"),
            id: format!("{job}/cancel"),
            kind: "cancel".to_owned(),
            headers: headers([("job", job.to_string())]),
            body: serde_json::to_vec(self)?.into(),
        })
    }

    fn from_message(message: &Message) -> Result<Self, MessageError> {
        let Self { job, reason } = message.json()?;
        let reason = reason.chars().take(500).collect();
        Ok(Self { job, reason })
    }
}

/// Word that a dead chunk is on its way to the workers once more: it is to be waited for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revived {
    /// Its job.
    pub job: JobId,
    /// Its number.
    pub seq: Seq,
    /// For which time, from 1: so that word of an earlier death, come again, is known as such.
    pub time: u32,
    /// The chunk's digest, where its message said one.
    pub chunk: Option<Digest>,
}

impl Revived {
    /// What a dead message that is to be sent once more has the reducer know, if anything; before it is sent.
    ///
    /// # Errors
    /// [`MessageError`] for a chunk that does not say which one it is.
    pub fn of(dead: &Message) -> Result<Option<Self>, MessageError> {
        if dead.kind != "chunk" {
            return Ok(None);
        }
        let (job, seq) = (dead.header("job")?, dead.header("seq")?);
        let time = times_revived(dead)?.saturating_add(1);
        let chunk = dead.header("sha256").ok();
        Ok(Some(Self {
            job,
            seq,
            time,
            chunk,
        }))
    }

    /// The word as a message to the reducer.
    pub fn to_message(&self) -> Message {
        let Self {
            job,
            seq,
            time,
            chunk,
        } = self;
        let mut headers = headers([
            ("job", job.to_string()),
            ("seq", seq.to_string()),
            (REVIVED, time.to_string()),
        ]);
        headers.extend(chunk.map(|chunk| ("chunk".to_owned(), chunk.to_string())));
        Message {
            exchange: Exchange::Control,
            key: format!("revived.{job}"),
            id: format!("{job}/{seq}/revived/{time}"),
            kind: "revived".to_owned(),
            headers,
            body: Body::default(),
        }
    }

    fn from_message(message: &Message) -> Result<Self, MessageError> {
        Ok(Self {
            job: message.header("job")?,
            seq: message.header("seq")?,
            time: message.header(REVIVED)?,
            chunk: message.header("chunk").ok(),
        })
    }
}

/// What somebody asks the reducer: how its jobs go. It answers with [`Event::Jobs`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Whoever listens to the events of a job of this name hears the answer.
    pub token: JobId,
    /// The one job that is asked about; all of them where absent.
    pub job: Option<JobId>,
}

impl Question {
    /// The question as a message to the reducer.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        let token = &self.token;
        Ok(Message {
            exchange: Exchange::Control,
            key: format!("question.{token}"),
            id: format!("{token}/question"),
            kind: "question".to_owned(),
            headers: BTreeMap::new(),
            body: serde_json::to_vec(self)?.into(),
        })
    }
}

/// Somebody's wish that the report of a job that ended should be the newest one. The reducer answers with
/// [`Event::Newest`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// Whoever listens to the events of a job of this name hears the answer.
    pub token: JobId,
    /// The job.
    pub job: JobId,
}

impl Newest {
    /// The wish as a message to the reducer.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        let token = &self.token;
        Ok(Message {
            exchange: Exchange::Control,
            key: format!("newest.{token}"),
            id: format!("{token}/newest"),
            kind: "newest".to_owned(),
            headers: BTreeMap::new(),
            body: serde_json::to_vec(self)?.into(),
        })
    }
}

/// Everything the reducer can be told.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A chunk was worked.
    Partial(Partial),
    /// The producer said its last word on a job.
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
    /// There is to be no report.
    Cancel(Cancel),
    /// A chunk that nobody could work.
    Dead {
        /// Its job.
        job: JobId,
        /// Its number.
        seq: Seq,
        /// Why, in one sentence.
        reason: String,
        /// How often it had been sent once more before.
        revived: u32,
        /// Its digest, where its message says one.
        chunk: Option<Digest>,
    },
    /// A dead chunk that is on its way once more.
    Revived(Revived),
}

impl Outcome {
    /// What `message` tells the reducer, verified.
    ///
    /// # Errors
    /// [`MessageError`] for anything that is not what it says it is.
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

/// Everything that comes to the reducer: news of a job, or a question, which changes nothing.
#[derive(Debug, Clone)]
pub enum Told {
    /// News of a job.
    Outcome(Outcome),
    /// A question.
    Question(Question),
    /// A wish.
    Newest(Newest),
    /// Somebody wants a part of a report.
    Fetch(parts::Fetch),
}

impl Told {
    /// What `message` tells or asks the reducer, verified.
    ///
    /// # Errors
    /// [`MessageError`] for anything that is not what it says it is.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        match message.kind.as_str() {
            "question" => message.json().map(Self::Question),
            "newest" => message.json().map(Self::Newest),
            "fetch" => message.json().map(Self::Fetch),
            _ => Outcome::from_message(message).map(Self::Outcome),
        }
    }
}

/// A request for a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The name the job is to have: the same request sent twice is one job.
    pub job: JobId,
    /// The kind of job.
    pub kind: String,
    /// The version of the kind's formats that it is to be cut in: the same in every attempt.
    pub schema: u32,
    /// What that kind is asked.
    pub request: Box<RawValue>,
    /// The fingerprint that the input had when the job was named or first cut: an input that has another one is not cut
    /// under this name. Absent where whoever asks does not see the input, or where it cannot be read twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// Which report is to become the newest although it would not by itself.
    #[serde(default, skip_serializing_if = "Accept::is_usual")]
    pub accept: Accept,
}

impl JobRequest {
    /// The request as a message to the producers.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        Ok(Message {
            exchange: Exchange::Jobs,
            key: Format::new(self.kind.as_str(), self.schema).to_string(),
            id: format!("{}/job", self.job),
            kind: "job".to_owned(),
            headers: headers([
                ("job", self.job.to_string()),
                ("kind", self.kind.clone()),
                ("schema", self.schema.to_string()),
            ]),
            body: serde_json::to_vec(self)?.into(),
        })
    }

    /// The request in a message.
    ///
    /// # Errors
    /// [`MessageError`] for anything else.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        message.json()
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The report is complete.
    Done,
    /// There is a report, and it names what it lacks.
    Incomplete,
    /// There is no report.
    Failed,
    /// There is no report, because somebody wanted none.
    Cancelled,
}

impl Status {
    /// Whether there is a report.
    pub fn has_report(self) -> bool {
        matches!(self, Self::Done | Self::Incomplete)
    }

    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Results are coming.
    Open {
        /// Chunks merged or dead so far.
        done: u64,
        /// Chunks in all, once the manifest is known.
        total: Option<u64>,
        /// Rows merged so far.
        rows: u64,
        /// How long ago the last news came, in milliseconds.
        idle_ms: u64,
    },
    /// Its report is being made or written.
    Ending,
    /// It ended.
    Ended {
        /// How.
        status: Status,
        /// Why there is no report or an incomplete one, in one sentence.
        reason: Option<String>,
        /// When it came to its end, in seconds since 1970.
        ended_at: u64,
    },
}

/// A job, and where it is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStage {
    /// The job.
    pub job: JobId,
    /// Where it is.
    #[serde(flatten)]
    pub stage: Stage,
}

/// What happens to jobs and workers, told to whoever listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A producer came a step further with its cut.
    Cut {
        /// The job.
        job: JobId,
        /// Rows read so far.
        rows: u64,
        /// Bytes of input read so far.
        read: u64,
        /// Bytes of input there are; 0 while unknown.
        size: u64,
    },
    /// A worker lives.
    Worker(Heartbeat),
    /// What keeps a program from making progress.
    Troubles {
        /// Which: its role or name, machine and process.
        program: String,
        /// One sentence each; none once it is over.
        troubles: Vec<String>,
    },
    /// A job came a step further.
    Progress {
        /// The job.
        job: JobId,
        /// Chunks merged or dead so far.
        done: u64,
        /// Chunks in all, once the manifest is known.
        total: Option<u64>,
        /// Rows merged so far.
        rows: u64,
    },
    /// The reducer durably knows of a request whose cut has begun: the answer to [`Begun`].
    Begun {
        /// The job.
        job: JobId,
        /// The attempt that said so.
        cut: JobId,
        /// Whether the job was cut to its end before: its manifest is there.
        whole: bool,
        /// Chunks merged or dead so far.
        done: u64,
    },
    /// A job ended.
    Finished {
        /// The job.
        job: JobId,
        /// How.
        status: Status,
        /// Why there is no report or an incomplete one, in one sentence.
        reason: Option<String>,
        /// `report.json`, where there is one of at most [`MAX_JSON`] / 2 bytes.
        report: Option<String>,
        /// `execution.json`.
        execution: Option<String>,
    },
    /// The answer to a [`Question`].
    Jobs {
        /// Its token.
        token: JobId,
        /// The jobs asked about that the reducer knows: open ones first, then those that ended, the newest first.
        jobs: Vec<JobStage>,
        /// How many more there are, which did not fit.
        more: u64,
    },
    /// The answer to a [`Newest`].
    Newest {
        /// Its token.
        token: JobId,
        /// The job.
        job: JobId,
        /// Why its report did not become the newest, in one sentence; absent where it did.
        refused: Option<String>,
    },
}

/// How a worker is, once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its name.
    pub worker: String,
    /// The machine, or container, it runs on.
    pub host: String,
    /// Its process; several workers may share one.
    pub pid: u32,
    /// Of its process, in percent of one core; unknown at first.
    pub cpu_percent: Option<f32>,
    /// Bytes of memory its process has.
    pub memory_bytes: u64,
    /// Chunks whose partial was confirmed, since it started.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
    /// Chunks buried, since it started.
    pub buried: u64,
    /// How long it computed, since it started, in milliseconds.
    pub busy_ms: u64,
    /// The chunk it computes.
    pub current: Option<Current>,
}

/// The chunk in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// Its job.
    pub job: JobId,
    /// Its number.
    pub seq: Seq,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

impl Event {
    /// The event as a message. `stamp` tells it from the other events of the same job or worker.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self, stamp: u64) -> Result<Message, serde_json::Error> {
        let (of, name) = match self {
            Self::Cut { job, .. }
            | Self::Progress { job, .. }
            | Self::Begun { job, .. }
            | Self::Finished { job, .. }
            | Self::Jobs { token: job, .. }
            | Self::Newest { token: job, .. } => ("job", job.as_str()),
            Self::Worker(heartbeat) => ("worker", heartbeat.worker.as_str()),
            Self::Troubles { program, .. } => ("program", program.as_str()),
        };
        Ok(Message {
            exchange: Exchange::Events,
            key: format!("{of}.{name}"),
            id: format!("{name}/event/{stamp}"),
            kind: "event".to_owned(),
            headers: BTreeMap::new(),
            body: serde_json::to_vec(self)?.into(),
        })
    }

    /// The event in a message.
    ///
    /// # Errors
    /// [`MessageError`] for anything else.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        message.json()
    }
}

#[cfg(test)]
mod tests;
