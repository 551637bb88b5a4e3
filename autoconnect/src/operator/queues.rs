//! `autoconnect queues`: lists and removes the exchanges and queues of a cluster.

use std::time::Duration;

use autoconnect_common::broker::part::{Part, What};
use autoconnect_common::broker::rabbitmq::{Found, RabbitMq, Removed};
use autoconnect_common::message::Exchange;
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Format, Registry};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::management::Management;
use crate::options::Place;
use crate::trouble::Trouble;
use crate::{Failure, contact, print};

/// How long the broker may take to look up all names, or to remove them: a queue takes some ten milliseconds, so a minute
/// is enough for thousands.
const ALL: Duration = Duration::from_secs(60);

/// The arguments of `queues`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Queues {
    /// The prefix of the exchanges' and queues' names [default: broker.prefix of the settings]
    #[arg(long, global = true, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Also list names through RabbitMQ's management API, as in http://localhost:15672
    ///
    /// AMQP can only tell whether a given name exists. With the management API, `list` finds the exchanges and queues of
    /// every prefix, and both commands find the queues of kinds and versions that this program does not know. The login is
    /// that of the broker's address.
    #[arg(long, global = true, value_name = "URL")]
    management: Option<Management>,

    #[command(flatten)]
    place: Place,

    #[command(subcommand)]
    act: Act,
}

/// The commands of `queues`.
#[derive(Debug, Subcommand)]
enum Act {
    /// List every exchange and queue, with its waiting messages and its consumers
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Remove the exchanges and queues of one prefix; the user needs the right to configure them
    Remove {
        /// Remove only those of an older topology, which this version no longer uses
        #[arg(long)]
        older: bool,
        /// Remove queues that have consumers or messages too; the messages are lost
        #[arg(long)]
        force: bool,
    },
}

/// `autoconnect queues`.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn carry_out(asked: Queues, registry: &Registry) -> Result<(), Failure> {
    let settings = asked.settings(registry)?;
    let prefix = settings.load::<settings::Broker>()?.prefix;
    let management = asked.management.as_ref();
    let formats = registry.formats();
    match asked.act {
        Act::List { json } => {
            // without a prefix, list every one that the management API knows
            let every = asked.prefix.is_none() && management.is_some();
            let prefix = (!every).then_some(prefix.as_str());
            let found = at(&settings, registry, async |rabbit| {
                look(rabbit, &formats, prefix, management).await
            })?;
            list(&found, prefix, json)
        }
        Act::Remove { older, force } => {
            let said = at(&settings, registry, async |rabbit| {
                let mut found = look(rabbit, &formats, Some(&prefix), management).await?;
                found.retain(|each| !older || each.part.is_older());
                if found.is_empty() {
                    return Err(Trouble::Failed(nothing(Some(&prefix), older)));
                }
                if !force {
                    check(&found)?;
                }
                remove(rabbit, &found, force).await
            })?;
            print::out(&said)
        }
    }
}

impl Queues {
    /// The settings, with `broker.declare` off: looking for a queue must not create it.
    fn settings(&self, registry: &Registry) -> Result<Settings, Failure> {
        let sources = self.place.sources().flag("broker.declare", Some(false));
        let sources = sources.flag("broker.prefix", self.prefix.as_ref());
        self.place.read(sources, registry)
    }
}

/// Connects to the broker, runs `act` within [`ALL`], and disconnects.
fn at<T>(
    settings: &Settings,
    registry: &Registry,
    act: impl AsyncFnOnce(&RabbitMq) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    contact::at(settings, registry, "autoconnect queues", async |rabbit| {
        contact::first(rabbit, rabbit.look(&[])).await?;
        let done = tokio::time::timeout(ALL, act(rabbit)).await;
        done.unwrap_or_else(|_| {
            let seconds = ALL.as_secs();
            Err(Trouble::Failed(format!(
                "the broker did not finish within {seconds} seconds: see what is left with `autoconnect queues list`, and try \
                 again"
            )))
        })
    })
}

/// The existing parts of a prefix, or of every one that the management API lists.
async fn look(
    rabbit: &RabbitMq,
    formats: &[Format],
    prefix: Option<&str>,
    management: Option<&Management>,
) -> Result<Vec<Found>, Trouble> {
    let mut parts = Vec::new();
    if let Some(prefix) = prefix {
        parts = Part::current(prefix, formats);
        parts.extend(Part::older(prefix));
    }
    if let (Some(management), Some(account)) = (management, rabbit.account()) {
        let listed = management.parts(&account).await?.into_iter();
        parts.extend(listed.filter(|part| prefix.is_none_or(|prefix| prefix == part.prefix)));
    }
    parts.sort();
    parts.dedup();
    Ok(rabbit.look(&parts).await?)
}

/// What `list --json` prints of a part.
#[derive(Serialize)]
struct Line<'f> {
    name: String,
    prefix: &'f str,
    r#type: &'static str,
    /// Null for an exchange, as is `consumers`.
    messages: Option<u32>,
    consumers: Option<u32>,
    older: bool,
}

impl<'f> From<&'f Found> for Line<'f> {
    fn from(found: &'f Found) -> Self {
        let queue = found.part.what == What::Queue;
        Self {
            name: found.part.full_name(),
            prefix: &found.part.prefix,
            r#type: if queue { "queue" } else { "exchange" },
            messages: queue.then_some(found.messages),
            consumers: queue.then_some(found.consumers),
            older: found.part.is_older(),
        }
    }
}

fn list(found: &[Found], prefix: Option<&str>, json: bool) -> Result<(), Failure> {
    let lines: Vec<Line<'_>> = found.iter().map(Line::from).collect();
    if json {
        return print::json(&lines);
    }
    if lines.is_empty() {
        return print::out(&(nothing(prefix, false) + "\n"));
    }
    let or_dash = |count: Option<u32>| count.map_or("-".to_owned(), |count| count.to_string());
    let cells = |line: Line<'_>| {
        let topology = if line.older { "older" } else { "" };
        [
            line.name,
            or_dash(line.messages),
            or_dash(line.consumers),
            topology.to_owned(),
        ]
    };
    let rows: Vec<[String; 4]> = lines.into_iter().map(cells).collect();
    let titles = ["NAME", "MESSAGES", "CONSUMERS", "TOPOLOGY"];
    print::out(&print::table(titles, &rows))
}

fn nothing(prefix: Option<&str>, older: bool) -> String {
    let topology = if older { " of an older topology" } else { "" };
    let here = match prefix {
        None => "is in this virtual host".to_owned(),
        Some("") => "is here without a prefix".to_owned(),
        Some(prefix) => format!("has the prefix {prefix:?}"),
    };
    format!("no exchange or queue{topology} {here}")
}

/// Refuses to remove a queue that has consumers or messages, or an exchange in use.
fn check(found: &[Found]) -> Result<(), Trouble> {
    let having = |word: &str, count: fn(&Found) -> u32| {
        let some = found.iter().filter(|each| count(each) > 0);
        let named =
            some.map(|each| format!("{} ({})", each.part.full_name(), counted(count(each), word)));
        named.collect::<Vec<_>>().join(", ")
    };
    let used = having("consumer", |each| each.consumers);
    let full = having("message", |each| each.messages);
    let mut said = Vec::new();
    if !used.is_empty() {
        said.push(format!("programs still consume from {used}: stop them"));
    }
    if !full.is_empty() {
        said.push(format!(
            "the messages in {full} would be lost: wait until they are consumed, or drop them"
        ));
    }
    if said.is_empty() {
        return Ok(());
    }
    Err(Trouble::Failed(format!(
        "nothing was removed, {}, or add --force",
        said.join("; ")
    )))
}

fn counted(count: u32, word: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {word}{s}")
}

/// Removes the found parts; returns the sentence to print.
async fn remove(rabbit: &RabbitMq, found: &[Found], force: bool) -> Result<String, Trouble> {
    let events = |part: &Part| part.name == Exchange::Events.name();
    let parts = || found.iter().map(|each| &each.part);
    // the broker names the queue of a listener, so only a binding of the exchange of events shows that there is one
    for part in parts().filter(|part| events(part)) {
        if rabbit.remove(part, force).await? == Removed::InUse {
            return Err(Trouble::Failed(format!(
                "nothing was removed, {} still has listeners: stop the API and every program that follows a job, or add --force",
                part.full_name()
            )));
        }
    }
    let [mut queues, mut exchanges, mut messages] = [0; 3];
    let mut left = Vec::new();
    for part in parts() {
        match (rabbit.remove(part, force).await?, part.what) {
            (Removed::Gone(lost), What::Queue) => {
                queues += 1;
                messages += lost;
            }
            (Removed::Gone(_), What::Exchange) => exchanges += 1,
            (Removed::InUse, _) => left.push(part.full_name()),
        }
    }
    let (queues, exchanges) = (counted(queues, "queue"), counted(exchanges, "exchange"));
    let lost = match messages {
        0 => String::new(),
        some => format!(", with {}", counted(some, "message")),
    };
    let removed = format!("removed {queues} and {exchanges}{lost}");
    if left.is_empty() {
        return Ok(removed + "\n");
    }
    let left = left.join(", ");
    Err(Trouble::Failed(format!(
        "{removed}; another exchange or queue is bound to {left}: remove it first, or add --force"
    )))
}
