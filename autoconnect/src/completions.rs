//! `autoconnect completions`: what a shell completes.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{Failure, print};

/// What `completions` was asked, as typed.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Prints the completions of `command`.
///
/// # Errors
/// [`Failure`] where standard output cannot be written.
pub(crate) fn carry_out(asked: &Completions, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut command, "autoconnect", &mut script);
    print::out(&String::from_utf8_lossy(&script))
}
