//! Two inputs of 5 million rows each, matched by key in one process: the peak memory of producer, workers and reducer together.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use autoconnect_common::Registry;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::message::Status;
use autoconnect_producer::name_job;
use autoconnect_testkit::cluster::Cluster;
use autoconnect_testkit::join::{Facts, Join, Matched, Read, Report, Sums, request};
use clap::Args;

use crate::cluster::folder;
use crate::figures::{mib, seconds};
use crate::process::resident_peak;

/// The size of the files, and the bound of the memory.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rows of either file
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    /// The most memory of the process, in MiB
    #[arg(long, default_value_t = 200)]
    most: u64,
}

/// One of this many keys has no match in the other file.
const ALONE: u64 = 3;

/// Runs it, and prints the peak.
///
/// # Errors
/// If the peak exceeds its bound, or the report is not the one that the files were made for.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let data = folder()?.join("data");
    fs::create_dir_all(&data)?;
    let rows = options.rows;
    let [left, right] = ["left", "right"].map(|side| data.join(format!("join-{rows}-{side}.csv")));
    // the left file is in order; the right one is scattered, and has other keys where a key must have no match
    write(&left, rows, |row| row)?;
    write(&right, rows, |row| {
        let number = scattered(row, rows);
        if number.is_multiple_of(ALONE) {
            number + rows
        } else {
            number
        }
    })?;
    let bytes = fs::metadata(&left)?.len() + fs::metadata(&right)?.len();
    let registry = || Registry::default().with::<Join>();
    let job = name_job::<Join>(&registry(), &request(&left, &right), None)?;
    let begin = Instant::now();
    let outcome = Cluster::of(registry(), 2).run(Embedded::new(), job).await?;
    let took = begin.elapsed();
    ensure!(outcome.end.status == Status::Done, "{:?}", outcome.end);
    let report: Report = serde_json::from_slice(outcome.report()?)?;
    let peak = resident_peak(std::process::id()).context("this process lives")?;
    println!(
        "join: {rows} rows a side, {:.2} GB: {} chunks after {} s; the peak of producer, workers and reducer together {} MiB",
        bytes as f64 / 1e9,
        outcome.reducer.merged,
        seconds(took),
        mib(peak)
    );
    let expected = expected(rows);
    ensure!(report == expected, "{report:?}, expected {expected:?}");
    ensure!(
        peak <= options.most << 10,
        "the process held {} MiB, expected at most {}",
        mib(peak),
        options.most
    );
    Ok(())
}

/// A permutation of the numbers below `rows` that separates neighbours. 2,654,435,761 is a prime, so it has no divisor in common
/// with `rows`.
fn scattered(row: u64, rows: u64) -> u64 {
    // both factors are below 2^32, so the product fits 64 bits
    row * 2_654_435_761 % rows
}

/// The key and the amount of a number: a plate such as `AA-123-AA`, and euros.
fn line(number: u64) -> (String, u64) {
    let letter = |place: u32| char::from(b'A' + (number / 26_u64.pow(place) % 26) as u8);
    let key = format!(
        "{}{}-{:03}-{}{}",
        letter(0),
        letter(1),
        number / 456_976 % 1_000,
        letter(2),
        letter(3)
    );
    (key, number % 90_001)
}

/// Writes a file whose row n has the key and amount of `number(n)`, unless the file exists.
fn write(path: &Path, rows: u64, number: impl Fn(u64) -> u64) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::new(File::create(&unfinished)?);
    writeln!(file, "key,amount,name,city,since")?;
    for row in 0..rows {
        let (key, amount) = line(number(row));
        let day = row % 28 + 1;
        writeln!(
            file,
            "{key},{amount},Client numero {row:08},Ville {:03},2024-03-{day:02}",
            row % 400
        )?;
    }
    file.flush()?;
    Ok(fs::rename(unfinished, path)?)
}

/// The report that the files were made for.
fn expected(rows: u64) -> Report {
    let alone = rows.div_ceil(ALONE);
    let amounts: u64 = (0..rows)
        .filter(|number| !number.is_multiple_of(ALONE))
        .map(|number| line(number).1)
        .sum();
    let matched = Matched {
        matched: rows - alone,
        unmatched: alone,
        amount: amounts as i64,
    };
    let read = Read {
        accepted: rows,
        rejected: 0,
    };
    Report {
        read: Facts {
            left: read,
            right: read,
        },
        sums: Sums {
            left: matched,
            right: matched,
        },
        missing: Vec::new(),
    }
}
