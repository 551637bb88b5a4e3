//! Reports in memory: the newest of each kind, and a few of single jobs. A report in memory is called an edition.
//!
//! The link to the newest report of each kind ([`Results::newest_folder`]) is polled. It is resolved once for each edition,
//! and an edition is replaced as a whole, so all its files are of one job. Results of the oldest layout have `report.json`
//! itself at the root; such a report has no job.
//!
//! A file that cannot be read, is half written or is no report of its kind never replaces a good one; it is logged once.
//! The reports of other jobs are read on request; at most [`KEPT`] of them, and [`KEPT_BYTES`], stay in memory.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use autoconnect_common::execution::Execution;
use autoconnect_common::kind::REPORT;
use autoconnect_common::results::{EXECUTION, Results};
use autoconnect_common::{Digest, JobId, disk};
use bytes::Bytes;
use tokio::sync::watch;

use crate::answers::Answers;
use crate::problem::Problem;

/// The folder with one folder of results for each job.
const JOBS: &str = "jobs";
/// How often the newest report is polled, besides at the end of each job: a report that a person puts there by hand shows
/// without a noticeable delay.
const LOOK: Duration = Duration::from_millis(250);
/// The largest report that is read, in bytes: twice the figures that a job may have.
const MAX_REPORT: u64 = 256 << 20;
/// How many reports of single jobs stay in memory: a person compares a few.
pub const KEPT: usize = 8;
/// The most bytes of these reports, as JSON; parsed they take a few times as much. The one that was requested last always
/// stays.
pub const KEPT_BYTES: usize = 32 << 20;

/// Reads the reports of one kind of job.
pub trait ReadReport: Send + Sync {
    /// The name of the kind.
    fn kind(&self) -> &'static str;

    /// Whether the files of its newest report are also at the root of the folder of results.
    fn at_root(&self) -> bool;

    /// Reads a report: `bytes` is its `report.json`, and `folder` has the other files of its job. Blocks.
    ///
    /// # Errors
    /// [`io::Error`] for bytes that are no report of this kind.
    fn read(&self, bytes: &Bytes, folder: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// A report in memory.
pub struct Edition {
    /// The job that made it; unknown where the job's folder was removed.
    pub job: Option<JobId>,
    /// The kind of that job.
    pub kind: &'static str,
    /// The report, as its kind keeps it in memory.
    report: Box<dyn Any + Send + Sync>,
    /// `report.json`, byte for byte.
    pub bytes: Bytes,
    /// Its entity tag, in quotes: the digest of the bytes.
    pub etag: String,
    /// When `report.json` was written.
    pub written: SystemTime,
    /// The responses made from it.
    pub(crate) answers: Answers,
}

impl Edition {
    /// The report, as its kind keeps it in memory; `None` if `R` is not that type.
    pub fn report<R: 'static>(&self) -> Option<&R> {
        self.report.downcast_ref()
    }
}

/// The reports of a folder of results.
pub struct Editions {
    results: PathBuf,
    readers: Vec<Arc<dyn ReadReport>>,
    /// By kind.
    newest: RwLock<BTreeMap<&'static str, Arc<Edition>>>,
    /// The file of each kind that was read last. Locked while one is read, so that a concurrent look waits for the report.
    seen: Mutex<BTreeMap<&'static str, (PathBuf, Seen)>>,
    kept: Mutex<VecDeque<(Seen, Arc<Edition>)>>,
    /// Locked while the report of a single job is read: one at a time.
    reading: Mutex<()>,
    changed: watch::Sender<()>,
}

/// Identifies the version of a file without reading it.
pub(crate) type Seen = (u64, SystemTime, u64);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Editions {
    /// The reports in this folder of results, of the kinds that `readers` read.
    pub fn new(results: &Path, readers: Vec<Arc<dyn ReadReport>>) -> Self {
        let editions = Self {
            results: results.to_owned(),
            readers,
            newest: RwLock::default(),
            seen: Mutex::default(),
            kept: Mutex::default(),
            reading: Mutex::default(),
            changed: watch::channel(()).0,
        };
        editions.look();
        editions
    }

    /// The newest report of a kind.
    ///
    /// # Errors
    /// [`Problem::no_report`], while there is none.
    pub fn newest(&self, kind: &str) -> Result<Arc<Edition>, Problem> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.get(kind).cloned().ok_or_else(Problem::no_report)
    }

    /// The newest report of each kind that has one.
    pub fn all_newest(&self) -> Vec<Arc<Edition>> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.values().cloned().collect()
    }

    /// The report of a job; `None` where it has none that can be read. Blocks.
    pub fn of(&self, job: &JobId) -> Option<Arc<Edition>> {
        let is_its = |newest: &Arc<Edition>| newest.job.as_ref() == Some(job);
        if let Some(newest) = self.all_newest().into_iter().find(is_its) {
            return Some(newest);
        }
        let file = self.folder(job).join(REPORT);
        let _one_at_a_time = lock(&self.reading);
        let seen = seen_as(&fs::metadata(&file).ok()?);
        if let Some(known) = self.recall(job, seen) {
            return Some(known);
        }
        match self.read(&file, Some(job.clone())) {
            Ok(edition) => {
                let edition = Arc::new(edition);
                self.keep(seen, &edition);
                Some(edition)
            }
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "the report of a job cannot be read");
                None
            }
        }
    }

    /// The report of a job, if it is in memory and its file has not changed since.
    fn recall(&self, job: &JobId, seen: Seen) -> Option<Arc<Edition>> {
        let mut kept = lock(&self.kept);
        let at = kept
            .iter()
            .position(|(_, edition)| edition.job.as_ref() == Some(job))?;
        let found = kept.remove(at).filter(|(then, _)| *then == seen)?;
        let edition = Arc::clone(&found.1);
        kept.push_back(found);
        Some(edition)
    }

    fn keep(&self, seen: Seen, edition: &Arc<Edition>) {
        let mut kept = lock(&self.kept);
        kept.push_back((seen, Arc::clone(edition)));
        let bytes = |kept: &VecDeque<(Seen, Arc<Edition>)>| -> usize {
            kept.iter().map(|(_, edition)| edition.bytes.len()).sum()
        };
        while kept.len() > 1 && (kept.len() > KEPT || bytes(&kept) > KEPT_BYTES) {
            kept.pop_front();
        }
    }

    /// The folder of a job's own results.
    pub fn folder(&self, job: &JobId) -> PathBuf {
        self.results.join(JOBS).join(job.as_str())
    }

    /// Whether a job has a report of its own.
    pub fn has_report(&self, job: &JobId) -> bool {
        self.folder(job).join(REPORT).is_file()
    }

    /// The folder of results.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// Subscribes to new editions.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Reads the newest report of each kind if it changed: what was published before the call is in memory after it.
    /// Blocks.
    pub(crate) fn look(&self) {
        let mut seen = lock(&self.seen);
        for reader in &self.readers {
            let newest = self.newest_file(&**reader);
            let found = fs::metadata(&newest).ok();
            let found = found.map(|metadata| (newest.clone(), seen_as(&metadata)));
            if seen.get(reader.kind()) == found.as_ref() {
                continue;
            }
            // a person removed the file: keep the last good report
            match found {
                Some(found) => drop(seen.insert(reader.kind(), found)),
                None => {
                    seen.remove(reader.kind());
                    continue;
                }
            }
            let job = newest.parent().and_then(job_of);
            match self.read(&newest, job) {
                Ok(edition) => {
                    let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
                    newest.insert(edition.kind, Arc::new(edition));
                    drop(newest);
                    self.changed.send_replace(());
                }
                Err(error) => {
                    tracing::error!(file = %newest.display(), %error, "the newest report cannot be read, the last one is kept");
                }
            }
        }
    }

    /// The path of the newest report of a kind.
    fn newest_file(&self, reader: &dyn ReadReport) -> PathBuf {
        let at_root = reader.at_root().then(|| reader.kind());
        let results = Results::new(disk::real(), &self.results, at_root);
        let folder = results.newest_folder(reader.kind());
        folder
            .unwrap_or_else(|_| self.results.join(reader.kind()))
            .join(REPORT)
    }

    fn read(&self, file: &Path, job: Option<JobId>) -> io::Result<Edition> {
        let metadata = fs::metadata(file)?;
        if metadata.len() > MAX_REPORT {
            let sentence = format!("{} bytes, expected at most {MAX_REPORT}", metadata.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
        }
        let bytes = Bytes::from(fs::read(file)?);
        let folder = file.parent().unwrap_or(Path::new(""));
        let (kind, report) = self.open(&bytes, folder)?;
        Ok(Edition {
            job,
            kind,
            report,
            etag: format!("\"{}\"", Digest::of(&bytes).short(32)),
            bytes,
            written: metadata.modified()?,
            answers: Answers::default(),
        })
    }

    /// Reads a report with the reader of the kind that `execution.json` names; where it names none, with the first reader
    /// that can read it.
    fn open(&self, bytes: &Bytes, folder: &Path) -> io::Result<Opened> {
        let named = kind_of(folder);
        let mut refused = None;
        for reader in &self.readers {
            if named.as_ref().is_some_and(|kind| kind != reader.kind()) {
                continue;
            }
            match reader.read(bytes, folder) {
                Ok(report) => return Ok((reader.kind(), report)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let kind = named.unwrap_or_default();
            let sentence = format!("the kind {kind:?} is unknown");
            io::Error::new(io::ErrorKind::Unsupported, sentence)
        }))
    }

    /// Polls the newest reports.
    pub(crate) async fn watch(self: &Arc<Self>) -> Infallible {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            self.refresh().await;
        }
    }

    /// Loads the newest report that was published before the call.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let editions = Arc::clone(self);
        // a large report takes a while to parse
        let _died = tokio::task::spawn_blocking(move || editions.look()).await;
    }
}

/// A kind, and a report as that kind keeps it in memory.
type Opened = (&'static str, Box<dyn Any + Send + Sync>);

/// The kind that the `execution.json` in a job's folder names; `None` where it names none.
fn kind_of(folder: &Path) -> Option<String> {
    let bytes = fs::read(folder.join(EXECUTION)).ok()?;
    Execution::read(&bytes).ok()?.kind
}

/// The job whose own folder of results this is.
fn job_of(folder: &Path) -> Option<JobId> {
    let is_own = folder.parent()?.file_name()? == JOBS;
    let name = folder.file_name()?.to_str()?;
    is_own.then(|| name.parse().ok())?
}

#[cfg(unix)]
pub(crate) fn seen_as(file: &Metadata) -> Seen {
    use std::os::unix::fs::MetadataExt as _;
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    (file.ino(), modified, file.len())
}

#[cfg(not(unix))]
pub(crate) fn seen_as(file: &Metadata) -> Seen {
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    (0, modified, file.len())
}

#[cfg(test)]
mod tests {
    use autoconnect_jobs::sales::Report;

    use super::*;

    /// Reads reports of `sales`.
    struct Sales;

    impl ReadReport for Sales {
        fn kind(&self) -> &'static str {
            "sales"
        }

        fn at_root(&self) -> bool {
            true
        }

        fn read(&self, bytes: &Bytes, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
            Ok(Box::new(serde_json::from_slice::<Report>(bytes)?))
        }
    }

    fn editions(results: &Path) -> Editions {
        Editions::new(results, vec![Arc::new(Sales)])
    }

    /// The first city of a report.
    fn ville(edition: &Edition) -> String {
        edition.report::<Report>().expect("its type").villes[0].clone()
    }

    fn report(villes: &str) -> String {
        let report = Report {
            villes: vec![villes.to_owned()],
            ..Report::default()
        };
        serde_json::to_string(&report).expect("JSON")
    }

    fn job(name: &str) -> JobId {
        name.parse().expect("a job id")
    }

    /// Gives a job its own report.
    fn put(results: &Path, name: &str, text: &str) {
        let folder = results.join(JOBS).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("new"), text).expect("written");
        fs::rename(folder.join("new"), folder.join(REPORT)).expect("renamed");
    }

    #[cfg(unix)]
    fn link(results: &Path, name: &str) {
        let new = results.join("new");
        std::os::unix::fs::symlink(format!("{JOBS}/{name}"), &new).expect("linked");
        fs::rename(new, results.join("sales")).expect("renamed");
    }

    #[test]
    fn a_broken_file_never_replaces_a_good_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(REPORT);
        let editions = editions(folder.path());
        let villes = || {
            editions
                .newest("sales")
                .map(|edition| vec![ville(&edition)])
        };
        let put = |text: &str| {
            let other = folder.path().join("new");
            fs::write(&other, text).expect("written");
            fs::rename(&other, &file).expect("renamed");
            editions.look();
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
        fs::remove_file(&file).expect("removed");
        editions.look();
        assert_eq!(villes(), Ok(vec!["Lyon".to_owned()]));
        put(&report("Nice"));
        assert_eq!(villes(), Ok(vec!["Nice".to_owned()]));
    }

    #[test]
    fn a_report_of_an_earlier_build_is_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let earlier = include_bytes!("../../jobs/tests/data/report-0.1.json");
        fs::write(folder.path().join(REPORT), earlier).expect("written");
        let editions = editions(folder.path());
        let newest = editions.newest("sales").expect("a report");
        let report: &Report = newest.report().expect("its type");
        assert_eq!(report.villes, ["Lyon", "Nice"]);
        assert_eq!(newest.bytes, earlier[..]);
    }

    #[cfg(unix)]
    #[test]
    fn the_newest_is_the_job_that_the_link_names_or_what_is_at_the_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let results = folder.path();
        let editions = editions(results);
        let newest = || {
            editions.look();
            let edition = editions.newest("sales").expect("a report");
            (edition.job.clone(), ville(&edition))
        };
        // the oldest layout, without a link
        fs::write(results.join(REPORT), report("Lyon")).expect("written");
        assert_eq!(newest(), (None, "Lyon".to_owned()));
        put(results, "two", &report("Paris"));
        put(results, "three", &report("Nice"));
        link(results, "two");
        assert_eq!(newest(), (Some(job("two")), "Paris".to_owned()));
        link(results, "three");
        assert_eq!(newest(), (Some(job("three")), "Nice".to_owned()));
        link(results, "two");
        assert_eq!(newest(), (Some(job("two")), "Paris".to_owned()));
        // the link of a job whose folder was removed
        link(results, "gone");
        assert_eq!(newest(), (Some(job("two")), "Paris".to_owned()));
    }

    #[test]
    fn every_job_has_its_own_report_and_memory_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let editions = editions(folder.path());
        let ville = |name: &str| Some(ville(editions.of(&job(name))?.as_ref()));
        for number in 0..3 * KEPT {
            put(
                folder.path(),
                &format!("job-{number}"),
                &report(&number.to_string()),
            );
        }
        for _ in 0..2 {
            for number in 0..3 * KEPT {
                assert_eq!(ville(&format!("job-{number}")), Some(number.to_string()));
                assert!(lock(&editions.kept).len() <= KEPT);
            }
        }
        let first = editions.of(&job("job-1")).expect("a report");
        let again = editions.of(&job("job-1")).expect("a report");
        assert!(Arc::ptr_eq(&first, &again));
        // a job whose folder was removed may be requested again and have another report
        put(folder.path(), "job-1", &report("Brest"));
        assert_eq!(ville("job-1").as_deref(), Some("Brest"));
        assert_eq!(ville("unknown"), None);
        put(folder.path(), "broken", "{");
        assert_eq!(ville("broken"), None);
        let large = format!("{}{}", report("Lyon"), " ".repeat(KEPT_BYTES));
        put(folder.path(), "large", &large);
        assert_eq!(ville("large").as_deref(), Some("Lyon"));
        assert_eq!(lock(&editions.kept).len(), 1);
    }
}
