//! The merged chunks of a job: sixteen bytes each, in blocks, so that a job of millions of chunks takes megabytes.

use std::collections::BTreeMap;

use autoconnect_common::Seq;
use autoconnect_common::seal::Prefix;
use serde::{Deserialize, Serialize};

/// Chunks of a block. A block takes 4 KiB, which is the most that one message with an arbitrary number can cost.
const BLOCK: usize = 256;

/// A merged chunk and its partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Merged {
    /// The chunk.
    pub(crate) chunk: Prefix,
    /// The partial's content, independent of how its worker formats it.
    pub(crate) partial: Prefix,
}

/// The merged chunks of a job.
#[derive(Debug, Default)]
pub(crate) struct MergedChunks {
    /// By part, and by number divided by [`BLOCK`].
    blocks: BTreeMap<(u16, usize), Box<[Option<Merged>; BLOCK]>>,
    len: u64,
}

impl MergedChunks {
    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The chunk that was merged under that number.
    pub(crate) fn get(&self, seq: Seq) -> Option<Merged> {
        let (block, at) = place(seq);
        self.blocks.get(&block)?[at]
    }

    /// Whether that chunk was merged.
    pub(crate) fn contains(&self, seq: Seq) -> bool {
        self.get(seq).is_some()
    }

    /// Inserts a chunk that was not merged before.
    pub(crate) fn insert(&mut self, seq: Seq, merged: Merged) {
        let (block, at) = place(seq);
        let block = self.blocks.entry(block);
        let place = &mut block.or_insert_with(|| Box::new([None; BLOCK]))[at];
        self.len += u64::from(place.replace(merged).is_none());
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, Merged)> + '_ {
        self.blocks.iter().flat_map(|(&(part, block), chunks)| {
            let chunks = chunks.iter().enumerate();
            chunks.filter_map(move |(at, merged)| {
                let number = u32::try_from(block * BLOCK + at).ok()?;
                Some((Seq { part, number }, (*merged)?))
            })
        })
    }
}

impl FromIterator<(Seq, Merged)> for MergedChunks {
    fn from_iter<I: IntoIterator<Item = (Seq, Merged)>>(merged: I) -> Self {
        let mut all = Self::default();
        for (seq, merged) in merged {
            all.insert(seq, merged);
        }
        all
    }
}

fn place(seq: Seq) -> ((u16, usize), usize) {
    let number = seq.number as usize;
    ((seq.part, number / BLOCK), number % BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoconnect_common::Digest;

    #[test]
    fn what_was_merged_in_any_order_is_found_and_told_in_order() {
        let merged = |n: u32| Merged {
            chunk: Prefix::of(&Digest::of(&n.to_le_bytes())),
            partial: Prefix::of(&Digest::of(b"partial")),
        };
        let seq = |part, number| Seq { part, number };
        let numbers = [
            seq(1, u32::MAX),
            seq(0, 255),
            seq(0, 0),
            seq(1, 0),
            seq(0, 256),
        ];
        let all: MergedChunks = numbers.iter().map(|&s| (s, merged(s.number))).collect();
        assert_eq!(all.len(), 5);
        for number in numbers {
            assert_eq!(all.get(number), Some(merged(number.number)));
        }
        assert!(!all.contains(seq(0, 1)) && !all.contains(seq(2, 0)));
        let mut sorted = numbers;
        sorted.sort();
        assert_eq!(all.iter().map(|(seq, _)| seq).collect::<Vec<_>>(), sorted);
        assert_eq!(size_of::<Option<Merged>>(), 16);
    }
}
