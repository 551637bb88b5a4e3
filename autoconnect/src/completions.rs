//! `autoconnect completions`: prints the completion script of a shell.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{Failure, print};

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints the script that completes `command`.
///
/// # Errors
/// [`Failure`] where standard output cannot be written.
pub(crate) fn carry_out(asked: &Completions, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut command, "autoconnect", &mut script);
    print::out(&String::from_utf8_lossy(&script))
}
