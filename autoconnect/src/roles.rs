//! Runs roles of a cluster in this process, and checks the folder that they write into.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::{Broker, Registry, Shutdown};
use autoconnect_worker as worker;
use tokio::task::JoinSet;

use crate::Failure;
use crate::trouble::Trouble;

/// How long the roles may take to stop once the job has ended or failed: each finishes its current message in less.
const STOP: Duration = Duration::from_secs(10);

/// The roles that were started for this job; each runs until its shutdown.
pub(crate) type Roles = JoinSet<Result<(), Trouble>>;

/// Runs the reducer until `stop`.
///
/// # Errors
/// [`Trouble`]: why it ended before `stop`.
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

/// Runs a worker until `stop`.
///
/// # Errors
/// [`Trouble`]: why it ended before `stop`.
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

/// Stops every role, waits for them, and closes the broker.
pub(crate) async fn leave<B: Broker>(broker: &B, mut roles: Roles, stop: &Shutdown) {
    stop.cancel();
    let all = async { while roles.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP, all).await;
    broker.close().await;
}

/// Checks that files can be written into `out`, before a job starts.
///
/// # Errors
/// [`Failure`] for a folder that cannot be made or written.
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
