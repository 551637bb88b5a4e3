//! Clocks that jump: no program measures durations by the time of day.

use std::fs;
use std::path::Path;

use anyhow::Result;
use autoconnect_testkit::missing::not_run;
use autoconnect_testkit::program::Running;
use rand::RngExt as _;

use crate::case::{Case, Line, random, seeds};
use crate::stage::Stage;

/// Where Debian's package `libfaketime` puts the library that lies about the time of day.
const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[tokio::test(flavor = "multi_thread")]
async fn row_25_a_clock_that_jumps_an_hour_forth_and_back() -> Result<()> {
    let test = "row_25_a_clock_that_jumps_an_hour_forth_and_back";
    if !Path::new(LIBFAKETIME).exists() {
        not_run(
            test,
            "needs a clock to set: install the package libfaketime",
        );
        return Ok(());
    }
    let case = Case::sales(4_000, 5).await?;
    for seed in seeds(1)? {
        let Some(stage) = Stage::of(test).await? else {
            return Ok(());
        };
        let clock = stage.path("clock");
        fs::write(&clock, "+0")?;
        let mut roles = Vec::new();
        for name in ["reducer", "producer", "worker", "worker"] {
            let mut command = stage.command(name)?;
            command
                .env("LD_PRELOAD", LIBFAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", &clock)
                .env("FAKETIME_NO_CACHE", "1")
                // a clock that is set does not touch the time since the machine was started
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            roles.push(Running::start(command, &format!("{name} started"))?);
        }
        let mut rng = random(seed);
        let mut progress = stage.follow(&case.request).await?;
        let line = Line::of(25, "a clock that jumps an hour forth and back", Some(seed));
        stage.ask(&case.request).await?;
        for time in ["+1h", "-1h", "+0"] {
            progress
                .reaches(progress.now() + rng.random_range(1..100))
                .await?;
            fs::write(&clock, time)?;
        }
        let execution = stage.done(&case).await?;
        line.saw(3, "jumps").ends(&execution);
    }
    Ok(())
}
