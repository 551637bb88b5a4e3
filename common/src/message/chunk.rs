//! A chunk as a message.

use super::{Exchange, Message, MessageError, headers};
use crate::chunk::Chunk;

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
