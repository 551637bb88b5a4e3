//! `autoconnect dead`: lists, shows, requeues and drops the messages of the dead queues.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use autoconnect_common::dead::{self, Left, Line, Look, Requeued};
use autoconnect_common::message::{Message, reason};
use autoconnect_common::{Broker, Chunk, JobId, Registry};
use clap::{Args, Subcommand, ValueHint};

use crate::Failure;
use crate::contact::operator as at;
use crate::options::Place;
use crate::print::{self, printable};
use crate::trouble::Trouble;

/// The most messages of a queue that are read. Each is held unacked until all are read, and AMQP's largest prefetch is
/// 65,535.
const MOST: u16 = u16::MAX;
/// The most characters of a header or a line that are printed: either may be hostile and of any length.
const LINE: usize = 500;

/// The arguments of `dead`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Dead {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    act: Act,
}

/// The commands of `dead`.
#[derive(Debug, Subcommand)]
enum Act {
    /// List every chunk that no worker could process and every message that no role could read
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one message: its headers, its reason, its first rows
    Show {
        /// The message's id, as in sales-0123456789abcdef/0.17
        #[arg(value_name = "ID")]
        id: String,
        /// How many rows to show
        #[arg(long, value_name = "N", default_value_t = 10)]
        rows: usize,
        /// Write the message's body unchanged into this file instead
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        save: Option<PathBuf>,
    },
    /// Requeue messages, for instance once the program that failed on them is repaired
    Requeue {
        #[command(flatten)]
        selection: Selection,
        /// Requeue messages of ended jobs too, although the reports of these jobs no longer change
        #[arg(long)]
        even_if_ended: bool,
    },
    /// Remove messages for good
    Drop {
        #[command(flatten)]
        selection: Selection,
    },
}

/// The dead messages that a command applies to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// The messages with these ids, as in sales-0123456789abcdef/0.17
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Every dead message of this job
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
    /// Every dead message
    #[arg(long)]
    all: bool,
}

/// `autoconnect dead`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Dead, registry: &Registry) -> Result<(), Failure> {
    let Dead { place, act } = asked;
    match act {
        Act::List { json } => list(
            at(&place, registry, async |rabbit| {
                Ok(dead::list(rabbit, MOST).await?)
            })?,
            json,
        ),
        Act::Show { id, rows, save } => {
            let found = at(&place, registry, async |rabbit| find(rabbit, &id).await)?;
            show(&found, rows, save.as_deref(), registry)
        }
        Act::Requeue {
            selection,
            even_if_ended,
        } => {
            let done = at(&place, registry, async |rabbit| {
                requeue(rabbit, &selection, even_if_ended).await
            })?;
            print::out(&done.line("requeued"))?;
            done.verdict(&selection)
        }
        Act::Drop { selection } => {
            let done = at(&place, registry, async |rabbit| {
                discard(rabbit, &selection).await
            })?;
            print::out(&done.line("dropped"))?;
            done.verdict(&selection)
        }
    }
}

fn cells(line: &Line) -> [String; 7] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        line.id.clone(),
        line.r#type.clone(),
        or_dash(&line.kind),
        or_dash(&line.key),
        or_dash(&line.rows.map(|rows| rows.to_string())),
        line.bytes.to_string(),
        line.reason.clone(),
    ]
}

fn list((lines, beyond): (Vec<Line>, u64), json: bool) -> Result<(), Failure> {
    if json {
        print::json(&lines)?;
    } else if lines.is_empty() {
        print::out("there are no dead messages\n")?;
    } else {
        let rows: Vec<[String; 7]> = lines.iter().map(cells).collect();
        let titles = ["ID", "TYPE", "KIND", "KEY", "ROWS", "BYTES", "REASON"];
        print::out(&print::table(titles, &rows))?;
    }
    further(beyond).map_or(Ok(()), |said| Err(Failure::failed(said)))
}

/// The dead message with this id.
async fn find<B: Broker>(broker: &B, id: &str) -> Result<Message, Trouble> {
    let mut found = None;
    let mut look = Look::at(broker, MOST);
    while let Some((_, delivery)) = look.next().await? {
        if delivery.message.id == id && found.is_none() {
            found = Some(delivery.message.clone());
        }
        look.hold(delivery);
    }
    found.ok_or_else(|| Trouble::Failed(missing([id])))
}

/// Says that no dead message has any of these ids.
fn missing<'i>(ids: impl IntoIterator<Item = &'i str>) -> String {
    let shown = ids.into_iter().map(|id| printable(id.as_bytes(), LINE));
    let shown: Vec<String> = shown.collect();
    format!("{}: no such dead message", shown.join(", "))
}

/// Says how many dead messages were not read, if any.
fn further(count: u64) -> Option<String> {
    (count > 0).then(|| format!("{count} more dead messages were not read: run the command again"))
}

/// Prints a dead message, or saves its body.
fn show(
    message: &Message,
    rows: usize,
    save: Option<&Path>,
    registry: &Registry,
) -> Result<(), Failure> {
    if let Some(path) = save {
        std::fs::write(path, &**message.body).map_err(|error| {
            Failure::failed(format!("{}: cannot be written: {error}", path.display()))
        })?;
        return print::out(&format!("{} bytes\n", message.body.len()));
    }
    let mut text = String::new();
    let headers = message.headers.iter();
    let headers = headers.filter(|(name, _)| *name != "reason");
    let said = [("id", message.id.as_str()), ("type", &message.kind)]
        .into_iter()
        .chain(headers.map(|(name, value)| (name.as_str(), value.as_str())))
        .chain([("reason", reason(message))]);
    for (name, value) in said {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        text += &format!("{}: {}\n", printable(name, LINE), printable(value, LINE));
    }
    text.push('\n');
    let content = content(message, rows, registry);
    for line in content.lines() {
        text += &printable(line.as_bytes(), LINE);
        text.push('\n');
    }
    print::out(&text)
}

/// The first rows of a message's body, or why they cannot be read.
fn content(message: &Message, rows: usize, registry: &Registry) -> String {
    if message.kind != "chunk" {
        let text = String::from_utf8_lossy(&message.body);
        return text.split_inclusive('\n').take(rows).collect();
    }
    let unreadable = |why: String| format!("(its rows cannot be read: {why})");
    let chunk = match Chunk::from_message(message) {
        Ok(chunk) => chunk,
        Err(error) => return unreadable(error.to_string()),
    };
    match registry.known(&chunk.kind, chunk.schema) {
        Ok(kind) => kind
            .show(&chunk, rows)
            .unwrap_or_else(|error| unreadable(error.to_string())),
        Err(unknown) => unreadable(unknown),
    }
}

impl Selection {
    fn takes(&self, message: &Message) -> bool {
        self.all
            || self.ids.contains(&message.id)
            || self.job.as_ref().is_some_and(|job| {
                let of = message.headers.get("job");
                of.is_some_and(|of| of == job.as_str())
            })
    }
}

/// What became of the dead messages that were selected.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    /// How many were requeued or dropped.
    done: u64,
    /// Why the others were not, each reason once.
    left: BTreeSet<String>,
    /// The ids that were found.
    found: BTreeSet<String>,
    /// How many were not read.
    further: u64,
}

impl Done {
    /// The line that says what was done.
    fn line(&self, verb: &str) -> String {
        let s = if self.done == 1 { "" } else { "s" };
        format!("{verb} {} dead message{s}\n", self.done)
    }

    /// The error that says what was not done, if anything.
    fn verdict(self, selection: &Selection) -> Result<(), Failure> {
        let ids = selection.ids.iter().map(String::as_str);
        let lost: Vec<&str> = ids.filter(|&id| !self.found.contains(id)).collect();
        let mut left: Vec<String> = self.left.into_iter().collect();
        if !lost.is_empty() {
            left.push(missing(lost));
        }
        left.extend(further(self.further));
        if left.is_empty() {
            Ok(())
        } else {
            Err(Failure::failed(left.join("; ")))
        }
    }
}

/// Acknowledges the selected messages, which removes them.
async fn discard<B: Broker>(broker: &B, selection: &Selection) -> Result<Done, Trouble> {
    let mut done = Done::default();
    let mut look = Look::at(broker, MOST);
    while let Some((_, delivery)) = look.next().await? {
        if !selection.takes(&delivery.message) {
            look.hold(delivery);
            continue;
        }
        done.found.insert(delivery.message.id.clone());
        done.done += 1;
        delivery.ack();
    }
    done.further = look.further();
    Ok(done)
}

/// Requeues the selected messages: publishes each, then acknowledges its dead letter.
async fn requeue<B: Broker>(
    broker: &B,
    selection: &Selection,
    even_if_ended: bool,
) -> Result<Done, Trouble> {
    let takes = |message: &Message| selection.takes(message);
    let Requeued {
        done,
        found,
        left,
        further,
    } = dead::requeue(broker, MOST, even_if_ended, takes).await?;
    let left = left.into_iter().map(|(_, left)| match left {
        Left::Ended(job) => format!(
            "job {} has ended, its report does not change: run it again, or add --even-if-ended",
            printable(job.as_bytes(), LINE)
        ),
        Left::Unknown(job) => format!(
            "job {} is not known to the reducer: run it again, or add --even-if-ended",
            printable(job.as_bytes(), LINE)
        ),
        Left::Odd(why) => printable(why.as_bytes(), LINE),
    });
    Ok(Done {
        done,
        left: left.collect(),
        found,
        further,
    })
}

#[cfg(test)]
mod tests {
    use autoconnect_common::broker::Queue;
    use autoconnect_common::broker::embedded::Embedded;
    use autoconnect_common::message::bury;
    use autoconnect_common::{Format, JobKind as _, Seq};
    use autoconnect_jobs::sales::Sales;

    use super::*;

    fn sales() -> Format {
        Format::of::<Sales>()
    }

    fn chunk(number: u32) -> Message {
        let chunk = Chunk {
            job: "job-1".parse().expect("valid"),
            kind: Sales::NAME.to_owned(),
            schema: Sales::SCHEMA,
            seq: Seq::first_part(number),
            key: "lyon".to_owned(),
            rows: 1,
            body: "rows".into(),
        };
        chunk.to_message()
    }

    fn selection(ids: &[&str]) -> Selection {
        Selection {
            ids: ids.iter().map(|&id| id.to_owned()).collect(),
            job: None,
            all: false,
        }
    }

    async fn dead(broker: &Embedded, number: u32) {
        let dead = bury(chunk(number), "boom");
        broker.publish(dead).await.expect("open");
    }

    #[tokio::test]
    async fn looking_changes_nothing_and_dropping_only_what_was_named() {
        let broker = Embedded::new();
        for number in 0..3 {
            dead(&broker, number).await;
        }
        let ids = async || {
            let (lines, _) = dead::list(&broker, MOST).await.expect("listed");
            let mut ids: Vec<String> = lines.into_iter().map(|line| line.id).collect();
            ids.sort();
            ids
        };
        for _ in 0..3 {
            assert_eq!(ids().await, ["job-1/0.0", "job-1/0.1", "job-1/0.2"]);
        }
        let named = selection(&["job-1/0.1", "job-1/0.9"]);
        let done = discard(&broker, &named).await.ok().expect("dropped");
        assert_eq!(done.line("dropped"), "dropped 1 dead message\n");
        let failure = done.verdict(&named).expect_err("one is lost");
        assert_eq!(failure.sentence, "job-1/0.9: no such dead message");
        assert_eq!(ids().await, ["job-1/0.0", "job-1/0.2"]);
    }

    #[tokio::test]
    async fn what_is_requeued_is_what_it_was() {
        let broker = Embedded::new();
        dead(&broker, 0).await;
        let named = selection(&["job-1/0.0"]);
        let done = requeue(&broker, &named, true).await.ok().expect("requeued");
        assert_eq!((done.done, done.left.len()), (1, 0));
        let mut chunks = broker
            .subscribe(Queue::Chunks(sales()), 1)
            .await
            .expect("open");
        let alive = chunks.next().await.expect("a chunk");
        let mut expected = chunk(0);
        let revived = ("revived".to_owned(), "1".to_owned());
        expected.headers.extend([revived]);
        assert_eq!(alive.message, expected);
        // what the reducer received: the dead letter, and the notice of the requeue
        for (queue, kind) in [
            (Queue::Results(sales()), "chunk"),
            (Queue::Control, "revived"),
        ] {
            let mut told = broker.subscribe(queue, 1).await.expect("open");
            let word = told.next().await.expect("word of it");
            assert_eq!(word.message.kind, kind);
        }
        assert_eq!(broker.waiting(Queue::DeadChunks).await.expect("open"), 0);
    }

    #[tokio::test]
    async fn what_says_no_job_is_not_called_ended() {
        let broker = Embedded::new();
        for job in [None, Some("?"), Some("a job")] {
            let mut odd = bury(chunk(0), "boom");
            odd.headers.remove("job");
            let job = job.map(|job| ("job".to_owned(), job.to_owned()));
            odd.headers.extend(job);
            broker.publish(odd).await.expect("open");
        }
        let everything = Selection {
            all: true,
            ..selection(&[])
        };
        // these name no job, so the reducer is not asked
        let done = requeue(&broker, &everything, false).await.ok();
        let failure = done.expect("tried").verdict(&everything);
        let said = failure.expect_err("they are left").sentence;
        assert!(said.contains("header job is missing"), "{said}");
        assert!(said.contains("header job: found"), "{said}");
        assert!(!said.contains("has ended"), "{said}");
        assert_eq!(broker.waiting(Queue::DeadChunks).await.expect("open"), 3);
    }

    #[tokio::test]
    async fn what_does_not_say_where_it_belongs_stays_dead() {
        let broker = Embedded::new();
        let mut odd = bury(chunk(0), "boom");
        odd.headers.remove("key");
        broker.publish(odd).await.expect("open");
        let everything = Selection {
            all: true,
            ..selection(&[])
        };
        let done = requeue(&broker, &everything, true)
            .await
            .ok()
            .expect("tried");
        assert_eq!(done.line("requeued"), "requeued 0 dead messages\n");
        let failure = done.verdict(&everything).expect_err("it is left");
        assert_eq!(
            failure.sentence,
            "message \"job-1/0.0\": header key is missing"
        );
        assert_eq!(broker.waiting(Queue::DeadChunks).await.expect("open"), 1);
    }
}
