//! The command people type, as a library.
//!
//! # Layout
//!
//! * [`cli`]: what may be typed, and the manual behind `--help`.
//! * [`run`]: a whole job, in this process or through RabbitMQ.
//! * `serve`: the API, the dashboard and every role in this process.
//! * `generate`: files of transactions that look real, by `autoconnect-generate`.
//! * [`summary`]: what a person reads at the end.
//! * `operator`: first aid to a cluster: dead messages, jobs. `contact`: reaching the cluster.
//! * `progress`: the bar while it runs. `spool`: reports that were concluded elsewhere, written here.
//! * `print`: safe text and tables on standard output. `trouble`: why something did not come to its end.

pub mod cli;
mod contact;
mod generate;
mod operator;
mod print;
mod progress;
pub mod run;
mod serve;
mod spool;
pub mod summary;
mod trouble;

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
