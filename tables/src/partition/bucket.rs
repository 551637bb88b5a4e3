//! What a bucket is made of: rows one after the other, sorted, each with its side, place and key.

use std::mem;

use autoconnect_common::CutError;
use bytes::Bytes;

use super::{Place, Side, too_many};

/// Rows of both sides, and all rows of each of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// How many rows it has.
    pub rows: u32,
    /// The rows, as [`groups`] reads them: as it is, the body of a chunk.
    ///
    /// Each is four numbers and two texts: twice the length of its key, plus 1 on the right side; the length of its row; the
    /// number of its file; its line; the key; the row. A number is written 7 bits a byte, the lowest first, the top bit of each
    /// byte saying whether another follows (LEB128).
    pub body: Bytes,
}

/// A row as it was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'b> {
    /// Where it stands.
    pub place: Place,
    /// What was put.
    pub bytes: &'b [u8],
}

/// All rows of one key; those of a side in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'b> {
    /// The key.
    pub key: &'b [u8],
    /// The rows of the left side.
    pub left: Vec<Row<'b>>,
    /// The rows of the right side.
    pub right: Vec<Row<'b>>,
}

/// Bytes that are no bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: found no row of a bucket, expected one")]
pub struct Damaged {
    /// Where what is wrong begins.
    pub at: usize,
}

/// The groups of a bucket's body, in its order; after one that cannot be read there are none.
pub fn groups(body: &[u8]) -> Groups<'_> {
    Groups {
        body,
        at: 0,
        next: None,
    }
}

/// See [`groups`].
#[derive(Debug)]
pub struct Groups<'b> {
    body: &'b [u8],
    at: usize,
    /// The first row of the next group.
    next: Option<Entry<'b>>,
}

impl<'b> Groups<'b> {
    fn entry(&mut self) -> Option<Result<Entry<'b>, Damaged>> {
        let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
        let Some(entry) = Entry::split(rest) else {
            let at = mem::replace(&mut self.at, self.body.len());
            return Some(Err(Damaged { at }));
        };
        self.at += entry.bytes.len();
        Some(Ok(entry))
    }
}

impl<'b> Iterator for Groups<'b> {
    type Item = Result<Group<'b>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = match self.next.take() {
            Some(first) => first,
            None => match self.entry()? {
                Ok(first) => first,
                Err(damaged) => return Some(Err(damaged)),
            },
        };
        let mut group = Group {
            key: first.key,
            left: Vec::new(),
            right: Vec::new(),
        };
        group.add(first);
        loop {
            match self.entry() {
                None => return Some(Ok(group)),
                Some(Ok(entry)) if entry.key == group.key => group.add(entry),
                Some(Ok(entry)) => {
                    self.next = Some(entry);
                    return Some(Ok(group));
                }
                Some(Err(damaged)) => return Some(Err(damaged)),
            }
        }
    }
}

impl<'b> Group<'b> {
    fn add(&mut self, entry: Entry<'b>) {
        let rows = match entry.side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        };
        rows.push(Row {
            place: entry.place,
            bytes: entry.row,
        });
    }
}

/// A row as it stands in a bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'b> {
    /// All of it.
    pub(super) bytes: &'b [u8],
    pub(super) side: Side,
    pub(super) place: Place,
    pub(super) key: &'b [u8],
    pub(super) row: &'b [u8],
}

impl<'b> Entry<'b> {
    /// The entry at the start of `bytes`; `None` where there is none, or not all of it.
    pub(super) fn split(bytes: &'b [u8]) -> Option<Self> {
        let mut rest = bytes;
        let key = number(&mut rest)?;
        let row = number(&mut rest)?;
        let file = u32::try_from(number(&mut rest)?).ok()?;
        let line = number(&mut rest)?;
        let side = if key & 1 == 0 {
            Side::Left
        } else {
            Side::Right
        };
        let (key, rest) = rest.split_at_checked(usize::try_from(key >> 1).ok()?)?;
        let (row, rest) = rest.split_at_checked(usize::try_from(row).ok()?)?;
        Some(Self {
            bytes: &bytes[..bytes.len() - rest.len()],
            side,
            place: Place { file, line },
            key,
            row,
        })
    }
}

/// Appends a row.
pub(super) fn encode(into: &mut Vec<u8>, side: Side, place: Place, key: &[u8], row: &[u8]) {
    let right = u64::from(side == Side::Right);
    for mut number in [
        (key.len() as u64) << 1 | right,
        row.len() as u64,
        u64::from(place.file),
        place.line,
    ] {
        while number >= 0x80 {
            into.push(number as u8 | 0x80);
            number >>= 7;
        }
        into.push(number as u8);
    }
    into.extend_from_slice(key);
    into.extend_from_slice(row);
}

/// Takes a number off the start of `bytes`.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        number |= part << shift;
        if byte < 0x80 {
            // the tenth byte has room for one bit
            return (part << shift >> shift == part).then_some(number);
        }
    }
    None
}

/// Rows of one slice of the hashes, in memory; how they are sorted.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Entries, in file order on each side.
    pub(super) bytes: Vec<u8>,
    pub(super) index: Vec<Indexed>,
}

/// An entry of [`Loaded`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Indexed {
    pub(super) hash: u64,
    /// Where it begins.
    pub(super) at: usize,
}

impl Loaded {
    fn entry(&self, indexed: Indexed) -> Option<Entry<'_>> {
        Entry::split(self.bytes.get(indexed.at..)?)
    }

    /// Orders the entries by hash, key, side and file order.
    fn sort(&mut self) {
        let mut index = mem::take(&mut self.index);
        index.sort_unstable_by(|a, b| {
            let order = || {
                let (a, b) = (self.entry(*a)?, self.entry(*b)?);
                Some((a.key, a.side).cmp(&(b.key, b.side)))
            };
            let same = a.hash.cmp(&b.hash);
            same.then_with(|| order().unwrap_or(std::cmp::Ordering::Equal))
                .then(a.at.cmp(&b.at))
        });
        self.index = index;
    }
}

/// Fills buckets with entries that come in order.
pub(super) struct Packer<'t> {
    max: usize,
    take: &'t mut dyn FnMut(Bucket) -> Result<(), CutError>,
    body: Vec<u8>,
    rows: u32,
    /// Rows in all buckets.
    total: u64,
}

impl<'t> Packer<'t> {
    pub(super) fn new(max: usize, take: &'t mut dyn FnMut(Bucket) -> Result<(), CutError>) -> Self {
        Self {
            max,
            take,
            body: Vec::new(),
            rows: 0,
            total: 0,
        }
    }

    /// Takes the rows of a slice, whose hashes are above those of all rows before.
    pub(super) fn pack(&mut self, mut loaded: Loaded) -> Result<(), CutError> {
        loaded.sort();
        let mut index = loaded.index.as_slice();
        while let Some(first) = index.first().and_then(|first| loaded.entry(*first)) {
            let entries = index.iter().map_while(|indexed| loaded.entry(*indexed));
            let same = entries.take_while(|entry| entry.key == first.key);
            let (rows, bytes) = same.fold((0, 0), |(rows, bytes), entry| {
                (rows + 1, bytes + entry.bytes.len())
            });
            if bytes > self.max {
                return Err(too_many(first.key, rows as u64, bytes as u64, self.max));
            }
            if self.body.len() + bytes > self.max {
                self.close()?;
            }
            if self.body.capacity() == 0 {
                self.body.reserve_exact(self.max);
            }
            let (group, rest) = index.split_at(rows);
            for entry in group.iter().filter_map(|indexed| loaded.entry(*indexed)) {
                self.body.extend_from_slice(entry.bytes);
            }
            // an entry has 4 bytes at least, and a bucket fewer than 2^32
            self.rows += rows as u32;
            index = rest;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), CutError> {
        let body = mem::take(&mut self.body);
        let rows = mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(());
        }
        self.total += u64::from(rows);
        (self.take)(Bucket {
            rows,
            body: body.into(),
        })
    }

    /// Gives out the last bucket; returns how many rows all of them have.
    pub(super) fn finish(mut self) -> Result<u64, CutError> {
        self.close()?;
        Ok(self.total)
    }
}
