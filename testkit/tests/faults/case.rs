//! A job, the files it must give, and what a test says of how it went.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::message::{JobRequest, Status};
use autoconnect_testkit::cluster::{Cluster, files_of};
use autoconnect_testkit::jobs;
use rand::SeedableRng as _;
use rand_pcg::Pcg64Mcg;
use serde_json::Value;
use tempfile::TempDir;

/// A job and what it must give.
pub(crate) struct Case {
    pub(crate) request: JobRequest,
    pub(crate) file: PathBuf,
    pub(crate) chunk_rows: u32,
    expected: BTreeMap<String, Vec<u8>>,
    _folder: TempDir,
}

impl Case {
    /// A report on `rows` rows, one in twenty of them dirty, in chunks of `chunk_rows` and less.
    pub(crate) async fn sales(rows: u64, chunk_rows: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = jobs::dirty(folder.path(), rows)?;
        // the bytes do not depend on the size of chunks, and large ones are quicker
        let alone = Cluster::of(jobs::registry(), 1);
        let alone = alone.run(Embedded::new(), jobs::sales(&file, 10_000)?);
        let alone = alone.await?;
        ensure!(alone.end.status == Status::Done, "{:?}", alone.end);
        let exact = alone.exact().into_iter();
        let expected = exact.map(|(path, b)| (path.to_owned(), b.to_vec()));
        Ok(Self {
            request: jobs::sales(&file, chunk_rows)?,
            expected: expected.collect(),
            file,
            chunk_rows,
            _folder: folder,
        })
    }

    /// The bytes of `report.json`.
    pub(crate) fn report(&self) -> &[u8] {
        &self.expected["report.json"]
    }

    /// Checks that the newest results in `results` are this job's, to the byte and nothing else.
    pub(crate) fn check(&self, results: &Path) -> Result<Execution> {
        let mut found = files_of(results)?;
        let execution = found.remove("execution.json");
        self.check_files(&found)?;
        Execution::read(&execution.context("no execution.json")?)
    }

    /// Checks files by their names, all but `execution.json`.
    pub(crate) fn check_files(&self, found: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        for (path, bytes) in &self.expected {
            ensure!(found.get(path) == Some(bytes), "{path} is not the same");
        }
        ensure!(
            found.len() == self.expected.len(),
            "other files: {:?}",
            found.keys()
        );
        Ok(())
    }
}

/// What `execution.json` says of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Execution {
    /// Chunks that were merged.
    pub(crate) merged: u64,
    /// Chunks that were not, and why.
    pub(crate) missing: BTreeMap<String, String>,
    /// Results that came again.
    pub(crate) duplicates: u64,
    /// How often chunks had come before they were worked.
    pub(crate) redeliveries: u64,
}

impl Execution {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let told: Value = serde_json::from_slice(bytes)?;
        let number = |value: &Value| value.as_u64().context("a number");
        let workers = told["workers"].as_object().context("workers")?;
        Ok(Self {
            merged: number(&told["chunks"]["merged"])?,
            missing: serde_json::from_value(told["chunks"]["missing"].clone())?,
            duplicates: number(&told["duplicates_dropped"])?,
            redeliveries: workers
                .values()
                .map(|worker| number(&worker["redeliveries"]))
                .sum::<Result<_>>()?,
        })
    }
}

/// The seeds a test plays: `AUTOCONNECT_TEST_SEEDS` of them, or `usual`.
pub(crate) fn seeds(usual: u64) -> Result<impl Iterator<Item = u64> + Clone> {
    let count = match std::env::var("AUTOCONNECT_TEST_SEEDS") {
        Ok(text) => text.parse().context("AUTOCONNECT_TEST_SEEDS")?,
        Err(_) => usual,
    };
    Ok(0..count)
}

/// The random numbers of a seed.
pub(crate) fn random(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// What a test saw, as one line past the harness that would swallow it.
pub(crate) struct Line {
    text: String,
    since: Instant,
}

impl Line {
    /// The line of a row of the table, and of a seed where the row has any; its time begins now.
    pub(crate) fn of(row: u32, fault: &str, seed: Option<u64>) -> Self {
        let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
        Self {
            text: format!("FAULT {row:2}  {fault}{seed}:"),
            since: Instant::now(),
        }
    }

    /// Adds a figure.
    pub(crate) fn saw(mut self, figure: impl std::fmt::Display, what: &str) -> Self {
        let _never_fails = write!(self.text, " {figure} {what},");
        self
    }

    /// Adds how long something took, in seconds.
    pub(crate) fn took(self, since: Instant, what: &str) -> Self {
        let seconds = since.elapsed().as_secs_f64();
        self.saw(format!("{seconds:.1}"), &format!("s {what}"))
    }

    /// Adds what the reducer counted, and prints the line.
    pub(crate) fn ends(self, execution: &Execution) {
        let Execution {
            merged,
            redeliveries,
            duplicates,
            ..
        } = execution;
        let all = self.saw(merged, "chunks merged");
        let all = all.saw(redeliveries, "redeliveries");
        all.saw(duplicates, "duplicates dropped").print();
    }

    /// Prints it.
    pub(crate) fn print(self) {
        let seconds = self.since.elapsed().as_secs_f64();
        // a closed standard error cannot be reported
        let _told = writeln!(std::io::stderr(), "{} {seconds:.1} s", self.text);
    }
}
