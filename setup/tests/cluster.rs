//! The secrets of a cluster, tried on a RabbitMQ node that has no other users: every role does its part over TLS, and
//! is refused anything else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use autoconnect_common::Broker as _;
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{BrokerError, Queue};
use autoconnect_common::message::{Exchange, JobRequest, Status};
use autoconnect_jobs::sales::Sales;
use autoconnect_jobs::sales::request::Margin;
use autoconnect_jobs::sales::settings::{Limit, Sales as Usual};
use autoconnect_producer::name_job;
use autoconnect_testkit::broker::{message, sales, soon};
use autoconnect_testkit::cluster::finished;
use autoconnect_testkit::node::needed;
use autoconnect_testkit::program::{self, Running, refuses};

/// A node with the users of a cluster's secrets, gone with this value.
struct Node {
    folder: tempfile::TempDir,
    port: String,
}

impl Node {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        secrets(folder.path(), "5671")?;
        let mut node = Self {
            folder,
            port: String::new(),
        };
        let broker = node.path("broker");
        let mut start = node.script("start");
        start.arg(std::process::id().to_string());
        start.env("AUTOCONNECT_TEST_NODE_TLS", &broker);
        start.env(
            "AUTOCONNECT_TEST_NODE_USERS",
            broker.join("definitions.json"),
        );
        succeeds(start)?;
        node.port = std::fs::read_to_string(node.path("node/tls_port"))?
            .trim()
            .to_owned();
        // what is there is kept, so the users are those that the node knows
        secrets(node.folder.path(), &node.port)?;
        Ok(node)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, word: &str) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
        let mut script = Command::new(scripts.join("rabbitmq-node"));
        script
            .arg(word)
            .env("AUTOCONNECT_TEST_NODE_DIR", self.path("node"));
        script
    }

    /// Returns once the running `role` says that it is well.
    async fn becomes_well(&self, role: &str) -> Result<()> {
        let mut look = self.program(role, role);
        look.arg("--health");
        while !look.output()?.status.success() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// How `user` connects.
    fn options(&self, user: &str) -> Result<Options> {
        let uri = std::fs::read_to_string(self.path(user).join("uri"))?;
        Ok(Options {
            uris: vec![uri],
            ca: Some(self.path(user).join("ca.pem")),
            name: user.to_owned(),
            declare: false,
            formats: Vec::new(),
            passing: false,
            prefix: String::new(),
            ..Options::default()
        })
    }

    fn connect(&self, user: &str) -> Result<RabbitMq> {
        Ok(RabbitMq::connect(self.options(user)?)?)
    }

    /// One of the programs, built beside `setup`, with the secrets of `user`.
    fn program(&self, name: &str, user: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_setup")).with_file_name(name);
        let mut command = program::command(program, self.folder.path());
        command
            .env("AUTOCONNECT_BROKER__URI_FILE", self.path(user).join("uri"))
            .env("AUTOCONNECT_BROKER__CA", self.path(user).join("ca.pem"))
            .env("AUTOCONNECT_BROKER__DECLARE", "false")
            .env(
                "AUTOCONNECT_HEALTH__FILE",
                self.path(&format!("{name}.health")),
            );
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _it_ends_with_this_process = self.script("stop").status();
    }
}

fn succeeds(mut command: Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let wrote = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}: {wrote}",
        output.status
    );
    Ok(())
}

fn secrets(folder: &Path, port: &str) -> Result<()> {
    let mut setup = program::command(env!("CARGO_BIN_EXE_setup"), folder);
    setup
        .arg("secrets")
        .arg(folder)
        .args(["--host", "localhost", "--port", port]);
    succeeds(setup)
}

fn request() -> Result<JobRequest> {
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/transactions_autoconnect.csv");
    let usual = Usual {
        chunk_rows: 500,
        max_rejects: Limit::default().0,
        margin: Margin::default(),
        periode: None,
    };
    let request = usual.request(vec![shipped.canonicalize()?], "2025-06-30".parse()?);
    Ok(name_job::<Sales>(
        &autoconnect_jobs::registry(),
        &request,
        None,
    )?)
}

/// What refuses a message or a subscription for good.
fn refusal<T>(tried: Result<T, BrokerError>) -> Result<String> {
    match tried {
        Err(BrokerError::Refused(why)) => Ok(why),
        Err(error) => anyhow::bail!("not refused for good: {error}"),
        Ok(_) => anyhow::bail!("not refused"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_does_its_part_and_nothing_else() -> Result<()> {
    let test = "every_role_does_its_part_and_nothing_else";
    if needed("AUTOCONNECT_TEST_AMQP", test).is_none() {
        return Ok(());
    }
    let node = Node::start()?;
    // roles that may not declare wait for the queues
    let mut roles = Vec::new();
    for (role, says) in [
        ("producer", "producer started"),
        ("worker", "worker started"),
        ("reducer", "reducer started"),
        ("api", "serving"),
    ] {
        let mut program = node.program(role, role);
        program.env("AUTOCONNECT_API__BIND", "127.0.0.1:0");
        roles.push(Running::start(program, says)?);
    }
    let mut topology = node.program("setup", "topology");
    topology.arg("topology");
    succeeds(topology)?;

    // the operator requests a job and receives its end
    let operator = node.connect("operator")?;
    let job = request()?;
    let mut events = operator
        .subscribe(Queue::Events(job.job.clone()), 64)
        .await?;
    soon("the request taken", operator.publish(job.to_message()?)).await??;
    let end = finished(&mut events, &job.job).await?;
    ensure!(end.status == Status::Done, "{end:?}");
    ensure!(node.path("results/report.json").exists(), "no report");
    for role in ["producer", "worker", "reducer", "api"] {
        soon(role, node.becomes_well(role)).await??;
    }
    operator.close().await;

    // an unknown user is refused, and so is a broker with another certificate; a program retries for a while, so all run
    // side by side
    let mut strangers = Vec::new();
    for (name, uri, ca, said) in [
        (
            "guest",
            format!("amqps://guest:guest@localhost:{}/autoconnect", node.port),
            "worker/ca.pem",
            "wrong user or password",
        ),
        (
            "vhost",
            node.options("worker")?.uris[0].replace("/autoconnect", "/elsewhere"),
            "worker/ca.pem",
            "no such virtual host",
        ),
        (
            "ca",
            node.options("worker")?.uris[0].clone(),
            "broker/other.pem",
            "no secure connection",
        ),
    ] {
        if name == "ca" {
            let other = tempfile::tempdir()?;
            secrets(other.path(), "5671")?;
            std::fs::copy(other.path().join("broker/ca.pem"), node.path(ca))?;
        }
        let mut worker = node.program("worker", "worker");
        worker.env_remove("AUTOCONNECT_BROKER__URI_FILE");
        worker.env("AUTOCONNECT_BROKER__URI", uri);
        worker.env("AUTOCONNECT_BROKER__CA", node.path(ca));
        worker.env("AUTOCONNECT_LOG__FILTER", "off");
        strangers.push(std::thread::spawn(move || {
            refuses(worker, 1, said).context(name)
        }));
    }

    // so is what is not a role's part
    let worker = node.connect("worker")?;
    let taker = node.connect("worker")?;
    let producer = RabbitMq::connect(Options {
        declare: true,
        ..node.options("producer")?
    })?;
    let chunk = message(Exchange::Chunks, sales().key("lyon"), "a/0.0", "");
    let (published, taken, declared) = tokio::join!(
        worker.publish(chunk),
        taker.subscribe(Queue::Results(sales()), 1),
        producer.reach(),
    );
    let why = refusal(published)?;
    ensure!(why.contains("x.chunks"), "{why}");
    let why = refusal(taken)?;
    ensure!(why.contains("q.results"), "{why}");
    let why = refusal(declared)?;
    ensure!(why.contains("refuse"), "{why}");

    for stranger in strangers {
        let refused = stranger.join();
        refused.map_err(|_| anyhow::anyhow!("the test of a stranger panicked"))??;
    }
    for mut role in roles {
        let status = role.stop()?;
        ensure!(status.code() == Some(0), "told to stop: {status}");
    }

    // any user may list the queues, and only the one that declares them may remove them
    let queues = |user: &str, arguments: &[&str]| {
        let mut autoconnect = node.program("autoconnect", user);
        autoconnect.arg("queues").args(arguments);
        autoconnect
    };
    succeeds(queues("worker", &["list"]))?;
    let remove = ["remove", "--force"];
    refuses(queues("operator", &remove), 2, "ACCESS_REFUSED")?;
    let listed = queues("operator", &["list"]).output()?.stdout;
    let listed = String::from_utf8(listed)?;
    ensure!(
        listed.lines().count() == 16,
        "a title and 15 lines: {listed}"
    );
    succeeds(queues("topology", &remove))?;
    let listed = queues("operator", &["list"]).output()?.stdout;
    ensure!(listed == b"no exchange or queue is here without a prefix\n");
    Ok(())
}
