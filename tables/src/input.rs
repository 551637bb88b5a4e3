//! Which files a job reads, and their text: decompressed, in UTF-8, and refused if they changed while they were read.
//!
//! [`resolve`] turns what the user named into [`Input`]s; [`Input::open`] reads one of them, as `opened` says.
//!
//! Any fault of a file refuses the job in one sentence: missing, empty, unreadable, not a file, named twice,
//! truncated, damaged, a bomb, UTF-16 that was not requested, changed while it was read.

mod opened;

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use autoconnect_common::text::printable;
use autoconnect_common::{CutError, Digest};

pub use super::encoding::Encoding;
pub use opened::Opened;

/// The name that stands for standard input.
const STDIN: &str = "-";
/// File names that a folder stands for; each may be followed by one of [`COMPRESSED`].
const TABLES: [&str; 3] = ["csv", "tsv", "txt"];
/// Endings of compressed files.
const COMPRESSED: [&str; 2] = ["gz", "zst"];
/// Names of what is left out of folders that are kept; the others are counted.
const NAMED: usize = 100;
/// Sampled blocks of a fingerprint.
const SAMPLES: u64 = 64;
/// Bytes of a sampled block.
const SAMPLE: u64 = 4096;

/// One file of a job, as it was when it was resolved.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it is; `-` is standard input.
    pub path: PathBuf,
    /// Its base name, safe to show; `stdin` for standard input.
    pub name: String,
    /// What it looked like; nothing is known of standard input.
    stamp: Option<Stamp>,
}

/// Identifies the version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    identity: Identity,
    bytes: u64,
    modified: Option<SystemTime>,
    changed: Changed,
}

/// Identifies a file under any of its names: device and inode.
#[cfg(unix)]
type Identity = (u64, u64);
/// Identifies a file under any of its names: its resolved path.
#[cfg(not(unix))]
type Identity = PathBuf;

/// When the system last noted a change, which no program can set: an edit whose time was put back shows here.
#[cfg(unix)]
type Changed = (i64, i64);
/// Not known here.
#[cfg(not(unix))]
type Changed = ();

#[cfg(unix)]
fn changed(metadata: &Metadata) -> Changed {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn changed(_metadata: &Metadata) -> Changed {}

#[cfg(unix)]
fn identity(_path: &Path, metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(path: &Path, _metadata: &Metadata) -> Identity {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl Stamp {
    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            identity: identity(path, metadata),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            changed: changed(metadata),
        }
    }

    /// What every machine that sees the file says of it.
    fn marks(&self) -> String {
        let Self {
            identity,
            bytes,
            modified,
            changed,
        } = self;
        #[cfg(unix)]
        let (_, identity) = identity;
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = since.map(|since| since.as_nanos());
        format!("{identity:?} {bytes} {modified:?} {changed:?}")
    }
}

/// What a job reads.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The files, in order.
    pub files: Vec<Input>,
    /// What the folders among the inputs hold beside.
    pub left_out: LeftOut,
}

/// What is in folders and is not read: files that are no tables by their names, subfolders, hidden files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How much there is.
    pub count: u64,
    /// The names of the first, by folder and name, safe to show; that of a folder ends with `/`.
    pub names: Vec<String>,
}

impl LeftOut {
    fn add(&mut self, entry: &Path) {
        self.count += 1;
        if self.names.len() < NAMED {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let slash = if entry.is_dir() { "/" } else { "" };
            let name = printable(name.as_bytes(), 255);
            self.names.push(format!("{name}{slash}"));
        }
    }

    /// The first names, for a sentence.
    fn shown(&self) -> String {
        let few = self.names.len().min(5);
        let more = if self.count > few as u64 { ", …" } else { "" };
        format!("{}{more}", self.names[..few].join(", "))
    }
}

/// The files that `inputs` stand for, in order: files themselves, folders as the tables in them (`*.csv`, `*.tsv`, `*.txt`,
/// each possibly with `.gz` or `.zst`; sorted by name, without subfolders and hidden files), `-` as standard input.
///
/// # Errors
/// [`CutError::Refused`]: there is no input, one is missing, cannot be read, is no file (a device, a pipe), is a folder without
/// tables, or is the same file as one before.
pub fn resolve(inputs: &[PathBuf]) -> Result<Inputs, CutError> {
    let mut resolved = Vec::new();
    let mut left_out = LeftOut::default();
    for path in inputs {
        if path.as_os_str() == STDIN {
            resolved.push(Input {
                path: path.clone(),
                name: "stdin".to_owned(),
                stamp: None,
            });
            continue;
        }
        let metadata = look_at(path)?;
        if metadata.is_dir() {
            for file in tables_in(path, &mut left_out)? {
                resolved.push(regular(&file, &look_at(&file)?)?);
            }
        } else {
            resolved.push(regular(path, &metadata)?);
        }
    }
    if resolved.is_empty() {
        return Err(refused(
            "no input: expected a file, a folder or - (standard input)".to_owned(),
        ));
    }
    let mut seen = HashSet::new();
    for input in &resolved {
        if !seen.insert(input.stamp.as_ref().map(|stamp| &stamp.identity)) {
            return Err(refused(format!(
                "{}: the same file is given twice, expected each file once",
                show(&input.path)
            )));
        }
    }
    Ok(Inputs {
        files: resolved,
        left_out,
    })
}

/// Bytes on disk of all inputs; standard input counts as nothing.
pub fn total_bytes(inputs: &[Input]) -> u64 {
    inputs
        .iter()
        .filter_map(|input| input.stamp.as_ref())
        .fold(0, |total, stamp| total.saturating_add(stamp.bytes))
}

impl Inputs {
    /// A digest that changes when a file does: of the names, sizes, inodes, times of modification and of change in
    /// nanoseconds, and of 64 blocks of 4 KiB spread over each file, its first and last among them; and when something
    /// else is left out. A large file is never read whole. Standard input has another one every time. It is the same on every machine that
    /// sees the same file of a network folder, and after a restart: the device's number, which may differ, is no part of it.
    ///
    /// # Errors
    /// [`CutError::Refused`] where a file cannot be read.
    pub fn fingerprint(&self) -> Result<Digest, CutError> {
        let mut digests = String::new();
        for input in &self.files {
            digests.push_str(&input.fingerprint()?.to_string());
        }
        // a name holds no NUL
        for name in &self.left_out.names {
            digests.push_str(name);
            digests.push('\0');
        }
        Ok(Digest::of(digests.as_bytes()))
    }
}

impl Input {
    fn file(&self) -> Result<File, CutError> {
        File::open(&self.path).map_err(|error| unreadable(&self.path, &error))
    }

    fn fingerprint(&self) -> Result<Digest, CutError> {
        let mut summary = Vec::new();
        summary.extend_from_slice(self.name.as_bytes());
        summary.push(0);
        let Some(stamp) = &self.stamp else {
            summary.extend_from_slice(&unique());
            return Ok(Digest::of(&summary));
        };
        summary.extend_from_slice(stamp.marks().as_bytes());
        summary.push(0);
        let mut file = self.file()?;
        let failed = |error: io::Error| unreadable(&self.path, &error);
        if stamp.bytes <= SAMPLES * SAMPLE {
            file.take(SAMPLES * SAMPLE)
                .read_to_end(&mut summary)
                .map_err(failed)?;
            return Ok(Digest::of(&summary));
        }
        let last = stamp.bytes - SAMPLE;
        for sample in 0..SAMPLES {
            let at = u128::from(last) * u128::from(sample) / u128::from(SAMPLES - 1);
            // `at` is at most `last`
            file.seek(SeekFrom::Start(at as u64)).map_err(failed)?;
            Read::by_ref(&mut file)
                .take(SAMPLE)
                .read_to_end(&mut summary)
                .map_err(failed)?;
        }
        Ok(Digest::of(&summary))
    }
}

/// Unique bytes.
fn unique() -> [u8; 24] {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&nanos.to_le_bytes());
    bytes[16..].copy_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
    bytes
}

fn refused(what: String) -> CutError {
    CutError::Refused(what)
}

/// A path as text that is safe to show.
fn show(path: &Path) -> String {
    printable(path.to_string_lossy().as_bytes(), 300)
}

fn unreadable(path: &Path, error: &io::Error) -> CutError {
    let path = show(path);
    refused(match error.kind() {
        io::ErrorKind::NotFound => format!("{path}: no such file or folder"),
        io::ErrorKind::PermissionDenied => {
            format!("{path}: permission denied, expected a file that may be read")
        }
        _ => format!("{path}: cannot be read: {error}"),
    })
}

fn look_at(path: &Path) -> Result<Metadata, CutError> {
    fs::metadata(path).map_err(|error| unreadable(path, &error))
}

/// The input at `path`, which must be a file that can be opened.
fn regular(path: &Path, metadata: &Metadata) -> Result<Input, CutError> {
    if metadata.is_dir() {
        return Err(refused(format!(
            "{}: a folder, expected a file",
            show(path)
        )));
    }
    if !metadata.is_file() {
        return Err(refused(format!(
            "{}: a pipe, socket or device, expected a file, a folder or - (standard input)",
            show(path)
        )));
    }
    File::open(path).map_err(|error| unreadable(path, &error))?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(Input {
        path: path.to_owned(),
        name: printable(name.to_string_lossy().as_bytes(), 255),
        stamp: Some(Stamp::new(path, metadata)),
    })
}

/// The tables in a folder, sorted by name; all else is added to what is left out.
fn tables_in(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>, CutError> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let entries = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>();
    let mut entries = entries.map_err(|error| unreadable(folder, &error))?;
    entries.sort();
    let (files, others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|path| is_table(path) && !path.is_dir());
    if files.is_empty() {
        let mut found = LeftOut::default();
        others.iter().for_each(|other| found.add(other));
        let found = match found.count {
            0 => "nothing".to_owned(),
            _ => found.shown(),
        };
        return Err(refused(format!(
            "{}: a folder without tables: found {found}, expected files named *.csv, *.tsv or *.txt (possibly with .gz or .zst)",
            show(folder)
        )));
    }
    others.iter().for_each(|other| left_out.add(other));
    Ok(files)
}

fn is_table(path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let bare = COMPRESSED
        .iter()
        .find_map(|ending| name.strip_suffix(ending)?.strip_suffix('.'))
        .unwrap_or(&name);
    !name.starts_with('.')
        && TABLES.iter().any(|ending| {
            bare.strip_suffix(ending)
                .is_some_and(|stem| stem.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn another_machine_that_sees_the_same_file_says_the_same_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "a").expect("written");
        let stamp = Stamp::new(&path, &look_at(&path).expect("a file"));
        let (device, inode) = stamp.identity;
        let with = |identity| Stamp {
            identity,
            ..stamp.clone()
        };
        assert_eq!(stamp.marks(), with((device + 1, inode)).marks());
        assert_ne!(stamp.marks(), with((device, inode + 1)).marks());
    }

    #[test]
    fn permission_denied_is_said_in_one_sentence() {
        let error = unreadable(Path::new("a.csv"), &io::ErrorKind::PermissionDenied.into());
        assert!(error.to_string().contains("a.csv: permission denied"));
    }
}
