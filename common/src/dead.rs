//! Dead messages: how a program dead-letters, what lies in the dead queues, and how it is sent once more.
//!
//! Whoever looks takes every message without a verdict, keeps its headers only, and gives all of them back at the end. A
//! message that is sent once more leaves its dead queue only after the broker has it where it belongs, and the reducer is
//! told of a chunk before that, so that its job waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::ask::{self, AskError};
use crate::broker::{BrokerError, Delivery, Offered, Queue, Subscription, Verdict};
use crate::message::{Message, MessageError, Revived, Stage, reason, revive};
use crate::{Body, Broker, JobId};

/// The dead queues.
const DEAD: [Queue; 3] = [Queue::DeadChunks, Queue::DeadResults, Queue::DeadJobs];
/// How long the broker may take to hand over a message that waits.
const NEXT: Duration = Duration::from_secs(10);

/// How often a dead queue that was full is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The name of the trouble that a dead queue is full.
const FULL: &str = "dead letters";

/// Hands `dead`, what a delivery is as a dead message, to its dead queue in one attempt; the delivery's verdict, to be
/// given once what else came of it is safe. Where the dead queue is full, that is an alarm, and the broker dead-letters
/// the delivery by itself once there is room: nothing else waits for it meanwhile.
///
/// # Errors
/// [`BrokerError`], where the broker is closed or will not have us.
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
        // The broker can move what it could deliver.
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

/// Ends the alarm that a dead queue is full once something moves there; never returns.
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

/// How many messages lie in each dead queue.
async fn lying<B: Broker>(broker: &B) -> Result<Vec<u64>, BrokerError> {
    let mut counts = Vec::new();
    for queue in DEAD {
        counts.push(broker.waiting(queue).await?);
    }
    Ok(counts)
}

/// A dead message, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = DeadMessage))]
pub struct Line {
    /// Its id: of a chunk, `<job>/<chunk>`.
    pub id: String,
    /// The queue it lies in.
    pub queue: String,
    /// `chunk`, `partial`, …
    pub r#type: String,
    /// Its job.
    pub job: Option<String>,
    /// The number of the chunk, `part.number`.
    pub chunk: Option<String>,
    /// The kind of job.
    pub kind: Option<String>,
    /// What the rows of the chunk have in common.
    pub key: Option<String>,
    /// How many rows it has.
    pub rows: Option<u64>,
    /// The length of its body.
    pub bytes: usize,
    /// Why it is dead.
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

/// A look at every dead message, one after another. What is [held](Look::hold) is given back once all of its queue were
/// seen, or when the look is dropped.
pub struct Look<'b, B> {
    broker: &'b B,
    most: u16,
    queues: std::array::IntoIter<Queue, 3>,
    // given back before its subscription leaves
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

    /// The next one, and the queue it lies in; `None` once all were seen.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn next(&mut self) -> Result<Option<(Queue, Delivery)>, BrokerError> {
        loop {
            if let Some(current) = &mut self.current
                && current.left > 0
            {
                current.left -= 1;
                // somebody else may have taken it meanwhile
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

    /// Keeps a message, without its body, until it is given back.
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

/// What became of the dead messages that were to be sent once more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Requeued {
    /// How many are no longer dead.
    pub done: u64,
    /// The ids that were found, whatever became of them.
    pub found: BTreeSet<String>,
    /// Those that are dead still, with why.
    pub left: BTreeSet<(String, Left)>,
    /// How many were not looked at.
    pub further: u64,
}

/// Why a message is dead still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// This job of it has ended: its report does not change.
    Ended(String),
    /// The reducer does not know this job of it: it ended long ago, or never was.
    Unknown(String),
    /// It does not say where it belongs; one sentence.
    Odd(String),
}

/// Sends what `takes` selects once more to where it belongs, and acknowledges it after that; of each queue up to `most`
/// messages are looked at. What belongs to a job that has ended stays dead, unless `even_if_ended`.
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
        // A message that does not say where it belongs has no job that could have ended.
        let left = match alive(message) {
            Ok((word, alive)) => {
                // A request that no producer could cut has no job yet.
                let left = match even_if_ended || message.kind == "job" {
                    true => None,
                    false => stages.forbid(broker, &alive).await?,
                };
                if left.is_none() {
                    // in this order: a job does not end while the reducer waits for a chunk.
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

/// How the jobs of dead messages are, each asked about once.
#[derive(Default)]
struct Stages(BTreeMap<JobId, Option<Left>>);

impl Stages {
    /// Why a message is not to be sent once more, if its job takes nothing.
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

/// What becomes of a dead message: word of it to the reducer, if it needs any, and the message as it was.
fn alive(dead: &Message) -> Result<(Option<Revived>, Message), MessageError> {
    Ok((Revived::of(dead)?, revive(dead.clone())?))
}
