//! Starts the logs: to standard error, one line an event; values are fields, never woven into the message.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. `filter` is in the syntax of `tracing_subscriber::EnvFilter` (`info`, `worker=debug`, …); `json`
/// writes one JSON object a line, for machines.
///
/// lapin is silent unless `filter` names it: it logs returned messages with their whole body, and the client here logs
/// failures in one sentence. Calling it twice changes nothing.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(format!("lapin=off,{filter}"))
        .unwrap_or_else(|_| EnvFilter::new("lapin=off,info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = if json {
        logs.json().finish().try_init()
    } else {
        logs.with_target(false).finish().try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
