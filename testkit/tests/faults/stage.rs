//! Programs of a cluster, each a process of its own, around queues of their own on a RabbitMQ node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::{Event, JobRequest, Status};
use autoconnect_testkit::broker::soon;
use autoconnect_testkit::cluster::End;
use autoconnect_testkit::jobs::TODAY;
use autoconnect_testkit::node::{Ctl, OnNode};
use autoconnect_testkit::program::{self, Running};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::case::{Case, Execution};

/// How long a job may take before a test gives it up, on a slow and busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(180);
/// The variable by which `make test-faults` has every figure judged.
const JUDGED: &str = "AUTOCONNECT_TEST_FIGURES";
/// How often a file is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Queues on a node, and a folder in which programs run.
pub(crate) struct Stage {
    folder: TempDir,
    node: OnNode,
    /// Ours: to ask for jobs and to listen.
    pub(crate) broker: RabbitMq,
}

/// What is left of a job that ended, as the reducer writes it.
#[derive(Deserialize)]
struct Tombstone {
    status: Status,
    reason: Option<String>,
}

impl Stage {
    /// A stage of `test` on the node of all tests, where there is one.
    pub(crate) async fn of(test: &str) -> Result<Option<Self>> {
        match OnNode::of(test) {
            Some(node) => Ok(Some(Self::around(node).await?)),
            None => Ok(None),
        }
    }

    /// A stage of `test` on the node at `uri`.
    pub(crate) async fn at(uri: &str, test: &str) -> Result<Self> {
        Self::around(OnNode::at(uri.to_owned(), test)).await
    }

    async fn around(node: OnNode) -> Result<Self> {
        let declaring = RabbitMq::connect(node.options.clone())?;
        soon("every queue to be there", declaring.reach()).await??;
        declaring.close().await;
        // what a test takes away is not put back by the test itself
        let broker = RabbitMq::connect(Options {
            declare: false,
            ..node.options.clone()
        })?;
        Ok(Self {
            folder: tempfile::tempdir()?,
            node,
            broker,
        })
    }

    /// The name of a queue on the node.
    pub(crate) fn named(&self, name: &str) -> String {
        self.node.named(name)
    }

    /// The URI of the node.
    pub(crate) fn uri(&self) -> &str {
        &self.node.options.uris[0]
    }

    /// A file or folder of the stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the reducer writes.
    pub(crate) fn results(&self) -> PathBuf {
        self.path("results")
    }

    /// A program that was built beside the tests, with the address of the queues in its environment.
    pub(crate) fn command(&self, name: &str) -> Result<Command> {
        self.command_by(name, self.uri())
    }

    /// The same, by another way: a proxy's.
    pub(crate) fn command_by(&self, name: &str, uri: &str) -> Result<Command> {
        let program = program::sibling(env!("CARGO_BIN_EXE_mined-worker"), name)?;
        Ok(self.told(program::command(program, self.folder.path()), uri))
    }

    /// Tells a command where the queues are.
    pub(crate) fn told(&self, mut command: Command, uri: &str) -> Command {
        command
            .env("AUTOCONNECT_BROKER__URI", uri)
            .env("AUTOCONNECT_BROKER__PREFIX", &self.node.options.prefix)
            .env("AUTOCONNECT_PRODUCER__THREADS", "1");
        command
    }

    /// Starts a program that plays a role.
    pub(crate) fn start(&self, name: &str) -> Result<Running> {
        Running::start(self.command(name)?, &format!("{name} started"))
    }

    /// The same, with everything that it logs.
    pub(crate) fn start_talkative(&self, name: &str) -> Result<Running> {
        let mut command = self.command(name)?;
        command.env("AUTOCONNECT_LOG__FILTER", "debug");
        Running::start(command, &format!("{name} started"))
    }

    /// The same, by another way.
    pub(crate) fn start_by(&self, name: &str, uri: &str) -> Result<Running> {
        Running::start(self.command_by(name, uri)?, &format!("{name} started"))
    }

    /// Starts so many workers.
    pub(crate) fn workers(&self, count: usize) -> Result<Vec<Running>> {
        (0..count).map(|_| self.start("worker")).collect()
    }

    /// `autoconnect run` of a case, with everybody else elsewhere.
    pub(crate) fn run(&self, case: &Case, out: &str, uri: &str) -> Result<Command> {
        let mut run = self.command_by("autoconnect", uri)?;
        run.arg("run")
            .arg(&case.file)
            .args(["--out", out, "--quiet"]);
        run.args(["--today", TODAY, "--max-rejects", "100%"]);
        run.args(["--chunk-rows", &case.chunk_rows.to_string()]);
        Ok(run)
    }

    /// Sends a request to the queue of jobs.
    pub(crate) async fn ask(&self, request: &JobRequest) -> Result<()> {
        let sent = self.broker.publish(request.to_message()?);
        Ok(soon("the request taken", sent).await??)
    }

    /// Follows how many chunks of a job are merged.
    pub(crate) async fn follow(&self, request: &JobRequest) -> Result<Progress> {
        let mut events = self
            .broker
            .subscribe(Queue::Events(request.job.clone()), 64)
            .await?;
        let (tell, done) = watch::channel(0);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let news = Event::from_message(&event.message);
                event.ack();
                if let Ok(Event::Progress { done, .. }) = news
                    && tell.send(done).is_err()
                {
                    return;
                }
            }
        });
        Ok(Progress(done))
    }

    fn tombstone(&self, request: &JobRequest) -> PathBuf {
        let name = format!("{}.json", request.job);
        self.path("state/done").join(name)
    }

    /// Whether the reducer says that a case ended.
    pub(crate) fn is_over(&self, case: &Case) -> bool {
        self.tombstone(&case.request).exists()
    }

    /// Waits until the reducer's tombstone says how a job ended: a listener may be cut off when the end is announced.
    pub(crate) async fn ended(&self, request: &JobRequest) -> Result<End> {
        let tombstone = self.tombstone(request);
        until("the job's end", LONG, async || tombstone.exists()).await?;
        let Tombstone { status, reason } = serde_json::from_slice(&fs::read(tombstone)?)?;
        Ok(End { status, reason })
    }

    /// Waits for the end of a case, and checks that it is what one process would give.
    pub(crate) async fn done(&self, case: &Case) -> Result<Execution> {
        let end = self.ended(&case.request).await?;
        ensure!(end.status == Status::Done, "{end:?}");
        case.check(&self.results())
    }

    /// How many consumers queues of ours have, over a connection of its own.
    pub(crate) async fn consumers<const N: usize>(&self, queues: [String; N]) -> Result<[u32; N]> {
        let look = ConnectionProperties::default();
        let connection = Connection::connect(self.uri(), look).await?;
        let channel = connection.create_channel().await?;
        let there = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let mut found = [0; N];
        for (count, name) in found.iter_mut().zip(queues) {
            let name = self.named(&name).into();
            let queue = channel.queue_declare(name, there, FieldTable::default());
            *count = queue.await?.consumer_count();
        }
        connection.close(200, "counted".into()).await?;
        Ok(found)
    }

    /// How many messages each queue of ours has, in hands or not, as `rabbitmqctl list_queues` says; none while the broker
    /// has not counted them yet.
    pub(crate) fn messages(&self, ctl: &Ctl) -> Result<BTreeMap<String, u64>> {
        let listed = ctl.run(&["list_queues", "--quiet", "name", "messages"])?;
        let lines = listed.lines().filter_map(|line| line.split_once('\t'));
        let prefix = &self.node.options.prefix;
        Ok(lines
            .filter_map(|(name, count)| {
                let name = name.strip_prefix(prefix.as_str())?.to_owned();
                Some((name, count.trim().parse().unwrap_or(0)))
            })
            .collect())
    }
}

/// How many chunks are merged, by the events received.
pub(crate) struct Progress(watch::Receiver<u64>);

impl Progress {
    /// How many.
    pub(crate) fn now(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until they are `count` at least.
    pub(crate) async fn reaches(&mut self, count: u64) -> Result<()> {
        let reached = self.0.wait_for(|&done| done >= count);
        let reached = tokio::time::timeout(LONG, reached).await;
        reached.with_context(|| format!("{count} chunks were not merged in time"))??;
        Ok(())
    }

    /// Waits until they are more than now.
    pub(crate) async fn moves(&mut self) -> Result<()> {
        self.reaches(self.now() + 1).await
    }
}

/// How long one look may take before it is taken for lost: a broker that is there answers in milliseconds.
const ANSWER: Duration = Duration::from_secs(10);

/// Waits until something is so.
pub(crate) async fn until(
    what: &str,
    at_most: Duration,
    mut so: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let since = Instant::now();
    // what is asked of lapin while a connection breaks may never be answered
    while !matches!(tokio::time::timeout(ANSWER, so()).await, Ok(true)) {
        if since.elapsed() > at_most {
            bail!("waited {} s for {what}", at_most.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// How long a test waits for what the table of faults gives a time to.
///
/// That time where the figures are judged, by `make test-faults` on a machine that does nothing else. `make test` prints what it
/// saw and gives up only what hangs: how busy a machine is says nothing about the code.
pub(crate) fn at_most(figure: Duration) -> Duration {
    match std::env::var_os(JUDGED) {
        Some(_) => figure,
        None => LONG,
    }
}

/// Stops a program, and checks that it exits as it should.
pub(crate) fn stop(running: &mut Running) -> Result<()> {
    let status = running.stop()?;
    ensure!(status.code() == Some(0), "told to stop: {status}");
    Ok(())
}

/// Whether `folder` holds nothing but a whole report, the one that `was` there or that of `case`.
pub(crate) fn whole(folder: &Path, was: Option<&[u8]>, case: &Case) -> Result<()> {
    match fs::read(folder.join("report.json")) {
        Ok(found) => ensure!(
            found == case.report() || was == Some(&found[..]),
            "the newest report is half of one: {} bytes",
            found.len()
        ),
        Err(_) => ensure!(was.is_none(), "the old report is gone"),
    }
    Ok(())
}
