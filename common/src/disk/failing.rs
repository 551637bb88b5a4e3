//! For tests: a disk of which one operation fails.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use super::{Disk, Lock, Metadata, RealDisk, Write};

/// The disk of this machine, of which one operation fails and all others work. It counts the open files as well.
#[derive(Debug, Clone)]
pub struct Failing(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// Operations until one fails; none does where this is negative.
    left: AtomicI64,
    open: AtomicU32,
    most_open: AtomicU32,
}

impl Failing {
    /// A disk of which that operation fails, counted from 1; none does where it is negative.
    pub fn at(operation: i64) -> Self {
        Self(Arc::new(Counts {
            left: AtomicI64::new(operation),
            open: AtomicU32::new(0),
            most_open: AtomicU32::new(0),
        }))
    }

    /// Has that operation fail, counted from now.
    pub fn fail(&self, operation: i64) {
        self.0.left.store(operation, Ordering::Relaxed);
    }

    /// Whether the operation that is to fail is still to come.
    pub fn is_waiting(&self) -> bool {
        self.0.left.load(Ordering::Relaxed) > 0
    }

    /// The most files that were open at once.
    pub fn most_open(&self) -> u32 {
        self.0.most_open.load(Ordering::Relaxed)
    }

    fn step(&self) -> io::Result<RealDisk> {
        match self.0.left.fetch_sub(1, Ordering::Relaxed) {
            1 => Err(io::Error::other("staged failure")),
            _ => Ok(RealDisk),
        }
    }

    fn opened<T>(&self, file: T) -> Opened<T> {
        let open = self.0.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most_open.fetch_max(open, Ordering::Relaxed);
        let disk = self.clone();
        Opened { file, disk }
    }
}

/// An open file.
#[derive(Debug)]
struct Opened<T> {
    file: T,
    disk: Failing,
}

impl<T> Drop for Opened<T> {
    fn drop(&mut self) {
        self.disk.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T: Read> Read for Opened<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.disk.step()?;
        self.file.read(bytes)
    }
}

impl io::Write for Opened<Box<dyn Write>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.step() {
            // a disk that is full takes a part
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Opened<Box<dyn Write>> {
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.disk.step()?;
        self.file.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step()?;
        self.file.sync()
    }
}

impl Disk for Failing {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.step()?.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let file = self.step()?.open(path)?;
        Ok(Box::new(self.opened(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Write>> {
        let file = self.step()?.create(path)?;
        Ok(Box::new(self.opened(file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Write>> {
        let file = self.step()?.append(path)?;
        Ok(Box::new(self.opened(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?.rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.step()?.exchange(one, other)
    }

    fn link(&self, existing: &Path, new: &Path) -> io::Result<()> {
        self.step()?.link(existing, new)
    }

    fn symlink(&self, target: &Path, new: &Path) -> io::Result<()> {
        self.step()?.symlink(target, new)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.step()?.read_link(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?.remove_folder(path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.step()?.create_folders(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.step()?.list(folder)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.step()?.metadata(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?.sync_folder(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.step()?.lock(path)
    }
}
