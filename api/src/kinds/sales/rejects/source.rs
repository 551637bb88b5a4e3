//! Finds the rejects of a report, and those of a job without a report.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use autoconnect_jobs::sales::Report;

use super::file::Rejects;
use super::row::{Reject, Sought};
use crate::editions::{Seen, seen_as};
use crate::params::{Page, Paging, PerPage};
use crate::problem::Problem;

/// The rejects of a report, which are read on the first request.
#[derive(Debug)]
pub(in super::super) struct Source {
    /// The folder that the report is in.
    folder: PathBuf,
    /// The rejects, once they have been read.
    found: Mutex<Option<Arc<Rejects>>>,
}

impl Source {
    /// The rejects of the report in this folder.
    pub(in super::super) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            found: Mutex::default(),
        }
    }

    /// A page, and how many rejects there are on all pages. Blocks.
    pub(super) fn page(
        &self,
        report: &Report,
        sought: &Sought,
        paging: Paging,
    ) -> Result<(Vec<Reject>, u64), Problem> {
        if report.source.rejetees == 0 {
            return Ok((Vec::new(), 0));
        }
        let page = self.rejects(report)?.page(sought, paging);
        page.map_err(|error| unreadable(&error))
    }

    /// The file with all rejects of this report. Blocks.
    ///
    /// # Errors
    /// [`Problem`], where it no longer exists.
    pub(in super::super) fn path(&self, report: &Report) -> Result<PathBuf, Problem> {
        Ok(self.rejects(report)?.path.clone())
    }

    /// The first rejects of this report. Blocks.
    ///
    /// # Errors
    /// [`Problem`], where their file no longer exists.
    pub(in super::super) fn first(
        &self,
        report: &Report,
        most: PerPage,
    ) -> Result<Vec<Reject>, Problem> {
        let paging = Paging {
            page: Page::default(),
            par_page: most,
        };
        let (first, _) = self.page(report, &Sought::default(), paging)?;
        Ok(first)
    }

    fn rejects(&self, report: &Report) -> Result<Arc<Rejects>, Problem> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rejects) = &*found {
            return Ok(Arc::clone(rejects));
        }
        let rejects = Rejects::read_of(report, &self.folder).map(Arc::new);
        let rejects = rejects.ok_or_else(|| {
            Problem::not_found(
                "les lignes rejetées de ce rapport ne sont plus dans le dossier des résultats",
            )
        })?;
        *found = Some(Arc::clone(&rejects));
        Ok(rejects)
    }
}

/// The response where rejects cannot be read; the log has the cause.
pub(super) fn unreadable(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "the rejects cannot be read");
    Problem::unavailable(
        "les lignes rejetées n’ont pas pu être lues\u{a0}; le journal du serveur dit pourquoi",
    )
}

/// The rejects of the job without a report that was requested last.
#[derive(Default)]
pub(in super::super) struct Failed(Mutex<Option<(PathBuf, Seen, Arc<Rejects>)>>);

impl Failed {
    /// The rejects in this file; `None` where it cannot be read. Blocks.
    pub(super) fn rejects(&self, file: &Path) -> Option<Arc<Rejects>> {
        let seen = seen_as(&fs::metadata(file).ok()?);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, then, known)) = &*last
            && path == file
            && *then == seen
        {
            return Some(Arc::clone(known));
        }
        match Rejects::read(file) {
            Ok(read) => {
                let read = Arc::new(read);
                *last = Some((file.to_owned(), seen, Arc::clone(&read)));
                Some(read)
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the rejects cannot be read");
                None
            }
        }
    }
}
