//! What is handed out about the cluster, key for key as in JSON.

use autoconnect_common::{JobId, Seq};
use serde::Serialize;
use utoipa::ToSchema;

use super::job::JobView;

/// The cluster, as of one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Snapshot {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the broker serves us.
    pub broker: BrokerView,
    /// What keeps programs from making progress, in their own words.
    pub troubles: Vec<TroubleView>,
    /// How many messages wait in each queue; absent while the broker is away.
    pub queues: Option<Queues>,
    /// Chunks worked in the last second.
    pub chunks_per_second: u64,
    /// Their rows.
    pub rows_per_second: u64,
    /// The last seconds, the oldest first.
    pub history: Vec<Point>,
    /// The workers, by name.
    pub workers: Vec<WorkerView>,
    /// The newest jobs, the newest first; `GET /api/jobs` has all.
    pub jobs: Vec<JobView>,
}

/// Something keeps a program from making progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TroubleView {
    /// Which program: its role or name, machine and process.
    pub program: String,
    /// One sentence.
    pub why: String,
}

/// The broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BrokerView {
    /// Whether it serves us.
    pub up: bool,
    /// Since when that is so, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether it is a queue inside this process.
    pub embedded: bool,
}

/// Messages that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Queues {
    /// Requests for jobs.
    pub jobs: u64,
    /// Chunks to work, those in quarantine included.
    pub chunks: u64,
    /// Results to merge.
    pub results: u64,
    /// Chunks and results that could not be processed.
    pub dead: u64,
}

/// A second of history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Point {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Chunks that waited.
    pub waiting: u64,
    /// Chunks worked in that second.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// The machine, or container, it runs on.
    pub host: String,
    /// Its process; several workers may share one.
    pub pid: u32,
    /// Whether it was heard of within the last seconds.
    pub alive: bool,
    /// How long ago it was heard of, in milliseconds.
    pub seen_ms_ago: u64,
    /// Of its process, in percent of one core.
    pub cpu_percent: Option<f32>,
    /// Bytes of memory its process has.
    pub memory_bytes: u64,
    /// Chunks it worked since it started.
    pub chunks: u64,
    /// Their rows.
    pub rows: u64,
    /// Chunks that it could not work.
    pub buried: u64,
    /// How long it computed since it started, in milliseconds.
    pub busy_ms: u64,
    /// Rows it worked in the last second.
    pub rows_per_second: u64,
    /// The chunk in its hands.
    pub current: Option<Chunk>,
}

/// A chunk in a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chunk {
    /// Its job.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// Its number, `part.number`.
    #[schema(value_type = String)]
    pub seq: Seq,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}
