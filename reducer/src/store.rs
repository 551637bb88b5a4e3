//! The state folder: what a durable reducer knows, so that it can be killed at any moment.
//!
//! ```text
//! <state>/lock                      held by the one reducer that may write here
//! <state>/jobs/<job>/journal.<n>    entries since snapshot n (see `journal`)
//! <state>/jobs/<job>/snapshot       the job as it was when journal n was begun; absent at first, with n = 0
//! <state>/jobs/<job>/pages/<name>.<page>
//! <state>/done/<job>.json           a tombstone: the job ended, and whatever still comes of it is dropped, for as
//!                                   long as its results are there
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use autoconnect_common::disk::{Disk, Lock};
use autoconnect_common::message::Status;
use autoconnect_common::{Digest, JobId, Registry, machine};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::entry::Entry;
use crate::faults::{Faults, Point};
use crate::job::{Absorbed, Job, Snapshot};
use crate::journal::{Journal, Replay};
use crate::pages::{Page, file_name};
use crate::trouble::{Doing, Trouble};

/// Bytes of a journal after which a snapshot replaces it.
const SNAPSHOT_AFTER: u64 = 16 << 20;
/// Tombstones that are kept; the oldest go first.
const TOMBSTONES: usize = 4096;

/// What is left of a job that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) job: JobId,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    /// Seconds since 1970.
    pub(crate) ended_at: u64,
}

impl Tombstone {
    /// A tombstone of now.
    pub(crate) fn new(job: JobId, status: Status, reason: Option<String>) -> Self {
        let now = machine::now().duration_since(UNIX_EPOCH);
        Self {
            job,
            status,
            reason,
            ended_at: now.map_or(0, |since| since.as_secs()),
        }
    }

    /// Writes the tombstone into the state folder, for good.
    pub(crate) fn write(&self, disk: &dyn Disk, state: &Path) -> Result<(), Trouble> {
        let path = tombstone_path(state, &self.job);
        let doing = || format!("write the tombstone {}", path.display());
        let bytes = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .doing(doing)?;
        disk.write_whole(&path, &bytes).doing(doing)?;
        disk.sync_folder(&state.join("done")).doing(doing)
    }
}

fn tombstone_path(state: &Path, job: &JobId) -> PathBuf {
    state.join("done").join(format!("{job}.json"))
}

/// The state folder, locked.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    _lock: Lock,
    journals: BTreeMap<JobId, Numbered>,
    dirty: BTreeSet<JobId>,
    /// Jobs whose tombstones are to go.
    reopened: BTreeSet<JobId>,
    pages: Vec<(PathBuf, Bytes)>,
    snapshot_after: u64,
    faults: Faults,
}

/// The journal of a job and its number.
struct Numbered {
    number: u64,
    journal: Journal,
}

/// What was found in a state folder.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) jobs: Vec<(JobId, Job)>,
    pub(crate) tombstones: Vec<Tombstone>,
    /// Jobs that ended just before the reducer did: perhaps nobody was told.
    pub(crate) unannounced: Vec<JobId>,
}

/// A snapshot as it is on disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// The number of the journal that goes on from here.
    journal: u64,
    job: Snapshot,
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
            journals: BTreeMap::new(),
            dirty: BTreeSet::new(),
            reopened: BTreeSet::new(),
            pages: Vec::new(),
            snapshot_after: snapshot_after.unwrap_or(SNAPSHOT_AFTER),
            faults,
        };
        let found = store.read(registry).map_err(|source| Error::State {
            folder: folder.to_owned(),
            source,
        })?;
        Ok((store, found))
    }

    fn read(&mut self, registry: &Registry) -> io::Result<Found> {
        for name in ["jobs", "done"] {
            self.disk.create_folders(&self.folder.join(name))?;
        }
        self.disk.sync_folder(&self.folder)?;
        let mut found = Found {
            tombstones: read_tombstones(&*self.disk, &self.folder.join("done"))?,
            ..Found::default()
        };
        for name in self.disk.list(&self.folder.join("jobs"))? {
            let Some(id) = name.to_str().and_then(|n| n.parse::<JobId>().ok()) else {
                continue;
            };
            let tombstone = tombstone_path(&self.folder, &id);
            if self.disk.metadata(&tombstone)?.is_some() {
                found.unannounced.push(id);
            } else {
                let job = self.replay(&id, registry)?;
                found.jobs.push((id, job));
            }
        }
        Ok(found)
    }

    /// Makes a job again from its snapshot and journal.
    fn replay(&mut self, id: &JobId, registry: &Registry) -> io::Result<Job> {
        let folder = self.job_folder(id);
        let (first, mut job) = match read_snapshot(&*self.disk, &folder)? {
            Ok(None) => (0, Job::new(id.clone())),
            Ok(Some(stored)) => match Job::restore(id.clone(), stored.job, registry) {
                Ok(job) => (stored.journal, job),
                Err(why) => (stored.journal, lost(id, &why)),
            },
            Err(why) => (0, lost(id, &why)),
        };
        let mut last = (first, 0);
        for (number, path) in journals(&*self.disk, &folder)? {
            if number < first {
                self.disk.remove_file(&path)?;
                continue;
            }
            let replay = Replay::read(&*self.disk, &path)?;
            for (payload, _) in replay.payloads() {
                redo(&*self.disk, &mut job, payload, &folder, registry)?;
            }
            last = (number, replay.good);
        }
        let (number, good) = last;
        let journal = self.journal(&folder, number, good);
        let numbered = Numbered { number, journal };
        self.journals.insert(id.clone(), numbered);
        Ok(job)
    }

    fn journal(&self, job_folder: &Path, number: u64, good: u64) -> Journal {
        Journal::new(
            Arc::clone(&self.disk),
            journal_path(job_folder, number),
            good,
        )
    }

    /// The folder of a job.
    pub(crate) fn job_folder(&self, job: &JobId) -> PathBuf {
        self.folder.join("jobs").join(job.as_str())
    }

    /// Gathers an entry of a job; [`Store::commit`] makes it durable.
    ///
    /// # Errors
    /// One sentence, where the entry cannot be written as JSON.
    pub(crate) fn append(&mut self, job: &JobId, entry: &Entry<'_>) -> Result<(), String> {
        let fresh = self.journal(&self.job_folder(job), 0, 0);
        let numbered = self.journals.entry(job.clone());
        let numbered = numbered.or_insert(Numbered {
            number: 0,
            journal: fresh,
        });
        numbered
            .journal
            .append(|bytes| serde_json::to_writer(bytes, entry))
            .map_err(|error| error.to_string())?;
        self.dirty.insert(job.clone());
        Ok(())
    }

    /// Gathers a page of a side file; [`Store::commit`] makes it durable.
    pub(crate) fn keep_page(&mut self, job: &JobId, name: &str, page: u32, body: &Bytes) {
        let path = page_path(&self.job_folder(job), name, page);
        self.pages.push((path, body.clone()));
    }

    /// Lets a job that ended begin anew; [`Store::commit`] removes its tombstone, before anything else of it is
    /// durable.
    pub(crate) fn reopen(&mut self, job: &JobId) {
        self.reopened.insert(job.clone());
    }

    /// Whether anything waits for a commit.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.reopened.is_empty()
    }

    /// Makes everything gathered durable: pages first, then the journal entries that name them. Blocks.
    ///
    /// # Errors
    /// [`Trouble`]; committing can then be tried again.
    pub(crate) fn commit(&mut self) -> Result<(), Trouble> {
        self.remove_tombstones()?;
        self.write_pages()?;
        while let Some(job) = self.dirty.first().cloned() {
            if let Some(numbered) = self.journals.get_mut(&job) {
                let folder = self.folder.join("jobs").join(job.as_str());
                make_folder(&*self.disk, &folder)?;
                numbered.journal.flush(&self.faults)?;
            }
            self.dirty.remove(&job);
        }
        Ok(self.faults.at(Point::JournalFlushed)?)
    }

    /// A journal beside a tombstone is taken for one of a job that ended: the tombstones go first.
    fn remove_tombstones(&mut self) -> Result<(), Trouble> {
        if self.reopened.is_empty() {
            return Ok(());
        }
        for job in &self.reopened {
            let path = tombstone_path(&self.folder, job);
            let removed = self.disk.remove(&path);
            removed.doing(|| format!("remove the tombstone {}", path.display()))?;
        }
        let done = self.folder.join("done");
        let flushed = self.disk.sync_folder(&done);
        flushed.doing(|| format!("flush {}", done.display()))?;
        self.reopened.clear();
        Ok(())
    }

    fn write_pages(&mut self) -> Result<(), Trouble> {
        let mut folders = BTreeSet::new();
        while let Some((path, body)) = self.pages.last() {
            let doing = || format!("write {}", path.display());
            self.disk.write_whole(path, body).doing(doing)?;
            // a new folder's own name, and that of the one above, must last as well
            folders.extend(path.ancestors().skip(1).take(3).map(Path::to_owned));
            self.pages.pop();
        }
        for folder in &folders {
            let flushed = self.disk.sync_folder(folder);
            flushed.doing(|| format!("flush {}", folder.display()))?;
        }
        if !folders.is_empty() {
            self.faults.at(Point::PageWritten)?;
        }
        Ok(())
    }

    /// Jobs whose journal has become long.
    pub(crate) fn long_journals(&self) -> Vec<JobId> {
        let long = |numbered: &Numbered| numbered.journal.len() > self.snapshot_after;
        let long = self.journals.iter().filter(|(_, journal)| long(journal));
        long.map(|(job, _)| job.clone()).collect()
    }

    /// Puts a snapshot in the place of a job's journal, of which everything must be committed. Blocks.
    ///
    /// # Errors
    /// [`Trouble`]; the journal then goes on as before.
    pub(crate) fn replace_journal(
        &mut self,
        job: &JobId,
        snapshot: Snapshot,
    ) -> Result<(), Trouble> {
        let folder = self.job_folder(job);
        let Some(number) = self.journals.get(job).map(|numbered| numbered.number) else {
            return Ok(());
        };
        let stored = Stored {
            journal: number + 1,
            job: snapshot,
        };
        let path = folder.join("snapshot");
        let doing = || format!("write the snapshot {}", path.display());
        let json = serde_json::to_vec(&stored)
            .map_err(io::Error::from)
            .doing(doing)?;
        let digest = format!("{}\n", Digest::of(&json));
        let bytes = [digest.as_bytes(), &json].concat();
        self.disk.write_whole(&path, &bytes).doing(doing)?;
        self.disk.sync_folder(&folder).doing(doing)?;
        self.faults.at(Point::SnapshotWritten)?;
        let numbered = Numbered {
            number: stored.journal,
            journal: self.journal(&folder, stored.journal, 0),
        };
        self.journals.insert(job.clone(), numbered);
        // an old journal that stays is passed over when the state is read
        let _passed_over = self.disk.remove_file(&journal_path(&folder, number));
        Ok(())
    }

    /// Forgets a job that ended, but for its tombstone. Blocks.
    pub(crate) fn forget(&mut self, job: &JobId) {
        self.journals.remove(job);
        self.dirty.remove(job);
        let folder = self.job_folder(job);
        if let Err(error) = self.disk.remove(&folder) {
            tracing::warn!(job_id = %job, %error, "state of an ended job not removed");
        }
    }
}

/// The pages of a job, in the folder of a job.
pub(crate) fn stored_page(job_folder: &Path, name: &str, page: u32) -> Page {
    Page::File(page_path(job_folder, name, page))
}

fn page_path(job_folder: &Path, name: &str, page: u32) -> PathBuf {
    job_folder.join("pages").join(file_name(name, page))
}

fn journal_path(job_folder: &Path, number: u64) -> PathBuf {
    job_folder.join(format!("journal.{number}"))
}

/// Makes a job's folder, and its name last.
fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), Trouble> {
    let doing = || format!("make the folder {}", folder.display());
    if disk.metadata(folder).doing(doing)?.is_some() {
        return Ok(());
    }
    disk.create_folders(folder).doing(doing)?;
    match folder.parent() {
        Some(parent) => disk.sync_folder(parent).doing(doing),
        None => Ok(()),
    }
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

/// All tombstones, oldest first; the oldest of too many are removed.
fn read_tombstones(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<Tombstone>> {
    let mut tombstones = Vec::new();
    for name in disk.list(folder)? {
        let path = folder.join(name);
        match serde_json::from_slice::<Tombstone>(&disk.read(&path)?) {
            Ok(tombstone) => tombstones.push(tombstone),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "not a tombstone");
            }
        }
    }
    tombstones.sort_by(|a, b| (a.ended_at, &a.job).cmp(&(b.ended_at, &b.job)));
    let excess = tombstones.len().saturating_sub(TOMBSTONES);
    for old in tombstones.drain(..excess) {
        disk.remove_file(&folder.join(format!("{}.json", old.job)))?;
    }
    Ok(tombstones)
}

/// A job whose state was damaged on disk: it fails, loudly.
fn lost(id: &JobId, why: &str) -> Job {
    tracing::error!(job_id = %id, error = why, "state of a job is damaged");
    let mut job = Job::new(id.clone());
    job.give_up(format!("the reducer's state of the job is damaged: {why}"));
    job
}

/// The snapshot of a job, if there is one; the inner error says how it is damaged.
fn read_snapshot(disk: &dyn Disk, folder: &Path) -> io::Result<Result<Option<Stored>, String>> {
    let bytes = match disk.read(&folder.join("snapshot")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        read => read?,
    };
    let split = bytes.iter().position(|&b| b == b'\n').unwrap_or(0);
    let (digest, json) = bytes.split_at(split);
    let json = json.get(1..).unwrap_or_default();
    if digest != Digest::of(json).to_string().as_bytes() {
        return Ok(Err(
            "its snapshot does not have the digest it says".to_owned()
        ));
    }
    Ok(serde_json::from_slice(json)
        .map(Some)
        .map_err(|error| format!("its snapshot: {error}")))
}

/// The journals of a job, by number.
fn journals(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for name in disk.list(folder)? {
        let number = name
            .to_str()
            .and_then(|n| n.strip_prefix("journal.")?.parse().ok());
        journals.extend(number.map(|number| (number, folder.join(&name))));
    }
    journals.sort();
    Ok(journals)
}

/// Takes one entry of a journal in again.
fn redo(
    disk: &dyn Disk,
    job: &mut Job,
    payload: &[u8],
    folder: &Path,
    registry: &Registry,
) -> io::Result<()> {
    let entry = match serde_json::from_slice::<Entry<'_>>(payload) {
        Ok(entry) => entry,
        Err(error) => {
            job.give_up(format!(
                "the reducer's journal of the job cannot be read: {error}"
            ));
            return Ok(());
        }
    };
    if let Entry::Page(page) = &entry
        && disk
            .metadata(&page_path(folder, &page.name, page.page))?
            .is_none()
    {
        tracing::warn!(name = %page.name, page = page.page, "page of a side file is gone");
        return Ok(());
    }
    match job.absorb(&entry, registry) {
        Absorbed::News | Absorbed::Duplicate => {}
        Absorbed::Refused(why) | Absorbed::Stale(why) => {
            tracing::warn!(why, "entry of the journal refused");
        }
        Absorbed::Harmful(entry) | Absorbed::Last(entry) => {
            tracing::warn!(?entry, "entry of the journal is harmful");
        }
    }
    Ok(())
}
