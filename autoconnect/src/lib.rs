//! The command people type, as a library.
//!
//! # Layout
//!
//! * `cli`: the commands, their manual, and which of them was typed.
//! * One file for each command, its arguments and help beside its code: `run` (a whole job, in this process or through
//!   RabbitMQ), `submit`, `serve` (the API, the dashboard and every role in this process), `operator` (`jobs`, `dead`,
//!   `queues`), `generate`, `completions`, `worker`.
//! * `kinds`: what is typed for a kind of job, one file for each kind.
//! * `options`: flags that several commands share. `contact`: reaching the cluster. `roles`: those that this process plays.
//! * `follow`: a job's events, to its end. `progress`: the bar meanwhile. `summary` and `ending`: what is printed at its end.
//! * `spool`: reports that were concluded elsewhere, written here.
//! * `print`: safe text and tables on standard output. `trouble`: why something did not come to its end.

mod cli;
mod completions;
mod contact;
mod ending;
mod follow;
mod generate;
mod kinds;
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

use autoconnect_common::program;
pub use autoconnect_common::program::Failure;
use clap::Parser as _;

/// The whole program: what the arguments say is done, and an error is printed once, on standard error.
pub fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => program::end(cli.carry_out()),
        Err(error) => program::refuse(&error, "autoconnect"),
    }
}
