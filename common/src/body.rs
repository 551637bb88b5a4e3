//! The bytes of a message, with their digest cached once computed.

use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::Digest;

/// Shared bytes with a cached digest: inside one process a chunk is digested once, not by every role that handles it. A
/// body received from RabbitMQ has none cached.
///
/// ```
/// use autoconnect_common::{Body, Digest};
///
/// let body = Body::from("la Clio");
/// // it is read as bytes; a clone shares them and the digest
/// assert_eq!(std::str::from_utf8(&body), Ok("la Clio"));
/// assert_eq!(body.clone().digest(), Digest::of(b"la Clio"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Body {
    bytes: Bytes,
    digest: OnceLock<Digest>,
}

impl Body {
    /// The digest of the bytes; computed at the first call, for this body and later clones of it.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest::of(&self.bytes))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self {
            bytes: bytes.into(),
            digest: OnceLock::new(),
        }
    }
}

impl Deref for Body {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Body {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_digest_of_its_bytes_and_so_have_its_clones() {
        let body = Body::from("lyon");
        let before = body.clone();
        assert_eq!(body.digest(), Digest::of(b"lyon"));
        assert_eq!(body.clone().digest(), body.digest());
        assert_eq!(before.digest(), body.digest());
        assert_eq!(before, body);
        assert_ne!(Body::from("paris"), body);
    }
}
