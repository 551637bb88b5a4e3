//! What is left of jobs that ended: a small file each, read when somebody asks.
//!
//! A tombstone is kept for as long as its job's folder of results is there, and longer: what still comes of the job is
//! dropped because of it. Its name alone says that the job ended, so that starting beside 100,000 of them costs one
//! listing of their folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use autoconnect_common::disk::Disk;
use autoconnect_common::message::Status;
use autoconnect_common::results::{EXECUTION, job_folder};
use autoconnect_common::{JobId, machine};
use serde::{Deserialize, Serialize};

use crate::trouble::{Doing, Trouble};

/// The folder of tombstones, in the state folder.
pub(crate) const DONE: &str = "done";

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
        let path = path(state, &self.job);
        let doing = || format!("write the tombstone {}", path.display());
        let bytes = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .doing(doing)?;
        disk.write_whole(&path, &bytes).doing(doing)?;
        disk.sync_folder(&state.join(DONE)).doing(doing)
    }
}

/// Where the tombstone of a job is.
pub(crate) fn path(state: &Path, job: &JobId) -> PathBuf {
    state.join(DONE).join(format!("{job}.json"))
}

/// The jobs that have a tombstone.
pub(crate) fn names(disk: &dyn Disk, state: &Path) -> io::Result<Vec<JobId>> {
    let names = disk.list(&state.join(DONE))?.into_iter();
    Ok(names
        .filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok())
        .collect())
}

/// Where tombstones are read from.
#[derive(Debug, Clone)]
pub(crate) struct Graves {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) state: PathBuf,
    pub(crate) results: PathBuf,
}

impl Graves {
    /// Reads a tombstone. One that is damaged is made again from the job's own results.
    pub(crate) fn read(&self, job: &JobId) -> Tombstone {
        let path = path(&self.state, job);
        let read = self.disk.read(&path);
        match read.and_then(|bytes| Ok(serde_json::from_slice::<Tombstone>(&bytes)?)) {
            Ok(tombstone) if tombstone.job == *job => tombstone,
            found => {
                let error = found.err().map(|error| error.to_string());
                tracing::error!(file = %path.display(), error, "tombstone is damaged");
                self.remade(job)
            }
        }
    }

    fn remade(&self, job: &JobId) -> Tombstone {
        /// What `execution.json` says of the end.
        #[derive(Deserialize)]
        struct End {
            status: Status,
            reason: Option<String>,
        }
        let path = job_folder(&self.results, job).join(EXECUTION);
        let read = self.disk.read(&path);
        let end = read.and_then(|bytes| Ok(serde_json::from_slice::<End>(&bytes)?));
        let end = end.unwrap_or_else(|error| End {
            status: Status::Failed,
            reason: Some(format!(
                "how the job ended cannot be told: the reducer's tombstone of it is damaged, and {}: {error}",
                path.display()
            )),
        });
        Tombstone {
            job: job.clone(),
            status: end.status,
            reason: end.reason,
            ended_at: 0,
        }
    }
}

/// The jobs that ended, and how, as far as anybody asked.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    /// Absent where nothing outlives the process.
    graves: Option<Graves>,
    known: BTreeMap<JobId, Option<Known>>,
    unread: usize,
}

/// A tombstone in memory, without its job.
#[derive(Debug)]
struct Known {
    status: Status,
    reason: Option<Box<str>>,
    ended_at: u64,
}

impl Tombstones {
    /// The tombstones of a state folder.
    pub(crate) fn of(graves: Graves, names: Vec<JobId>) -> Self {
        Self {
            graves: Some(graves),
            unread: names.len(),
            known: names.into_iter().map(|job| (job, None)).collect(),
        }
    }

    /// Whether the job ended.
    pub(crate) fn contains(&self, job: &JobId) -> bool {
        self.known.contains_key(job)
    }

    /// How the job ended, if it did.
    pub(crate) fn get(&mut self, job: &JobId) -> Option<Tombstone> {
        let known = self.known.get_mut(job)?;
        if known.is_none() {
            let read = self.graves.as_ref().map(|graves| graves.read(job));
            *known = read.map(Known::from);
            self.unread -= 1;
        }
        known.as_ref().map(|known| known.tombstone(job))
    }

    /// Notes how a job ended.
    pub(crate) fn insert(&mut self, tombstone: Tombstone) {
        let job = tombstone.job.clone();
        if let Some(None) = self.known.insert(job, Some(tombstone.into())) {
            self.unread -= 1;
        }
    }

    /// Forgets that a job ended.
    pub(crate) fn remove(&mut self, job: &JobId) {
        if let Some(None) = self.known.remove(job) {
            self.unread -= 1;
        }
    }

    /// Reads those that were not read yet, if there are any; takes long where there are many. What it gives back goes to
    /// [`Tombstones::learn`].
    pub(crate) fn reading(&self) -> Option<impl FnOnce() -> Vec<Tombstone> + Send + 'static> {
        let graves = self.graves.clone().filter(|_| self.unread > 0)?;
        let unread = self.known.iter().filter(|(_, known)| known.is_none());
        let unread: Vec<JobId> = unread.map(|(job, _)| job.clone()).collect();
        Some(move || unread.iter().map(|job| graves.read(job)).collect())
    }

    /// Takes in what was read.
    pub(crate) fn learn(&mut self, tombstones: Vec<Tombstone>) {
        for tombstone in tombstones {
            if let Some(known @ None) = self.known.get_mut(&tombstone.job) {
                *known = Some(tombstone.into());
                self.unread -= 1;
            }
        }
    }

    /// Those that were read, the newest first.
    pub(crate) fn newest(&self, most: usize) -> Vec<Tombstone> {
        let known = self.known.iter();
        let mut known: Vec<(&JobId, &Known)> = known
            .filter_map(|(job, known)| Some((job, known.as_ref()?)))
            .collect();
        known.sort_by(|(a, x), (b, y)| (y.ended_at, a).cmp(&(x.ended_at, b)));
        let known = known.into_iter().take(most);
        known.map(|(job, known)| known.tombstone(job)).collect()
    }

    /// How many jobs ended.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Known {
    fn tombstone(&self, job: &JobId) -> Tombstone {
        Tombstone {
            job: job.clone(),
            status: self.status,
            reason: self.reason.as_deref().map(str::to_owned),
            ended_at: self.ended_at,
        }
    }
}

impl From<Tombstone> for Known {
    fn from(tombstone: Tombstone) -> Self {
        Self {
            status: tombstone.status,
            reason: tombstone.reason.map(Into::into),
            ended_at: tombstone.ended_at,
        }
    }
}
