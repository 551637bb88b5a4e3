//! The work of the clusters: generated files, and the results of the run in one process, with which theirs must agree byte for
//! byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use autoconnect_common::message::JobRequest;
use autoconnect_generate::{Options, generate};
use autoconnect_jobs::sales::Sales;
use autoconnect_jobs::sales::request::{Margin, MaxRejects};
use autoconnect_jobs::sales::settings;
use autoconnect_producer::name_job;
use autoconnect_report::fixed::Percent;
use autoconnect_testkit::cluster::files_of;
use autoconnect_testkit::program;

/// The day of every request.
const TODAY: &str = "2025-06-30";
/// The file of results that differs from run to run.
const EXECUTION: &str = "execution.json";

/// A file to generate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    rows: u64,
    cities: u32,
    /// The share of rows with a fault.
    dirty: f64,
    /// The most rows of a chunk: fewer rows make more messages.
    chunk_rows: u32,
}

/// A file, and the results that a cluster must write.
pub(crate) struct Work {
    plan: Plan,
    file: PathBuf,
    /// The results of the run in one process.
    expected: PathBuf,
}

impl Plan {
    pub(crate) const fn new(rows: u64, cities: u32, dirty: f64, chunk_rows: u32) -> Self {
        Self {
            rows,
            cities,
            dirty,
            chunk_rows,
        }
    }
}

impl Work {
    /// Generates the file below `folder`, and the results that `autoconnect` writes in one process, unless they exist.
    pub(crate) fn make(plan: Plan, autoconnect: &Path, folder: &Path) -> Result<Self> {
        let work = Self::file_only(plan, folder)?;
        let _none_before = fs::remove_dir_all(&work.expected);
        let mut run = program::command(autoconnect, folder);
        run.arg("run")
            .arg(&work.file)
            .arg("--out")
            .arg(&work.expected);
        run.args(["--today", TODAY, "--max-rejects", "100%", "--quiet"]);
        let output = run.output()?;
        let wrote = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{run:?}: {}: {wrote}",
            output.status
        );
        Ok(work)
    }

    /// As [`Work::make`], without the results: for a job that does not run to its end.
    pub(crate) fn file_only(plan: Plan, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let name = format!(
            "{}-{}-{}",
            plan.rows,
            plan.cities,
            (plan.dirty * 1e4).round()
        );
        let file = folder.join(format!("{name}.csv"));
        if !file.exists() {
            let unfinished = folder.join(format!("{name}.unfinished"));
            let options = Options {
                rows: plan.rows,
                cities: plan.cities,
                dirty: plan.dirty,
                seed: plan.rows,
                truth: false,
            };
            generate(&options, &unfinished).context("making a file")?;
            fs::rename(&unfinished, &file)?;
        }
        Ok(Self {
            plan,
            expected: folder.join(format!("{name}.expected")),
            file,
        })
    }

    /// An existing file, whose results are not compared.
    pub(crate) fn of(file: PathBuf) -> Self {
        Self {
            plan: Plan::new(0, 0, 0.0, 16_384),
            expected: PathBuf::new(),
            file,
        }
    }

    /// The size of the file in bytes.
    pub(crate) fn bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file)?.len())
    }

    /// Links the file into another folder of the same disk, readable by every user, and returns its name there.
    pub(crate) fn share(&self, folder: &Path) -> Result<String> {
        let name = self.file.file_name().context("a file has a name")?;
        let shared = folder.join(name);
        if !shared.exists() {
            fs::hard_link(&self.file, &shared)?;
            fs::set_permissions(&shared, fs::Permissions::from_mode(0o644))?;
        }
        Ok(name.to_string_lossy().into_owned())
    }

    /// The request, as the flags of `autoconnect submit`.
    pub(crate) fn flags(&self) -> [String; 6] {
        let rows = self.plan.chunk_rows.to_string();
        [
            "--today",
            TODAY,
            "--max-rejects",
            "100%",
            "--chunk-rows",
            &rows,
        ]
        .map(str::to_owned)
    }

    /// The request for a job with an id of its own, different for each `run`.
    pub(crate) fn request(&self, run: &str) -> Result<JobRequest> {
        let usual = settings::Sales {
            chunk_rows: self.plan.chunk_rows,
            max_rejects: MaxRejects::Percent(Percent::from_units(100)),
            margin: Margin::default(),
            periode: None,
        };
        let request = usual.request(vec![self.file.clone()], TODAY.parse()?);
        let registry = autoconnect_jobs::registry();
        Ok(name_job::<Sales>(&registry, &request, Some(run))?)
    }

    /// The files in `results` that differ from those of the run in one process; none, if all is well.
    pub(crate) fn differences(&self, results: &Path) -> Result<Vec<String>> {
        let exact = |folder: &Path| -> Result<BTreeMap<String, Vec<u8>>> {
            let mut files =
                files_of(folder).with_context(|| format!("reading {}", folder.display()))?;
            files.remove(EXECUTION);
            Ok(files)
        };
        let (found, expected) = (exact(results)?, exact(&self.expected)?);
        ensure!(
            expected.contains_key("report.json"),
            "there is nothing to compare with"
        );
        let names = found.keys().chain(expected.keys());
        let mut other: Vec<String> = names
            .filter(|name| found.get(*name) != expected.get(*name))
            .cloned()
            .collect();
        other.sort();
        other.dedup();
        Ok(other)
    }
}
