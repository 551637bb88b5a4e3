//! Redeclares the topology while a cluster runs, so that removed parts are restored without a restart.

use std::sync::Arc;
use std::time::Duration;

use super::declare::topology;
use super::failure::Failure;
use super::link::Link;

/// How often everything is redeclared over an open session: rare enough to cost nothing, and shorter than the minute after
/// which a person asks why a removed queue is missing.
const AGAIN: Duration = Duration::from_secs(30);
/// The shortest time between two declarations, where publishers find something missing: bounds the load that a publisher
/// of an unknown format causes.
const SOONEST: Duration = Duration::from_secs(1);

/// Redeclares everything every [`AGAIN`], and when publishers find something missing. A part that exists with other
/// arguments, or may not be declared any more, ends the session with that reason.
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
        // publishers and consumers notice a broker that is slow or down
        if let Ok(Err(failure @ (Failure::Refused(_) | Failure::Never(_)))) = declared {
            session.fail(failure);
        }
    }
}
