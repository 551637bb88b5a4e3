//! A chunk that panics, ends its process or takes all memory: it alone is lost, and the report says so.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use autoconnect_common::Registry;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::message::Status;
use autoconnect_jobs::sales::Sales;
use autoconnect_testkit::cluster::{Cluster, files_of};
use autoconnect_testkit::jobs;
use autoconnect_testkit::mine::{self, Harm, MINE, Mine, Mined};
use autoconnect_testkit::node::Ctl;
use autoconnect_testkit::program::Running;

use crate::case::{Case, Execution, Line};
use crate::stage::{Stage, until};

/// The chunk with the mine.
pub(crate) const MINED: &str = "0.7";

/// The kind `sales`, with a mine.
pub(crate) fn mined() -> Registry {
    Registry::default().with::<Mined<Sales>>()
}

/// What one process makes of the case without the mined chunk.
async fn without(case: &Case) -> Result<BTreeMap<String, Vec<u8>>> {
    mine::lay(Mine {
        seq: MINED.parse()?,
        harm: Harm::Panic,
    });
    let cluster = Cluster::of(mined(), 1);
    let request = jobs::sales(&case.file, case.chunk_rows)?;
    let outcome = cluster.run(Embedded::new(), request).await?;
    ensure!(
        outcome.end.status == Status::Incomplete,
        "{:?}",
        outcome.end
    );
    let mut files = outcome.files;
    files.remove("execution.json");
    Ok(files)
}

/// `autoconnect run` with workers that `harm` kills, and that are restarted each time.
async fn one_is_lost(test: &str, harm: &str) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let expected = without(&case).await?;
    let (Some(stage), Some(ctl)) = (Stage::of(test).await?, Ctl::of(test)) else {
        return Ok(());
    };
    let line = Line::of(12, &format!("a chunk of harm: {harm}"), None);
    let worker = || {
        let plain = stage.command("mined-worker")?;
        // 2 GiB is all the memory there is
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -c 0; ulimit -v 2097152; exec \"$0\""]);
        limited.arg(plain.get_program()).current_dir(stage.path(""));
        let mut limited = stage.told(limited, stage.uri());
        limited.env(MINE, format!("{MINED}={harm}"));
        Running::start(limited, "mined-worker started")
    };
    let _reducer = stage.start("reducer")?;
    let mut workers = [worker()?, worker()?];
    let mut run = stage.run(&case, "out", stage.uri())?.spawn()?;
    let (mut deaths, since) = (0, Instant::now());
    let status = loop {
        if let Some(status) = run.try_wait()? {
            break status;
        }
        for place in &mut workers {
            if !place.runs()? {
                deaths += 1;
                *place = worker()?;
            }
        }
        ensure!(
            since.elapsed() < Duration::from_secs(120),
            "{deaths} deaths"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    ensure!(status.code() == Some(3), "{status}");
    let mut found = files_of(&stage.path("out"))?;
    let execution = found.remove("execution.json").context("execution.json")?;
    let execution = Execution::read(&execution)?;
    ensure!(
        execution.missing.keys().eq([MINED]),
        "others are missing: {execution:?}"
    );
    ensure!(found == expected, "not the files of one process");
    let one = async || {
        stage
            .messages(&ctl)
            .is_ok_and(|counts| counts.get("q.chunks.dead") == Some(&1))
    };
    until("the dead chunk", Duration::from_secs(30), one).await?;
    line.saw(deaths, "workers dead")
        .saw(1, "chunk dead")
        .ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_chunk_that_panics() -> Result<()> {
    one_is_lost("row_12_a_chunk_that_panics", "panic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_chunk_that_ends_its_process() -> Result<()> {
    one_is_lost("row_12_a_chunk_that_ends_its_process", "abort").await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_chunk_that_takes_all_memory() -> Result<()> {
    one_is_lost("row_12_a_chunk_that_takes_all_memory", "memory").await
}
