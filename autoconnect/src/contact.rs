//! Reaching the cluster: the first contact with the broker, and questions to the reducer.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher as _;
use std::time::{Duration, SystemTime};

use autoconnect_common::broker::rabbitmq::RabbitMq;
use autoconnect_common::broker::{Broker, BrokerError, Queue};
use autoconnect_common::message::{Event, JobStage, Message, Question};
use autoconnect_common::program::{self, Exit};
use autoconnect_common::settings::Settings;
use autoconnect_common::{Digest, JobId};

use crate::Failure;
use crate::trouble::Trouble;

/// How long the broker may take to answer for the first time.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// How long the reducer may take to answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// How often the reducer is asked how a job ended that somebody waits for.
const REMIND: Duration = Duration::from_secs(5);
/// Answers that wait to be read.
const ANSWERS: u16 = 4;

/// Reaches the cluster under `name`, does what is asked there, and leaves.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn at<T>(
    settings: &Settings,
    name: &str,
    act: impl AsyncFnOnce(&RabbitMq) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    program::run(|shutdown| async move {
        let rabbit = program::connect(settings, name)?;
        let done = tokio::select! {
            done = act(&rabbit) => done.map_err(Trouble::into_failure),
            () = shutdown.cancelled() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        };
        rabbit.close().await;
        done
    })
}

/// What the broker answers to the first thing it is asked, or that it does not answer.
///
/// # Errors
/// [`Trouble::Broker`] where the broker refuses us, [`Trouble::Failed`] where it is not there in time.
pub(crate) async fn first<T>(
    rabbit: &RabbitMq,
    asked: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(FIRST_CONTACT, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::Failed(format!(
            "{}: the broker did not answer within {} seconds",
            rabbit.addresses(),
            FIRST_CONTACT.as_secs()
        ))),
    }
}

/// What the reducer says of its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The jobs asked about that it knows: open ones first, then those that ended, the newest first.
    pub(crate) jobs: Vec<JobStage>,
    /// How many more there are.
    pub(crate) more: u64,
}

/// Asks the reducer about `job`, or about all its jobs.
///
/// # Errors
/// [`Trouble::Failed`] where it does not answer in time.
pub(crate) async fn ask<B: Broker>(broker: &B, job: Option<&JobId>) -> Result<Answer, Trouble> {
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
        .unwrap_or_else(|_| Err(silence()))
}

/// What is said where the reducer does not answer.
pub(crate) fn silence() -> Trouble {
    let seconds = ANSWER.as_secs();
    Trouble::Failed(format!(
        "the reducer did not answer within {seconds} seconds"
    ))
}

/// Asks now and then how `job` ended, so that whoever listens to it hears of its end even if the first word of it was
/// lost with a connection. It only ends where the broker does.
pub(crate) async fn remind<B: Broker>(broker: &B, job: &JobId) -> Trouble {
    loop {
        tokio::time::sleep(REMIND).await;
        let asked = match question(job, Some(job)) {
            Ok(question) => broker.publish(question).await.map_err(Trouble::from),
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = asked {
            return trouble;
        }
    }
}

fn question(token: &JobId, job: Option<&JobId>) -> Result<Message, Trouble> {
    let question = Question {
        token: token.clone(),
        job: job.cloned(),
    };
    question.to_message().map_err(|error| Trouble::of(&error))
}

/// Text that nobody used before: it tells one run of a job from the next.
pub(crate) fn unheard() -> String {
    let random = RandomState::new().hash_one(0u8);
    format!("{}-{:?}-{random}", std::process::id(), SystemTime::now())
}

fn token() -> Result<JobId, Trouble> {
    let name = Digest::of(unheard().as_bytes()).short(16);
    let token = format!("question-{name}").parse::<JobId>();
    token.map_err(|error| Trouble::of(&error))
}
