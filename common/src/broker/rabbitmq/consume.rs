//! Consumes one queue across sessions, and settles its deliveries: a [`Consumer`] receives every message, a [`Taker`] gets
//! one message per call.
//!
//! A delivery is settled on the channel that delivered it. If that session ended, the verdict is dropped, because the
//! broker redelivers the message anyway. lapin reports an acknowledgement as sent, not as received, so nothing depends on
//! it.

use std::sync::Arc;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Channel};
use tokio::sync::{mpsc, oneshot};

use super::failure::{Failure, is_missing};
use super::link::{Link, jittered};
use super::session::Session;
use super::wire::{received, short};
use super::{Common, declare};
use crate::broker::{BrokerError, Delivery, Queue, Verdict};

type Established = oneshot::Sender<Result<(), BrokerError>>;
type Settled = (Acker, Verdict);

/// One subscription.
pub(super) struct Consumer {
    pub(super) link: Arc<Link>,
    pub(super) queue: Queue,
    pub(super) prefetch: u16,
    pub(super) deliveries: mpsc::Sender<Delivery>,
}

impl Consumer {
    /// Consumes until the subscription is dropped or the broker is closed. Signals `established` once the broker
    /// confirmed the consumer, or why it never will.
    pub(super) async fn run(self, established: Established) {
        let mut established = Some(established);
        loop {
            let session = tokio::select! {
                session = self.link.session() => session,
                () = self.deliveries.closed() => return,
            };
            let taken = match session {
                Ok(session) => {
                    let taken = session
                        .run_while_alive(self.take(&session, &mut established))
                        .await;
                    taken.map_err(|failure| session.fail(failure))
                }
                Err(error) => {
                    match established.take() {
                        Some(established) => {
                            let _gone = established.send(Err(error));
                        }
                        None => {
                            tracing::error!(%error, queue = %self.queue.name(), "no more deliveries")
                        }
                    }
                    return;
                }
            };
            if taken.is_ok() {
                return;
            }
        }
    }

    fn common(&self) -> &Common {
        &self.link.common
    }

    /// Consumes over one session; returns `Ok` only when the subscription is over.
    async fn take(
        &self,
        session: &Session,
        established: &mut Option<Established>,
    ) -> Result<(), Failure> {
        let (channel, queue, mut stream) = loop {
            match self.begin(session, established).await? {
                Some(begun) => break begun,
                None if self.deliveries.is_closed() || self.common().closed.is_cancelled() => {
                    return Ok(());
                }
                None => {}
            }
        };
        session.mark_healthy();
        if let Some(established) = established.take() {
            let _gone = established.send(Ok(()));
        }
        let (settle, mut verdicts) = mpsc::unbounded_channel();
        let mut waiting = None;
        loop {
            tokio::select! {
                Some((acker, verdict)) = verdicts.recv() => hand_over(&acker, verdict).await?,
                next = stream.next(), if waiting.is_none() => match next {
                    Some(delivery) => {
                        waiting = Some(delivered(self.common(), &self.queue, delivery?, &settle));
                    }
                    None => {
                        let why = declare::why_stopped(session, &queue).await;
                        return Err(Failure::Away(why));
                    }
                },
                room = self.deliveries.reserve(), if waiting.is_some() => match room {
                    Ok(room) => {
                        if let Some(delivery) = waiting.take() {
                            room.send(delivery);
                        }
                    }
                    Err(_) => break,
                },
                () = self.deliveries.closed() => break,
                () = self.common().closed.cancelled() => break,
            }
        }
        drop((waiting, settle));
        self.leave(&channel, stream, verdicts).await
    }

    /// Starts the consumer; `None` after a pause where the queue does not exist yet and this program may not declare it.
    /// That costs the channel only, not the session that carries the other queues; and the subscriber does not wait for
    /// it, as it may consume other queues.
    async fn begin(
        &self,
        session: &Session,
        established: &mut Option<Established>,
    ) -> Result<Option<(Channel, ShortString, lapin::Consumer)>, Failure> {
        let channel = session.channel().await?;
        channel
            .basic_qos(self.prefetch, BasicQosOptions::default())
            .await?;
        let queue = match self.queue.listens_to() {
            Some(key) => {
                let max_bytes = self.queue.max_bytes();
                declare::listener(&channel, self.common(), &key, max_bytes).await?
            }
            None => short(self.common().named(&self.queue.name()))
                .map_err(|error| Failure::Never(error.to_string()))?,
        };
        let tag = short("").map_err(|error| Failure::Never(error.to_string()))?;
        let options = BasicConsumeOptions::default();
        let begun = channel
            .basic_consume(queue.clone(), tag, options, FieldTable::default())
            .await;
        match begun {
            Ok(stream) => {
                self.common().health.clear(queue.as_str());
                Ok(Some((channel, queue, stream)))
            }
            Err(error) if is_missing(&error) && !self.common().declare => {
                tell_missing(self.common(), &queue, &error);
                if let Some(established) = established.take() {
                    let _gone = established.send(Ok(()));
                }
                tokio::select! {
                    () = tokio::time::sleep(jittered(u32::MAX)) => {}
                    () = self.deliveries.closed() => {}
                    () = self.common().closed.cancelled() => {}
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Cancels the consumer, requeues what was not handed out, and settles deliveries: all of them where only the
    /// subscription was dropped, those settled so far where the broker is closed.
    async fn leave(
        &self,
        channel: &Channel,
        mut stream: lapin::Consumer,
        mut verdicts: mpsc::UnboundedReceiver<Settled>,
    ) -> Result<(), Failure> {
        channel
            .basic_cancel(stream.tag(), BasicCancelOptions::default())
            .await?;
        while let Some(Ok(unseen)) = stream.next().await {
            hand_over(&unseen.acker, Verdict::GiveBack).await?;
        }
        loop {
            tokio::select! {
                biased;
                settled = verdicts.recv() => match settled {
                    Some((acker, verdict)) => hand_over(&acker, verdict).await?,
                    None => break,
                },
                () = self.common().closed.cancelled() => break,
            }
        }
        Ok(channel.close(200, "leaving".into()).await?)
    }
}

/// A caller that waits for one message, or for the answer that there is none.
pub(super) type Asked = oneshot::Sender<Option<Delivery>>;

/// Gets single messages from one queue over one channel: the broker reads a channel in order, so its answer proves that it
/// has the verdicts sent before.
pub(super) struct Taker {
    pub(super) link: Arc<Link>,
    pub(super) queue: Queue,
}

impl Taker {
    /// Answers until no caller is left, the broker is closed, or it refuses this program for good.
    pub(super) async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        let mut answer = None;
        while let Ok(session) = self.link.session().await {
            let serving = self.serve(&session, &mut asked, &mut answer);
            match session.run_while_alive(serving).await {
                Ok(()) => return,
                Err(failure) => session.fail(failure),
            }
        }
    }

    /// Answers over one session; `answer` is the caller that waits when it ends.
    async fn serve(
        &self,
        session: &Session,
        asked: &mut mpsc::Receiver<Asked>,
        answer: &mut Option<Asked>,
    ) -> Result<(), Failure> {
        let common = &self.link.common;
        let mut channel = session.channel().await?;
        let (settle, mut verdicts) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                Some((acker, verdict)) = verdicts.recv() => hand_over(&acker, verdict).await?,
                next = asked.recv(), if answer.is_none() => match next {
                    Some(next) => *answer = Some(next),
                    None => break,
                },
                () = std::future::ready(()), if answer.is_some() => {}
                () = common.closed.cancelled() => break,
            }
            // the caller may have settled deliveries before
            while let Ok((acker, verdict)) = verdicts.try_recv() {
                hand_over(&acker, verdict).await?;
            }
            if answer.as_ref().is_some_and(|answer| !answer.is_closed()) {
                let got = self.get(session, &mut channel).await?;
                session.mark_healthy();
                let got = got.map(|got| delivered(common, &self.queue, got, &settle));
                if let Some(answer) = answer.take() {
                    // where the caller is gone, it is requeued
                    let _unseen = answer.send(got);
                }
            }
            *answer = None;
        }
        while let Ok((acker, verdict)) = verdicts.try_recv() {
            hand_over(&acker, verdict).await?;
        }
        Ok(channel.close(200, "leaving".into()).await?)
    }

    /// Gets one message; none where the queue does not exist yet and this program may not declare it.
    async fn get(
        &self,
        session: &Session,
        channel: &mut Channel,
    ) -> Result<Option<lapin::message::Delivery>, Failure> {
        let common = &self.link.common;
        let queue = short(common.named(&self.queue.name()))
            .map_err(|error| Failure::Never(error.to_string()))?;
        let options = BasicGetOptions::default();
        match channel.basic_get(queue.clone(), options).await {
            Ok(got) => {
                common.health.clear(queue.as_str());
                Ok(got.map(|got| got.delivery))
            }
            Err(error) if is_missing(&error) && !common.declare => {
                tell_missing(common, &queue, &error);
                *channel = session.channel().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Logs that a queue does not exist which this program may not declare.
fn tell_missing(common: &Common, queue: &ShortString, error: &lapin::Error) {
    let why = format!("{error}; `setup topology` declares it");
    common.health.raise(queue.as_str(), why);
}

/// A delivery of a queue, whose verdict goes to `settle`.
fn delivered(
    common: &Common,
    queue: &Queue,
    delivery: lapin::message::Delivery,
    settle: &mpsc::UnboundedSender<Settled>,
) -> Delivery {
    let (acker, settle) = (delivery.acker.clone(), settle.clone());
    let (message, redeliveries) = received(delivery, queue, &common.prefix);
    let health = common.health.clone();
    health.took();
    Delivery::new(message, redeliveries, move |verdict| {
        health.settled();
        // a session that ended needs no verdicts
        let _gone = settle.send((acker, verdict));
    })
}

async fn hand_over(acker: &Acker, verdict: Verdict) -> Result<(), Failure> {
    let sent = match verdict {
        Verdict::Ack => acker.ack(BasicAckOptions::default()).await?,
        Verdict::GiveBack | Verdict::Reject => {
            let options = BasicNackOptions {
                requeue: verdict == Verdict::GiveBack,
                ..BasicNackOptions::default()
            };
            acker.nack(options).await?
        }
    };
    if sent {
        Ok(())
    } else {
        Err(Failure::Away("the channel was lost".to_owned()))
    }
}
