//! The kinds of job on the command line: the arguments of each, and what is shown at its end.

pub(crate) mod sales;

use autoconnect_common::Registry;

use crate::cli::Cli;

/// The command line for the kinds of `registry`, with the command of each kind of this system: one line for each. The
/// command of the first kind runs where none is typed; `submit` sends a job of that kind where it names none.
pub fn cli(registry: Registry) -> Cli {
    Cli::new::<sales::Report>(registry)
}
