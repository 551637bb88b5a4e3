//! `autoconnect generate`: writes a file of made-up transactions.

use std::path::PathBuf;

use autoconnect_common::program;
use autoconnect_generate::{Error, Options, generate};
use clap::{Args, ValueHint};

use crate::Failure;

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The file to write
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// How many rows, wrong ones included
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rows: u64,
    /// How many cities: Lyon, Paris, Marseille, then others
    #[arg(long, value_name = "K", default_value_t = 3)]
    cities: u32,
    /// The share of rows that have a fault or an unusual spelling, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    dirty: f64,
    /// The seed of the random numbers: the same flags and seed give the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Also write FILE.truth.json: the planted faults, and the exact tables of a correct report
    #[arg(long)]
    truth: bool,
}

/// Writes the file.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Generate) -> Result<(), Failure> {
    let options = Options {
        rows: asked.rows,
        cities: asked.cities,
        dirty: asked.dirty,
        seed: asked.seed,
        truth: asked.truth,
    };
    match generate(&options, &asked.file) {
        Ok(_) => Ok(()),
        Err(error) => {
            let sentence = program::sentence(&error);
            Err(match error {
                Error::Write { .. } => Failure::failed(sentence),
                _ => Failure::usage(sentence),
            })
        }
    }
}
