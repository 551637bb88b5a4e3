//! Runs a job through RabbitMQ: with worker processes and a reducer of its own, or with those that run elsewhere.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::ask;
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{Broker as _, Queue, Subscription};
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::Status;
use autoconnect_common::results::{self, EXECUTION};
use autoconnect_common::{Digest, Shutdown};
use tokio::process::{Child, Command};

use super::plan::Plan;
use super::produce::{follow, produce};
use crate::contact;
use crate::follow::EVENTS;
use crate::progress::Gauge;
use crate::roles::{Roles, leave, reduce};
use crate::spool::Spool;
use crate::summary::Finished;
use crate::trouble::Trouble;

/// How often a killed worker process is restarted. A chunk that kills its workers does so up to 22 times before it is
/// dead-lettered, so 100 restarts outlast four such chunks; on a machine that kills every process, the restarts end.
const RESTARTS: u32 = 100;

/// How long the broker may take to remove a run's own queues: a queue takes some ten milliseconds. Queues that are left
/// expire an hour after their last use.
const REMOVE: Duration = Duration::from_secs(10);

/// Runs a job: on a cluster that this run starts, with queues of its own, or on an existing one.
pub(super) async fn run(
    plan: &Plan,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    let options = Options::of(&plan.broker, "autoconnect run", plan.registry.formats());
    match plan.workers {
        None => on(plan, RabbitMq::connect(options)?, None, gauge, shutdown).await,
        Some(_) if !plan.broker.declare => Err(Trouble::Failed(
            "--workers starts a cluster for this run, which declares queues, but broker.declare is false: leave out \
             --workers to use workers that already run"
                .to_owned(),
        )),
        Some(workers) => {
            let own = Options {
                prefix: own_prefix(plan),
                passing: true,
                ..options
            };
            let rabbit = RabbitMq::connect(own.clone())?;
            let cluster = Own {
                workers,
                prefix: &own.prefix,
            };
            let finished = on(plan, rabbit, Some(cluster), gauge, shutdown).await;
            // also after an error and after Ctrl-C: no other program removes these queues
            if let Err(error) = RabbitMq::remove_all(own.clone(), REMOVE).await {
                let prefix = &own.prefix;
                tracing::warn!(%error, prefix, "the queues of this run expire an hour after their last use");
            }
            finished
        }
    }
}

/// A cluster that a run starts for itself.
struct Own<'p> {
    workers: u16,
    prefix: &'p str,
}

/// The prefix of the queues of a run's own cluster: the id of its job, and 8 random hexadecimal digits.
fn own_prefix(plan: &Plan) -> String {
    let site = &plan.broker.prefix;
    // a prefix has at most 64 characters: `run-`, `-`, 8 digits and `.` take 14, the job and the site's prefix the other 50
    let room = 50usize.saturating_sub(site.len());
    let job: String = plan.request.job.as_str().chars().take(room).collect();
    let run = Digest::of(ask::unheard().as_bytes()).short(8);
    format!("{site}run-{job}-{run}.")
}

async fn on(
    plan: &Plan,
    rabbit: RabbitMq,
    own: Option<Own<'_>>,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    let job = &plan.request.job;
    let spool = Spool::new(rabbit.clone(), &plan.out, job);
    let mut producing = Box::pin(produce(&spool, plan, gauge, shutdown));
    let events = tokio::select! {
        biased;
        events = begin(plan, &rabbit, own.is_some()) => events,
        // for a cluster of this run's own, cut the first chunks while its queues are declared; a chunk waits for them
        trouble = &mut producing, if own.is_some() => Err(trouble),
        () = shutdown.cancelled() => Err(Trouble::Interrupted),
    };
    let events = match events {
        Ok(events) => events,
        Err(trouble) => {
            rabbit.close().await;
            return Err(trouble);
        }
    };
    let stop = shutdown.child_token();
    let mut roles = Roles::new();
    let state = plan.out.join(".reducer");
    if let Some(own) = &own {
        let config = autoconnect_reducer::Config {
            blobs: Some(plan.blobs.clone()),
            // a cluster may share the store, and its jobs are not known here
            sweeps: false,
            ..autoconnect_reducer::Config::durable(&plan.out, &state)
        };
        let registry = Arc::clone(&plan.registry);
        roles.spawn(reduce(rabbit.clone(), registry, config, stop.clone()));
        for number in 1..=own.workers {
            let name = format!("worker-{}-{number}", std::process::id());
            let worker = worker_command(plan, &name, own.prefix)?;
            roles.spawn(supervise(worker, stop.clone()));
        }
    }
    let finished = tokio::select! {
        finished = follow(producing, plan, events, &mut roles, gauge, shutdown) => finished,
        trouble = ask::remind(&rabbit, job) => Err(trouble.into()),
    };
    let fetched = match &finished {
        Ok(finished) if !is_written(plan) => tokio::select! {
            fetched = spool.fetch(finished) => fetched.map_err(|error| Trouble::of(&error)),
            () = shutdown.cancelled() => Err(Trouble::Interrupted),
        },
        _ => Ok(()),
    };
    leave(&rabbit, roles, &stop).await;
    if own.is_some() {
        remove_state(&state);
    }
    let mut finished = finished?;
    fetched?;
    write_if_elsewhere(plan, &spool, &mut finished)?;
    Ok(finished)
}

/// Subscribes to the job's events; for a reducer that is not this run's own, then waits for its first answer.
async fn begin(plan: &Plan, rabbit: &RabbitMq, is_own: bool) -> Result<Subscription, Trouble> {
    let listening = rabbit.subscribe(Queue::Events(plan.request.job.clone()), EVENTS);
    let events = contact::first(rabbit, listening).await?;
    if !is_own {
        a_reducer_answers(plan, rabbit).await?;
    }
    Ok(events)
}

/// Checks, before anything is sent, that an existing cluster has a reducer.
async fn a_reducer_answers(plan: &Plan, rabbit: &RabbitMq) -> Result<(), Trouble> {
    match ask::ask(rabbit, Some(&plan.request.job)).await {
        Ok(_) => Ok(()),
        Err(ask::AskError::Silence) => Err(Trouble::Failed(format!(
            "{}: no reducer answered within {} seconds: start one (and workers), or have this run start its own cluster \
             with --workers",
            rabbit.addresses(),
            ask::ANSWER.as_secs()
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Whether the reducer wrote the job's files here.
fn is_written(plan: &Plan) -> bool {
    let own = results::job_folder(&plan.out, &plan.request.job);
    own.join(REPORT).exists() || own.join(EXECUTION).exists()
}

/// Writes the job's files, rendered from the same report, where the reducer ran on another machine and wrote its own there.
fn write_if_elsewhere(
    plan: &Plan,
    spool: &Spool<RabbitMq>,
    finished: &mut Finished,
) -> Result<(), Trouble> {
    if is_written(plan) {
        return Ok(());
    }
    let kind = plan
        .registry
        .known(&plan.request.kind, plan.request.schema)
        .map_err(Trouble::Failed)?;
    let refused = spool
        .write(kind, &plan.out, finished, plan.request.accept)
        .map_err(|error| Trouble::of(&error))?;
    // the reducer's reason is about the newest report in its own folder, not in this one
    if finished.status == Status::Done {
        finished.reason = refused;
    }
    Ok(())
}

/// Removes the reducer's state, unless it holds results of another job: these exist nowhere else.
fn remove_state(state: &Path) {
    let is_empty = |folder: &Path| {
        std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
    };
    if is_empty(&state.join("jobs")) {
        let _ = std::fs::remove_dir_all(state);
    }
}

/// The command of a worker process. The address is passed in the environment, because every user can see arguments.
fn worker_command(plan: &Plan, name: &str, prefix: &str) -> Result<Command, Trouble> {
    let program = std::env::current_exe()
        .map_err(|error| Trouble::Failed(format!("cannot find this program: {error}")))?;
    let mut command = Command::new(program);
    command.args(["worker", "--name", name]);
    if let Some(config) = &plan.config {
        command.arg("--config").arg(config);
    }
    if let Some(profile) = &plan.profile {
        command.arg("--profile").arg(profile);
    }
    if let Some(uri) = &plan.broker.uri {
        command.env("AUTOCONNECT_BROKER__URI", uri.expose());
    }
    if let Some(ca) = &plan.broker.ca {
        command.env("AUTOCONNECT_BROKER__CA", ca);
    }
    command.env("AUTOCONNECT_BLOBS__URL", plan.blobs.place().to_string());
    command.env("AUTOCONNECT_BLOBS__MAX", plan.blobs.max().to_string());
    command.env("AUTOCONNECT_BROKER__PREFIX", prefix);
    command.env("AUTOCONNECT_BROKER__DECLARE", "false");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.kill_on_drop(true);
    Ok(command)
}

/// Restarts one worker process until `stop`; then closes its standard input, at which it exits.
async fn supervise(mut command: Command, stop: Shutdown) -> Result<(), Trouble> {
    for _ in 0..RESTARTS {
        let mut worker = command
            .spawn()
            .map_err(|error| Trouble::Failed(format!("cannot start a worker process: {error}")))?;
        tokio::select! {
            () = stop.cancelled() => {
                drop(worker.stdin.take());
                let _ = worker.wait().await;
                return Ok(());
            }
            ended = ended(&mut worker) => {
                if let Some(code) = ended?.code() {
                    // the worker printed the reason
                    return Err(Trouble::Failed(format!("a worker process ended with exit code {code}")));
                }
                tracing::warn!("a worker process was killed and is restarted");
            }
        }
    }
    Err(Trouble::Failed(format!(
        "a worker process was killed {RESTARTS} times"
    )))
}

async fn ended(worker: &mut Child) -> Result<ExitStatus, Trouble> {
    // take the worker's standard input first: `wait` would close it, at which the worker stops
    let stdin = worker.stdin.take();
    let status = worker.wait().await;
    drop(stdin);
    status.map_err(|error| Trouble::Failed(format!("cannot wait for a worker process: {error}")))
}
