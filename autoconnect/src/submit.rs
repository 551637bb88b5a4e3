//! `autoconnect submit`: sends a request for a job to a running cluster, and follows the job. This process cuts and writes
//! nothing.

use std::sync::Arc;

use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::JobRequest;
use autoconnect_common::program::Exit;
use autoconnect_common::settings::{Reducer, Settings};
use autoconnect_common::{Format, Registry, ask};
use clap::{ArgMatches, Args};
use serde_json::value::RawValue;

use crate::follow::{EVENTS, listen};
use crate::kind::{self, AnyCommand};
use crate::options::{Accepting, Place, Print};
use crate::progress::{Bar, Gauge, Measure};
use crate::summary::Finished;
use crate::{Failure, contact, ending, print};

/// The name of this program's connection, as RabbitMQ's management pages show it.
const NAME: &str = "autoconnect submit";

/// The arguments of `submit` that every kind has.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Print the job's id and exit, without waiting for the job's end
    #[arg(long, conflicts_with_all = ["quiet", "json"])]
    no_wait: bool,

    #[command(flatten)]
    accepting: Accepting,

    #[command(flatten)]
    print: Print,

    #[command(flatten)]
    place: Place,
}

/// `autoconnect submit`, of a job of this kind.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(
    kind: &dyn AnyCommand,
    typed: &ArgMatches,
    registry: &Registry,
) -> Result<(), Failure> {
    let asked: Submit = kind::typed(typed)?;
    let named = || {
        let settings = asked.place.settings(registry)?;
        let request = kind.request(typed, &settings)?;
        let request = named(kind, request, asked.accepting, registry)?;
        Ok::<_, Failure>((settings, request))
    };
    if asked.no_wait {
        let (settings, request) = named()?;
        let message = request.to_message().map_err(|error| Failure::of(&error))?;
        contact::at(&settings, registry, NAME, async |rabbit| {
            contact::first(rabbit, rabbit.publish(message)).await
        })?;
        return print::out(&format!("{}\n", request.job));
    }
    ending::carry_out(asked.print, kind, || {
        let (settings, request) = named()?;
        let finished = follow(&settings, registry, &request, asked.print.shows_progress())?;
        Ok((settings.load::<Reducer>()?.results, finished))
    })
}

/// The request under a name of its own.
fn named(
    kind: &dyn AnyCommand,
    request: Box<RawValue>,
    accepting: Accepting,
    registry: &Registry,
) -> Result<JobRequest, Failure> {
    let Format { kind, schema } = kind.format();
    let kind = registry.known(&kind, schema).map_err(Failure::failed)?;
    let inputs = kind.inputs(&request).map_err(Failure::usage)?;
    if inputs.iter().any(|input| input.as_os_str() == "-") {
        return Err(Failure::usage(
            "-: found standard input, expected files that the cluster's producer can read",
        ));
    }
    let request = autoconnect_producer::name_unseen_erased(kind, request, &ask::unheard());
    Ok(JobRequest {
        accept: accepting.into(),
        ..request.map_err(Failure::usage)?
    })
}

/// Sends the request, and follows its job to the end.
fn follow(
    settings: &Settings,
    registry: &Registry,
    request: &JobRequest,
    shows_progress: bool,
) -> Result<Finished, Failure> {
    let job = &request.job;
    let message = request.to_message().map_err(|error| Failure::of(&error))?;
    let followed = contact::at(settings, registry, NAME, async |rabbit| {
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
            format!(
                "interrupted: the cluster continues with job {job}, if it received the request"
            ),
        ),
        _ => failure,
    })
}
