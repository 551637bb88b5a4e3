//! A chunk as a message: with its body or, where that is too large, with a [`Claim`] on it.

use super::{Exchange, Message, MessageError, headers};
use crate::chunk::{Chunk, Digest};
use crate::{Body, JobId};

/// The header of a message whose body is in the blob store: the address there, `<job>/<sha256>`.
const BLOB: &str = "blob";

/// The message of a chunk whose body is in the blob store ([`crate::blob`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The job that the body belongs to.
    pub job: JobId,
    /// How many bytes the body has.
    pub bytes: u64,
    /// The body's digest.
    pub digest: Digest,
}

impl Claim {
    /// The claim in a message; `None` where the message carries its body.
    ///
    /// # Errors
    /// [`MessageError`] for a claim on a body of another job, or with a body.
    pub fn of(message: &Message) -> Result<Option<Self>, MessageError> {
        let Some(address) = message.headers.get(BLOB) else {
            return Ok(None);
        };
        let claim = Self {
            job: message.header("job")?,
            bytes: message.header("bytes")?,
            digest: message.header("sha256")?,
        };
        if *address != claim.address() {
            let found: String = address.chars().take(160).collect();
            let expected = claim.address();
            return Err(message.refuse(format!(
                "header {BLOB}: found {found:?}, expected {expected}"
            )));
        }
        if !message.body.is_empty() {
            let found = message.body.len();
            return Err(message.refuse(format!(
                "body of {found} bytes, expected none beside the header {BLOB}"
            )));
        }
        Ok(Some(claim))
    }

    fn address(&self) -> String {
        format!("{}/{}", self.job, self.digest)
    }
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

    /// The chunk as a message without its body, which is in the blob store.
    pub fn to_claim(&self) -> Message {
        let mut message = self.to_message();
        let claim = Claim {
            job: self.job.clone(),
            bytes: self.body.len() as u64,
            digest: self.body.digest(),
        };
        message.headers.insert(BLOB.to_owned(), claim.address());
        message.body = Body::default();
        message
    }

    /// The chunk in a message, its digest verified.
    ///
    /// # Errors
    /// [`MessageError`] for a message that is no chunk, is too large, does not have its digest, or is a claim.
    pub fn from_message(message: &Message) -> Result<Self, MessageError> {
        if let Some(claim) = Claim::of(message)? {
            let bytes = claim.bytes;
            return Err(message.refuse(format!("its body of {bytes} bytes is in the blob store")));
        }
        Self::with_body(message, message.body_as_said()?)
    }

    /// The chunk of a claim and its fetched body, the digest verified.
    ///
    /// # Errors
    /// [`MessageError`] for a message that is no chunk, or a body that does not have the digest.
    pub fn from_claim(message: &Message, body: Body) -> Result<Self, MessageError> {
        let said: Digest = message.header("sha256")?;
        let found = body.digest();
        if found != said {
            return Err(message.refuse(format!(
                "the body in the blob store is damaged: found the digest {found}, expected {said}"
            )));
        }
        Self::with_body(message, body)
    }

    fn with_body(message: &Message, body: Body) -> Result<Self, MessageError> {
        Ok(Self {
            job: message.header("job")?,
            kind: message.header("kind")?,
            schema: message.header("schema")?,
            seq: message.header("seq")?,
            key: message.header("key")?,
            rows: message.header("rows")?,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seq;

    fn large() -> Chunk {
        Chunk {
            job: "words-1".parse().expect("valid"),
            kind: "words".to_owned(),
            schema: 1,
            seq: Seq::first_part(3),
            key: "text".to_owned(),
            rows: 2,
            body: vec![7; 3 << 20].into(),
        }
    }

    #[test]
    fn a_claim_carries_all_but_the_body_and_the_found_body_makes_it_the_chunk() {
        let chunk = large();
        let message = chunk.to_claim();
        assert!(message.body.is_empty());
        let claim = Claim::of(&message).expect("as sent").expect("a claim");
        assert_eq!((claim.bytes, claim.digest), (3 << 20, chunk.body.digest()));
        let found = Chunk::from_claim(&message, chunk.body.clone()).expect("the body");
        assert_eq!(found.to_claim(), message);
        assert_eq!(found.body, chunk.body);
        let refused = Chunk::from_message(&message).expect_err("its body is elsewhere");
        assert!(
            refused.to_string().contains("is in the blob store"),
            "{refused}"
        );
    }

    #[test]
    fn another_body_is_not_the_one_of_a_claim() {
        let chunk = large();
        for body in [vec![], vec![7; 5], vec![8; 3 << 20]] {
            let refused = Chunk::from_claim(&chunk.to_claim(), body.into()).expect_err("damaged");
            assert!(refused.to_string().contains("damaged"), "{refused}");
        }
    }

    #[test]
    fn a_claim_leads_nowhere_but_to_a_body_of_its_own_job() {
        let good = large().to_claim();
        let with = |name: &str, value: String| {
            let mut message = good.clone();
            message.headers.insert(name.to_owned(), value);
            message
        };
        let digest = &good.headers["sha256"];
        for message in [
            with("blob", "../../etc/passwd".to_owned()),
            with("blob", format!("words-2/{digest}")),
            with("blob", format!("words-1/../words-2/{digest}")),
            with("job", "../words-1".to_owned()),
            with("job", "words-2".to_owned()),
            with("sha256", "../../secret".to_owned()),
            with("bytes", "-1".to_owned()),
            with("bytes", u128::MAX.to_string()),
        ] {
            assert!(Claim::of(&message).is_err(), "{:?}", message.headers);
        }
        let mut both = good.clone();
        both.body = "body".into();
        assert!(Claim::of(&both).is_err());
        assert_eq!(Claim::of(&large().to_message()).expect("no claim"), None);
    }
}
