//! The reducer, killed at every point and restarted, and given contradictory messages: never half a report, never a result
//! counted twice, never one lost.
//!
//! A life is one reducer on a runtime of its own: when it is killed, its threads are gone before the next one begins, as
//! after a power cut. The broker and both folders outlive it.

mod storage;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue};
use autoconnect_common::disk::{self, Disk};
use autoconnect_common::faults::Killed;
use autoconnect_common::message::{
    Cancel, Change, Event, JobRequest, Message, Partial, Question, Stage, Status, bury,
};
use autoconnect_common::{Digest, JobId, Shutdown};
use autoconnect_reducer::faults::{Faults, Point};
use autoconnect_reducer::{Config, Error, Summary};
use autoconnect_testkit::broker::soon;
use autoconnect_testkit::chaos::{Chaos, Mischief};
use autoconnect_testkit::cluster::{self, Cluster, End, files_of, results_of};
use autoconnect_testkit::jobs;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What an old job left where the newest report is.
const OLD: &[u8] = b"the report of the job before";

/// A job, what its reducer is sent, and what it must write.
pub(crate) struct Case {
    pub(crate) job: JobId,
    kind: String,
    pub(crate) messages: Vec<Message>,
    expected: BTreeMap<String, Vec<u8>>,
}

impl Case {
    fn new(request: &JobRequest) -> Result<Self> {
        Runtime::new()?.block_on(async {
            let registry = jobs::registry();
            let outcome = Cluster::of(jobs::registry(), 1)
                .run(Embedded::new(), request.clone())
                .await?;
            let exact = outcome.exact().into_iter();
            Ok(Self {
                job: request.job.clone(),
                kind: request.kind.clone(),
                messages: results_of(registry, request).await?,
                expected: exact
                    .map(|(path, b)| (path.to_owned(), b.to_vec()))
                    .collect(),
            })
        })
    }

    /// A job with side files and some 35 chunks.
    pub(crate) fn sales(folder: &Path) -> Result<Self> {
        Self::new(&jobs::sales(&jobs::dirty(folder, 3_000)?, 97)?)
    }

    /// A job with some 30 chunks.
    pub(crate) fn words(folder: &Path) -> Result<Self> {
        Self::words_in_chunks_of(folder, 97)
    }

    /// A job with the same report, in chunks of so many lines.
    pub(crate) fn words_in_chunks_of(folder: &Path, lines: u32) -> Result<Self> {
        Self::new(&jobs::words(folder, lines)?)
    }

    pub(crate) fn partial(&self, number: usize) -> Result<Partial> {
        let partials = self.messages.iter().filter(|m| m.kind == "partial");
        let message = partials.clone().nth(number).context("a partial")?;
        match Change::from_message(message)? {
            Change::Partial(partial) => Ok(partial),
            other => bail!("{other:?}"),
        }
    }
}

/// What outlives a reducer.
pub(crate) struct World {
    pub(crate) broker: Chaos<Embedded>,
    pub(crate) folder: TempDir,
    snapshot_after: Option<u64>,
    pub(crate) abandon_after: Duration,
    disk: Arc<dyn Disk>,
}

/// How a reducer's life ended.
#[derive(Debug)]
pub(crate) enum Life {
    /// Its jobs ended, so it was stopped.
    Stopped(Summary, Vec<End>),
    /// It was killed.
    Killed(Point),
}

impl Life {
    /// The summary and the ends of a life that was not cut short.
    pub(crate) fn whole(self) -> Result<(Summary, Vec<End>)> {
        match self {
            Self::Stopped(summary, ends) => Ok((summary, ends)),
            Self::Killed(point) => bail!("killed at {point:?}"),
        }
    }
}

impl World {
    pub(crate) fn new(mischief: Mischief) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let results = folder.path().join("results");
        let old = results.join("jobs/wordcount-old");
        fs::create_dir_all(&old)?;
        fs::write(old.join("report.json"), OLD)?;
        symlink("jobs/wordcount-old", results.join("wordcount"))?;
        // in the oldest layout
        fs::write(results.join("report.json"), OLD)?;
        Ok(Self {
            broker: Chaos::over(Embedded::new(), mischief),
            folder,
            snapshot_after: None,
            abandon_after: Duration::MAX,
            disk: disk::real(),
        })
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    /// The folder of the newest results of the job's kind.
    fn newest(&self, case: &Case) -> PathBuf {
        let of_kind = self.results().join(&case.kind);
        match of_kind.exists() {
            true => of_kind,
            false => self.results(),
        }
    }

    /// Checks that the newest report of the job's kind is still the one of the job before.
    fn check_old(&self, case: &Case) -> Result<()> {
        let newest = fs::read(self.newest(case).join("report.json"))?;
        ensure!(newest == OLD, "another report is the newest");
        Ok(())
    }

    /// The folder of a job's own results.
    fn own(&self, case: &Case) -> PathBuf {
        self.results().join("jobs").join(case.job.as_str())
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            snapshot_after: self.snapshot_after,
            abandon_after: self.abandon_after,
            retry: Duration::from_millis(10),
            disk: Arc::clone(&self.disk),
            ..Config::durable(self.results(), self.folder.path().join("state"))
        }
    }

    /// Sends messages, all at once.
    pub(crate) fn send(&self, messages: &[Message]) -> Result<()> {
        Runtime::new()?.block_on(async {
            let sending = messages.iter().map(|m| self.broker.publish(m.clone()));
            soon("messages sent", futures_util::future::try_join_all(sending)).await??;
            Ok(())
        })
    }

    /// One life of a reducer: until `jobs` ended and everything is acknowledged, or `kill` says so.
    pub(crate) fn live(
        &self,
        jobs: &[&JobId],
        kill: impl Fn(Point) -> bool + Send + Sync + 'static,
    ) -> Result<Life> {
        let config = Config {
            faults: Faults::new(kill),
            ..self.config()
        };
        let runtime = Runtime::new()?;
        let life = runtime.block_on(async {
            let mut listening = Vec::new();
            for &job in jobs {
                let events = self.broker.subscribe(Queue::Events(job.clone()), 64);
                listening.push((job, events.await?));
            }
            let (registry, stop) = (jobs::registry(), Shutdown::new());
            let mut reducing = std::pin::pin!(autoconnect_reducer::run(
                &self.broker,
                &registry,
                config,
                stop.clone()
            ));
            let watching = async {
                let mut ends = Vec::new();
                for (job, events) in &mut listening {
                    ends.push(cluster::finished(events, job).await?);
                }
                soon("everything acknowledged", self.broker.quiet()).await?;
                anyhow::Ok(ends)
            };
            let ends = tokio::select! {
                ends = watching => ends?,
                reduced = &mut reducing => return match reduced {
                    Err(Error::Killed(Killed(point))) => Ok(Life::Killed(point)),
                    Err(error) => Err(error.into()),
                    Ok(summary) => bail!("it stopped by itself: {summary:?}"),
                },
            };
            stop.cancel();
            match soon("the reducer to stop", reducing).await? {
                Ok(summary) => Ok(Life::Stopped(summary, ends)),
                // on its way out
                Err(Error::Killed(Killed(point))) => Ok(Life::Killed(point)),
                Err(error) => Err(error.into()),
            }
        });
        drop(runtime);
        life
    }

    /// Checks that a reader finds whole reports at this moment: the newest is the old one or a new one, and every other
    /// file is there beside a `report.json`.
    fn check_nothing_is_half_done(&self, cases: &[&Case]) -> Result<()> {
        for case in cases {
            let newest = fs::read(self.newest(case).join("report.json"))?;
            ensure!(
                newest == OLD || newest == case.expected["report.json"],
                "the newest report is half of one: {}",
                String::from_utf8_lossy(&newest)
            );
            let own = self.results().join("jobs").join(case.job.as_str());
            if own.join("report.json").exists() {
                check_files(&own, case)?;
            }
        }
        Ok(())
    }

    /// Checks that the newest report of its kind is this job's, whole; of the kind that stands at the root, there as well.
    pub(crate) fn check_done(&self, case: &Case) -> Result<()> {
        let leads_to = fs::read_link(self.results().join(&case.kind))?;
        ensure!(
            leads_to == Path::new("jobs").join(case.job.as_str()),
            "{leads_to:?}"
        );
        check_files(&self.newest(case), case)?;
        if jobs::registry().at_root() == Some(&case.kind) {
            check_files(&self.results(), case)?;
        }
        let left = fs::read_dir(self.folder.path().join("state/jobs"))?.count();
        ensure!(left == 0, "{left} jobs are left in the state folder");
        Ok(())
    }

    /// Whether the reducer still has something to do or to say for a job.
    pub(crate) fn is_open(&self, job: &JobId) -> bool {
        let state = self.folder.path().join("state");
        let ended = state.join("done").join(format!("{job}.json")).exists();
        !ended || state.join("jobs").join(job.as_str()).exists()
    }

    /// The one journal that the state folder holds.
    fn journal(&self, case: &Case) -> PathBuf {
        let jobs = self.folder.path().join("state/jobs");
        jobs.join(case.job.as_str()).join("journal.0")
    }
}

/// Checks that the files of a finished job are in `folder`, to the byte.
pub(crate) fn check_files(folder: &Path, case: &Case) -> Result<()> {
    let found = files_of(folder)?;
    for (path, bytes) in &case.expected {
        ensure!(found.get(path) == Some(bytes), "{path} is not the same");
    }
    ensure!(found.contains_key("execution.json"), "no execution.json");
    ensure!(
        found.len() == case.expected.len() + 1,
        "other files: {:?}",
        found.keys()
    );
    Ok(())
}

/// Kills at the `visit`th time that a reducer comes by `point`.
pub(crate) fn kill_at(point: Point, visit: u32) -> impl Fn(Point) -> bool + Send + Sync + 'static {
    let seen = AtomicU32::new(0);
    move |at| at == point && seen.fetch_add(1, Ordering::Relaxed) + 1 == visit
}

/// Kills at one point in ten, as the seed says.
fn kill_at_random(seed: u64) -> impl Fn(Point) -> bool + Send + Sync + 'static {
    let rng = Mutex::new(Pcg64Mcg::seed_from_u64(seed));
    move |_| rng.lock().is_ok_and(|mut rng| rng.random_bool(0.1))
}

pub(crate) fn never(_: Point) -> bool {
    false
}

pub(crate) fn in_order(seed: u64) -> Mischief {
    Mischief {
        seed,
        shuffle: true,
        ..Mischief::default()
    }
}

#[test]
fn killed_at_every_point_it_goes_on_to_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    for point in Point::ALL {
        for visit in 1..=3 {
            let mut world = World::new(in_order(u64::from(visit)))?;
            // the one point that only long journals reach; one byte counts as long
            world.snapshot_after = (point == Point::SnapshotWritten || visit == 2).then_some(1);
            world.send(&case.messages)?;
            let first = world.live(&[&case.job], kill_at(point, visit));
            let first = first.with_context(|| format!("{point:?}, {visit}"))?;
            if !world.is_open(&case.job) {
                // a job comes by its end once; the last commits may be those of a reducer on its way out
                ensure!(visit > 1, "it never came by {point:?}");
                world.check_done(&case)?;
                continue;
            }
            ensure!(
                matches!(first, Life::Killed(at) if at == point),
                "{first:?}"
            );
            world
                .check_nothing_is_half_done(&[&case])
                .with_context(|| format!("killed at {point:?}, {visit}"))?;

            let come_again = world.broker.figures().on_their_way;
            let second = world.live(&[&case.job], never);
            let second = second.with_context(|| format!("after {point:?}, {visit}"))?;
            let (summary, ends) = second.whole()?;
            let what = format!("{point:?}, {visit}: {come_again} came again, {summary:?}");
            ensure!(ends[0].status == Status::Done, "{what}: {ends:?}");
            world.check_done(&case).with_context(|| what.clone())?;
            check_repeats(point, come_again, &summary).context(what)?;
        }
    }
    Ok(())
}

/// What was durable and not acknowledged comes again, and is counted once; nothing else does.
fn check_repeats(point: Point, come_again: u64, second: &Summary) -> Result<()> {
    let repeats = second.duplicates + second.late;
    match point {
        // all of the group that was being written was in the journal
        Point::JournalWritten | Point::JournalFlushed => {
            ensure!((1..=come_again).contains(&repeats));
        }
        // the journal did not have the group, or everything it had was acknowledged
        Point::PageWritten | Point::Acknowledged | Point::SnapshotWritten => {
            ensure!(repeats == 0);
        }
        // a job ends after the last acknowledgement
        _ => ensure!(come_again == 0 && second.merged == 0 && repeats == 0),
    }
    ensure!(second.buried == 0);
    Ok(())
}

#[test]
fn killed_again_and_again_with_two_jobs_it_comes_to_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cases = [Case::sales(folder.path())?, Case::words(folder.path())?];
    let both = [&cases[0], &cases[1]];
    let mut kills = 0;
    for seed in 0..8 {
        let mut world = World::new(Mischief::of_all_kinds(seed))?;
        world.snapshot_after = seed.is_multiple_of(2).then_some(4_000);
        for case in both {
            world.send(&case.messages)?;
        }
        let mut life = 0;
        loop {
            // an end is announced once
            let open = both.map(|case| &case.job).into_iter();
            let jobs: Vec<&JobId> = open.filter(|job| world.is_open(job)).collect();
            let lived = if life < 20 {
                world.live(&jobs, kill_at_random(seed * 100 + life))?
            } else {
                world.broker.calm();
                world.live(&jobs, never)?
            };
            world
                .check_nothing_is_half_done(&both)
                .with_context(|| format!("seed {seed}, life {life}"))?;
            life += 1;
            match lived {
                Life::Killed(_) => kills += 1,
                Life::Stopped(..) => break,
            }
            ensure!(life < 30, "it never came to an end");
        }
        for case in both {
            let own = world.results().join("jobs").join(case.job.as_str());
            check_files(&own, case).with_context(|| format!("seed {seed}"))?;
        }
    }
    ensure!(kills > 30, "only {kills} kills");
    Ok(())
}

#[test]
fn a_torn_tail_of_the_journal_is_cut_and_comes_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    for torn in [1, 13, 200, 5_000] {
        let world = World::new(in_order(torn))?;
        world.send(&case.messages)?;
        let killed = world.live(&[&case.job], kill_at(Point::JournalWritten, 1))?;
        ensure!(matches!(killed, Life::Killed(Point::JournalWritten)));
        // the power failed before the flush: the tail never reached the disk
        let journal = OpenOptions::new().write(true).open(world.journal(&case))?;
        let length = journal.metadata()?.len();
        journal.set_len(length.saturating_sub(torn))?;
        world.live(&[&case.job], never)?.whole()?;
        world.check_done(&case)?;
    }
    let world = World::new(in_order(0))?;
    world.send(&case.messages)?;
    world.live(&[&case.job], kill_at(Point::Acknowledged, 1))?;
    let mut journal = OpenOptions::new().append(true).open(world.journal(&case))?;
    journal.write_all(&[7; 100])?;
    world.live(&[&case.job], never)?.whole()?;
    world.check_done(&case)
}

#[test]
fn the_same_chunk_with_another_result_fails_the_job() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let (real, other) = (case.partial(3)?, case.partial(4)?);
    let expected = format!(
        "inconsistent: chunk {} was worked twice, with different results",
        real.seq
    );
    let changed = Partial {
        json: other.json,
        digest: other.digest,
        ..real
    };
    for kill in [
        None,
        Some(Point::JournalFlushed),
        Some(Point::TombstoneWritten),
    ] {
        let world = World::new(in_order(1))?;
        world.send(&[changed.to_message()])?;
        // the manifest comes last, so that the job cannot be done before both came
        let (manifest, others) = case.messages.split_last().context("a manifest")?;
        ensure!(manifest.kind == "manifest");
        world.send(others)?;
        if let Some(point) = kill {
            let killed = world.live(&[&case.job], kill_at(point, 1))?;
            ensure!(matches!(killed, Life::Killed(at) if at == point));
        }
        let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
        ensure!(ends[0].status == Status::Failed, "{ends:?}");
        let reason = ends[0].reason.clone().unwrap_or_default();
        ensure!(reason == expected, "{reason}");
        ensure!(summary.done == 0, "{summary:?}");
        let own = world.results().join("jobs").join(case.job.as_str());
        ensure!(!own.join("report.json").exists(), "there is a report");
        world.check_old(&case)?;
        let told: Value = serde_json::from_slice(&fs::read(own.join("execution.json"))?)?;
        ensure!(
            told["status"] == "failed" && told["reason"] == reason,
            "{told}"
        );
    }
    Ok(())
}

/// As a worker in another language, or an older one, may write it: other keys first, blanks, letters by their numbers.
fn written_otherwise(partial: Partial) -> Result<Message> {
    let sorted: Value = serde_json::from_str(partial.json.get())?;
    let text = serde_json::to_string_pretty(&sorted)?;
    let text = text.replace("\"modeles\"", "\"mod\\u0065les\"");
    let json = serde_json::value::RawValue::from_string(text)?;
    let digest = Digest::of(json.get().as_bytes());
    ensure!(digest != partial.digest, "it is written as it was");
    let other = Partial {
        json,
        digest,
        ..partial
    };
    Ok(other.to_message())
}

#[test]
fn the_same_partial_written_in_another_way_by_another_worker_counts_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    let other = written_otherwise(case.partial(3)?)?;
    let (manifest, results) = case.messages.split_last().context("a manifest")?;
    ensure!(manifest.kind == "manifest");
    let first = [std::slice::from_ref(&other), results].concat();
    let last = [results, std::slice::from_ref(&other)].concat();
    for (results, kill) in [
        (&first, None),
        (&last, None),
        (&first, Some(Point::JournalFlushed)),
        (&last, Some(Point::JournalFlushed)),
    ] {
        let world = World::new(in_order(1))?;
        // one after the other, so that the intended one is merged
        for result in results {
            world.send(std::slice::from_ref(result))?;
        }
        world.send(std::slice::from_ref(manifest))?;
        if let Some(point) = kill {
            let killed = world.live(&[&case.job], kill_at(point, 1))?;
            ensure!(matches!(killed, Life::Killed(at) if at == point));
        }
        let (_, ends) = world.live(&[&case.job], never)?.whole()?;
        ensure!(ends[0].status == Status::Done, "{ends:?}");
        world.check_done(&case)?;
        let told = fs::read(world.own(&case).join("execution.json"))?;
        let told: Value = serde_json::from_slice(&told)?;
        // what was in the hands of a reducer that was killed comes twice as well
        let dropped = told["duplicates_dropped"].as_u64().context("a count")?;
        ensure!(dropped == 1 || kill.is_some() && dropped > 1, "{told}");
    }
    Ok(())
}

#[test]
fn a_dead_chunk_is_named_in_an_incomplete_report() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    let lost = case.partial(5)?;
    let id = format!("{}/{}/partial", case.job, lost.seq);
    let mut messages = case.messages.clone();
    let at = messages.iter().position(|m| m.id == id).context("it")?;
    let mut chunk = messages.remove(at);
    chunk.kind = "chunk".to_owned();
    chunk
        .headers
        .insert("sha256".to_owned(), lost.chunk.to_string());
    let dead = bury(chunk, "the worker panicked: boom");
    for kill in [
        None,
        Some(Point::JournalFlushed),
        Some(Point::ReportWritten),
    ] {
        let world = World::new(in_order(1))?;
        world.send(&messages)?;
        world.send(std::slice::from_ref(&dead))?;
        if let Some(point) = kill {
            let killed = world.live(&[&case.job], kill_at(point, 1))?;
            ensure!(matches!(killed, Life::Killed(at) if at == point));
        }
        let (_, ends) = world.live(&[&case.job], never)?.whole()?;
        ensure!(ends[0].status == Status::Incomplete, "{ends:?}");
        let reason = ends[0].reason.clone().unwrap_or_default();
        let named = format!("{} (the worker panicked: boom)", lost.seq);
        ensure!(reason.contains(&named), "{reason}");
        let report: Value =
            serde_json::from_slice(&fs::read(world.own(&case).join("report.json"))?)?;
        let quality = &report["qualite"];
        ensure!(quality["complet"] == false, "{quality}");
        ensure!(
            quality["chunks_perdus"] == serde_json::json!([lost.seq.to_string()]),
            "{quality}"
        );
    }
    Ok(())
}

#[test]
fn what_comes_after_the_end_is_dropped() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let mut world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    world.live(&[&case.job], never)?.whole()?;
    // the producer asks again, and a worker that was cut off comes back with something else
    let (real, other) = (case.partial(3)?, case.partial(4)?);
    let changed = Partial {
        json: other.json,
        digest: other.digest,
        ..real
    };
    world.broker = Chaos::over(Embedded::new(), in_order(2));
    world.send(&case.messages)?;
    world.send(&[changed.to_message()])?;
    let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
    let late = case.messages.len() as u64 + 1;
    let expected = Summary {
        late,
        ..Summary::default()
    };
    ensure!(summary == expected, "{summary:?}");
    ensure!(ends[0].status == Status::Done, "{ends:?}");
    world.check_done(&case)
}

#[test]
fn a_report_that_cannot_be_written_is_tried_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    // a folder blocks the path of the link to the newest report, three times
    let obstacle = world.results().join("wordcount");
    fs::remove_file(&obstacle)?;
    fs::create_dir(&obstacle)?;
    let attempts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&attempts);
    let tombstone = world.folder.path().join("state/done");
    let remove = move |point| {
        if point == Point::ReportWritten && seen.fetch_add(1, Ordering::Relaxed) + 1 == 4 {
            let early = fs::read_dir(&tombstone).map_or(0, Iterator::count);
            // with a tombstone by now, it stays in the way, and the job never ends
            if early == 0 {
                let _shows_later = fs::remove_dir(&obstacle);
            }
        }
        false
    };
    let (summary, ends) = world.live(&[&case.job], remove)?.whole()?;
    ensure!(ends[0].status == Status::Done && summary.done == 1);
    let attempts = attempts.load(Ordering::Relaxed);
    ensure!(attempts == 4, "{attempts} attempts");
    world.check_done(&case)
}

#[test]
fn a_job_of_which_nothing_more_comes_ends_without_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let lost = case.partial(2)?;
    let without = |kind: &str, id: &str| {
        let keep = |m: &&Message| m.kind != kind || !m.id.starts_with(id);
        case.messages
            .iter()
            .filter(keep)
            .cloned()
            .collect::<Vec<_>>()
    };
    let abandoned = |messages: &[Message]| {
        let mut world = World::new(in_order(1))?;
        world.abandon_after = Duration::from_secs(1);
        world.send(messages)?;
        let (_, mut ends) = world.live(&[&case.job], never)?.whole()?;
        anyhow::Ok((world, ends.remove(0)))
    };
    let id = format!("{}/{}/", case.job, lost.seq);
    let (world, end) = abandoned(&without("partial", &id))?;
    let reason = end.reason.unwrap_or_default();
    let named = format!(
        "chunks are missing: {} (no partial came); nothing of it is at the broker any more: purged, expired or dropped",
        lost.seq
    );
    ensure!(
        end.status == Status::Incomplete && reason.contains(&named),
        "{reason}"
    );
    let report: Value = serde_json::from_slice(&fs::read(world.own(&case).join("report.json"))?)?;
    ensure!(
        report["missing"] == serde_json::json!([lost.seq]),
        "{report}"
    );
    // the newest report was complete
    ensure!(
        reason.contains("the newest report is still that of"),
        "{reason}"
    );
    world.check_old(&case)?;

    let (world, end) = abandoned(&without("manifest", ""))?;
    let reason = end.reason.unwrap_or_default();
    ensure!(
        end.status == Status::Failed && reason.starts_with("abandoned: "),
        "{reason}"
    );
    world.check_old(&case)?;
    Ok(())
}

/// Somebody's wish that the job should end.
pub(crate) fn cancellation(case: &Case) -> Result<Message> {
    let cancel = Cancel {
        job: case.job.clone(),
        reason: "not needed".to_owned(),
    };
    Ok(cancel.to_message()?)
}

#[test]
fn a_cancelled_job_ends_without_a_report_whenever_the_reducer_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    for kill in [
        None,
        Some(Point::JournalFlushed),
        Some(Point::ReportWritten),
        Some(Point::TombstoneWritten),
    ] {
        let world = World::new(in_order(1))?;
        world.send(&case.messages[..9])?;
        world.send(&[cancellation(&case)?])?;
        if let Some(point) = kill {
            let killed = world.live(&[&case.job], kill_at(point, 1))?;
            ensure!(matches!(killed, Life::Killed(at) if at == point));
        }
        let (_, ends) = world.live(&[&case.job], never)?.whole()?;
        let expected = End {
            status: Status::Cancelled,
            reason: Some("cancelled: not needed".to_owned()),
        };
        ensure!(ends[0] == expected, "{ends:?}");
        let own = world.results().join("jobs").join(case.job.as_str());
        ensure!(!own.join("report.json").exists(), "there is a report");
        world.check_old(&case)?;
        let told: Value = serde_json::from_slice(&fs::read(own.join("execution.json"))?)?;
        ensure!(told["status"] == "cancelled", "{told}");

        // the rest is late: it is dropped, and the end is announced again
        world.send(&case.messages[9..20])?;
        let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
        ensure!(summary.late == 11 && summary.merged == 0, "{summary:?}");
        ensure!(ends[0] == expected, "{ends:?}");
    }
    Ok(())
}

#[test]
fn a_job_that_is_cancelled_before_it_comes_is_dropped_when_it_comes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&[cancellation(&case)?])?;
    let (summary, _) = world.live(&[&case.job], never)?.whole()?;
    ensure!(summary.cancelled == 1, "{summary:?}");
    world.send(&case.messages)?;
    let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Cancelled, "{ends:?}");
    let late = case.messages.len() as u64;
    ensure!(summary.late == late && summary.merged == 0, "{summary:?}");
    world.check_old(&case)?;
    Ok(())
}

#[test]
fn a_job_that_is_done_stays_done_when_it_is_cancelled() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    world.live(&[&case.job], never)?.whole()?;
    world.send(&[cancellation(&case)?])?;
    let (_, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Done, "{ends:?}");
    world.check_done(&case)
}

#[test]
fn a_job_whose_results_somebody_removed_runs_again_when_it_is_asked_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    for kill in [
        None,
        Some(Point::PageWritten),
        Some(Point::JournalWritten),
        Some(Point::JournalFlushed),
        Some(Point::Acknowledged),
        Some(Point::TombstoneWritten),
    ] {
        let world = World::new(in_order(1))?;
        world.send(&case.messages)?;
        world.live(&[&case.job], never)?.whole()?;
        world.check_done(&case)?;
        match kill {
            // with all other results: their folder may be missing for a moment only
            None => fs::remove_dir_all(world.results())?,
            Some(_) => fs::remove_dir_all(world.own(&case))?,
        }
        world.send(&case.messages)?;
        if let Some(point) = kill {
            let killed = world.live(&[&case.job], kill_at(point, 1))?;
            ensure!(matches!(killed, Life::Killed(at) if at == point));
        }
        let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
        let what = format!("{kill:?}: {summary:?}, {ends:?}");
        ensure!(ends[0].status == Status::Done, "{what}");
        ensure!(summary.buried == 0, "{what}");
        world.check_done(&case).context(what)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reducer_says_how_its_jobs_go() -> Result<()> {
    let world = World::new(in_order(1))?;
    let files = world.folder.path().to_owned();
    let cases = tokio::task::spawn_blocking(move || {
        anyhow::Ok([Case::words(&files)?, Case::sales(&files)?])
    });
    let [open, cancelled] = cases.await??;
    let (registry, stop) = (Arc::new(jobs::registry()), Shutdown::new());
    let reducing = {
        let (broker, config, stop) = (world.broker.clone(), world.config(), stop.clone());
        tokio::spawn(
            async move { autoconnect_reducer::run(&broker, &registry, config, stop).await },
        )
    };
    let token: JobId = "question-1".parse()?;
    let mut answers = world
        .broker
        .subscribe(Queue::Events(token.clone()), 4)
        .await?;
    let mut ask = async |job: Option<&JobId>| {
        let question = Question {
            token: token.clone(),
            job: job.cloned(),
        };
        world.broker.publish(question.to_message()?).await?;
        let answer = soon("an answer", answers.next()).await?;
        let answer = answer.context("the broker was closed")?;
        let event = Event::from_message(&answer.message)?;
        answer.ack();
        match event {
            Event::Jobs { jobs, more: 0, .. } => anyhow::Ok(jobs),
            other => bail!("{other:?}"),
        }
    };
    ensure!(ask(None).await?.is_empty());
    for message in &open.messages[..5] {
        world.broker.publish(message.clone()).await?;
    }
    let wish = Cancel {
        job: cancelled.job.clone(),
        reason: String::new(),
    };
    world.broker.publish(wish.to_message()?).await?;
    // they come in any order
    let settled = async {
        loop {
            let all = ask(None).await?;
            if let [first, second] = all.as_slice()
                && matches!(first.stage, Stage::Open { done: 5, .. })
                && matches!(second.stage, Stage::Ended { .. })
            {
                return anyhow::Ok([first.clone(), second.clone()]);
            }
        }
    };
    let [first, second] = soon("both jobs", settled).await??;
    ensure!(
        first.job == open.job && second.job == cancelled.job,
        "{first:?} {second:?}"
    );
    ensure!(
        matches!(
            first.stage,
            Stage::Open {
                total: None,
                rows: 1..,
                ..
            }
        ),
        "{first:?}"
    );
    match &second.stage {
        Stage::Ended {
            status: Status::Cancelled,
            reason: Some(reason),
            ..
        } => ensure!(reason == "cancelled", "{reason}"),
        other => bail!("{other:?}"),
    }
    ensure!(ask(Some(&cancelled.job)).await? == std::slice::from_ref(&second));
    ensure!(ask(Some(&"unknown".parse()?)).await?.is_empty());
    stop.cancel();
    let summary = soon("the reducer to stop", reducing).await???;
    ensure!(summary.buried == 0 && summary.merged == 5, "{summary:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_reducer_on_the_same_state_is_refused() -> Result<()> {
    let world = World::new(in_order(1))?;
    let registry = Arc::new(jobs::registry());
    let stop = Shutdown::new();
    let (broker, config) = (world.broker.clone(), world.config());
    let first = {
        let (registry, stop) = (Arc::clone(&registry), stop.clone());
        tokio::spawn(
            async move { autoconnect_reducer::run(&broker, &registry, config, stop).await },
        )
    };
    let second = || {
        let run = autoconnect_reducer::run(&world.broker, &registry, world.config(), stop.clone());
        soon("the second reducer to be refused", run)
    };
    while !world.folder.path().join("state/done").exists() {
        tokio::task::yield_now().await;
    }
    match second().await? {
        Err(Error::Locked { folder }) => ensure!(folder == world.folder.path().join("state")),
        other => bail!("{other:?}"),
    }
    stop.cancel();
    soon("the first reducer to stop", first).await???;
    let third = second().await?;
    ensure!(third.is_ok(), "{third:?}");
    Ok(())
}
