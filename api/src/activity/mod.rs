//! The activity of the cluster: jobs, workers, queues and rates, from events.
//!
//! The API keeps in memory what it received in events and decides nothing: only the reducer knows the state of jobs. It
//! asks the reducer about jobs of which it missed events, such as one that ended before the API subscribed. Memory is
//! bounded: [`JOBS`] jobs, [`WORKERS`] workers, [`POINTS`] seconds.

mod clock;
mod job;
mod progress;
mod state;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoconnect_common::JobId;
use axum::Json;
use axum::extract::State;
use tokio::sync::{broadcast, watch as latest};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
pub(crate) use clock::now_ms;
pub use job::{Acts, JobState, JobView, Progress};
use state::Cluster;
pub use view::{BrokerView, Chunk, Point, Queues, Snapshot, TroubleView, WorkerView};
pub(crate) use watch::watch;

/// The most jobs that are kept: they take about a MiB. The oldest ended ones are dropped first.
pub const JOBS: usize = 1000;
/// The most workers that are kept: far more than a cluster has. It bounds the memory that made-up names can take.
pub const WORKERS: usize = 1024;
/// The seconds of history that are kept: five minutes show a trend, and a point for each fits the width of a chart.
pub const POINTS: usize = 300;
/// How many changes of jobs are kept for a slow listener. One that misses more receives the current state instead.
const CHANGES: usize = 256;

/// The activity of the cluster. It returns clones of its views, so that its lock is never held for long.
pub struct Activity {
    cluster: Mutex<Cluster>,
    snapshot: latest::Sender<Arc<Snapshot>>,
    changes: broadcast::Sender<JobView>,
    results: PathBuf,
}

impl Activity {
    /// The activity before the first event; `results` is the folder that the reducer writes into.
    pub fn new(results: &Path) -> Self {
        Self {
            cluster: Mutex::default(),
            snapshot: latest::channel(Arc::default()).0,
            changes: broadcast::channel(CHANGES).0,
            results: results.to_owned(),
        }
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a job that was just requested; `fichier` is the base name of its file.
    pub fn asked(&self, job: JobId, kind: &str, fichier: &str) {
        let view = self.cluster().asked(job, kind, fichier);
        let _nobody_listens = self.changes.send(view);
    }

    /// The job with this id, if it is known.
    pub fn job(&self, job: &JobId) -> Option<JobView> {
        self.cluster().job(job)
    }

    /// The known jobs, the newest first.
    pub fn jobs(&self) -> Vec<JobView> {
        self.cluster().jobs()
    }

    /// The known workers, by name.
    pub fn workers(&self) -> Vec<WorkerView> {
        self.cluster().workers()
    }

    /// Subscribes to every change of every job from now on.
    pub fn changes(&self) -> broadcast::Receiver<JobView> {
        self.changes.subscribe()
    }

    /// The snapshot of the last second; a new one is published every second.
    pub fn snapshots(&self) -> latest::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(workers))
        .routes(routes!(activity))
}

/// The workers that have sent a heartbeat.
#[utoipa::path(get, path = "/api/workers", tag = "activity",
    responses((status = 200, description = "The workers, by name", body = Vec<WorkerView>)))]
async fn workers(State(app): State<Shared>) -> Json<Vec<WorkerView>> {
    Json(app.activity.workers())
}

/// Everything that the dashboard shows of the cluster, as of the last second.
#[utoipa::path(get, path = "/api/activity", tag = "activity",
    responses((status = 200, description = "The activity of the cluster", body = Snapshot)))]
async fn activity(State(app): State<Shared>) -> Json<Snapshot> {
    let snapshot = app.activity.snapshots().borrow().clone();
    Json(Snapshot::clone(&snapshot))
}
