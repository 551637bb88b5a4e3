//! A RabbitMQ node for tests, where there is one: `scripts/rabbitmq-node with` starts it and says so in the environment.
//!
//! | variable | what it says |
//! |---|---|
//! | `AUTOCONNECT_TEST_AMQP` | the node's URI |
//! | `AUTOCONNECT_TEST_RABBITMQCTL` | a command that runs `rabbitmqctl` against it |
//! | `AUTOCONNECT_TEST_AMQPS`, `AUTOCONNECT_TEST_CA` | its URI with TLS, and the file of its certificate authority |
//! | `AUTOCONNECT_TEST_REQUIRE_BROKER` | `1`: a test that finds no node fails, where it would say so and pass |

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};

use crate::broker::{Features, Home};

/// What a test needs of the environment, or word that it does not run, on the standard error of the test program,
/// past the harness that would swallow it.
///
/// # Panics
/// Where `AUTOCONNECT_TEST_REQUIRE_BROKER` is `1` and the variable is not set.
pub fn needed(variable: &str, test: &str) -> Option<String> {
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let why = format!("{test}: needs a broker: set {variable} (make test starts one)");
    let required = std::env::var("AUTOCONNECT_TEST_REQUIRE_BROKER").is_ok_and(|value| value == "1");
    assert!(!required, "{why}");
    // Nobody is left to tell where standard error is gone.
    let _told = writeln!(std::io::stderr(), "NOT RUN  {why}");
    None
}

/// Exchanges and queues of one test's own on the node, told apart by a prefix.
pub struct OnNode {
    /// How to connect to them.
    pub options: Options,
}

impl OnNode {
    /// Queues of `test`'s own, where there is a node.
    pub fn of(test: &str) -> Option<Self> {
        needed("AUTOCONNECT_TEST_AMQP", test).map(|uri| Self::at(uri, test))
    }

    /// Queues of `test`'s own on the node at `uri`.
    pub fn at(uri: String, test: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self {
            options: Options {
                uris: vec![uri],
                ca: None,
                name: test.to_owned(),
                declare: true,
                prefix: format!("t{}-{count}.", std::process::id()),
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

/// `rabbitmqctl` against the node.
pub struct Ctl(PathBuf);

impl Ctl {
    /// Where there is a node of our own.
    pub fn of(test: &str) -> Option<Self> {
        needed("AUTOCONNECT_TEST_RABBITMQCTL", test).map(|path| Self(path.into()))
    }

    /// Runs it; what it wrote.
    ///
    /// # Errors
    /// Where it fails, with what it wrote.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.0)
            .args(arguments)
            .output()
            .with_context(|| format!("starting {}", self.0.display()))?;
        let wrote = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {wrote}{failed}"
        );
        Ok(wrote)
    }
}
