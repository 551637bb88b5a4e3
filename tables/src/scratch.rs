//! Temporary files without a name: nothing is left behind, whatever ends the process.

use std::fs::File;
use std::io;
use std::path::Path;

use autoconnect_common::CutError;

/// A temporary file in `folder`. Its name is removed before this returns, where the system allows it.
pub(crate) fn open(folder: &Path) -> io::Result<File> {
    tempfile::tempfile_in(folder)
}

/// What a temporary file in `folder` failed at: `doing` is "reading" or "writing", `what` is what the file holds.
pub(crate) fn failed(doing: &str, what: &str, folder: &Path, source: io::Error) -> CutError {
    CutError::Failed {
        what: format!("{doing} {what} in a temporary file in {}", folder.display()),
        source,
    }
}
