//! A request while its job is cut: who keeps it, and what the reducer says of the job meanwhile.
//!
//! A broker takes a consumer for dead that holds a delivery for long, and a cut may take for ever: it waits while the queue
//! of chunks is full. So the request is acknowledged as soon as the reducer has it in its journal, and the reducer asks for
//! the job again should we fall silent. `docs/protocol.md` has the whole story ("Whose a request is").

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

/// Events of the job in hand that wait to be read.
const EVENTS: u16 = 16;
/// How long a request is held before it is left to the reducer: most cuts are over by then, and every consumer timeout is
/// longer.
const HOLD: Duration = Duration::from_secs(5);
/// How often we say that we cut the job: twelve times in the reducer's lease.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How long a cut takes before anybody listens to its job: a queue of one's own costs the broker more than all else of a
/// small job together, and a cut that is over by then has nothing to gain from an answer.
const LISTEN_AFTER: Duration = Duration::from_millis(200);
/// How soon we say so again at the earliest: about as soon as somebody sees that a cut stopped.
const SAY_AT_MOST: Duration = Duration::from_millis(200);

/// A request in our hands, and the queue it came from.
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

    /// Leaves the request to the reducer. The queue is left first: another request would otherwise be ours until this job is
    /// cut, while other producers may be idle.
    fn leave(&mut self) {
        *self.requests = None;
        self.done();
    }

    /// Says that the request is done with.
    pub(crate) fn done(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.ack();
        }
    }

    /// Gives the request to somebody else: the delivery itself, or the request once more if it was left to the reducer.
    pub(crate) async fn give_back<B: Broker>(self, broker: &B, request: Option<Message>) {
        match (self.delivery, request) {
            (Some(delivery), _) => delivery.give_back(),
            (None, Some(request)) => {
                // should the broker be away, the reducer asks for the job again
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

/// What is said with the reducer about a job that is being cut.
pub(crate) struct Talk<'b, B> {
    broker: &'b B,
    begun: Begun,
    /// Whether the request had been delivered before, to a producer that may have cut it.
    was_taken_before: bool,
    /// We begin to listen for the answer; or heard of an end that may be old news, which the reducer is to say of this
    /// attempt.
    say_now: Notify,
    is_heard: watch::Sender<bool>,
    /// How far the job runs ahead of the reducer.
    pub(crate) ahead: Arc<Ahead>,
}

impl<'b, B: Broker> Talk<'b, B> {
    /// The talk about an attempt to cut `request` that begins now.
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

    /// What is being cut.
    pub(crate) fn request(&self) -> &JobRequest {
        &self.begun.request
    }

    /// Says again and again that the job is being cut, and soon when we begin to listen for the answer or need one.
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

    /// Listens until the job need not be cut any further: from the beginning where it may have been cut before, and after
    /// a while where it is new.
    ///
    /// Of its end only the answer to our own word counts: any other may be late word of an earlier life of the job, whose
    /// results were removed before it was asked for again.
    ///
    /// That the job was cut to its end before stops only a request that was taken before: its producer died between the
    /// manifest and the acknowledgement. A request that is new is of somebody who asks again, because chunks were lost.
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

    /// Waits until the reducer durably knows that the job is being cut.
    async fn heard(&self) {
        let mut heard = self.is_heard.subscribe();
        // the sender is ours
        let _never_closed = heard.wait_for(|heard| *heard).await;
    }

    /// Asks the reducer, before anything is cut that may have been cut before, whether it need be; where it is silent,
    /// it is.
    pub(crate) async fn ask_first(&self) {
        if !self.was_taken_before {
            return;
        }
        let _silent = tokio::time::timeout(ANSWER, self.heard()).await;
    }

    /// Leaves the request to the reducer once that has it and the cut takes long.
    pub(crate) async fn leave(&self, held: &mut Held<'_>) -> Infallible {
        tokio::join!(self.heard(), tokio::time::sleep(HOLD));
        held.leave();
        tracing::debug!(job_id = %self.begun.request.job, "request left to the reducer");
        std::future::pending().await
    }
}
