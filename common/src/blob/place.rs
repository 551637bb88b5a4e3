//! Where a blob store is.

use std::fmt;
use std::path::{Path as Folder, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

#[cfg(feature = "s3")]
use super::s3::Bucket;
use crate::text::without_login;

/// What a place is written as, to complete "expected …".
#[cfg(feature = "s3")]
pub(crate) const ACCEPTS: &str = "a folder, file:///<folder> or s3://<bucket>/<prefix>";
/// What a place is written as, to complete "expected …".
#[cfg(not(feature = "s3"))]
pub(crate) const ACCEPTS: &str = "a folder, or file:///<folder>: s3://<bucket>/<prefix> needs a program that was built with \
                                  the cargo feature s3";

/// Where a blob store is, which every role sees, each perhaps under another name: a folder, made by the first put, or a prefix
/// in a bucket of S3 (cargo feature `s3`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(At);

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Folder(PathBuf),
    #[cfg(feature = "s3")]
    Bucket(Bucket),
}

/// A place that is of no use. One sentence.
#[derive(Debug, thiserror::Error)]
#[error("blob store {found:?}: {what}")]
pub struct InvalidPlace {
    found: String,
    what: String,
}

/// A store, and the path in it below which everything is.
pub(super) type Opened = (Arc<dyn ObjectStore>, Path);

impl Place {
    /// This folder.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self(At::Folder(folder.into()))
    }

    /// The folder, where it is one.
    pub(super) fn as_folder(&self) -> Option<&Folder> {
        match &self.0 {
            At::Folder(folder) => Some(folder),
            #[cfg(feature = "s3")]
            At::Bucket(_) => None,
        }
    }

    /// The store.
    pub(super) fn open(&self) -> Result<Opened, InvalidPlace> {
        let opened = match &self.0 {
            At::Folder(folder) => open_folder(folder),
            #[cfg(feature = "s3")]
            At::Bucket(bucket) => bucket.open(super::s3::variables_of_process()),
        };
        opened.map_err(|what| self.refuse(what))
    }

    /// As [`Place::open`], with other `variables` than the process's for a bucket.
    #[cfg(feature = "s3")]
    pub(super) fn open_with(
        &self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Opened, InvalidPlace> {
        let opened = match &self.0 {
            At::Folder(folder) => open_folder(folder),
            At::Bucket(bucket) => bucket.open(variables),
        };
        opened.map_err(|what| self.refuse(what))
    }

    /// The address of an object, as errors show it.
    pub(super) fn address(&self, object: &Path) -> String {
        match &self.0 {
            At::Folder(_) => object.to_string(),
            #[cfg(feature = "s3")]
            At::Bucket(bucket) => bucket.address(object),
        }
    }

    /// What an error of the store said, in one sentence.
    pub(super) fn sentence(&self, said: String) -> String {
        match &self.0 {
            At::Folder(_) => said,
            #[cfg(feature = "s3")]
            At::Bucket(_) => super::s3::sentence(&said),
        }
    }

    fn refuse(&self, what: String) -> InvalidPlace {
        InvalidPlace {
            found: self.to_string(),
            what,
        }
    }
}

fn open_folder(folder: &Folder) -> Result<Opened, String> {
    let folder = std::path::absolute(folder).map_err(|error| error.to_string())?;
    let root = Path::from_absolute_path(folder).map_err(|error| error.to_string())?;
    // a claim is published only once its blob lasts
    Ok((Arc::new(LocalFileSystem::new().with_fsync(true)), root))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            At::Folder(folder) => folder.display().fmt(f),
            #[cfg(feature = "s3")]
            At::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let place = match text.split_once("://") {
            None if !text.is_empty() => Some(Self::folder(text)),
            Some(("file", path)) if path.starts_with('/') && path.len() > 1 => {
                Some(Self::folder(path))
            }
            #[cfg(feature = "s3")]
            Some(("s3", path)) => Bucket::parse(path).map(|bucket| Self(At::Bucket(bucket))),
            _ => None,
        };
        place.ok_or_else(|| InvalidPlace {
            found: without_login(text).chars().take(200).collect(),
            what: format!("expected {ACCEPTS}"),
        })
    }
}
