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
use autoconnect_common::{Registry, ask, program};
use autoconnect_jobs::sales::{Request, Sales};
use clap::{Args, ValueHint};

use crate::kinds::sales::{self, DEFAULT_FILE, Reading};
use crate::options::{self, Accepting, Place, Print};
use crate::progress::{Bar, Gauge, Measure};
use crate::roles::check_folder;
use crate::summary::Finished;
use crate::trouble::Trouble;
use crate::{Failure, ending};
use plan::Plan;

/// What `run` was asked, as typed.
#[derive(Debug, Default, Args)]
pub(crate) struct Run {
    /// Files and folders to read, in this order; - is standard input [default: data/transactions_autoconnect.csv]
    ///
    /// A folder stands for the CSV files in it, by name. Files may be compressed (.gz, .zst).
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,

    /// Where to write the report [default: results]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,

    #[command(flatten)]
    reading: Reading,

    #[command(flatten)]
    accepting: Accepting,

    /// How many workers [default: one for each core; with --broker, those that run elsewhere]
    ///
    /// With --broker, so many worker processes and a reducer are started for this job and stopped at its end; without
    /// this, they must run elsewhere.
    #[arg(short, long, value_name = "N", value_parser = options::workers, help_heading = "Working")]
    workers: Option<NonZeroU16>,

    #[command(flatten)]
    print: Print,

    #[command(flatten)]
    place: Place,
}

impl Run {
    /// Every layer of the settings, flags last.
    ///
    /// # Errors
    /// [`Failure`] for a setting that is unknown.
    fn settings(&self) -> Result<Settings, Failure> {
        let out = self.out.as_ref().map(|path| path.display());
        let sources = self.place.sources().flag("reducer.results", out);
        self.place.read(self.reading.flags(sources))
    }
}

/// `autoconnect run`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Run) -> Result<(), Failure> {
    let print = asked.print;
    ending::told(print, || {
        let plan = plan(asked)?;
        let finished = carry_out_plan(&plan, print.shows_progress())?;
        Ok((plan.out, finished))
    })
}

/// Checks flags, settings, input and output folder, before anything is started.
fn plan(asked: Run) -> Result<Plan, Failure> {
    let settings = asked.settings()?;
    let registry = Arc::new(autoconnect_jobs::registry());
    let broker: settings::Broker = settings.load()?;
    let inputs = match asked.files.as_slice() {
        [] => vec![PathBuf::from(DEFAULT_FILE)],
        files => files.to_vec(),
    };
    let request = sales::request(&asked.reading, inputs, &settings)?;
    let request = JobRequest {
        accept: asked.accepting.into(),
        ..name_job(&registry, &request, broker.uri.is_some())?
    };
    let reducer: settings::Reducer = settings.load()?;
    check_folder(&reducer.results)?;
    Ok(Plan {
        registry,
        request,
        out: reducer.results,
        threads: settings.load::<settings::Producer>()?.threads,
        workers: asked.workers.map(Into::into),
        prefetch: settings.load::<settings::Worker>()?.prefetch,
        broker,
        config: asked.place.config,
        profile: asked.place.profile,
    })
}

/// Gives the request its job's name; through a broker each run is a job of its own, since a reducer elsewhere may have
/// ended an equal one before.
fn name_job(registry: &Registry, request: &Request, anew: bool) -> Result<JobRequest, Failure> {
    let run = anew.then(ask::unheard);
    autoconnect_producer::name_job::<Sales>(registry, request, run.as_deref())
        .map_err(|error| Trouble::Producer(error).into_failure())
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
