//! The kinds of job on the command line: what is typed for each, and what is shown at its end.

pub(crate) mod sales;

use autoconnect_common::Registry;

use crate::cli::Cli;

/// The command line for the kinds of `registry`, with the command of each kind of this system: one line a kind. The first
/// is the default where no command is typed, and of `submit` where it names none.
pub fn cli(registry: Registry) -> Cli {
    Cli::new::<sales::Report>(registry)
}
