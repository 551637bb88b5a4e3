//! What the disk does to us ([`Trouble`]), with what was being done.

use std::io;

use crate::faults::Killed;

/// Something with a file did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The system said no; it may say yes later.
    #[error("cannot {what}")]
    Disk {
        /// What was being done, and to which file.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kind cannot render its report: it never will.
    #[error("{0}")]
    Rendering(String),
    /// A page of a side file is not on disk as it came: it never will be.
    #[error("page {page} of {file} is damaged")]
    Damaged {
        /// The side file.
        file: String,
        /// Which page of it.
        page: usize,
    },
    /// A test killed us.
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
