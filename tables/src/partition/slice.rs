//! The rows of one slice of the hashes: pages in memory, then pages of a temporary file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::mem;
use std::path::PathBuf;

use autoconnect_common::CutError;

use super::bucket::{Entry, Indexed, Loaded};
use super::hash;
use crate::scratch;

/// What the temporary file holds.
pub(super) const ROWS: &str = "rows to be matched";

/// Entries whose hashes have their first bits in common, in file order on each side.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pages: Vec<Page>,
    /// The page that is being filled.
    pub(super) open: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    /// The hash of the first row, and whether a row has another.
    first: Option<u64>,
    mixed: bool,
}

/// Some bytes of a slice; entries may begin on one page and end on another.
#[derive(Debug)]
enum Page {
    Kept(Vec<u8>),
    Written { at: u64, len: usize },
}

impl Slice {
    /// Notes an entry that was appended.
    pub(super) fn note(&mut self, hash: u64, bytes: usize) {
        self.mixed |= *self.first.get_or_insert(hash) != hash;
        self.bytes += bytes as u64;
        self.rows += 1;
    }

    /// Whether all its rows have the same hash.
    pub(super) fn has_one_hash(&self) -> bool {
        !self.mixed
    }

    /// Bytes of memory it takes once it is loaded.
    pub(super) fn load_bytes(&self) -> u64 {
        self.bytes + self.rows * size_of::<Indexed>() as u64
    }

    /// Keeps the open page in memory.
    pub(super) fn keep(&mut self) {
        self.pages.push(Page::Kept(mem::take(&mut self.open)));
    }

    /// Writes the open page out, and uses its memory again.
    pub(super) fn write_out(&mut self, spool: &mut Spool) -> Result<(), CutError> {
        let page = spool.write(&self.open)?;
        self.pages.push(page);
        self.open.clear();
        Ok(())
    }

    /// Writes out what is in memory.
    pub(super) fn settle(&mut self, spool: &mut Spool) -> Result<(), CutError> {
        for page in &mut self.pages {
            if let Page::Kept(bytes) = page {
                *page = spool.write(bytes)?;
            }
        }
        if !self.open.is_empty() {
            self.write_out(spool)?;
        }
        self.open = Vec::new();
        Ok(())
    }

    /// All of it, in memory.
    pub(super) fn load(mut self, spool: &mut Spool) -> Result<Loaded, CutError> {
        let mut loaded = Loaded::default();
        // what was counted while it was written fits the address space, or it would not be loaded
        loaded.bytes.reserve_exact(self.bytes as usize);
        self.keep();
        for page in self.pages {
            spool.append(page, &mut loaded.bytes)?;
        }
        loaded.index.reserve_exact(self.rows as usize);
        let mut at = 0;
        while let Some(entry) = Entry::split(&loaded.bytes[at..]) {
            let hash = hash(entry.key);
            loaded.index.push(Indexed { hash, at });
            at += entry.bytes.len();
        }
        Ok(loaded)
    }

    /// Lets `visit` see one entry after the other; holds one page and one entry.
    pub(super) fn each(
        mut self,
        spool: &mut Spool,
        mut visit: impl FnMut(Entry<'_>) -> Result<(), CutError>,
    ) -> Result<(), CutError> {
        let mut bytes = Vec::new();
        self.keep();
        for page in self.pages {
            spool.append(page, &mut bytes)?;
            let mut at = 0;
            while let Some(entry) = Entry::split(&bytes[at..]) {
                visit(entry)?;
                at += entry.bytes.len();
            }
            bytes.drain(..at);
        }
        Ok(())
    }
}

/// The temporary file of all slices, opened when the first page is written.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    file: Option<File>,
    len: u64,
}

impl Spool {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            file: None,
            len: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<Page, CutError> {
        let at = self.len;
        let folder = &self.folder;
        let failed = |source| scratch::failed("writing", ROWS, folder, source);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(scratch::open(folder).map_err(failed)?),
        };
        let mut write = || {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)
        };
        write().map_err(failed)?;
        self.len += bytes.len() as u64;
        Ok(Page::Written {
            at,
            len: bytes.len(),
        })
    }

    /// Bytes that were written.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends a page's bytes.
    fn append(&mut self, page: Page, bytes: &mut Vec<u8>) -> Result<(), CutError> {
        let (at, len) = match page {
            Page::Kept(kept) => {
                bytes.extend_from_slice(&kept);
                return Ok(());
            }
            Page::Written { at, len } => (at, len),
        };
        let begin = bytes.len();
        bytes.resize(begin + len, 0);
        let read = match &mut self.file {
            Some(file) => file
                .seek(SeekFrom::Start(at))
                .and_then(|_| file.read_exact(&mut bytes[begin..])),
            None => Err(io::Error::other("it was never opened")),
        };
        read.map_err(|source| scratch::failed("reading", ROWS, &self.folder, source))
    }
}
