//! What the cluster does: jobs, workers, queues and rates, from events.
//!
//! Nothing is decided here: only the reducer knows its jobs, and this keeps what its events said. What no event said (a
//! job that ended before the API subscribed) is asked of the reducer. Memory is bounded: [`JOBS`] jobs, [`WORKERS`]
//! workers, [`POINTS`] seconds.

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

/// The most jobs that are remembered; of those that ended the oldest are forgotten first.
pub const JOBS: usize = 1000;
/// The most workers that are remembered: far more than a cluster has, and bounds what made-up names can cost.
pub const WORKERS: usize = 1024;
/// Seconds of history: five minutes show a trend, and fit the width of a chart.
pub const POINTS: usize = 300;
/// Changes of jobs that wait for a slow listener; beyond them it gets the newest state only.
const CHANGES: usize = 256;

/// What the cluster does. Hands out clones of its views, so that its lock is never held for long.
pub struct Activity {
    cluster: Mutex<Cluster>,
    snapshot: latest::Sender<Arc<Snapshot>>,
    changes: broadcast::Sender<JobView>,
    results: PathBuf,
}

impl Activity {
    /// What is known of a cluster that was not listened to yet; `results` is where its reducer writes.
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

    /// What is known of a job.
    pub fn job(&self, job: &JobId) -> Option<JobView> {
        self.cluster().job(job)
    }

    /// The jobs that are known, the newest first.
    pub fn jobs(&self) -> Vec<JobView> {
        self.cluster().jobs()
    }

    /// The workers that are known, by name.
    pub fn workers(&self) -> Vec<WorkerView> {
        self.cluster().workers()
    }

    /// Every change of every job from now on.
    pub fn changes(&self) -> broadcast::Receiver<JobView> {
        self.changes.subscribe()
    }

    /// Everything, as of the last second; a new one comes every second.
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

/// The workers that were heard of.
#[utoipa::path(get, path = "/api/workers", tag = "activity",
    responses((status = 200, description = "The workers, by name", body = Vec<WorkerView>)))]
async fn workers(State(app): State<Shared>) -> Json<Vec<WorkerView>> {
    Json(app.activity.workers())
}

/// Everything the dashboard shows of the cluster, as of the last second.
#[utoipa::path(get, path = "/api/activity", tag = "activity",
    responses((status = 200, description = "What the cluster does", body = Snapshot)))]
async fn activity(State(app): State<Shared>) -> Json<Snapshot> {
    let snapshot = app.activity.snapshots().borrow().clone();
    Json(Snapshot::clone(&snapshot))
}
