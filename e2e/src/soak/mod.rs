//! The soak: jobs back to back while workers, the reducer and the broker are killed at random, by a seed (`schedule`).
//!
//! Every job's results are compared with those of the run in one process, byte for byte. The memory of every program is
//! measured each second.

mod schedule;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::Value;

use self::schedule::{Fault, Kind};
use crate::cluster::{Asked, Cluster, folder, program_of};
use crate::figures::{median, row, seconds, table};
use crate::memory::{Growth, Memory};
use crate::work::{Plan, Work};

/// The files, which are requested in this order again and again: rows, cities, share of faults, rows of a chunk.
const PLANS: [Plan; 4] = [
    Plan::new(1_800_000, 3, 0.01, 700),
    Plan::new(1_200_000, 40, 0.04, 300),
    Plan::new(3_000_000, 12, 0.002, 2_000),
    Plan::new(700_000, 400, 0.02, 200),
];
/// How many jobs are open at a time: two, so that the cluster is never idle.
const AHEAD: usize = 2;
/// How often memory is measured.
const LOOK: Duration = Duration::from_secs(1);
/// The least length of a run that judges memory: in a shorter one, programs are still warming up.
const LONG_ENOUGH: Duration = Duration::from_secs(600);
/// The name of the broker in the table of programs.
const BROKER: &str = "broker";
/// The most that a program's memory may grow, in percent.
const GROWTH: f64 = 10.0;

/// The length of the run, and the seed.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long jobs are requested, in minutes
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// The seed of the schedule of faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many workers; the first is never killed
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..))]
    workers: u32,
}

/// The sums of all jobs.
#[derive(Default)]
struct Tally {
    jobs: usize,
    chunks: u64,
    redeliveries: u64,
    duplicates: u64,
    /// The time from the end of the previous job to the end of each job.
    took: Vec<Duration>,
    /// The jobs whose results differ from those of one process, or that are not done.
    other: Vec<String>,
}

/// The state that the tasks share.
struct Soak {
    cluster: Cluster,
    works: Vec<Work>,
    workers: u32,
    until: Instant,
    /// The number of starts and ends of outages of the broker: odd during an outage.
    outages: AtomicU64,
    /// How many jobs have ended.
    ended: AtomicUsize,
    memory: Mutex<Memory>,
}

/// Runs the soak, and prints its figures.
///
/// # Errors
/// If a promise is broken.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let autoconnect = program_of("autoconnect")?;
    let data = folder()?.join("data");
    let works = PLANS.map(|plan| Work::make(plan, &autoconnect, &data));
    let works = works.into_iter().collect::<Result<Vec<_>>>()?;
    let cluster = Cluster::start("soak", options.workers).await?;
    let version = cluster.node.version().await?;
    println!(
        "soak: {} minutes, seed {}, {} workers, RabbitMQ {}\n",
        options.minutes, options.seed, options.workers, version
    );
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let soak = Soak {
        cluster,
        works,
        workers: options.workers,
        until: Instant::now() + length,
        outages: AtomicU64::new(0),
        ended: AtomicUsize::new(0),
        memory: Mutex::default(),
    };
    let (tally, faults) = tokio::select! {
        done = async { tokio::try_join!(soak.jobs(), soak.faults(options.seed)) } => done?,
        never = soak.look() => match never {},
    };
    let growth = soak
        .memory
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .growth();
    print(&tally, &faults, &growth);
    let identical = if tally.other.is_empty() { "yes" } else { "no" };
    println!("\nidentical: {identical}");
    let mut wrong = tally.other;
    if length >= LONG_ENOUGH {
        // the broker restarts every forty seconds, and its memory depends on its queues: it is printed, but not judged
        let ours = growth.iter().filter(|growth| growth.program != BROKER);
        wrong.extend(ours.filter_map(too_much));
    }
    wrong.extend(soak.cluster.leftovers().await?);
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    soak.cluster.stop().await
}

impl Soak {
    /// Requests jobs until the time is over, and judges each.
    async fn jobs(&self) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut waiting: VecDeque<(Asked, &Work)> = VecDeque::new();
        let mut works = self.works.iter().cycle().enumerate();
        let mut before = Instant::now();
        loop {
            while Instant::now() < self.until && waiting.len() < AHEAD {
                if let Some((number, work)) = works.next() {
                    waiting.push_back((self.cluster.ask(work, &number.to_string()).await?, work));
                }
            }
            let Some((asked, work)) = waiting.pop_front() else {
                return Ok(tally);
            };
            let end = self.cluster.end_of(&asked.job).await?;
            tally.took.push(end.at - before);
            before = end.at;
            tally.count(&end.execution);
            self.ended.store(tally.jobs, Ordering::Relaxed);
            let other = work.differences(&end.results)?;
            if end.execution["status"] != "done" || !other.is_empty() {
                let how = &end.execution["status"];
                tally.other.push(format!(
                    "job {}: {how}, other bytes in {other:?}",
                    asked.job
                ));
            }
        }
    }

    /// Measures the memory of every program, for as long as it is polled.
    async fn look(&self) -> std::convert::Infallible {
        let names: Vec<&str> = self.cluster.names().chain([BROKER]).collect();
        loop {
            let job = self.ended.load(Ordering::Relaxed);
            for name in &names {
                if let Some(kib) = self.cluster.resident(name) {
                    let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                    memory.note(name, job, kib);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Tally {
    /// Adds the figures of an `execution.json`.
    fn count(&mut self, execution: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let workers = execution["workers"].as_object().into_iter().flatten();
        self.jobs += 1;
        self.chunks += number(&execution["chunks"]["merged"]);
        self.duplicates += number(&execution["duplicates_dropped"]);
        self.redeliveries += workers
            .map(|(_, worker)| number(&worker["redeliveries"]))
            .sum::<u64>();
    }
}

fn print(tally: &Tally, faults: &[Fault], growth: &[Growth]) {
    let longest = tally.took.iter().max().copied().unwrap_or_default();
    let usual = median(&tally.took).unwrap_or_default();
    table(&[
        row([
            &"jobs",
            &"s a job (median)",
            &"longest",
            &"chunks",
            &"redeliveries",
            &"duplicates dropped",
            &"faults",
        ]),
        row([
            &tally.jobs,
            &seconds(usual),
            &seconds(longest),
            &tally.chunks,
            &tally.redeliveries,
            &tally.duplicates,
            &faults.len(),
        ]),
    ]);
    println!(
        "\nRecovery: from when what was down is there again, until every program is connected and a job went on.\n"
    );
    let mut rows = vec![row([
        &"fault",
        &"times",
        &"of them, the broker was away as well",
        &"recovery s (median)",
        &"longest",
    ])];
    for (kind, name) in Kind::ALL {
        let these = || faults.iter().filter(|fault| fault.kind == kind);
        let recoveries: Vec<Duration> = these().filter_map(|fault| fault.recovery).collect();
        let shown = |recovery: Option<Duration>| recovery.map_or_else(|| "-".to_owned(), seconds);
        rows.push(row([
            &name,
            &these().count(),
            &(these().count() - recoveries.len()),
            &shown(median(&recoveries)),
            &shown(recoveries.iter().max().copied()),
        ]));
    }
    table(&rows);
    println!(
        "\nMemory in MiB: the most in each tenth of the time; growth in percent, last third of the jobs against the first.\n"
    );
    let tenths = (1..=10).map(|tenth| tenth.to_string());
    let head = std::iter::once("program".to_owned())
        .chain(tenths)
        .chain(["growth %".to_owned()]);
    let rows = std::iter::once(head.collect()).chain(growth.iter().map(Growth::row));
    table(&rows.collect::<Vec<_>>());
}

/// The complaint about a program whose memory grew too much, or has too few measurements.
fn too_much(growth: &Growth) -> Option<String> {
    match growth.percent {
        Some(percent) if percent <= GROWTH => None,
        Some(percent) => Some(format!(
            "the memory of {} grew by {percent:.1} %",
            growth.program
        )),
        None => Some(format!(
            "too few jobs to judge the memory of {}",
            growth.program
        )),
    }
}
