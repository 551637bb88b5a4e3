//! A whole job: settings and flags become a request, the request a report, in this process or through RabbitMQ.
//!
//! ```text
//! one process    producer --+                       +-- worker x N --+
//!                           +--> embedded broker <--+-- reducer      +--> --out
//! --broker URI   producer --+--> RabbitMQ <-- workers and reducer: started here (--workers N), or elsewhere
//! ```
//!
//! With `autoconnect submit` none of this runs here: a cluster does the whole job.
//!
//! Either way the job ends with its [`Event::Finished`](autoconnect_common::message::Event::Finished), and the bytes of the report are the same.

mod cluster;
mod embedded;
mod plan;
mod produce;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use autoconnect_common::message::JobRequest;
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Format, Registry, ask, program};
use clap::{ArgMatches, Args, ValueHint};
use serde_json::value::RawValue;

use crate::kind::{self, AnyCommand};
use crate::options::{self, Accepting, Place, Print};
use crate::progress::{Bar, Gauge, Measure};
use crate::roles::check_folder;
use crate::summary::Finished;
use crate::trouble::Trouble;
use crate::{Failure, ending};
use plan::Plan;

/// The arguments of `run` that every kind has.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Where to write the report [default: results]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    #[command(flatten)]
    accepting: Accepting,

    /// How many workers [default: one for each core; with --broker, those that already run]
    ///
    /// With --broker, this many worker processes and a reducer are started for this job and stopped at its end. Without
    /// --workers, a reducer and workers must already run.
    #[arg(short, long, value_name = "N", value_parser = options::workers, help_heading = "Working")]
    workers: Option<NonZeroU16>,

    #[command(flatten)]
    print: Print,

    #[command(flatten)]
    place: Place,
}

/// `autoconnect run`, or the command of another kind.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(
    kind: &dyn AnyCommand,
    typed: &ArgMatches,
    registry: &Arc<Registry>,
) -> Result<(), Failure> {
    let asked: Run = kind::typed(typed)?;
    let print = asked.print;
    ending::carry_out(print, kind, || {
        let settings = asked.settings(registry)?;
        let request = kind.request(typed, &settings)?;
        let plan = plan(asked, &settings, kind.format(), request, registry)?;
        let finished = carry_out_plan(&plan, print.shows_progress())?;
        Ok((plan.out, finished))
    })
}

impl Run {
    /// Reads the settings from every layer; flags override the others.
    ///
    /// # Errors
    /// [`Failure`] for a setting that is unknown.
    fn settings(&self, registry: &Registry) -> Result<Settings, Failure> {
        let out = self.out.as_ref().map(|path| path.display());
        let sources = self.place.sources().flag("reducer.results", out);
        self.place.read(sources, registry)
    }
}

/// Checks settings, input and output folder, before anything is started.
fn plan(
    asked: Run,
    settings: &Settings,
    format: Format,
    request: Box<RawValue>,
    registry: &Arc<Registry>,
) -> Result<Plan, Failure> {
    let broker: settings::Broker = settings.load()?;
    let kind = registry
        .known(&format.kind, format.schema)
        .map_err(Failure::failed)?;
    // through a broker each run has its own job id: the reducer of a cluster may already have ended an equal request
    let run = broker.uri.is_some().then(ask::unheard);
    let request = autoconnect_producer::name_erased(kind, request, run.as_deref())
        .map_err(|error| Trouble::Producer(error.into()).into_failure())?;
    let blobs = settings.load::<settings::Blobs>()?.open();
    let blobs = blobs.map_err(Failure::usage)?;
    let reducer: settings::Reducer = settings.load()?;
    check_folder(&reducer.results)?;
    Ok(Plan {
        registry: Arc::clone(registry),
        request: JobRequest {
            accept: asked.accepting.into(),
            ..request
        },
        out: reducer.results,
        threads: settings.load::<settings::Producer>()?.threads,
        workers: asked.workers.map(Into::into),
        prefetch: settings.load::<settings::Worker>()?.prefetch,
        blobs,
        broker,
        config: asked.place.config,
        profile: asked.place.profile,
    })
}

fn carry_out_plan(plan: &Plan, show_progress: bool) -> Result<Finished, Failure> {
    program::run(|shutdown| async move {
        let gauge = Arc::new(Gauge::default());
        let _bar = Bar::start(show_progress, Measure::Bytes, &gauge);
        let finished = match plan.broker.uri {
            Some(_) => cluster::run(plan, &gauge, &shutdown).await,
            None => embedded::run(plan, &gauge, &shutdown).await,
        };
        finished.map_err(Trouble::into_failure)
    })
}
