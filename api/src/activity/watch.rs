//! Watches the cluster: consumes its events, counts queues once a second, and asks the reducer about silent jobs.

use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::broker::{Broker as _, BrokerError, Queue, Subscription};
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::Event;
use autoconnect_common::program::Failure;
use autoconnect_common::results::{EXECUTION, job_folder};
use autoconnect_common::{JobId, ask};

use super::Activity;
use super::view::Queues;
use crate::app::Shared;
use crate::link::Link;

/// How often queues are counted and a snapshot is made: once a second, as often as a worker sends a heartbeat.
const SECOND: Duration = Duration::from_secs(1);
/// How long the broker may take to count its messages. A busy one takes less; the snapshot waits for it, so no more.
const COUNT: Duration = Duration::from_secs(2);
/// The time without an event of an open job after which the reducer is asked: longer than a healthy job's pauses.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the report of an ended job may take to appear on the disk. The reducer may be on another machine, and NFS
/// caches a folder for up to 60 seconds.
const APPEARS: Duration = Duration::from_secs(60);
/// How often the report is looked for meanwhile: a tenth of a second is hardly noticed by a person.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The prefetch of all events: enough for a burst of a few hundred workers' heartbeats.
const EVENTS: u16 = 256;
/// The largest `execution.json` that is read, in bytes.
const MAX_EXECUTION: u64 = 4 << 20;

/// Consumes events; ends only where the broker refuses the API for good.
pub(crate) async fn watch(app: &Shared) -> Failure {
    let ended = tokio::select! {
        ended = listen(app) => ended,
        ended = count(&app.activity, &app.link) => ended,
        ended = inquire(app) => ended,
    };
    match ended {
        BrokerError::Refused(why) => Failure::usage(why),
        error => Failure::of(&error),
    }
}

async fn listen(app: &Shared) -> BrokerError {
    let activity = &app.activity;
    let mut events = match app.link.subscribe(Queue::AllEvents, EVENTS).await {
        Ok(events) => events,
        Err(error) => return error,
    };
    while let Some(event) = next(&mut events).await {
        match event {
            Ok(event) => {
                if let Event::Finished { job, status, .. } = &event
                    && status.has_report()
                    && !is_readable(app, job).await
                {
                    tokio::spawn(apply_later(Arc::clone(app), event));
                    continue;
                }
                let changed = activity.cluster().apply(event);
                if let Some(view) = changed {
                    let _nobody_listens = activity.changes.send(view);
                }
            }
            Err(error) => tracing::debug!(%error, "event cannot be read"),
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

/// Loads the newest reports, and says whether the report of an ended job can be read. Only then does the API say that the
/// job has ended: a client that reads the report at once must find it.
async fn is_readable(app: &Shared, job: &JobId) -> bool {
    let sought = app.editions.folder(job).join(REPORT);
    let is_there = tokio::fs::try_exists(sought).await.unwrap_or(false);
    app.editions.refresh().await;
    is_there
}

/// Applies the end of a job once its report is on the disk, or [`APPEARS`] later.
async fn apply_later(app: Shared, event: Event) {
    if let Event::Finished { job, .. } = &event {
        let appearing = async {
            while !is_readable(&app, job).await {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(APPEARS, appearing).await.is_err() {
            tracing::warn!(job_id = %job, results = %app.editions.results().display(), "the report of an ended job is not in the folder of results");
        }
    }
    let changed = app.activity.cluster().apply(event);
    if let Some(view) = changed {
        let _nobody_listens = app.activity.changes.send(view);
    }
}

/// Counts ready messages once a second, and publishes a snapshot.
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
        let troubles = link.health().troubles();
        let snapshot = {
            let mut cluster = activity.cluster();
            cluster.troubled("api".to_owned(), troubles);
            cluster.tick(up, embedded, queues)
        };
        activity.snapshot.send_replace(Arc::new(snapshot));
    }
}

async fn queues(link: &Link) -> Result<Queues, BrokerError> {
    let mut queues = Queues::default();
    for queue in Queue::durable(&autoconnect_jobs::registry().formats()) {
        let waiting = link.waiting(queue.clone()).await?;
        let count = match queue {
            Queue::Jobs(_) => &mut queues.jobs,
            Queue::Chunks(_) | Queue::Quarantine(_) => &mut queues.chunks,
            Queue::Results(_) | Queue::Control => &mut queues.results,
            Queue::DeadJobs | Queue::DeadChunks | Queue::DeadResults => &mut queues.dead,
            Queue::Events(_) | Queue::AllEvents => continue,
        };
        *count += waiting;
    }
    Ok(queues)
}

/// Asks the reducer at the start, and whenever an open job had no event for [`SILENCE`]: the event of its end may have been
/// lost while the broker was down.
async fn inquire(app: &Shared) -> BrokerError {
    let (activity, link) = (&app.activity, &app.link);
    let mut asked_all = false;
    loop {
        if !asked_all || !activity.cluster().silent(SILENCE).is_empty() {
            match ask::ask(link, None).await {
                Ok(answer) => {
                    asked_all = true;
                    // the reports of jobs that ended before the answer are on the disk: load them before saying so
                    app.editions.refresh().await;
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

/// Reads the `execution.json` of a job that ended before the API subscribed.
async fn executed(activity: &Activity, job: &JobId) {
    let file = job_folder(&activity.results, job).join(EXECUTION);
    let small = tokio::fs::metadata(&file)
        .await
        .is_ok_and(|file| file.len() <= MAX_EXECUTION);
    if small && let Ok(execution) = tokio::fs::read_to_string(&file).await {
        activity.cluster().executed(job, &execution);
    }
}
