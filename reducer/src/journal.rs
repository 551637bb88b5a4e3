//! An append-only file of checksummed records, and its recovery.
//!
//! ```text
//! file   = "autoconnect journal 1\n" record*
//! record = length of the payload, u32 little endian
//!          the first 8 bytes of the payload's SHA-256
//!          payload, a JSON object or string
//! ```
//!
//! Records are buffered in memory and become durable together ([`Journal::flush`]). A flush that fails can be retried: no
//! buffered record is lost, and readers skip what it left of the file. No file is kept open between two flushes, so that
//! any number of jobs can be open.
//!
//! A record that fails its checksum does not end the journal: [`Replay`] finds the good records after it, because no
//! record can begin inside another one. The zero byte at the end of a length below 16 MiB cannot occur in JSON.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use autoconnect_common::Digest;
use autoconnect_common::disk::Disk;

use crate::faults::{Faults, Point};
use crate::trouble::{Doing, Trouble};

/// The beginning of every header, of any version.
const TITLE: &[u8] = b"autoconnect journal ";
const HEADER: &[u8] = b"autoconnect journal 1\n";
const FRAME: usize = 12;

/// A new journal that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// Bytes of the file that were flushed; 0 while there is no file.
    durable: u64,
    gathered: Vec<u8>,
}

impl Journal {
    /// A journal at `path`. The first flush makes the file, or replaces one that is there.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            durable: 0,
            gathered: Vec::new(),
        }
    }

    /// Buffers one record, written by `write`.
    pub(crate) fn append(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> serde_json::Result<()> {
        let start = self.gathered.len();
        self.gathered.extend_from_slice(&[0; FRAME]);
        if let Err(error) = write(&mut self.gathered) {
            self.gathered.truncate(start);
            return Err(error);
        }
        let frame = frame(&self.gathered[start + FRAME..]);
        self.gathered[start..start + FRAME].copy_from_slice(&frame);
        Ok(())
    }

    /// How long the file is, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.durable
    }

    /// Makes everything buffered so far durable.
    ///
    /// # Errors
    /// [`Trouble`]; the flush can then be retried.
    pub(crate) fn flush(&mut self, disk: &dyn Disk, faults: &Faults) -> Result<(), Trouble> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let path = &self.path;
        let doing = || format!("write the journal {}", path.display());
        let mut file = disk.append(path).doing(doing)?;
        let is_new = self.durable == 0;
        // a failed flush may have left a piece of a record
        file.set_len(self.durable).doing(doing)?;
        if is_new {
            file.write_all(HEADER).doing(doing)?;
        }
        file.write_all(&self.gathered).doing(doing)?;
        faults.at(Point::JournalWritten)?;
        file.sync().doing(doing)?;
        if let Some(folder) = path.parent().filter(|_| is_new) {
            disk.sync_folder(folder).doing(doing)?;
            self.durable = HEADER.len() as u64;
        }
        self.durable += self.gathered.len() as u64;
        // most jobs are idle at any time: what they gathered is not to be kept
        self.gathered = Vec::new();
        Ok(())
    }
}

/// Length and checksum of a payload.
fn frame(payload: &[u8]) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..].copy_from_slice(&Digest::of(payload).as_bytes()[..8]);
    frame
}

/// The records read from a journal. The file itself is not changed.
#[derive(Debug)]
pub(crate) struct Replay {
    bytes: Vec<u8>,
    payloads: Vec<Range<usize>>,
    /// Bytes that belong to no record, before the last good one.
    damaged: usize,
    /// Bytes after the last good record.
    tail: usize,
}

impl Replay {
    /// Reads the journal at `path`.
    ///
    /// # Errors
    /// The error of the file system; [`io::ErrorKind::Unsupported`] for a journal of an unknown version.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let replay = Self::of(disk.read(path)?);
        match replay.foreign() {
            None => Ok(replay),
            Some(found) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "{}: found {found:?}, expected \"autoconnect journal 1\": another version of the program wrote it",
                    path.display()
                ),
            )),
        }
    }

    /// The good records among `bytes`.
    fn of(bytes: Vec<u8>) -> Self {
        let (mut payloads, mut damaged) = (Vec::new(), 0);
        // a damaged header is searched for records as well
        let mut at = if bytes.starts_with(HEADER) {
            HEADER.len()
        } else {
            0
        };
        let headless = at == 0;
        while let Some(payload) = next_record(&bytes, at) {
            damaged += payload.start - FRAME - at;
            at = payload.end;
            payloads.push(payload);
        }
        let torn_header = payloads.is_empty() && HEADER.starts_with(&bytes);
        Self {
            tail: if headless && torn_header {
                0
            } else {
                bytes.len() - at
            },
            bytes,
            payloads,
            damaged,
        }
    }

    /// The header, if it is of an unknown version. One with a flipped bit is not: good records follow it.
    fn foreign(&self) -> Option<String> {
        if !self.payloads.is_empty() || self.bytes.starts_with(HEADER) {
            return None;
        }
        let version = self.bytes.strip_prefix(TITLE)?;
        let end = version.iter().position(|&b| b == b'\n')?;
        let digits = (1..=9).contains(&end) && version[..end].iter().all(u8::is_ascii_digit);
        let line = &self.bytes[..TITLE.len() + end];
        digits.then(|| String::from_utf8_lossy(line).into_owned())
    }

    /// The payloads of the good records, in order.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        self.payloads.iter().map(|range| &self.bytes[range.clone()])
    }

    /// How long the file is, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What cannot be read, in one phrase: damage, if good records follow it. The end of a journal may instead be a flush
    /// that a power failure cut short: nothing of that was acknowledged, so it is redelivered.
    pub(crate) fn damage(&self) -> Option<String> {
        let phrase = |bytes: usize, place| match bytes {
            0 => None,
            bytes => Some(format!("{bytes} bytes {place} cannot be read")),
        };
        let found = [
            phrase(self.damaged, "in its middle"),
            phrase(self.tail, "at its end"),
        ];
        let found: Vec<String> = found.into_iter().flatten().collect();
        (!found.is_empty()).then(|| found.join(", "))
    }

    /// Whether good records follow bad bytes.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged > 0
    }
}

/// The payload of the first good record at or after `from`.
fn next_record(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let last = bytes.len().checked_sub(FRAME)?;
    (from..=last).find_map(|at| record_at(bytes, at))
}

/// The payload of the record at `at`, if there is a good one.
fn record_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let (found, rest) = bytes.get(at..)?.split_first_chunk::<FRAME>()?;
    let (length, _) = found.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let is_json = matches!(
        (payload.first(), payload.last()),
        (Some(b'{'), Some(b'}')) | (Some(b'"'), Some(b'"'))
    );
    let start = at + FRAME;
    (is_json && frame(payload) == *found).then(|| start..start + payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoconnect_common::disk;
    use proptest::prelude::*;
    use std::fs;

    fn written(folder: &Path, payloads: &[Vec<u8>]) -> PathBuf {
        let path = folder.join("journal");
        let mut journal = Journal::new(path.clone());
        for payload in payloads {
            journal
                .append(|bytes| {
                    bytes.extend_from_slice(payload);
                    Ok(())
                })
                .expect("appended");
            let flushed = journal.flush(&*disk::real(), &Faults::default());
            flushed.expect("flushed");
        }
        path
    }

    /// The bytes of a journal of `payloads`, and where each record begins.
    fn bytes_of(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = fs::read(written(folder.path(), payloads)).unwrap_or_default();
        let mut at = HEADER.len();
        let starts = payloads.iter().map(|payload| {
            let start = at;
            at += FRAME + payload.len();
            start
        });
        let starts = starts.collect();
        (bytes, starts)
    }

    fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        let replay = Replay::of(bytes.to_vec());
        replay.payloads().map(<[u8]>::to_vec).collect()
    }

    fn payloads(most: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
        let payload =
            "\\{\"[a-z ü{}]{0,40}\":[0-9]{1,5}\\}|\"[a-z_]{1,20}\"".prop_map(String::into_bytes);
        prop::collection::vec(payload, 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_journal_cut_anywhere_replays_a_prefix(payloads in payloads(8), keep in any::<prop::sample::Index>()) {
            let (bytes, starts) = bytes_of(&payloads);
            let cut = keep.index(bytes.len());
            let whole = starts.iter().skip(1).chain([&bytes.len()]).filter(|&&end| end <= cut).count();
            let replay = Replay::of(bytes[..cut].to_vec());
            let kept: Vec<_> = replay.payloads().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&kept, &payloads[..whole]);
            prop_assert!(!replay.is_damaged());
            let at_a_record = cut <= HEADER.len() || starts.contains(&cut);
            prop_assert_eq!(replay.damage().is_none(), at_a_record);
        }

        #[test]
        fn a_flipped_bit_costs_one_record_at_most_and_is_told(
            payloads in payloads(6),
            place in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let (mut bytes, starts) = bytes_of(&payloads);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let hit = starts.iter().rposition(|&start| start <= place);
            let kept: Vec<_> = (0..payloads.len()).filter(|&n| Some(n) != hit).map(|n| payloads[n].clone()).collect();
            prop_assert_eq!(read(&bytes), kept);
            let replay = Replay::of(bytes);
            prop_assert!(replay.damage().is_some());
            prop_assert!(replay.foreign().is_none());
            // the last record may as well be torn
            prop_assert_eq!(replay.is_damaged(), hit != Some(payloads.len() - 1));
        }

        #[test]
        fn arbitrary_bytes_are_no_records_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&[HEADER, &bytes].concat()).is_empty());
            prop_assert!(read(&bytes).is_empty());
        }

        #[test]
        fn a_hole_of_zeros_costs_what_was_in_it(payloads in payloads(8), from in any::<prop::sample::Index>(), length in 1..60usize) {
            let (mut bytes, starts) = bytes_of(&payloads);
            let whole = bytes.clone();
            let from = from.index(bytes.len());
            let to = (from + length).min(bytes.len());
            bytes[from..to].fill(0);
            let ends: Vec<usize> = starts.iter().skip(1).copied().chain([bytes.len()]).collect();
            let kept: Vec<_> = (0..payloads.len())
                .filter(|&n| bytes[starts[n]..ends[n]] == whole[starts[n]..ends[n]])
                .map(|n| payloads[n].clone())
                .collect();
            prop_assert_eq!(read(&bytes), kept);
        }
    }

    #[test]
    fn a_journal_of_another_version_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.0");
        fs::write(&path, b"autoconnect journal 7\nwhatever it says").expect("written");
        let error = Replay::read(&*disk::real(), &path).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("journal.0") && text.contains("journal 7"),
            "{text}"
        );
    }
}
