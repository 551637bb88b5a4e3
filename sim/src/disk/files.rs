//! The files of a disk: their current content, and the durable content that would survive a power cut.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::dice::Dice;

pub(super) type Id = u64;

/// The most symbolic links that a path is followed through.
const LINKS: usize = 8;

/// A node of the file system.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(File),
    Folder(Folder),
    Link(PathBuf),
}

/// A file: its content as readers see it, and its durable content.
#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub(super) seen: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// The bytes that a failed flush lost: as on Linux, the next flush does not write them unless they are written again.
    pub(super) lost: Option<(usize, usize)>,
}

/// A folder: its current names, and its durable names.
#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    pub(super) seen: BTreeMap<OsString, Id>,
    durable: BTreeMap<OsString, Id>,
}

/// Names that change together: for each a folder, a name in it, and the node that has the name afterwards.
type Change = Vec<(Id, OsString, Option<Id>)>;

/// All files of one machine.
#[derive(Debug)]
pub(super) struct Files {
    nodes: BTreeMap<Id, Node>,
    /// Changes that are not durable yet, in order.
    pending: Vec<Change>,
    next: Id,
}

const ROOT: Id = 0;

impl Default for Files {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Folder(Folder::default()))]),
            pending: Vec::new(),
            next: 1,
        }
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Files {
    fn add(&mut self, node: Node) -> Id {
        self.next += 1;
        self.nodes.insert(self.next, node);
        self.next
    }

    pub(super) fn node(&self, id: Id) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(not_found)
    }

    pub(super) fn file(&mut self, id: Id) -> io::Result<&mut File> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(not_found()),
        }
    }

    fn folder(&self, id: Id) -> io::Result<&Folder> {
        match self.nodes.get(&id) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn child(&self, folder: Id, name: &OsStr) -> io::Result<Option<Id>> {
        Ok(self.folder(folder)?.seen.get(name).copied())
    }

    /// The folder of `path`, and its name there.
    pub(super) fn place(&self, path: &Path) -> io::Result<(Id, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.find(parent)?, name.to_owned()))
    }

    /// The node at `path`, with links followed.
    pub(super) fn find(&self, path: &Path) -> io::Result<Id> {
        self.walk(path, LINKS)
    }

    fn walk(&self, path: &Path, links: usize) -> io::Result<Id> {
        let mut here = vec![ROOT];
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => {
                    here.pop();
                    continue;
                }
                Component::Normal(name) => name,
            };
            let folder = here.last().copied().unwrap_or(ROOT);
            let id = self.child(folder, name)?.ok_or_else(not_found)?;
            match self.node(id)? {
                Node::Link(target) => {
                    let loops = || io::Error::other("too many symbolic links");
                    let links = links.checked_sub(1).ok_or_else(loops)?;
                    let target = match target.is_absolute() {
                        true => target.clone(),
                        false => self.path_of(folder)?.join(target),
                    };
                    here.push(self.walk(&target, links)?);
                }
                _ => here.push(id),
            }
        }
        Ok(here.last().copied().unwrap_or(ROOT))
    }

    /// The path of a folder.
    fn path_of(&self, folder: Id) -> io::Result<PathBuf> {
        let mut path = Vec::new();
        let mut at = folder;
        while at != ROOT {
            let parent = self.nodes.iter().find_map(|(id, node)| match node {
                Node::Folder(parent) => {
                    let named = parent.seen.iter().find(|(_, child)| **child == at);
                    named.map(|(name, _)| (*id, name.clone()))
                }
                _ => None,
            });
            let (parent, name) = parent.ok_or_else(not_found)?;
            path.push(name);
            at = parent;
        }
        Ok(Path::new("/").join(path.iter().rev().collect::<PathBuf>()))
    }

    /// The node at `path`, with a link at its end not followed.
    pub(super) fn named(&self, path: &Path) -> io::Result<Option<Id>> {
        if path.parent().is_none() {
            return Ok(Some(ROOT));
        }
        match self.place(path) {
            Ok((folder, name)) => self.child(folder, &name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn change(&mut self, change: Change) {
        for (folder, name, node) in &change {
            if let Some(Node::Folder(folder)) = self.nodes.get_mut(folder) {
                match node {
                    Some(id) => folder.seen.insert(name.clone(), *id),
                    None => folder.seen.remove(name),
                };
            }
        }
        self.pending.push(change);
    }

    /// The file at `path`, which is created if there is none.
    pub(super) fn make_file(&mut self, path: &Path, empty: bool) -> io::Result<Id> {
        if let Ok(id) = self.find(path) {
            let file = self.file(id)?;
            if empty {
                file.seen.clear();
                file.lost = None;
            }
            return Ok(id);
        }
        let (folder, name) = self.place(path)?;
        let id = self.add(Node::File(File::default()));
        self.change(vec![(folder, name, Some(id))]);
        Ok(id)
    }

    pub(super) fn make_folders(&mut self, path: &Path) -> io::Result<()> {
        let mut at = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            let folder = self.find(&at)?;
            at.push(name);
            match self.find(&at) {
                Ok(id) => self.folder(id).map(drop)?,
                Err(_) => {
                    let id = self.add(Node::Folder(Folder::default()));
                    self.change(vec![(folder, name.to_owned(), Some(id))]);
                }
            }
        }
        Ok(())
    }

    pub(super) fn make_link(&mut self, target: &Path, new: &Path) -> io::Result<()> {
        let id = self.add(Node::Link(target.to_owned()));
        self.give_name(id, new)
    }

    pub(super) fn give_name(&mut self, id: Id, new: &Path) -> io::Result<()> {
        let (folder, name) = self.place(new)?;
        if self.child(folder, &name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(vec![(folder, name, Some(id))]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.named(from)?.ok_or_else(not_found)?;
        let (old, old_name) = self.place(from)?;
        let (new, new_name) = self.place(to)?;
        if let Some(replaced) = self.child(new, &new_name)? {
            if replaced == id {
                return Ok(());
            }
            if let Node::Folder(folder) = self.node(replaced)? {
                let folder_moves = matches!(self.node(id)?, Node::Folder(_));
                if !folder_moves || !folder.seen.is_empty() {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
            }
        }
        self.change(vec![(old, old_name, None), (new, new_name, Some(id))]);
        Ok(())
    }

    pub(super) fn exchange(&mut self, one: &Path, other: &Path) -> io::Result<()> {
        let a = self.named(one)?.ok_or_else(not_found)?;
        let b = self.named(other)?.ok_or_else(not_found)?;
        let (a_folder, a_name) = self.place(one)?;
        let (b_folder, b_name) = self.place(other)?;
        self.change(vec![
            (a_folder, a_name, Some(b)),
            (b_folder, b_name, Some(a)),
        ]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        self.child(folder, &name)?.ok_or_else(not_found)?;
        self.change(vec![(folder, name, None)]);
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let synced = self.find(path)?;
        self.folder(synced)?;
        let pending = std::mem::take(&mut self.pending);
        for change in pending {
            if change.iter().any(|(folder, _, _)| *folder == synced) {
                self.make_durable(&change);
            } else {
                self.pending.push(change);
            }
        }
        Ok(())
    }

    fn make_durable(&mut self, change: &Change) {
        for (folder, name, node) in change {
            if let Some(Node::Folder(folder)) = self.nodes.get_mut(folder) {
                match node {
                    Some(id) => folder.durable.insert(name.clone(), *id),
                    None => folder.durable.remove(name),
                };
            }
        }
    }

    /// Cuts the power: of the changes that were not flushed, a random part becomes durable.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        for change in std::mem::take(&mut self.pending) {
            if dice.chance(50) {
                self.make_durable(&change);
            }
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::Folder(folder) => folder.seen = folder.durable.clone(),
                Node::File(file) => file.crash(dice),
                Node::Link(_) => {}
            }
        }
    }

    /// The paths of all files below `folder` that are not empty.
    pub(super) fn paths(&self, folder: &Path) -> Vec<PathBuf> {
        let (mut paths, mut folders) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(path) = folders.pop() {
            let Ok(Some(Node::Folder(folder))) = self
                .named(&path)
                .map(|id| id.and_then(|id| self.nodes.get(&id)))
            else {
                continue;
            };
            for (name, id) in &folder.seen {
                match self.nodes.get(id) {
                    Some(Node::Folder(_)) => folders.push(path.join(name)),
                    Some(Node::File(file)) if !file.seen.is_empty() => paths.push(path.join(name)),
                    _ => {}
                }
            }
        }
        paths.sort();
        paths
    }
}

impl File {
    pub(super) fn set_len(&mut self, length: usize) {
        self.seen.resize(length, 0);
        self.lost = self
            .lost
            .map(|(start, end)| (start, end.min(length)))
            .filter(|(start, end)| start < end);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.seen);
        if let Some((start, end)) = self.lost {
            self.durable[start..end].fill(0);
        }
    }

    /// Fails a flush as Linux does: the bytes written since the last flush count as clean, but are not on the disk.
    pub(super) fn fail_sync(&mut self) {
        let start = self.lost.map_or(self.durable.len(), |(start, _)| start);
        if start < self.seen.len() {
            self.lost = Some((start, self.seen.len()));
        }
    }

    fn crash(&mut self, dice: &mut Dice) {
        if self.seen != self.durable {
            let kept = match dice.below(3) {
                0 => self.durable.clone(),
                1 if self.lost.is_none() => self.seen.clone(),
                _ if self.seen.starts_with(&self.durable) => {
                    let end = self.lost.map_or(self.seen.len(), |(start, _)| start);
                    let start = self.durable.len().min(end);
                    self.seen[..start + dice.index(end - start + 1)].to_vec()
                }
                _ => self.durable.clone(),
            };
            self.seen = kept;
        }
        self.lost = None;
        self.durable.clone_from(&self.seen);
    }
}
