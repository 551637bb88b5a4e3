//! The blob store: holds the bodies of chunks that are too large for a message (a *claim check*).
//!
//! ```text
//!  producer:  body above MAX_BODY --put--> <store>/jobs/<job>/<sha256> --then--> the chunk's message: a Claim
//!  worker:    Claim --get, verified--> body --> work
//!  reducer:   the job ended --> <store>/jobs/<job>/ended is put, and the job's bodies are removed
//! ```
//!
//! Promises:
//!
//! * A claim is published only after its blob is durable ([`Blobs::put`]), so a worker that finds none knows that it is
//!   lost.
//! * An address is made of a job's name and a digest, both checked; nothing from a message or from data becomes a path.
//! * A body that does not have the size and the digest of its claim is never worked: [`BlobError::Damaged`].
//! * A missing or damaged body is lost for good: its chunk is dead, with that reason. A store that is down
//!   ([`BlobError::Away`]) is retried, as a broker is ([`patiently`]).
//! * A body that is missing because its job ended differs from a lost one by the object `ended` of the job, which is put before
//!   the first body is removed and removed before a cut puts its first one ([`Blobs::end`], [`Blobs::begin`]).
//! * A missing body differs from a store that is down by the object `autoconnect-blobs`, which the first put writes: an
//!   empty folder where a volume is not mounted has none.
//!
//! A store belongs to one cluster: objects of jobs that are not open are removed from it after a while.
//!
//! A store is a folder, or, with the cargo feature `s3`, a prefix in a bucket of S3: what is said here holds for both.

mod folder;
mod jobs;
mod place;
#[cfg(feature = "s3")]
mod s3;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io};

use futures_util::FutureExt as _;
use object_store::path::{Path, PathPart};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutPayload};

use crate::health::Health;
use crate::message::Claim;
use crate::{Body, Digest, Fate, JobId, wait};

pub use jobs::Left;
pub(crate) use place::ACCEPTS;
pub use place::{InvalidPlace, Place};

/// The largest body that is put into a store unless the settings say otherwise: a worker holds one or two of them, in a
/// container of 512 MiB.
pub const MAX_BLOB: u64 = 256 << 20;
/// The object that marks a store as mounted.
const MARKER: &str = "autoconnect-blobs";
/// The folder of the jobs' own folders.
const JOBS: &str = "jobs";
/// The object that marks a job as ended; no digest has that name.
const ENDED: &str = "ended";
/// The first [pause](wait::pause) after a failed attempt: a store that restarts is down for a second or two.
const PAUSE: Duration = Duration::from_millis(500);
/// The name of the trouble of a store that is down.
const TROUBLE: &str = "blobs";

/// Why a body was not put or not got. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The job has ended, and its bodies are removed.
    #[error("the body {address} was removed from the blob store when its job ended")]
    Ended {
        /// Where it was.
        address: String,
    },
    /// The store is up, the body is missing, and its job is not marked as ended.
    #[error("the body of {bytes} bytes is not in the blob store: expected {address}")]
    Missing {
        /// Where it should be.
        address: String,
        /// How large it should be.
        bytes: u64,
    },
    /// The stored body is another one.
    #[error(
        "the body at {address} in the blob store is damaged: found {found}, expected {expected}"
    )]
    Damaged {
        /// Where it is.
        address: String,
        /// The size or the digest of the stored body.
        found: String,
        /// The size or the digest in its claim.
        expected: String,
    },
    /// It is larger than this program accepts.
    #[error("a body of {found} bytes, expected at most {most} (blobs.max)")]
    TooLarge {
        /// Its size.
        found: u64,
        /// The most that is accepted.
        most: u64,
    },
    /// The store cannot be reached, read or written.
    #[error("the blob store {store} is away: {why}")]
    Away {
        /// Which store.
        store: String,
        /// The store's error.
        why: String,
    },
}

impl BlobError {
    /// Whether a retry can help.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Away { .. } => Fate::Again,
            Self::Ended { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. } => Fate::Bury,
        }
    }
}

/// A blob store; clones are the same store.
#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    place: Place,
    root: Path,
    max: u64,
    is_marked: Arc<AtomicBool>,
}

impl Blobs {
    /// The store at `place`, for bodies of at most `max` bytes. Does no I/O yet.
    ///
    /// # Errors
    /// [`InvalidPlace`] for a place that this program cannot use.
    pub fn open(place: &Place, max: u64) -> Result<Self, InvalidPlace> {
        Ok(Self::at(place, max, place.open()?))
    }

    /// As [`Blobs::open`], with other `variables` than the process's, for credentials and endpoint of a bucket.
    ///
    /// # Errors
    /// As [`Blobs::open`].
    #[cfg(feature = "s3")]
    pub fn open_with(
        place: &Place,
        max: u64,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidPlace> {
        Ok(Self::at(place, max, place.open_with(variables)?))
    }

    fn at(place: &Place, max: u64, (store, root): (Arc<dyn ObjectStore>, Path)) -> Self {
        Self {
            store,
            place: place.clone(),
            root,
            max,
            is_marked: Arc::default(),
        }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The most bytes that a body may have.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Puts a body of a job at the address of its claim. Idempotent; durable on return.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`], [`BlobError::Away`].
    pub async fn put(&self, job: &JobId, body: &Body, digest: Digest) -> Result<(), BlobError> {
        self.check_size(body.len() as u64)?;
        self.caught(async {
            self.mark().await?;
            let path = self.path(job, digest);
            let payload = PutPayload::from_bytes((**body).clone());
            let put = self.store.put(&path, payload).await;
            put.map(drop).map_err(|error| self.away(&error))
        })
        .await
    }

    /// Gets the body of a claim and checks its size. [`Chunk::from_claim`](crate::Chunk::from_claim) verifies the digest,
    /// on a thread that may block.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn get(&self, claim: &Claim) -> Result<Body, BlobError> {
        self.check_size(claim.bytes)?;
        self.caught(self.fetch(claim)).await
    }

    async fn fetch(&self, claim: &Claim) -> Result<Body, BlobError> {
        let path = self.path(&claim.job, claim.digest);
        if self.leads_elsewhere(claim).await? {
            return Err(BlobError::Damaged {
                address: self.place.address(&path),
                found: "a link, or no file".to_owned(),
                expected: format!("a file of {} bytes", claim.bytes),
            });
        }
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Err(self.missing(claim, &path).await),
            Err(error) => return Err(self.away(&error)),
        };
        if found.meta.size != claim.bytes {
            return Err(BlobError::Damaged {
                address: self.place.address(&path),
                found: format!("{} bytes", found.meta.size),
                expected: format!("{} bytes", claim.bytes),
            });
        }
        let bytes = found.bytes().await.map_err(|error| self.away(&error))?;
        Ok(bytes.into())
    }

    /// Whether the address leads out of the job's own folder.
    async fn leads_elsewhere(&self, claim: &Claim) -> Result<bool, BlobError> {
        let Some(own) = self.folder_of(&claim.job) else {
            return Ok(false);
        };
        let file = own.join(claim.digest.to_string());
        self.on_folder(move || folder::leads_elsewhere(&own, &file))
            .await
    }

    fn check_size(&self, found: u64) -> Result<(), BlobError> {
        match self.max {
            most if found > most => Err(BlobError::TooLarge { found, most }),
            _ => Ok(()),
        }
    }

    /// Writes the store's marker, once.
    async fn mark(&self) -> Result<(), BlobError> {
        if !self.is_marked.load(Ordering::Relaxed) {
            let marker = self.marker();
            let put = self.store.put(&marker, PutPayload::from_static(b"1\n"));
            put.await.map_err(|error| self.away(&error))?;
            self.is_marked.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Why the body of a claim was not found.
    async fn missing(&self, claim: &Claim, path: &Path) -> BlobError {
        if let Err(error) = self.store.head(&self.marker()).await {
            return self.away(&error);
        }
        let address = self.place.address(path);
        match self.store.head(&self.ended(&claim.job)).await {
            Ok(_) => BlobError::Ended { address },
            Err(StoreError::NotFound { .. }) => BlobError::Missing {
                address,
                bytes: claim.bytes,
            },
            Err(error) => self.away(&error),
        }
    }

    fn marker(&self) -> Path {
        self.root.clone().join(PathPart::from(MARKER))
    }

    fn jobs_root(&self) -> Path {
        self.root.clone().join(PathPart::from(JOBS))
    }

    fn own(&self, job: &JobId) -> Path {
        self.jobs_root().join(PathPart::from(job.as_str()))
    }

    fn path(&self, job: &JobId, digest: Digest) -> Path {
        let own = self.own(job);
        own.join(PathPart::from(digest.to_string()))
    }

    fn ended(&self, job: &JobId) -> Path {
        self.own(job).join(PathPart::from(ENDED))
    }

    /// The folder of a job, where the store is a folder.
    fn folder_of(&self, job: &JobId) -> Option<PathBuf> {
        let folder = self.place.as_folder()?;
        Some(folder.join(JOBS).join(job.as_str()))
    }

    /// Requests of the store; a panic in them is an error of the store. `object_store` panics where the text of a token file
    /// or of a metadata service is no HTTP header.
    async fn caught<T>(
        &self,
        requests: impl Future<Output = Result<T, BlobError>>,
    ) -> Result<T, BlobError> {
        let done = AssertUnwindSafe(requests).catch_unwind().await;
        done.unwrap_or_else(|_panic| {
            let why = "its client panicked, as its log says: are the credentials plain text?";
            Err(self.away(&io::Error::other(why)))
        })
    }

    fn away(&self, error: &dyn std::error::Error) -> BlobError {
        BlobError::Away {
            store: self.place.to_string(),
            why: self.place.sentence(with_causes(error)),
        }
    }
}

/// An error with its causes, each once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let because = error.to_string();
        if !said.contains(&because) {
            said = format!("{said}: {because}");
        }
        cause = error.source();
    }
    said
}

impl fmt::Debug for Blobs {
    /// Shows nothing of the client, which holds credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blobs")
            .field("place", &self.place)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// A wait for the store; its trouble ends with it, however it ends.
struct Wait<'h>(&'h Health);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.clear(TROUBLE);
    }
}

/// Retries while the store is down, with a pause that doubles, and raises a trouble in `health` meanwhile. Cancel-safe.
///
/// # Errors
/// Any other [`BlobError`].
pub async fn patiently<T, F>(
    health: &Health,
    mut attempt: impl FnMut() -> F,
) -> Result<T, BlobError>
where
    F: Future<Output = Result<T, BlobError>>,
{
    let wait = Wait(health);
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if error.fate() == Fate::Again => {
                let pause = wait::pause(PAUSE, failures);
                failures = failures.saturating_add(1);
                tracing::warn!(%error, ?pause, "tried again after a pause");
                wait.0.raise(TROUBLE, error.to_string());
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
    }
}
