//! Programs of their own, over RabbitMQ, give the bytes of the run in one process; also when one is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::rabbitmq::RabbitMq;
use autoconnect_common::broker::{Broker as _, Queue, Subscription};
use autoconnect_common::message::{Event, JobRequest, Status};
use autoconnect_generate::{Options, generate};
use autoconnect_jobs::sales::Sales;
use autoconnect_jobs::sales::request::{Margin, MaxRejects};
use autoconnect_producer::name_job;
use autoconnect_report::fixed::Percent;
use autoconnect_testkit::broker::soon;
use autoconnect_testkit::cluster::{files_of, finished};
use autoconnect_testkit::node::{Ctl, OnNode};
use autoconnect_testkit::program::{self, Running};
use chrono::NaiveDate;
use serde_json::Value;

const TODAY: &str = "2025-06-30";

/// Everything in a folder of results that must be the same from run to run.
fn exact(results: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = files_of(results)?;
    let own = files.keys().any(|path| path.starts_with('.'));
    ensure!(!own, "left behind: {:?}", files.keys());
    let execution = files.remove("execution.json");
    execution.context("no execution.json")?;
    Ok(files)
}

fn same(how: &str, found: &Path, expected: &Path) -> Result<()> {
    let (found, expected) = (exact(found)?, exact(expected)?);
    ensure!(
        expected.contains_key("report.json") && expected["rejets.csv"].len() > 500,
        "{how}: there is nothing to compare: {:?}",
        expected.keys()
    );
    ensure!(
        found.keys().eq(expected.keys()),
        "{how}: other files: {:?}, expected {:?}",
        found.keys(),
        expected.keys()
    );
    for (path, bytes) in expected {
        ensure!(found[&path] == bytes, "{how}: {path} is not the same");
    }
    Ok(())
}

/// A file of which every twentieth row is wrong or odd.
fn dirty(folder: &Path, rows: u64) -> Result<PathBuf> {
    let file = folder.join("ventes.csv");
    let options = Options {
        rows,
        cities: 5,
        dirty: 0.05,
        seed: 11,
        truth: false,
    };
    generate(&options, &file)?;
    Ok(file)
}

/// `autoconnect run` of `file` into `out`.
fn run(folder: &Path, file: &Path, out: &str) -> Command {
    let mut run = program::command(env!("CARGO_BIN_EXE_autoconnect"), folder);
    run.arg("run").arg(file).args(["--out", out, "--quiet"]);
    run.args(["--today", TODAY, "--max-rejects", "100%"]);
    run
}

/// Runs it to its end.
fn finish(mut run: Command) -> Result<()> {
    let output = run.output()?;
    let wrote = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{run:?}: {}: {wrote}",
        output.status
    );
    Ok(())
}

/// Lets `command` find the queues of this test.
fn on(node: &OnNode, mut command: Command) -> Command {
    command
        .env("AUTOCONNECT_BROKER__URI", &node.options.uris[0])
        .env("AUTOCONNECT_BROKER__PREFIX", &node.options.prefix);
    command
}

#[test]
fn worker_processes_give_the_bytes_of_one_process() -> Result<()> {
    let Some(node) = OnNode::of("worker_processes_give_the_bytes_of_one_process") else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let file = dirty(folder, 3_000)?;
    finish(run(folder, &file, "one"))?;
    for workers in ["1", "3", "6"] {
        let out = format!("workers-{workers}");
        let mut through = on(&node, run(folder, &file, &out));
        through.args(["--workers", workers, "--chunk-rows", "97"]);
        finish(through)?;
        same(&out, &folder.join(&out), &folder.join("one"))?;
    }
    Ok(())
}

/// The exchanges and queues of this test's runs that are left on the node.
fn left(node: &OnNode, ctl: &Ctl) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for list in ["list_queues", "list_exchanges"] {
        let listed = ctl.run(&[list, "--quiet", "name"])?;
        let ours = node.named("run-");
        let ours = listed.lines().filter(|name| name.starts_with(&ours));
        left.extend(ours.map(str::to_owned));
    }
    Ok(left)
}

#[test]
fn runs_at_once_have_queues_of_their_own_and_leave_none() -> Result<()> {
    let test = "runs_at_once_have_queues_of_their_own_and_leave_none";
    let (Some(node), Some(ctl)) = (OnNode::of(test), Ctl::of(test)) else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    // the same file twice, and another one
    let first = dirty(folder, 2_000)?;
    let second = folder.join("autres.csv");
    fs::rename(&first, &second)?;
    let first = dirty(folder, 3_000)?;
    let mut running = Vec::new();
    for (number, file) in [&first, &second, &first].into_iter().enumerate() {
        finish(run(folder, file, &format!("alone-{number}")))?;
    }
    for (number, file) in [&first, &second, &first].into_iter().enumerate() {
        let mut run = on(&node, run(folder, file, &format!("together-{number}")));
        run.args(["--workers", "2", "--chunk-rows", "97"]);
        running.push(run.spawn()?);
    }
    for (number, run) in running.iter_mut().enumerate() {
        ensure!(run.wait()?.success(), "run {number} failed");
        let (found, expected) = (format!("together-{number}"), format!("alone-{number}"));
        same(&found, &folder.join(&found), &folder.join(&expected))?;
    }
    ensure!(left(&node, &ctl)?.is_empty(), "{:?}", left(&node, &ctl)?);

    // a stopped one leaves nothing either
    let mut stopped = on(&node, run(folder, &first, "stopped"));
    stopped.args(["--workers", "1", "--chunk-rows", "1"]);
    let mut stopped = stopped.spawn()?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while left(&node, &ctl)?.is_empty() {
        ensure!(std::time::Instant::now() < until, "it never began");
        ensure!(
            stopped.try_wait()?.is_none(),
            "it ended before it was stopped"
        );
    }
    program::signal(stopped.id(), "INT")?;
    let status = stopped.wait()?;
    ensure!(status.code() == Some(130), "{status}");
    ensure!(left(&node, &ctl)?.is_empty(), "{:?}", left(&node, &ctl)?);
    Ok(())
}

#[test]
fn a_run_without_workers_of_its_own_refuses_where_no_reducer_answers() -> Result<()> {
    let test = "a_run_without_workers_of_its_own_refuses_where_no_reducer_answers";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let file = dirty(folder.path(), 100)?;
    let output = on(&node, run(folder.path(), &file, "out")).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && said.contains("no reducer answered within 5 seconds"),
        "{}: {said}",
        output.status
    );
    Ok(())
}

/// Starts one of the programs that play a role; they are built beside this one.
fn role(node: &OnNode, folder: &Path, name: &str, worker: Option<&str>) -> Result<Running> {
    let beside = program::sibling(env!("CARGO_BIN_EXE_autoconnect"), name)?;
    let mut command = on(node, program::command(beside, folder));
    if let Some(worker) = worker {
        command.env("AUTOCONNECT_WORKER__NAME", worker);
    }
    Running::start(command, &format!("{name} started"))
}

/// Waits until a part of the job's chunks, and not all, are merged.
async fn half_way(events: &mut Subscription, chunks: u64) -> Result<()> {
    let listening = async {
        while let Some(event) = events.next().await {
            let news = Event::from_message(&event.message)?;
            event.ack();
            match news {
                Event::Progress { done, .. } if done > 0 => {
                    ensure!(
                        done < chunks,
                        "all {chunks} chunks were merged before the kill"
                    );
                    return Ok(());
                }
                Event::Progress { .. }
                | Event::Cut { .. }
                | Event::Worker(_)
                | Event::Troubles { .. }
                | Event::Jobs { .. }
                | Event::Newest { .. }
                | Event::Begun { .. } => {}
                Event::Finished { .. } => break,
            }
        }
        anyhow::bail!("the job ended before anything could be killed")
    };
    soon("some progress", listening).await?
}

fn request(file: &Path) -> Result<JobRequest> {
    let usual = autoconnect_jobs::sales::settings::Sales {
        chunk_rows: 5,
        max_rejects: MaxRejects::Percent(Percent::from_units(100)),
        margin: Margin::default(),
        periode: None,
    };
    let today: NaiveDate = TODAY.parse()?;
    let request = usual.request(vec![file.to_owned()], today);
    Ok(name_job::<Sales>(
        &autoconnect_jobs::registry(),
        &request,
        None,
    )?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_and_a_killed_reducer_change_nothing() -> Result<()> {
    let Some(node) = OnNode::of("a_killed_worker_and_a_killed_reducer_change_nothing") else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let file = dirty(folder, 10_000)?;
    finish(run(folder, &file, "one"))?;
    let role = |name, worker| role(&node, folder, name, worker);

    // a request in the queue of jobs, cut, worked and reduced by programs of their own
    let job = request(&file)?;
    let broker = RabbitMq::connect(node.options.clone())?;
    let mut events = broker.subscribe(Queue::Events(job.job.clone()), 64).await?;
    let producer = role("producer", None)?;
    let mut reducer = role("reducer", None)?;
    let mut first = role("worker", Some("first"))?;
    soon("the request taken", broker.publish(job.to_message()?)).await??;
    half_way(&mut events, 1_900).await?;
    first.kill()?;
    reducer.kill()?;
    let reducer = role("reducer", None)?;
    let workers = [
        role("worker", Some("second"))?,
        role("worker", Some("third"))?,
    ];
    let end = finished(&mut events, &job.job).await?;
    ensure!(end.status == Status::Done, "{end:?}");
    let results = folder.join("results");
    same("killed", &results, &folder.join("one"))?;
    let told: Value = serde_json::from_slice(&std::fs::read(results.join("execution.json"))?)?;
    let worked = |name: &str| told["workers"][name]["chunks"].as_u64().unwrap_or(0);
    let chunks = told["chunks"]["merged"].as_u64().context("chunks")?;
    let each = ["first", "second", "third"].map(worked);
    ensure!(
        each.iter().sum::<u64>() == chunks && each[0] > 0 && each[1] + each[2] > 0,
        "{chunks} chunks: {each:?}"
    );

    // the command, with everybody else elsewhere
    finish(on(&node, run(folder, &file, "elsewhere")))?;
    same("elsewhere", &folder.join("elsewhere"), &folder.join("one"))?;

    for mut role in workers.into_iter().chain([producer, reducer]) {
        let status = role.stop()?;
        ensure!(status.code() == Some(0), "told to stop: {status}");
    }
    broker.close().await;
    Ok(())
}
