//! What a worker receives ([`Chunk`]), and the [`Digest`] that proves that it arrived unchanged.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Body, Format, JobId, Seq};

/// The largest chunk body that is accepted, in bytes: quorum queues keep larger messages on disk long after their ack.
pub const MAX_BODY: usize = 1 << 20;

/// A SHA-256 digest, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of `value` as JSON.
    ///
    /// # Errors
    /// [`serde_json::Error`] where it cannot be written as JSON.
    pub fn of_json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        // all at once: digesting each piece of a few bytes takes longer than keeping them
        serde_json::to_vec(value).map(|json| Self::of(&json))
    }

    /// The digest of what `write` writes, without keeping it.
    ///
    /// # Errors
    /// What `write` said.
    pub fn of_written<E>(
        write: impl FnOnce(&mut dyn io::Write) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut hashing = Hashing(Sha256::new());
        write(&mut hashing)?;
        Ok(Self(hashing.0.finalize().into()))
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first `digits` hexadecimal digits: enough for a name, not for a proof.
    pub fn short(&self, digits: usize) -> String {
        self.to_string().chars().take(digits).collect()
    }
}

/// A writer that keeps only the digest.
struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 64 hexadecimal digits in lower case.
#[derive(Debug, thiserror::Error)]
#[error("digest: expected 64 hexadecimal digits in lower case")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let nibble = |b: u8| match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(InvalidDigest),
        };
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(InvalidDigest);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// A piece of a job's input, complete in itself: a worker needs nothing else.
///
/// ```
/// use autoconnect_common::{Chunk, Seq};
///
/// let chunk = Chunk {
///     job: "words-1".parse()?,
///     kind: "wordcount".to_owned(),
///     schema: 1,
///     seq: Seq::first_part(0),
///     key: "text".to_owned(),
///     rows: 2,
///     body: "la Clio\nla Zoé".into(),
/// };
/// // which queue it waits in, and under which routing key it was published
/// assert_eq!(chunk.format().to_string(), "wordcount.v1");
/// assert_eq!(chunk.format().key(&chunk.key), "wordcount.v1.text");
/// # Ok::<(), autoconnect_common::job::InvalidJobId>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The job it belongs to.
    pub job: JobId,
    /// The name of the job's kind.
    pub kind: String,
    /// The version of the kind's chunk format.
    pub schema: u32,
    /// Its number within the job.
    pub seq: Seq,
    /// The last word of its routing key: what its rows have in common (`sales`: the city).
    pub key: String,
    /// How many rows it carries.
    pub rows: u32,
    /// The rows, in the kind's own format (`sales`: an Arrow IPC stream).
    pub body: Body,
}

impl Chunk {
    /// Its kind and the version of its format.
    pub fn format(&self) -> Format {
        Format::new(self.kind.as_str(), self.schema)
    }
}
