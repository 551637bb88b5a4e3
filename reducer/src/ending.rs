//! The end of a job: its conclusion, made once, and its publication, which can be retried.
//!
//! Files appear in this order, so that a reader of `report.json` finds a whole report:
//!
//! ```text
//! results/jobs/.<job>/  side files, the kind's files, report.json, execution.json    (flushed)
//! results/jobs/<job>/   all of them at once                                          (one rename)
//! results/<kind>        leads there, if the job is the newest (see `Results`)        (one rename)
//! <state>/done/         the tombstone                           (from here on, late results are dropped)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use autoconnect_common::disk::Disk;
use autoconnect_common::execution::{self, Acts, Chunks, Execution, ms};
use autoconnect_common::kind::{Concluded, REPORT};
use autoconnect_common::message::Status;
use autoconnect_common::results::{Accept, Claim, EXECUTION, Rank, Results};
use autoconnect_common::{Digest, JobId, Seq};
use tokio::time::Instant;

use crate::attempts;
use crate::execution::{Timings, render};
use crate::faults::{Faults, Point};
use crate::job::{End, Ended, Without};
use crate::pages::Page;
use crate::together::together;
use crate::tombstone::Tombstone;
use crate::trouble::{Doing, Trouble};

/// Where a job's end is written.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) results: Results,
    pub(crate) state: Option<PathBuf>,
    pub(crate) faults: Faults,
    /// Files of one job that are flushed at the same time.
    pub(crate) flushing: usize,
}

/// What became of the results of a job that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// The job's folder exists.
    There,
    /// The job's own folder was removed.
    Removed,
    /// The folder of all results is missing or unreadable: its file system may be unmounted for a moment.
    Away,
}

impl Place {
    /// What became of the results of a job that ended.
    pub(crate) fn results_of(&self, job: &JobId) -> Whereabouts {
        match self.disk.metadata(&self.results.of(job)) {
            Ok(Some(_)) => Whereabouts::There,
            Ok(None) => match self.disk.metadata(&self.results.jobs()) {
                Ok(Some(_)) => Whereabouts::Removed,
                Ok(None) | Err(_) => Whereabouts::Away,
            },
            Err(_) => Whereabouts::Away,
        }
    }
}

/// A concluded job.
pub(crate) struct Ending {
    pub(crate) job: JobId,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    files: Vec<Written>,
    report: Option<Arc<dyn Concluded>>,
    execution: Execution,
    first_news: SystemTime,
    /// Whether this job's results may become the newest of its kind: not those of a job without a manifest, or of a
    /// cancelled one.
    newest: bool,
    accept: Accept,
}

/// Finds a page of a side file of an ending job, by the side file's name and the page's number.
pub(crate) type PageOf = Box<dyn Fn(&str, u32, Digest) -> Option<Page> + Send>;

/// What is left to do for a job that ends; it can be retried where the disk refuses.
pub(crate) enum Work {
    /// Conclude it and publish the result; the number is the attempts made before, once that is known.
    Conclude(Box<Ended>, PageOf, Option<u32>),
    /// Publish it.
    Publish(Box<Ending>),
}

impl Work {
    /// The name of the job's kind, where it is known.
    pub(crate) fn kind(&self) -> Option<&str> {
        match self {
            Self::Conclude(ended, ..) => ended.kind.as_deref(),
            Self::Publish(ending) => ending.execution.kind.as_deref(),
        }
    }

    /// Does the work. Blocks. `state` is the job's folder in the state folder, where attempts to conclude are counted.
    ///
    /// # Errors
    /// [`Trouble`], and what is left to do.
    pub(crate) fn carry_out(
        self,
        state: Option<&Path>,
        place: &Place,
    ) -> Result<Ending, (Option<Self>, Trouble)> {
        let mut ending = match self {
            Self::Publish(ending) => ending,
            Self::Conclude(mut ended, page, mut before) => {
                if let (Some(folder), End::Report { .. }) = (state, &ended.end) {
                    match begin(&*place.disk, folder, &mut before) {
                        Ok(None) => {}
                        Ok(Some(why)) => ended.end = End::Without(Without::failed(why)),
                        Err(trouble) => {
                            return Err((Some(Self::Conclude(ended, page, before)), trouble));
                        }
                    }
                }
                let ending = Ending::conclude(*ended, page, place);
                let ending = ending.map_err(|trouble| (None, trouble))?;
                if let (Some(folder), Some(_)) = (state, &ending.report) {
                    attempts::concluded(&*place.disk, folder);
                }
                Box::new(ending)
            }
        };
        match ending.publish(place) {
            Ok(()) => Ok(*ending),
            Err(trouble) => Err((Some(Self::Publish(ending)), trouble)),
        }
    }
}

/// Counts an attempt to conclude, once, even if counting is retried; see [`attempts::begin`].
fn begin(
    disk: &dyn Disk,
    folder: &Path,
    before: &mut Option<u32>,
) -> Result<Option<&'static str>, Trouble> {
    let made = match *before {
        Some(made) => made,
        None => attempts::made(disk, folder)?,
    };
    *before = Some(made);
    attempts::begin(disk, folder, made)
}

/// A file to write: its path below the results folder, and what it holds.
struct Written {
    path: String,
    content: Content,
}

enum Content {
    Report(Arc<dyn Concluded>),
    Pages(Vec<Page>),
}

impl Ending {
    /// Concludes a job, and times it; a panic of a kind fails that job only.
    pub(crate) fn conclude(
        mut ended: Ended,
        page: impl Fn(&str, u32, Digest) -> Option<Page>,
        place: &Place,
    ) -> Result<Self, Trouble> {
        let start = Instant::now();
        let mut timings = Timings::default();
        let concluded = match ended.end.clone() {
            End::Without(without) => Err(without),
            End::Report { missing, lacking } => report(&mut ended, &missing, &mut timings)
                .map(|report| (report, missing, lacking))
                .map_err(Without::failed),
        };
        let (status, reason, report, missing) = match concluded {
            Err(Without { status, reason }) => (status, Some(reason), None, Vec::new()),
            Ok((report, missing, None)) => (Status::Done, None, Some(report), missing),
            Ok((report, missing, lacking)) => (Status::Incomplete, lacking, Some(report), missing),
        };
        let files = files_of(&ended, page, report.as_ref());
        let mut execution = execution_of(&mut ended, status, reason.clone(), &missing);
        execution.calculations = timings.into_vec();
        execution.acts_ms.conclude = Some(ms(start.elapsed()));
        place.faults.at(Point::Concluded)?;
        Ok(Self {
            job: ended.id,
            status,
            reason,
            files,
            report,
            execution,
            first_news: ended.figures.first_news,
            newest: ended.manifest.is_some() && status != Status::Cancelled,
            accept: ended.manifest.map(|m| m.accept).unwrap_or_default(),
        })
    }

    /// Publishes the job's end. Blocks. Idempotent. A report that cannot be rendered fails the job.
    ///
    /// # Errors
    /// [`Trouble`]; the newest report is then the one before or this one, whole in either case.
    pub(crate) fn publish(&mut self, place: &Place) -> Result<(), Trouble> {
        loop {
            match self.write(place) {
                Err(Trouble::Rendering(reason)) => {
                    self.fail(format!("the report cannot be made: {reason}"));
                }
                Err(Trouble::Damaged { file, page }) => self.lack(&file, page),
                written => return written,
            }
        }
    }

    /// Turns this into the end of a failed job, without a report.
    fn fail(&mut self, reason: String) {
        self.status = Status::Failed;
        self.report = None;
        self.files
            .retain(|file| matches!(file.content, Content::Pages(_)));
        self.execution.status = self.status;
        self.execution.reason = Some(reason.clone());
        self.reason = Some(reason);
    }

    fn write(&mut self, place: &Place) -> Result<(), Trouble> {
        let claim = match self.take_published(place) {
            Some(claim) => claim,
            None => {
                self.put(place)?;
                self.claim()
            }
        };
        place.faults.at(Point::ReportWritten)?;
        if let Some(kind) = self.execution.kind.clone().filter(|_| self.newest) {
            self.offer(place, &kind, claim)?;
        }
        // the pages that a volatile reducer spilled to disk
        let _ = place.disk.remove(&pages_folder(&place.results, &self.job));
        if let Some(state) = &place.state {
            self.tombstone().write(&*place.disk, state)?;
        }
        Ok(place.faults.at(Point::TombstoneWritten)?)
    }

    /// The order and rank with which this end claims to be the newest.
    fn claim(&self) -> Claim {
        Claim {
            order: self.execution.order,
            rank: Rank::of(self.status, self.execution.rows, self.accept),
        }
    }

    /// Adopts a better end that an earlier reducer published before it died without writing the tombstone: the journal was
    /// damaged since, and that report may be the newest already.
    fn take_published(&mut self, place: &Place) -> Option<Claim> {
        if matches!(self.status, Status::Done | Status::Cancelled) {
            return None;
        }
        let found = place.results.claim(&self.job, self.accept);
        let end = Tombstone::published(&place.results, &self.job);
        let end = end.ok().filter(|_| found.rank > self.claim().rank)?;
        tracing::warn!(job_id = %self.job, status = ?end.status, "what was published of the job is its end");
        (self.status, self.reason) = (end.status, end.reason);
        self.execution.order = found.order;
        self.newest = true;
        Some(found)
    }

    /// Writes the job's files, and renames them into its own folder.
    fn put(&mut self, place: &Place) -> Result<(), Trouble> {
        let start = Instant::now();
        let unfinished = place.results.unfinished(&self.job);
        let begun = place.results.begin(&self.job);
        begun.doing(|| format!("make the folder {}", unfinished.display()))?;
        together(&self.files, place.flushing, |file| {
            file.write(&*place.disk, &unfinished)?;
            Ok(place.faults.at(Point::FileWritten)?)
        })?;
        if let Some(report) = &self.report {
            write_report(&*place.disk, &unfinished, &**report, REPORT)?;
        }
        let path = unfinished.join(EXECUTION);
        let execution = render(&mut self.execution, start, self.first_news);
        execution
            .map_err(io::Error::from)
            .and_then(|execution| place.disk.write_whole(&path, &execution))
            .doing(|| format!("write {}", path.display()))?;
        flush(place, &folders_of(&unfinished, self.paths()))?;
        let own = place.results.of(&self.job);
        let put = place.results.put(&self.job);
        put.doing(|| format!("put the files into {}", own.display()))
    }

    /// Makes this job's report the newest of its kind, or says in the job's end why it is not.
    fn offer(&mut self, place: &Place, kind: &str, claim: Claim) -> Result<(), Trouble> {
        let offered = place.results.offer(&self.job, kind, claim);
        let refused = offered.doing(|| format!("make job {} the newest", self.job))?;
        if let Some(why) = refused.filter(|_| self.status.has_report()) {
            tracing::warn!(job_id = %self.job, why, "report is not the newest");
            self.add_reason(why);
        }
        Ok(place.faults.at(Point::ReportLinked)?)
    }

    fn add_reason(&mut self, reason: String) {
        self.reason = Some(match self.reason.take() {
            None => reason,
            Some(other) if other.contains(&reason) => other,
            Some(other) => format!("{other}; {reason}"),
        });
    }

    /// Leaves out a side file with a page that is damaged on disk; the job's end says so.
    fn lack(&mut self, file: &str, page: usize) {
        let reason = format!(
            "{file} is missing: its page {page} is damaged in the reducer's state folder; the job can be asked for again"
        );
        tracing::error!(job_id = %self.job, reason, "page of a side file is damaged");
        self.files.retain(|written| written.path != file);
        if self.status == Status::Done {
            self.status = Status::Incomplete;
        }
        self.add_reason(reason);
        self.execution.status = self.status;
        self.execution.reason.clone_from(&self.reason);
    }

    /// What is left of the job once it ended.
    pub(crate) fn tombstone(&self) -> Tombstone {
        Tombstone {
            kind: self.execution.kind.clone(),
            ..Tombstone::new(
                self.job.clone(),
                self.status,
                self.reason.clone(),
                self.execution.order,
            )
        }
    }

    /// The paths of all files but the report, below the folder they are in.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|file| file.path.as_str());
        files.chain([EXECUTION])
    }
}

/// The folder to which a volatile reducer spills pages.
pub(crate) fn pages_folder(results: &Results, job: &JobId) -> PathBuf {
    // no job has a dot in its name
    results.jobs().join(format!(".{job}.pages"))
}

/// The report as files, or why there is none.
fn report(
    ended: &mut Ended,
    missing: &[Seq],
    timings: &mut Timings,
) -> Result<Arc<dyn Concluded>, String> {
    let facts = ended.manifest.as_ref().and_then(|m| m.facts.as_ref());
    let (Some(facts), Some(tally)) = (facts, ended.tally.take()) else {
        return Err("the producer could not cut the job".to_owned());
    };
    // a kind's bug must cost its own job only
    let mut steps = |name| timings.begin(name);
    catch_unwind(AssertUnwindSafe(|| {
        tally.conclude(facts, missing, &mut steps)
    }))
    .map_err(|_| "the report cannot be made: its conclusion panicked".to_owned())?
    .map(Arc::from)
    .map_err(|error| format!("the report cannot be made: {error}"))
}

impl Written {
    fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<(), Trouble> {
        let pages = match &self.content {
            Content::Report(report) => return write_report(disk, folder, &**report, &self.path),
            Content::Pages(pages) => pages,
        };
        let path = folder.join(&self.path);
        let mut damaged = None;
        // a side file is never held in memory
        let written = disk.write_with(&path, |file| {
            for (number, page) in pages.iter().enumerate() {
                if !page.copy_to(disk, file)? {
                    damaged = Some(number);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            Ok(())
        });
        match damaged {
            None => written.doing(|| format!("write {}", path.display())),
            Some(page) => Err(Trouble::Damaged {
                file: self.path.clone(),
                page,
            }),
        }
    }
}

/// The files of a job that ends: its side files, and those of its report, if it has one.
fn files_of(
    ended: &Ended,
    page: impl Fn(&str, u32, Digest) -> Option<Page>,
    report: Option<&Arc<dyn Concluded>>,
) -> Vec<Written> {
    let side = ended.annexes.iter().map(|(name, digests)| Written {
        path: name.clone(),
        content: Content::Pages(
            (0..)
                .zip(digests)
                .filter_map(|(n, &digest)| page(name, n, digest))
                .collect(),
        ),
    });
    let rendered = report.into_iter().flat_map(|report| {
        let written = |path: &str| Written {
            path: path.to_owned(),
            content: Content::Report(Arc::clone(report)),
        };
        report.rendered().into_iter().map(written)
    });
    side.chain(rendered).collect()
}

/// What `execution.json` says of a job that ends, but for the times of its conclusion. Takes the reasons of its dead chunks
/// and the figures of its workers.
fn execution_of(
    ended: &mut Ended,
    status: Status,
    reason: Option<String>,
    missing: &[Seq],
) -> Execution {
    let work = ended.figures.work_ms();
    let unknown = || ended.unknown.clone();
    Execution {
        schema: execution::SCHEMA.to_owned(),
        job: Some(ended.id.clone()),
        kind: ended.kind.clone(),
        status,
        reason,
        chunks: Chunks {
            total: ended.manifest.as_ref().map(|m| m.seqs().count() as u64),
            merged: ended.merged,
            missing: missing
                .iter()
                .map(|seq| (*seq, ended.dead.remove(seq).unwrap_or_else(unknown)))
                .collect(),
        },
        rows: ended.figures.rows,
        order: ended.order,
        duplicates_dropped: ended.figures.duplicates,
        acts_ms: Acts {
            cut: ended.manifest.as_ref().map(|m| m.cut_ms),
            work: Some(work),
            merge: Some(ms(ended.figures.merge)),
            ..Acts::default()
        },
        calculations: Vec::new(),
        workers: std::mem::take(&mut ended.figures.workers),
    }
}

/// Writes one of a report's files: straight to the disk, so that none is ever whole in memory.
fn write_report(
    disk: &dyn Disk,
    folder: &Path,
    report: &dyn Concluded,
    name: &str,
) -> Result<(), Trouble> {
    let path = folder.join(name);
    let mut trouble = None;
    let written = disk.write_with(&path, |file| {
        let mut file = Watched {
            file,
            failed: false,
        };
        // a kind's bug must cost its own job only
        let rendered = catch_unwind(AssertUnwindSafe(|| report.write(name, &mut file)));
        let rendered = rendered.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        rendered.inspect_err(|error| {
            if !file.failed {
                trouble = Some(Trouble::Rendering(format!("{name}: {error}")));
            }
        })
    });
    match trouble {
        Some(trouble) => Err(trouble),
        None => written.doing(|| format!("write {}", path.display())),
    }
}

/// A file that records whether the disk refused a write: any other error is the kind's own.
struct Watched<'f, W> {
    file: &'f mut W,
    failed: bool,
}

impl<W: io::Write> io::Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.failed |= written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.failed |= flushed.is_err();
        flushed
    }
}

/// The folders below `root` that hold `paths`.
fn folders_of<'p>(root: &Path, paths: impl Iterator<Item = &'p str>) -> BTreeSet<PathBuf> {
    paths
        .filter_map(|path| root.join(path).parent().map(Path::to_owned))
        .collect()
}

fn flush<'p>(place: &Place, folders: impl IntoIterator<Item = &'p PathBuf>) -> Result<(), Trouble> {
    folders.into_iter().try_for_each(|folder| {
        let flushed = place.disk.sync_folder(folder);
        flushed.doing(|| format!("flush the folder {}", folder.display()))
    })
}

/// Where each page of a job is, from what a volatile reducer kept.
pub(crate) fn kept(
    pages: BTreeMap<(String, u32), Page>,
) -> impl Fn(&str, u32, Digest) -> Option<Page> + Send + 'static {
    move |name, page, _| pages.get(&(name.to_owned(), page)).cloned()
}
