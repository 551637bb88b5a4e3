//! An append-only file of checksummed records, of which a torn tail is cut.
//!
//! ```text
//! file   = "autoconnect journal 1\n" record*
//! record = length of the payload, u32 little endian
//!          the first 8 bytes of the payload's SHA-256
//!          payload
//! ```
//!
//! Records are gathered in memory and become durable together ([`Journal::flush`]). A flush that fails leaves the file
//! as it was as far as a reader can tell, and can be tried again: nothing that was gathered is lost.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoconnect_common::Digest;
use autoconnect_common::disk::{Disk, Write};

use crate::faults::{Faults, Point};
use crate::trouble::{Doing, Trouble};

const HEADER: &[u8] = b"autoconnect journal 1\n";
const FRAME: usize = 12;

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Box<dyn Write>>,
    /// Bytes of the file that are known to be on disk.
    durable: u64,
    gathered: Vec<u8>,
}

impl Journal {
    /// The journal at `path`, of which `durable` bytes are good (0 for one that does not exist yet).
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, durable: u64) -> Self {
        Self {
            disk,
            path,
            file: None,
            durable,
            gathered: Vec::new(),
        }
    }

    /// Gathers one record, written by `write`.
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

    /// Whether there is something to flush.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Makes everything gathered so far durable.
    ///
    /// # Errors
    /// [`Trouble`]; flushing can then be tried again.
    pub(crate) fn flush(&mut self, faults: &Faults) -> Result<(), Trouble> {
        if !self.is_dirty() {
            return Ok(());
        }
        let path = self.path.clone();
        let doing = || format!("write the journal {}", path.display());
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open().doing(doing)?,
        };
        // a flush that failed half-way may have left a piece of a record
        file.set_len(self.durable).doing(doing)?;
        file.write_all(&self.gathered).doing(doing)?;
        faults.at(Point::JournalWritten)?;
        file.sync().doing(doing)?;
        self.durable += self.gathered.len() as u64;
        self.gathered.clear();
        self.file = Some(file);
        Ok(())
    }

    fn open(&mut self) -> io::Result<Box<dyn Write>> {
        let mut file = self.disk.append(&self.path)?;
        if self.durable == 0 {
            file.set_len(0)?;
            file.write_all(HEADER)?;
            file.sync()?;
            if let Some(folder) = self.path.parent() {
                self.disk.sync_folder(folder)?;
            }
            self.durable = HEADER.len() as u64;
        }
        Ok(file)
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

/// What a journal held when it was opened again.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    bytes: Vec<u8>,
    /// How many bytes are good.
    pub(crate) good: u64,
}

impl Replay {
    /// Reads the journal at `path` and cuts what follows its last good record.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let mut replay = Self {
            bytes: disk.read(path)?,
            good: 0,
        };
        let good = replay
            .payloads()
            .last()
            .map_or(HEADER.len(), |(_, end)| end);
        if replay.bytes.starts_with(HEADER) {
            replay.good = good as u64;
        }
        let torn = replay.bytes.len() as u64 - replay.good;
        if torn > 0 {
            tracing::warn!(journal = %path.display(), bytes = torn, "torn tail cut off");
            let mut file = disk.append(path)?;
            file.set_len(replay.good)?;
            file.sync()?;
        }
        Ok(replay)
    }

    /// The payloads of the good records, in order, each with the place in the file where its record ends.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut at = HEADER.len();
        let good = self.bytes.starts_with(HEADER);
        std::iter::from_fn(move || {
            let rest = self.bytes.get(at..).filter(|_| good)?;
            let found = rest.get(..FRAME)?;
            let length = u32::from_le_bytes(found[..4].try_into().ok()?) as usize;
            let payload = rest[FRAME..].get(..length)?;
            if payload.is_empty() || frame(payload) != found {
                return None;
            }
            at += FRAME + length;
            Some((payload, at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoconnect_common::disk;
    use proptest::prelude::*;
    use std::fs::{self, OpenOptions};

    fn written(folder: &Path, payloads: &[Vec<u8>]) -> PathBuf {
        let path = folder.join("journal");
        let mut journal = Journal::new(disk::real(), path.clone(), 0);
        for payload in payloads {
            journal
                .append(|bytes| {
                    bytes.extend_from_slice(payload);
                    Ok(())
                })
                .expect("appended");
            journal.flush(&Faults::default()).expect("flushed");
        }
        path
    }

    fn read(path: &Path) -> Vec<Vec<u8>> {
        let replay = Replay::read(&*disk::real(), path).expect("readable");
        replay.payloads().map(|(p, _)| p.to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_journal_cut_anywhere_replays_a_prefix_and_goes_on(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            keep in 0.0..1.0f64,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = written(folder.path(), &payloads);
            let length = fs::metadata(&path).map_or(0, |m| m.len());
            if length > 0 {
                let file = OpenOptions::new().write(true).open(&path).expect("open");
                file.set_len((length as f64 * keep) as u64).expect("cut");
                let mut kept = read(&path);
                prop_assert!(payloads.starts_with(&kept));

                let good = Replay::read(&*disk::real(), &path).expect("readable").good;
                let mut journal = Journal::new(disk::real(), path.clone(), good);
                journal.append(|b| { b.extend_from_slice(b"more"); Ok(()) }).expect("appended");
                journal.flush(&Faults::default()).expect("flushed");
                kept.push(b"more".to_vec());
                prop_assert_eq!(read(&path), kept);
            }
        }

        #[test]
        fn a_flipped_byte_is_never_replayed(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..6),
            place in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = written(folder.path(), &payloads);
            let mut bytes = fs::read(&path).expect("readable");
            let place = place.index(bytes.len());
            bytes[place] ^= 1;
            fs::write(&path, bytes).expect("written");
            let kept = read(&path);
            prop_assert!(kept.len() < payloads.len() && payloads.starts_with(&kept));
        }

        #[test]
        fn arbitrary_bytes_are_no_records_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("journal");
            fs::write(&path, [HEADER, &bytes].concat()).expect("written");
            prop_assert!(read(&path).is_empty());
        }
    }
}
