//! Many small jobs, requested one after the other: how many end each second.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::{Broker as _, JobId, Shutdown};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_worker as worker;
use clap::Args;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, End, ended, folder};
use crate::figures::seconds;
use crate::work::{Plan, Work};

/// The number and size of the jobs, and the least rate.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many jobs are requested
    #[arg(long, default_value_t = 1_000)]
    jobs: u32,
    /// Rows of each
    #[arg(long, default_value_t = 100)]
    rows: u64,
    /// Workers: processes, or with --embedded tasks
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Run all roles in one process over the embedded broker, with a reducer that keeps a journal, as `autoconnect serve` does
    #[arg(long)]
    embedded: bool,
    /// The least number of jobs that must end each second
    #[arg(long, default_value_t = 50)]
    least: u32,
}

/// Runs the jobs, and prints how many ended each second.
///
/// # Errors
/// If these are too few, or a job is not done.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let plan = Plan::new(options.rows, 3, 0.0, 16_384);
    let work = Work::file_only(plan, &folder()?.join("data"))?;
    let (way, took) = match options.embedded {
        false => ("through RabbitMQ", through_rabbitmq(options, &work).await?),
        true => ("embedded", embedded(options, &work).await?),
    };
    let rate = f64::from(options.jobs) / took.as_secs_f64();
    println!(
        "rate {way}: {} jobs of {} rows in {} s, {rate:.0} a second, {} workers",
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
    Ok(())
}

async fn through_rabbitmq(options: &Options, work: &Work) -> Result<Duration> {
    let cluster = Cluster::start(&new_name()?, options.workers).await?;
    // a first job, so that every program is running before the measurement begins
    let first = cluster.ask(work, "first").await?;
    cluster.end_of(&first.job).await?;
    let began = Instant::now();
    let mut asked = Vec::new();
    for job in 0..options.jobs {
        asked.push(cluster.ask(work, &format!("rate-{job}")).await?);
    }
    let mut over = began;
    for asked in asked {
        let end = cluster.end_of(&asked.job).await?;
        is_done(&asked.job, &end)?;
        over = over.max(end.at);
    }
    cluster.stop().await?;
    Ok(over - began)
}

async fn embedded(options: &Options, work: &Work) -> Result<Duration> {
    let folder = folder()?.join(new_name()?);
    let results = folder.join("results");
    let (broker, stop) = (Embedded::new(), Shutdown::new());
    let mut roles = start(options, &broker, &folder, &stop);
    let began = Instant::now();
    let mut asked = Vec::new();
    for job in 0..options.jobs {
        let request = work.request(&format!("rate-{job}"))?;
        broker.publish(request.to_message()?).await?;
        asked.push(request.job);
    }
    let mut over = began;
    for job in asked {
        let own = results.join("jobs").join(job.as_str());
        let end = tokio::select! {
            end = ended(&own) => end?,
            Some(role) = roles.join_next() => {
                role??;
                anyhow::bail!("a role ended before it was stopped");
            }
        };
        is_done(&job, &end)?;
        over = over.max(end.at);
    }
    stop.cancel();
    while let Some(role) = roles.join_next().await {
        role??;
    }
    fs::remove_dir_all(&folder).context("removing what the roles wrote")?;
    Ok(over - began)
}

/// Starts every role; each runs until `stop`.
fn start(
    options: &Options,
    broker: &Embedded,
    folder: &Path,
    stop: &Shutdown,
) -> JoinSet<Result<()>> {
    let registry = Arc::new(autoconnect_jobs::registry());
    let shared = || (broker.clone(), Arc::clone(&registry), stop.clone());
    let mut roles = JoinSet::new();
    let (broker, registry, stop) = shared();
    let config = reducer::Config::durable(folder.join("results"), folder.join("state"));
    roles.spawn(async move {
        let reduced = reducer::run(&broker, &registry, config, stop).await;
        reduced.map(drop).map_err(anyhow::Error::from)
    });
    let (broker, registry, stop) = shared();
    roles.spawn(async move {
        let config = producer::Config {
            threads: 2,
            data: None,
            blobs: None,
        };
        let produced = producer::run(&broker, &registry, &config, &stop).await;
        produced.map(drop).map_err(anyhow::Error::from)
    });
    for number in 1..=options.workers {
        let (broker, registry, stop) = shared();
        let config = worker::Config::named(format!("worker-{number}"));
        roles.spawn(async move {
            let worked = worker::run(&broker, &registry, &config, &stop).await;
            worked.map(drop).map_err(anyhow::Error::from)
        });
    }
    roles
}

fn is_done(job: &JobId, end: &End) -> Result<()> {
    let (status, reason) = (&end.execution["status"], &end.execution["reason"]);
    ensure!(status == "done", "{job}: {status}: {reason}");
    Ok(())
}

/// The name of a new folder for this run, which ext4 places in another part of the disk. Without a journal, ext4 does not
/// reuse inodes that were freed within the last minute, and skips each of them for every new file nearby. Near the 20,000
/// removed files of the previous run, that takes as long as the run itself.
fn new_name() -> Result<String> {
    let folder = folder()?;
    fs::create_dir_all(&folder)?;
    let opened = File::open(&folder)?;
    // other file systems refuse the flag, and do not need it
    let _spread =
        ioctl_getflags(&opened).and_then(|flags| ioctl_setflags(&opened, flags | IFlags::TOPDIR));
    // remove the folders of runs that failed
    for left in fs::read_dir(&folder)? {
        let left = left?;
        if left.file_name().to_string_lossy().starts_with("rate-") {
            fs::remove_dir_all(left.path())?;
        }
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(format!("rate-{}", since.as_millis()))
}
