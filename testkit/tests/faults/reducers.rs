//! Reducers that are killed at random moments, and two of them where there may be only one.
//!
//! What happens between any two steps of a reducer stands in `tests/kinds/reducer.rs`: there it is killed at each.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use autoconnect_testkit::program;
use autoconnect_testkit::proxy::Proxy;
use rand::RngExt as _;

use crate::case::{Case, Line, random, seeds};
use crate::stage::{Stage, at_most, until, whole};

/// What an old job left where the newest report is.
const OLD: &[u8] = b"the report of the job before";

#[tokio::test(flavor = "multi_thread")]
async fn row_3_a_reducer_killed_at_random_moments() -> Result<()> {
    let case = Case::sales(10_000, 5).await?;
    for seed in seeds(1)? {
        let Some(stage) = Stage::of("row_3_a_reducer_killed_at_random_moments").await? else {
            return Ok(());
        };
        let mut rng = random(seed);
        std::fs::create_dir(stage.results())?;
        std::fs::write(stage.results().join("report.json"), OLD)?;
        let mut reducer = stage.start("reducer")?;
        let _others = (stage.start("producer")?, stage.workers(2)?);
        let mut progress = stage.follow(&case.request).await?;
        let line = Line::of(3, "a reducer killed at random moments", Some(seed));
        stage.ask(&case.request).await?;
        progress.moves().await?;
        let (mut kills, mut slowest) = (0, Duration::ZERO);
        let execution = {
            let mut done = std::pin::pin!(stage.done(&case));
            loop {
                let pause = Duration::from_millis(rng.random_range(100..1_200));
                tokio::select! {
                    execution = &mut done => break execution?,
                    () = tokio::time::sleep(pause) => {}
                }
                reducer.kill()?;
                kills += 1;
                whole(&stage.results(), Some(OLD), &case)?;
                reducer = stage.start("reducer")?;
                let since = Instant::now();
                tokio::select! {
                    execution = &mut done => break execution?,
                    moved = progress.moves() => moved?,
                }
                slowest = slowest.max(since.elapsed());
                ensure!(
                    slowest < at_most(Duration::from_secs(5)),
                    "resumed after {slowest:?}"
                );
            }
        };
        let line = line.saw(kills, "kills");
        let line = line.saw(
            format!("{:.1}", slowest.as_secs_f64()),
            "s to resume at most",
        );
        line.ends(&execution);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_8_a_reducer_cut_off_with_a_standby() -> Result<()> {
    let case = Case::sales(4_000, 5).await?;
    let Some(stage) = Stage::of("row_8_a_reducer_cut_off_with_a_standby").await? else {
        return Ok(());
    };
    let proxy = Proxy::before(stage.uri()).await?;
    let mut first = stage.start_by("reducer", proxy.uri())?;
    let _others = (stage.start("producer")?, stage.workers(2)?);
    let mut progress = stage.follow(&case.request).await?;
    let line = Line::of(8, "a reducer cut off, with a standby", None);
    stage.ask(&case.request).await?;
    progress.moves().await?;
    proxy.freeze();
    // however long the cut-off one holds the folder, no other reducer gets in
    let in_use = "is in use by another reducer";
    let since = Instant::now();
    let mut refused = 0;
    while since.elapsed() < Duration::from_secs(18) {
        let mut standby = stage.command("reducer")?;
        standby.env("AUTOCONNECT_LOG__FILTER", "error");
        program::refuses(standby, 1, in_use)?;
        refused += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    first.kill()?;
    let since = Instant::now();
    let _standby = stage.start("reducer")?;
    let execution = stage.done(&case).await?;
    let line = line.saw(refused, "times the standby was refused");
    line.took(since, "from the first one's death to the report")
        .ends(&execution);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_8_a_reducer_cut_off_and_back() -> Result<()> {
    let case = Case::sales(4_000, 5).await?;
    let Some(stage) = Stage::of("row_8_a_reducer_cut_off_and_back").await? else {
        return Ok(());
    };
    let proxy = Proxy::before(stage.uri()).await?;
    let _reducer = stage.start_by("reducer", proxy.uri())?;
    let _others = (stage.start("producer")?, stage.workers(2)?);
    let mut progress = stage.follow(&case.request).await?;
    let line = Line::of(8, "a reducer cut off, and back", None);
    stage.ask(&case.request).await?;
    progress.moves().await?;
    proxy.freeze();
    let since = Instant::now();
    let noticed = async || proxy.given_up(since.into());
    let figure = at_most(Duration::from_secs(21));
    until("the reducer to notice", figure, noticed).await?;
    let line = line.took(since, "until it noticed");
    proxy.resume();
    let execution = stage.done(&case).await?;
    line.ends(&execution);
    Ok(())
}
