//! A network that is slow and loses connections.

use std::time::Duration;

use anyhow::Result;
use autoconnect_testkit::program::Running;
use autoconnect_testkit::proxy::Proxy;
use rand::RngExt as _;

use crate::case::{Case, Line, random, seeds};
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn row_9_a_slow_and_lossy_link() -> Result<()> {
    let test = "row_9_a_slow_and_lossy_link";
    let case = Case::sales(1_000, 5).await?;
    for seed in seeds(1)? {
        let Some(stage) = Stage::of(test).await? else {
            return Ok(());
        };
        let mut rng = random(seed);
        let line = Line::of(9, "200 ms there and back, connections cut", Some(seed));
        let (mut proxies, mut roles) = (Vec::new(), Vec::new());
        for name in ["reducer", "producer", "worker", "worker", "worker"] {
            let proxy = Proxy::before(stage.uri()).await?;
            proxy.slow(Duration::from_millis(100), Some(400_000));
            let mut command = stage.command_by(name, proxy.uri())?;
            // the queues exist: no program redeclares them after each cut
            command.env("AUTOCONNECT_BROKER__DECLARE", "false");
            roles.push(Running::start(command, &format!("{name} started"))?);
            proxies.push(proxy);
        }
        stage.ask(&case.request).await?;
        let mut cuts = 0;
        let execution = {
            let mut done = std::pin::pin!(stage.done(&case));
            loop {
                let pause = Duration::from_millis(rng.random_range(500..2_000));
                tokio::select! {
                    execution = &mut done => break execution?,
                    () = tokio::time::sleep(pause) => {
                        proxies[rng.random_range(0..proxies.len())].cut();
                        cuts += 1;
                    }
                }
            }
        };
        line.saw(cuts, "cuts").ends(&execution);
    }
    Ok(())
}
