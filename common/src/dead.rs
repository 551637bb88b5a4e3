//! Dead letters: dead-letters a message, lists the dead queues, and requeues from them.
//!
//! A look consumes the messages, keeps only their headers, and requeues all of them at the end. A requeue acknowledges
//! the dead letter only after the message is confirmed in its queue; before that it notifies the reducer of a chunk, so
//! that the job waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::ask::{self, AskError};
use crate::broker::{BrokerError, Delivery, Offered, Queue, Subscription, Verdict};
use crate::message::{Message, MessageError, Revived, Stage, reason, revive};
use crate::{Body, Broker, JobId};

/// The dead queues.
const DEAD: [Queue; 3] = [Queue::DeadChunks, Queue::DeadResults, Queue::DeadJobs];
/// How long the broker may take to deliver a ready message: milliseconds when it is well; after that another consumer has
/// it.
const NEXT: Duration = Duration::from_secs(10);

/// How often a full dead queue is checked: soon enough for an operator who has just emptied it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The name of the trouble that a dead queue is full.
const FULL: &str = "dead letters";

/// Publishes `dead`, the dead letter of a delivery, in one attempt. Returns the verdict for the delivery, to be settled
/// once its other outcomes are safe. Where the dead queue is full this raises an alarm, and the verdict has the broker
/// dead-letter the delivery once there is room: nothing else waits for that.
///
/// # Errors
/// [`BrokerError`], where the broker is closed or refuses this program for good.
pub async fn dead_letter<B: Broker>(broker: &B, dead: Message) -> Result<Verdict, BrokerError> {
    let (id, key) = (dead.id.clone(), dead.key.clone());
    let why = match broker.offer(dead).await {
        Ok(Offered::Taken) => {
            broker.health().clear(FULL);
            return Ok(Verdict::Ack);
        }
        Ok(Offered::Refused(why)) => {
            let advice = "look with `autoconnect dead list`, then requeue or drop what is there";
            let alarm = format!("a dead message ({key}) was not taken: {why}; {advice}");
            broker.health().alarm(FULL, alarm);
            why
        }
        // the broker can dead-letter what it could deliver
        Err(BrokerError::Unsendable(why)) => why,
        Err(error) => return Err(error),
    };
    tracing::error!(
        id,
        key,
        why,
        "left to the broker to dead-letter, without its reason"
    );
    Ok(Verdict::Reject)
}

/// Clears the alarm of a full dead queue once its length changes; never returns.
pub(crate) async fn watch<B: Broker>(broker: &B) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if !broker.health().is_raised(FULL) {
            continue;
        }
        let Ok(before) = lying(broker).await else {
            return;
        };
        while broker.health().is_raised(FULL) {
            tokio::time::sleep(LOOK_AGAIN).await;
            match lying(broker).await {
                Ok(now) if now == before => {}
                Ok(_) => broker.health().clear(FULL),
                Err(_) => return,
            }
        }
    }
}

/// How many messages each dead queue holds.
async fn lying<B: Broker>(broker: &B) -> Result<Vec<u64>, BrokerError> {
    let mut counts = Vec::new();
    for queue in DEAD {
        counts.push(broker.waiting(queue).await?);
    }
    Ok(counts)
}

/// A dead message of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = DeadMessage))]
pub struct Line {
    /// The id of the message; `<job>/<chunk>` for a chunk.
    pub id: String,
    /// The dead queue that it is in.
    pub queue: String,
    /// The type of the message: `chunk`, `partial`, …
    pub r#type: String,
    /// The id of its job.
    pub job: Option<String>,
    /// The number of the chunk, `part.number`.
    pub chunk: Option<String>,
    /// The kind of job.
    pub kind: Option<String>,
    /// The key of the chunk, which its rows have in common, such as that of a city.
    pub key: Option<String>,
    /// The number of rows of the chunk.
    pub rows: Option<u64>,
    /// The length of its body, in bytes.
    pub bytes: usize,
    /// Why it was dead-lettered.
    pub reason: String,
}

impl Line {
    fn of(queue: &Queue, message: &Message) -> Self {
        let header = |name: &str| message.headers.get(name).cloned();
        Self {
            id: message.id.clone(),
            queue: queue.name(),
            r#type: message.kind.clone(),
            job: header("job"),
            chunk: header("seq"),
            kind: header("kind"),
            key: header("key"),
            rows: header("rows").and_then(|rows| rows.parse().ok()),
            bytes: message.body.len(),
            reason: reason(message).to_owned(),
        }
    }
}

/// An iteration over the dead messages. [Held](Look::hold) messages are requeued once all of their queue were seen, or
/// when the look is dropped.
pub struct Look<'b, B> {
    broker: &'b B,
    most: u16,
    queues: std::array::IntoIter<Queue, 3>,
    // requeued before the subscription is dropped
    held: Vec<Delivery>,
    current: Option<Current>,
    further: u64,
}

struct Current {
    queue: Queue,
    dead: Subscription,
    left: u16,
}

impl<'b, B: Broker> Look<'b, B> {
    /// A look at up to `most` messages of each dead queue.
    pub fn at(broker: &'b B, most: u16) -> Self {
        Self {
            broker,
            most,
            queues: DEAD.into_iter(),
            held: Vec::new(),
            current: None,
            further: 0,
        }
    }

    /// The next message and its queue; `None` once all were seen.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn next(&mut self) -> Result<Option<(Queue, Delivery)>, BrokerError> {
        loop {
            if let Some(current) = &mut self.current
                && current.left > 0
            {
                current.left -= 1;
                // another consumer may have taken it meanwhile
                if let Ok(next) = tokio::time::timeout(NEXT, current.dead.next()).await {
                    let delivery = next.ok_or(BrokerError::Closed)?;
                    return Ok(Some((current.queue.clone(), delivery)));
                }
            }
            self.held.clear();
            self.current = None;
            let Some(queue) = self.queues.next() else {
                return Ok(None);
            };
            let waiting = self.broker.waiting(queue.clone()).await?;
            let left = u16::try_from(waiting).unwrap_or(u16::MAX).min(self.most);
            self.further += waiting - u64::from(left);
            if left > 0 {
                let dead = self.broker.subscribe(queue.clone(), left).await?;
                self.current = Some(Current { queue, dead, left });
            }
        }
    }

    /// Keeps a message, without its body, until it is requeued.
    pub fn hold(&mut self, mut seen: Delivery) {
        seen.message.body = Body::default();
        self.held.push(seen);
    }

    /// How many messages there are beyond those that are looked at.
    pub fn further(&self) -> u64 {
        self.further
    }
}

/// Up to `most` dead messages of each queue, in a line each, and how many there are beyond.
///
/// # Errors
/// [`BrokerError`].
pub async fn list<B: Broker>(broker: &B, most: u16) -> Result<(Vec<Line>, u64), BrokerError> {
    let mut lines = Vec::new();
    let mut look = Look::at(broker, most);
    while let Some((queue, delivery)) = look.next().await? {
        lines.push(Line::of(&queue, &delivery.message));
        look.hold(delivery);
    }
    Ok((lines, look.further()))
}

/// The outcome of a requeue.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Requeued {
    /// How many are no longer dead.
    pub done: u64,
    /// The ids that were found, whatever became of them.
    pub found: BTreeSet<String>,
    /// The ids that are still dead, each with the reason.
    pub left: BTreeSet<(String, Left)>,
    /// How many were not looked at.
    pub further: u64,
}

/// Why a message was not requeued.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Its job, named here, has ended: the report would not change.
    Ended(String),
    /// The reducer does not know its job, named here: it ended long ago, or never existed.
    Unknown(String),
    /// It does not name its destination; one sentence.
    Odd(String),
}

/// Requeues the messages that `takes` selects, of the first `most` of each dead queue: publishes each, then acknowledges
/// the dead letter. Messages of ended jobs stay dead, unless `even_if_ended`.
///
/// # Errors
/// [`AskError`].
pub async fn requeue<B: Broker>(
    broker: &B,
    most: u16,
    even_if_ended: bool,
    takes: impl Fn(&Message) -> bool,
) -> Result<Requeued, AskError> {
    let mut stages = Stages::default();
    let mut done = Requeued::default();
    let mut look = Look::at(broker, most);
    while let Some((_, delivery)) = look.next().await? {
        let message = &delivery.message;
        if !takes(message) {
            look.hold(delivery);
            continue;
        }
        done.found.insert(message.id.clone());
        // a message without a destination has no job that could have ended
        let left = match alive(message) {
            Ok((word, alive)) => {
                // a request that no producer could cut has no job yet
                let left = match even_if_ended || message.kind == "job" {
                    true => None,
                    false => stages.forbid(broker, &alive).await?,
                };
                if left.is_none() {
                    // the notice first: a job does not end while the reducer waits for a chunk
                    if let Some(word) = word {
                        broker.publish(word.to_message()).await?;
                    }
                    broker.publish(alive).await?;
                    delivery.ack();
                    done.done += 1;
                    continue;
                }
                left
            }
            Err(error) => Some(Left::Odd(error.to_string())),
        };
        if let Some(left) = left {
            done.left.insert((message.id.clone(), left));
        }
        look.hold(delivery);
    }
    done.further = look.further();
    Ok(done)
}

/// Whether jobs of dead messages accept a requeue; each job is asked about once.
#[derive(Default)]
struct Stages(BTreeMap<JobId, Option<Left>>);

impl Stages {
    /// Why a message must not be requeued, if its job accepts none.
    async fn forbid<B: Broker>(
        &mut self,
        broker: &B,
        alive: &Message,
    ) -> Result<Option<Left>, AskError> {
        let job = match alive.job() {
            Ok(job) => job,
            Err(error) => return Ok(Some(Left::Odd(error.to_string()))),
        };
        if let Some(known) = self.0.get(&job) {
            return Ok(known.clone());
        }
        let known = ask::ask(broker, Some(&job)).await?.jobs.pop();
        let left = match known.map(|known| known.stage) {
            Some(Stage::Open { .. }) => None,
            Some(_) => Some(Left::Ended(job.to_string())),
            None => Some(Left::Unknown(job.to_string())),
        };
        self.0.insert(job, left.clone());
        Ok(left)
    }
}

/// The notice to the reducer, if one is needed, and the message without its dead-letter marks.
fn alive(dead: &Message) -> Result<(Option<Revived>, Message), MessageError> {
    Ok((Revived::of(dead)?, revive(dead.clone())?))
}
