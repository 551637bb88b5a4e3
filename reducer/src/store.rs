//! The state folder: everything a durable reducer knows, so that it can be killed at any moment.
//!
//! ```text
//! <state>/lock                      held by the one reducer that may write here
//! <state>/jobs/<job>/journal.<n>    entries, in the order of n; each start of a reducer begins another one
//! <state>/jobs/<job>/snapshot       the job as it was when journal n was begun; absent at first, with n = 0
//! <state>/jobs/<job>/pages/<name>.<page>
//! <state>/jobs/<job>/again          the tombstone is of an earlier run of the job, which may have been requested again
//! <state>/done/<job>.json           a tombstone (see `tombstone`)
//! ```
//!
//! Data that can be read is not trusted to be on disk: a reducer may have been killed between write and flush. Such data
//! is flushed before anything that depends on it is acknowledged ([`Store::touch`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoconnect_common::disk::{Disk, Lock};
use autoconnect_common::{Digest, JobId, Registry};
use bytes::Bytes;

use crate::Error;
use crate::entry::Entry;
use crate::faults::{Faults, Point};
use crate::job::{Job, Snapshot};
use crate::journal::Journal;
use crate::pages::{Page, file_name};
use crate::replay::{self, Stored, journal_path, journals};
use crate::together::{FLUSHING, together};
use crate::tombstone::{self, DONE};
use crate::trouble::{Doing, Trouble};

/// Bytes of journals after which a snapshot replaces them: that much is replayed in a fraction of a second.
const SNAPSHOT_AFTER: u64 = 16 << 20;
/// The file that marks a job beside its tombstone as possibly requested again.
const AGAIN: &str = "again";

/// The state folder, locked.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    _lock: Lock,
    logs: BTreeMap<JobId, Log>,
    dirty: BTreeSet<JobId>,
    /// Ended jobs with new results, which may belong to another run of them.
    begun_again: BTreeSet<JobId>,
    /// Jobs whose tombstones the next commit removes.
    reopened: BTreeSet<JobId>,
    pages: Vec<(JobId, PathBuf, Bytes)>,
    snapshot_after: u64,
    /// Jobs whose journals have become long.
    long: Vec<JobId>,
    faults: Faults,
}

/// The files of a job.
#[derive(Debug)]
struct Log {
    /// The number of the first journal since the snapshot.
    first: u64,
    /// The number of the current journal.
    number: u64,
    journal: Journal,
    /// Bytes of the journals before it.
    older: u64,
    /// Bytes of all of them at which a snapshot is due.
    due: u64,
    /// Whether the job's folder is on disk, and its name flushed.
    made: bool,
    /// Whether what an earlier reducer wrote is flushed.
    is_flushed: bool,
}

impl Log {
    /// Makes everything known of the job durable; the name of its folder already is.
    fn flush(&mut self, disk: &dyn Disk, folder: &Path, faults: &Faults) -> Result<(), Trouble> {
        self.made = true;
        if !self.is_flushed {
            let flushed = flush_found(disk, folder);
            flushed.doing(|| format!("flush the folder {}", folder.display()))?;
            self.is_flushed = true;
        }
        self.journal.flush(disk, faults)
    }

    /// Whether a snapshot is due.
    fn is_long(&self) -> bool {
        self.older + self.journal.len() > self.due
    }
}

/// The content of a state folder.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) jobs: Vec<(JobId, Job)>,
    /// Jobs that ended, and were perhaps requested again.
    pub(crate) again: Vec<(JobId, Job)>,
    pub(crate) ended: Vec<JobId>,
    /// Jobs that ended just before the reducer did: their ends may not have been announced.
    pub(crate) unannounced: Vec<JobId>,
}

impl Store {
    /// Opens and locks the state folder, and reads what is in it.
    ///
    /// # Errors
    /// [`Error::Locked`] where another reducer has it, [`Error::State`] where it cannot be read or written.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        registry: &Registry,
        snapshot_after: Option<u64>,
        faults: Faults,
    ) -> Result<(Self, Found), Error> {
        let lock = lock(&*disk, folder)?;
        let mut store = Self {
            disk,
            folder: folder.to_owned(),
            _lock: lock,
            logs: BTreeMap::new(),
            dirty: BTreeSet::new(),
            begun_again: BTreeSet::new(),
            reopened: BTreeSet::new(),
            pages: Vec::new(),
            snapshot_after: snapshot_after.unwrap_or(SNAPSHOT_AFTER),
            long: Vec::new(),
            faults,
        };
        let found = store.read(registry).map_err(|source| Error::State {
            folder: folder.to_owned(),
            source,
        })?;
        Ok((store, found))
    }

    fn read(&mut self, registry: &Registry) -> io::Result<Found> {
        let jobs = self.folder.join("jobs");
        for folder in [&jobs, &self.folder.join(DONE)] {
            self.disk.create_folders(folder)?;
            self.disk.sync_folder(folder)?;
        }
        self.disk.sync_folder(&self.folder)?;
        let mut found = Found {
            ended: tombstone::names(&*self.disk, &self.folder)?,
            ..Found::default()
        };
        let ended: BTreeSet<&JobId> = found.ended.iter().collect();
        for name in self.disk.list(&jobs)? {
            let Some(id) = name.to_str().and_then(|n| n.parse::<JobId>().ok()) else {
                continue;
            };
            let marked = self.disk.metadata(&jobs.join(&name).join(AGAIN))?.is_some();
            match (ended.contains(&id), marked) {
                (true, false) => found.unannounced.push(id),
                (true, true) => found.again.extend(self.replay(id, registry)?),
                (false, marked) => {
                    if marked {
                        self.reopened.insert(id.clone());
                    }
                    found.jobs.extend(self.replay(id, registry)?);
                }
            }
        }
        Ok(found)
    }

    /// Restores a job from its snapshot and journals; `None` where there is neither.
    fn replay(&mut self, id: JobId, registry: &Registry) -> io::Result<Option<(JobId, Job)>> {
        let folder = self.job_folder(&id);
        let Some(replayed) = replay::replay(&*self.disk, &id, &folder, registry)? else {
            return Ok(None);
        };
        let log = Log {
            first: replayed.first,
            number: replayed.next,
            journal: Journal::new(journal_path(&folder, replayed.next)),
            older: replayed.length,
            due: self.snapshot_after,
            made: true,
            is_flushed: false,
        };
        self.logs.insert(id.clone(), log);
        Ok(Some((id, replayed.job)))
    }

    /// The folder of a job.
    pub(crate) fn job_folder(&self, job: &JobId) -> PathBuf {
        self.folder.join("jobs").join(job.as_str())
    }

    fn log(&mut self, job: &JobId) -> &mut Log {
        let (folder, due) = (self.job_folder(job), self.snapshot_after);
        self.logs.entry(job.clone()).or_insert_with(|| Log {
            first: 0,
            number: 0,
            journal: Journal::new(journal_path(&folder, 0)),
            older: 0,
            due,
            made: false,
            is_flushed: true,
        })
    }

    /// Buffers an entry of a job; [`Store::commit`] makes it durable.
    ///
    /// # Errors
    /// One sentence, where the entry cannot be written as JSON.
    pub(crate) fn append(&mut self, job: &JobId, entry: &Entry<'_>) -> Result<(), String> {
        let journal = &mut self.log(job).journal;
        journal
            .append(|bytes| serde_json::to_writer(bytes, entry))
            .map_err(|error| error.to_string())?;
        self.dirty.insert(job.clone());
        Ok(())
    }

    /// Has the next commit make everything known of a job durable, because an acknowledgement depends on it.
    pub(crate) fn touch(&mut self, job: &JobId) {
        if self.logs.get(job).is_some_and(|log| !log.is_flushed) {
            self.dirty.insert(job.clone());
        }
    }

    /// Buffers a page of a side file; [`Store::commit`] makes it durable.
    pub(crate) fn keep_page(&mut self, job: &JobId, name: &str, page: u32, body: &Bytes) {
        let path = page_path(&self.job_folder(job), name, page);
        self.pages.push((job.clone(), path, body.clone()));
    }

    /// Keeps new results of an ended job beside its tombstone: the job may have been requested again.
    pub(crate) fn begin_again(&mut self, job: &JobId) {
        self.begun_again.insert(job.clone());
    }

    /// Reopens an ended job; [`Store::commit`] removes its tombstone.
    pub(crate) fn reopen(&mut self, job: &JobId) {
        self.reopened.insert(job.clone());
    }

    /// Whether anything waits for a commit.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
            || !self.pages.is_empty()
            || !self.reopened.is_empty()
            || !self.begun_again.is_empty()
    }

    /// Makes everything buffered durable: pages first, then the journal entries that name them. Blocks.
    ///
    /// # Errors
    /// [`Trouble`]; the commit can then be retried.
    pub(crate) fn commit(&mut self) -> Result<(), Trouble> {
        self.make_again()?;
        self.write_pages()?;
        self.flush()?;
        self.remove_tombstones()?;
        Ok(self.faults.at(Point::JournalFlushed)?)
    }

    /// Makes the folders of jobs that begin again beside their tombstones, and first removes what is left of their last
    /// run.
    fn make_again(&mut self) -> Result<(), Trouble> {
        while let Some(job) = self.begun_again.first().cloned() {
            let folder = self.job_folder(&job);
            let doing = || format!("make the folder {} anew", folder.display());
            self.disk.remove(&folder).doing(doing)?;
            let marker = folder.join(AGAIN);
            self.disk.write_whole(&marker, b"").doing(doing)?;
            self.disk.sync_folder(&folder).doing(doing)?;
            self.sync_jobs()?;
            self.log(&job).made = true;
            self.begun_again.remove(&job);
        }
        Ok(())
    }

    fn sync_jobs(&self) -> Result<(), Trouble> {
        let jobs = self.folder.join("jobs");
        let flushed = self.disk.sync_folder(&jobs);
        flushed.doing(|| format!("flush the folder {}", jobs.display()))
    }

    fn write_pages(&mut self) -> Result<(), Trouble> {
        let mut folders = BTreeSet::new();
        for (_, path, body) in &self.pages {
            let written = self.disk.write_whole(path, body);
            written.doing(|| format!("write {}", path.display()))?;
            // the names of a new folder and of its parent must be flushed as well
            folders.extend(path.ancestors().skip(1).take(3));
        }
        for folder in &folders {
            let flushed = self.disk.sync_folder(folder);
            flushed.doing(|| format!("flush {}", folder.display()))?;
        }
        if self.pages.is_empty() {
            return Ok(());
        }
        // only now: a page whose name was not flushed is written again
        for (job, ..) in std::mem::take(&mut self.pages) {
            self.log(&job).made = true;
        }
        Ok(self.faults.at(Point::PageWritten)?)
    }

    /// Makes everything known of the dirty jobs durable, several at a time.
    fn flush(&mut self) -> Result<(), Trouble> {
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        let mut logs: Vec<(JobId, Log)> = dirty
            .filter_map(|job| self.logs.remove_entry(&job))
            .collect();
        let flushed = self.flush_all(&mut logs);
        for (job, log) in logs {
            match &flushed {
                Ok(()) if log.is_long() => self.long.push(job.clone()),
                Ok(()) => {}
                // flushing again what is flushed costs nothing
                Err(_) => drop(self.dirty.insert(job.clone())),
            }
            self.logs.insert(job, log);
        }
        flushed
    }

    fn flush_all(&self, logs: &mut [(JobId, Log)]) -> Result<(), Trouble> {
        let new: Vec<PathBuf> = logs
            .iter()
            .filter(|(_, log)| !log.made)
            .map(|(job, _)| self.job_folder(job))
            .collect();
        for folder in &new {
            let made = self.disk.create_folders(folder);
            made.doing(|| format!("make the folder {}", folder.display()))?;
        }
        if !new.is_empty() {
            self.sync_jobs()?;
        }
        together(logs, FLUSHING, |(job, log)| {
            log.flush(&*self.disk, &self.job_folder(job), &self.faults)
        })
    }

    fn remove_tombstones(&mut self) -> Result<(), Trouble> {
        if self.reopened.is_empty() {
            return Ok(());
        }
        for job in &self.reopened {
            let path = tombstone::path(&self.folder, job);
            let removed = self.disk.remove(&path);
            removed.doing(|| format!("remove the tombstone {}", path.display()))?;
        }
        let done = self.folder.join(DONE);
        let flushed = self.disk.sync_folder(&done);
        flushed.doing(|| format!("flush {}", done.display()))?;
        for job in &self.reopened {
            let folder = self.job_folder(job);
            let marker = folder.join(AGAIN);
            let removed = self.disk.remove(&marker);
            let flushed = removed.and_then(|()| self.disk.sync_folder(&folder));
            flushed.doing(|| format!("remove {}", marker.display()))?;
        }
        self.reopened.clear();
        Ok(())
    }

    /// Jobs whose journals have become long since the last call.
    pub(crate) fn long_journals(&mut self) -> Vec<JobId> {
        std::mem::take(&mut self.long)
    }

    /// Replaces a job's journals, which must be committed, by a snapshot. Blocks.
    ///
    /// # Errors
    /// [`Trouble`]; it is retried once the journals have grown by the same size again.
    pub(crate) fn replace_journal(
        &mut self,
        job: &JobId,
        snapshot: Snapshot,
    ) -> Result<(), Trouble> {
        let folder = self.job_folder(job);
        let Some(log) = self.logs.get_mut(job) else {
            return Ok(());
        };
        // the next journal is begun first: it is read whether or not the snapshot that names it reaches the disk
        log.number += 1;
        log.older += log.journal.len();
        log.due = log.older + self.snapshot_after;
        log.journal = Journal::new(journal_path(&folder, log.number));
        let path = folder.join("snapshot");
        let doing = || format!("write the snapshot {}", path.display());
        let stored = Stored::new(log.number, snapshot);
        // written twice, for its digest and for good: a large job's would take more memory than its figures
        let digest = Digest::of_written(|out| {
            let mut out = io::BufWriter::new(out);
            serde_json::to_writer(&mut out, &stored)?;
            out.flush()
        });
        let digest = digest.doing(doing)?;
        let written = self.disk.write_with(&path, |file| {
            writeln!(file, "{digest}")?;
            serde_json::to_writer(file, &stored).map_err(io::Error::from)
        });
        written.doing(doing)?;
        self.disk.sync_folder(&folder).doing(doing)?;
        self.faults.at(Point::SnapshotWritten)?;
        log.older = 0;
        log.due = self.snapshot_after;
        for number in std::mem::replace(&mut log.first, log.number)..log.number {
            // an old journal that stays is skipped when the state is read
            let _passed_over = self.disk.remove(&journal_path(&folder, number));
        }
        Ok(())
    }

    /// Forgets a job that ended, but for its tombstone. Blocks.
    pub(crate) fn forget(&mut self, job: &JobId) {
        self.logs.remove(job);
        self.dirty.remove(job);
        self.begun_again.remove(job);
        self.pages.retain(|(of, ..)| of != job);
        let folder = self.job_folder(job);
        if let Err(error) = self.disk.remove(&folder) {
            tracing::warn!(job_id = %job, %error, "state of an ended job not removed");
        }
    }
}

/// Flushes what can be read of a job: its journals, and every name in its folders.
fn flush_found(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    for (_, path) in journals(disk, folder)? {
        disk.append(&path)?.sync()?;
    }
    let pages = folder.join("pages");
    if disk.metadata(&pages)?.is_some() {
        disk.sync_folder(&pages)?;
    }
    disk.sync_folder(folder)
}

/// A page of a job, in the folder of a job.
pub(crate) fn stored_page(job_folder: &Path, name: &str, page: u32, digest: Digest) -> Page {
    Page::in_file(digest, page_path(job_folder, name, page))
}

/// Where a page of a job is.
fn page_path(job_folder: &Path, name: &str, page: u32) -> PathBuf {
    job_folder.join("pages").join(file_name(name, page))
}

fn lock(disk: &dyn Disk, folder: &Path) -> Result<Lock, Error> {
    let lock = disk.create_folders(folder);
    let lock = lock.and_then(|()| disk.lock(&folder.join("lock")));
    let folder = folder.to_owned();
    match lock {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Error::Locked { folder }),
        Err(source) => Err(Error::State { folder, source }),
    }
}

#[cfg(test)]
mod tests;
