//! Publishes, one task for all callers, and keeps each message until the broker has taken it.
//!
//! ```text
//! inbox -> held -> on the wire -> confirmed and not returned -> Ok to the caller
//!            ^          |-- rejected (the queue is full) or returned (nothing bound): a pause, then again
//!            '----------'-- the session ended: all of them again, on the next one
//! ```
//!
//! One task, because lapin numbers a publish before it queues its frames: two tasks could swap the numbers, and with
//! them the confirmations. For the same reason a returned message is told by its id: lapin hands it out with whatever
//! confirmation comes next.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::Common;
use super::session::{Failure, Link, Session, random};
use super::wire::Ready;
use crate::broker::BrokerError;
use crate::message::Message;

/// The most messages, and (but for one alone) bytes, without a confirmation.
const WINDOW: (usize, usize) = (64, 8 << 20);
/// The shortest and the longest pause before a message is offered again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long the broker may be silent while it owes us confirmations.
const SILENCE: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A message on its way, and who waits for it.
pub(super) struct Outgoing {
    ready: Arc<Ready>,
    done: oneshot::Sender<Result<(), BrokerError>>,
    /// The pause it was last held back for.
    paused: Duration,
}

impl Outgoing {
    pub(super) fn new(
        message: Message,
        common: &Common,
        done: oneshot::Sender<Result<(), BrokerError>>,
    ) -> Result<Self, BrokerError> {
        Ok(Self {
            ready: Arc::new(Ready::new(message, common)?),
            done,
            paused: Duration::ZERO,
        })
    }

    fn settle(self, result: Result<(), BrokerError>) {
        // Whoever no longer waits does not need to know.
        let _gone = self.done.send(result);
    }
}

/// Everything not yet confirmed, by a number that grows.
#[derive(Default)]
struct Held {
    by_number: BTreeMap<u64, Outgoing>,
    bytes: usize,
    last: u64,
}

impl Held {
    fn insert(&mut self, outgoing: Outgoing) -> u64 {
        self.last += 1;
        self.bytes += outgoing.ready.body.len();
        self.by_number.insert(self.last, outgoing);
        self.last
    }

    fn remove(&mut self, number: u64) -> Option<Outgoing> {
        let outgoing = self.by_number.remove(&number)?;
        self.bytes -= outgoing.ready.body.len();
        Some(outgoing)
    }

    fn has_room(&self) -> bool {
        self.by_number.len() < WINDOW.0 && self.bytes < WINDOW.1
    }

    fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    fn fail(&mut self, error: &BrokerError) {
        self.bytes = 0;
        for outgoing in std::mem::take(&mut self.by_number).into_values() {
            outgoing.settle(Err(error.clone()));
        }
    }
}

/// Publishes whatever comes out of `inbox` until it, or the broker, is closed.
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
            published = session.carry(Flow::begin(&session, &mut held, &mut inbox)) => published,
        };
        match published {
            Ok(()) => return,
            Err(failure) => session.fail(failure),
        }
    }
}

type Sent = (u64, lapin::Result<Confirmation>);

/// Publishing over one session.
struct Flow<'a> {
    session: &'a Session,
    channel: Channel,
    held: &'a mut Held,
    on_the_wire: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// How long a message that was not taken is held back now.
    pause: Duration,
    /// When the broker last owed us nothing, or last said something.
    heard: Instant,
    told_unroutable: bool,
    told_blocked: bool,
}

impl<'a> Flow<'a> {
    /// Publishes what is held and what comes in; ends well only when the inbox is closed and nothing is held.
    async fn begin(
        session: &'a Session,
        held: &'a mut Held,
        inbox: &mut mpsc::Receiver<Outgoing>,
    ) -> Result<(), Failure> {
        let channel = session.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let numbers: Vec<u64> = held.by_number.keys().copied().collect();
        let mut flow = Self {
            session,
            channel,
            held,
            on_the_wire: FuturesUnordered::new(),
            pause: PAUSE.0,
            heard: Instant::now(),
            told_unroutable: false,
            told_blocked: false,
        };
        for number in numbers {
            flow.send(number, Duration::ZERO);
        }
        flow.run(inbox).await
    }

    async fn run(&mut self, inbox: &mut mpsc::Receiver<Outgoing>) -> Result<(), Failure> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        while open || !self.held.is_empty() {
            tokio::select! {
                Some(sent) = self.on_the_wire.next() => self.settle(sent)?,
                incoming = inbox.recv(), if open && self.held.has_room() => match incoming {
                    Some(outgoing) => self.accept(outgoing),
                    None => open = false,
                },
                _ = look.tick() => self.look()?,
            }
        }
        Ok(())
    }

    fn accept(&mut self, outgoing: Outgoing) {
        if outgoing.done.is_closed() {
            return;
        }
        if self.on_the_wire.is_empty() {
            self.heard = Instant::now();
        }
        let number = self.held.insert(outgoing);
        self.send(number, Duration::ZERO);
    }

    /// Puts message `number` on the wire, after a pause.
    fn send(&mut self, number: u64, pause: Duration) {
        let Some(outgoing) = self.held.by_number.get(&number) else {
            return;
        };
        let publish = publish(self.channel.clone(), Arc::clone(&outgoing.ready));
        self.on_the_wire.push(if pause.is_zero() {
            publish.map(move |sent| (number, sent)).boxed()
        } else {
            let late = async move {
                tokio::time::sleep(pause).await;
                (number, publish.await)
            };
            late.boxed()
        });
    }

    /// Settles a confirmation, and all others that are there: a message's return may have come with any of those.
    fn settle(&mut self, first: Sent) -> Result<(), Failure> {
        self.heard = Instant::now();
        let mut confirmed = vec![first];
        while let Some(Some(sent)) = self.on_the_wire.next().now_or_never() {
            confirmed.push(sent);
        }
        let mut returned = HashSet::new();
        let mut taken = Vec::with_capacity(confirmed.len());
        for (number, sent) in confirmed {
            let (is_ack, message) = match sent? {
                Confirmation::Ack(message) => (true, message),
                Confirmation::Nack(message) => (false, message),
                Confirmation::NotRequested => (false, None),
            };
            self.session.prove();
            taken.push((number, is_ack));
            if let Some(message) = message
                && let Some(id) = message.properties.message_id()
            {
                returned.insert(id.as_str().to_owned());
            }
        }
        for (number, is_ack) in taken {
            let Some(outgoing) = self.held.by_number.get(&number) else {
                continue;
            };
            let unroutable = returned.contains(outgoing.ready.id.as_str());
            if unroutable && !std::mem::replace(&mut self.told_unroutable, true) {
                let exchange = outgoing.ready.exchange.as_str();
                let key = outgoing.ready.key.as_str();
                tracing::warn!(exchange, key, "waiting for a queue that takes this message");
            }
            if is_ack && !unroutable {
                self.pause = PAUSE.0;
                if let Some(outgoing) = self.held.remove(number) {
                    outgoing.settle(Ok(()));
                }
            } else {
                self.hold_back(number);
            }
        }
        Ok(())
    }

    /// Offers a message again after a pause, twice as long once a message was held back for the present one in vain.
    fn hold_back(&mut self, number: u64) {
        let Some(outgoing) = self.held.by_number.get_mut(&number) else {
            return;
        };
        if outgoing.paused >= self.pause {
            self.pause = (self.pause * 2).min(PAUSE.1);
        }
        outgoing.paused = self.pause;
        let pause = self.pause.mul_f64(0.5 + random() / 2.0);
        self.send(number, pause);
    }

    /// Notices a session that no longer moves, and an alarm, under which it may stand still.
    fn look(&mut self) -> Result<(), Failure> {
        let blocked = self.session.blocked();
        if blocked != self.told_blocked {
            self.told_blocked = blocked;
            if blocked {
                tracing::warn!("the broker is short of memory or disk and takes no messages");
            } else {
                tracing::info!("the broker takes messages again");
            }
        }
        if blocked || self.on_the_wire.is_empty() {
            self.heard = Instant::now();
        }
        if self.heard.elapsed() > SILENCE {
            let seconds = SILENCE.as_secs();
            return Err(Failure::Away(format!("no confirmation for {seconds} s")));
        }
        Ok(())
    }
}

/// Publishes once and waits for the confirmation. Its frames are queued at the first poll.
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
