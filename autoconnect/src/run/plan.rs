//! The plan of a run, checked before anything is started.

use std::path::PathBuf;
use std::sync::Arc;

use autoconnect_common::Registry;
use autoconnect_common::blob::Blobs;
use autoconnect_common::message::JobRequest;
use autoconnect_common::settings;

/// A job and everything around it, checked.
pub(super) struct Plan {
    pub(super) registry: Arc<Registry>,
    pub(super) request: JobRequest,
    pub(super) out: PathBuf,
    /// How many threads parse the input.
    pub(super) threads: usize,
    /// The value of `--workers`.
    pub(super) workers: Option<u16>,
    pub(super) prefetch: u16,
    pub(super) blobs: Blobs,
    pub(super) broker: settings::Broker,
    /// The folder of settings, which a worker process is given too.
    pub(super) config: Option<PathBuf>,
    pub(super) profile: Option<String>,
}
