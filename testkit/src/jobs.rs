//! Requests and inputs for tests.

use std::path::{Path, PathBuf};

use anyhow::Result;
use autoconnect_common::Registry;
use autoconnect_common::message::JobRequest;
use autoconnect_generate::{Options, generate};
use autoconnect_jobs::sales;
use autoconnect_jobs::sales::request::{Margin, MaxRejects};
use autoconnect_jobs::sales::settings::Sales;
use autoconnect_producer::name_job;
use autoconnect_report::fixed::Percent;
use chrono::NaiveDate;

use crate::wordcount::{self, WordCount};
use crate::wordcount2::WordCountTwo;

/// The day of these requests.
pub const TODAY: &str = "2025-06-30";

/// Every kind there is, and one that is not the system's.
pub fn registry() -> Registry {
    autoconnect_jobs::registry().with::<WordCount>()
}

/// The registry after an upgrade: one kind has a second version, beside the first.
pub fn newer_registry() -> Registry {
    registry().with::<WordCountTwo>()
}

/// The file that comes with the project.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/transactions_autoconnect.csv")
}

/// A file of `rows` rows, of which one in twenty has a fault.
///
/// # Errors
/// The error of the system.
pub fn dirty(folder: &Path, rows: u64) -> Result<PathBuf> {
    let file = folder.join("dirty.csv");
    let options = Options {
        rows,
        cities: 5,
        dirty: 0.05,
        seed: 7,
        truth: false,
    };
    generate(&options, &file)?;
    Ok(file)
}

/// A report on the sales in `file`, of which any share may be rejected.
///
/// # Errors
/// Where the file cannot be read.
pub fn sales(file: &Path, chunk_rows: u32) -> Result<JobRequest> {
    let usual = Sales {
        chunk_rows,
        max_rejects: MaxRejects::Percent(Percent::from_units(100)),
        margin: Margin::default(),
        periode: None,
    };
    let today: NaiveDate = TODAY.parse()?;
    let request = usual.request(vec![file.to_owned()], today);
    Ok(name_job::<sales::Sales>(&registry(), &request, None)?)
}

/// The words of a text.
///
/// # Errors
/// The error of the system.
pub fn words(folder: &Path, chunk_lines: u32) -> Result<JobRequest> {
    let file = folder.join("text.txt");
    if !file.exists() {
        wordcount::write_text(&file, 3_000)?;
    }
    let request = wordcount::Request {
        files: vec![file],
        chunk_lines,
    };
    Ok(name_job::<WordCount>(&registry(), &request, None)?)
}
