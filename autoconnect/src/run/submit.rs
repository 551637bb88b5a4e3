//! A job that the cluster does by itself: its producer cuts, its workers work, its reducer writes; we follow.

use std::sync::Arc;

use autoconnect_common::ask;
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::JobRequest;
use autoconnect_common::program::Exit;
use autoconnect_common::settings::{Reducer, Settings};
use autoconnect_jobs::sales::Sales;

use super::{EVENTS, listen, load, request, told};
use crate::progress::{Bar, Gauge, Measure};
use crate::summary::Finished;
use crate::{Failure, cli, contact, print};

/// What the broker calls us.
const NAME: &str = "autoconnect submit";

/// `autoconnect submit`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: cli::Submit) -> Result<(), Failure> {
    if asked.no_wait {
        let (settings, request) = named(&asked)?;
        let message = request.to_message().map_err(|error| Failure::of(&error))?;
        contact::at(&settings, NAME, async |rabbit| {
            contact::first(rabbit, rabbit.publish(message)).await
        })?;
        return print::out(&format!("{}\n", request.job));
    }
    told(asked.print, || {
        let (settings, request) = named(&asked)?;
        let finished = follow(&settings, &request, asked.print.shows_progress())?;
        Ok((load::<Reducer>(&settings)?.results, finished))
    })
}

/// The settings, and the request under a name of its own.
fn named(asked: &cli::Submit) -> Result<(Settings, JobRequest), Failure> {
    let settings = asked.settings()?;
    if asked.files.iter().any(|file| file.as_os_str() == "-") {
        return Err(Failure::usage(
            "-: found standard input, expected files that the cluster's producer sees",
        ));
    }
    let request = request(&asked.reading, asked.files.clone(), &settings)?;
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
