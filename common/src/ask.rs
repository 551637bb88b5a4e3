//! Asks the reducer, through the broker, about its jobs: it alone knows.

use std::time::Duration;

use crate::broker::{Broker, BrokerError, Queue};
use crate::message::{Event, JobStage, Message, Newest, Question};
use crate::{Digest, JobId, machine};

/// How long the reducer may take to answer: milliseconds when it is well, longer while it flushes to a slow disk.
pub const ANSWER: Duration = Duration::from_secs(5);
/// How often the reducer is asked whether an awaited job has ended: bounds the delay where the first event was lost.
const REMIND: Duration = Duration::from_secs(5);
/// The prefetch of the answers: one is expected, and it is read at once.
const ANSWERS: u16 = 4;

/// Why there is no answer. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The broker refused the question.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The reducer is down, or busy.
    #[error("the reducer did not answer within {} seconds", ANSWER.as_secs())]
    Silence,
}

/// The reducer's answer about its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The jobs asked about that it knows: open ones first, then those that ended, the newest first.
    pub jobs: Vec<JobStage>,
    /// How many more there are.
    pub more: u64,
}

/// Asks the reducer about `job`, or about all its jobs.
///
/// # Errors
/// [`AskError`].
pub async fn ask<B: Broker>(broker: &B, job: Option<&JobId>) -> Result<Answer, AskError> {
    let asking = async {
        let ours = token()?;
        let listening = broker.subscribe(Queue::Events(ours.clone()), ANSWERS);
        let mut answers = listening.await?;
        broker.publish(question(&ours, job)?).await?;
        loop {
            let event = answers.next().await.ok_or(BrokerError::Closed)?;
            let news = Event::from_message(&event.message);
            event.ack();
            if let Ok(Event::Jobs { token, jobs, more }) = news
                && token == ours
            {
                return Ok(Answer { jobs, more });
            }
        }
    };
    tokio::time::timeout(ANSWER, asking)
        .await
        .unwrap_or(Err(AskError::Silence))
}

/// Asks every few seconds whether `job` ended, so that a listener receives its end even if the first event was lost with a
/// connection. Returns only where the broker fails for good.
pub async fn remind<B: Broker>(broker: &B, job: &JobId) -> BrokerError {
    loop {
        tokio::time::sleep(REMIND).await;
        let asked = match question(job, Some(job)) {
            Ok(question) => broker.publish(question).await,
            Err(error) => Err(error),
        };
        if let Err(error) = asked {
            return error;
        }
    }
}

/// Has the reducer make the report of the ended `job` the newest. The inner error says why it refused, in one sentence.
///
/// # Errors
/// [`AskError`].
pub async fn make_newest<B: Broker>(
    broker: &B,
    job: &JobId,
) -> Result<Result<(), String>, AskError> {
    let wishing = async {
        let ours = token()?;
        let listening = broker.subscribe(Queue::Events(ours.clone()), ANSWERS);
        let mut answers = listening.await?;
        let wish = Newest {
            token: ours.clone(),
            job: job.clone(),
        };
        let wish = wish.to_message();
        let wish = wish.map_err(|error| BrokerError::Unsendable(error.to_string()))?;
        broker.publish(wish).await?;
        loop {
            let event = answers.next().await.ok_or(BrokerError::Closed)?;
            let news = Event::from_message(&event.message);
            event.ack();
            if let Ok(Event::Newest { token, refused, .. }) = news
                && token == ours
            {
                return Ok(refused.map_or(Ok(()), Err));
            }
        }
    };
    tokio::time::timeout(ANSWER, wishing)
        .await
        .unwrap_or(Err(AskError::Silence))
}

fn question(token: &JobId, job: Option<&JobId>) -> Result<Message, BrokerError> {
    let question = Question {
        token: token.clone(),
        job: job.cloned(),
    };
    let message = question.to_message();
    message.map_err(|error| BrokerError::Unsendable(error.to_string()))
}

/// Unique text: 128 random bits and the time.
pub fn unheard() -> String {
    let [high, low] = [(); 2].map(|()| machine::random());
    format!("{high:016x}{low:016x}-{:?}", machine::now())
}

pub(crate) fn token() -> Result<JobId, BrokerError> {
    let name = Digest::of(unheard().as_bytes()).short(16);
    let token = format!("question-{name}").parse::<JobId>();
    token.map_err(|error| BrokerError::Unsendable(error.to_string()))
}
