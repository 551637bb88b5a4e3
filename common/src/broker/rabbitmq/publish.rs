//! Publishes, in one task for all callers, and keeps each message until it is confirmed.
//!
//! ```text
//! inbox -> held -> on the wire -> confirmed, and so is all before it -> not returned -> Ok to the caller
//!            ^          |-- nacked (the queue is full) or returned (unroutable): a pause of its own, then again
//!            '----------'-- the session ended: all of them again, on the next one
//! ```
//!
//! One task, because lapin numbers a publish before it queues its frames: two tasks could swap the numbers, and with them
//! the confirms.
//!
//! # When a confirm counts
//!
//! The broker sends the return of an unroutable message before its ack. lapin puts returns into one queue, and hands the
//! first of them out with whatever ack comes next: it may be another message's, and the message's own ack may come
//! without one. So an ack proves nothing until every publish numbered before it has its ack, too. Then no return of the
//! message is pending: each return waits only for acks of returned messages; the return of message *n* has at most as many
//! ahead of it as there are returned messages before *n* that still lack their ack; and each ack takes one out. A return
//! names its message by id only, so it marks every message on the wire with that id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::Common;
use super::failure::Failure;
use super::link::{Link, random};
use super::session::Session;
use super::wire::Ready;
use crate::broker::{BrokerError, Offered};
use crate::message::Message;

/// The most unconfirmed messages, and (unless one alone is larger) bytes. 64 messages keep a broker busy that takes
/// 20,000 a second and confirms within 3 ms; 8 MiB bound the memory of large ones.
const WINDOW: (usize, usize) = (64, 8 << 20);
/// The shortest and the longest pause before a refused message is published again: short beside the time in which a
/// consumer makes room, and rare enough to cost a full broker nothing.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long the oldest confirm may be due before the session ends: longer than the 16 to 20 seconds after which heartbeats
/// notice a frozen broker. Confirms of later messages do not count: a quorum queue can lose what was sent to its leader
/// while that was partitioned, never confirm it (rabbitmq-server #14589), and accept it only over another channel.
const SILENCE: Duration = Duration::from_secs(30);
/// How often overdue confirms and alarms are checked: often beside [`SILENCE`], and free.
const LOOK: Duration = Duration::from_secs(1);
/// How long all messages of one format may be refused before that counts as a trouble: a queue with a live consumer has
/// room again within that time.
const REFUSED: Duration = Duration::from_secs(20);

/// A message to publish, and its waiting caller.
pub(super) struct Outgoing {
    ready: Arc<Ready>,
    done: oneshot::Sender<Result<Offered, BrokerError>>,
    /// Whether a refusal is returned instead of retried.
    once: bool,
    /// Its last pause.
    paused: Duration,
    /// Whether the broker closed the channel while this was on the wire: it is then published alone.
    suspect: bool,
}

impl Outgoing {
    pub(super) fn new(
        message: Message,
        common: &Common,
        once: bool,
        done: oneshot::Sender<Result<Offered, BrokerError>>,
    ) -> Result<Self, BrokerError> {
        Ok(Self {
            ready: Arc::new(Ready::new(message, common)?),
            done,
            once,
            paused: Duration::ZERO,
            suspect: false,
        })
    }

    fn settle(self, result: Result<Offered, BrokerError>) {
        // a caller that no longer waits needs no answer
        let _gone = self.done.send(result);
    }
}

/// Every unconfirmed message, by an increasing number.
#[derive(Default)]
struct Held {
    by_number: BTreeMap<u64, Outgoing>,
    last: u64,
}

impl Held {
    fn insert(&mut self, outgoing: Outgoing) -> u64 {
        self.last += 1;
        self.by_number.insert(self.last, outgoing);
        self.last
    }

    fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    fn settle(&mut self, number: u64, result: Result<Offered, BrokerError>) {
        if let Some(outgoing) = self.by_number.remove(&number) {
            outgoing.settle(result);
        }
    }

    fn fail(&mut self, error: &BrokerError) {
        for outgoing in std::mem::take(&mut self.by_number).into_values() {
            outgoing.settle(Err(error.clone()));
        }
    }
}

/// Publishes messages from `inbox` until it, or the broker, is closed.
pub(super) async fn run(link: Arc<Link>, mut inbox: mpsc::Receiver<Outgoing>) {
    let mut held = Held::default();
    loop {
        if held.is_empty() {
            tokio::select! {
                biased;
                () = link.common.closed.cancelled() => return,
                first = inbox.recv() => match first {
                    Some(outgoing) => held.insert(outgoing),
                    None => return,
                },
            };
        }
        let session = match link.session().await {
            Ok(session) => session,
            Err(error) => {
                held.fail(&error);
                continue;
            }
        };
        let published = tokio::select! {
            biased;
            () = link.common.closed.cancelled() => {
                held.fail(&BrokerError::Closed);
                return;
            }
            published = session.run_while_alive(publish_over(&session, &link.common, &mut held, &mut inbox)) => published,
        };
        match published {
            Ok(()) => return,
            Err(failure) => session.fail(failure),
        }
    }
}

/// Publishes held and new messages over one session; returns `Ok` only when the inbox is closed and nothing is held.
async fn publish_over(
    session: &Session,
    common: &Common,
    held: &mut Held,
    inbox: &mut mpsc::Receiver<Outgoing>,
) -> Result<(), Failure> {
    let channel = session.channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut flow = Flow {
        session,
        common,
        channel,
        suspects: Vec::new(),
        held,
        on_the_wire: OnTheWire::new(),
        paused: FuturesUnordered::new(),
        refused: BTreeMap::new(),
    };
    let published = flow.begin(inbox).await;
    if let Err(Failure::Message(why)) = &published {
        flow.blame(why);
    }
    published
}

type Sent = (u64, lapin::Result<Confirmation>);

/// A publish without an outcome, or whose outcome does not count yet.
struct Flight {
    /// Its number among what is held.
    number: u64,
    message: Arc<Ready>,
    /// Whether the broker acked or nacked it.
    acked: Option<bool>,
    returned: bool,
}

/// The publishes of one channel in the order in which the broker numbers them.
struct OnTheWire {
    confirms: FuturesUnordered<BoxFuture<'static, Sent>>,
    flights: BTreeMap<u64, Flight>,
    bytes: usize,
    last: u64,
    /// Since when, at the earliest, the outcome of the first flight is due.
    owed: Instant,
}

impl OnTheWire {
    fn new() -> Self {
        Self {
            confirms: FuturesUnordered::new(),
            flights: BTreeMap::new(),
            bytes: 0,
            last: 0,
            owed: Instant::now(),
        }
    }

    fn has_room(&self) -> bool {
        self.flights.len() < WINDOW.0 && self.bytes < WINDOW.1
    }

    fn send(&mut self, channel: &Channel, number: u64, message: &Arc<Ready>) {
        self.last += 1;
        let tag = self.last;
        let mut publish = publish(channel.clone(), Arc::clone(message))
            .map(move |sent| (tag, sent))
            .boxed();
        // poll now: lapin numbers a publish at its first poll
        let confirm = match (&mut publish).now_or_never() {
            Some(sent) => ready(sent).boxed(),
            None => publish,
        };
        self.confirms.push(confirm);
        self.take_off(tag, number, message);
    }

    fn take_off(&mut self, tag: u64, number: u64, message: &Arc<Ready>) {
        if self.flights.is_empty() {
            self.owed = Instant::now();
        }
        self.bytes += message.body.len();
        let flight = Flight {
            number,
            message: Arc::clone(message),
            acked: None,
            returned: false,
        };
        self.flights.insert(tag, flight);
    }

    /// Records a confirm, and the return that came with it.
    fn note(&mut self, tag: u64, confirmation: Confirmation) {
        let (acked, returned) = match confirmation {
            Confirmation::Ack(returned) => (true, returned),
            Confirmation::Nack(returned) => (false, returned),
            Confirmation::NotRequested => (false, None),
        };
        if let Some(flight) = self.flights.get_mut(&tag) {
            flight.acked = Some(acked);
        }
        if let Some(returned) = returned
            && let Some(id) = returned.properties.message_id()
        {
            let flights = self.flights.values_mut();
            for flight in flights.filter(|flight| flight.message.id == id.as_str()) {
                flight.returned = true;
            }
        }
    }

    /// The next publish whose outcome counts, because all before it have theirs.
    fn landed(&mut self) -> Option<(u64, Landed)> {
        let first = self.flights.first_entry()?;
        let acked = first.get().acked?;
        let flight = first.remove();
        self.bytes -= flight.message.body.len();
        self.owed = Instant::now();
        let landed = match (flight.returned, acked) {
            (true, _) => Landed::Returned,
            (false, true) => Landed::Taken,
            (false, false) => Landed::Rejected,
        };
        Some((flight.number, landed))
    }

    /// Whether an outcome is overdue.
    fn is_overdue(&self) -> bool {
        !self.flights.is_empty() && self.owed.elapsed() > SILENCE
    }
}

/// The outcome of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Landed {
    Taken,
    /// Unroutable: no queue is bound for it.
    Returned,
    /// A queue is full.
    Rejected,
}

/// The broker refuses the messages of a format.
struct Refusal {
    since: Instant,
    /// The current pause.
    pause: Duration,
    /// Whether one of them was returned.
    is_returned: bool,
}

/// The state of publishing over one session.
struct Flow<'a> {
    session: &'a Session,
    common: &'a Common,
    channel: Channel,
    /// Messages to publish one at a time, in reverse order.
    suspects: Vec<u64>,
    held: &'a mut Held,
    on_the_wire: OnTheWire,
    /// Yields the number of a refused message once its pause is over.
    paused: FuturesUnordered<BoxFuture<'static, u64>>,
    /// Refusals, by format.
    refused: BTreeMap<String, Refusal>,
}

impl Flow<'_> {
    async fn begin(&mut self, inbox: &mut mpsc::Receiver<Outgoing>) -> Result<(), Failure> {
        let numbers: Vec<u64> = self.held.by_number.keys().copied().collect();
        for number in numbers {
            let held = self.held.by_number.get(&number);
            if held.is_some_and(|outgoing| outgoing.suspect) {
                self.suspects.insert(0, number);
            } else {
                self.paused.push(ready(number).boxed());
            }
        }
        self.run(inbox).await
    }

    async fn run(&mut self, inbox: &mut mpsc::Receiver<Outgoing>) -> Result<(), Failure> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.held.is_empty() {
            if self.on_the_wire.flights.is_empty()
                && let Some(suspect) = self.suspects.pop()
            {
                self.send(suspect);
            }
            let has_room = self.suspects.is_empty() && self.on_the_wire.has_room();
            tokio::select! {
                Some(sent) = self.on_the_wire.confirms.next() => self.settle(sent)?,
                Some(number) = self.paused.next(), if has_room => self.send(number),
                incoming = inbox.recv(), if open && has_room => match incoming {
                    Some(outgoing) => self.accept(outgoing),
                    None => open = false,
                },
                _ = look.tick() => self.look()?,
            }
        }
        Ok(())
    }

    fn accept(&mut self, outgoing: Outgoing) {
        let number = self.held.insert(outgoing);
        self.send(number);
    }

    /// Publishes message `number`, unless its caller no longer waits.
    fn send(&mut self, number: u64) {
        let Some(outgoing) = self.held.by_number.get(&number) else {
            return;
        };
        if outgoing.done.is_closed() {
            self.held.by_number.remove(&number);
            return;
        }
        if let Some(why) = self.session.refuses(&outgoing.ready) {
            self.held.settle(number, Err(BrokerError::Unsendable(why)));
            return;
        }
        self.on_the_wire
            .send(&self.channel, number, &outgoing.ready);
    }

    /// Records a confirm and all others that have arrived, and settles the messages whose outcome counts.
    fn settle(&mut self, first: Sent) -> Result<(), Failure> {
        let mut error: Option<lapin::Error> = None;
        let mut next = Some(first);
        while let Some((tag, sent)) = next {
            match sent {
                Ok(confirmation) => self.on_the_wire.note(tag, confirmation),
                // one of the errors quotes the broker
                Err(more) if error.is_none() || more.is_amqp_error() => error = Some(more),
                Err(_) => {}
            }
            next = self.on_the_wire.confirms.next().now_or_never().flatten();
        }
        while let Some((number, landed)) = self.on_the_wire.landed() {
            self.session.mark_healthy();
            self.common.health.moved();
            match landed {
                Landed::Taken => self.taken(number),
                refused => self.refused(number, refused),
            }
        }
        error.map_or(Ok(()), |error| Err(Failure::publishing(&error)))
    }

    fn taken(&mut self, number: u64) {
        let Some(outgoing) = self.held.by_number.get(&number) else {
            return;
        };
        let format = &outgoing.ready.format;
        if self.refused.remove(format).is_some() {
            self.common.health.clear(&trouble(format));
        }
        self.held.settle(number, Ok(Offered::Taken));
    }

    /// Schedules a refused message again after a pause, which doubles when a message of its format was refused after the
    /// current one; returns the refusal instead where the caller wants one attempt.
    fn refused(&mut self, number: u64, refused: Landed) {
        let Some(outgoing) = self.held.by_number.get_mut(&number) else {
            return;
        };
        let ready = Arc::clone(&outgoing.ready);
        let (exchange, key) = (ready.exchange.as_str(), ready.key.as_str());
        let why = match refused {
            Landed::Returned => format!("no queue takes what is published to {exchange} as {key}"),
            _ => format!("the queue of {exchange}, {key}, is full"),
        };
        if outgoing.once {
            self.held.settle(number, Ok(Offered::Refused(why)));
            return;
        }
        let refusal = self.refused.entry(ready.format.clone());
        let refusal = refusal.or_insert_with(|| Refusal {
            since: Instant::now(),
            pause: PAUSE.0,
            is_returned: false,
        });
        if refused == Landed::Returned && !refusal.is_returned {
            refusal.is_returned = true;
            tracing::warn!(exchange, key, "waiting for a queue that takes this message");
            self.common.missing.notify_one();
        }
        if outgoing.paused >= refusal.pause {
            refusal.pause = (refusal.pause * 2).min(PAUSE.1);
        }
        outgoing.paused = refusal.pause;
        let pause = refusal.pause.mul_f64(0.5 + random() / 2.0);
        let late = async move {
            tokio::time::sleep(pause).await;
            number
        };
        self.paused.push(late.boxed());
        if refusal.since.elapsed() >= REFUSED {
            self.common.health.alarm(&trouble(&ready.format), why);
        }
    }

    /// Handles a channel that the broker closed because of a message on the wire. A single message is the cause; of
    /// several, the next session publishes one at a time.
    fn blame(&mut self, why: &str) {
        let flights = std::mem::take(&mut self.on_the_wire.flights);
        let open: Vec<u64> = flights.into_values().map(|flight| flight.number).collect();
        if let [alone] = open.as_slice() {
            let id = self
                .held
                .by_number
                .get(alone)
                .map(|held| held.ready.id.clone());
            let why = format!("message {:?}: {why}", id.unwrap_or_default());
            tracing::error!(why, "the broker does not take a message");
            self.held.settle(*alone, Err(BrokerError::Unsendable(why)));
            return;
        }
        for number in open {
            if let Some(outgoing) = self.held.by_number.get_mut(&number) {
                outgoing.suspect = true;
            }
        }
    }

    /// Fails a session with an overdue confirm, except under an alarm of the broker.
    fn look(&mut self) -> Result<(), Failure> {
        let blocked = self.session.blocked();
        match &blocked {
            Some(why) => self.common.health.raise(
                "alarm",
                format!("the broker takes no messages because of an alarm: {why}"),
            ),
            None => self.common.health.clear("alarm"),
        }
        if blocked.is_some() {
            self.on_the_wire.owed = Instant::now();
        }
        if self.on_the_wire.is_overdue() {
            let seconds = SILENCE.as_secs();
            return Err(Failure::Away(format!("no confirm for {seconds} s")));
        }
        Ok(())
    }
}

impl Drop for Flow<'_> {
    /// Clears the troubles: refusals of this session say nothing about the next.
    fn drop(&mut self) {
        for format in self.refused.keys() {
            self.common.health.clear(&trouble(format));
        }
        self.common.health.clear("alarm");
    }
}

/// The name of the trouble of refused messages of a format.
fn trouble(format: &str) -> String {
    format!("publish {format}")
}

/// Publishes once and awaits the confirm. The first poll queues its frames.
async fn publish(channel: Channel, ready: Arc<Ready>) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: ready.mandatory,
        ..BasicPublishOptions::default()
    };
    let confirmation = channel
        .basic_publish(
            ready.exchange.clone(),
            ready.key.clone(),
            options,
            &ready.body,
            ready.properties.clone(),
        )
        .await?;
    confirmation.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::rabbitmq::{Options, RabbitMq};
    use crate::message::Exchange;

    #[tokio::test(start_paused = true)]
    async fn confirms_of_later_messages_do_not_hide_one_that_never_comes() {
        let rabbit = RabbitMq::connect(Options {
            uris: vec!["amqp://127.0.0.1:1".to_owned()],
            ..Options::default()
        });
        let message = Message {
            exchange: Exchange::Events,
            key: "job.sales-1".to_owned(),
            id: "1".to_owned(),
            kind: "progress".to_owned(),
            headers: BTreeMap::new(),
            body: crate::Body::default(),
        };
        let common = rabbit.expect("an address").common;
        let message = Arc::new(Ready::new(message, &common).expect("a message"));
        let mut on_the_wire = OnTheWire::new();
        for tag in 1..=3 {
            on_the_wire.take_off(tag, tag, &message);
        }
        // messages that are confirmed one after the other are never overdue, however long all take together
        for tag in 1..=2 {
            tokio::time::advance(SILENCE).await;
            on_the_wire.note(tag, Confirmation::Ack(None));
            assert_eq!(on_the_wire.landed(), Some((tag, Landed::Taken)));
            assert!(!on_the_wire.is_overdue());
        }
        for tag in 4..=40 {
            on_the_wire.take_off(tag, tag, &message);
            tokio::time::advance(Duration::from_secs(1)).await;
            on_the_wire.note(tag, Confirmation::Ack(None));
            assert_eq!(on_the_wire.landed(), None);
        }
        assert!(on_the_wire.is_overdue());
    }
}
