//! The bodies of one job, from its first put to its end.

use std::collections::BTreeMap;
use std::path::Path as Folder;
use std::time::SystemTime;
use std::{fs, io};

use object_store::{Error as StoreError, ObjectStore as _, PutMode, PutPayload};

use super::{BlobError, Blobs, ENDED, JOBS};
use crate::{JobId, machine};

/// What is left of a job in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// When the last of it was put.
    pub put: SystemTime,
    /// Whether there are bodies, whole or half written.
    pub has_bodies: bool,
    /// Whether the store says that the job ended.
    pub is_ended: bool,
}

impl Blobs {
    /// Marks a job as being cut, perhaps again after it ended; called before the first of its bodies is put.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn begin(&self, job: &JobId) -> Result<(), BlobError> {
        let ended = self.folder_of(job).join(ENDED);
        self.on_folder(move || absent_is_done(fs::remove_file(ended)))
            .await
    }

    /// Removes every body of a job that ended, and marks the job as ended, so that the chunks that still wait are not dead. A
    /// job that put none is not marked.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn end(&self, job: &JobId) -> Result<(), BlobError> {
        let own = self.folder_of(job);
        let folder = own.clone();
        // a link is no folder: nothing outside is removed
        let has_folder = move || match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => found.map(|found| found.is_dir()),
        };
        if !self.on_folder(has_folder).await? {
            return Ok(());
        }
        let (mark, once) = (PutPayload::from_static(b"1\n"), PutMode::Create.into());
        match self.store.put_opts(&self.ended(job), mark, once).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(self.away(&error)),
        }
        self.on_folder(move || remove_bodies(&own)).await
    }

    /// Removes all that is left of a job.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn remove(&self, job: &JobId) -> Result<(), BlobError> {
        let own = self.folder_of(job);
        self.on_folder(move || absent_is_done(fs::remove_dir_all(own)))
            .await
    }

    /// The jobs that left something here.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn jobs(&self) -> Result<BTreeMap<JobId, Left>, BlobError> {
        let jobs = self.place.as_folder().join(JOBS);
        self.on_folder(move || all_left(&jobs)).await
    }

    /// Does something with the store's folder, off the async threads.
    async fn on_folder<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        match machine::block(act).await {
            Ok(done) => done.map_err(|error| self.away(&error)),
            Err(death) => Err(self.away(&death)),
        }
    }
}

fn absent_is_done(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Removes what is in the folder of a job, with what a producer left that was killed while it wrote.
fn remove_bodies(own: &Folder) -> io::Result<()> {
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

fn all_left(jobs: &Folder) -> io::Result<BTreeMap<JobId, Left>> {
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

fn left(own: &Folder) -> io::Result<Left> {
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
