//! An operator's first aid, as it is typed: dead chunks, jobs, and jobs for the cluster to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::rabbitmq::RabbitMq;
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::{Manifest, Message, bury};
use autoconnect_common::seal::{Prefix, Seal};
use autoconnect_common::{Chunk, JobKind as _, Seq};
use autoconnect_generate::{Options, generate};
use autoconnect_jobs::sales::Sales;
use autoconnect_jobs::sales::chunk::{Encoder, Label, Ligne};
use autoconnect_jobs::sales::columns::NO_AMOUNTS;
use autoconnect_testkit::broker::{next, nothing, queue, soon};
use autoconnect_testkit::node::{Ctl, OnNode};
use autoconnect_testkit::program::{self, Running, refuses};
use serde_json::{Value, json};

const TODAY: &str = "2025-06-30";

/// The queues of one test, and a folder to type in.
struct Site {
    node: OnNode,
    folder: tempfile::TempDir,
    broker: RabbitMq,
}

impl Site {
    /// A site whose queues exist, where there is a node. Call it inside a Tokio runtime.
    async fn of(test: &str) -> Result<Option<Self>> {
        let Some(node) = OnNode::of(test) else {
            return Ok(None);
        };
        let broker = RabbitMq::connect(node.options.clone())?;
        soon("the queues", broker.waiting(Queue::Control)).await??;
        Ok(Some(Self {
            node,
            folder: tempfile::tempdir()?,
            broker,
        }))
    }

    /// `program`, which finds this site's queues and declares none.
    fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = program::command(program.as_ref(), self.folder.path());
        command
            .env("AUTOCONNECT_BROKER__URI", &self.node.options.uris[0])
            .env("AUTOCONNECT_BROKER__PREFIX", &self.node.options.prefix)
            .env("AUTOCONNECT_BROKER__DECLARE", "false");
        command
    }

    /// `autoconnect`, with these arguments.
    fn autoconnect(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_autoconnect"));
        command.args(arguments);
        command
    }

    /// What `autoconnect` prints, given these arguments; it must end well.
    fn says(&self, arguments: &[&str]) -> Result<String> {
        let output = self.autoconnect(arguments).output()?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, as JSON.
    fn tells(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.says(arguments)?)?)
    }

    /// One of the programs that play a role; they are built beside this one.
    fn role(&self, name: &str) -> Result<Command> {
        let beside = Path::new(env!("CARGO_BIN_EXE_autoconnect")).with_file_name(name);
        ensure!(
            beside.exists(),
            "{} is missing: build it with `cargo build -p autoconnect-{name}`",
            beside.display()
        );
        Ok(self.program(beside))
    }

    /// Starts it.
    fn start(&self, name: &str) -> Result<Running> {
        Running::start(self.role(name)?, &format!("{name} started"))
    }

    async fn send(&self, messages: impl IntoIterator<Item = Message>) -> Result<()> {
        for message in messages {
            soon("a message taken", self.broker.publish(message)).await??;
        }
        Ok(())
    }

    /// Waits until that many messages wait in a queue.
    async fn waits(&self, queue: Queue, expected: u64) -> Result<()> {
        let counted = async {
            while self.broker.waiting(queue.clone()).await? != expected {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        soon("the messages to wait in their queue", counted).await?
    }

    /// A clean file of transactions.
    fn file(&self, name: &str, rows: u64) -> Result<PathBuf> {
        let file = self.folder.path().join(name);
        let options = Options {
            rows,
            cities: 3,
            dirty: 0.0,
            seed: 3,
            truth: false,
        };
        generate(&options, &file)?;
        Ok(file)
    }
}

fn refused(output: Output, code: i32) -> Result<(String, String)> {
    ensure!(output.status.code() == Some(code), "{output:?}");
    Ok((
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    ))
}

/// A chunk as a producer of `sales` cuts it: one rental.
fn rental(job: &str) -> Result<Chunk> {
    let ligne = Ligne {
        jour: 19_753,
        prix: 45_050,
        amounts: NO_AMOUNTS,
        modele: 0,
        duree: 12,
    };
    let seq = Seq::first_part(0);
    let label = Label {
        job,
        seq,
        ville: "lyon",
    };
    let body = Encoder::default().encode(&label, &[ligne], &["Clio".into()])?;
    Ok(Chunk {
        body: body.into(),
        rows: 1,
        ..chunk(job, 0)?
    })
}

/// A chunk of a job, with lines that no worker of `sales` can read.
fn chunk(job: &str, number: u32) -> Result<Chunk> {
    Ok(Chunk {
        job: job.parse()?,
        kind: Sales::NAME.to_owned(),
        schema: Sales::SCHEMA,
        seq: Seq::first_part(number),
        key: "lyon".to_owned(),
        rows: 3,
        body: format!("rows of {job}/{number}").into(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_chunks_are_listed_shown_dropped_and_given_back() -> Result<()> {
    let Some(site) = Site::of("dead_chunks_are_listed_shown_dropped_and_given_back").await? else {
        return Ok(());
    };
    ensure!(site.says(&["dead", "list"])? == "there are no dead messages\n");
    ensure!(site.tells(&["dead", "list", "--json"])? == json!([]));
    let mut messages = Vec::new();
    for chunk in [chunk("a-1", 0)?, chunk("a-1", 1)?, rental("b-2")?] {
        messages.push(bury(chunk.to_message(), "boom \u{1b}[2J"));
    }
    let mut result = messages[0].clone();
    result.kind = "partial".to_owned();
    result.id = "a-1/0.7/partial".to_owned();
    result.key = "results".to_owned();
    messages.push(result);
    site.send(messages.clone()).await?;

    // twice: looking changes nothing
    for _ in 0..2 {
        site.waits(Queue::DeadChunks, 3).await?;
        site.waits(Queue::DeadResults, 1).await?;
        let told = site.tells(&["dead", "list", "--json"])?;
        let told = told.as_array().context("a list")?;
        // what was given back may stand elsewhere
        let expected = json!({
            "id": "a-1/0.1", "queue": "q.chunks.dead", "type": "chunk", "job": "a-1", "chunk": "0.1",
            "kind": "sales", "key": "lyon", "rows": 3, "bytes": 13, "reason": "boom \u{1b}[2J",
        });
        ensure!(told.contains(&expected), "{told:?}");
        ensure!(told.len() == 4, "{told:?}");
        ensure!(told[3]["type"] == "partial" && told[3]["queue"] == "q.results.dead");
    }
    site.waits(Queue::DeadChunks, 3).await?;
    site.waits(Queue::DeadResults, 1).await?;
    let said = site.says(&["dead", "list"])?;
    ensure!(
        said.lines().count() == 5 && said.contains("boom \\u{1b}[2J") && !said.contains('\u{1b}'),
        "{said}"
    );

    site.waits(Queue::DeadChunks, 3).await?;
    let said = site.says(&["dead", "show", "a-1/0.1"])?;
    for line in [
        "id: a-1/0.1",
        "key: lyon",
        "reason: boom \\u{1b}[2J",
        "its rows cannot be read",
    ] {
        ensure!(said.contains(line), "{line}: {said}");
    }
    site.waits(Queue::DeadChunks, 3).await?;
    site.says(&["dead", "show", "a-1/0.1", "--save", "body"])?;
    ensure!(fs::read(site.folder.path().join("body"))? == b"rows of a-1/1");
    site.waits(Queue::DeadChunks, 3).await?;
    let said = site.says(&["dead", "show", "b-2/0.0"])?;
    let rows = "\ndate,type,modele,prix,duree_location_mois\n2024-01-31,location,Clio,450.5,12\n";
    ensure!(said.ends_with(rows), "{said}");
    refuses(
        site.autoconnect(&["dead", "show", "nothing"]),
        1,
        "nothing: no such dead message",
    )?;

    refuses(site.autoconnect(&["dead", "drop"]), 2, "--all")?;
    refuses(site.autoconnect(&["dead"]), 2, "requires a subcommand")?;
    site.waits(Queue::DeadChunks, 3).await?;
    let said = site.says(&["dead", "drop", "b-2/0.0"])?;
    ensure!(said == "dropped 1 dead message\n", "{said}");
    site.waits(Queue::DeadChunks, 2).await?;
    let said = site.says(&["dead", "drop", "--job", "b-2"])?;
    ensure!(said == "dropped 0 dead messages\n", "{said}");
    site.waits(Queue::DeadChunks, 2).await?;
    let output = site
        .autoconnect(&["dead", "drop", "a-1/0.0", "a-1/0.9"])
        .output()?;
    let (out, err) = refused(output, 1)?;
    ensure!(
        out == "dropped 1 dead message\n" && err == "error: a-1/0.9: no such dead message\n",
        "{out}{err}"
    );
    site.waits(Queue::DeadChunks, 1).await?;
    site.waits(Queue::DeadResults, 1).await?;
    let said = site.says(&["dead", "drop", "--all"])?;
    ensure!(said == "dropped 2 dead messages\n", "{said}");
    ensure!(site.says(&["dead", "list"])? == "there are no dead messages\n");
    site.broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_chunk_is_requeued_while_its_job_still_waits_for_it() -> Result<()> {
    let Some(site) = Site::of("a_dead_chunk_is_requeued_while_its_job_still_waits_for_it").await?
    else {
        return Ok(());
    };
    let sent: Vec<Message> = [chunk("open-1", 0)?, chunk("ended-1", 0)?]
        .iter()
        .map(Chunk::to_message)
        .collect();
    site.send(sent.iter().map(|chunk| bury(chunk.clone(), "boom")))
        .await?;
    site.waits(Queue::DeadChunks, 2).await?;
    let requeue = ["dead", "requeue", "--all"];
    refuses(
        site.autoconnect(&requeue),
        1,
        "the reducer did not answer within 5 seconds",
    )?;
    let reducer = site.start("reducer")?;
    site.says(&["jobs", "cancel", "ended-1"])?;
    site.waits(Queue::DeadChunks, 2).await?;
    let (out, err) = refused(site.autoconnect(&requeue).output()?, 1)?;
    ensure!(out == "requeued 1 dead message\n", "{out}");
    ensure!(
        err == "error: job ended-1 has ended, its report does not change: run it again, or add --even-if-ended\n",
        "{err}"
    );
    site.waits(Queue::DeadChunks, 1).await?;
    let said = site.says(&["dead", "requeue", "--job", "ended-1", "--even-if-ended"])?;
    ensure!(said == "requeued 1 dead message\n", "{said}");
    let mut chunks = site
        .broker
        .subscribe(Queue::Chunks(chunk("open-1", 0)?.format()), 2)
        .await?;
    for mut expected in sent {
        expected
            .headers
            .insert("revived".to_owned(), "1".to_owned());
        let alive = next(&mut chunks).await?;
        ensure!(alive.message == expected, "{:?}", alive.message);
        alive.ack();
    }
    nothing(&mut chunks).await?;
    site.waits(Queue::DeadChunks, 0).await?;
    drop(reducer);
    site.broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_asked_about_and_cancelled() -> Result<()> {
    let Some(site) = Site::of("jobs_are_listed_asked_about_and_cancelled").await? else {
        return Ok(());
    };
    refuses(
        site.autoconnect(&["jobs", "list"]),
        1,
        "the reducer did not answer within 5 seconds",
    )?;
    let reducer = site.start("reducer")?;
    ensure!(site.says(&["jobs", "list"])? == "the reducer knows no jobs\n");
    refuses(
        site.autoconnect(&["jobs", "status", "sales-1"]),
        1,
        "job sales-1: the reducer does not know it",
    )?;
    refuses(site.autoconnect(&["jobs", "status", "../a"]), 2, "job id")?;
    let sealed = (0..3).map(|n| Ok(Prefix::of(&chunk("sales-1", n)?.body.digest())));
    let sealed = sealed.collect::<Result<Vec<_>>>()?;
    let manifest = Manifest {
        job: "sales-1".parse()?,
        kind: Sales::NAME.to_owned(),
        schema: Sales::SCHEMA,
        chunks: vec![3],
        annexes: Default::default(),
        seal: Some(Seal::of(&sealed).0),
        facts: Some(serde_json::value::to_raw_value(&json!({}))?),
        refusal: None,
        cut_ms: 1,
        accept: Default::default(),
    };
    site.send([
        bury(chunk("sales-1", 1)?.to_message(), "boom"),
        manifest.to_message()?,
    ])
    .await?;
    let said = site.says(&["jobs", "status", "sales-1"])?;
    ensure!(
        said.starts_with("sales-1: open: 1 of 3 chunks, 0 rows, last message "),
        "{said}"
    );
    let told = site.tells(&["jobs", "status", "sales-1", "--json"])?;
    ensure!(
        told["stage"] == "open" && told["done"] == 1 && told["total"] == 3,
        "{told}"
    );
    let said = site.says(&["jobs", "cancel", "sales-1", "--reason", "a\u{1b}b"])?;
    ensure!(said == "job sales-1 is cancelled\n", "{said}");
    refuses(
        site.autoconnect(&["jobs", "cancel", "sales-2"]),
        1,
        "job sales-2: no such job is known",
    )?;
    // once more is the same
    ensure!(site.says(&["jobs", "cancel", "sales-1"])? == "job sales-1 is cancelled\n");
    let told = site.tells(&["jobs", "list", "--json"])?;
    let jobs = told["jobs"].as_array().context("jobs")?;
    ensure!(
        jobs.len() == 2
            && jobs
                .iter()
                .all(|job| job["stage"] == "ended" && job["status"] == "cancelled"),
        "{told}"
    );
    let said = site.says(&["jobs", "list"])?;
    ensure!(
        said.contains("cancelled: a\\u{1b}b") && said.contains("cancelled: by the operator"),
        "{said}"
    );
    drop(reducer);
    site.broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_job_gives_the_bytes_of_one_process() -> Result<()> {
    let Some(site) = Site::of("a_submitted_job_gives_the_bytes_of_one_process").await? else {
        return Ok(());
    };
    let folder = site.folder.path();
    let data = folder.join("data");
    fs::create_dir(&data)?;
    let file = site.file("data/ventes.csv", 2_000)?;
    let file = file.to_str().context("UTF-8")?;
    let mut alone = program::command(env!("CARGO_BIN_EXE_autoconnect"), folder);
    alone.args(["run", file, "--out", "one", "--quiet", "--today", TODAY]);
    ensure!(alone.status()?.success());

    let mut producer = site.role("producer")?;
    producer.env("AUTOCONNECT_PRODUCER__DATA", &data);
    let roles = [
        Running::start(producer, "producer started")?,
        site.start("worker")?,
        site.start("reducer")?,
    ];
    let told = site.tells(&["submit", file, "--today", TODAY, "--json"])?;
    ensure!(
        told["status"] == "done" && told["rows"]["lignes"] == 2_000,
        "{told}"
    );
    let report = |folder: &Path| fs::read(folder.join("report.json"));
    let own = folder.join("results/jobs");
    let job = told["job"].as_str().context("a job")?;
    ensure!(report(&own.join(job))? == report(&folder.join("one"))?);
    let said = site.says(&["submit", file, "--today", TODAY])?;
    ensure!(said.contains("CA total"), "{said}");

    // the producer reads from its data folder only, and says nothing of what is elsewhere
    let outside = site.file("secret.csv", 10)?;
    let outside = outside.to_str().context("UTF-8")?;
    for outside in [outside, "/etc/shadow", "/no/such/file"] {
        refuses(
            site.autoconnect(&["submit", outside]),
            1,
            &format!(
                "input {outside:?}: expected a file or folder inside the producer's data folder"
            ),
        )?;
    }
    refuses(site.autoconnect(&["submit", "-"]), 2, "standard input")?;

    let said = site.says(&["submit", "--no-wait", file])?;
    let job = said.trim_end();
    ensure!(
        job.starts_with("sales-") && said.lines().count() == 1,
        "{said}"
    );
    let ended = async {
        while !own.join(job).join("report.json").exists() {
            tokio::task::yield_now().await;
        }
    };
    soon("the job nobody waits for", ended).await?;

    for role in roles {
        drop(role);
    }
    site.broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_the_settings_runs_again_after_its_results_were_removed() -> Result<()> {
    let test = "a_request_of_the_settings_runs_again_after_its_results_were_removed";
    let Some(site) = Site::of(test).await? else {
        return Ok(());
    };
    let folder = site.folder.path();
    site.file("ventes.csv", 500)?;
    let results = folder.join("results");
    let mut reports = Vec::new();
    for _ in 0..2 {
        let mut producer = site.role("producer")?;
        producer.env("AUTOCONNECT_PRODUCER__INPUT", "ventes.csv");
        let roles = [
            site.start("reducer")?,
            site.start("worker")?,
            Running::start(producer, "producer started")?,
        ];
        let written = async {
            while !results.join("report.json").exists() {
                tokio::task::yield_now().await;
            }
        };
        soon("the report", written).await?;
        reports.push(fs::read(results.join("report.json"))?);
        for mut role in roles {
            ensure!(role.stop()?.code() == Some(0));
        }
        fs::remove_dir_all(&results)?;
    }
    ensure!(reports[0] == reports[1]);
    site.broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_cut_no_further() -> Result<()> {
    let Some(site) = Site::of("a_cancelled_job_is_cut_no_further").await? else {
        return Ok(());
    };
    let file = site.file("ventes.csv", 200_000)?;
    let file = file.to_str().context("UTF-8")?;
    let job = site.says(&["submit", "--no-wait", "--chunk-rows", "20", file])?;
    let job = job.trim_end();
    // cancelled while its request still waits: the producer receives the end once it has begun
    let reducer = site.start("reducer")?;
    let worker = site.start("worker")?;
    refuses(
        site.autoconnect(&["jobs", "cancel", job]),
        1,
        "no such job is known; if its request still waits in the queue, the job is dropped when it starts",
    )?;
    let producer = Running::start(
        site.role("producer")?,
        "the job need not be cut any further",
    )?;
    let said = site.says(&["jobs", "status", job])?;
    ensure!(said.contains(": cancelled: "), "{said}");
    drop((producer, worker, reducer));
    site.broker.close().await;
    Ok(())
}

/// A user of the node with these rights, gone with this value.
struct User<'c> {
    name: String,
    ctl: &'c Ctl,
}

impl<'c> User<'c> {
    /// What it may configure, write and read: names of this site, and queues that the broker names where it listens.
    fn new(
        site: &Site,
        ctl: &'c Ctl,
        role: &str,
        writes: &[&str],
        reads: &[&str],
    ) -> Result<(Self, String)> {
        let name = format!("{role}-{}", std::process::id());
        let any_of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| site.node.named(name)).collect();
            format!("^({}|amq\\.gen.*)$", names.join("|").replace('.', "\\."))
        };
        ctl.run(&["add_user", &name, "secret"])?;
        let user = Self { name, ctl };
        let (writes, reads) = (any_of(writes), any_of(reads));
        let own = r"^amq\.gen.*$";
        ctl.run(&["set_permissions", &user.name, own, &writes, &reads])?;
        let uri = &site.node.options.uris[0];
        let (_, host) = uri.split_once('@').context("user and password")?;
        let uri = format!("amqp://{}:secret@{host}", user.name);
        Ok((user, uri))
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        let _gone_with_the_node = self.ctl.run(&["delete_user", &self.name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_and_a_producer_need_no_more_than_their_rights() -> Result<()> {
    let test = "an_operator_and_a_producer_need_no_more_than_their_rights";
    let (Some(site), Some(ctl)) = (Site::of(test).await?, Ctl::of(test)) else {
        return Ok(());
    };
    let (_operator, uri) = User::new(
        &site,
        &ctl,
        "operator",
        &["x.jobs.2", "x.chunks.2", "x.results.2", "x.control"],
        &["q.jobs.dead", "q.chunks.dead", "q.results.dead", "x.events"],
    )?;
    let operator = |arguments: &[&str]| {
        let mut command = site.autoconnect(arguments);
        let output = command.env("AUTOCONNECT_BROKER__URI", &uri).output()?;
        let (out, _) = refused(output, 0)?;
        anyhow::Ok(out)
    };
    let (_producer, uri) = User::new(
        &site,
        &ctl,
        "producer",
        &[
            "x.chunks.2",
            "x.results.2",
            "x.jobs.2",
            "x.control",
            "x.dead.2",
            "x.events",
        ],
        &[&queue(Queue::Jobs), "x.events"],
    )?;
    let mut producer = site.role("producer")?;
    producer.env("AUTOCONNECT_BROKER__URI", uri);
    let _roles = [
        Running::start(producer, "producer started")?,
        site.start("worker")?,
        site.start("reducer")?,
    ];
    let dead = bury(chunk("open-1", 0)?.to_message(), "boom");
    site.send([dead]).await?;
    site.waits(Queue::DeadChunks, 1).await?;
    ensure!(operator(&["dead", "list"])?.contains("open-1/0.0"));
    site.waits(Queue::DeadChunks, 1).await?;
    ensure!(operator(&["dead", "requeue", "--all"])? == "requeued 1 dead message\n");
    ensure!(operator(&["jobs", "status", "open-1"])?.contains("1 of ? chunks"));
    ensure!(operator(&["jobs", "cancel", "open-1"])? == "job open-1 is cancelled\n");
    let file = site.file("ventes.csv", 100)?;
    let file = file.to_str().context("UTF-8")?;
    ensure!(operator(&["submit", file])?.contains("CA total"));
    site.broker.close().await;
    Ok(())
}
