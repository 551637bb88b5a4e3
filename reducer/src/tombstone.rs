//! Tombstones: one small file for each job that ended, read on demand.
//!
//! A tombstone is kept at least as long as its job's folder of results exists: because of it, late results of the job are
//! dropped. Its name alone says that the job ended, so that starting beside 100,000 of them costs one listing of their
//! folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoconnect_common::disk::Disk;
use autoconnect_common::message::Status;
use autoconnect_common::results::{EXECUTION, Results};
use autoconnect_common::{Digest, JobId};
use serde::{Deserialize, Serialize};

use crate::trouble::{Doing, Trouble};

/// The folder of tombstones, in the state folder.
pub(crate) const DONE: &str = "done";

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) job: JobId,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    /// The name of its kind, where it is known. Older reducers wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// Seconds since 1970; 0 where unknown.
    pub(crate) ended_at: u64,
}

/// A tombstone as it is written.
#[derive(Serialize, Deserialize)]
struct Written<T> {
    #[serde(flatten)]
    tombstone: T,
    /// The digest of the tombstone as JSON: detects a flipped bit in its reason or time. Older reducers wrote none.
    digest: Option<Digest>,
}

impl Written<Tombstone> {
    /// The tombstone, if its digest matches.
    fn verified(self) -> io::Result<Tombstone> {
        let digest = Digest::of_json(&self.tombstone)?;
        match self.digest {
            Some(written) if written != digest => Err(io::Error::other("another digest")),
            _ => Ok(self.tombstone),
        }
    }
}

impl Tombstone {
    /// The tombstone of a job that became ready to conclude at `order`: milliseconds since 1970, as in `execution.json`.
    pub(crate) fn new(job: JobId, status: Status, reason: Option<String>, order: u64) -> Self {
        Self {
            job,
            status,
            reason,
            kind: None,
            ended_at: order / 1000,
        }
    }

    /// How a job ended, as its `execution.json` says.
    ///
    /// # Errors
    /// The error of the file system, or that the file does not say so.
    pub(crate) fn published(results: &Results, job: &JobId) -> io::Result<Self> {
        let said = results.execution(job)?;
        Ok(Self {
            kind: said.kind,
            ..Self::new(job.clone(), said.status, said.reason, said.order)
        })
    }

    /// Writes the tombstone into the state folder, and flushes it.
    pub(crate) fn write(&self, disk: &dyn Disk, state: &Path) -> Result<(), Trouble> {
        let path = path(state, &self.job);
        let doing = || format!("write the tombstone {}", path.display());
        let written = || {
            let digest = Some(Digest::of_json(self)?);
            let tombstone = self;
            serde_json::to_vec(&Written { tombstone, digest })
        };
        let bytes = written().map_err(io::Error::from).doing(doing)?;
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

/// The place from which tombstones are read.
#[derive(Debug, Clone)]
pub(crate) struct Graves {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) state: PathBuf,
    pub(crate) results: Results,
}

impl Graves {
    /// Reads a tombstone. A damaged one is restored from the job's own results.
    pub(crate) fn read(&self, job: &JobId) -> Tombstone {
        let path = path(&self.state, job);
        let read = self.disk.read(&path);
        let read = read.and_then(|bytes| Ok(serde_json::from_slice::<Written<_>>(&bytes)?));
        match read.and_then(Written::verified) {
            Ok(tombstone) if tombstone.job == *job => tombstone,
            found => {
                let error = found.err().map(|error| error.to_string());
                tracing::error!(file = %path.display(), error, "tombstone is damaged");
                self.remade(job)
            }
        }
    }

    fn remade(&self, job: &JobId) -> Tombstone {
        let path = self.results.of(job).join(EXECUTION);
        let published = Tombstone::published(&self.results, job);
        published.unwrap_or_else(|error| {
            let reason = format!(
                "how the job ended cannot be told: the reducer's tombstone of it is damaged, and {}: {error}",
                path.display()
            );
            Tombstone::new(job.clone(), Status::Failed, Some(reason), 0)
        })
    }
}

/// The jobs that ended, and of those that were asked about, how.
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
    kind: Option<Box<str>>,
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

    /// Records how a job ended.
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

    /// Returns a closure that reads the unread tombstones, if there are any; slow where there are many. Pass its result to
    /// [`Tombstones::learn`].
    pub(crate) fn reading(&self) -> Option<impl FnOnce() -> Vec<Tombstone> + Send + 'static> {
        let graves = self.graves.clone().filter(|_| self.unread > 0)?;
        let unread = self.known.iter().filter(|(_, known)| known.is_none());
        let unread: Vec<JobId> = unread.map(|(job, _)| job.clone()).collect();
        Some(move || unread.iter().map(|job| graves.read(job)).collect())
    }

    /// Caches tombstones that were read.
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
            kind: self.kind.as_deref().map(str::to_owned),
            ended_at: self.ended_at,
        }
    }
}

impl From<Tombstone> for Known {
    fn from(tombstone: Tombstone) -> Self {
        Self {
            status: tombstone.status,
            reason: tombstone.reason.map(Into::into),
            kind: tombstone.kind.map(Into::into),
            ended_at: tombstone.ended_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use autoconnect_common::disk;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flipped_bit_in_a_tombstone_changes_neither_how_nor_when_its_job_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let (state, results) = (folder.path().join("state"), folder.path().join("results"));
        let job: JobId = "sales-1".parse().expect("valid");
        let results = Results::new(disk::real(), results, None);
        let own = results.of(&job);
        for folder in [&state.join(DONE), &own] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let reason = "3 of 40 chunks are missing: 0.7 (boom)";
        let order = 1_700_000_000_007;
        let said = Some(reason.to_owned());
        let ended = Tombstone {
            kind: Some("sales".to_owned()),
            ..Tombstone::new(job.clone(), Status::Incomplete, said, order)
        };
        ended.write(&*disk::real(), &state).expect("written");
        let execution =
            json!({"kind": "sales", "status": "incomplete", "reason": reason, "order": order});
        std::fs::write(own.join(EXECUTION), execution.to_string()).expect("written");
        let graves = Graves {
            disk: disk::real(),
            state: state.clone(),
            results,
        };
        assert_eq!(graves.read(&job), ended);
        let file = path(&state, &job);
        let whole = std::fs::read(&file).expect("read");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&file, &flipped).expect("written");
            let shown = String::from_utf8_lossy(&flipped);
            assert_eq!(graves.read(&job), ended, "{shown}");
        }
        // a tombstone of an older reducer has no digest
        let older = serde_json::to_vec(&ended).expect("JSON");
        std::fs::write(&file, older).expect("written");
        assert_eq!(graves.read(&job), ended);
    }
}
