//! The file operations of a role ([`Disk`]), so that a test can insert a disk that fails, fills up, loses what was not
//! flushed, or flips a bit.
//!
//! Three rules say what survives a power cut; every caller relies on them, and a simulated disk may take everything else
//! away:
//!
//! 1. The *bytes* of a file last once [`Write::sync`] returned. Before that, any prefix of what was written since may
//!    be there, or none of it.
//! 2. The *names* in a folder (made, renamed, linked, removed) last once [`Disk::sync_folder`] of that folder returned.
//!    Before that, each change may be there or not, independent of the others.
//! 3. [`Disk::rename`] and [`Disk::exchange`] are atomic: a reader, now or after a power cut, finds the old or the new,
//!    never neither.

mod failing;
mod real;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use failing::Failing;
pub use real::RealDisk;

/// The operations on files that a role needs. Every path is used as it is.
///
/// A failed operation changes nothing visible, except [`Write::write_all`](io::Write::write_all), of which any prefix may
/// be in the file. After a failed flush the state of the unflushed data is unknown.
pub trait Disk: fmt::Debug + Send + Sync {
    /// All bytes of a file.
    ///
    /// # Errors
    /// The error of the system; [`io::ErrorKind::NotFound`] where there is no such file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// A file to be read from its beginning, without holding all of it in memory.
    ///
    /// # Errors
    /// As [`Disk::read`].
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// An empty file to write to, in the place of the one that may be there. Its name lasts after
    /// [`Disk::sync_folder`].
    ///
    /// # Errors
    /// The error of the system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Write>>;

    /// A file to write to at its end; made, empty, where there is none. Its name lasts after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// The error of the system.
    fn append(&self, path: &Path) -> io::Result<Box<dyn Write>>;

    /// Gives a file, link or folder another name, atomically, in the place of a file or link that may have it already.
    /// Lasts once the folders of both names are flushed.
    ///
    /// # Errors
    /// The error of the system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges two files, links or folders that are both there, atomically. Lasts once the folders of both are
    /// flushed.
    ///
    /// # Errors
    /// The error of the system; [`io::ErrorKind::Unsupported`] where the file system cannot.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Makes `new` a second name of the file `existing`. Lasts once the folder of `new` is flushed.
    ///
    /// # Errors
    /// The error of the system; something called `new` must not be there.
    fn link(&self, existing: &Path, new: &Path) -> io::Result<()>;

    /// Makes a symbolic link `new` that leads to `target`, which need not be there. Lasts once the folder of `new` is
    /// flushed.
    ///
    /// # Errors
    /// The error of the system; something called `new` must not be there.
    fn symlink(&self, target: &Path, new: &Path) -> io::Result<()>;

    /// Where a symbolic link leads to.
    ///
    /// # Errors
    /// The error of the system; [`io::ErrorKind::InvalidInput`] for what is no symbolic link.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;

    /// Removes a file or a symbolic link. Lasts once its folder is flushed.
    ///
    /// # Errors
    /// The error of the system; [`io::ErrorKind::NotFound`] where there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and everything in it, following no link. Not atomic; lasts once the folder above is flushed.
    ///
    /// # Errors
    /// The error of the system; some of it may be gone.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it, where they are missing. Each lasts once the folder above it is flushed.
    ///
    /// # Errors
    /// The error of the system.
    fn create_folders(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, in no order.
    ///
    /// # Errors
    /// The error of the system.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// What has this name; a symbolic link is not followed. Absent where nothing has it.
    ///
    /// # Errors
    /// The system's error, where it cannot decide.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;

    /// Makes the names in a folder last: those made, renamed, linked and removed in it before.
    ///
    /// # Errors
    /// The error of the system; nothing is known of the names then.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Locks a file, made where it is missing, against every other process; absent where another one has it. The lock
    /// is free once it is dropped or its process is gone.
    ///
    /// # Errors
    /// The error of the system.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;
}

/// A file that is being written.
pub trait Write: io::Write + fmt::Debug + Send {
    /// Cuts the file, or fills it with zeros, so that it has `length` bytes. Lasts after [`Write::sync`].
    ///
    /// # Errors
    /// The error of the system.
    fn set_len(&mut self, length: u64) -> io::Result<()>;

    /// Makes the file's bytes and its length last; not its name, see [`Disk::sync_folder`].
    ///
    /// # Errors
    /// The error of the system; nothing is known then of what was written since the last one.
    fn sync(&mut self) -> io::Result<()>;
}

/// A lock that is held until this is dropped.
pub struct Lock(Box<dyn Send + Sync>);

impl Lock {
    /// A lock that is held for as long as `holder` lives.
    pub fn new(holder: impl Send + Sync + 'static) -> Self {
        Self(Box::new(holder))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(_held) = self;
        f.write_str("Lock")
    }
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}

/// The disk of this machine.
pub fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

impl dyn Disk + '_ {
    /// Writes a file whole: `write` writes it under a temporary name, it is flushed, then renamed; missing folders are
    /// made. Its bytes last at once, its name after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// What the system or `write` said; the file at `path` is then the old one, untouched.
    pub fn write_with<T>(
        &self,
        path: &Path,
        write: impl FnOnce(&mut io::BufWriter<Box<dyn Write>>) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(folder) = path.parent() {
            self.create_folders(folder)?;
        }
        let unfinished = temporary(path);
        let mut file = io::BufWriter::new(self.create(&unfinished)?);
        let written = write(&mut file)?;
        file.into_inner()?.sync()?;
        self.rename(&unfinished, path)?;
        Ok(written)
    }

    /// Writes `bytes` as a file, as `write_with` does.
    ///
    /// # Errors
    /// As there.
    pub fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write_with(path, |file| io::Write::write_all(file, bytes))
    }

    /// Makes `path` a symbolic link to `target`, in the place of the file or link that may be there, atomically. Lasts
    /// after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// The error of the system; what was at `path` is then untouched.
    pub fn point(&self, path: &Path, target: &Path) -> io::Result<()> {
        let unfinished = temporary(path);
        self.remove(&unfinished)?;
        self.symlink(target, &unfinished)?;
        self.rename(&unfinished, path)
    }

    /// Makes `path` a second name of the whole file `existing` (or a copy, where the file system has no links), in the
    /// place of what was there, atomically. Lasts after [`Disk::sync_folder`].
    ///
    /// # Errors
    /// The error of the system; the file at `path` is then the old one, untouched.
    pub fn link_whole(&self, existing: &Path, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.create_folders(folder)?;
        }
        let unfinished = temporary(path);
        self.remove(&unfinished)?;
        if self.link(existing, &unfinished).is_err() {
            let mut from = self.open(existing)?;
            return self.write_with(path, |file| io::copy(&mut from, file).map(drop));
        }
        self.rename(&unfinished, path)?;
        // renaming one name of a file onto another name of the same file does nothing, and leaves both
        self.remove(&unfinished)
    }

    /// Removes the file, link or folder of this name, if there is one.
    ///
    /// # Errors
    /// The error of the system.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = match self.metadata(path)? {
            None => return Ok(()),
            Some(Metadata::Folder) => self.remove_folder(path),
            Some(Metadata::File(_) | Metadata::Link) => self.remove_file(path),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// The temporary name a file has until it is whole.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (disk, path) = (real(), folder.path().join("a/b.json"));
        disk.write_whole(&path, b"old")?;
        disk.write_whole(&path, b"new")?;
        let failed: io::Result<()> = disk.write_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        disk.sync_folder(folder.path())?;
        assert_eq!(disk.read(&path)?, b"new");
        assert_eq!(disk.metadata(&path)?, Some(Metadata::File(3)));
        disk.write_whole(&path, b"newer")?;
        assert_eq!(disk.list(&folder.path().join("a"))?, ["b.json"]);
        Ok(())
    }

    #[test]
    fn a_link_is_pointed_elsewhere_in_the_place_of_a_file_or_a_link() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (disk, path) = (real(), folder.path().join("newest"));
        disk.write_whole(&path, b"a file")?;
        for target in ["jobs/one", "jobs/two"] {
            disk.point(&path, Path::new(target))?;
            assert_eq!(disk.read_link(&path)?, Path::new(target));
        }
        assert_eq!(disk.metadata(&path)?, Some(Metadata::Link));
        assert_eq!(disk.list(folder.path())?, ["newest"]);
        disk.remove(&path)?;
        disk.remove(&path)?;
        assert_eq!(disk.metadata(&path)?, None);
        Ok(())
    }

    #[test]
    fn folders_are_exchanged() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let disk = real();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        disk.write_whole(&one.join("file"), b"1")?;
        disk.write_whole(&other.join("file"), b"2")?;
        disk.exchange(&one, &other)?;
        assert_eq!(disk.read(&one.join("file"))?, b"2");
        assert_eq!(disk.read(&other.join("file"))?, b"1");
        Ok(())
    }

    #[test]
    fn a_file_that_is_appended_to_goes_on_at_its_end() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (disk, path) = (real(), folder.path().join("journal"));
        for text in [b"one ", b"two "] {
            let mut file = disk.append(&path)?;
            file.write_all(text)?;
            file.sync()?;
        }
        let mut file = disk.append(&path)?;
        file.set_len(4)?;
        file.write_all(b"three")?;
        assert_eq!(disk.read(&path)?, b"one three");
        Ok(())
    }

    #[test]
    fn a_lock_has_one_holder() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (disk, path) = (real(), folder.path().join("lock"));
        let held = disk.lock(&path)?;
        assert!(held.is_some());
        assert!(disk.lock(&path)?.is_none());
        drop(held);
        assert!(disk.lock(&path)?.is_some());
        Ok(())
    }
}
