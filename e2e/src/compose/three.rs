//! Three brokers: the one that leads the queue of chunks is killed, frozen, or cut off from the other two.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::engine::{docker, iptables};
use super::{Jobs, Project, Seen};

/// The services.
const BROKERS: [&str; 3] = ["rabbitmq", "rabbitmq-2", "rabbitmq-3"];

/// The stages, in their order.
pub(super) const NAMES: &[&str] = &[
    "leader killed",
    "leader paused 25 s",
    "leader split from the other two for 60 s",
];

/// Runs one of them, and mends the cluster after it.
pub(super) async fn stage(name: &str, project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    let work = jobs.next(4_000, 500)?;
    let meddling = async {
        project.under_way().await?;
        let leader = leader(project).await?;
        let container = project.container(leader).await?;
        let since = Instant::now();
        match name {
            "leader killed" => {
                docker(&["kill", &container]).await?;
                let gap = project.gap().await?;
                docker(&["start", &container]).await?;
                Ok(gap)
            }
            "leader paused 25 s" => {
                docker(&["pause", &container]).await?;
                let frozen = async {
                    tokio::time::sleep(Duration::from_secs(25)).await;
                    docker(&["unpause", &container]).await
                };
                let (gap, _) = tokio::try_join!(project.gap(), frozen)?;
                Ok(gap)
            }
            "leader split from the other two for 60 s" => {
                let others = others(project, leader).await?;
                partition(&container, &others, "-A").await?;
                let gap = project.gap().await?;
                tokio::time::sleep(Duration::from_secs(60).saturating_sub(since.elapsed())).await;
                partition(&container, &others, "-D").await?;
                Ok(gap)
            }
            other => bail!("no stage {other}"),
        }
    };
    let (job, gap) = tokio::try_join!(project.job(&work), meddling)?;
    mend(project).await?;
    Ok(Seen::new(job).within("gap", gap, 30))
}

/// The service that leads the queue of chunks.
async fn leader(project: &Project) -> Result<&'static str> {
    let said = project
        .ctl(
            "rabbitmq",
            &["list_queues", "-p", "autoconnect", "name", "leader"],
        )
        .await?;
    let line = said
        .lines()
        .find(|line| line.starts_with("q.chunks.sales.v1\t"));
    let name = line
        .and_then(|line| line.split_once('@'))
        .context("the queue of chunks has no leader")?
        .1;
    let found = BROKERS.into_iter().find(|broker| *broker == name.trim());
    found.with_context(|| format!("the leader is on {name}"))
}

/// The addresses of the other two.
async fn others(project: &Project, one: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for other in BROKERS.into_iter().filter(|other| *other != one) {
        let container = project.container(other).await?;
        let networks =
            "{{range $name, $network := .NetworkSettings.Networks}}{{$network.IPAddress}} {{end}}";
        let addresses = docker(&["inspect", "--format", networks, &container]).await?;
        found.extend(addresses.split_whitespace().map(str::to_owned));
    }
    Ok(found)
}

/// Drops every packet between a broker and the others, or (`-D`) no longer.
async fn partition(container: &str, others: &[String], change: &str) -> Result<()> {
    for other in others {
        iptables(container, &[change, "INPUT", "-s", other, "-j", "DROP"]).await?;
        iptables(container, &[change, "OUTPUT", "-d", other, "-j", "DROP"]).await?;
    }
    Ok(())
}

/// Waits until the three are one again; one that stays apart is started anew.
async fn mend(project: &Project) -> Result<()> {
    for broker in BROKERS {
        let whole = ["await_online_nodes", "3", "--timeout", "40"];
        if project.ctl(broker, &whole).await.is_err() {
            let container = project.container(broker).await?;
            docker(&["restart", "--time", "5", &container]).await?;
        }
    }
    for broker in BROKERS {
        project
            .ctl(broker, &["await_online_nodes", "3", "--timeout", "60"])
            .await?;
    }
    Ok(())
}
