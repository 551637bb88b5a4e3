//! Restores a job from disk: its snapshot, then its journals in order.
//!
//! A damaged record is never counted and never hides a good one: the job records the damage ([`Job::note_damage`]), merges
//! the rest, and waits for what is missing to be redelivered. If it is not, the job's end says that it may have been lost
//! here.

use std::io;
use std::path::{Path, PathBuf};

use autoconnect_common::disk::Disk;
use autoconnect_common::{Digest, Format, JobId, Registry};
use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::job::{Absorbed, Job, Snapshot};
use crate::journal::Replay;
use crate::store::stored_page;

/// The version of a snapshot.
const VERSION: u32 = 1;

/// A snapshot as it is on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    #[serde(default = "first_version")]
    version: u32,
    /// The number of the journal that continues from this snapshot.
    journal: u64,
    job: Snapshot,
}

/// The version of a snapshot that names none.
fn first_version() -> u32 {
    1
}

impl Stored {
    /// A snapshot that journal `journal` continues.
    pub(crate) fn new(journal: u64, job: Snapshot) -> Self {
        Self {
            version: VERSION,
            journal,
            job,
        }
    }
}

/// A restored job.
pub(crate) struct Replayed {
    pub(crate) job: Job,
    /// The number of the first journal since its snapshot.
    pub(crate) first: u64,
    /// The number of the next journal to write.
    pub(crate) next: u64,
    /// Bytes of all its journals.
    pub(crate) length: u64,
}

/// Where a journal of a job is.
pub(crate) fn journal_path(job_folder: &Path, number: u64) -> PathBuf {
    job_folder.join(format!("journal.{number}"))
}

/// The journals of a job, by number.
pub(crate) fn journals(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for name in disk.list(folder)? {
        let number = name.to_str().and_then(|n| n.strip_prefix("journal."));
        let number = number.and_then(|number| number.parse().ok());
        journals.extend(number.map(|number| (number, folder.join(&name))));
    }
    journals.sort();
    Ok(journals)
}

/// Restores a job; `None` where nothing of it is on disk.
///
/// # Errors
/// The error of the file system; [`io::ErrorKind::Unsupported`] for a journal or a snapshot of an unknown version, and
/// for a job of a format that this program does not know.
pub(crate) fn replay(
    disk: &dyn Disk,
    id: &JobId,
    folder: &Path,
    registry: &Registry,
) -> io::Result<Option<Replayed>> {
    let (first, mut job) = match read_snapshot(disk, folder)? {
        Ok(None) => (0, Job::new(id.clone())),
        Ok(Some(stored)) => {
            check_known(id, stored.job.format(), registry)?;
            match Job::restore(id.clone(), stored.job, registry) {
                Ok(job) => (stored.journal, job),
                Err(why) => (stored.journal, lost(id, &why)),
            }
        }
        Err(why) => (0, lost(id, &why)),
    };
    let (mut next, mut length) = (first, 0);
    for (number, path) in journals(disk, folder)? {
        next = next.max(number.saturating_add(1));
        if number < first {
            let _stays = disk.remove(&path);
            continue;
        }
        let replay = Replay::read(disk, &path)?;
        length += replay.len();
        if let Some(damage) = replay.damage() {
            let damage = format!("{}: {damage}", path.display());
            if replay.is_damaged() {
                tracing::error!(job_id = %id, damage, "journal is damaged; the job goes on without what was there");
            } else {
                tracing::warn!(job_id = %id, damage, "the end of a journal is torn");
            }
            job.note_damage(&damage, replay.is_damaged());
        }
        for payload in replay.payloads() {
            redo(id, &mut job, payload, registry)?;
        }
    }
    lose_damaged_pages(disk, &mut job, folder);
    if job.is_blank() {
        // pages that no journal names, a header that nothing followed: nothing of it was acknowledged
        disk.remove(folder)?;
        return Ok(None);
    }
    Ok(Some(Replayed {
        job,
        first,
        next,
        length,
    }))
}

/// Has the job wait again for damaged or missing pages, where it can be requested again. The end of any other job names
/// the damaged side file.
fn lose_damaged_pages(disk: &dyn Disk, job: &mut Job, folder: &Path) {
    for (name, number, digest) in job.pages_to_redo() {
        let page = stored_page(folder, &name, number, digest);
        // a page that cannot be read now may be readable at the job's end
        if let Ok(false) = page.copy_to(disk, &mut io::sink()) {
            job.lose_page(&name, number);
        }
    }
}

/// A job whose snapshot is damaged: it cannot be restored, so it fails, with a reason.
fn lost(id: &JobId, why: &str) -> Job {
    tracing::error!(job_id = %id, error = why, "state of a job is damaged");
    let mut job = Job::new(id.clone());
    job.give_up(format!(
        "the reducer's state of the job is damaged, and what was merged is lost: {why}; the job can be asked for again"
    ));
    job
}

/// The snapshot of a job, if there is one; the inner error says how it is damaged.
fn read_snapshot(disk: &dyn Disk, folder: &Path) -> io::Result<Result<Option<Stored>, String>> {
    let path = folder.join("snapshot");
    let bytes = match disk.read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        read => read?,
    };
    let split = bytes.iter().position(|&b| b == b'\n').unwrap_or(0);
    let (digest, json) = bytes.split_at(split);
    let json = json.get(1..).unwrap_or_default();
    if digest != Digest::of(json).to_string().as_bytes() {
        return Ok(Err(format!(
            "{} does not have the digest it says",
            path.display()
        )));
    }
    /// What every version of a snapshot says.
    #[derive(Deserialize)]
    struct Version {
        #[serde(default = "first_version")]
        version: u32,
    }
    match serde_json::from_slice::<Version>(json) {
        Ok(Version { version }) if version != VERSION => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "{}: found version {version}, expected {VERSION}: another version of the program wrote it",
                path.display()
            ),
        )),
        _ => Ok(serde_json::from_slice(json)
            .map(Some)
            .map_err(|error| format!("{}: {error}", path.display()))),
    }
}

/// Refuses a job of an unknown format: it would fail here, and another version of the program can continue it.
fn check_known(id: &JobId, format: Option<&Format>, registry: &Registry) -> io::Result<()> {
    let Some(Format { kind, schema }) = format else {
        return Ok(());
    };
    registry.known(kind, *schema).map(|_| ()).map_err(|why| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!("job {id} is of {why}: another version of the program works at it"),
        )
    })
}

/// Replays one entry of a journal.
fn redo(id: &JobId, job: &mut Job, payload: &[u8], registry: &Registry) -> io::Result<()> {
    let entry = match serde_json::from_slice::<Entry<'_>>(payload) {
        Ok(entry) => entry,
        Err(error) => {
            job.give_up(format!(
                "the reducer's journal of the job cannot be read: {error}"
            ));
            return Ok(());
        }
    };
    check_known(id, entry.format().as_ref(), registry)?;
    match job.absorb(&entry, registry) {
        Absorbed::News | Absorbed::Duplicate | Absorbed::Renewed => {}
        Absorbed::Refused(why) | Absorbed::Stale(why) => {
            tracing::warn!(why, "entry of the journal refused");
        }
        Absorbed::Harmful(entry) | Absorbed::Last(entry) => {
            tracing::warn!(?entry, "entry of the journal is harmful")
        }
    }
    Ok(())
}
