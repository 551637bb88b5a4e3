//! A private RabbitMQ node by `scripts/rabbitmq-node`: killed, stopped, restarted with its data.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::process::{is_alive, signal};

/// How long a node may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// What it keeps of its queues, as Erlang terms: name, messages, bytes; counted by itself every five seconds.
const QUEUES: &str = "[io:format(\"~s ~b ~b~n\", [N, proplists:get_value(messages, I, 0), \
     proplists:get_value(message_bytes, I, 0)]) || {{resource, _, queue, N}, I, _} <- ets:tab2list(queue_metrics)], ok.";

/// The node; stopped with this value, its data removed.
pub(crate) struct Node {
    folder: PathBuf,
    script: PathBuf,
    /// Where it listens.
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
        // it ends with us, also where we are killed
        let us = std::process::id().to_string();
        node.script(&["start", &us]).await?;
        node.uri = node.script(&["uri"]).await?.trim().to_owned();
        Ok(node)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        let file = self.folder.join("server.pid");
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        text.trim()
            .parse()
            .with_context(|| format!("{}: {text:?}", file.display()))
    }

    /// Ends it by a signal, `KILL` or `TERM`, and waits until it is gone.
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

    /// Starts it again, and waits until it listens.
    pub(crate) async fn again(&self) -> Result<()> {
        self.script(&["again"]).await.map(drop)
    }

    /// Its version.
    pub(crate) async fn version(&self) -> Result<String> {
        let said = self.script(&["ctl", "-q", "version"]).await?;
        Ok(said.trim().to_owned())
    }

    /// Every queue: its name, how many messages it holds, and their bytes, as it counted them at most five seconds ago.
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

/// What a command wrote, where it did what it was asked.
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
        // where this fails, the script that watches this process stops the node
        let _stopped = self.command(&["stop"]).into_std().status();
    }
}
