//! Many small jobs, asked for one after the other: how many a second end.

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cluster::{Cluster, folder};
use crate::figures::seconds;
use crate::work::{Plan, Work};

/// How many, and how fast.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Jobs that are asked for
    #[arg(long, default_value_t = 1_000)]
    jobs: u32,
    /// Rows of each
    #[arg(long, default_value_t = 100)]
    rows: u64,
    /// Worker processes
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// The least number of jobs that are to end each second
    #[arg(long, default_value_t = 50)]
    least: u32,
}

/// Runs them, and prints how many ended a second.
///
/// # Errors
/// Where those are too few, or one is not done.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let plan = Plan::new(options.rows, 3, 0.0, 16_384);
    let work = Work::file_only(plan, &folder()?.join("data"))?;
    let cluster = Cluster::start("rate", options.workers).await?;
    // so that every program is there before the clock runs
    let first = cluster.ask(&work, "first").await?;
    cluster.end_of(&first.job).await?;
    let began = Instant::now();
    let mut asked = Vec::new();
    for job in 0..options.jobs {
        asked.push(cluster.ask(&work, &format!("rate-{job}")).await?);
    }
    let mut over = began;
    for asked in asked {
        let end = cluster.end_of(&asked.job).await?;
        let (status, reason) = (&end.execution["status"], &end.execution["reason"]);
        ensure!(status == "done", "{}: {status}: {reason}", asked.job);
        over = over.max(end.at);
    }
    let took = over - began;
    let rate = f64::from(options.jobs) / took.as_secs_f64();
    println!(
        "rate: {} jobs of {} rows in {} s, {rate:.0} a second, {} workers",
        options.jobs,
        options.rows,
        seconds(took),
        options.workers
    );
    ensure!(
        rate >= f64::from(options.least),
        "{rate:.0} jobs a second, expected at least {}",
        options.least
    );
    cluster.stop().await
}
