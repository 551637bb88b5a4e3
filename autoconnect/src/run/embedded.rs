//! Runs a job in this process: all three roles over the embedded broker.

use std::sync::Arc;

use autoconnect_common::broker::Queue;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::{Broker as _, Shutdown};
use autoconnect_worker as worker;

use super::plan::Plan;
use super::produce::{follow, produce};
use crate::follow::EVENTS;
use crate::progress::Gauge;
use crate::roles::{Roles, leave, reduce, work_here};
use crate::summary::Finished;
use crate::trouble::Trouble;

/// Runs all three roles in this process.
///
/// # Errors
/// [`Trouble`]: why the job failed.
pub(super) async fn run(
    plan: &Plan,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    let broker = Embedded::new();
    let events = broker
        .subscribe(Queue::Events(plan.request.job.clone()), EVENTS)
        .await?;
    let stop = shutdown.child_token();
    let mut roles = Roles::new();
    let config = autoconnect_reducer::Config {
        blobs: Some(plan.blobs.clone()),
        ..autoconnect_reducer::Config::volatile(&plan.out)
    };
    roles.spawn(reduce(
        broker.clone(),
        Arc::clone(&plan.registry),
        config,
        stop.clone(),
    ));
    for number in 1..=plan.workers.map_or(plan.threads, usize::from) {
        let config = worker::Config {
            prefetch: plan.prefetch,
            blobs: Some(plan.blobs.clone()),
            ..worker::Config::named(format!("worker-{number}"))
        };
        roles.spawn(work_here(
            broker.clone(),
            Arc::clone(&plan.registry),
            config,
            stop.clone(),
        ));
    }
    let producing = produce(&broker, plan, gauge, shutdown);
    let finished = follow(producing, plan, events, &mut roles, gauge, shutdown).await;
    leave(&broker, roles, &stop).await;
    finished
}
