//! Jobs that several tests ask for.

use std::path::{Path, PathBuf};

use anyhow::Result;
use autoconnect::generate::{Options, generate};
use autoconnect_common::Registry;
use autoconnect_common::message::JobRequest;
use autoconnect_jobs::fixed::Percent;
use autoconnect_jobs::sales;
use autoconnect_jobs::sales::request::{Margin, MaxRejects};
use autoconnect_jobs::settings::Sales;
use autoconnect_producer::name_job;
use autoconnect_testkit::wordcount::{self, WordCount};
use chrono::NaiveDate;

/// Every kind there is, and one that is not the system's.
pub(crate) fn registry() -> Registry {
    autoconnect_jobs::registry().with::<WordCount>()
}

/// The file that comes with the project.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/transactions_autoconnect.csv")
}

/// A file of which every twentieth row is wrong or odd.
pub(crate) fn dirty(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("dirty.csv");
    let options = Options {
        rows: 3_000,
        cities: 5,
        dirty: 0.05,
        seed: 7,
        truth: false,
    };
    generate(&options, &file)?;
    Ok(file)
}

/// A report on the sales in `file`, of which any share may be rejected.
pub(crate) fn sales(file: &Path, chunk_rows: u32) -> Result<JobRequest> {
    let usual = Sales {
        chunk_rows,
        max_rejects: MaxRejects::Percent(Percent::from_units(100)),
        margin: Margin::default(),
    };
    let today = NaiveDate::from_ymd_opt(2025, 6, 30).unwrap_or_default();
    let request = usual.request(vec![file.to_owned()], today);
    Ok(name_job::<sales::Sales>(&registry(), &request, None)?)
}

/// The words of a text.
pub(crate) fn words(folder: &Path, chunk_lines: u32) -> Result<JobRequest> {
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
