//! Where a blob store is.

use std::fmt;
use std::path::{Path as Folder, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

/// Where a blob store is: a folder that every role sees, each perhaps under another name. It is made by the first put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(PathBuf);

/// A place that is of no use. One sentence.
#[derive(Debug, thiserror::Error)]
#[error("blob store {found:?}: {what}")]
pub struct InvalidPlace {
    found: String,
    what: String,
}

impl Place {
    /// This folder.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder.
    pub(super) fn as_folder(&self) -> &Folder {
        &self.0
    }

    /// The store, and the path in it below which everything is.
    pub(super) fn store(&self) -> Result<(Arc<dyn ObjectStore>, Path), InvalidPlace> {
        let refuse = |what: String| InvalidPlace {
            found: self.to_string(),
            what,
        };
        let folder = std::path::absolute(&self.0).map_err(|error| refuse(error.to_string()))?;
        let root = Path::from_absolute_path(folder).map_err(|error| refuse(error.to_string()))?;
        // a claim is published only once its blob lasts
        Ok((Arc::new(LocalFileSystem::new().with_fsync(true)), root))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        match text.split_once("://") {
            None if !text.is_empty() => Ok(Self::folder(text)),
            Some(("file", path)) if path.starts_with('/') && path.len() > 1 => {
                Ok(Self::folder(path))
            }
            _ => Err(InvalidPlace {
                found: text.chars().take(200).collect(),
                what: "expected a folder or file:///<folder>".to_owned(),
            }),
        }
    }
}
