//! Partitions the rows of two inputs by key, for a join of any size by workers.
//!
//! [`Partitioner::append`] takes rows, each with its key; [`Partitioner::into_buckets`] gives them back as [`Bucket`]s. A bucket
//! holds rows of both sides, and all rows of each of its keys, so that a worker needs nothing but one bucket to match them.
//!
//! ```text
//! rows of a block --(threads: Batch)--> hashed --(one at a time, in file order)--> 256 slices, in memory, then on disk
//!       --(slice by slice: sorted by hash)--> buckets of at most `max_bucket` bytes
//! ```
//!
//! ```
//! use autoconnect_tables::partition::{Batch, Options, Partitioner, Place, Side, groups};
//!
//! let mut rows = Partitioner::new(Options::new(1 << 20));
//! let place = Place { file: 0, line: 1 };
//! for (side, key, row) in [
//!     (Side::Left, "AB-123", "Clio"),
//!     (Side::Left, "CD-456", "208"),
//!     (Side::Right, "CD-456", "freins"),
//! ] {
//!     let mut batch = Batch::default();
//!     batch.put(0, key.as_bytes(), row.as_bytes());
//!     rows.append(side, place, &batch)?;
//! }
//! // in `cut`, each body is that of a chunk
//! let mut bodies = Vec::new();
//! rows.into_buckets(&mut |bucket| Ok(bodies.push(bucket.body)))?;
//! // in `work`, the rows of a key are together
//! let groups = groups(&bodies[0]).collect::<Result<Vec<_>, _>>()?;
//! let pair = groups.iter().find(|group| !group.right.is_empty()).ok_or("no pair")?;
//! assert_eq!((pair.left[0].bytes, pair.right[0].bytes), (&b"208"[..], &b"freins"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Promises
//!
//! * **Buckets depend on the rows and on `max_bucket` alone**: not on the machine, the threads or the budget of memory. Rows are
//!   ordered by hash of their key, key, side and place in the file, and a bucket is the longest stretch of that order which fits
//!   and does not divide a key.
//! * **Nothing is lost**: as many rows come out as went in, or there is an error.
//! * **Memory is bounded** by `memory` and two buckets, and 1 byte for about every 1,000 bytes of rows on disk.
//! * **Skew is bounded**: keys that have many rows need no more memory than others; a key whose rows do not fit one bucket is
//!   refused in one sentence that names it.
//! * **Temporary files have no name**: they vanish with the process, however it ends.

mod bucket;
mod slice;

use std::path::PathBuf;

use autoconnect_common::CutError;
use autoconnect_common::text::printable;

use crate::reject::MAX_VALUE;
use crate::scratch;
use bucket::Packer;
pub use bucket::{Bucket, Damaged, Group, Groups, Row, groups};
use slice::{Slice, Spool};

/// How many slices the hashes are divided into, by 8 bits of them: with pages of 32 KiB a quarter of the usual budget is enough
/// for one page of each, and a slice of 1 GB of rows fits the other half of it.
const FAN_OUT: usize = 256;
/// The largest page: a disk writes 32 KiB in one piece about as fast as any number.
const MAX_PAGE: usize = 32 << 10;
/// The smallest page, of a budget that is too small to be useful.
const MIN_PAGE: usize = 64;
/// Bytes of a hash: a slice that was divided by all of them holds rows of one hash.
const MAX_DEPTH: u32 = 8;

/// Which of the two inputs a row is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The first.
    Left,
    /// The second.
    Right,
}

/// Where a row stands: the number of its file, and its first physical line there, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's number among the inputs of its side.
    pub file: u32,
    /// The line.
    pub line: u64,
}

/// How rows are brought together.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of memory that rows may take; more are spilled to disk.
    pub memory: usize,
    /// Bytes of a bucket, at most: see [`Bucket::body`].
    pub max_bucket: usize,
    /// The folder of temporary files.
    pub folder: PathBuf,
}

impl Options {
    /// 64 MiB of memory, so that a join of files of any size fits beside a reader in a container of 128; temporary files
    /// are in the folder that `TMPDIR` names.
    pub fn new(max_bucket: usize) -> Self {
        Self {
            memory: 64 << 20,
            max_bucket,
            folder: std::env::temp_dir(),
        }
    }
}

/// Rows of one block with their keys, hashed by the thread that read them.
#[derive(Debug, Default)]
pub struct Batch {
    /// Keys and rows.
    bytes: Vec<u8>,
    rows: Vec<Keyed>,
}

#[derive(Debug)]
struct Keyed {
    hash: u64,
    /// Lines since the beginning of the block.
    line: u32,
    key: usize,
    row: usize,
}

impl Batch {
    /// Adds a row: what stands on line number `line` of its block (from 0), under the key to match it by.
    ///
    /// The caller makes both from the line: checked, normalized, and reduced to what is needed.
    pub fn put(&mut self, line: u32, key: &[u8], row: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(row);
        self.rows.push(Keyed {
            hash: hash(key),
            line,
            key: key.len(),
            row: row.len(),
        });
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The hash of a key: FNV-1a, whose bits are then mixed (MurmurHash3's finalizer), since slices are made of its first bits. It is
/// part of what a chunk is, so it never changes.
fn hash(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash: u64 = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// Takes the rows of both sides, and gives them back by key.
#[derive(Debug)]
pub struct Partitioner {
    options: Options,
    /// How many bytes of their hash the rows have in common.
    depth: u32,
    page: usize,
    slices: Vec<Slice>,
    /// Bytes of full pages in memory.
    kept: usize,
    spool: Spool,
    rows: u64,
}

impl Partitioner {
    /// A partitioner without rows.
    pub fn new(options: Options) -> Self {
        Self::at_depth(options, 0)
    }

    fn at_depth(options: Options, depth: u32) -> Self {
        let page = (options.memory / 4 / FAN_OUT).clamp(MIN_PAGE, MAX_PAGE);
        let spool = Spool::new(options.folder.clone());
        Self {
            options,
            depth,
            page,
            slices: (0..FAN_OUT).map(|_| Slice::default()).collect(),
            kept: 0,
            spool,
            rows: 0,
        }
    }

    /// Adds the rows of a block of one side, which begins at `place`. The blocks of a side come in file order; those of the other
    /// side may come between them.
    ///
    /// # Errors
    /// [`CutError::Refused`] for a row that no bucket holds, [`CutError::Failed`] where a temporary file cannot be written.
    pub fn append(&mut self, side: Side, place: Place, batch: &Batch) -> Result<(), CutError> {
        let (mut rest, mut entry) = (batch.bytes.as_slice(), Vec::new());
        for keyed in &batch.rows {
            let (key, after) = rest.split_at(keyed.key);
            let (row, after) = after.split_at(keyed.row);
            rest = after;
            let place = Place {
                line: place.line + u64::from(keyed.line),
                ..place
            };
            entry.clear();
            bucket::encode(&mut entry, side, place, key, row);
            if entry.len() > self.options.max_bucket {
                return Err(too_long(place, key, entry.len(), self.options.max_bucket));
            }
            self.push(keyed.hash, &entry)?;
        }
        Ok(())
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn push(&mut self, hash: u64, entry: &[u8]) -> Result<(), CutError> {
        let number = (hash >> (56 - 8 * self.depth)) as usize % FAN_OUT;
        self.write(number, entry)?;
        self.slices[number].note(hash, entry.len());
        self.rows += 1;
        Ok(())
    }

    /// Appends bytes to a slice, page by page.
    fn write(&mut self, number: usize, mut bytes: &[u8]) -> Result<(), CutError> {
        while !bytes.is_empty() {
            let slice = &mut self.slices[number];
            let (now, later) = bytes.split_at(bytes.len().min(self.page - slice.open.len()));
            if slice.open.capacity() == 0 {
                slice.open.reserve_exact(self.page);
            }
            slice.open.extend_from_slice(now);
            bytes = later;
            if slice.open.len() == self.page {
                self.close_page(number)?;
            }
        }
        Ok(())
    }

    /// Keeps a full page while there is room for it; else writes it out.
    fn close_page(&mut self, number: usize) -> Result<(), CutError> {
        let room = (self.options.memory / 2).saturating_sub(FAN_OUT * self.page);
        let slice = &mut self.slices[number];
        if self.kept + self.page <= room {
            self.kept += self.page;
            slice.keep();
            return Ok(());
        }
        slice.write_out(&mut self.spool)
    }

    /// Gives every row back, in buckets, one after the other; `take` is given each bucket once.
    ///
    /// # Errors
    /// What `take` says; [`CutError::Refused`] for a key whose rows do not fit one bucket; [`CutError::Failed`] where a temporary
    /// file cannot be read or written.
    pub fn into_buckets(
        self,
        take: &mut dyn FnMut(Bucket) -> Result<(), CutError>,
    ) -> Result<(), CutError> {
        let (rows, folder) = (self.rows, self.options.folder.clone());
        let mut packer = Packer::new(self.options.max_bucket, take);
        self.drain(&mut packer)?;
        let found = packer.finish()?;
        if found == rows {
            return Ok(());
        }
        let what = format!("found {found} rows, expected {rows}");
        Err(scratch::failed(
            "reading",
            slice::ROWS,
            &folder,
            std::io::Error::other(what),
        ))
    }

    /// Lets the packer have the rows of every slice, in the order of their hashes.
    fn drain(mut self, packer: &mut Packer<'_>) -> Result<(), CutError> {
        for number in 0..self.slices.len() {
            let slice = std::mem::take(&mut self.slices[number]);
            if slice.load_bytes() <= self.load_limit() {
                packer.pack(slice.load(&mut self.spool)?)?;
            } else if slice.has_one_hash() {
                self.pack_lone(slice, packer)?;
            } else {
                self.divide(slice, packer)?;
            }
        }
        Ok(())
    }

    /// Bytes that a slice and its index may take to be sorted in memory.
    fn load_limit(&self) -> u64 {
        (self.options.memory / 2) as u64
    }

    /// Rows of one hash, too many to be sorted in the budget: they are one key's, and are refused unless one bucket holds them.
    fn pack_lone(&mut self, slice: Slice, packer: &mut Packer<'_>) -> Result<(), CutError> {
        if slice.bytes <= self.options.max_bucket as u64 {
            return packer.pack(slice.load(&mut self.spool)?);
        }
        let (rows, bytes) = (slice.rows, slice.bytes);
        let mut key = None;
        slice.each(&mut self.spool, |entry| {
            key.get_or_insert_with(|| entry.key.to_vec());
            Ok(())
        })?;
        let key = key.unwrap_or_default();
        Err(too_many(&key, rows, bytes, self.options.max_bucket))
    }

    /// Divides a slice by the next bits of the hashes, on disk.
    fn divide(&mut self, slice: Slice, packer: &mut Packer<'_>) -> Result<(), CutError> {
        // its pages are to have all the memory that ours had
        for number in 0..self.slices.len() {
            self.slices[number].settle(&mut self.spool)?;
        }
        self.kept = 0;
        debug_assert!(
            self.depth + 1 < MAX_DEPTH,
            "rows of one hash are not divided"
        );
        let mut parts = Self::at_depth(self.options.clone(), self.depth + 1);
        slice.each(&mut self.spool, |entry| {
            parts.push(hash(entry.key), entry.bytes)
        })?;
        parts.drain(packer)
    }
}

/// A key that has more rows than a bucket holds.
fn too_many(key: &[u8], rows: u64, bytes: u64, max: usize) -> CutError {
    CutError::Refused(format!(
        "the key \"{}\" has {rows} rows of {bytes} bytes together, expected at most {max} bytes of rows with one key",
        printable(key, MAX_VALUE)
    ))
}

/// A row that is longer than a bucket.
fn too_long(place: Place, key: &[u8], bytes: usize, max: usize) -> CutError {
    CutError::Refused(format!(
        "line {}: a row of {bytes} bytes with the key \"{}\", expected at most {max}",
        place.line,
        printable(key, MAX_VALUE)
    ))
}

#[cfg(test)]
mod tests;
