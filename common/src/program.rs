//! What every program does the same way: stop on a signal, say its error once, end with a code that means something.

use std::error::Error;
use std::process::ExitCode;

use crate::Shutdown;

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It could not, and the user is not to blame.
    Failed,
    /// Its arguments, settings or input cannot be used.
    Usage,
    /// There is a report, and it names what it lacks.
    Incomplete,
    /// It was told to stop by Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The code the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// A [`Shutdown`] that is told by SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once. Call it inside a Tokio
/// runtime.
pub fn stop_on_signals() -> Shutdown {
    let shutdown = Shutdown::new();
    let told = shutdown.clone();
    tokio::spawn(async move {
        signalled().await;
        told.cancel();
        signalled().await;
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    shutdown
}

#[cfg(unix)]
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn signalled() {
    let _ = tokio::signal::ctrl_c().await;
}

/// An error and everything that caused it, in one line; a cause that only repeats what was said is left out.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CutError;

    #[test]
    fn a_chain_of_errors_is_one_line() {
        let error = CutError::Failed {
            what: "a.csv: cannot be\nread".to_owned(),
            source: std::io::Error::other("the disk is gone"),
        };
        assert_eq!(sentence(&error), "a.csv: cannot be read: the disk is gone");
    }
}
