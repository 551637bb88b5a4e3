//! The part of a run that is the same in one process and through RabbitMQ: the job is cut here and followed to its end.

use std::sync::Arc;

use autoconnect_common::broker::Subscription;
use autoconnect_common::{Broker, Shutdown};

use super::plan::Plan;
use crate::follow::listen;
use crate::progress::Gauge;
use crate::roles::Roles;
use crate::summary::Finished;
use crate::trouble::Trouble;

/// Produces the job and follows it to its end.
pub(super) async fn follow<B: Broker>(
    broker: &B,
    plan: &Plan,
    events: Subscription,
    roles: &mut Roles,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    tokio::select! {
        biased;
        finished = produce(broker, plan, events, gauge, shutdown) => finished,
        Some(ended) = roles.join_next() => Err(match ended {
            Ok(Err(trouble)) => trouble,
            Ok(Ok(())) if shutdown.is_cancelled() => Trouble::Interrupted,
            Ok(Ok(())) => Trouble::Failed("a role ended before the job did".to_owned()),
            Err(death) => Trouble::Failed(format!("a role died: {death}")),
        }),
        () = shutdown.cancelled() => Err(Trouble::Interrupted),
    }
}

async fn produce<B: Broker>(
    broker: &B,
    plan: &Plan,
    events: Subscription,
    gauge: &Gauge,
    shutdown: &Shutdown,
) -> Result<Finished, Trouble> {
    let config = autoconnect_producer::Config {
        threads: plan.threads,
        data: None,
        blobs: Some(plan.blobs.clone()),
    };
    let producing = async {
        autoconnect_producer::run_job(
            broker,
            &plan.registry,
            &plan.request,
            &config,
            Arc::clone(&gauge.cut),
            shutdown,
        )
        .await
        .map_err(Trouble::Producer)?;
        // the follower reports the job's end
        std::future::pending().await
    };
    tokio::select! {
        biased;
        finished = listen(events, &plan.request.job, gauge) => finished,
        cut_short = producing => cut_short,
    }
}
