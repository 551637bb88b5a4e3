//! Listens to the cluster: events as they come, queues once a second, the reducer where it was silent.

use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::broker::{Broker as _, BrokerError, Queue, Subscription};
use autoconnect_common::message::Event;
use autoconnect_common::program::Failure;
use autoconnect_common::{JobId, ask};

use super::Activity;
use super::view::Queues;
use crate::Shared;
use crate::link::Link;

/// How often queues are counted and a snapshot is made.
const SECOND: Duration = Duration::from_secs(1);
/// How long the broker may take to count.
const COUNT: Duration = Duration::from_secs(2);
/// After how long without news of a job that has not ended the reducer is asked.
const SILENCE: Duration = Duration::from_secs(5);
/// Events that wait to be read.
const EVENTS: u16 = 256;
/// The largest `execution.json` that is read, in bytes.
const MAX_EXECUTION: u64 = 4 << 20;

/// Listens for as long as the broker has us; ends only where it does not.
pub(crate) async fn watch(app: &Shared) -> Failure {
    let ended = tokio::select! {
        ended = listen(&app.activity, &app.link) => ended,
        ended = count(&app.activity, &app.link) => ended,
        ended = inquire(&app.activity, &app.link) => ended,
    };
    match ended {
        BrokerError::Refused(why) => Failure::usage(why),
        error => Failure::of(&error),
    }
}

async fn listen(activity: &Activity, link: &Link) -> BrokerError {
    let mut events = match link.subscribe(Queue::AllEvents, EVENTS).await {
        Ok(events) => events,
        Err(error) => return error,
    };
    while let Some(event) = next(&mut events).await {
        match event {
            Ok(event) => {
                let changed = activity.cluster().hear(event);
                if let Some(view) = changed {
                    let _nobody_listens = activity.changes.send(view);
                }
            }
            Err(error) => tracing::debug!(%error, "event not understood"),
        }
    }
    BrokerError::Closed
}

async fn next(
    events: &mut Subscription,
) -> Option<Result<Event, autoconnect_common::message::MessageError>> {
    let delivery = events.next().await?;
    let event = Event::from_message(&delivery.message);
    delivery.ack();
    Some(event)
}

/// Counts what waits, once a second, and hands out a snapshot.
async fn count(activity: &Activity, link: &Link) -> BrokerError {
    let mut tick = tokio::time::interval(SECOND);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let embedded = matches!(link, Link::Embedded(_));
    loop {
        tick.tick().await;
        let queues = match tokio::time::timeout(COUNT, queues(link)).await {
            Ok(Ok(queues)) => Some(queues),
            Ok(Err(error @ (BrokerError::Closed | BrokerError::Refused(_)))) => return error,
            Ok(Err(_)) | Err(_) => None,
        };
        let up = queues.is_some() && link.is_up();
        let snapshot = activity.cluster().tick(up, embedded, queues);
        activity.snapshot.send_replace(Arc::new(snapshot));
    }
}

async fn queues(link: &Link) -> Result<Queues, BrokerError> {
    let waiting = |queue| link.waiting(queue);
    Ok(Queues {
        jobs: waiting(Queue::Jobs).await?,
        chunks: waiting(Queue::Chunks).await?
            + waiting(Queue::Unrouted).await?
            + waiting(Queue::Quarantine).await?,
        results: waiting(Queue::Results).await?,
        dead: waiting(Queue::DeadChunks).await? + waiting(Queue::DeadResults).await?,
    })
}

/// Asks the reducer at the start, and whenever a job that has not ended was silent: its end may have been told while the
/// broker was away.
async fn inquire(activity: &Activity, link: &Link) -> BrokerError {
    let mut asked_all = false;
    loop {
        if !asked_all || !activity.cluster().silent(SILENCE).is_empty() {
            match ask::ask(link, None).await {
                Ok(answer) => {
                    asked_all = true;
                    for told in answer.jobs {
                        let changed = activity.cluster().answered(told);
                        if let Some(view) = changed {
                            if view.status.has_ended() {
                                executed(activity, &view.job_id).await;
                            }
                            let view = activity.job(&view.job_id).unwrap_or(view);
                            let _nobody_listens = activity.changes.send(view);
                        }
                    }
                }
                Err(ask::AskError::Silence) => {}
                Err(ask::AskError::Broker(error)) => return error,
            }
        }
        tokio::time::sleep(SILENCE).await;
    }
}

/// Reads what a job that ended before we listened came to.
async fn executed(activity: &Activity, job: &JobId) {
    let file = activity
        .results
        .join("jobs")
        .join(job.as_str())
        .join("execution.json");
    let small = tokio::fs::metadata(&file)
        .await
        .is_ok_and(|file| file.len() <= MAX_EXECUTION);
    if small && let Ok(execution) = tokio::fs::read_to_string(&file).await {
        activity.cluster().executed(job, &execution);
    }
}
