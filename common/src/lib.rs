//! The vocabulary and the seams of AutoConnect's work queue.
//!
//! *A job is cut into chunks; a worker turns a chunk into a partial; partials merge exactly; the reducer concludes a
//! report.* Five words name everything: **job, chunk, partial, report** and **kind** (of job). This crate defines them
//! and knows nothing about cars.
//!
//! # Layout
//!
//! * [`kind`]: [`JobKind`], the three acts of a kind, [`Merge`], its only law, and [`Registry`], where types are erased.
//! * [`mod@format`]: [`Format`], a kind and the version of what it puts into messages.
//! * [`job`]: [`JobId`] and [`Seq`], the names of a job and of a chunk.
//! * [`cut`]: [`Outlet`], through which `cut` hands out chunks and annexes.
//! * [`chunk`]: [`Chunk`], what a worker receives, and [`Digest`]. [`body`]: bytes that remember theirs.
//! * [`blob`]: the store for bodies that are too large for a message.
//! * [`seal`]: what proves that a report is of one cut.
//! * [`message`]: the messages between the roles, and the checks that refuse hostile ones.
//! * [`broker`]: [`Broker`], the transport: embedded in this process, or RabbitMQ.
//! * [`ask`]: questions to the reducer. [`dead`]: dead letters.
//! * [`faults`]: points at which a test kills a role.
//! * [`disk`]: [`Disk`](disk::Disk), the file operations of a role, and what of them survives a power cut.
//! * [`health`]: whether a program makes progress, and what keeps it from doing so.
//! * [`machine`]: the time of day, threads that block, randomness; a simulation replaces it.
//! * [`program`]: signals, the last error, exit codes.
//! * [`results`]: the folder of results, and which report is the newest of its kind. [`execution`]: how a job went.
//! * [`settings`]: defaults, files, environment and flags, in that order.
//! * [`telemetry`]: where logs go.
//! * [`text`]: text from outside, made safe to show.
//! * [`wait`]: waiting for what may be absent, and between two attempts.

pub mod ask;
pub mod blob;
pub mod body;
pub mod broker;
pub mod chunk;
pub mod cut;
pub mod dead;
pub mod disk;
pub mod execution;
pub mod faults;
pub mod fetch;
pub mod format;
pub mod health;
pub mod job;
pub mod kind;
pub mod machine;
pub mod message;
pub mod program;
pub mod results;
pub mod seal;
pub mod settings;
pub mod telemetry;
pub mod text;
pub mod wait;

pub use body::Body;
pub use broker::Broker;
pub use chunk::{Chunk, Digest};
pub use cut::{CutError, Outlet};
pub use format::Format;
pub use job::{JobId, Seq};
pub use kind::{Fate, JobKind, Merge, Registry};

/// Tells a role to stop: it takes no more work, finishes what it has, and returns.
pub type Shutdown = tokio_util::sync::CancellationToken;
