//! Writes files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The temporary name a file has until it is whole.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Writes `bytes` to `path`: under a temporary name, flushed to disk, then renamed. Missing folders are made.
///
/// # Errors
/// What the system said; the file at `path` is then the old one, untouched.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = temporary(path);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&unfinished, path)
}

/// Makes `path` a second name of the whole file `existing` (or a copy, where the file system has no links), replacing
/// what was there at once.
///
/// # Errors
/// What the system said; the file at `path` is then the old one, untouched.
pub fn link_whole(existing: &Path, path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = temporary(path);
    let _ = fs::remove_file(&unfinished);
    if fs::hard_link(existing, &unfinished).is_err() {
        fs::copy(existing, &unfinished)?;
        File::open(&unfinished)?.sync_data()?;
    }
    fs::rename(&unfinished, path)?;
    // renaming one name of a file onto another name of the same file does nothing, and leaves both
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Flushes a folder, so that the names in it survive a power cut.
///
/// # Errors
/// What the system said.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("autoconnect-files-{}", std::process::id()));
        write_whole(&folder.join("a/b.json"), b"old")?;
        write_whole(&folder.join("a/b.json"), b"new")?;
        link_whole(&folder.join("a/b.json"), &folder.join("c.json"))?;
        link_whole(&folder.join("a/b.json"), &folder.join("c.json"))?;
        sync_folder(&folder)?;
        assert_eq!(fs::read(folder.join("c.json"))?, b"new");
        assert_eq!(fs::read_dir(folder.join("a"))?.count(), 1);
        assert_eq!(fs::read_dir(&folder)?.count(), 2);
        fs::remove_dir_all(folder)
    }
}
