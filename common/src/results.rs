//! The folder of results: every job's own copy of its report, and which one is the newest.
//!
//! ```text
//! results/jobs/<job>/…      a job's own files; the folder appears whole, or is exchanged for another one whole
//! results/newest            a symbolic link to jobs/<job>: the newest report, swapped in one step
//! results/report.json, …    symbolic links through newest/, made once: what the newest job has
//! ```
//!
//! Whoever needs several files of one report asks where `newest` leads ([`newest_folder`]) once, and reads there. Whoever
//! needs one file may read it at the root.
//!
//! One job is not shown in the place of a better one ([`Rank`]), nor in the place of one whose end was decided later
//! ([`Claim::order`]), however often its publication had to be tried again. A job without a row to show is in nobody's
//! way, whenever its end was decided.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Metadata};
use crate::kind::REPORT;
use crate::message::Status;
use crate::{Digest, JobId};

/// The file that says how a job went, beside its report.
pub const EXECUTION: &str = "execution.json";
/// The link to the newest report's folder.
const NEWEST: &str = "newest";
/// The folder of all jobs' own folders.
const JOBS: &str = "jobs";

/// How good a job's end is, to be shown as the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// There is no report.
    Without,
    /// No row was merged into the report.
    Empty,
    /// The report lacks something.
    Incomplete,
    /// The report is whole.
    Complete,
}

/// What somebody who asks for a job takes as the newest report in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accept {
    /// One without an accepted row.
    pub empty: bool,
    /// One that lacks something.
    pub incomplete: bool,
}

impl Accept {
    /// Whether nothing out of the ordinary is accepted.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Rank {
    /// The rank of a job that ended so, with so many rows in its report, where `accept` is taken for whole.
    pub fn of(status: Status, rows: u64, accept: Accept) -> Self {
        match status {
            Status::Failed | Status::Cancelled => Self::Without,
            _ if rows == 0 && !accept.empty => Self::Empty,
            Status::Incomplete if !accept.incomplete => Self::Incomplete,
            Status::Done | Status::Incomplete => Self::Complete,
        }
    }
}

/// With what a job claims to be the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Larger than that of every job whose end was decided before.
    pub order: u64,
    /// How good its end is.
    pub rank: Rank,
}

/// What `execution.json` says of a job's end.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Execution {
    status: Status,
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    order: u64,
}

/// A folder of results, and the one who publishes there.
#[derive(Debug, Clone)]
pub struct Results {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    publishing: Arc<Mutex<()>>,
}

impl Results {
    /// A folder of results. One process publishes there, through clones of this.
    pub fn new(disk: Arc<dyn Disk>, folder: impl Into<PathBuf>) -> Self {
        Self {
            disk,
            folder: folder.into(),
            publishing: Arc::default(),
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of all jobs' own folders.
    pub fn jobs(&self) -> PathBuf {
        self.folder.join(JOBS)
    }

    /// A job's own folder.
    pub fn of(&self, job: &JobId) -> PathBuf {
        job_folder(&self.folder, job)
    }

    /// The folder where a job's files are written before they appear all at once.
    pub fn unfinished(&self, job: &JobId) -> PathBuf {
        // no job has a dot in its name
        self.jobs().join(format!(".{job}"))
    }

    /// Empties the folder where a job's files are written.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(&self, job: &JobId) -> io::Result<PathBuf> {
        let unfinished = self.unfinished(job);
        self.disk.remove(&unfinished)?;
        self.disk.create_folders(&unfinished)?;
        Ok(unfinished)
    }

    /// Makes the files that were written the job's own, all at once and for good; in the place of those of an earlier life
    /// of the job. The files and the folders that they are in must be flushed.
    ///
    /// # Errors
    /// What the system said; the job's own folder is then the old one.
    pub fn put(&self, job: &JobId) -> io::Result<()> {
        let (unfinished, own) = (self.unfinished(job), self.of(job));
        if self.disk.metadata(&own)?.is_none() {
            self.disk.rename(&unfinished, &own)?;
        } else {
            match self.disk.exchange(&unfinished, &own) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.disk.remove_folder(&own)?;
                    self.disk.rename(&unfinished, &own)?;
                }
                exchanged => exchanged?,
            }
        }
        self.disk.sync_folder(&self.jobs())?;
        self.disk.sync_folder(&self.folder)?;
        self.disk.remove(&unfinished)
    }

    /// The job whose report is the newest, if there is one.
    ///
    /// # Errors
    /// What the system said.
    pub fn newest(&self) -> io::Result<Option<JobId>> {
        newest(&*self.disk, &self.folder)
    }

    /// The order of the newest report; 0 where there is none, or it does not say.
    ///
    /// # Errors
    /// What the system said.
    pub fn newest_order(&self) -> io::Result<u64> {
        let newest = self.newest()?;
        Ok(newest.map_or(0, |job| self.claim(&job, Accept::default()).order))
    }

    /// With what a job that ended claims to be the newest, as its own files say, where `accept` is taken for whole.
    pub fn claim(&self, job: &JobId, accept: Accept) -> Claim {
        let own = self.of(job);
        let read = self.disk.read(&own.join(EXECUTION));
        let execution = read.and_then(|bytes| Ok(serde_json::from_slice::<Execution>(&bytes)?));
        match execution {
            Ok(Execution {
                status,
                rows,
                order,
            }) => Claim {
                order,
                rank: Rank::of(status, rows, accept),
            },
            // made by another program: what is there counts
            Err(_) => Claim {
                order: 0,
                rank: match self.disk.metadata(&own.join(REPORT)) {
                    Ok(Some(_)) => Rank::Complete,
                    _ => Rank::Without,
                },
            },
        }
    }

    /// Makes the newest report this job's, unless the one that is shown is better or its end was decided later; then
    /// one sentence says why not.
    ///
    /// # Errors
    /// What the system said; the newest report is then the old one, or this one, whole. It can be tried again.
    pub fn offer(&self, job: &JobId, claim: Claim) -> io::Result<Option<String>> {
        let _one_at_a_time = self.lock();
        self.take_over(&self.own_names(job)?)?;
        if let Some(shown) = self.newest()?.filter(|shown| shown != job) {
            let other = self.claim(&shown, Accept::default());
            if other.rank > claim.rank {
                let what = match claim.rank {
                    Rank::Without => "it has no report",
                    Rank::Empty => "its report has no accepted row",
                    Rank::Incomplete | Rank::Complete => "its report is incomplete",
                };
                return Ok(Some(format!(
                    "{what}, so the newest report is still that of {shown}"
                )));
            }
            if other.order > claim.order && (other.rank > Rank::Empty || claim.rank <= Rank::Empty)
            {
                return Ok(Some(format!(
                    "the newest report is that of {shown}, which ended later"
                )));
            }
        }
        self.show(job).map(|()| None)
    }

    /// Makes the newest report this job's because a person says so. Jobs whose end was decided before `order` do not
    /// take its place.
    ///
    /// # Errors
    /// As [`Results::offer`]; [`io::ErrorKind::NotFound`] for a job without a report.
    pub fn choose(&self, job: &JobId, order: u64) -> io::Result<()> {
        let _one_at_a_time = self.lock();
        let own = self.of(job);
        if self.disk.metadata(&own.join(REPORT))?.is_none() {
            let sentence = format!("job {job} has no report");
            return Err(io::Error::new(io::ErrorKind::NotFound, sentence));
        }
        let path = own.join(EXECUTION);
        if let Ok(bytes) = self.disk.read(&path)
            && let Ok(mut execution) = serde_json::from_slice::<serde_json::Value>(&bytes)
            && let Some(said) = execution.as_object_mut()
        {
            said.insert("order".to_owned(), order.into());
            let bytes = serde_json::to_vec_pretty(&execution)?;
            self.disk.write_whole(&path, &bytes)?;
            self.disk.sync_folder(&own)?;
        }
        self.take_over(&self.own_names(job)?)?;
        self.show(job)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        let locked = self.publishing.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the newest report this job's.
    fn show(&self, job: &JobId) -> io::Result<()> {
        let names = self.own_names(job)?;
        let mut made = false;
        for name in &names {
            made |= self.lead_through(name)?;
        }
        if made {
            self.disk.sync_folder(&self.folder)?;
        }
        let target = Path::new(JOBS).join(job.as_str());
        self.disk.point(&self.folder.join(NEWEST), &target)?;
        self.disk.sync_folder(&self.folder)?;
        self.remove_dangling(&names)
    }

    /// The names of a job's own files and folders.
    fn own_names(&self, job: &JobId) -> io::Result<BTreeSet<String>> {
        let names = self.names(&self.of(job))?.into_iter();
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = self.disk.list(folder)?.into_iter();
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// Makes a root name lead through `newest`; says whether it did not before. What is there and not among the newest
    /// report's files is kept under another name.
    fn lead_through(&self, name: &str) -> io::Result<bool> {
        let (path, target) = (self.folder.join(name), Path::new(NEWEST).join(name));
        let found = self.disk.metadata(&path)?;
        match found {
            Some(Metadata::Link) if self.disk.read_link(&path)? == target => return Ok(false),
            Some(Metadata::Link) | None => {}
            Some(_) if self.disk.metadata(&self.folder.join(&target))?.is_none() => {
                let kept = self.folder.join(format!("earlier-{name}"));
                self.disk.remove(&kept)?;
                self.disk.rename(&path, &kept)?;
            }
            // a link cannot be renamed over a folder
            Some(Metadata::Folder) => {
                let aside = self.folder.join(format!(".{name}.old"));
                self.disk.remove(&aside)?;
                self.disk.rename(&path, &aside)?;
                self.disk.point(&path, &target)?;
                self.disk.remove(&aside)?;
                return Ok(true);
            }
            Some(Metadata::File(_)) => {}
        }
        self.disk.point(&path, &target)?;
        Ok(true)
    }

    /// Removes the root names of which the newest report has nothing.
    fn remove_dangling(&self, names: &BTreeSet<String>) -> io::Result<()> {
        for name in self.names(&self.folder)? {
            let path = self.folder.join(&name);
            if !names.contains(&name)
                && self.disk.metadata(&path)? == Some(Metadata::Link)
                && self.disk.read_link(&path)? == Path::new(NEWEST).join(&name)
            {
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Turns a folder of the layout before, where the newest report's files were at the root themselves, into this one:
    /// nothing is lost, and whoever looks meanwhile finds what was there. `names` are those that are about to lead
    /// through `newest`.
    fn take_over(&self, names: &BTreeSet<String>) -> io::Result<()> {
        let report = self.folder.join(REPORT);
        let is_file = matches!(self.disk.metadata(&report)?, Some(Metadata::File(_)));
        if self.disk.metadata(&self.folder.join(NEWEST))?.is_some() || !is_file {
            return Ok(());
        }
        let job = match self.whose(&report)? {
            Some(job) => job,
            None => self.copy_root(&report, names)?,
        };
        tracing::info!(job_id = %job, "results folder of the layout before is taken over");
        let target = Path::new(JOBS).join(job.as_str());
        self.disk.point(&self.folder.join(NEWEST), &target)?;
        self.disk.sync_folder(&self.folder)
    }

    /// The job whose own folder has the report at the root.
    fn whose(&self, report: &Path) -> io::Result<Option<JobId>> {
        let length = self.disk.metadata(report)?;
        let jobs = match self.disk.metadata(&self.jobs())? {
            Some(_) => self.names(&self.jobs())?,
            None => Vec::new(),
        };
        let mut bytes = None;
        for job in jobs.iter().filter_map(|name| name.parse::<JobId>().ok()) {
            let own = self.of(&job).join(REPORT);
            if self.disk.metadata(&own)? != length {
                continue;
            }
            let bytes = match &mut bytes {
                Some(bytes) => bytes,
                unread => unread.insert(self.disk.read(report)?),
            };
            if self.disk.read(&own)? == *bytes {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    /// Gives what is at the root a folder of its own, under the name of a job that its report tells from every other.
    fn copy_root(&self, report: &Path, names: &BTreeSet<String>) -> io::Result<JobId> {
        let digest = Digest::of(&self.disk.read(report)?).short(16);
        let job: JobId = format!("earlier-{digest}")
            .parse()
            .map_err(io::Error::other)?;
        let copy = self.begin(&job)?;
        let usual = [REPORT, EXECUTION].map(str::to_owned);
        for name in names.union(&usual.into()) {
            self.copy(&self.folder.join(name), &copy.join(name))?;
        }
        self.put(&job)?;
        Ok(job)
    }

    /// Gives a file, or every file in a folder, a second name.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.disk.metadata(from)? {
            Some(Metadata::File(_)) => self.disk.link_whole(from, to)?,
            Some(Metadata::Folder) => {
                self.disk.create_folders(to)?;
                for name in self.names(from)? {
                    self.copy(&from.join(&name), &to.join(&name))?;
                }
            }
            Some(Metadata::Link) | None => return Ok(()),
        }
        to.parent()
            .map_or(Ok(()), |folder| self.disk.sync_folder(folder))
    }
}

/// A job's own folder in a folder of results.
pub fn job_folder(results: &Path, job: &JobId) -> PathBuf {
    results.join(JOBS).join(job.as_str())
}

/// The job whose report is the newest in a folder of results, if there is one.
///
/// # Errors
/// What the system said.
pub fn newest(disk: &dyn Disk, results: &Path) -> io::Result<Option<JobId>> {
    let link = results.join(NEWEST);
    if disk.metadata(&link)? != Some(Metadata::Link) {
        return Ok(None);
    }
    let target = disk.read_link(&link)?;
    let name = target.file_name().and_then(|name| name.to_str());
    Ok(name.and_then(|name| name.parse().ok()))
}

/// The folder of the newest report's files: its job's own. A folder of results in which nothing was published yet, or
/// only in the layout before, is that folder itself.
///
/// # Errors
/// What the system said.
pub fn newest_folder(disk: &dyn Disk, results: &Path) -> io::Result<PathBuf> {
    let newest = newest(disk, results)?;
    Ok(newest.map_or_else(|| results.to_owned(), |job| job_folder(results, &job)))
}

#[cfg(test)]
mod tests;
