//! `autoconnect jobs`: asks the reducer for the stage of its jobs, or cancels one.

use std::time::Duration;

use autoconnect_common::ask::{self, ANSWER, AskError};
use autoconnect_common::broker::{Broker, BrokerError, Queue, Subscription};
use autoconnect_common::message::{Cancel, Event, JobStage, Stage, Status};
use autoconnect_common::{JobId, Registry};
use chrono::DateTime;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::Failure;
use crate::contact::operator as at;
use crate::options::Place;
use crate::print::{self, printable};
use crate::trouble::Trouble;

/// The prefetch of a job's events: each is acked at once, and only the last of them matters here.
const EVENTS: u16 = 16;
/// The most characters of a reason that are printed: it may quote a field of any length.
const REASON: usize = 500;

/// The arguments of `jobs`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Jobs {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    act: Act,
}

/// The commands of `jobs`.
#[derive(Debug, Subcommand)]
enum Act {
    /// List every job that the reducer knows: open ones first, then ended ones, the newest first
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show one job: its progress, or how it ended
    Status {
        /// The job's id
        #[arg(value_name = "JOB")]
        job: JobId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Cancel a job: it ends without a report, even if its first message has not reached the reducer yet
    Cancel {
        /// The job's id
        #[arg(value_name = "JOB")]
        job: JobId,
        /// The reason, which the job's status shows
        #[arg(long, value_name = "TEXT", default_value = "by the operator")]
        reason: String,
    },
}

/// `autoconnect jobs`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Jobs, registry: &Registry) -> Result<(), Failure> {
    let Jobs { place, act } = asked;
    match act {
        Act::List { json } => list(&place, registry, json),
        Act::Status { job, json } => status(&place, registry, &job, json),
        Act::Cancel { job, reason } => {
            let said = at(&place, registry, async |rabbit| {
                cancel(rabbit, job, reason).await
            })?;
            print::out(&(said + "\n"))
        }
    }
}

/// What `list --json` prints.
#[derive(Serialize)]
struct Listed {
    jobs: Vec<JobStage>,
    /// How many jobs the answer leaves out. It names open ones first, then ended ones, the newest first.
    more: u64,
}

fn list(place: &Place, registry: &Registry, json: bool) -> Result<(), Failure> {
    let ask::Answer { jobs, more } = at(place, registry, async |rabbit| {
        Ok(ask::ask(rabbit, None).await?)
    })?;
    if json {
        return print::json(&Listed { jobs, more });
    }
    if jobs.is_empty() {
        return print::out("the reducer knows no jobs\n");
    }
    let mut text = print::table(["JOB", "KIND", "STAGE", ""], &rows(&jobs));
    if more > 0 {
        text.push_str(&format!("… and {more} more\n"));
    }
    print::out(&text)
}

/// A line for each job; `-` where the reducer does not know the job's kind.
fn rows(jobs: &[JobStage]) -> Vec<[String; 4]> {
    let row = |job: &JobStage| {
        let (word, rest) = described(&job.stage);
        let kind = job.kind.clone().unwrap_or_else(|| "-".to_owned());
        [job.job.to_string(), kind, word.to_owned(), rest]
    };
    jobs.iter().map(row).collect()
}

fn status(place: &Place, registry: &Registry, job: &JobId, json: bool) -> Result<(), Failure> {
    let answer = at(place, registry, async |rabbit| {
        Ok(ask::ask(rabbit, Some(job)).await?)
    })?;
    let [known] = answer.jobs.as_slice() else {
        return Err(Failure::failed(format!(
            "job {job}: the reducer does not know it: none of its messages has arrived yet, or it ended long ago"
        )));
    };
    if json {
        return print::json(known);
    }
    let (word, rest) = described(&known.stage);
    print::out(&format!("{job}: {word}: {rest}\n"))
}

/// A stage as one word, and its details.
fn described(stage: &Stage) -> (&'static str, String) {
    match stage {
        Stage::Open {
            done,
            total,
            rows,
            idle_ms,
        } => {
            let total = total.map_or_else(|| "?".to_owned(), |total| total.to_string());
            let idle = Duration::from_millis(*idle_ms).as_secs();
            let rest = format!("{done} of {total} chunks, {rows} rows, last message {idle} s ago");
            ("open", rest)
        }
        Stage::Ending => ("ending", "its report is being written".to_owned()),
        Stage::Ended {
            status,
            reason,
            ended_at,
        } => {
            let known = i64::try_from(*ended_at).ok().filter(|&at| at > 0);
            let when = known
                .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
                .map_or_else(
                    || "?".to_owned(),
                    |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string(),
                );
            let rest = match reason {
                Some(reason) => format!("{when}  {}", printable(reason.as_bytes(), REASON)),
                None => when,
            };
            (status.word(), rest)
        }
    }
}

/// Cancels a job, known or not; returns the sentence to print.
async fn cancel<B: Broker>(broker: &B, job: JobId, reason: String) -> Result<String, Trouble> {
    let known = ask::ask(broker, Some(&job)).await?.jobs.pop();
    let status = match &known {
        Some(JobStage {
            stage: Stage::Ended { status, .. },
            ..
        }) => *status,
        _ => cancel_and_wait(broker, &job, reason).await?,
    };
    match (status, known) {
        (Status::Cancelled, Some(_)) => Ok(format!("job {job} is cancelled")),
        (Status::Cancelled, None) => Err(Trouble::Failed(format!(
            "job {job}: no such job is known; if its request still waits in the queue, the job is dropped when it starts"
        ))),
        (status, _) => Err(Trouble::Failed(format!(
            "job {job} cannot be cancelled, it has ended: {}",
            status.word()
        ))),
    }
}

/// Publishes the cancellation, and waits for the job's end.
async fn cancel_and_wait<B: Broker>(
    broker: &B,
    job: &JobId,
    reason: String,
) -> Result<Status, Trouble> {
    let mut events = broker.subscribe(Queue::Events(job.clone()), EVENTS).await?;
    let cancel = Cancel {
        job: job.clone(),
        reason,
    };
    let cancel = cancel.to_message().map_err(|error| Trouble::of(&error))?;
    let cancelled = async {
        broker.publish(cancel).await?;
        ended(&mut events).await
    };
    tokio::time::timeout(ANSWER, cancelled)
        .await
        .unwrap_or_else(|_| Err(AskError::Silence.into()))
}

/// Waits for the end of the job that these events are of.
async fn ended(events: &mut Subscription) -> Result<Status, Trouble> {
    loop {
        let event = events.next().await.ok_or(BrokerError::Closed)?;
        let news = Event::from_message(&event.message);
        event.ack();
        if let Ok(Event::Finished { status, .. }) = news {
            return Ok(status);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use autoconnect_common::Shutdown;
    use autoconnect_common::broker::embedded::Embedded;

    use super::*;

    #[tokio::test]
    async fn a_job_is_cancelled_once_and_stays_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let (broker, stop) = (Embedded::new(), Shutdown::new());
        let reducing = {
            let config = autoconnect_reducer::Config::volatile(folder.path());
            let (broker, stop) = (broker.clone(), stop.clone());
            let registry = Arc::new(autoconnect_jobs::registry());
            tokio::spawn(
                async move { autoconnect_reducer::run(&broker, &registry, config, stop).await },
            )
        };
        let job: JobId = "sales-1".parse().expect("valid");
        let cancel = async || cancel(&broker, job.clone(), "no".to_owned()).await;
        let Err(Trouble::Failed(said)) = cancel().await else {
            panic!("a job that never was is called cancelled");
        };
        assert!(said.contains("no such job is known"), "{said}");
        let again = cancel().await.ok();
        assert_eq!(again.as_deref(), Some("job sales-1 is cancelled"));
        let answer = ask::ask(&broker, Some(&job)).await.expect("asked");
        let (word, rest) = described(&answer.jobs[0].stage);
        assert_eq!(word, "cancelled");
        assert!(rest.ends_with("  cancelled: no"), "{rest}");

        // the reducer announces an end again when asked, so a listener that missed it gets it
        let listening = broker.subscribe(Queue::Events(job.clone()), EVENTS);
        let mut events = listening.await.expect("open");
        let status = tokio::select! {
            status = ended(&mut events) => status.ok(),
            _ = ask::remind(&broker, &job) => None,
        };
        assert_eq!(status, Some(Status::Cancelled));
        stop.cancel();
        let summary = reducing.await.expect("ended").expect("well");
        assert_eq!((summary.cancelled, summary.late), (1, 0));
    }

    #[test]
    fn a_job_is_listed_with_its_kind_where_the_reducer_knows_it() {
        let job = |kind: Option<&str>| JobStage {
            job: "j-1".parse().expect("valid"),
            kind: kind.map(str::to_owned),
            stage: Stage::Ending,
        };
        let listed = rows(&[job(Some("words")), job(None)]);
        let cells = |kind| ["j-1", kind, "ending", "its report is being written"];
        assert_eq!(listed, [cells("words"), cells("-")]);
    }

    #[test]
    fn a_stage_is_described_in_a_line_that_moves_no_cursor() {
        let open = Stage::Open {
            done: 3,
            total: None,
            rows: 12,
            idle_ms: 61_500,
        };
        let rest = "3 of ? chunks, 12 rows, last message 61 s ago";
        assert_eq!(described(&open), ("open", rest.to_owned()));
        let ended = Stage::Ended {
            status: Status::Failed,
            reason: Some("a\u{1b}\nb".to_owned()),
            ended_at: 1_700_000_000,
        };
        let rest = "2023-11-14 22:13:20Z  a\\u{1b}\\nb";
        assert_eq!(described(&ended), ("failed", rest.to_owned()));
    }
}
