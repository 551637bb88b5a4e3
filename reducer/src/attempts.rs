//! Counts in the state folder how often a job's conclusion was begun, before each attempt: a conclusion that kills the
//! reducer is given up after a few attempts instead of killing it at every start.
//!
//! ```text
//! <state>/jobs/<job>/attempts     a decimal number, flushed before the attempt; gone once the report is made
//! <state>/jobs/<job>/publishing   a byte for each time that writing the report's files was begun; not flushed, because
//!                                 it must outlive a process, not a power cut
//! ```

use std::io::{self, Write as _};
use std::path::Path;

use autoconnect_common::disk::{Disk, Metadata};

use crate::trouble::{Doing, Trouble};

/// Attempts to make the report before a job is given up: two deaths may be chance (a power cut, an operator), three are
/// not.
const CONCLUDING: u32 = 3;
/// Attempts to write its files. Writing takes far longer than concluding, so that an unrelated death is likelier there;
/// and it takes next to no memory, so that it is rarely the cause.
const PUBLISHING: u64 = 30;

/// Durably counts one more attempt than `made` to conclude the job whose state is in `folder`. Returns a reason where the
/// attempt must not be made.
///
/// # Errors
/// [`Trouble`]; the attempt must not be made. It may have been counted: retry with the same `made`, so that a failing disk
/// is not counted as a conclusion that kills.
pub(crate) fn begin(
    disk: &dyn Disk,
    folder: &Path,
    made: u32,
) -> Result<Option<&'static str>, Trouble> {
    if made >= CONCLUDING {
        return Ok(Some(
            "concluding was tried three times and the reducer did not survive it",
        ));
    }
    if let Ok(Some(Metadata::File(begun))) = disk.metadata(&folder.join("publishing"))
        && begun >= PUBLISHING
    {
        return Ok(Some(
            "writing the report was tried 30 times and the reducer did not survive it",
        ));
    }
    write(disk, folder, made + 1).map(|()| None)
}

/// Records that the report is made and its files are about to be written.
pub(crate) fn concluded(disk: &dyn Disk, folder: &Path) {
    let begun = disk
        .append(&folder.join("publishing"))
        .and_then(|mut file| file.write_all(b"."))
        .and_then(|()| disk.remove(&folder.join("attempts")));
    if let Err(error) = begun {
        tracing::warn!(folder = %folder.display(), %error, "attempt to conclude counts although it was survived");
    }
}

/// Takes back the current attempt: the reducer is stopping, and may be killed before the attempt is finished.
///
/// # Errors
/// [`Trouble`]; the attempt counts.
pub(crate) fn take_back(disk: &dyn Disk, folder: &Path) -> Result<(), Trouble> {
    match made(disk, folder)? {
        0 => Ok(()),
        made => write(disk, folder, made - 1),
    }
}

/// The attempts that were made. A file that holds no number counts as none.
///
/// # Errors
/// [`Trouble`].
pub(crate) fn made(disk: &dyn Disk, folder: &Path) -> Result<u32, Trouble> {
    let path = folder.join("attempts");
    match disk.read(&path) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).doing(|| format!("read {}", path.display())),
    }
}

fn write(disk: &dyn Disk, folder: &Path, attempts: u32) -> Result<(), Trouble> {
    let path = folder.join("attempts");
    let written = disk.write_whole(&path, format!("{attempts}\n").as_bytes());
    written
        .and_then(|()| disk.sync_folder(folder))
        .doing(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use autoconnect_common::disk;

    use super::*;

    #[test]
    fn the_fourth_attempt_is_not_made_and_one_taken_back_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = disk::real();
        let made = || made(&*disk, folder.path()).expect("readable");
        let begin = || {
            begin(&*disk, folder.path(), made())
                .expect("counted")
                .is_none()
        };
        let take_back = || take_back(&*disk, folder.path()).expect("counted");
        take_back();
        assert!(begin() && begin() && begin());
        assert!(!begin());
        take_back();
        assert!(begin());
        assert!(!begin() && !begin());
        std::fs::write(folder.path().join("attempts"), "?").expect("written");
        assert!(begin());
    }

    #[test]
    fn a_conclusion_that_was_survived_does_not_count_and_writing_its_files_counts_far_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = disk::real();
        for _ in 0..PUBLISHING {
            assert_eq!(begin(&*disk, folder.path(), 0).expect("counted"), None);
            concluded(&*disk, folder.path());
        }
        let why = begin(&*disk, folder.path(), 0).expect("counted");
        assert!(why.is_some_and(|why| why.starts_with("writing the report")));
    }

    #[test]
    fn an_attempt_that_cannot_be_counted_is_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a file");
        std::fs::write(&file, "").expect("written");
        assert!(begin(&*disk::real(), &file, 0).is_err());
    }

    #[test]
    fn an_attempt_that_could_not_be_counted_for_good_counts_once_however_often_that_is_tried() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = disk::real();
        let before = made(&*disk, folder.path()).expect("readable");
        for _ in 0..=CONCLUDING {
            assert_eq!(begin(&*disk, folder.path(), before).expect("counted"), None);
        }
        assert_eq!(made(&*disk, folder.path()).expect("readable"), before + 1);
    }
}
