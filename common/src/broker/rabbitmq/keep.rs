//! Declares the topology again while a cluster runs, so that what somebody removed comes back without a new start.

use std::sync::Arc;
use std::time::Duration;

use super::declare::topology;
use super::failure::Failure;
use super::link::Link;

/// How often everything is declared again over a living session, so that a binding or queue that somebody removed comes
/// back without a new start: rare enough to cost nothing, and shorter than the minute after which a person asks why.
const AGAIN: Duration = Duration::from_secs(30);
/// The shortest time between two of these, where publishers find something missing.
const SOONEST: Duration = Duration::from_secs(1);

/// Declares everything again, now and then and where publishers find something missing. What is there with other
/// arguments, or may not be declared any more, ends the session, which says so.
pub(super) async fn keep_declared(link: Arc<Link>) {
    let common = Arc::clone(&link.common);
    loop {
        tokio::select! {
            biased;
            () = common.closed.cancelled() => return,
            () = common.missing.notified() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
        tokio::select! {
            biased;
            () = common.closed.cancelled() => return,
            () = tokio::time::sleep(SOONEST) => {}
        }
        let Some(session) = link.current() else {
            continue;
        };
        let declared = session.run_while_alive(topology(session.connection(), &common, 1));
        let declared = tokio::select! {
            biased;
            () = common.closed.cancelled() => return,
            declared = tokio::time::timeout(AGAIN, declared) => declared,
        };
        // One that is slow to answer, or away, is for those to notice who wait for messages.
        if let Ok(Err(failure @ (Failure::Refused(_) | Failure::Never(_)))) = declared {
            session.fail(failure);
        }
    }
}
