//! The seal of a cut: proves that everything merged into one report was cut from one version of the input.
//!
//! A producer that is killed cuts its job again, and the input may have changed in between: chunks of both cuts are then
//! in flight, under the same numbers. So the manifest seals its own cut: it lists the first eight bytes of the digest
//! of every chunk and of every page of every side file, in a fixed order ([`Order`]). The reducer compares what it received with it.
//!
//! Up to [`INLINE`] entries are part of the manifest itself; more travel in messages of their own, [`PER_PAGE`] entries
//! each, and the manifest carries only the digest of all entries.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Digest, Seq};

/// The most entries that stand in the manifest: 16 KiB of hexadecimal digits.
pub const INLINE: usize = 1024;
/// Entries of a page: 256 KiB, as much as a usual chunk.
pub const PER_PAGE: usize = 32 << 10;
/// The most chunks and pages of side files a job may have: 128 pages of its seal, 32 MiB in all.
pub const MAX_SEALED: u64 = 4 << 20;
/// Bytes of an entry.
const WIDTH: usize = 8;

/// The first eight bytes of a digest: enough to distinguish the same chunk of two cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prefix(NonZeroU64);

impl Prefix {
    /// The prefix of a digest.
    pub fn of(digest: &Digest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        Self::from_bytes([a, b, c, d, e, f, g, h])
    }

    /// Never zero (a zero becomes a one), so that an `Option<Prefix>` takes eight bytes.
    fn from_bytes(bytes: [u8; WIDTH]) -> Self {
        Self(NonZeroU64::new(u64::from_be_bytes(bytes)).unwrap_or(NonZeroU64::MIN))
    }

    fn to_bytes(self) -> [u8; WIDTH] {
        self.0.get().to_be_bytes()
    }
}

/// Prefixes as they travel: eight bytes each, big endian.
pub fn to_bytes(prefixes: &[Prefix]) -> Vec<u8> {
    prefixes
        .iter()
        .flat_map(|prefix| prefix.to_bytes())
        .collect()
}

/// The prefixes in `bytes`; `None` if the length is no multiple of eight.
pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Prefix>> {
    let (entries, rest) = bytes.as_chunks::<WIDTH>();
    let prefixes = entries.iter().map(|&entry| Prefix::from_bytes(entry));
    rest.is_empty().then(|| prefixes.collect())
}

/// Prefixes as text: sixteen hexadecimal digits each.
pub fn to_text(prefixes: &[Prefix]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(prefixes.len() * 2 * WIDTH);
    for prefix in prefixes {
        // writing to a string cannot fail
        let _ = write!(text, "{:016x}", prefix.0);
    }
    text
}

/// The prefixes in a text; `None` unless it is sixteen hexadecimal digits for each.
pub fn from_text(text: &str) -> Option<Vec<Prefix>> {
    let (entries, rest) = text.as_bytes().as_chunks::<{ 2 * WIDTH }>();
    let prefixes = entries.iter().map(|entry| {
        let digits = entry.iter().try_fold(0_u64, |value, &digit| {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            Some(value << 4 | u64::from(digit))
        })?;
        Some(Prefix::from_bytes(digits.to_be_bytes()))
    });
    rest.is_empty().then(|| prefixes.collect()).flatten()
}

/// A cut's seal, as its manifest carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The digest of all entries: eight bytes each, in order.
    pub digest: Digest,
    /// All entries in order, as sixteen hexadecimal digits each; absent where they travel in pages.
    pub prefixes: Option<String>,
}

impl Seal {
    /// The seal of these entries, and the pages they travel in, if there are too many for the manifest.
    pub fn of(prefixes: &[Prefix]) -> (Self, Vec<Bytes>) {
        let seal = |prefixes_as_text| Self {
            digest: digest(prefixes),
            prefixes: prefixes_as_text,
        };
        if prefixes.len() <= INLINE {
            return (seal(Some(to_text(prefixes))), Vec::new());
        }
        let pages = prefixes.chunks(PER_PAGE);
        (
            seal(None),
            pages.map(|page| to_bytes(page).into()).collect(),
        )
    }
}

/// The digest of all entries of a seal.
pub fn digest(prefixes: &[Prefix]) -> Digest {
    Digest::of(&to_bytes(prefixes))
}

/// The number of page messages for `entries` entries.
pub fn pages_of(entries: u64) -> u64 {
    entries.div_ceil(PER_PAGE as u64)
}

/// Maps each chunk and page to its index in the seal: chunks by part and number, then pages by file name and number.
#[derive(Debug, Clone)]
pub struct Order {
    /// For each part: how many entries precede it, and how many chunks it has.
    parts: Vec<(u64, u32)>,
    /// The same for each side file.
    files: BTreeMap<String, (u64, u32)>,
    entries: u64,
}

impl Order {
    /// The order of a manifest's chunks and pages.
    pub fn of(chunks: &[u32], annexes: &BTreeMap<String, u32>) -> Self {
        let mut entries = 0;
        let mut place = |&count: &u32| {
            let place = (entries, count);
            entries += u64::from(count);
            place
        };
        let parts = chunks.iter().map(&mut place).collect();
        let files = annexes
            .iter()
            .map(|(name, pages)| (name.clone(), place(pages)));
        Self {
            parts,
            files: files.collect(),
            entries,
        }
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The index of this chunk's entry, if the chunk is one of the job's.
    pub fn of_chunk(&self, seq: Seq) -> Option<u64> {
        place(self.parts.get(usize::from(seq.part)), seq.number)
    }

    /// The index of this page's entry, if the page is one of the job's.
    pub fn of_page(&self, name: &str, page: u32) -> Option<u64> {
        place(self.files.get(name), page)
    }
}

fn place(of: Option<&(u64, u32)>, number: u32) -> Option<u64> {
    let &(before, count) = of?;
    (number < count).then(|| before + u64::from(number))
}

/// Digest prefixes that a producer collects while it publishes, for the seal: eight bytes for each chunk and page.
#[derive(Debug, Default)]
pub struct Gathered {
    parts: Vec<Vec<Option<Prefix>>>,
    files: BTreeMap<String, Vec<Option<Prefix>>>,
    chunks: u64,
    pages: u64,
}

impl Gathered {
    /// Records a chunk.
    ///
    /// # Errors
    /// One sentence: the chunk was put before, or there are too many.
    pub fn chunk(&mut self, seq: Seq, digest: &Digest) -> Result<(), String> {
        let what = format!("chunk {seq}");
        self.check_room(seq.number, &what)?;
        let part = usize::from(seq.part);
        if self.parts.len() <= part {
            self.parts.resize_with(part + 1, Vec::new);
        }
        note(&mut self.parts[part], seq.number, digest, &what)?;
        self.chunks += 1;
        Ok(())
    }

    /// Records a page of a side file.
    ///
    /// # Errors
    /// As [`Gathered::chunk`].
    pub fn page(&mut self, name: &str, page: u32, digest: &Digest) -> Result<(), String> {
        let what = format!("page {page} of {name}");
        self.check_room(page, &what)?;
        let file = self.files.entry(name.to_owned()).or_default();
        note(file, page, digest, &what)?;
        self.pages += 1;
        Ok(())
    }

    fn check_room(&self, number: u32, what: &str) -> Result<(), String> {
        if u64::from(number) < MAX_SEALED && self.chunks + self.pages < MAX_SEALED {
            return Ok(());
        }
        Err(format!(
            "it put {what}, expected at most {MAX_SEALED} chunks and pages in all: larger chunks make fewer"
        ))
    }

    /// Chunks noted.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Pages noted.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The entries of these chunks and pages, in order.
    ///
    /// # Errors
    /// The first chunk or page that was not put.
    pub fn entries(
        &self,
        chunks: &[u32],
        annexes: &BTreeMap<String, u32>,
    ) -> Result<Vec<Prefix>, String> {
        let mut entries = Vec::new();
        for (part, &count) in (0_u16..).zip(chunks) {
            let put = self.parts.get(usize::from(part)).map(Vec::as_slice);
            let missing = add_all(&mut entries, put.unwrap_or_default(), count);
            if let Some(number) = missing {
                return Err(format!("it did not put chunk {}", Seq { part, number }));
            }
        }
        for (name, &count) in annexes {
            let put = self.files.get(name).map(Vec::as_slice);
            if let Some(page) = add_all(&mut entries, put.unwrap_or_default(), count) {
                return Err(format!("it did not put page {page} of {name}"));
            }
        }
        Ok(entries)
    }
}

fn note(
    into: &mut Vec<Option<Prefix>>,
    number: u32,
    digest: &Digest,
    what: &str,
) -> Result<(), String> {
    let at = number as usize;
    if into.len() <= at {
        into.resize(at + 1, None);
    }
    match into[at].replace(Prefix::of(digest)) {
        None => Ok(()),
        Some(_) => Err(format!("it put {what} twice")),
    }
}

/// Appends entries `0..count`; returns the number of the first absent one, and stops there.
fn add_all(entries: &mut Vec<Prefix>, put: &[Option<Prefix>], count: u32) -> Option<u32> {
    (0..count).find(|&number| match put.get(number as usize) {
        Some(&Some(prefix)) => {
            entries.push(prefix);
            false
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(n: u64) -> Prefix {
        Prefix::of(&Digest::of(&n.to_le_bytes()))
    }

    #[test]
    fn entries_come_back_from_bytes_and_from_text() {
        let prefixes: Vec<Prefix> = (0..100).map(prefix).collect();
        assert_eq!(from_bytes(&to_bytes(&prefixes)), Some(prefixes.clone()));
        assert_eq!(from_text(&to_text(&prefixes)), Some(prefixes));
        assert_eq!(from_bytes(&[0; 9]), None);
        for bad in [
            "0",
            "000000000000000g",
            "000000000000000A",
            "0000000000000001 ",
        ] {
            assert_eq!(from_text(bad), None, "{bad}");
        }
        let zero = from_bytes(&[0; 8]).expect("eight bytes");
        assert_eq!(from_text(&to_text(&zero)), Some(zero));
        assert_eq!(size_of::<Option<Prefix>>(), 8);
    }

    #[test]
    fn a_few_entries_stand_in_the_manifest_and_many_in_pages() {
        let prefixes: Vec<Prefix> = (0..PER_PAGE as u64 + 1).map(prefix).collect();
        let (seal, pages) = Seal::of(&prefixes[..INLINE]);
        assert_eq!(seal.prefixes, Some(to_text(&prefixes[..INLINE])));
        assert!(pages.is_empty());
        let (seal, pages) = Seal::of(&prefixes[..INLINE + 1]);
        assert_eq!((seal.prefixes, pages.len()), (None, 1));
        let (seal, pages) = Seal::of(&prefixes);
        assert_eq!(pages.len() as u64, pages_of(prefixes.len() as u64));
        assert_eq!(
            pages.iter().map(Bytes::len).collect::<Vec<_>>(),
            [PER_PAGE * 8, 8]
        );
        assert_eq!(Digest::of(&pages.concat()), seal.digest);
    }

    #[test]
    fn what_was_put_in_any_order_is_sealed_in_one() {
        let chunks = [2, 0, 1];
        let annexes = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
        let order = Order::of(&chunks, &annexes);
        let digest = |n: u64| Digest::of(&n.to_le_bytes());
        let seq = |part, number| Seq { part, number };
        let mut put = Gathered::default();
        put.page("b", 0, &digest(5)).expect("new");
        put.chunk(seq(2, 0), &digest(2)).expect("new");
        put.page("a", 1, &digest(4)).expect("new");
        put.chunk(seq(0, 1), &digest(1)).expect("new");
        put.page("a", 0, &digest(3)).expect("new");
        assert_eq!(
            put.entries(&chunks, &annexes),
            Err("it did not put chunk 0.0".to_owned())
        );
        put.chunk(seq(0, 0), &digest(0)).expect("new");
        assert_eq!(
            put.chunk(seq(0, 0), &digest(0)),
            Err("it put chunk 0.0 twice".to_owned())
        );
        let entries = put.entries(&chunks, &annexes).expect("all were put");
        assert_eq!(entries, (0..6).map(prefix).collect::<Vec<_>>());
        assert_eq!(order.entries(), 6);
        for (entry, at) in [((0, 0), 0), ((0, 1), 1), ((2, 0), 2)] {
            assert_eq!(order.of_chunk(seq(entry.0, entry.1)), Some(at));
        }
        for (entry, at) in [(("a", 0), 3), (("a", 1), 4), (("b", 0), 5)] {
            assert_eq!(order.of_page(entry.0, entry.1), Some(at));
        }
        for none in [(0, 2), (1, 0), (3, 0)] {
            assert_eq!(order.of_chunk(seq(none.0, none.1)), None);
        }
        assert_eq!((order.of_page("a", 2), order.of_page("c", 0)), (None, None));
    }

    #[test]
    fn a_number_beyond_every_job_is_refused_before_it_takes_memory() {
        let mut put = Gathered::default();
        let far = Seq::first_part(u32::MAX);
        let refused = put.chunk(far, &Digest::of(b"")).expect_err("too far");
        assert!(refused.starts_with("it put chunk 0.4294967295, expected at most 4194304"));
        assert!(put.parts.is_empty());
    }
}
