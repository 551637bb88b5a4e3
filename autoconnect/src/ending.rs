//! The end of a job: its summary on standard output, and the exit code.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use autoconnect_common::message::Status;
use autoconnect_common::program::Exit;

use crate::Failure;
use crate::kind::AnyCommand;
use crate::options::Print;
use crate::summary::{self, Finished};

/// Runs `job`, and prints how it ended.
///
/// # Errors
/// [`Failure`] for a job without a report, or with one that is incomplete.
pub(crate) fn carry_out(
    print: Print,
    kind: &dyn AnyCommand,
    job: impl FnOnce() -> Result<(PathBuf, Finished), Failure>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let (shown, ended) = match job() {
        Ok((out, finished)) => {
            let shown = match (print.quiet, print.json) {
                (true, _) => String::new(),
                (_, true) => summary::json(kind, &out, &finished, start.elapsed()),
                _ if !finished.status.has_report() => String::new(),
                _ => summary::text(kind, &out, &finished, start.elapsed()),
            };
            (shown, verdict(finished))
        }
        Err(failure) if print.json => (summary::json_of_failure(&failure), Err(failure)),
        Err(failure) => (String::new(), Err(failure)),
    };
    // the files are written by now, so a closed pipe is no error
    let _ = std::io::stdout().lock().write_all(shown.as_bytes());
    ended
}

fn verdict(finished: Finished) -> Result<(), Failure> {
    let reason = |otherwise: &str| {
        finished
            .reason
            .clone()
            .unwrap_or_else(|| otherwise.to_owned())
    };
    match finished.status {
        Status::Done => Ok(()),
        Status::Incomplete => Err(Failure::new(
            Exit::Incomplete,
            format!("the report is incomplete: {}", reason("chunks are missing")),
        )),
        Status::Failed => Err(Failure::failed(reason("the job failed"))),
        Status::Cancelled => Err(Failure::failed(reason("the job was cancelled"))),
    }
}
