//! `[blobs]`: the store for bodies that are too large for a message.

use std::path::PathBuf;

use super::sections::Bytes;
use super::{Section, Settings, SettingsError};
use crate::blob::{Blobs as Store, InvalidPlace, MAX_BLOB, Place};

/// `[blobs]`: the store, which every role of a cluster must see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blobs {
    /// Where it is; a folder beside the results unless said otherwise.
    pub place: Place,
    /// The most bytes that a body may have.
    pub max: u64,
}

impl Blobs {
    /// The store itself.
    ///
    /// # Errors
    /// [`InvalidPlace`] for a place that this program cannot use.
    pub fn open(&self) -> Result<Store, InvalidPlace> {
        Store::open(&self.place, self.max)
    }
}

impl Section for Blobs {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let results: PathBuf = settings
            .get("reducer.results")?
            .unwrap_or_else(|| PathBuf::from("results"));
        let beside = || Place::folder(results.with_file_name("blobs"));
        Ok(Self {
            place: settings.get("blobs.url")?.unwrap_or_else(beside),
            max: settings
                .get("blobs.max")?
                .map_or(MAX_BLOB, |Bytes(bytes)| bytes),
        })
    }
}
