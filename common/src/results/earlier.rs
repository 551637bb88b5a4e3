//! Converts folders of results in an earlier layout: no file is lost, and readers find the old files meanwhile.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::{EXECUTION, Results};
use crate::disk::Metadata;
use crate::kind::REPORT;
use crate::{Digest, JobId};

/// The link to the newest report, of any kind, in the layout before; the names at the root led through it.
pub(super) const NEWEST: &str = "newest";

impl Results {
    /// Converts a folder of an earlier layout, before `job` is offered as the newest of `kind`: only reports of the kind
    /// that stands at the root were published then. A power cut may follow any step; the next publication repeats or
    /// skips it.
    pub(super) fn take_over(&self, kind: &str, job: &JobId) -> io::Result<()> {
        if !self.is_at_root(kind) {
            return Ok(());
        }
        if self.leads_to(kind)?.is_none()
            && let Some(newest) = self.newest_before(job)?
        {
            tracing::info!(job_id = %newest, kind, "results folder of an earlier layout is taken over");
            self.point(kind, &newest)?;
        }
        self.lead_past_newest(kind)
    }

    /// The job whose report an earlier layout shows as the newest.
    fn newest_before(&self, next: &JobId) -> io::Result<Option<JobId>> {
        if let Some(job) = self.leads_to(NEWEST)? {
            return Ok(Some(job));
        }
        let report = self.folder.join(REPORT);
        if !matches!(self.disk.metadata(&report)?, Some(Metadata::File(_))) {
            return Ok(None);
        }
        Ok(Some(match self.whose(&report)? {
            Some(job) => job,
            None => self.copy_root(&report, &self.own_names(next)?)?,
        }))
    }

    /// Has the names at the root that lead through [`NEWEST`] lead through the link of the kind instead, which leads to
    /// the same files, and removes [`NEWEST`].
    fn lead_past_newest(&self, kind: &str) -> io::Result<()> {
        let newest = self.folder.join(NEWEST);
        if self.disk.metadata(&newest)? != Some(Metadata::Link) {
            return Ok(());
        }
        for name in self.names(&self.folder)? {
            let path = self.folder.join(&name);
            if self.disk.metadata(&path)? == Some(Metadata::Link)
                && self.disk.read_link(&path)? == Path::new(NEWEST).join(&name)
            {
                self.disk.point(&path, &Path::new(kind).join(&name))?;
            }
        }
        self.disk.sync_folder(&self.folder)?;
        self.disk.remove(&newest)?;
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

    /// Moves the files at the root into a folder of their own, under a job name made of their report's digest.
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
