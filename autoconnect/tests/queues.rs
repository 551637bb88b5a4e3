//! What `autoconnect queues` lists and removes, on a real broker: one prefix, all that is its, and nothing else.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::{message, next, queue, sales, soon};
use autoconnect_testkit::node::{OnNode, OwnNode};
use autoconnect_testkit::program::{self, refuses};
use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

/// What `autoconnect` may find on a node, and a connection past it.
struct Site {
    node: OnNode,
    folder: tempfile::TempDir,
    channel: Channel,
    _connection: Connection,
}

impl Site {
    async fn at(mut node: OnNode) -> Result<Self> {
        // the program removes what it knows by itself
        node.options.formats = vec![sales()];
        let uri = &node.options.uris[0];
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        Ok(Self {
            channel: connection.create_channel().await?,
            _connection: connection,
            folder: tempfile::tempdir()?,
            node,
        })
    }

    /// This node's options under a prefix that begins with this test's.
    fn under(&self, prefix: &str) -> Options {
        Options {
            prefix: self.node.named(prefix),
            ..self.node.options.clone()
        }
    }

    /// Declares everything that a cluster needs, and leaves it.
    async fn cluster(&self, options: Options) -> Result<()> {
        let broker = RabbitMq::connect(options)?;
        soon("the queues", broker.reach()).await??;
        broker.close().await;
        Ok(())
    }

    /// Declares a queue as older programs did, bound to an exchange of theirs.
    async fn older(&self, queue: &str, exchange: &str) -> Result<()> {
        let (queue, exchange) = (self.node.named(queue), self.node.named(exchange));
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (name, none) = (exchange.as_str(), FieldTable::default());
        let declared =
            self.channel
                .exchange_declare(name.into(), ExchangeKind::Topic, durable, none);
        declared.await?;
        self.queue(&queue).await?;
        let (queue, none) = (queue.as_str().into(), FieldTable::default());
        let options = QueueBindOptions::default();
        let bound = self
            .channel
            .queue_bind(queue, name.into(), "#".into(), options, none);
        Ok(bound.await?)
    }

    /// Declares a quorum queue of exactly this name.
    async fn queue(&self, name: &str) -> Result<()> {
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut quorum = FieldTable::default();
        quorum.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let declared = self.channel.queue_declare(name.into(), durable, quorum);
        declared.await?;
        Ok(())
    }

    fn queues(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(env!("CARGO_BIN_EXE_autoconnect"), self.folder.path());
        command
            .env("AUTOCONNECT_BROKER__URI", &self.node.options.uris[0])
            .env("AUTOCONNECT_BROKER__PREFIX", &self.node.options.prefix)
            .arg("queues")
            .args(arguments);
        command
    }

    /// What it prints, given these arguments; it must end well.
    fn says(&self, arguments: &[&str]) -> Result<String> {
        let output = self.queues(arguments).output()?;
        let wrote = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {wrote}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Every line of `list --json` with these arguments.
    fn lists(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let said = self.says(&[&["list", "--json"], arguments].concat())?;
        Ok(serde_json::from_str(&said)?)
    }

    /// How many queues and exchanges are listed.
    fn counts(&self, arguments: &[&str]) -> Result<[usize; 2]> {
        let lines = self.lists(arguments)?;
        let of = |what: &str| lines.iter().filter(|line| line["type"] == what).count();
        Ok([of("queue"), of("exchange")])
    }

    /// The line of a queue or exchange of this test.
    fn line(&self, name: &str) -> Result<Value> {
        let name = self.node.named(name);
        let mut lines = self.lists(&[])?.into_iter();
        lines.find(|line| line["name"] == name).context(name)
    }
}

/// How many queues and exchanges a cluster of `sales` has.
const CLUSTER: [usize; 2] = [8, 7];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wrong_prefix_left_behind_is_removed_and_nothing_of_another() -> Result<()> {
    let test = "what_a_wrong_prefix_left_behind_is_removed_and_nothing_of_another";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let site = Site::at(node).await?;
    let wrong = site.node.named("wrong.");
    let wrong = ["--prefix", wrong.as_str()];
    // `list` declares nothing
    let nothing = format!("no exchange or queue has the prefix {:?}", wrong[1]);
    ensure!(site.says(&["list", wrong[0], wrong[1]])? == format!("{nothing}\n"));
    ensure!(site.counts(&wrong)? == [0, 0] && site.counts(&[])? == [0, 0]);
    refuses(site.queues(&["remove", wrong[0], wrong[1]]), 1, &nothing)?;

    site.cluster(site.under("")).await?;
    site.cluster(site.under("wrong.")).await?;
    // a run that was killed: its exchanges go by themselves, each with the last queue that is bound to it
    let run = site.node.named("run-sales-0123-12345678.");
    let passing = Options {
        passing: true,
        ..site.under("run-sales-0123-12345678.")
    };
    site.cluster(passing).await?;
    ensure!(site.counts(&wrong)? == CLUSTER && site.counts(&[])? == CLUSTER);
    let said = site.says(&["list", wrong[0], wrong[1]])?;
    let titles = said.lines().next().context("titles")?;
    let titles: Vec<&str> = titles.split_whitespace().collect();
    ensure!(
        titles == ["NAME", "MESSAGES", "CONSUMERS", "TOPOLOGY"],
        "{said}"
    );

    let said = site.says(&["remove", wrong[0], wrong[1]])?;
    ensure!(said == "removed 8 queues and 7 exchanges\n", "{said}");
    ensure!(site.counts(&wrong)? == [0, 0] && site.counts(&[])? == CLUSTER);
    // it had no dead queues for an operator to look at
    let said = site.says(&["remove", "--prefix", &run])?;
    ensure!(said == "removed 6 queues and 7 exchanges\n", "{said}");
    ensure!(site.counts(&["--prefix", &run])? == [0, 0] && site.counts(&[])? == CLUSTER);
    // the prefix of the settings, where none is named
    site.says(&["remove"])?;
    ensure!(site.counts(&[])? == [0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_uses_or_what_holds_messages_is_removed_by_force_only() -> Result<()> {
    let test = "what_somebody_uses_or_what_holds_messages_is_removed_by_force_only";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let site = Site::at(node).await?;
    let broker = RabbitMq::connect(site.under(""))?;
    for id in ["1", "2"] {
        let chunk = message(Exchange::Chunks, sales().key("lyon"), id, "x");
        soon("the chunk taken", broker.publish(chunk)).await??;
    }
    let mut chunks = broker.subscribe(Queue::Chunks(sales()), 1).await?;
    let held = next(&mut chunks).await?;
    let line = site.line(&queue(Queue::Chunks))?;
    ensure!(line["messages"] == 1 && line["consumers"] == 1, "{line}");
    let chunks_queue = site.node.named(&queue(Queue::Chunks));
    let used = format!("programs still consume from {chunks_queue} (1 consumer)");
    refuses(site.queues(&["remove"]), 1, &used)?;
    let full = format!("the messages in {chunks_queue} (1 message) would be lost");
    refuses(site.queues(&["remove"]), 1, &full)?;
    drop(held);
    drop(chunks);
    broker.close().await;
    // unacked messages are requeued once the broker notices the closed channel
    let back = async {
        while site.line(&queue(Queue::Chunks))?["messages"] != 2 {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    soon("both chunks to wait", back).await??;
    let full = format!("the messages in {chunks_queue} (2 messages) would be lost");
    refuses(site.queues(&["remove"]), 1, &full)?;

    // a listener to events has a queue that the broker named
    let listener = RabbitMq::connect(Options {
        declare: false,
        ..site.under("")
    })?;
    let _events = listener.subscribe(Queue::AllEvents, 1).await?;
    let purged = site
        .channel
        .queue_purge(chunks_queue.as_str().into(), QueuePurgeOptions::default());
    purged.await?;
    refuses(
        site.queues(&["remove"]),
        1,
        &format!(
            "nothing was removed, {} still has listeners",
            site.node.named("x.events")
        ),
    )?;
    ensure!(site.counts(&[])? == CLUSTER);
    let broker = RabbitMq::connect(site.under(""))?;
    let chunk = message(Exchange::Chunks, sales().key("lyon"), "3", "x");
    soon("the chunk taken", broker.publish(chunk)).await??;
    broker.close().await;
    let said = site.says(&["remove", "--force"])?;
    ensure!(
        said == "removed 8 queues and 7 exchanges, with 1 message\n",
        "{said}"
    );
    ensure!(site.counts(&[])? == [0, 0]);
    listener.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_topology_left_is_told_apart_and_removed_alone() -> Result<()> {
    let test = "what_an_older_topology_left_is_told_apart_and_removed_alone";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let site = Site::at(node).await?;
    site.cluster(site.under("")).await?;
    refuses(
        site.queues(&["remove", "--older"]),
        1,
        "no exchange or queue of an older topology has the prefix",
    )?;
    for (queue, exchange) in [
        ("q.jobs", "x.jobs"),
        ("q.chunks", "x.chunks"),
        ("q.chunks.unrouted", "x.unrouted"),
        ("q.chunks.quarantine", "x.dead"),
        ("q.results", "x.results"),
    ] {
        site.older(queue, exchange).await?;
    }
    let own = site.node.named("q.a-site-of-its-own");
    site.queue(&own).await?;
    let (own, exchange) = (own.as_str().into(), site.node.named("x.chunks"));
    let bound = site.channel.queue_bind(
        own,
        exchange.as_str().into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await?;
    ensure!(site.line("q.chunks")?["older"] == true && site.line("x.dead")?["older"] == true);
    ensure!(site.line("q.chunks.dead")?["older"] == false);
    let said = site.says(&["list"])?;
    ensure!(
        said.lines()
            .filter(|line| line.ends_with("  older"))
            .count()
            == 10,
        "{said}"
    );

    // what a site bound of its own is not lost in silence
    refuses(
        site.queues(&["remove", "--older"]),
        1,
        &format!(
            "removed 5 queues and 4 exchanges; another exchange or queue is bound to {exchange}"
        ),
    )?;
    let said = site.says(&["remove", "--older", "--force"])?;
    ensure!(said == "removed 0 queues and 1 exchange\n", "{said}");
    ensure!(site.counts(&[])? == CLUSTER);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_that_nobody_remembers_are_found_by_the_management_api() -> Result<()> {
    let test = "prefixes_that_nobody_remembers_are_found_by_the_management_api";
    let Some(own) = OwnNode::with_plugins(test, "rabbitmq_management")? else {
        return Ok(());
    };
    let site = Site::at(OnNode::at(own.uri().to_owned(), test)).await?;
    let management = format!("http://localhost:{}", own.management_port()?);
    let management = ["--management", management.as_str()];
    site.cluster(site.under("forgotten.")).await?;
    site.cluster(Options {
        prefix: String::new(),
        ..site.under("")
    })
    .await?;
    // of a format that this program does not know, and of another program
    for name in [
        site.node.named("forgotten.q.chunks.explore.v1"),
        "celery".to_owned(),
        "q.jobs.of.somebody.else".to_owned(),
    ] {
        site.queue(&name).await?;
    }
    let forgotten = site.node.named("forgotten.");
    ensure!(
        site.counts(&management)? == [17, 14],
        "{:?}",
        site.lists(&management)?
    );
    let prefixes: Vec<Value> = site
        .lists(&management)?
        .iter()
        .map(|line| line["prefix"].clone())
        .collect();
    ensure!(
        prefixes
            .iter()
            .all(|prefix| *prefix == "" || *prefix == *forgotten)
    );

    let of_it = ["--prefix", forgotten.as_str()];
    ensure!(site.counts(&of_it)? == CLUSTER);
    ensure!(site.counts(&[of_it, management].concat())? == [9, 7]);
    let remove = [&["remove"], &of_it[..], &management].concat();
    let said = site.says(&remove)?;
    ensure!(said == "removed 9 queues and 7 exchanges\n", "{said}");
    ensure!(site.counts(&management)? == CLUSTER);
    refuses(
        site.queues(&remove),
        1,
        "no exchange or queue has the prefix",
    )?;

    own.ctl().run(&["add_user", "nobody", "secret"])?;
    let rights = ["set_permissions", "nobody", ".*", ".*", ".*"];
    own.ctl().run(&rights)?;
    let (_, host) = own.uri().split_once('@').context("user and password")?;
    let mut nobody = site.queues(&[&["list"], &management[..]].concat());
    nobody.env(
        "AUTOCONNECT_BROKER__URI",
        format!("amqp://nobody:secret@{host}"),
    );
    refuses(nobody, 1, "user nobody may not list queues")?;
    Ok(())
}

#[test]
fn where_there_is_no_management_api_a_sentence_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let queues = |arguments: &[&str]| {
        let mut command = program::command(env!("CARGO_BIN_EXE_autoconnect"), folder.path());
        command.arg("queues").args(arguments);
        command
    };
    refuses(
        queues(&["list"]),
        2,
        "no broker: set AUTOCONNECT_BROKER__URI",
    )?;
    refuses(queues(&[]), 2, "requires a subcommand")?;
    let elsewhere = ["list", "--management", "http://rabbit.example:15672"];
    refuses(queues(&elsewhere), 2, "the password is sent unencrypted")?;
    let odd = ["list", "--broker", "amqp://localhost", "--prefix", "a b"];
    refuses(queues(&odd), 2, "broker.prefix")
}
