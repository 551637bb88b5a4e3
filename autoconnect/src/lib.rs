//! The command line program `autoconnect`, as a library.
//!
//! # Layout
//!
//! * `cli`: the commands, their manual, and the choice of the one that was typed.
//! * One file for each command, its arguments and help beside its code: `run` (a whole job, in this process or through
//!   RabbitMQ), `submit`, `serve` (the API, the dashboard and every role in this process), `operator` (`jobs`, `dead`,
//!   `queues`), `generate`, `completions`, `worker`.
//! * [`kinds`]: the arguments of a kind of job and what is shown of its report, one file or folder for each kind. `kind`:
//!   the trait that each of them implements, [`KindCommand`].
//! * `options`: flags that several commands share. `contact`: connects to the cluster. `roles`: runs roles in this process.
//! * `follow`: follows a job by its events. `progress`: the progress bar. `summary` and `ending`: what is printed at the end.
//! * `spool`: writes into a local folder reports that were concluded on another machine.
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
