//! A private RabbitMQ node, run by `scripts/rabbitmq-node`, which can be killed, stopped, and restarted with its data.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::process::{is_alive, signal};

/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// Prints the name, messages and bytes of each queue from the node's metrics, which it updates every five seconds.
const QUEUES: &str = "[io:format(\"~s ~b ~b~n\", [N, proplists:get_value(messages, I, 0), \
     proplists:get_value(message_bytes, I, 0)]) || {{resource, _, queue, N}, I, _} <- ets:tab2list(queue_metrics)], ok.";

/// The node. Dropping this value stops it and removes its data.
pub(crate) struct Node {
    folder: PathBuf,
    script: PathBuf,
    /// The URI of the node.
    pub(crate) uri: String,
}

impl Node {
    /// Starts a node in a new folder.
    pub(crate) async fn start(folder: PathBuf) -> Result<Self> {
        let script = fs::canonicalize("scripts/rabbitmq-node");
        let mut node = Self {
            folder,
            script: script
                .context("scripts/rabbitmq-node: run this in the root of the repository")?,
            uri: String::new(),
        };
        // the script stops the node at the end of this process, even if it is killed
        let us = std::process::id().to_string();
        node.script(&["start", &us]).await?;
        node.uri = node.script(&["uri"]).await?.trim().to_owned();
        Ok(node)
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> Result<u32> {
        let file = self.folder.join("server.pid");
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        text.trim()
            .parse()
            .with_context(|| format!("{}: {text:?}", file.display()))
    }

    /// Ends the node by a signal, `KILL` or `TERM`, and waits until its process has ended.
    pub(crate) async fn end(&self, name: &str) -> Result<()> {
        let pid = self.pid()?;
        signal(pid, name)?;
        let since = Instant::now();
        while is_alive(pid) {
            ensure!(
                since.elapsed() < STOP,
                "the broker did not end by SIG{name}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Starts the node again, and waits until it listens.
    pub(crate) async fn again(&self) -> Result<()> {
        self.script(&["again"]).await.map(drop)
    }

    /// The version of RabbitMQ.
    pub(crate) async fn version(&self) -> Result<String> {
        let said = self.script(&["ctl", "-q", "version"]).await?;
        Ok(said.trim().to_owned())
    }

    /// The name, messages and bytes of every queue, as of at most five seconds ago.
    pub(crate) async fn queues(&self) -> Result<Vec<(String, u64, u64)>> {
        let said = self.script(&["ctl", "-q", "eval", QUEUES]).await?;
        let lines = said.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines
            .filter_map(|words| match words[..] {
                [name, messages, bytes] => Some((name, messages, bytes)),
                _ => None,
            })
            .map(|(name, messages, bytes)| Ok((name.to_owned(), messages.parse()?, bytes.parse()?)))
            .collect()
    }

    async fn script(&self, arguments: &[&str]) -> Result<String> {
        said(arguments, self.command(arguments).output().await?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command
            .args(arguments)
            .env("AUTOCONNECT_TEST_NODE_DIR", &self.folder);
        command
    }
}

/// The output of a command; an error if the command failed.
fn said(arguments: &[&str], output: Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "rabbitmq-node {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Node {
    fn drop(&mut self) {
        // if this fails, the script still stops the node at the end of this process
        let _stopped = self.command(&["stop"]).into_std().status();
    }
}
