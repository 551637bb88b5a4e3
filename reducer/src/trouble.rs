//! Failures of the disk ([`Trouble`]), with what was being done.

use std::io;

use crate::faults::Killed;

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The file system failed; a retry may succeed.
    #[error("cannot {what}")]
    Disk {
        /// What was being done, and to which file.
        what: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The kind cannot render its report; a retry fails as well.
    #[error("{0}")]
    Rendering(String),
    /// A page of a side file is missing or damaged on disk, for good.
    #[error("page {page} of {file} is damaged")]
    Damaged {
        /// The side file.
        file: String,
        /// The number of the page.
        page: usize,
    },
    /// A test killed the reducer.
    #[error(transparent)]
    Killed(#[from] Killed),
}

/// Adds to an I/O error what was being done.
pub(crate) trait Doing<T> {
    /// `what` completes the sentence "cannot …".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Trouble>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Trouble> {
        self.map_err(|source| Trouble::Disk {
            what: what(),
            source,
        })
    }
}

/// An error and its causes, in one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
