//! A report in parts, for a program that follows a job whose report is too large for an event.

use serde::{Deserialize, Serialize};

use super::{Exchange, Message, MessageError, headers};
use crate::chunk::{Digest, MAX_BODY};
use crate::{Body, JobId};

/// Bytes of a part: the largest body of a chunk, so that a part is no burden to the queues.
pub const PART: usize = MAX_BODY;

/// Asks the reducer for a part of the report of an ended job. It answers with a [`Part`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The part is published to the listeners of the job of this name.
    pub token: JobId,
    /// The job.
    pub job: JobId,
    /// Which part, from 0.
    pub part: u32,
}

impl Fetch {
    /// The request as a message to the reducer.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn to_message(&self) -> Result<Message, serde_json::Error> {
        let Self { token, part, .. } = self;
        Ok(Message {
            exchange: Exchange::Control,
            key: format!("fetch.{token}"),
            id: format!("{token}/fetch/{part}"),
            kind: "fetch".to_owned(),
            headers: headers([]),
            body: serde_json::to_vec(self)?.into(),
        })
    }
}

/// A part of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The request.
    pub of: Fetch,
    /// How many parts the report has; 0 where the reducer has none of that job.
    pub parts: u32,
    /// The digest of the whole report.
    pub whole: Digest,
    /// The part.
    pub body: Body,
}

impl Part {
    /// The part as a message to its requester. `stamp` distinguishes it from other answers to the same request.
    pub fn to_message(&self, stamp: u64) -> Message {
        let Fetch { token, job, part } = &self.of;
        Message {
            exchange: Exchange::Events,
            key: format!("job.{token}"),
            id: format!("{token}/part/{part}/{stamp}"),
            kind: "part".to_owned(),
            headers: headers([
                ("token", token.to_string()),
                ("job", job.to_string()),
                ("part", part.to_string()),
                ("parts", self.parts.to_string()),
                ("whole", self.whole.to_string()),
                ("sha256", self.body.digest().to_string()),
            ]),
            body: self.body.clone(),
        }
    }

    /// The part in a message, its digest verified.
    ///
    /// # Errors
    /// [`MessageError`] for anything else.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        if message.kind != "part" {
            return Err(message.refuse("expected a part of a report"));
        }
        Ok(Self {
            of: Fetch {
                token: message.header("token")?,
                job: message.header("job")?,
                part: message.header("part")?,
            },
            parts: message.header("parts")?,
            whole: message.header("whole")?,
            body: message.body_as_said()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_was_sent_or_is_refused() {
        let part = Part {
            of: Fetch {
                token: "fetch-1".parse().expect("a name"),
                job: "sales-1".parse().expect("a name"),
                part: 2,
            },
            parts: 3,
            whole: Digest::of(b"all of it"),
            body: "some of it".into(),
        };
        let mut message = part.to_message(7);
        assert_eq!(Part::from_message(&message).expect("a part"), part);
        message.body = "something else".into();
        assert!(Part::from_message(&message).is_err());
        let asked = part.of.to_message().expect("JSON");
        assert!(Part::from_message(&asked).is_err());
        assert_eq!(asked.json::<Fetch>().expect("a request"), part.of);
    }
}
