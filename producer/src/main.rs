//! `producer`: cuts the requested jobs until shutdown. See `producer --help`.

use std::process::ExitCode;
use std::sync::Arc;

use autoconnect_common::program::{Failure, Role, role};
use autoconnect_common::settings::{Producer, Settings};
use autoconnect_common::{Registry, message::JobRequest};
use autoconnect_producer::{name_erased, play};

const PRODUCER: Role = Role {
    name: "producer",
    about: "Cuts the jobs that AutoConnect is asked for into chunks",
    registry: autoconnect_jobs::registry,
};

fn main() -> ExitCode {
    role(&PRODUCER, async |settings, shutdown| {
        let registry = Arc::new(autoconnect_jobs::registry());
        let first = first(&settings, &registry)?;
        play(&settings, registry, first, &shutdown).await
    })
}

/// The job that the settings request, if any. Requested again on the same day, it is the same job.
fn first(settings: &Settings, registry: &Registry) -> Result<Option<JobRequest>, Failure> {
    let Producer { input, kind, .. } = settings.load()?;
    let Some(input) = input else {
        return Ok(None);
    };
    let name = kind.as_deref().unwrap_or(autoconnect_jobs::DEFAULT);
    let refused = |why: &str| {
        let expected = "a kind of job that is made of files alone";
        settings.bad_value("producer.kind", &format!("{name:?} ({why})"), expected)
    };
    let kind = registry
        .newest(name)
        .ok_or_else(|| refused("no such kind is known"))?;
    let request = kind
        .default_request(settings, vec![input])
        .map_err(Failure::usage)?
        .ok_or_else(|| refused("it must be told more"))?;
    let request = name_erased(kind, request, None).map_err(Failure::usage)?;
    Ok(Some(request))
}
