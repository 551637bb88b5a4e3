//! The part of a run that is the same in one process and through RabbitMQ: the job is cut here and followed to its end.

use std::sync::Arc;

use autoconnect_common::broker::Subscription;
use autoconnect_common::{Broker, Shutdown};
use autoconnect_producer::ProducerError;

use super::plan::Plan;
use crate::follow::listen;
use crate::progress::Gauge;
use crate::roles::Roles;
use crate::summary::Finished;
use crate::trouble::Trouble;

/// Cuts and publishes the job. Returns only an error: after success the job goes on until its end is announced by an event.
pub(super) async fn produce<B: Broker>(
    broker: &B,
    plan: &Plan,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Trouble {
    let config = autoconnect_producer::Config {
        threads: plan.threads,
        data: None,
        blobs: Some(plan.blobs.clone()),
    };
    let progress = Arc::clone(&gauge.cut);
    let (registry, request) = (&plan.registry, &plan.request);
    let produced =
        autoconnect_producer::run_job(broker, registry, request, &config, progress, shutdown);
    match produced.await {
        Ok(_) => std::future::pending().await,
        Err(ProducerError::Broker(error)) => error.into(),
        Err(error) => Trouble::Producer(error),
    }
}

/// Follows the job, which `producing` publishes, to its end.
pub(super) async fn follow(
    producing: impl Future<Output = Trouble>,
    plan: &Plan,
    events: Subscription,
    roles: &mut Roles,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    tokio::select! {
        biased;
        finished = listen(events, &plan.request.job, gauge) => finished,
        trouble = producing => Err(trouble),
        Some(ended) = roles.join_next() => Err(match ended {
            Ok(Err(trouble)) => trouble,
            Ok(Ok(())) if shutdown.is_cancelled() => Trouble::Interrupted,
            Ok(Ok(())) => Trouble::Failed("a role ended before the job did".to_owned()),
            Err(panic) => Trouble::Failed(format!("a role ended abnormally: {panic}")),
        }),
        () = shutdown.cancelled() => Err(Trouble::Interrupted),
    }
}
