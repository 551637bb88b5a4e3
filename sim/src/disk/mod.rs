//! A simulated disk with faults: operations that fail, a full disk, torn writes, loss of unflushed data, and flipped bits.

mod files;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use autoconnect_common::disk::{Disk, Lock, Metadata, Write};

use crate::life::Life;
use crate::world::{World, lock, tell};
use files::{Files, Id, Node};

/// The disk of one machine.
#[derive(Clone)]
pub struct Machine {
    world: World,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: Files,
    /// How many of ten thousand operations fail.
    failing: u64,
    /// Whether the disk is full.
    full: bool,
    /// Whether flushes of folders fail.
    deaf: bool,
    /// The locked paths, and the life that holds each lock.
    locks: Vec<(PathBuf, Arc<Life>)>,
    most_open: u64,
}

impl Machine {
    /// A disk with these empty folders, created before any process runs.
    pub fn new(world: World, folders: &[PathBuf]) -> Self {
        let mut state = State::default();
        for folder in folders {
            let made = state.files.make_folders(folder);
            if let Err(error) = made.and_then(|()| state.files.sync_folder(Path::new("/"))) {
                world.violation(format_args!("{}: {error}", folder.display()));
            }
        }
        Self {
            world,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The disk as the process of `life` sees it.
    pub fn of(&self, life: Arc<Life>) -> Arc<dyn Disk> {
        Arc::new(Seen {
            machine: self.clone(),
            life,
        })
    }

    /// Cuts the power. The processes of the machine must be dead.
    pub fn cut_power(&self) {
        self.world.roll(|dice| self.state().files.crash(dice));
    }

    /// Makes `of_ten_thousand` of ten thousand operations fail.
    pub fn fail(&self, of_ten_thousand: u64) {
        self.state().failing = of_ten_thousand;
    }

    /// Makes the disk full, or not.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Makes every flush of a folder fail, or none.
    pub fn refuse_to_flush_folders(&self, refuse: bool) {
        self.state().deaf = refuse;
    }

    /// Flips a bit of a file below `folder`, and returns the file's path.
    pub fn flip(&self, folder: &Path) -> Option<PathBuf> {
        let mut state = self.state();
        let paths = state.files.paths(folder);
        let path = paths
            .get(self.world.roll(|dice| dice.index(paths.len())))?
            .clone();
        let id = state.files.find(&path).ok()?;
        let file = state.files.file(id).ok()?;
        let (place, bit) = self
            .world
            .roll(|dice| (dice.index(file.seen.len()), dice.below(8)));
        file.seen[place] ^= 1 << bit;
        if let Some(byte) = file.durable.get_mut(place) {
            *byte ^= 1 << bit;
        }
        Some(path)
    }

    /// The bytes of a file, with links followed, for the judge.
    pub fn look(&self, path: &Path) -> Option<Vec<u8>> {
        let mut state = self.state();
        let id = state.files.find(path).ok()?;
        state.files.file(id).ok().map(|file| file.seen.clone())
    }

    /// The names in a folder, with links followed, for the judge.
    pub fn look_in(&self, path: &Path) -> Vec<String> {
        let state = self.state();
        let found = state.files.find(path).and_then(|id| state.files.node(id));
        match found {
            Ok(Node::Folder(folder)) => {
                let names = folder.seen.keys();
                names
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The target of a link, for the judge.
    pub fn look_at_link(&self, path: &Path) -> Option<PathBuf> {
        let state = self.state();
        match state.files.named(path).ok()?.map(|id| state.files.node(id)) {
            Some(Ok(Node::Link(target))) => Some(target.clone()),
            _ => None,
        }
    }

    /// Moves a file or folder at the root as an operator does; the move is durable at once.
    pub fn move_away(&self, from: &Path, to: &Path) -> bool {
        let mut state = self.state();
        let moved = state.files.rename(from, to);
        moved
            .and_then(|()| state.files.sync_folder(Path::new("/")))
            .is_ok()
    }

    /// Removes a file or folder, as an operator does.
    pub fn remove(&self, path: &Path) -> bool {
        self.state().files.remove(path).is_ok()
    }

    /// The most files that one process has had open at the same time.
    pub fn most_open(&self) -> u64 {
        self.state().most_open
    }
}

/// The disk, as one process sees it.
struct Seen {
    machine: Machine,
    life: Arc<Life>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk of {}", self.life.name)
    }
}

/// The fault that an operation can meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// It can fail at random.
    Luck,
    /// It can fail at random, and fails on a full disk.
    Room,
}

impl Seen {
    /// Carries out an operation, unless the process is dead or a fault makes it fail.
    fn operate<T>(
        &self,
        what: &str,
        path: &Path,
        needs: Needs,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.life.operates() {
            return Err(io::Error::other("the process is dead"));
        }
        let mut state = self.machine.state();
        let failing = needs != Needs::Nothing
            && state.failing > 0
            && self.machine.world.roll(|dice| dice.rarely(state.failing));
        let done = if failing {
            Err(io::Error::other("input/output error"))
        } else if needs == Needs::Room && state.full {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            act(&mut state)
        };
        drop(state);
        if needs != Needs::Nothing {
            let (name, path) = (&self.life.name, path.display());
            match &done {
                Ok(_) => tell!(self.machine.world, "{name} {what} {path}"),
                Err(error) => tell!(self.machine.world, "{name} {what} {path}: {error}"),
            }
        }
        done
    }

    fn opened(&self, state: &mut State, id: Id, path: &Path) -> Opened {
        let open = self.life.open.fetch_add(1, Ordering::Relaxed) + 1;
        state.most_open = state.most_open.max(open);
        Opened {
            seen: Self {
                machine: self.machine.clone(),
                life: Arc::clone(&self.life),
            },
            id,
            path: path.to_owned(),
            at: 0,
        }
    }
}

impl Disk for Seen {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.operate("reads", path, Needs::Nothing, |state| {
            let id = state.files.find(path)?;
            state.files.file(id).map(|file| file.seen.clone())
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.operate("opens", path, Needs::Nothing, |state| {
            let id = state.files.find(path)?;
            state.files.file(id)?;
            Ok(Box::new(self.opened(state, id, path)) as Box<dyn Read + Send>)
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Write>> {
        self.operate("creates", path, Needs::Room, |state| {
            let id = state.files.make_file(path, true)?;
            Ok(Box::new(self.opened(state, id, path)) as Box<dyn Write>)
        })
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Write>> {
        self.operate("appends to", path, Needs::Room, |state| {
            let id = state.files.make_file(path, false)?;
            Ok(Box::new(self.opened(state, id, path)) as Box<dyn Write>)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate("renames to", to, Needs::Luck, |state| {
            state.files.rename(from, to)
        })
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.operate("exchanges", one, Needs::Luck, |state| {
            state.files.exchange(one, other)
        })
    }

    fn link(&self, existing: &Path, new: &Path) -> io::Result<()> {
        self.operate("links", new, Needs::Luck, |state| {
            let id = state.files.find(existing)?;
            state.files.file(id)?;
            state.files.give_name(id, new)
        })
    }

    fn symlink(&self, target: &Path, new: &Path) -> io::Result<()> {
        self.operate("points", new, Needs::Luck, |state| {
            state.files.make_link(target, new)
        })
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.operate("reads the link", path, Needs::Nothing, |state| {
            let id = state.files.named(path)?.ok_or(io::ErrorKind::NotFound)?;
            match state.files.node(id)? {
                Node::Link(target) => Ok(target.clone()),
                _ => Err(io::ErrorKind::InvalidInput.into()),
            }
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operate("removes", path, Needs::Luck, |state| {
            let id = state.files.named(path)?.ok_or(io::ErrorKind::NotFound)?;
            match state.files.node(id)? {
                Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
                _ => state.files.remove(path),
            }
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        // each file is an operation of its own, as on a real system: the process may die or fail between any two
        for name in self.list(path)? {
            let path = path.join(name);
            match self.metadata(&path)? {
                Some(Metadata::Folder) => self.remove_folder(&path)?,
                Some(_) => self.remove_file(&path)?,
                None => {}
            }
        }
        self.operate("removes", path, Needs::Luck, |state| {
            state.files.remove(path)
        })
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.operate("makes", path, Needs::Nothing, |state| {
            match state.files.find(path) {
                Ok(_) => Ok(()),
                Err(_) if state.full => Err(io::ErrorKind::StorageFull.into()),
                Err(_) => state.files.make_folders(path),
            }
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.operate("lists", folder, Needs::Nothing, |state| {
            let id = state.files.find(folder)?;
            match state.files.node(id)? {
                Node::Folder(folder) => Ok(folder.seen.keys().cloned().collect()),
                _ => Err(io::ErrorKind::NotADirectory.into()),
            }
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.operate("looks at", path, Needs::Nothing, |state| {
            let Some(id) = state.files.named(path)? else {
                return Ok(None);
            };
            Ok(Some(match state.files.node(id)? {
                Node::File(file) => Metadata::File(file.seen.len() as u64),
                Node::Folder(_) => Metadata::Folder,
                Node::Link(_) => Metadata::Link,
            }))
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.operate("flushes", folder, Needs::Luck, |state| match state.deaf {
            true => Err(io::Error::other("input/output error")),
            false => state.files.sync_folder(folder),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.operate("locks", path, Needs::Room, |state| {
            state.files.make_file(path, false)?;
            state.locks.retain(|(_, holder)| !holder.is_dead());
            if state.locks.iter().any(|(locked, _)| locked == path) {
                return Ok(None);
            }
            state.locks.push((path.to_owned(), Arc::clone(&self.life)));
            Ok(Some(Lock::new(Held {
                machine: self.machine.clone(),
                path: path.to_owned(),
                life: Arc::clone(&self.life),
            })))
        })
    }
}

/// A lock, which is released when this is dropped.
struct Held {
    machine: Machine,
    path: PathBuf,
    life: Arc<Life>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.machine.state();
        state
            .locks
            .retain(|(path, life)| *path != self.path || !Arc::ptr_eq(life, &self.life));
    }
}

/// An open file.
struct Opened {
    seen: Seen,
    id: Id,
    path: PathBuf,
    at: usize,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.seen.life.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (id, at) = (self.id, self.at);
        let read = self
            .seen
            .operate("reads", &self.path, Needs::Nothing, |state| {
                let file = state.files.file(id)?;
                let rest = file.seen.get(at..).unwrap_or_default();
                let read = rest.len().min(buffer.len());
                buffer[..read].copy_from_slice(&rest[..read]);
                Ok(read)
            })?;
        self.at += read;
        Ok(read)
    }
}

impl io::Write for Opened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let id = self.id;
        let machine = self.seen.machine.clone();
        self.seen
            .operate("writes", &self.path, Needs::Luck, |state| {
                // a full disk takes a part of the bytes, then fails
                let most = match state.full {
                    true => machine.world.roll(|dice| dice.index(bytes.len())),
                    false => bytes.len(),
                };
                if most == 0 && !bytes.is_empty() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                state.files.file(id)?.seen.extend_from_slice(&bytes[..most]);
                Ok(most)
            })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Opened {
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let id = self.id;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.seen.operate("cuts", &self.path, Needs::Luck, |state| {
            state.files.file(id)?.set_len(length);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let id = self.id;
        let synced = self
            .seen
            .operate("flushes", &self.path, Needs::Luck, |state| {
                state.files.file(id)?.sync();
                Ok(())
            });
        if synced.is_err()
            && !self.seen.life.is_dead()
            && let Ok(file) = self.seen.machine.state().files.file(id)
        {
            file.fail_sync();
        }
        synced
    }
}
