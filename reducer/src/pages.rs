//! Where the pages of side files wait until their job ends.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use autoconnect_common::JobId;
use autoconnect_common::disk::Disk;
use bytes::Bytes;

/// Bytes of pages that a volatile reducer keeps in memory; the rest goes to files.
const IN_MEMORY: usize = 4 << 20;

/// One page of a side file.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    /// Its bytes.
    Memory(Bytes),
    /// The file that holds them.
    File(PathBuf),
}

impl Page {
    /// Writes the page to `out`, without holding all of a file in memory.
    pub(crate) fn copy_to(&self, disk: &dyn Disk, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Memory(bytes) => out.write_all(bytes),
            Self::File(path) => io::copy(&mut disk.open(path)?, out).map(drop),
        }
    }
}

/// The file name of a page, in its job's folder of pages. Two names never make the same one: a page number has no dot.
pub(crate) fn file_name(name: &str, page: u32) -> String {
    format!("{name}.{page}")
}

/// The pages of a reducer that keeps nothing across restarts.
#[derive(Debug, Default)]
pub(crate) struct VolatilePages {
    pages: BTreeMap<JobId, BTreeMap<(String, u32), Page>>,
    in_memory: usize,
}

impl VolatilePages {
    /// Keeps a page; in a file below `folder`, the job's own, once there are many.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn keep(
        &mut self,
        disk: &dyn Disk,
        job: &JobId,
        name: &str,
        page: u32,
        body: &Bytes,
        folder: &Path,
    ) -> io::Result<()> {
        let kept = if self.in_memory + body.len() <= IN_MEMORY {
            self.in_memory += body.len();
            Page::Memory(body.clone())
        } else {
            let path = folder.join(file_name(name, page));
            disk.write_whole(&path, body)?;
            Page::File(path)
        };
        let pages = self.pages.entry(job.clone()).or_default();
        pages.insert((name.to_owned(), page), kept);
        Ok(())
    }

    /// The pages of an ended job, by name and number.
    pub(crate) fn take(&mut self, job: &JobId) -> BTreeMap<(String, u32), Page> {
        let pages = self.pages.remove(job).unwrap_or_default();
        let bytes: usize = pages
            .values()
            .map(|page| match page {
                Page::Memory(bytes) => bytes.len(),
                Page::File(_) => 0,
            })
            .sum();
        self.in_memory -= bytes;
        pages
    }
}
