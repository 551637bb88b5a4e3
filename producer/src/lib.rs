//! The producer: cuts a job into chunks and publishes them, manifest last.
//!
//! [`run_job`] cuts one job; [`run`] serves the queue of requests, one job at a time; [`play`] does so as a program;
//! [`name_job`] makes a request that can be sent, [`job_id`] its job's name; [`name_unseen`] one whose input is
//! elsewhere. [`confine`] keeps requests inside one folder.
//!
//! Promises: at most [`WINDOW_MESSAGES`] messages or [`WINDOW_BYTES`] bytes are unconfirmed; the manifest is published
//! only after every chunk, annex and page of its seal is confirmed; the body of a chunk that is too large for a message
//! is durable in the blob store before its chunk is published; the same request makes the same messages, so an
//! interrupted job is simply cut again. It does not know what a chunk holds.
//!
//! # Layout
//!
//! * `name`: names jobs and their requests. `input`: detects a changed input.
//! * `cut`: one job, published. `ahead`: how far it runs ahead of the reducer.
//! * `serve`: the queues of requests. `held`: who holds a request while its job is cut.

mod ahead;
pub mod confine;
mod cut;
mod error;
mod held;
mod input;
mod name;
mod publish;
mod serve;

pub use cut::{WINDOW_BYTES, WINDOW_MESSAGES, run_job};
pub use error::ProducerError;
pub use name::{job_id, name_erased, name_job, name_unseen, name_unseen_erased};
pub use serve::{Config, Summary, play, run};
