//! A request while its job is cut: who holds it, and what producer and reducer say of the job meanwhile.
//!
//! A broker closes the channel of a consumer that holds a delivery beyond the consumer timeout, and a cut has no time
//! limit: it waits while the queue of chunks is full. So the request is acknowledged once the reducer has it in its
//! journal, and the reducer requests the job again if this producer falls silent. See "Whose a request is" in
//! `docs/protocol.md`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::ask::{ANSWER, unheard};
use autoconnect_common::broker::{BrokerError, Delivery, Queue, Subscription};
use autoconnect_common::message::{Begun, Event, JobRequest, Message, Status};
use autoconnect_common::{Broker, Digest};
use tokio::sync::{Notify, watch};

use crate::ahead::Ahead;
use crate::publish::written;

/// The prefetch of the job's events: each is read at once, so that a few suffice.
const EVENTS: u16 = 16;
/// How long a request stays unacked before it is left to the reducer: most cuts are over by then, and every consumer
/// timeout is longer.
const HOLD: Duration = Duration::from_secs(5);
/// How often `begun` is repeated: twelve times in the reducer's lease.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How long a cut runs before it subscribes to its job's events: declaring that queue costs the broker more than the rest
/// of a small job together, and a cut that is over by then needs no answer.
const LISTEN_AFTER: Duration = Duration::from_millis(200);
/// The least time between two `begun`: about the time in which a person notices that a cut stopped.
const SAY_AT_MOST: Duration = Duration::from_millis(200);

/// An unacked request, and the subscription that delivered it.
pub(crate) struct Held<'s> {
    delivery: Option<Delivery>,
    requests: &'s mut Option<Subscription>,
}

impl<'s> Held<'s> {
    /// A request that was just taken.
    pub(crate) fn new(delivery: Delivery, requests: &'s mut Option<Subscription>) -> Self {
        Self {
            delivery: Some(delivery),
            requests,
        }
    }

    /// Leaves the request to the reducer. Ends the subscription first: the broker would otherwise deliver another request
    /// here, where it would wait for this job while other producers may be idle.
    fn leave(&mut self) {
        *self.requests = None;
        self.done();
    }

    /// Acknowledges the request, unless that was done.
    pub(crate) fn done(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.ack();
        }
    }

    /// Returns the request to its queue: requeues the delivery or, if it was left to the reducer, publishes it again.
    pub(crate) async fn give_back<B: Broker>(self, broker: &B, request: Option<Message>) {
        match (self.delivery, request) {
            (Some(delivery), _) => delivery.give_back(),
            (None, Some(request)) => {
                // if the broker is down, the reducer requests the job again
                let _late = tokio::time::timeout(ANSWER, broker.publish(request)).await;
            }
            (None, None) => {}
        }
    }
}

/// Why a job is cut no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It ended.
    Ended(Status),
    /// It was cut to its end before.
    Whole,
}

/// The exchange of messages with the reducer about a job that is being cut.
pub(crate) struct Talk<'b, B> {
    broker: &'b B,
    begun: Begun,
    /// Whether the request had been delivered before, to a producer that may have cut it.
    was_taken_before: bool,
    /// Sends `begun` now: the subscription has opened, or an end of the job arrived that may be an old one, which the
    /// reducer is to confirm for this attempt.
    say_now: Notify,
    is_heard: watch::Sender<bool>,
    /// How far the job runs ahead of the reducer.
    pub(crate) ahead: Arc<Ahead>,
}

impl<'b, B: Broker> Talk<'b, B> {
    /// The exchange about a new attempt to cut `request`.
    ///
    /// # Errors
    /// [`BrokerError::Unsendable`] where the attempt has no name.
    pub(crate) fn new(
        broker: &'b B,
        request: JobRequest,
        was_taken_before: bool,
    ) -> Result<Self, BrokerError> {
        let name = Digest::of(unheard().as_bytes()).short(32);
        let cut = format!("cut-{name}").parse();
        let cut = cut.map_err(|error: autoconnect_common::job::InvalidJobId| {
            BrokerError::Unsendable(error.to_string())
        })?;
        Ok(Self {
            broker,
            begun: Begun { request, cut },
            was_taken_before,
            say_now: Notify::new(),
            is_heard: watch::Sender::new(false),
            ahead: Arc::default(),
        })
    }

    /// The request that is being cut.
    pub(crate) fn request(&self) -> &JobRequest {
        &self.begun.request
    }

    /// Publishes `begun` every [`SAY_EVERY`], and soon when its answer is needed.
    pub(crate) async fn say(&self) -> Result<Infallible, BrokerError> {
        if self.was_taken_before {
            self.say_now.notified().await;
        }
        loop {
            let message = written(self.begun.to_message())?;
            self.broker.publish(message).await?;
            let now = tokio::time::timeout(SAY_EVERY, self.say_now.notified());
            let _now = tokio::join!(now, tokio::time::sleep(SAY_AT_MOST));
        }
    }

    /// Consumes the job's events until one says to stop the cut: from the beginning where the job may have been cut
    /// before, after [`LISTEN_AFTER`] where it is new.
    ///
    /// An end counts only as the answer to this attempt's `begun`: any other may be a late event of an earlier run of the
    /// job, whose results were removed before it was requested again.
    ///
    /// An answer that the job was cut before stops only a redelivered request, whose producer died between manifest and
    /// acknowledgement. A new request of such a job means that chunks were lost and must be cut again.
    pub(crate) async fn listen(&self) -> Result<Stop, BrokerError> {
        if !self.was_taken_before {
            tokio::time::sleep(LISTEN_AFTER).await;
        }
        let job = Queue::Events(self.begun.request.job.clone());
        let mut events = self.broker.subscribe(job, EVENTS).await?;
        self.say_now.notify_one();
        loop {
            let event = events.next().await.ok_or(BrokerError::Closed)?;
            let news = Event::from_message(&event.message);
            event.ack();
            match news {
                Ok(Event::Finished { status, cut, .. }) => match cut {
                    Some(cut) if cut == self.begun.cut => return Ok(Stop::Ended(status)),
                    _ => self.say_now.notify_one(),
                },
                Ok(Event::Begun {
                    cut, whole, done, ..
                }) => {
                    self.ahead.done(done);
                    if cut == self.begun.cut {
                        self.is_heard.send_replace(true);
                        if whole && self.was_taken_before {
                            return Ok(Stop::Whole);
                        }
                    }
                }
                Ok(Event::Progress { done, .. }) => self.ahead.done(done),
                _ => {}
            }
        }
    }

    /// Waits until the reducer has this attempt in its journal.
    async fn heard(&self) {
        let mut heard = self.is_heard.subscribe();
        // `self` owns the sender
        let _never_closed = heard.wait_for(|heard| *heard).await;
    }

    /// Waits, before a redelivered request is cut, for the reducer's answer whether it need be; without an answer it is
    /// cut.
    pub(crate) async fn ask_first(&self) {
        if !self.was_taken_before {
            return;
        }
        let _silent = tokio::time::timeout(ANSWER, self.heard()).await;
    }

    /// Leaves the request to the reducer once the reducer has it and the cut has taken [`HOLD`].
    pub(crate) async fn leave(&self, held: &mut Held<'_>) -> Infallible {
        tokio::join!(self.heard(), tokio::time::sleep(HOLD));
        held.leave();
        tracing::debug!(job_id = %self.begun.request.job, "request left to the reducer");
        std::future::pending().await
    }
}
