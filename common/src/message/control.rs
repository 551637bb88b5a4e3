//! Words to the reducer that are not results: that a job is cut, cancelled or sent once more, and questions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dead::{REVIVED, times_revived};
use super::parts;
use super::{Exchange, JobRequest, Message, MessageError, Outcome, headers};
use crate::chunk::Digest;
use crate::{Body, JobId, Seq};

/// Word of a producer that it cuts a job, at the beginning and again and again until the manifest. It brings the request, so
/// that the reducer can ask for the job again should the producer die; the reducer answers with [`Event::Begun`](super::Event::Begun).
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

    pub(super) fn from_message(message: &Message) -> Result<Self, MessageError> {
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

    pub(super) fn from_message(message: &Message) -> Result<Self, MessageError> {
        Ok(Self {
            job: message.header("job")?,
            seq: message.header("seq")?,
            time: message.header(REVIVED)?,
            chunk: message.header("chunk").ok(),
        })
    }
}

/// What somebody asks the reducer: how its jobs go. It answers with [`Event::Jobs`](super::Event::Jobs).
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
/// [`Event::Newest`](super::Event::Newest).
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
