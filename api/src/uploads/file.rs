//! The files of an upload, written to disk as they arrive.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use autoconnect_common::JobId;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncWriteExt as _, BufWriter};

use super::FIELD;
use crate::app::App;
use crate::body;
use crate::problem::Problem;

/// The folder of uploads, in the data folder.
const UPLOADS: &str = "incoming";
/// The suffix of the name of an unfinished file.
pub(super) const UNFINISHED: &str = "part";
/// The longest name of a file, in bytes. File systems allow 255; the rest is room for the number of a duplicate.
const MAX_NAME: usize = 80;
/// The suffixes that the name of a file may have; any other name gets the first.
const ENDINGS: [&str; 5] = [".csv", ".csv.gz", ".csv.zst", ".txt", ".tsv"];
/// The name of an upload without one.
const UNNAMED: &str = "envoi.csv";
/// How many bytes are collected and written at once: a system call for each MiB costs nothing beside the network.
const WRITE: usize = 1 << 20;

/// The folder of all uploads.
pub(super) fn uploads(app: &App) -> PathBuf {
    app.config.api.data.join(UPLOADS)
}

/// Refuses a body whose `Content-Length` is too large, before it is read.
pub(super) fn check_length(app: &App, headers: &HeaderMap, beside: u64) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| {
        let length = length.to_str().ok()?;
        length.parse::<u64>().ok()
    });
    if length.is_some_and(|length| length > app.config.api.max_upload.saturating_add(beside)) {
        return Err(over_limit(app));
    }
    Ok(())
}

fn over_limit(app: &App) -> Problem {
    let most = app.config.api.max_upload;
    body::too_large(format!(
        "un envoi de {most} octets au plus est accepté, tous fichiers compris"
    ))
}

/// The received files, removed with their folder unless they are kept.
pub(super) struct Upload {
    /// The job that reads the files.
    pub(super) job: JobId,
    folder: PathBuf,
    /// The files, in the order of arrival.
    pub(super) files: Vec<PathBuf>,
    /// The bytes of all files.
    length: u64,
}

impl Upload {
    /// An upload for this job, without files yet.
    pub(super) fn new(app: &App, job: JobId) -> Self {
        Self {
            folder: uploads(app).join(job.as_str()),
            job,
            files: Vec::new(),
            length: 0,
        }
    }

    /// A cleaned name for the next file, which no earlier file has.
    fn name(&self, name: &str) -> String {
        let name = clean(name);
        let is_taken = |name: &str| self.files.contains(&self.folder.join(name));
        if !is_taken(&name) {
            return name;
        }
        let mut names = (2..).map(|n| format!("{n}-{name}"));
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }

    /// Writes a file of this name to disk as it arrives; calls `taken` with every part.
    pub(super) async fn receive<E: Error + 'static>(
        &mut self,
        app: &App,
        name: &str,
        parts: impl Stream<Item = Result<Bytes, E>>,
        taken: impl Fn(&Bytes),
    ) -> Result<(), Problem> {
        tokio::fs::create_dir_all(&self.folder)
            .await
            .map_err(unwritten)?;
        let name = self.name(name);
        let unfinished = self.folder.join(format!("{name}.{UNFINISHED}"));
        let file = tokio::fs::File::create_new(&unfinished).await;
        let mut file = BufWriter::with_capacity(WRITE, file.map_err(unwritten)?);
        let mut parts = std::pin::pin!(parts);
        let before = self.length;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| body::unreadable(&error))?;
            taken(&part);
            self.length += part.len() as u64;
            if self.length > app.config.api.max_upload {
                return Err(over_limit(app));
            }
            app.metrics.uploaded(part.len() as u64);
            file.write_all(&part).await.map_err(unwritten)?;
        }
        if self.length == before {
            let detail = format!("le fichier {name} est vide");
            return Err(Problem::bad(FIELD, detail));
        }
        file.flush().await.map_err(unwritten)?;
        let file = self.folder.join(name);
        tokio::fs::rename(&unfinished, &file)
            .await
            .map_err(unwritten)?;
        self.files.push(file);
        Ok(())
    }

    /// Keeps the files when the upload is dropped.
    pub(super) fn keep(mut self) {
        self.folder.clear();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            remove(&self.folder);
        }
    }
}

/// Removes a folder of uploads; a missing one is no error.
pub(super) fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "an upload cannot be removed");
        }
    }
}

/// The problem of a file that cannot be written.
#[expect(clippy::needless_pass_by_value, reason = "map_err passes it by value")]
fn unwritten(error: io::Error) -> Problem {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    tracing::error!(%error, "an upload cannot be written");
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "Disque plein",
            "le serveur n’a plus de place pour ce fichier",
        ),
        _ => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Écriture impossible",
            "le serveur ne peut pas écrire ce fichier\u{a0}; la cause est dans son journal",
        ),
    }
}

/// A safe name for a file, close to the one that the client sent: its last component, of letters, digits, `.`, `_` and `-`
/// only, at most [`MAX_NAME`] bytes, with one of [`ENDINGS`].
fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let lower = plain.to_ascii_lowercase();
    let known = ENDINGS.iter().filter(|&&ending| lower.ends_with(ending));
    let ending = known.max_by_key(|ending| ending.len());
    let (stem, ending) = match ending {
        Some(ending) => (&plain[..plain.len() - ending.len()], *ending),
        None => (plain.as_str(), ENDINGS[0]),
    };
    let stem = stem.trim_start_matches(['.', '-']);
    let mut most = stem.len().min(MAX_NAME - ending.len());
    while !stem.is_char_boundary(most) {
        most -= 1;
    }
    match &stem[..most] {
        "" => UNNAMED.to_owned(),
        stem => format!("{stem}{ending}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_what_it_was_as_far_as_it_is_safe() {
        for (name, expected) in [
            ("ventes.csv", "ventes.csv"),
            ("Ventes été 2024 (1).CSV", "Ventes_été_2024__1_.csv"),
            ("a.csv.gz", "a.csv.gz"),
            ("a.tsv", "a.tsv"),
            ("a.zip", "a.zip.csv"),
            ("../../etc/passwd", "passwd.csv"),
            ("C:\\Users\\moi\\x.txt", "x.txt"),
            ("..", UNNAMED),
            (".csv", UNNAMED),
            ("", UNNAMED),
            ("-", UNNAMED),
            ("a\0b\n.csv", "a_b_.csv"),
        ] {
            assert_eq!(clean(name), expected, "{name:?}");
        }
        let long = clean(&"é".repeat(500));
        assert!(long.len() <= MAX_NAME && long.ends_with("é.csv"), "{long}");
    }
}
