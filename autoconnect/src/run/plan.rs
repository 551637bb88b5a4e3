//! What a run is to do, checked before anything is started.

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
    /// How many threads parse.
    pub(super) threads: usize,
    /// The requested number of workers.
    pub(super) workers: Option<u16>,
    pub(super) prefetch: u16,
    pub(super) blobs: Blobs,
    pub(super) broker: settings::Broker,
    /// Where a worker process finds the same settings.
    pub(super) config: Option<PathBuf>,
    pub(super) profile: Option<String>,
}
