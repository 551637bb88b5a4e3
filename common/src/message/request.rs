//! A request for a job.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Exchange, Message, MessageError, headers};
use crate::results::Accept;
use crate::{Digest, Format, JobId};

/// A request for a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// The name of the job: the same request sent twice is one job.
    pub job: JobId,
    /// The kind of job.
    pub kind: String,
    /// The version of the kind's formats to cut it in: the same in every attempt.
    pub schema: u32,
    /// The kind's own request.
    pub request: Box<RawValue>,
    /// The fingerprint of the input when the job was named or first cut: an input with another one is refused. Absent
    /// where the requester cannot read the input, or where it cannot be read twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// Which reports may become the newest although they would not by default.
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
