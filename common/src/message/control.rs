//! Messages to the reducer that are not results: notices of cuts, cancellations and requeued chunks, and questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dead::{REVIVED, times_revived};
use super::parts;
use super::{Change, Exchange, JobRequest, Message, MessageError, headers};
use crate::chunk::Digest;
use crate::{Body, JobId, Seq};

/// A producer cuts a job: sent at the beginning, and repeated until the manifest. It carries the request, so that the
/// reducer can request the job again if the producer dies. The reducer answers with
/// [`Event::Begun`](super::Event::Begun).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// The request that is being cut, with the current fingerprint of the input.
    pub request: JobRequest,
    /// Identifies this attempt to cut the job.
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

/// Cancels a job: it ends without a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
    /// Why, in a few words; longer text is truncated.
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

    pub(super) fn from_message(message: &Message) -> Result<Self, MessageError> {
        let Self { job, reason } = message.json()?;
        let reason = reason.chars().take(500).collect();
        Ok(Self { job, reason })
    }
}

/// A dead chunk is being requeued: the reducer waits for it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revived {
    /// Its job.
    pub job: JobId,
    /// Its number.
    pub seq: Seq,
    /// How many times it has been requeued, from 1: lets the reducer ignore redelivered notices of earlier deaths.
    pub time: u32,
    /// The chunk's digest, where its message has one.
    pub chunk: Option<Digest>,
}

impl Revived {
    /// The notice that the reducer needs before `dead` is requeued; `None` where it needs none.
    ///
    /// # Errors
    /// [`MessageError`] for a chunk without a valid job or number.
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

    pub(super) fn from_message(message: &Message) -> Result<Self, MessageError> {
        Ok(Self {
            job: message.header("job")?,
            seq: message.header("seq")?,
            time: message.header(REVIVED)?,
            chunk: message.header("chunk").ok(),
        })
    }
}

/// Asks the reducer for the stage of its jobs. It answers with [`Event::Jobs`](super::Event::Jobs).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The answer is published to the listeners of the job of this name.
    pub token: JobId,
    /// The one job to report on; all of them where absent.
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

/// Makes the report of an ended job the newest one. The reducer answers with [`Event::Newest`](super::Event::Newest).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newest {
    /// The answer is published to the listeners of the job of this name.
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

/// Everything that the reducer receives.
#[derive(Debug, Clone)]
pub enum ReducerInput {
    /// Changes a job.
    Change(Change),
    /// Asks about jobs.
    Question(Question),
    /// Chooses the newest report.
    Newest(Newest),
    /// Asks for a part of a report.
    Fetch(parts::Fetch),
}

impl ReducerInput {
    /// Reads and verifies `message`.
    ///
    /// # Errors
    /// [`MessageError`] for an invalid message.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        match message.kind.as_str() {
            "question" => message.json().map(Self::Question),
            "newest" => message.json().map(Self::Newest),
            "fetch" => message.json().map(Self::Fetch),
            _ => Change::from_message(message).map(Self::Change),
        }
    }
}
