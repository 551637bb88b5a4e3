//! Follows a job by its events, to its end.

use std::sync::atomic::Ordering;

use autoconnect_common::JobId;
use autoconnect_common::broker::{BrokerError, Subscription};
use autoconnect_common::message::Event;

use crate::progress::Gauge;
use crate::summary::Finished;
use crate::trouble::Trouble;

/// The prefetch of a job's events: they arrive a few times a second, so 64 unacked ones never hold the next one back.
pub(crate) const EVENTS: u16 = 64;

/// Consumes the events of a job until its end.
///
/// # Errors
/// [`Trouble::Broker`] where the subscription ends.
pub(crate) async fn listen(
    mut events: Subscription,
    job: &JobId,
    gauge: &Gauge,
) -> Result<Finished, Trouble> {
    loop {
        let event = events.next().await.ok_or(BrokerError::Closed)?;
        let news = Event::from_message(&event.message);
        event.ack();
        if let Ok(news) = news
            && let Some(finished) = apply(news, job, gauge)
        {
            return Ok(finished);
        }
    }
}

/// Applies an event to the gauge; returns how the job ended, for the event of its end.
fn apply(event: Event, ours: &JobId, gauge: &Gauge) -> Option<Finished> {
    match event {
        Event::Progress {
            job, done, total, ..
        } if job == *ours => {
            gauge.merged.store(done, Ordering::Relaxed);
            gauge.chunks.store(total.unwrap_or(0), Ordering::Relaxed);
            None
        }
        Event::Finished {
            job,
            status,
            reason,
            report,
            execution,
            ..
        } if job == *ours => Some(Finished {
            job,
            status,
            reason,
            report,
            execution,
        }),
        _ => None,
    }
}
