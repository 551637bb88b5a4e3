//! A job that the cluster does by itself: its producer cuts, its workers work, its reducer writes; we follow.

use std::path::PathBuf;
use std::sync::Arc;

use autoconnect_common::ask;
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::JobRequest;
use autoconnect_common::program::Exit;
use autoconnect_common::settings::{Reducer, Settings};
use autoconnect_jobs::sales::Sales;

use clap::{Args, ValueHint};

use crate::follow::{EVENTS, listen};
use crate::kinds::sales::{self, Reading};
use crate::options::{Accepting, Place, Print};
use crate::progress::{Bar, Gauge, Measure};
use crate::summary::Finished;
use crate::{Failure, contact, ending, print};

/// What the broker calls us.
const NAME: &str = "autoconnect submit";

/// What `submit` was asked, as typed.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Files and folders to read, in this order, as the cluster's producer sees them
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,

    /// Print the job's id, and leave the job to the cluster
    #[arg(long, conflicts_with_all = ["quiet", "json"])]
    no_wait: bool,

    #[command(flatten)]
    reading: Reading,

    #[command(flatten)]
    accepting: Accepting,

    #[command(flatten)]
    print: Print,

    #[command(flatten)]
    place: Place,
}

impl Submit {
    /// Every layer of the settings, flags last.
    ///
    /// # Errors
    /// [`Failure`] for a setting that is unknown.
    fn settings(&self) -> Result<Settings, Failure> {
        self.place.read(self.reading.flags(self.place.sources()))
    }
}

/// `autoconnect submit`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Submit) -> Result<(), Failure> {
    if asked.no_wait {
        let (settings, request) = named(&asked)?;
        let message = request.to_message().map_err(|error| Failure::of(&error))?;
        contact::at(&settings, NAME, async |rabbit| {
            contact::first(rabbit, rabbit.publish(message)).await
        })?;
        return print::out(&format!("{}\n", request.job));
    }
    ending::told(asked.print, || {
        let (settings, request) = named(&asked)?;
        let finished = follow(&settings, &request, asked.print.shows_progress())?;
        Ok((settings.load::<Reducer>()?.results, finished))
    })
}

/// The settings, and the request under a name of its own.
fn named(asked: &Submit) -> Result<(Settings, JobRequest), Failure> {
    let settings = asked.settings()?;
    if asked.files.iter().any(|file| file.as_os_str() == "-") {
        return Err(Failure::usage(
            "-: found standard input, expected files that the cluster's producer sees",
        ));
    }
    let request = sales::request(&asked.reading, asked.files.clone(), &settings)?;
    let request = autoconnect_producer::name_unseen::<Sales>(&request, &ask::unheard());
    let request = JobRequest {
        accept: asked.accepting.into(),
        ..request.map_err(Failure::usage)?
    };
    Ok((settings, request))
}

/// Sends the request, and follows its job to the end.
fn follow(
    settings: &Settings,
    request: &JobRequest,
    shows_progress: bool,
) -> Result<Finished, Failure> {
    let job = &request.job;
    let message = request.to_message().map_err(|error| Failure::of(&error))?;
    let followed = contact::at(settings, NAME, async |rabbit| {
        let gauge = Arc::new(Gauge::default());
        let _bar = Bar::start(shows_progress, Measure::Chunks, &gauge);
        let listening = rabbit.subscribe(Queue::Events(job.clone()), EVENTS);
        let events = contact::first(rabbit, listening).await?;
        contact::first(rabbit, rabbit.publish(message)).await?;
        tokio::select! {
            finished = listen(events, job, &gauge) => finished,
            trouble = ask::remind(rabbit, job) => Err(trouble.into()),
        }
    });
    followed.map_err(|failure| match failure.exit {
        Exit::Interrupted => Failure::new(
            Exit::Interrupted,
            format!("interrupted: the cluster goes on with job {job}, if it has it"),
        ),
        _ => failure,
    })
}
