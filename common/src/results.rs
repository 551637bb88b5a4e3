//! The folder of results: every job's own copy of its report, and which one is the newest of its kind.
//!
//! ```text
//! results/jobs/<job>/…      a job's own files; the folder appears whole, or is exchanged for another one whole
//! results/<kind>            a symbolic link to jobs/<job>: the newest report of that kind, swapped in one step
//! results/report.json, …    symbolic links through <kind>/, of the one kind whose newest report also stands at the root
//!                           ([`JobKind::AT_ROOT`](crate::JobKind::AT_ROOT)): made once, what the newest job has
//! ```
//!
//! These paths are spelled here and nowhere else. A reader of several files of one report resolves the newest one
//! ([`Results::newest_folder`]) once, and reads there. A reader of one file may read it at the root.
//!
//! A job does not replace a better one of its kind ([`Rank`]), nor one whose end was decided later ([`Claim::order`]),
//! however often its publication was retried. Any other job replaces one without a row to show, whenever its end was
//! decided.
//!
//! Two earlier layouts are read, and turned into this one by the first publication (`earlier`): `results/newest` was a
//! link to the newest report of any kind; before that, its files were at the root themselves.

mod earlier;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::JobId;
use crate::disk::{Disk, Metadata};
use crate::execution::Execution;
use crate::kind::REPORT;
use crate::message::Status;

/// The file that says how a job went, beside its report.
pub const EXECUTION: &str = "execution.json";
/// The folder of all jobs' own folders.
const JOBS: &str = "jobs";

/// Whether a kind may have this name: `a-z` and `-` only, and not the name of the folder of jobs.
pub const fn is_kind_name(name: &str) -> bool {
    let (name, jobs) = (name.as_bytes(), JOBS.as_bytes());
    let (mut at, mut is_jobs) = (0, name.len() == jobs.len());
    while at < name.len() {
        if !(name[at].is_ascii_lowercase() || name[at] == b'-') {
            return false;
        }
        is_jobs = is_jobs && name[at] == jobs[at];
        at += 1;
    }
    at > 0 && !is_jobs
}

/// How good a job's end is, as a candidate for the newest report.
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

/// Which reports the requester of a job accepts as the newest although they are not whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accept {
    /// One without an accepted row.
    pub empty: bool,
    /// One that lacks something.
    pub incomplete: bool,
}

impl Accept {
    /// Whether only whole reports are accepted.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Rank {
    /// The rank of a job with that status and that many rows in its report; what `accept` allows counts as whole.
    pub fn of(status: Status, rows: u64, accept: Accept) -> Self {
        match status {
            Status::Failed | Status::Cancelled => Self::Without,
            _ if rows == 0 && !accept.empty => Self::Empty,
            Status::Incomplete if !accept.incomplete => Self::Incomplete,
            Status::Done | Status::Incomplete => Self::Complete,
        }
    }
}

/// The order and rank with which a job claims to be the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Larger than that of every job whose end was decided before.
    pub order: u64,
    /// How good its end is.
    pub rank: Rank,
}

/// A folder of results, for its one publisher.
#[derive(Debug, Clone)]
pub struct Results {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    at_root: Option<String>,
    publishing: Arc<Mutex<()>>,
}

impl Results {
    /// Opens a folder of results; `at_root` is the kind whose newest report's files also stand at its root
    /// ([`Registry::at_root`](crate::Registry::at_root)). Only one process may publish there, through clones of this.
    pub fn new(disk: Arc<dyn Disk>, folder: impl Into<PathBuf>, at_root: Option<&str>) -> Self {
        Self {
            disk,
            folder: folder.into(),
            at_root: at_root.map(str::to_owned),
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
    /// The error of the system.
    pub fn begin(&self, job: &JobId) -> io::Result<PathBuf> {
        let unfinished = self.unfinished(job);
        self.disk.remove(&unfinished)?;
        self.disk.create_folders(&unfinished)?;
        Ok(unfinished)
    }

    /// Renames the written files into the job's own folder, all at once and durably; replaces those of an earlier run of
    /// the job. The files and their folders must be flushed.
    ///
    /// # Errors
    /// The error of the system; the job's own folder is then the old one.
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

    /// The job whose report is the newest of a kind, if there is one.
    ///
    /// # Errors
    /// The error of the system.
    pub fn newest(&self, kind: &str) -> io::Result<Option<JobId>> {
        match self.leads_to(kind)? {
            Some(job) => Ok(Some(job)),
            None if self.is_at_root(kind) => self.leads_to(earlier::NEWEST),
            None => Ok(None),
        }
    }

    /// The folder of a kind's newest report: its job's own. Where none was published yet it is a missing folder or, for
    /// the kind that stands at the root, the folder of results, where an earlier layout has the files.
    ///
    /// # Errors
    /// The error of the system.
    pub fn newest_folder(&self, kind: &str) -> io::Result<PathBuf> {
        Ok(match self.newest(kind)? {
            Some(job) => self.of(&job),
            None if self.is_at_root(kind) => self.folder.clone(),
            None => self.folder.join(kind),
        })
    }

    /// The largest order of the newest reports; 0 where there is none, or none has one.
    ///
    /// # Errors
    /// The error of the system.
    pub fn newest_order(&self) -> io::Result<u64> {
        let mut newest = 0;
        for name in self.names(&self.folder)? {
            if let Some(job) = self.leads_to(&name)? {
                newest = newest.max(self.claim(&job, Accept::default()).order);
            }
        }
        Ok(newest)
    }

    /// The job that a link of the folder of results leads to, if that is one.
    fn leads_to(&self, name: &str) -> io::Result<Option<JobId>> {
        let link = self.folder.join(name);
        if self.disk.metadata(&link)? != Some(Metadata::Link) {
            return Ok(None);
        }
        let target = self.disk.read_link(&link)?;
        let job = target.strip_prefix(JOBS).ok().and_then(Path::to_str);
        Ok(job.and_then(|name| name.parse().ok()))
    }

    fn is_at_root(&self, kind: &str) -> bool {
        self.at_root.as_deref() == Some(kind)
    }

    /// The `execution.json` of a job that ended.
    ///
    /// # Errors
    /// The error of the system, or what is wrong with the file.
    pub fn execution(&self, job: &JobId) -> io::Result<Execution> {
        let bytes = self.disk.read(&self.of(job).join(EXECUTION))?;
        Ok(Execution::read(&bytes)?)
    }

    /// The claim of an ended job, read from its files; what `accept` allows counts as whole.
    pub fn claim(&self, job: &JobId, accept: Accept) -> Claim {
        match self.execution(job) {
            Ok(execution) => Claim {
                order: execution.order,
                rank: Rank::of(execution.status, execution.rows, accept),
            },
            // made by another program: the existing link counts
            Err(_) => Claim {
                order: 0,
                rank: match self.disk.metadata(&self.of(job).join(REPORT)) {
                    Ok(Some(_)) => Rank::Complete,
                    _ => Rank::Without,
                },
            },
        }
    }

    /// Makes this job's report the newest of `kind`, unless the current one is better or its end was decided later; then
    /// returns one sentence that says why not.
    ///
    /// # Errors
    /// The error of the system; the newest report is then the old one or this one, whole. The call can be retried.
    pub fn offer(&self, job: &JobId, kind: &str, claim: Claim) -> io::Result<Option<String>> {
        let _one_at_a_time = self.lock();
        self.take_over(kind, job)?;
        if let Some(shown) = self.newest(kind)?.filter(|shown| shown != job) {
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
        self.show(job, kind).map(|()| None)
    }

    /// Makes this job's report the newest of its kind because a person chose it. Jobs whose end was decided before
    /// `order` do not replace it.
    ///
    /// # Errors
    /// As [`Results::offer`]; [`io::ErrorKind::NotFound`] for a job without a report, or without a file that names its
    /// kind.
    pub fn choose(&self, job: &JobId, order: u64) -> io::Result<()> {
        let _one_at_a_time = self.lock();
        let own = self.of(job);
        let missing = |what| io::Error::new(io::ErrorKind::NotFound, format!("job {job} {what}"));
        if self.disk.metadata(&own.join(REPORT))?.is_none() {
            return Err(missing("has no report"));
        }
        let execution = self.execution(job).ok();
        let said = execution.as_ref().and_then(|said| said.kind.clone());
        // before files named their kind, only reports of that kind were written
        let kind = said
            .filter(|kind| is_kind_name(kind))
            .or_else(|| self.at_root.clone());
        let kind = kind.ok_or_else(|| missing("does not say its kind"))?;
        if let Some(mut execution) = execution {
            execution.order = order;
            let path = own.join(EXECUTION);
            self.disk.write_whole(&path, &execution.to_json()?)?;
            self.disk.sync_folder(&own)?;
        }
        self.take_over(&kind, job)?;
        self.show(job, &kind)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        let locked = self.publishing.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this job's report the newest of a kind.
    fn show(&self, job: &JobId, kind: &str) -> io::Result<()> {
        let names = match self.is_at_root(kind) {
            true => self.own_names(job)?,
            false => BTreeSet::new(),
        };
        let mut made = false;
        for name in &names {
            made |= self.lead_through(name, kind)?;
        }
        if made {
            self.disk.sync_folder(&self.folder)?;
        }
        self.point(kind, job)?;
        self.remove_dangling(&names, kind)
    }

    /// Points the link of a kind at a job's own folder, durably.
    fn point(&self, kind: &str, job: &JobId) -> io::Result<()> {
        let target = Path::new(JOBS).join(job.as_str());
        self.disk.point(&self.folder.join(kind), &target)?;
        self.disk.sync_folder(&self.folder)
    }

    /// The names of a job's own files and folders.
    fn own_names(&self, job: &JobId) -> io::Result<BTreeSet<String>> {
        let names = self.names(&self.of(job))?.into_iter();
        Ok(names
            .filter(|name| !name.starts_with('.') && name != JOBS)
            .collect())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = self.disk.list(folder)?.into_iter();
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// Makes a root name lead through the link of the kind; returns whether that was a change. An existing file that is
    /// not among the newest report's is kept under another name.
    fn lead_through(&self, name: &str, kind: &str) -> io::Result<bool> {
        let (path, target) = (self.folder.join(name), Path::new(kind).join(name));
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

    /// Removes the root names that the newest report of the kind lacks.
    fn remove_dangling(&self, names: &BTreeSet<String>, kind: &str) -> io::Result<()> {
        for name in self.names(&self.folder)? {
            let path = self.folder.join(&name);
            if !names.contains(&name)
                && self.disk.metadata(&path)? == Some(Metadata::Link)
                && self.disk.read_link(&path)? == Path::new(kind).join(&name)
            {
                self.disk.remove(&path)?;
            }
        }
        Ok(())
    }
}

/// A job's own folder in a folder of results.
pub fn job_folder(results: &Path, job: &JobId) -> PathBuf {
    results.join(JOBS).join(job.as_str())
}

#[cfg(test)]
mod tests;
