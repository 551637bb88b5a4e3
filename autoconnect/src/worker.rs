//! The hidden command `worker`: a worker process of `run --broker … --workers N`.

use std::path::PathBuf;
use std::sync::Arc;

use autoconnect_common::settings::Sources;
use autoconnect_common::{Registry, Shutdown, program, telemetry};
use autoconnect_worker as worker;
use clap::Args;

use crate::{Failure, options};

/// The arguments of a worker process; the broker's address is in the environment.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The worker's name
    #[arg(long)]
    name: String,
    /// As in `run`
    #[arg(long)]
    config: Option<PathBuf>,
    /// As in `run`
    #[arg(long)]
    profile: Option<String>,
}

/// `autoconnect worker`.
///
/// # Errors
/// [`Failure`].
pub(crate) fn carry_out(asked: Worker, registry: &Arc<Registry>) -> Result<(), Failure> {
    let sources = Sources::of_process(asked.config, asked.profile);
    let settings = options::read(sources.flag("worker.name", Some(asked.name)), registry)?;
    telemetry::start("error", false);
    program::run(|shutdown| async move {
        stop_at_end_of_input(shutdown.clone());
        worker::play(&settings, Arc::clone(registry), &shutdown).await
    })
}

/// Cancels `shutdown` at the end of standard input. The parent process holds its other end, which closes when the parent
/// stops this worker or dies. The thread is not one of the runtime's, whose end would wait for it when a signal comes first.
fn stop_at_end_of_input(shutdown: Shutdown) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        shutdown.cancel();
    });
}
