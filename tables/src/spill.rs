//! An exact set of arbitrary ids that keeps a budget of them in memory and the rest in temporary files.
//!
//! New ids go to a hash table. When it is full, its ids are written to a temporary file as a *run*, sorted by hash, and the
//! table starts afresh. Of a run, memory holds a Bloom filter (10 bits an id) and the first hash of each block of 4 KiB. An id
//! is looked for in the table, then in each run whose filter does not rule it out; what a filter lets through is compared
//! with the ids of the block, byte for byte, so no answer is ever a guess. Eight runs of one size are merged into one, so
//! that an id is looked for in few places however many there are.
//!
//! Hashes are keyed at random: no file can be made that is slow to read. The temporary files have no name, so nothing is left
//! behind even after a crash; they are in the folder that `TMPDIR` names.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use autoconnect_common::CutError;

use crate::scratch;

/// So many runs of one size are merged into one: an id is looked for in few runs, and is rewritten once for each
/// eightfold size.
const FAN_IN: usize = 8;
/// Bytes of a block, but for ids that are longer.
const BLOCK: u64 = 4096;
/// Bytes of an entry of a run before its id: hash and length.
const ENTRY: usize = 12;

/// What kind of id some bytes are; ids of different kinds are different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    /// The id as the file has it.
    Text,
    /// The shape and the number of an id.
    Number,
}

/// An exact set of tagged bytes.
#[derive(Debug)]
pub(super) struct Spill {
    hasher: RandomState,
    table: Table,
    /// By level: a run of level n was merged from 8 of level n - 1.
    levels: Vec<Vec<Run>>,
    budget: usize,
    block: Vec<u8>,
}

impl Spill {
    /// A set that holds about so many bytes of ids in memory.
    pub(super) fn with_budget(bytes: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            table: Table::default(),
            levels: Vec::new(),
            budget: bytes,
            block: Vec::new(),
        }
    }

    /// Adds an id; true if it is new.
    ///
    /// # Errors
    /// [`CutError::Failed`] where a temporary file fails.
    pub(super) fn insert(&mut self, tag: Tag, id: &[u8]) -> Result<bool, CutError> {
        let hash = self.hash(tag, id);
        if self.table.contains(hash, tag, id) {
            return Ok(false);
        }
        for run in self.levels.iter().flatten() {
            if run.filter.may_contain(hash)
                && run
                    .contains(hash, tag, id, &mut self.block)
                    .map_err(|source| failed("reading", source))?
            {
                return Ok(false);
            }
        }
        self.table.push(hash, tag, id);
        if self.table.bytes() > self.budget {
            self.write_out()
                .map_err(|source| failed("writing", source))?;
        }
        Ok(true)
    }

    fn hash(&self, tag: Tag, id: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(tag as u8);
        hasher.write(id);
        hasher.finish()
    }

    /// Makes a run of the table, and one of eight where there are eight.
    fn write_out(&mut self) -> io::Result<()> {
        let run = self.table.write_out()?;
        self.table.clear();
        let mut level = 0;
        let mut next = run;
        loop {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(next);
            if self.levels[level].len() < FAN_IN {
                return Ok(());
            }
            next = merge(&self.levels[level])?;
            self.levels[level].clear();
            level += 1;
        }
    }
}

fn failed(doing: &str, source: io::Error) -> CutError {
    scratch::failed(doing, "transaction ids", &std::env::temp_dir(), source)
}

/// A hash table of ids that are stored one after the other.
#[derive(Debug, Default)]
struct Table {
    /// Tags and ids.
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Places of entries, plus one; 0 is free. A power of two of them, at most three quarters used.
    slots: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    begin: u32,
    len: u32,
}

impl Table {
    fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * size_of::<Entry>() + self.slots.len() * 4
    }

    /// The tag and the bytes of an id.
    fn id(&self, entry: Entry) -> &[u8] {
        &self.arena[entry.begin as usize..][..entry.len as usize]
    }

    fn contains(&self, hash: u64, tag: Tag, id: &[u8]) -> bool {
        let Some(mask) = self.slots.len().checked_sub(1) else {
            return false;
        };
        let mut slot = hash as usize & mask;
        loop {
            let Some(place) = self.slots[slot].checked_sub(1) else {
                return false;
            };
            let entry = self.entries[place as usize];
            if entry.hash == hash && is_same(self.id(entry), tag, id) {
                return true;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds an id that is not in the table. The budget keeps all sums under 2^32: an id has at most 1 MiB.
    fn push(&mut self, hash: u64, tag: Tag, id: &[u8]) {
        let begin = self.arena.len() as u32;
        self.arena.push(tag as u8);
        self.arena.extend_from_slice(id);
        self.entries.push(Entry {
            hash,
            begin,
            len: id.len() as u32 + 1,
        });
        if self.entries.len() * 4 > self.slots.len() * 3 {
            self.slots = vec![0; (self.slots.len() * 2).max(64)];
            for place in 0..self.entries.len() {
                self.take_slot(place);
            }
        } else {
            self.take_slot(self.entries.len() - 1);
        }
    }

    fn take_slot(&mut self, place: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.entries[place].hash as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = place as u32 + 1;
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
        self.slots.fill(0);
    }

    /// Sorts the entries, which makes the slots useless, and writes them as a run.
    fn write_out(&mut self) -> io::Result<Run> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| (a.hash, self.id(*a)).cmp(&(b.hash, self.id(*b))));
        let mut writer = RunWriter::new(entries.len())?;
        for entry in &entries {
            writer.push(entry.hash, self.id(*entry))?;
        }
        self.entries = entries;
        writer.finish()
    }
}

/// Whether a stored id (tag and bytes) is this one.
fn is_same(stored: &[u8], tag: Tag, id: &[u8]) -> bool {
    stored.split_first() == Some((&(tag as u8), id))
}

/// Ids in a temporary file, sorted by hash.
#[derive(Debug)]
struct Run {
    file: File,
    /// The hash of the first id of each block, and where the block begins.
    blocks: Vec<(u64, u64)>,
    bytes: u64,
    keys: usize,
    filter: Filter,
}

impl Run {
    fn contains(&self, hash: u64, tag: Tag, id: &[u8], block: &mut Vec<u8>) -> io::Result<bool> {
        // ids of one hash may begin in the block before the first block that begins with it
        let after = self.blocks.partition_point(|(first, _)| *first < hash);
        for index in after.saturating_sub(1)..self.blocks.len() {
            let (first, begin) = self.blocks[index];
            if first > hash {
                return Ok(false);
            }
            let end = self.blocks.get(index + 1).map_or(self.bytes, |next| next.1);
            block.resize((end - begin) as usize, 0);
            let mut file = &self.file;
            file.seek(SeekFrom::Start(begin))?;
            file.read_exact(block)?;
            let mut rest = block.as_slice();
            while let Some((entry, stored, next)) = split_entry(rest) {
                if entry == hash && is_same(stored, tag, id) {
                    return Ok(true);
                }
                if entry > hash {
                    return Ok(false);
                }
                rest = next;
            }
        }
        Ok(false)
    }
}

/// The hash and id of the first entry of a block, and what follows it.
fn split_entry(block: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (hash, rest) = block.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((u64::from_le_bytes(*hash), id, rest))
}

/// Writes a run, ids coming in order.
struct RunWriter {
    file: BufWriter<File>,
    blocks: Vec<(u64, u64)>,
    bytes: u64,
    keys: usize,
    filter: Filter,
}

impl RunWriter {
    fn new(keys: usize) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(1 << 16, scratch::open(&std::env::temp_dir())?),
            blocks: Vec::new(),
            bytes: 0,
            keys: 0,
            filter: Filter::new(keys),
        })
    }

    fn push(&mut self, hash: u64, id: &[u8]) -> io::Result<()> {
        let len = (ENTRY + id.len()) as u64;
        let fits = self
            .blocks
            .last()
            .is_some_and(|(_, begin)| self.bytes + len - begin <= BLOCK);
        if !fits {
            self.blocks.push((hash, self.bytes));
        }
        self.file.write_all(&hash.to_le_bytes())?;
        self.file.write_all(&(id.len() as u32).to_le_bytes())?;
        self.file.write_all(id)?;
        self.bytes += len;
        self.keys += 1;
        self.filter.insert(hash);
        Ok(())
    }

    fn finish(self) -> io::Result<Run> {
        let mut blocks = self.blocks;
        blocks.shrink_to_fit();
        Ok(Run {
            file: self
                .file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?,
            blocks,
            bytes: self.bytes,
            keys: self.keys,
            filter: self.filter,
        })
    }
}

/// One run of all the ids of these, which have none in common.
fn merge(runs: &[Run]) -> io::Result<Run> {
    let mut writer = RunWriter::new(runs.iter().map(|run| run.keys).sum())?;
    let mut readers = Vec::with_capacity(runs.len());
    for run in runs {
        readers.extend(RunReader::new(run)?);
    }
    while let Some(least) = (0..readers.len()).min_by_key(|index| readers[*index].key()) {
        writer.push(readers[least].hash, &readers[least].id)?;
        if !readers[least].advance()? {
            readers.swap_remove(least);
        }
    }
    writer.finish()
}

/// Reads a run from its start; holds one id.
struct RunReader<'r> {
    file: BufReader<io::Take<&'r File>>,
    hash: u64,
    id: Vec<u8>,
}

impl<'r> RunReader<'r> {
    /// At the first id; `None` where there is none.
    fn new(run: &'r Run) -> io::Result<Option<Self>> {
        let mut file = &run.file;
        file.seek(SeekFrom::Start(0))?;
        let mut reader = Self {
            file: BufReader::with_capacity(1 << 16, file.take(run.bytes)),
            hash: 0,
            id: Vec::new(),
        };
        Ok(reader.advance()?.then_some(reader))
    }

    fn key(&self) -> (u64, &[u8]) {
        (self.hash, &self.id)
    }

    /// Goes to the next id; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        let mut head = [0; ENTRY];
        match self.file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        let Some((hash, len)) = head.split_first_chunk() else {
            return Ok(false);
        };
        let len = len.try_into().map_or(0, u32::from_le_bytes);
        self.hash = u64::from_le_bytes(*hash);
        self.id.resize(len as usize, 0);
        self.file.read_exact(&mut self.id)?;
        Ok(true)
    }
}

/// A Bloom filter that looks at one cache line for each id.
#[derive(Debug)]
struct Filter {
    lines: Vec<[u64; 8]>,
}

/// Bits of the filter for each id: about one in a hundred absent ids passes.
const BITS_PER_KEY: usize = 10;
/// Bits that are set for an id: close to the optimum of 0.69 times the bits for each id.
const PROBES: u32 = 6;

impl Filter {
    fn new(keys: usize) -> Self {
        Self {
            lines: vec![[0; 8]; (keys * BITS_PER_KEY).div_ceil(512).max(1)],
        }
    }

    /// The line of a hash: the high half of the product spreads the hash evenly over the lines.
    fn line(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }

    fn insert(&mut self, hash: u64) {
        let line = self.line(hash);
        for bit in bits(hash) {
            self.lines[line][bit >> 6] |= 1 << (bit & 63);
        }
    }

    fn may_contain(&self, hash: u64) -> bool {
        let line = &self.lines[self.line(hash)];
        bits(hash).all(|bit| line[bit >> 6] >> (bit & 63) & 1 == 1)
    }
}

/// The bits of an id within its line: 9 bits each of a remixed hash.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| (mixed >> (9 * probe + 10) & 511) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_and_nothing_is_lost() {
        let mut set = Spill::with_budget(4096);
        let id = |n: u32| n.wrapping_mul(0x9e37_79b9).to_le_bytes();
        for n in 0..20_000 {
            assert!(set.insert(Tag::Text, &id(n)).expect("a disk"));
        }
        let runs: Vec<usize> = set.levels.iter().map(Vec::len).collect();
        assert!(
            runs.len() >= 3 && runs.iter().all(|runs| *runs < FAN_IN),
            "{runs:?}"
        );
        for n in 0..20_000 {
            assert!(!set.insert(Tag::Text, &id(n)).expect("a disk"));
        }
        assert!(set.insert(Tag::Number, &id(0)).expect("a disk"));
    }

    #[test]
    fn ids_longer_than_a_block_are_compared_to_the_last_byte() {
        let mut set = Spill::with_budget(1);
        let long = |last: u8| [vec![b'a'; 10_000], vec![last]].concat();
        for last in 0..20 {
            assert!(set.insert(Tag::Text, &long(last)).expect("a disk"));
            assert!(!set.insert(Tag::Text, &long(last)).expect("a disk"));
        }
    }

    #[test]
    fn ids_of_one_hash_are_told_apart_across_blocks() -> io::Result<()> {
        let ids: Vec<Vec<u8>> = (0..2000_u32)
            .map(|n| [&[Tag::Text as u8][..], &n.to_be_bytes()].concat())
            .collect();
        let mut writer = RunWriter::new(ids.len())?;
        writer.push(6, &ids[0])?;
        for id in &ids {
            writer.push(7, id)?;
        }
        let run = writer.finish()?;
        assert!(run.blocks.len() > 3);
        let mut block = Vec::new();
        for id in &ids {
            assert!(run.contains(7, Tag::Text, &id[1..], &mut block)?);
        }
        assert!(!run.contains(7, Tag::Text, b"none", &mut block)?);
        assert!(!run.contains(6, Tag::Text, &ids[1][1..], &mut block)?);
        assert!(!run.contains(8, Tag::Text, &ids[1][1..], &mut block)?);
        Ok(())
    }

    #[test]
    fn a_filter_lets_every_id_through_and_few_others() {
        let hasher = RandomState::new();
        let mut filter = Filter::new(10_000);
        (0..10_000).for_each(|n: u64| filter.insert(hasher.hash_one(n)));
        assert!((0..10_000).all(|n: u64| filter.may_contain(hasher.hash_one(n))));
        let others = (10_000..110_000)
            .filter(|n: &u64| filter.may_contain(hasher.hash_one(n)))
            .count();
        assert!(others < 4000, "{others} of 100000");
    }
}
