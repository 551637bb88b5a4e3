//! The delay that a SIGKILL of each program causes to a job of 10 million rows, beyond the restart of that program.
//!
//! Cost = the job's duration, minus the median duration of undisturbed jobs of the same cluster, minus the restart: the time
//! from the kill until the program logs that it started, or the broker listens.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use crate::cluster::{Cluster, folder, program_of};
use crate::figures::{median, row, seconds, table};
use crate::work::{Plan, Work};

/// The most that a kill may cost, in seconds.
const BAR: f64 = 5.0;
/// How many undisturbed jobs are timed, after one that warms up.
const UNDISTURBED: usize = 3;

/// The programs that are killed, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kills of each program, at random moments of a job
    #[arg(long, default_value_t = 5)]
    moments: u32,
    /// Rows of the job
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Only these programs, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "producer,worker-1,reducer,broker"
    )]
    only: Vec<String>,
    /// The seed of the random moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many workers
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

/// Kills each program, and prints the cost.
///
/// # Errors
/// If a kill costs more than 5 s, or a result differs.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let plan = Plan::new(options.rows, 12, 0.001, 16_384);
    let work = Work::make(plan, &program_of("autoconnect")?, &folder()?.join("data"))?;
    let cluster = Cluster::start("kill-cost", options.workers).await?;
    let mut rng = Pcg64Mcg::seed_from_u64(options.seed);
    let mut undisturbed = Vec::new();
    for number in 0..=UNDISTURBED {
        let took = job(&cluster, &work, &format!("undisturbed {number}")).await?;
        if number > 0 {
            undisturbed.push(took);
        }
    }
    let usual = median(&undisturbed).unwrap_or_default();
    println!(
        "kill-cost: {} rows, {} workers, seed {}; undisturbed {} s\n",
        options.rows,
        options.workers,
        options.seed,
        seconds(usual)
    );
    let mut rows = vec![row([&"killed", &"at s", &"restart s", &"job s", &"cost s"])];
    let mut most = f64::MIN;
    for name in &options.only {
        for number in 0..options.moments {
            let at = usual.mul_f64(rng.random_range(0.05..0.95));
            let run = format!("{name} {number}");
            let (took, restart) =
                tokio::try_join!(job(&cluster, &work, &run), kill(&cluster, name, at))?;
            let cost = took.as_secs_f64() - usual.as_secs_f64() - restart.as_secs_f64();
            most = most.max(cost);
            rows.push(row([
                &name,
                &seconds(at),
                &seconds(restart),
                &seconds(took),
                &format!("{cost:+.1}"),
            ]));
        }
    }
    table(&rows);
    println!("\nmost: {most:.1} s, every report with the bytes of one process");
    ensure!(
        most <= BAR,
        "a kill cost {most:.1} s, expected at most {BAR} s"
    );
    cluster.stop().await
}

/// Runs a job, whose results must be those of the run in one process, and returns its duration.
async fn job(cluster: &Cluster, work: &Work, run: &str) -> Result<Duration> {
    let asked = cluster.ask(work, run).await?;
    let end = cluster.end_of(&asked.job).await?;
    let other = work.differences(&end.results)?;
    let how = &end.execution["status"];
    ensure!(
        how == "done" && other.is_empty(),
        "{run}: {how}, other bytes in {other:?}"
    );
    Ok(end.at - asked.at)
}

/// Kills a program after that time and starts it again at once; returns how long it was down.
async fn kill(cluster: &Cluster, name: &str, after: Duration) -> Result<Duration> {
    tokio::time::sleep(after).await;
    let since = Instant::now();
    if name == "broker" {
        cluster.node.end("KILL").await?;
        cluster.node.again().await?;
    } else {
        cluster.program(name)?.kill()?;
        cluster.program(name)?.again()?;
    }
    Ok(since.elapsed())
}
