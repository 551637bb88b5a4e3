//! The newest report, in memory: read again whenever `results/report.json` is another file, swapped as a whole.
//!
//! A file that cannot be read, is half written or is no report of this kind never replaces a good one; it is named once
//! in the log.

use std::convert::Infallible;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use autoconnect_common::Digest;
use autoconnect_common::kind::REPORT;
use autoconnect_jobs::sales::Report;
use tokio::sync::watch;

use crate::problem::Problem;
use crate::reads::Answers;
use crate::rejects::Source;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The largest report that is read, in bytes.
const MAX_REPORT: u64 = 256 << 20;

/// A report, as it was when it was read.
#[derive(Debug)]
pub struct Edition {
    /// The report.
    pub report: Report,
    /// `report.json`, byte for byte.
    pub bytes: bytes::Bytes,
    /// Its entity tag, in quotes: the digest of the bytes.
    pub etag: String,
    /// When it was written.
    pub written: SystemTime,
    /// What was answered from it.
    pub(crate) answers: Answers,
    /// The rows it refused.
    pub(crate) rejects: Source,
}

/// The newest report, if there is one.
pub struct Newest {
    file: PathBuf,
    edition: RwLock<Option<Arc<Edition>>>,
    /// The file that was looked at last.
    seen: RwLock<Option<Seen>>,
    changed: watch::Sender<()>,
}

/// What tells one file from the next without reading it.
pub(crate) type Seen = (u64, SystemTime, u64);

impl Newest {
    /// The newest report of a folder of results, if there is one.
    pub fn new(results: &Path) -> Self {
        let newest = Self {
            file: results.join(REPORT),
            edition: RwLock::default(),
            seen: RwLock::default(),
            changed: watch::channel(()).0,
        };
        newest.look();
        newest
    }

    /// The newest report.
    ///
    /// # Errors
    /// [`Problem::no_report`], while there is none.
    pub fn get(&self) -> Result<Arc<Edition>, Problem> {
        let edition = self.edition.read().unwrap_or_else(PoisonError::into_inner);
        edition.clone().ok_or_else(Problem::no_report)
    }

    /// The folder that the report is in.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Tells of every new edition.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Looks at the file, and reads it if it is another one.
    fn look(&self) {
        let seen = std::fs::metadata(&self.file).ok().map(|file| told(&file));
        {
            let mut before = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            if *before == seen {
                return;
            }
            *before = seen;
        }
        // removed by hand: what was good stays
        if seen.is_none() {
            return;
        }
        match read(&self.file) {
            Ok(edition) => {
                let edition = Some(Arc::new(edition));
                *self.edition.write().unwrap_or_else(PoisonError::into_inner) = edition;
                self.changed.send_replace(());
            }
            Err(error) => {
                tracing::error!(file = %self.file.display(), %error, "report not taken over");
            }
        }
    }
}

#[cfg(unix)]
pub(crate) fn told(file: &Metadata) -> Seen {
    use std::os::unix::fs::MetadataExt as _;
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    (file.ino(), modified, file.len())
}

#[cfg(not(unix))]
pub(crate) fn told(file: &Metadata) -> Seen {
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    (0, modified, file.len())
}

fn read(file: &Path) -> io::Result<Edition> {
    let metadata = std::fs::metadata(file)?;
    if metadata.len() > MAX_REPORT {
        let sentence = format!("{} bytes, expected at most {MAX_REPORT}", metadata.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
    }
    let bytes = std::fs::read(file)?;
    Ok(Edition {
        report: serde_json::from_slice(&bytes)?,
        etag: format!("\"{}\"", Digest::of(&bytes).short(32)),
        bytes: bytes.into(),
        written: metadata.modified()?,
        answers: Answers::default(),
        rejects: Source::of(file, &metadata),
    })
}

/// Looks at the file for as long as it is asked.
pub(crate) async fn watch(app: &crate::Shared) -> Infallible {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        let app = Arc::clone(app);
        // a large report takes a while to parse
        let _done = tokio::task::spawn_blocking(move || app.newest.look()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(villes: &str) -> String {
        let report = Report {
            villes: vec![villes.to_owned()],
            ..Report::default()
        };
        serde_json::to_string(&report).expect("JSON")
    }

    #[test]
    fn a_broken_file_never_replaces_a_good_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(REPORT);
        let newest = Newest::new(folder.path());
        let villes = || newest.get().map(|edition| edition.report.villes.clone());
        let put = |text: &str| {
            let other = folder.path().join("new");
            std::fs::write(&other, text).expect("written");
            std::fs::rename(&other, &file).expect("renamed");
            newest.look();
        };
        assert_eq!(villes(), Err(Problem::no_report()));
        put(&report("Lyon"));
        assert_eq!(villes(), Ok(vec!["Lyon".to_owned()]));
        let half = &report("Paris")[..100];
        for broken in [
            "",
            "{}",
            half,
            &report("Paris").replace("sales/1", "sales/2"),
        ] {
            put(broken);
            assert_eq!(villes(), Ok(vec!["Lyon".to_owned()]), "{broken:?}");
        }
        std::fs::remove_file(&file).expect("removed");
        newest.look();
        assert_eq!(villes(), Ok(vec!["Lyon".to_owned()]));
        put(&report("Nice"));
        assert_eq!(villes(), Ok(vec!["Nice".to_owned()]));
    }
}
