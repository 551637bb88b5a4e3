//! The part of the fault suite that needs containers: the faults of `docs/faults.md` that Docker can cause.
//!
//! Every stage runs a job, causes a fault in the middle of it, and waits for its end. It compares the job's results with those
//! of the run in one process, byte for byte, and its measurements with the figures of the table.

mod engine;
mod project;
mod single;
mod three;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use self::project::{Ended, Project};
use crate::cluster::{folder, program_of};
use crate::figures::{row, seconds, table};
use crate::work::{Plan, Work};

/// The compose files of a cluster over three brokers.
const THREE: &str = "docker-compose.yml:docker-compose.cluster.yml";
/// The compose file of a cluster over one broker.
const ONE: &str = "docker-compose.yml";

/// The stages to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only the stages whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

/// The findings of a stage.
struct Seen {
    /// The job of the stage; the default value if none was submitted.
    job: Ended,
    /// The measurements, as text.
    figures: String,
    /// The broken promises.
    wrong: Vec<String>,
}

impl Seen {
    fn new(job: Ended) -> Self {
        Self {
            job,
            figures: String::new(),
            wrong: Vec::new(),
        }
    }

    /// Records a time, which must be at most `bar` seconds.
    fn within(mut self, what: &str, took: Duration, bar: u64) -> Self {
        self.note(&format!("{what} {} s", seconds(took)));
        if took > Duration::from_secs(bar) {
            self.wrong.push(format!(
                "{what} {} s, expected at most {bar} s",
                seconds(took)
            ));
        }
        self
    }

    /// Records a promise, and whether it holds.
    fn holds(mut self, what: &str, so: bool) -> Self {
        if so {
            self.note(what);
        } else {
            self.wrong.push(format!("not so: {what}"));
        }
        self
    }

    fn note(&mut self, what: &str) {
        if !self.figures.is_empty() {
            self.figures.push_str("; ");
        }
        self.figures.push_str(what);
    }
}

/// Makes jobs of a similar size, each on a file of its own.
struct Jobs {
    next: u64,
}

impl Jobs {
    /// A job of about `thousands` thousand rows, in chunks of `chunk_rows`.
    fn next(&mut self, thousands: u64, chunk_rows: u32) -> Result<Work> {
        self.next += 1;
        let plan = Plan::new(thousands * 1_000 + self.next, 12, 0.01, chunk_rows);
        Work::make(plan, &program_of("autoconnect")?, &folder()?.join("data"))
    }
}

/// Runs the stages, and prints their findings.
///
/// # Errors
/// If a promise is broken.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| name.contains(&options.only);
    let mut jobs = Jobs { next: 0 };
    let mut rows = vec![row([
        &"fault",
        &"job s",
        &"redeliveries",
        &"duplicates dropped",
        &"seen",
    ])];
    let mut wrong = Vec::new();
    let mut version = String::new();
    for (files, name, stages) in [(ONE, "one", single::NAMES), (THREE, "three", three::NAMES)] {
        let stages: Vec<&str> = stages.iter().copied().filter(|name| wanted(name)).collect();
        if stages.is_empty() {
            continue;
        }
        let project = Project::prepare(name, files).await?;
        project.up(2).await?;
        version = project.ctl("rabbitmq", &["version"]).await?;
        for stage in stages {
            eprintln!("{stage}");
            let seen = match name {
                "one" => single::stage(stage, &project, &mut jobs).await,
                _ => three::stage(stage, &project, &mut jobs).await,
            };
            match seen {
                Ok(seen) => {
                    rows.push(row([
                        &stage,
                        &seconds(seen.job.took),
                        &seen.job.redeliveries,
                        &seen.job.duplicates,
                        &seen.figures,
                    ]));
                    wrong.extend(seen.wrong.iter().map(|what| format!("{stage}: {what}")));
                }
                Err(error) => wrong.push(format!("{stage}: {error:#}")),
            }
        }
        let dead = project.queues().await?;
        let dead = dead
            .iter()
            .filter(|(name, messages)| name.contains("dead") && *messages > 0);
        wrong.extend(dead.map(|(name, messages)| format!("{messages} messages in {name}")));
    }
    println!(
        "faults in containers, RabbitMQ {version}; every report with the bytes of one process unless said otherwise\n"
    );
    table(&rows);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n       "));
    Ok(())
}
