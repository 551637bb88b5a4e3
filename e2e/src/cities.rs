//! A report on thousands of cities over eight years: the memory of the reducer while it merges and concludes it.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cluster::{Cluster, folder};
use crate::figures::{mib, seconds};
use crate::process::resident_peak;
use crate::work::Work;

/// The months and the models of the file: as many as a network of dealers has.
const MONTHS: u64 = 96;
const MODELS: u64 = 12;

/// The size of the file, and the bound of the memory.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Cities of the file
    #[arg(long, default_value_t = 5_000)]
    cities: u64,
    /// Rows of the file: 150 for each city, so that it has most months
    #[arg(long, default_value_t = 750_000)]
    rows: u64,
    /// The most memory of the reducer, in MiB
    #[arg(long, default_value_t = 190)]
    most: u64,
}

/// Runs it, and prints the reducer's peak.
///
/// # Errors
/// If the peak exceeds its bound, or the job is neither done nor refused as too large.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let data = folder()?.join("data");
    fs::create_dir_all(&data)?;
    let file = data.join(format!("cities-{}-{}.csv", options.cities, options.rows));
    if !file.exists() {
        let unfinished = file.with_extension("unfinished");
        write(options, &unfinished)?;
        fs::rename(&unfinished, &file)?;
    }
    let cluster = Cluster::start("cities", 2).await?;
    let asked = cluster.ask(&Work::of(file), "cities").await?;
    let end = cluster.end_of(&asked.job).await?;
    let pid = cluster.program("reducer")?.pid();
    let peak = pid.and_then(resident_peak).context("the reducer lives")?;
    let (status, reason) = (&end.execution["status"], &end.execution["reason"]);
    let report = fs::metadata(end.results.join("report.json")).map_or(0, |file| file.len());
    println!(
        "cities: {} cities, {} rows: {status} after {} s; report.json {} MiB; the reducer's peak {} MiB",
        options.cities,
        options.rows,
        seconds(end.at - asked.at),
        mib(report / 1024),
        mib(peak)
    );
    let refused = reason
        .as_str()
        .is_some_and(|reason| reason.contains("too large for one report"));
    ensure!(status == "done" || refused, "{status}: {reason}");
    ensure!(
        peak <= options.most << 10,
        "the reducer held {} MiB, expected at most {}",
        mib(peak),
        options.most
    );
    cluster.stop().await
}

/// Writes the file: each city has rows of one month and one model after another.
fn write(options: &Options, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(
        file,
        "transaction_id,date,ville,type,modele,prix,duree_location_mois"
    )?;
    for row in 0..options.rows {
        let (city, turn) = (row % options.cities, row / options.cities);
        let month = (turn * 7 + city) % MONTHS;
        let (year, month, day) = (2018 + month / 12, month % 12 + 1, row % 28 + 1);
        let model = (turn * 5 + city) % MODELS;
        write!(
            file,
            "TX{row:09},{year}-{month:02}-{day:02},Ville numero {city:05},"
        )?;
        if row % 5 < 3 {
            let price = 5_000 + row % 55_000;
            writeln!(file, "vente,Modele_{model:02},{price},")?;
        } else {
            let (rent, length) = (200 + row % 700, 6 + row % 43);
            writeln!(file, "location,Modele_{model:02},{rent},{length}")?;
        }
    }
    Ok(file.flush()?)
}
