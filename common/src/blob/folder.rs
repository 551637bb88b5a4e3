//! What a store in a folder needs of the file system itself: links, and what a killed producer left half written.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use super::{ENDED, Left};
use crate::JobId;

/// Takes what is absent for removed.
pub(super) fn absent_is_done(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Whether the file is anything but a file in a folder: only this store may be read, and reading a pipe never ends.
pub(super) fn leads_elsewhere(own: &Path, file: &Path) -> io::Result<bool> {
    let look = || {
        let is_folder = fs::symlink_metadata(own)?.is_dir();
        io::Result::Ok(!is_folder || !fs::symlink_metadata(file)?.is_file())
    };
    match look() {
        // the fetch reports why it is missing
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found,
    }
}

/// Whether a job has a folder; a link is none, so that nothing outside is removed.
pub(super) fn is_there(own: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(own) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|found| found.is_dir()),
    }
}

/// Removes what is in the folder of a job, with what a producer left that was killed while it wrote.
pub(super) fn remove_bodies(own: &Path) -> io::Result<()> {
    for entry in fs::read_dir(own)? {
        let entry = entry?;
        if entry.file_name() != ENDED {
            absent_is_done(match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            })?;
        }
    }
    Ok(())
}

/// The jobs that have a folder.
pub(super) fn all_left(jobs: &Path) -> io::Result<BTreeMap<JobId, Left>> {
    let mut all = BTreeMap::new();
    let folders = match fs::read_dir(jobs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        folders => folders?,
    };
    for folder in folders {
        let folder = folder?;
        let job = folder.file_name().to_str().and_then(|job| job.parse().ok());
        if let Some(job) = job
            && folder.file_type()?.is_dir()
        {
            match left(&folder.path()) {
                // removed meanwhile
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                left => drop(all.insert(job, left?)),
            }
        }
    }
    Ok(all)
}

fn left(own: &Path) -> io::Result<Left> {
    let mut left = Left {
        put: fs::symlink_metadata(own)?.modified()?,
        has_bodies: false,
        is_ended: false,
    };
    for entry in fs::read_dir(own)? {
        match entry?.file_name() == ENDED {
            true => left.is_ended = true,
            false => left.has_bodies = true,
        }
    }
    Ok(left)
}
