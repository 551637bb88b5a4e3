//! The RabbitMQ node of the tests, if there is one: `scripts/rabbitmq-node with` starts it and sets these variables. A test
//! that breaks its node starts one of its own, an [`OwnNode`], with the same script.
//!
//! | variable | meaning |
//! |---|---|
//! | `AUTOCONNECT_TEST_AMQP` | the node's URI |
//! | `AUTOCONNECT_TEST_RABBITMQCTL` | a command that runs `rabbitmqctl` against it |
//! | `AUTOCONNECT_TEST_AMQPS`, `AUTOCONNECT_TEST_CA` | its URI with TLS, and the file of its certificate authority |
//! | `AUTOCONNECT_TEST_NODE_VERSION` | `4`: a test's own node is RabbitMQ 4 |
//! | `AUTOCONNECT_TEST_SEEDS` | how many seeds a test of faults runs with |
//! | `AUTOCONNECT_TEST_FIGURES` | `1`: a test of faults fails if a recovery takes longer than the table allows |
//! | `AUTOCONNECT_TEST_REQUIRE_BROKER` | `1`: a test without a node fails; otherwise it reports that it does not run, and passes |

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use tempfile::TempDir;

use crate::broker::{Features, Home};
use crate::jobs;
use crate::missing::not_run_unless;
use crate::program::signal;

/// The value of a variable that `test` needs; without it, reports that the test does not run, and returns `None`.
///
/// # Panics
/// Where `AUTOCONNECT_TEST_REQUIRE_BROKER` is `1` and the variable is not set.
pub fn needed(variable: &str, test: &str) -> Option<String> {
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let why = format!("needs a broker: set {variable} (make test starts one)");
    not_run_unless("AUTOCONNECT_TEST_REQUIRE_BROKER", test, &why);
    None
}

/// The exchanges and queues of one test on the node, under a prefix of its own.
pub struct OnNode {
    /// The options of a connection to them.
    pub options: Options,
}

impl OnNode {
    /// Queues for `test`, if there is a node.
    pub fn of(test: &str) -> Option<Self> {
        needed("AUTOCONNECT_TEST_AMQP", test).map(|uri| Self::at(uri, test))
    }

    /// Queues for `test` on the node at `uri`.
    pub fn at(uri: String, test: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self {
            options: Options {
                uris: vec![uri],
                ca: None,
                name: test.to_owned(),
                declare: true,
                formats: jobs::newer_registry().formats(),
                passing: false,
                prefix: format!("t{}-{count}.", std::process::id()),
                ..Options::default()
            },
        }
    }

    /// The name of an exchange or queue of this test on the node.
    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.options.prefix)
    }
}

impl Home for OnNode {
    type Broker = RabbitMq;

    async fn connect(&self) -> Result<RabbitMq> {
        Ok(RabbitMq::connect(self.options.clone())?)
    }

    fn features(&self) -> Features {
        Features {
            independent_connections: true,
            jobs_bytes: 64 << 20,
        }
    }
}

impl Drop for OnNode {
    /// Deletes the queues, but only in runs with many seeds, whose thousands of queues would slow the node down. Otherwise
    /// they end with the node.
    fn drop(&mut self) {
        let many = std::env::var_os("AUTOCONNECT_TEST_SEEDS").is_some();
        let ctl = std::env::var_os("AUTOCONNECT_TEST_RABBITMQCTL").filter(|_| many);
        if let Some(path) = ctl {
            let prefix = &self.options.prefix;
            let ours = format!(
                "[rabbit_amqqueue:delete(Q, false, false, <<\"test\">>) || Q <- rabbit_amqqueue:list(), \
                 string:prefix(element(4, element(2, Q)), <<\"{prefix}\">>) =/= nomatch]."
            );
            let _only_tidies_up = Ctl(path.into()).run(&["eval", &ours]);
        }
    }
}

/// `rabbitmqctl` against the node.
pub struct Ctl(PathBuf);

impl Ctl {
    /// `rabbitmqctl`, if there is a node that it can control.
    pub fn of(test: &str) -> Option<Self> {
        needed("AUTOCONNECT_TEST_RABBITMQCTL", test).map(|path| Self(path.into()))
    }

    /// Runs it, and returns its output.
    ///
    /// # Errors
    /// If it fails, with its output.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.0);
        command.args(arguments);
        said(command)
    }
}

/// Runs a command, and returns its output.
fn said(mut command: Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let wrote = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}: {wrote}{failed}",
        output.status
    );
    Ok(wrote)
}

/// A node of one test, which may break it. Dropping this value stops it, and so does the end of the test's process.
pub struct OwnNode {
    folder: TempDir,
    uri: String,
}

impl OwnNode {
    /// Starts a node, if RabbitMQ is available. With the folder `tls` it also listens for `amqps://`, with the certificates in
    /// that folder.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn of(test: &str, tls: Option<&Path>) -> Result<Option<Self>> {
        Self::started(test, |start| {
            if let Some(folder) = tls {
                start.env("AUTOCONNECT_TEST_NODE_TLS", folder);
            }
        })
    }

    /// As [`OwnNode::of`], with more lines of `rabbitmq.conf`.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn with_conf(test: &str, conf: &str) -> Result<Option<Self>> {
        Self::started(test, |start| {
            start.env("AUTOCONNECT_TEST_NODE_CONF", conf);
        })
    }

    /// As [`OwnNode::of`], with these plugins; `rabbitmq_management` listens on [`OwnNode::management_port`].
    ///
    /// # Errors
    /// Where it does not start.
    pub fn with_plugins(test: &str, plugins: &str) -> Result<Option<Self>> {
        Self::started(test, |start| {
            start.env("AUTOCONNECT_TEST_NODE_PLUGINS", plugins);
        })
    }

    fn started(test: &str, tell: impl FnOnce(&mut Command)) -> Result<Option<Self>> {
        if needed("AUTOCONNECT_TEST_AMQP", test).is_none() {
            return Ok(None);
        }
        let mut node = Self {
            folder: tempfile::tempdir()?,
            uri: String::new(),
        };
        let mut start = node.script();
        tell(&mut start);
        start.args(["start", &std::process::id().to_string()]);
        said(start)?;
        node.uri = node.read("uri")?;
        Ok(Some(node))
    }

    /// Its URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The port on which it listens for `amqps://`.
    ///
    /// # Errors
    /// Where it does not.
    pub fn tls_port(&self) -> Result<u16> {
        Ok(self.read("tls_port")?.parse()?)
    }

    /// The port of its management API.
    ///
    /// # Errors
    /// Where it has none.
    pub fn management_port(&self) -> Result<u16> {
        Ok(self.read("management_port")?.parse()?)
    }

    /// `rabbitmqctl` against it.
    pub fn ctl(&self) -> Ctl {
        Ctl(self.file("ctl"))
    }

    /// Sets the consumer timeout of the node. From RabbitMQ 3.12 on a queue may have its own, as the queues of a cluster do, so
    /// a policy also sets it for the queues whose names match `queues`: the shorter one counts.
    ///
    /// # Errors
    /// If the node refuses it.
    pub fn set_consumer_timeout(&self, queues: &str, milliseconds: u32) -> Result<()> {
        let ctl = self.ctl();
        for (name, milliseconds) in [
            ("consumer_timeout", milliseconds),
            ("channel_tick_interval", 500),
        ] {
            let set = format!("application:set_env(rabbit, {name}, {milliseconds}).");
            ctl.run(&["eval", &set])?;
        }
        let version = ctl.run(&["version"])?;
        let mut numbers = version.trim().split('.').map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            bail!("no version: {version}");
        };
        if (major, minor) >= (3_u32, 12_u32) {
            let timeout = format!(r#"{{"consumer-timeout":{milliseconds}}}"#);
            let set = ["set_policy", "--apply-to", "queues", "timeout"];
            ctl.run(&[&set[..], &[queues, &timeout]].concat())?;
        }
        Ok(())
    }

    /// Sends a signal to the node's process: `KILL`, `TERM`, `STOP` or `CONT`.
    ///
    /// # Errors
    /// If there is no process.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(self.read("server.pid")?.parse()?, name)
    }

    /// Waits until the node's process has ended, and starts it again on the same data and port.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn again(&self) -> Result<()> {
        let process = PathBuf::from("/proc").join(self.read("server.pid")?);
        let runs = || {
            let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
            // after the name, which is in brackets; an ended process that was not waited for is a zombie
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            state.is_some_and(|state| !state.starts_with('Z'))
        };
        while runs() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut again = self.script();
        again.arg("again");
        said(again).map(drop)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("node").join(name)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.file(name);
        let text = std::fs::read_to_string(&path);
        Ok(text
            .with_context(|| path.display().to_string())?
            .trim()
            .to_owned())
    }

    fn script(&self) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
        let mut command = Command::new(scripts.join("rabbitmq-node"));
        command.env("AUTOCONNECT_TEST_NODE_DIR", self.folder.path().join("node"));
        command
    }
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        let _ends_with_us_at_the_latest = self.script().arg("stop").status();
    }
}
