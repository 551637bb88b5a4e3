//! Fetches a report that is too large for an event from the reducer, part by part: neither side holds more than one part.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::ask;
use crate::broker::{Broker, BrokerError, Queue, Subscription};
use crate::message::parts::{Fetch, Part};
use crate::{Digest, JobId};

/// How often a part is requested, each time for [`ask::ANSWER`]: a minute in all covers a restart of the reducer.
const TRIES: u32 = 12;
/// The prefetch of the answers: one is expected, and may arrive twice.
const ANSWERS: u16 = 2;

/// Why a report was not fetched. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The broker refused the request.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The reducer is down, or too old to answer.
    #[error(
        "the reducer did not send part {part} of the report of job {job}, asked {TRIES} times: it is in the reducer's own results folder"
    )]
    Silence {
        /// The job.
        job: JobId,
        /// Which part.
        part: u32,
    },
    /// The reducer has none.
    #[error("the reducer has no report of job {0}")]
    None(JobId),
    /// It changed while it was fetched.
    #[error("the report of job {0} changed while it was fetched: run it again")]
    Changed(JobId),
    /// It cannot be written here.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Writes the report of an ended job to `path`; on return it is whole and verified.
///
/// # Errors
/// [`FetchError`]; the file at `path` is then invalid.
pub async fn report<B: Broker>(broker: &B, job: &JobId, path: &Path) -> Result<(), FetchError> {
    let failed = |source| FetchError::Write {
        path: path.to_owned(),
        source,
    };
    let token = ask::token()?;
    let mut answers = broker
        .subscribe(Queue::Events(token.clone()), ANSWERS)
        .await?;
    let mut file = File::create(path).map_err(failed)?;
    let mut ask = Fetch {
        token,
        job: job.clone(),
        part: 0,
    };
    let mut whole = None;
    loop {
        let part = part(broker, &mut answers, &ask).await?;
        if part.parts == 0 {
            return Err(FetchError::None(job.clone()));
        }
        if *whole.get_or_insert(part.whole) != part.whole {
            return Err(FetchError::Changed(job.clone()));
        }
        file.write_all(&part.body).map_err(failed)?;
        ask.part += 1;
        if ask.part >= part.parts {
            break;
        }
    }
    file.sync_data().map_err(failed)?;
    let digest = Digest::of_written(|out| io::copy(&mut File::open(path)?, out).map(drop));
    match digest.map_err(failed)? {
        digest if Some(digest) == whole => Ok(()),
        _ => Err(FetchError::Changed(job.clone())),
    }
}

async fn part<B: Broker>(
    broker: &B,
    answers: &mut Subscription,
    ask: &Fetch,
) -> Result<Part, FetchError> {
    let message = ask
        .to_message()
        .map_err(|error| BrokerError::Unsendable(error.to_string()))?;
    for _ in 0..TRIES {
        broker.publish(message.clone()).await?;
        let answered = async {
            loop {
                let answer = answers.next().await.ok_or(BrokerError::Closed)?;
                let part = Part::from_message(&answer.message);
                answer.ack();
                if let Ok(part) = part
                    && part.of == *ask
                {
                    return Ok(part);
                }
            }
        };
        // no answer arrives while the reducer or the broker is down
        if let Ok(answer) = tokio::time::timeout(ask::ANSWER, answered).await {
            return answer;
        }
    }
    Err(FetchError::Silence {
        job: ask.job.clone(),
        part: ask.part,
    })
}
