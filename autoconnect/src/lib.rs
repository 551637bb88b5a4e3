//! The command people type, as a library.
//!
//! # Layout
//!
//! * `cli`: the commands, their manual, and which of them was typed.
//! * One file for each command, its arguments and help beside its code: `run` (a whole job, in this process or through
//!   RabbitMQ), `submit`, `serve` (the API, the dashboard and every role in this process), `operator` (`jobs`, `dead`,
//!   `queues`), `generate`, `completions`, `worker`.
//! * [`kinds`]: what is typed for a kind of job and what is shown of its report, one file or folder for each. `kind`: the
//!   trait that each of them implements, [`KindCommand`].
//! * `options`: flags that several commands share. `contact`: reaching the cluster. `roles`: those that this process plays.
//! * `follow`: a job's events, to its end. `progress`: the bar meanwhile. `summary` and `ending`: what is printed at its end.
//! * `spool`: reports that were concluded elsewhere, written here.
//! * `print`: safe text and tables on standard output. `trouble`: why a command failed.

mod cli;
mod completions;
mod contact;
mod ending;
mod follow;
mod generate;
mod kind;
pub mod kinds;
mod operator;
mod options;
mod print;
mod progress;
mod roles;
mod run;
mod serve;
mod spool;
mod submit;
mod summary;
mod trouble;
mod worker;

use std::process::ExitCode;

pub use autoconnect_common::program::Failure;
pub use cli::Cli;
pub use kind::{KindCommand, Rows};

/// The whole program, with the kinds of this system.
pub fn main() -> ExitCode {
    kinds::cli(autoconnect_jobs::registry()).main()
}
