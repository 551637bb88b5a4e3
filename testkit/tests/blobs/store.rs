//! A blob store as its roles see it, and its files behind their back: a folder, or a bucket of an S3 server in this process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use autoconnect_common::blob::{Blobs, Place};
use tempfile::TempDir;

use crate::server::Server;

/// A store.
pub(crate) struct Store {
    folder: TempDir,
    server: Option<Server>,
}

impl Store {
    /// In a folder.
    pub(crate) fn folder() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("store"))?;
        Ok(Self {
            folder,
            server: None,
        })
    }

    /// In a bucket.
    pub(crate) async fn s3() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(folder.path()).await?;
        Ok(Self {
            folder,
            server: Some(server),
        })
    }

    /// One of each.
    pub(crate) async fn each() -> Result<[Self; 2]> {
        Ok([Self::folder()?, Self::s3().await?])
    }

    /// The store, as a role opens it.
    pub(crate) fn open(&self, max: u64) -> Result<Blobs> {
        match &self.server {
            None => Ok(Blobs::open(&Place::folder(self.files()), max)?),
            Some(server) => server.open(max),
        }
    }

    /// The folder that its files are in.
    pub(crate) fn files(&self) -> PathBuf {
        match &self.server {
            None => self.folder.path().join("store"),
            Some(server) => server.files(),
        }
    }

    /// Every body in it.
    pub(crate) fn bodies(&self) -> Vec<PathBuf> {
        bodies(&self.files())
    }

    /// Takes the store away: a volume that is not mounted, a server that drops every connection.
    pub(crate) fn go(&self) -> Result<()> {
        match &self.server {
            None => {
                fs::rename(self.files(), self.aside())?;
                fs::create_dir(self.files())?;
            }
            Some(server) => server.go(),
        }
        Ok(())
    }

    /// Brings it back as it was.
    pub(crate) fn come_back(&self) -> Result<()> {
        match &self.server {
            None => {
                fs::remove_dir(self.files())?;
                fs::rename(self.aside(), self.files())?;
            }
            Some(server) => server.come_back(),
        }
        Ok(())
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("aside")
    }
}

fn bodies(files: &Path) -> Vec<PathBuf> {
    let jobs = fs::read_dir(files.join("jobs")).into_iter().flatten();
    let files = jobs.flatten().flat_map(|job| fs::read_dir(job.path()));
    let mut files: Vec<PathBuf> = files.flatten().flatten().map(|file| file.path()).collect();
    files.retain(|file| !file.ends_with("ended"));
    files.sort();
    files
}
