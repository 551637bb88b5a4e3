//! The command people type, as a library.
//!
//! # Layout
//!
//! * [`cli`]: what may be typed, and the manual behind `--help`.
//! * [`run`]: a whole job, in this process or through RabbitMQ.
//! * [`generate`]: files of transactions that look real, with the truth about them.
//! * [`summary`]: what a person reads at the end; `french`: numbers as the French write them.
//! * `progress`: the bar while it runs. `spool`: reports that were concluded elsewhere, written here.

pub mod cli;
mod french;
pub mod generate;
mod progress;
pub mod run;
mod spool;
pub mod summary;

use std::process::ExitCode;

use autoconnect_common::program::Exit;
use clap::Parser as _;

/// What went wrong, in one sentence, and the exit code that says whose turn it is.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// One sentence; empty where there is nothing to say.
    pub sentence: String,
}

impl Failure {
    /// The arguments, the settings or the input cannot be used.
    pub fn usage(error: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// It could not be done, and the user is not to blame.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failed, error)
    }

    fn new(exit: Exit, error: impl std::fmt::Display) -> Self {
        let sentence = error.to_string();
        Self { exit, sentence }
    }
}

/// The whole program: what the arguments say is done, and an error is printed once, on standard error.
pub fn main() -> ExitCode {
    let done = match cli::Cli::try_parse() {
        Ok(cli) => cli.carry_out(),
        Err(error) => return cli::refuse(&error),
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, sentence }) => {
            if !sentence.is_empty() {
                eprintln!("error: {sentence}");
            }
            exit.into()
        }
    }
}
