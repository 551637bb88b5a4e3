//! The bodies of one job, from its first put to its end.

use std::collections::BTreeMap;
use std::time::SystemTime;
use std::{fs, io};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt as _, PutMode, PutPayload, Result};

use super::{BlobError, Blobs, ENDED, JOBS, folder};
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
        match self.folder_of(job) {
            Some(own) => {
                let ended = own.join(ENDED);
                self.on_folder(move || folder::absent_is_done(fs::remove_file(ended)))
                    .await
            }
            None => {
                let ended = self.ended(job);
                self.caught(async { self.absent_is_done(self.store.delete(&ended).await) })
                    .await
            }
        }
    }

    /// Removes every body of a job that ended, and marks the job as ended, so that the chunks that still wait are not dead. A
    /// job that put none is not marked.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn end(&self, job: &JobId) -> Result<(), BlobError> {
        let Some(own) = self.folder_of(job) else {
            return self.caught(self.end_objects(job)).await;
        };
        let folder = own.clone();
        if !self.on_folder(move || folder::is_there(&folder)).await? {
            return Ok(());
        }
        let (mark, once) = (PutPayload::from_static(b"1\n"), PutMode::Create.into());
        match self.store.put_opts(&self.ended(job), mark, once).await {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) => return Err(self.away(&error)),
        }
        self.on_folder(move || folder::remove_bodies(&own)).await
    }

    /// Removes all that is left of a job.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn remove(&self, job: &JobId) -> Result<(), BlobError> {
        match self.folder_of(job) {
            Some(own) => {
                self.on_folder(move || folder::absent_is_done(fs::remove_dir_all(own)))
                    .await
            }
            None => {
                self.caught(async { self.remove_objects(self.objects(job).await?).await })
                    .await
            }
        }
    }

    /// The jobs that left something here.
    ///
    /// # Errors
    /// [`BlobError::Away`].
    pub async fn jobs(&self) -> Result<BTreeMap<JobId, Left>, BlobError> {
        match self.place.as_folder() {
            Some(folder) => {
                let jobs = folder.join(JOBS);
                self.on_folder(move || folder::all_left(&jobs)).await
            }
            None => self.caught(self.all_left()).await,
        }
    }

    /// Does something with the store's folder, off the async threads.
    pub(super) async fn on_folder<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        match machine::block(act).await {
            Ok(done) => done.map_err(|error| self.away(&error)),
            Err(death) => Err(self.away(&death)),
        }
    }
}

/// The same where a store has objects only: a job's are found by their common prefix, and a put is whole or absent.
impl Blobs {
    /// All objects of a job.
    async fn objects(&self, job: &JobId) -> Result<Vec<Path>, BlobError> {
        let listed = self.store.list(Some(&self.own(job)));
        let paths = listed.map_ok(|object| object.location).try_collect();
        paths.await.map_err(|error| self.away(&error))
    }

    async fn end_objects(&self, job: &JobId) -> Result<(), BlobError> {
        let (mut bodies, ended) = (self.objects(job).await?, self.ended(job));
        if bodies.is_empty() {
            return Ok(());
        }
        // put once: its age counts from the first end
        if !bodies.contains(&ended) {
            let mark = self.store.put(&ended, PutPayload::from_static(b"1\n"));
            mark.await.map_err(|error| self.away(&error))?;
        }
        bodies.retain(|body| *body != ended);
        self.remove_objects(bodies).await
    }

    async fn remove_objects(&self, objects: Vec<Path>) -> Result<(), BlobError> {
        let objects = stream::iter(objects).map(Ok).boxed();
        let mut removed = self.store.delete_stream(objects);
        while let Some(removed) = removed.next().await {
            self.absent_is_done(removed.map(drop))?;
        }
        Ok(())
    }

    async fn all_left(&self) -> Result<BTreeMap<JobId, Left>, BlobError> {
        let (root, mut all) = (self.jobs_root(), BTreeMap::new());
        let mut objects = self.store.list(Some(&root));
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| self.away(&error))?;
            let Some((job, is_mark)) = job_of(&root, &object.location) else {
                continue;
            };
            let put = object.last_modified.into();
            let left = all.entry(job).or_insert(Left {
                put,
                has_bodies: false,
                is_ended: false,
            });
            left.put = left.put.max(put);
            match is_mark {
                true => left.is_ended = true,
                false => left.has_bodies = true,
            }
        }
        Ok(all)
    }

    fn absent_is_done(&self, done: Result<()>) -> Result<(), BlobError> {
        match done {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.away(&error)),
        }
    }
}

/// The job that an object below `root` belongs to, and whether it is the mark of its end.
fn job_of(root: &Path, object: &Path) -> Option<(JobId, bool)> {
    let mut parts = object.prefix_match(root)?;
    let job = parts.next()?.as_ref().parse().ok()?;
    Some((job, parts.next()?.as_ref() == ENDED))
}
