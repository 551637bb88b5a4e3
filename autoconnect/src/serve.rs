//! `autoconnect serve`: the API, the dashboard and all three roles in this process, over the embedded broker.
//!
//! ```text
//! browser --> api --> q.jobs --> producer --> q.chunks --> worker x N --> q.results --> reducer --> --results
//! ```
//!
//! The reducer's state, with the end of every job, outlives the process; the queues do not. So the next start cancels each
//! job that was open when the process ended, with that reason.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoconnect_api as api;
use autoconnect_common::ask::{self, Answer};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::message::{Cancel, JobStage, Stage};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Broker as _, Registry, Shutdown, program, telemetry};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_worker as worker;
use clap::{Args, ValueHint};

use crate::options::{self, Place};
use crate::roles::{Roles, check_folder, leave, reduce, work_here};
use crate::trouble::Trouble;
use crate::{Failure, print};

/// The arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on [default: 127.0.0.1:5000]; one that other machines reach needs a token, see
    /// AUTOCONNECT_API__TOKEN_FILE
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,

    /// The folder that jobs may read files from; uploads go into its folder incoming [default: data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data: Option<PathBuf>,

    /// Where reports are written [default: results]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    results: Option<PathBuf>,

    /// How many workers [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = options::workers)]
    workers: Option<NonZeroU16>,

    #[command(flatten)]
    place: Place,
}

impl Serve {
    /// Reads the settings from every layer; flags override the others.
    ///
    /// # Errors
    /// [`Failure`] for a setting that is unknown.
    fn settings(&self, registry: &Registry) -> Result<Settings, Failure> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let sources = self.place.sources();
        let sources = sources.flag("reducer.results", path(&self.results));
        let sources = sources.flag("api.data", path(&self.data));
        self.place
            .read(sources.flag("api.bind", self.bind), registry)
    }
}

/// `autoconnect serve`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Serve, registry: &Arc<Registry>) -> Result<(), Failure> {
    let settings = asked.settings(registry)?;
    if settings.load::<settings::Broker>()?.uri.is_some() {
        return Err(Failure::usage(
            "serve runs every role in this process and takes no broker; for a cluster, start the program `api`",
        ));
    }
    let config = api::Config::load(&settings)?;
    check_folder(&config.results)?;
    let log: settings::Log = settings.load()?;
    telemetry::start(&log.filter, log.json);
    program::run(|shutdown| {
        serve(
            settings,
            Arc::clone(registry),
            config,
            asked.workers,
            shutdown,
        )
    })
}

async fn serve(
    settings: Settings,
    registry: Arc<Registry>,
    config: api::Config,
    workers: Option<NonZeroU16>,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let listener = api::bind(&config).await?;
    let address = listener.local_addr().map_err(|error| Failure::of(&error))?;
    let (broker, stop) = (Embedded::new(), shutdown.child_token());
    let mut roles = start(&broker, &settings, &registry, &config, workers, &stop)?;
    let link = api::link::Link::Embedded(broker.clone());
    let serving = async {
        let cancelled = cancel_unfinished(&broker).await;
        cancelled.map_err(Trouble::into_failure)?;
        print::out(&format!("http://{address}\n"))?;
        api::serve(config, link, listener, &stop).await
    };
    let served = tokio::select! {
        biased;
        served = serving => served,
        Some(ended) = roles.join_next() => match ended {
            Ok(Ok(())) if stop.is_cancelled() => Ok(()),
            Ok(Ok(())) => Err(Failure::failed("a role ended before it was stopped")),
            Ok(Err(trouble)) => Err(trouble.into_failure()),
            Err(panic) => Err(Failure::failed(format!("a role ended abnormally: {panic}"))),
        },
    };
    leave(&broker, roles, &stop).await;
    served
}

/// Starts every role; each runs until `stop`.
fn start(
    broker: &Embedded,
    settings: &Settings,
    registry: &Arc<Registry>,
    config: &api::Config,
    workers: Option<NonZeroU16>,
    stop: &Shutdown,
) -> Result<Roles, Failure> {
    let threads = settings.load::<settings::Producer>()?.threads;
    let prefetch = settings.load::<settings::Worker>()?.prefetch;
    let abandon_after = settings.load::<settings::Reducer>()?.abandon_after;
    let blobs = settings.load::<settings::Blobs>()?.open();
    let blobs = Some(blobs.map_err(Failure::usage)?);
    let mut roles = Roles::new();
    let durable = reducer::Config {
        abandon_after,
        blobs: blobs.clone(),
        ..reducer::Config::durable(&config.results, state(&config.results))
    };
    roles.spawn(reduce(
        broker.clone(),
        Arc::clone(registry),
        durable,
        stop.clone(),
    ));
    roles.spawn(produce(
        broker.clone(),
        Arc::clone(registry),
        producer::Config {
            threads,
            data: Some(config.api.data.clone()),
            blobs: blobs.clone(),
        },
        stop.clone(),
    ));
    for number in 1..=workers.map_or(threads, |workers| usize::from(workers.get())) {
        let config = worker::Config {
            blobs: blobs.clone(),
            prefetch,
            ..worker::Config::named(format!("worker-{number}"))
        };
        roles.spawn(work_here(
            broker.clone(),
            Arc::clone(registry),
            config,
            stop.clone(),
        ));
    }
    Ok(roles)
}

/// The state folder of the reducer.
fn state(results: &Path) -> PathBuf {
    results.join(".reducer")
}

async fn produce(
    broker: Embedded,
    registry: Arc<Registry>,
    config: producer::Config,
    stop: Shutdown,
) -> Result<(), Trouble> {
    producer::run(&broker, &registry, &config, &stop)
        .await
        .map(|_| ())
        .map_err(Trouble::Producer)
}

/// Cancels the jobs that the last process left unfinished: their chunks were lost with its queues.
async fn cancel_unfinished(broker: &Embedded) -> Result<(), Trouble> {
    let Answer { jobs, .. } = ask::ask(broker, None).await?;
    let open = |job: &JobStage| !matches!(job.stage, Stage::Ended { .. });
    for JobStage { job, .. } in jobs.into_iter().filter(open) {
        let cancel = Cancel {
            job,
            reason: "the server was stopped before the job ended".to_owned(),
        };
        let cancel = cancel.to_message().map_err(|error| Trouble::of(&error))?;
        broker.publish(cancel).await?;
    }
    Ok(())
}
