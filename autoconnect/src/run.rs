//! A whole job: settings and flags become a request, the request a report, in this process or through RabbitMQ.
//!
//! ```text
//! one process    producer --+                       +-- worker x N --+
//!                           +--> embedded broker <--+-- reducer      +--> --out
//! --broker URI   producer --+--> RabbitMQ <-- workers and reducer: started here (--workers N), or elsewhere
//! ```
//!
//! `autoconnect submit` asks a cluster for all of it, and only follows the job.
//!
//! Either way the job ends with its [`Event::Finished`], and the bytes of the report are the same.

mod cluster;
mod submit;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use autoconnect_common::ask;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{BrokerError, Queue, Subscription};
use autoconnect_common::message::{Event, JobRequest, Status};
use autoconnect_common::program::{self, Exit};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Broker, JobId, Registry, Shutdown};
use autoconnect_jobs::sales::{Request, Sales};
use autoconnect_jobs::settings::{Limit, Sales as SalesSettings, today};
use autoconnect_worker as worker;
use tokio::task::JoinSet;

use crate::progress::{Bar, Gauge, Measure};
use crate::summary::{self, Finished};
use crate::trouble::Trouble;
use crate::{Failure, cli};

pub use cluster::work;
pub(crate) use submit::carry_out as submit;

/// How long the roles may take to stop once the job has ended or was given up.
const GOODBYE: Duration = Duration::from_secs(10);
/// Events of a job that wait to be read.
const EVENTS: u16 = 64;

/// A job and everything around it, checked.
struct Plan {
    registry: Arc<Registry>,
    request: JobRequest,
    out: PathBuf,
    /// How many threads parse.
    threads: usize,
    /// How many workers were asked for.
    workers: Option<u16>,
    prefetch: u16,
    broker: settings::Broker,
    /// Where a worker process finds the same settings.
    config: Option<PathBuf>,
    profile: Option<String>,
}

/// `autoconnect run`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub fn carry_out(asked: cli::Run) -> Result<(), Failure> {
    let print = asked.print;
    told(print, || {
        let plan = plan(asked)?;
        let finished = carry_out_plan(&plan, print.shows_progress())?;
        Ok((plan.out, finished))
    })
}

/// Carries out a job, and prints how it ended.
fn told(
    print: cli::Print,
    job: impl FnOnce() -> Result<(PathBuf, Finished), Failure>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let (shown, ended) = match job() {
        Ok((out, finished)) => {
            let shown = match (print.quiet, print.json) {
                (true, _) => String::new(),
                (_, true) => summary::json(&out, &finished, start.elapsed()),
                _ if !finished.status.has_report() => String::new(),
                _ => summary::text(&out, &finished, start.elapsed()),
            };
            (shown, verdict(finished))
        }
        Err(failure) if print.json => (summary::json_of_failure(&failure), Err(failure)),
        Err(failure) => (String::new(), Err(failure)),
    };
    // whoever reads us may have had enough: the files are written all the same
    let _ = std::io::stdout().lock().write_all(shown.as_bytes());
    ended
}

fn verdict(finished: Finished) -> Result<(), Failure> {
    let reason = |otherwise: &str| {
        finished
            .reason
            .clone()
            .unwrap_or_else(|| otherwise.to_owned())
    };
    match finished.status {
        Status::Done => Ok(()),
        Status::Incomplete => Err(Failure::new(
            Exit::Incomplete,
            format!("the report is incomplete: {}", reason("chunks are missing")),
        )),
        Status::Failed => Err(Failure::failed(reason("the job failed"))),
        Status::Cancelled => Err(Failure::failed(reason("the job was cancelled"))),
    }
}

/// Checks flags, settings, input and output folder, before anything is started.
fn plan(asked: cli::Run) -> Result<Plan, Failure> {
    let settings = asked.settings()?;
    let registry = Arc::new(autoconnect_jobs::registry());
    let broker: settings::Broker = load(&settings)?;
    let inputs = match asked.files.as_slice() {
        [] => vec![PathBuf::from(cli::DEFAULT_FILE)],
        files => files.to_vec(),
    };
    let request = request(&asked.reading, inputs, &settings)?;
    let request = JobRequest {
        accept: asked.accepting.into(),
        ..name_job(&registry, &request, broker.uri.is_some())?
    };
    let reducer: settings::Reducer = load(&settings)?;
    check_folder(&reducer.results)?;
    Ok(Plan {
        registry,
        request,
        out: reducer.results,
        threads: load::<settings::Producer>(&settings)?.threads,
        workers: asked.workers.map(Into::into),
        prefetch: load::<settings::Worker>(&settings)?.prefetch,
        broker,
        config: asked.place.config,
        profile: asked.place.profile,
    })
}

pub(crate) fn load<T: settings::Section>(settings: &Settings) -> Result<T, Failure> {
    settings.load().map_err(Failure::usage)
}

fn request(
    asked: &cli::Reading,
    inputs: Vec<PathBuf>,
    settings: &Settings,
) -> Result<Request, Failure> {
    let sales: SalesSettings = load(settings)?;
    let usual = sales.request(inputs, asked.today.unwrap_or_else(today));
    Ok(Request {
        delimiter: asked.delimiter,
        encoding: asked.encoding.into(),
        dedup: !asked.no_dedup,
        max_rejects: asked
            .max_rejects
            .map_or(sales.max_rejects, |Limit(limit)| limit),
        periode: asked.periode.or(usual.periode),
        ..usual
    })
}

/// Gives the request its job's name; through a broker each run is a job of its own, since a reducer elsewhere may have
/// ended an equal one before.
fn name_job(registry: &Registry, request: &Request, anew: bool) -> Result<JobRequest, Failure> {
    let run = anew.then(ask::unheard);
    autoconnect_producer::name_job::<Sales>(registry, request, run.as_deref())
        .map_err(|error| Trouble::Producer(error).into_failure())
}

/// Finds out before the work, not after it, that the report cannot be written.
pub(crate) fn check_folder(out: &Path) -> Result<(), Failure> {
    let probe = out.join(format!(".autoconnect-{}", std::process::id()));
    std::fs::create_dir_all(out)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| {
            Failure::usage(format!(
                "{}: cannot write the report there: {error}",
                out.display()
            ))
        })
}

fn carry_out_plan(plan: &Plan, show_progress: bool) -> Result<Finished, Failure> {
    program::run(|shutdown| async move {
        let gauge = Arc::new(Gauge::default());
        let _bar = Bar::start(show_progress, Measure::Bytes, &gauge);
        let finished = match plan.broker.uri {
            Some(_) => cluster::run(plan, &gauge, &shutdown).await,
            None => embedded(plan, &gauge, &shutdown).await,
        };
        finished.map_err(Trouble::into_failure)
    })
}

/// The roles that were started for this job; each ends when it is told to, and only then.
pub(crate) type Roles = JoinSet<Result<(), Trouble>>;

/// All three acts in this process.
async fn embedded(plan: &Plan, gauge: &Gauge, shutdown: &Shutdown) -> Result<Finished, Trouble> {
    let broker = Embedded::new();
    let events = broker
        .subscribe(Queue::Events(plan.request.job.clone()), EVENTS)
        .await?;
    let stop = shutdown.child_token();
    let mut roles = Roles::new();
    let config = autoconnect_reducer::Config::volatile(&plan.out);
    roles.spawn(reduce(
        broker.clone(),
        Arc::clone(&plan.registry),
        config,
        stop.clone(),
    ));
    for number in 1..=plan.workers.map_or(plan.threads, usize::from) {
        let config = worker::Config {
            prefetch: plan.prefetch,
            ..worker::Config::named(format!("worker-{number}"))
        };
        roles.spawn(work_here(
            broker.clone(),
            Arc::clone(&plan.registry),
            config,
            stop.clone(),
        ));
    }
    let finished = follow(&broker, plan, events, &mut roles, gauge, shutdown).await;
    leave(&broker, roles, &stop).await;
    finished
}

pub(crate) async fn reduce<B: Broker>(
    broker: B,
    registry: Arc<Registry>,
    config: autoconnect_reducer::Config,
    stop: Shutdown,
) -> Result<(), Trouble> {
    autoconnect_reducer::run(&broker, &registry, config, stop)
        .await
        .map(|_| ())
        .map_err(|error| Trouble::of(&error))
}

pub(crate) async fn work_here<B: Broker>(
    broker: B,
    registry: Arc<Registry>,
    config: worker::Config,
    stop: Shutdown,
) -> Result<(), Trouble> {
    worker::run(&broker, &registry, &config, &stop)
        .await
        .map(|_| ())
        .map_err(|error| Trouble::of(&error))
}

/// Produces the job and follows it to its end.
async fn follow<B: Broker>(
    broker: &B,
    plan: &Plan,
    events: Subscription,
    roles: &mut Roles,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    tokio::select! {
        biased;
        finished = produce(broker, plan, events, gauge, shutdown) => finished,
        Some(ended) = roles.join_next() => Err(match ended {
            Ok(Err(trouble)) => trouble,
            Ok(Ok(())) if shutdown.is_cancelled() => Trouble::Interrupted,
            Ok(Ok(())) => Trouble::Failed("a role ended before the job did".to_owned()),
            Err(death) => Trouble::Failed(format!("a role died: {death}")),
        }),
        () = shutdown.cancelled() => Err(Trouble::Interrupted),
    }
}

async fn produce<B: Broker>(
    broker: &B,
    plan: &Plan,
    events: Subscription,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    let producing = async {
        autoconnect_producer::run_job(
            broker,
            &plan.registry,
            &plan.request,
            plan.threads,
            Arc::clone(&gauge.cut),
            shutdown,
        )
        .await
        .map_err(Trouble::Producer)?;
        // the job's end is not ours to tell
        std::future::pending().await
    };
    tokio::select! {
        biased;
        finished = listen(events, &plan.request.job, gauge) => finished,
        cut_short = producing => cut_short,
    }
}

/// Listens to a job until its end.
async fn listen(mut events: Subscription, job: &JobId, gauge: &Gauge) -> Result<Finished, Trouble> {
    loop {
        let event = events.next().await.ok_or(BrokerError::Closed)?;
        let news = Event::from_message(&event.message);
        event.ack();
        if let Ok(news) = news
            && let Some(finished) = heard(news, job, gauge)
        {
            return Ok(finished);
        }
    }
}

/// Takes note of an event; gives the job's end back, if that is what it tells.
fn heard(event: Event, ours: &JobId, gauge: &Gauge) -> Option<Finished> {
    match event {
        Event::Progress {
            job, done, total, ..
        } if job == *ours => {
            gauge.merged.store(done, Ordering::Relaxed);
            gauge.chunks.store(total.unwrap_or(0), Ordering::Relaxed);
            None
        }
        Event::Finished {
            job,
            status,
            reason,
            report,
            execution,
            ..
        } if job == *ours => Some(Finished {
            job,
            status,
            reason,
            report,
            execution,
        }),
        _ => None,
    }
}

/// Tells every role to stop, waits for them, and closes the broker.
pub(crate) async fn leave<B: Broker>(broker: &B, mut roles: Roles, stop: &Shutdown) {
    stop.cancel();
    let all = async { while roles.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, all).await;
    broker.close().await;
}
