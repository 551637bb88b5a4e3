//! The views of the cluster that the API serves; their fields are the keys of the JSON.

use autoconnect_common::{JobId, Seq};
use serde::Serialize;
use utoipa::ToSchema;

use super::job::JobView;

/// The activity of the cluster at one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Snapshot {
    /// The time of the snapshot, in milliseconds since 1970.
    pub at_ms: u64,
    /// The state of the broker.
    pub broker: BrokerView,
    /// What keeps programs from making progress, as they report it.
    pub troubles: Vec<TroubleView>,
    /// How many messages wait in each queue; null while the broker is away.
    pub queues: Option<Queues>,
    /// Chunks that workers processed in the last second.
    pub chunks_per_second: u64,
    /// Rows that workers processed in the last second.
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
    /// The program: its role or name, machine and process.
    pub program: String,
    /// The trouble, in one sentence.
    pub why: String,
}

/// The state of the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BrokerView {
    /// Whether the API is connected to it.
    pub up: bool,
    /// Since when `up` has this value, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether it is the embedded broker of this process, not RabbitMQ.
    pub embedded: bool,
}

/// The ready messages of the queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Queues {
    /// Requests for jobs.
    pub jobs: u64,
    /// Chunks for workers, those in quarantine included.
    pub chunks: u64,
    /// Results for the reducer.
    pub results: u64,
    /// Dead-lettered messages.
    pub dead: u64,
}

/// One second of history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Point {
    /// The time, in milliseconds since 1970.
    pub at_ms: u64,
    /// Chunks that waited in the queues.
    pub waiting: u64,
    /// Chunks that workers processed in that second.
    pub chunks: u64,
    /// Rows that workers processed in that second.
    pub rows: u64,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkerView {
    /// The name of the worker.
    pub name: String,
    /// The machine or container that it runs on.
    pub host: String,
    /// The id of its process; several workers may share one.
    pub pid: u32,
    /// Whether its last heartbeat is less than five seconds old.
    pub alive: bool,
    /// The age of its last heartbeat, in milliseconds.
    pub seen_ms_ago: u64,
    /// The CPU use of its process, in percent of one core.
    pub cpu_percent: Option<f32>,
    /// The resident memory of its process, in bytes.
    pub memory_bytes: u64,
    /// Chunks that it processed since it started.
    pub chunks: u64,
    /// Rows that it processed since it started.
    pub rows: u64,
    /// Chunks that it dead-lettered since it started.
    pub buried: u64,
    /// The time that it computed since it started, in milliseconds.
    pub busy_ms: u64,
    /// Rows that it processed in the last second.
    pub rows_per_second: u64,
    /// The chunk that it is processing.
    pub current: Option<Chunk>,
}

/// A chunk that a worker is processing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Chunk {
    /// The id of its job.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// The number of the chunk, `part.number`.
    #[schema(value_type = String)]
    pub seq: Seq,
    /// For how long the worker has had it, in milliseconds.
    pub for_ms: u64,
}
