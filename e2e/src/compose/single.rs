//! One broker: programs and broker killed, frozen, cut off; packets lost; more and fewer workers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use autoconnect_common::broker::Queue;
use autoconnect_testkit::broker::queue;

use super::engine::{docker, iptables};
use super::{Jobs, Project, Seen};

/// The log message of a program that has lost its connection.
const NOTICED: &str = "the broker session ended";
/// The log message of a program that has connected again.
const CONNECTED: &str = "connected";
/// The log message of a reducer that has locked the state folder.
const LOCKED: &str = "state folder locked";

/// The stages, in their order.
pub(super) const NAMES: &[&str] = &[
    "kill worker",
    "kill reducer",
    "kill producer",
    "kill broker",
    "pause broker 60 s",
    "pause worker 60 s",
    "worker cut off 90 s",
    "reducer cut off 30 s, with a standby",
    "reducer killed, with a standby",
    "a tenth of a worker's packets dropped for 20 s",
    "scale 1 to 6 to 2",
];

/// Runs one stage.
pub(super) async fn stage(name: &str, project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    match name {
        "kill worker" => kill(project, jobs, "worker").await,
        "kill reducer" => kill(project, jobs, "reducer").await,
        "kill producer" => kill(project, jobs, "producer").await,
        "kill broker" => kill(project, jobs, "rabbitmq").await,
        "pause broker 60 s" => pause_broker(project, jobs).await,
        "pause worker 60 s" => worker_away(project, jobs, Away::Paused, 60).await,
        "worker cut off 90 s" => worker_away(project, jobs, Away::CutOff, 90).await,
        "reducer cut off 30 s, with a standby" => standby(project, jobs, Away::CutOff).await,
        "reducer killed, with a standby" => standby(project, jobs, Away::Killed).await,
        "a tenth of a worker's packets dropped for 20 s" => drops(project, jobs).await,
        "scale 1 to 6 to 2" => scale(project, jobs).await,
        other => bail!("no stage {other}"),
    }
}

/// How a container is taken away from the cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Paused,
    CutOff,
    Killed,
}

impl Away {
    async fn begin(self, project: &Project, container: &str) -> Result<()> {
        match self {
            Self::Paused => docker(&["pause", container]).await,
            Self::CutOff => docker(&["network", "disconnect", &project.network(), container]).await,
            Self::Killed => docker(&["kill", container]).await,
        }
        .map(drop)
    }

    async fn end(self, project: &Project, container: &str) -> Result<()> {
        match self {
            Self::Paused => docker(&["unpause", container]).await,
            Self::CutOff => docker(&["network", "connect", &project.network(), container]).await,
            Self::Killed => docker(&["start", container]).await,
        }
        .map(drop)
    }
}

/// Kills a container in the middle of a job, and starts it again.
async fn kill(project: &Project, jobs: &mut Jobs, service: &str) -> Result<Seen> {
    let work = jobs.next(3_000, 500)?;
    let meddling = async {
        project.under_way().await?;
        let container = project.container(service).await?;
        Away::Killed.begin(project, &container).await?;
        let killed = Instant::now();
        Away::Killed.end(project, &container).await?;
        let restart = killed.elapsed();
        project.gap().await?;
        Ok((restart, killed.elapsed()))
    };
    let (job, (restart, gap)) = tokio::try_join!(project.job(&work), meddling)?;
    Ok(Seen::new(job)
        .within("started again after", restart, 10)
        .within("the job went on after", gap, 30))
}

/// Freezes the broker for a minute: every program must notice, and none may hang.
async fn pause_broker(project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    let work = jobs.next(3_000, 500)?;
    let meddling = async {
        project.under_way().await?;
        let broker = project.container("rabbitmq").await?;
        let mut watched = Vec::new();
        for service in ["producer", "worker", "reducer"] {
            let container = project.container(service).await?;
            let length = project.log_length(&container).await?;
            watched.push((container, length));
        }
        Away::Paused.begin(project, &broker).await?;
        let since = Instant::now();
        let mut noticed = Duration::ZERO;
        let within = Duration::from_secs(50);
        for (container, length) in &watched {
            project.says(container, *length, NOTICED, within).await?;
            noticed = since.elapsed();
        }
        tokio::time::sleep(Duration::from_secs(60).saturating_sub(since.elapsed())).await;
        Away::Paused.end(project, &broker).await?;
        let gap = project.gap().await?;
        Ok((noticed, gap))
    };
    let (job, (noticed, gap)) = tokio::try_join!(project.job(&work), meddling)?;
    Ok(Seen::new(job)
        .within("noticed by all after", noticed, 21)
        .within("the job went on, after it was thawed,", gap, 30))
}

/// Freezes or cuts off a worker: its chunks must be redelivered to the others, and results that it sends later be dropped.
async fn worker_away(project: &Project, jobs: &mut Jobs, away: Away, seconds: u64) -> Result<Seen> {
    let work = jobs.next(3_000, 500)?;
    let begun = std::sync::OnceLock::new();
    let meddling = async {
        project.under_way().await?;
        let worker = project.container("worker").await?;
        let length = project.log_length(&worker).await?;
        let chunks = queue(Queue::Chunks);
        let consumers = project.consumers(&chunks).await?;
        away.begin(project, &worker).await?;
        let since = *begun.get_or_init(Instant::now);
        // its unacked chunks are requeued when the broker closes its connection
        while project.consumers(&chunks).await? >= consumers {
            anyhow::ensure!(
                since.elapsed() < Duration::from_secs(seconds),
                "the broker never gave it up"
            );
        }
        let given_up = since.elapsed();
        tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(since.elapsed())).await;
        away.end(project, &worker).await?;
        // the worker reconnects by itself
        project
            .says(&worker, length, NOTICED, Duration::from_secs(60))
            .await?;
        let back = since.elapsed().saturating_sub(Duration::from_secs(seconds));
        Ok((worker, length, given_up, back))
    };
    let (job, (worker, length, given_up, back)) = tokio::try_join!(project.job(&work), meddling)?;
    let begun = begun.get().context("the worker was never kept away")?;
    // the job can only end once its last chunks have been redelivered to the other worker
    let ended = job.at.saturating_duration_since(*begun);
    let away_still = ended < Duration::from_secs(seconds);
    project
        .says(&worker, length, CONNECTED, Duration::from_secs(60))
        .await?;
    Ok(Seen::new(job)
        .within("its chunks went to others after", given_up, 30)
        .holds("the job ended without it", away_still)
        .within("it came back after", back, 30))
}

/// Runs a second reducer on the same state folder: only one of them may ever write.
async fn standby(project: &Project, jobs: &mut Jobs, away: Away) -> Result<Seen> {
    let first = project.container("reducer").await?;
    project
        .compose(&[
            "up",
            "--detach",
            "--no-deps",
            "--no-recreate",
            "--scale",
            "reducer=2",
            "reducer",
        ])
        .await?;
    let second = project
        .containers("reducer")
        .await?
        .pop()
        .context("no second reducer")?;
    let work = jobs.next(3_000, 500)?;
    let meddling = take_away(project, away, &first, &second);
    let outcome = tokio::try_join!(project.job(&work), meddling);
    let left_over = match away {
        Away::Killed => {
            away.end(project, &first).await?;
            &first
        }
        _ => &second,
    };
    docker(&["rm", "-f", left_over]).await?;
    let (job, took) = outcome?;
    Ok(match away {
        Away::CutOff => Seen::new(job)
            .holds("the standby wrote nothing", true)
            .within("the job went on, after the cut,", took, 30),
        _ => Seen::new(job).within("the standby took over after", took, 65),
    })
}

/// Takes the first reducer away in the middle of a job; returns how long the job then made no step.
async fn take_away(project: &Project, away: Away, first: &str, standby: &str) -> Result<Duration> {
    project.under_way().await?;
    let length = project.log_length(standby).await?;
    away.begin(project, first).await?;
    match away {
        // the reducer that is cut off keeps the lock of the folder, so the standby must not write
        Away::CutOff => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let locked = project.says(standby, length, LOCKED, Duration::ZERO);
            let locked = locked.await.is_ok();
            away.end(project, first).await?;
            anyhow::ensure!(
                !locked,
                "the standby took the state folder of a reducer that lives"
            );
            project.gap().await
        }
        // the lock of a dead reducer is released, and the standby takes it
        _ => {
            let ninety = Duration::from_secs(90);
            project.says(standby, length, LOCKED, ninety).await
        }
    }
}

/// Drops a tenth of a worker's packets.
async fn drops(project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    let work = jobs.next(3_000, 500)?;
    let worker = project.container("worker").await?;
    let rule = [
        "INPUT",
        "-p",
        "tcp",
        "-m",
        "statistic",
        "--mode",
        "random",
        "--probability",
        "0.1",
        "-j",
        "DROP",
    ];
    iptables(&worker, &[&["-A"], &rule[..]].concat()).await?;
    let meddling = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        iptables(&worker, &[&["-D"], &rule[..]].concat()).await
    };
    let (job, ()) = tokio::try_join!(project.job(&work), meddling)?;
    Ok(Seen::new(job).holds("it finished", true))
}

/// Adds and removes workers during a job.
async fn scale(project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    project.scale(1).await?;
    let work = jobs.next(8_000, 500)?;
    let meddling = async {
        project.under_way().await?;
        project.scale(6).await?;
        project.gap().await?;
        project.scale(2).await?;
        let dead = project.queues().await?;
        let dead: u64 = dead
            .iter()
            .filter(|(name, _)| name == "q.chunks.dead")
            .map(|(_, n)| n)
            .sum();
        Ok((project.containers("worker").await?.len(), dead))
    };
    let (job, (left, dead)) = tokio::try_join!(project.job(&work), meddling)?;
    Ok(Seen::new(job)
        .holds("two workers are left", left == 2)
        .holds("no chunk is dead", dead == 0))
}
