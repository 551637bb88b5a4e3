//! Keeps the pages of side files until their job ends.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use autoconnect_common::disk::Disk;
use autoconnect_common::{Digest, JobId};
use bytes::Bytes;

/// Bytes of pages that a volatile reducer keeps in memory, so that most runs write no temporary file; the rest goes to
/// files.
const IN_MEMORY: usize = 4 << 20;

/// One page of a side file, as received.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    digest: Digest,
    kept: Kept,
}

#[derive(Debug, Clone)]
enum Kept {
    Memory(Bytes),
    File(PathBuf),
}

impl Page {
    /// The page with this digest that a file holds.
    pub(crate) fn in_file(digest: Digest, path: PathBuf) -> Self {
        let kept = Kept::File(path);
        Self { digest, kept }
    }

    /// Writes the page to `out`; returns `false` where its file is missing or does not have its digest.
    pub(crate) fn copy_to(&self, disk: &dyn Disk, out: &mut impl Write) -> io::Result<bool> {
        let bytes = match &self.kept {
            Kept::Memory(bytes) => return out.write_all(bytes).map(|()| true),
            Kept::File(path) => match disk.read(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                bytes => bytes?,
            },
        };
        if Digest::of(&bytes) != self.digest {
            return Ok(false);
        }
        out.write_all(&bytes).map(|()| true)
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
    /// The error of the system.
    pub(crate) fn keep(
        &mut self,
        disk: &dyn Disk,
        job: &JobId,
        (name, page): (&str, u32),
        (digest, body): (Digest, &Bytes),
        folder: &Path,
    ) -> io::Result<()> {
        let kept = if self.in_memory + body.len() <= IN_MEMORY {
            self.in_memory += body.len();
            Kept::Memory(body.clone())
        } else {
            let path = folder.join(file_name(name, page));
            disk.write_whole(&path, body)?;
            Kept::File(path)
        };
        let pages = self.pages.entry(job.clone()).or_default();
        pages.insert((name.to_owned(), page), Page { digest, kept });
        Ok(())
    }

    /// The pages of an ended job, by name and number.
    pub(crate) fn take(&mut self, job: &JobId) -> BTreeMap<(String, u32), Page> {
        let pages = self.pages.remove(job).unwrap_or_default();
        let bytes: usize = pages
            .values()
            .map(|page| match &page.kept {
                Kept::Memory(bytes) => bytes.len(),
                Kept::File(_) => 0,
            })
            .sum();
        self.in_memory -= bytes;
        pages
    }
}
