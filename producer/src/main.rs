//! `producer`: cuts the jobs that are asked for until it is told to stop. See `producer --help`.

use std::process::ExitCode;
use std::sync::Arc;

use autoconnect_common::program::{Failure, Role, role};
use autoconnect_common::settings::{Producer, Settings};
use autoconnect_common::{Registry, message::JobRequest};
use autoconnect_jobs::sales::Sales;
use autoconnect_jobs::settings::{self, today};
use autoconnect_producer::{name_job, play};

const PRODUCER: Role = Role {
    name: "producer",
    about: "Cuts the jobs that AutoConnect is asked for into chunks",
    kinds: settings::KEYS,
};

fn main() -> ExitCode {
    role(&PRODUCER, async |settings, shutdown| {
        let registry = Arc::new(autoconnect_jobs::registry());
        let first = first(&settings, &registry)?;
        play(&settings, registry, first, &shutdown).await
    })
}

/// The job that the settings ask for, if they do. Asked for again on the same day, it is the same job.
fn first(settings: &Settings, registry: &Registry) -> Result<Option<JobRequest>, Failure> {
    let producer: Producer = settings.load()?;
    let sales: settings::Sales = settings.load()?;
    let Some(input) = producer.input else {
        return Ok(None);
    };
    let request = sales.request(vec![input], today());
    name_job::<Sales>(registry, &request, None)
        .map(Some)
        .map_err(Failure::usage)
}
