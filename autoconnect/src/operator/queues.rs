//! `autoconnect queues`: the exchanges and queues of a cluster, and those that are no longer used.

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

/// How long the broker may take to look up all names, or to remove them: a queue takes some ten milliseconds.
const ALL: Duration = Duration::from_secs(60);

/// What `queues` was asked, as typed.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Queues {
    /// What stands before the names of the exchanges and queues [default: broker.prefix of the settings]
    #[arg(long, global = true, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Ask RabbitMQ's management API for names, as in http://localhost:15672
    ///
    /// The broker itself tells of names only that it is asked for. With this, `list` finds those of every prefix, and
    /// both commands the queues of formats that this program does not know. Its user and password are the broker's.
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
    /// A line for every exchange and queue that is there: what waits in it, and how many consumers it has
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Remove what `list` shows of one prefix: as a user that may declare, as `topology` may
    Remove {
        /// Only those of an older topology, which this version does not use any more
        #[arg(long)]
        older: bool,
        /// Also where somebody consumes or messages wait: these are lost
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
    /// The settings, without the right to declare: looking for names must not make them.
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
                "the broker did not do it within {seconds} seconds: look with `autoconnect queues list`, and do it again"
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
        let told = management.parts(&account).await?.into_iter();
        parts.extend(told.filter(|part| prefix.is_none_or(|prefix| prefix == part.prefix)));
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
    /// Of an exchange, null.
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
        said.push(format!(
            "somebody still consumes from {used}: stop those programs"
        ));
    }
    if !full.is_empty() {
        said.push(format!(
            "the messages in {full} would be lost: have them worked off or drop them"
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
    // a listener's queue is named by the broker, so only the bindings of the exchange of events show it
    for part in parts().filter(|part| events(part)) {
        if rabbit.remove(part, force).await? == Removed::InUse {
            return Err(Trouble::Failed(format!(
                "nothing was removed, somebody still listens to {}: stop the API and whoever follows a job, or add --force",
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
        "{removed}; something else is bound to {left}: remove that first, or add --force"
    )))
}
