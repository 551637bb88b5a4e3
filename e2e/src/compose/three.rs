//! Three brokers: the leader of the queues is killed, frozen, or cut off from the other two, with and without programs
//! connected to it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use autoconnect_common::broker::Queue;
use autoconnect_testkit::broker::queue;
use tokio::sync::watch;

use super::engine::{docker, iptables};
use super::{Jobs, Project, Seen};

/// The services.
const BROKERS: [&str; 3] = ["rabbitmq", "rabbitmq-2", "rabbitmq-3"];

/// The stages, in their order.
pub(super) const NAMES: &[&str] = &[
    "leader killed",
    "leader paused 25 s",
    "leader split from the other two for 60 s",
    IN_FLIGHT,
];

/// The stage in which programs publish, over the other two brokers, to queues whose leader is cut off. A quorum queue may lose
/// such messages and never confirm them (rabbitmq-server #14589).
const IN_FLIGHT: &str = "leader split from its publishers for 60 s, three times";

/// Runs one stage, and repairs the cluster after it.
pub(super) async fn stage(name: &str, project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    if name == IN_FLIGHT {
        return in_flight(project, jobs).await;
    }
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
                let others = BROKERS.into_iter().filter(|other| *other != leader);
                let others = addresses(project, &others.collect::<Vec<_>>()).await?;
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

/// Cuts off, three times, a broker that leads every queue and to which no program is connected, while jobs run.
async fn in_flight(project: &Project, jobs: &mut Jobs) -> Result<Seen> {
    let (healed, mut over) = watch::channel(false);
    let meddling = async {
        let (mut unconfirmed, mut longest) = (u64::MAX, Duration::ZERO);
        for _ in 0..3 {
            project.under_way().await?;
            let (leader, others) = lead_apart(project).await?;
            let container = project.container(leader).await?;
            let addresses = addresses(project, &others).await?;
            let since = Instant::now();
            partition(&container, &addresses, "-A").await?;
            // after every channel has updated its metrics (5 s), and before the brokers notice the partition
            tokio::time::sleep(Duration::from_secs(6)).await;
            let mut sum = 0;
            for other in others {
                sum += number(project, other, UNCONFIRMED).await?;
            }
            unconfirmed = unconfirmed.min(sum);
            project.gap().await?;
            longest = longest.max(since.elapsed());
            tokio::time::sleep(Duration::from_secs(60).saturating_sub(since.elapsed())).await;
            partition(&container, &addresses, "-D").await?;
            mend(project).await?;
        }
        healed.send_replace(true);
        anyhow::Ok((unconfirmed, longest))
    };
    let publishing = async {
        loop {
            let last = *over.borrow_and_update();
            let job = project.job(&jobs.next(2_000, 100)?).await?;
            if last {
                return anyhow::Ok(job);
            }
        }
    };
    let (job, (unconfirmed, longest)) = tokio::try_join!(publishing, meddling)?;
    let in_flight = format!("at least {unconfirmed} publishes in flight");
    // after a lost ack, its message would stay unacked in a queue
    let drained = drained(project, Duration::from_secs(60)).await?;
    Ok(Seen::new(job)
        .within("gap", longest, 30)
        .holds(&in_flight, unconfirmed > 0)
        .holds("no message is left in a queue", drained))
}

/// Whether all queues become empty in time.
async fn drained(project: &Project, within: Duration) -> Result<bool> {
    let since = Instant::now();
    loop {
        let queues = project.queues().await?;
        let left: Vec<_> = queues
            .iter()
            .filter(|(_, messages)| *messages > 0)
            .collect();
        if left.is_empty() {
            return Ok(true);
        }
        if since.elapsed() > within {
            eprintln!("left: {left:?}");
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Counts the unconfirmed publishes of a broker's clients from the metrics that each channel updates every 5 s. A channel that
/// waits for the broker that is cut off would not answer a question.
const UNCONFIRMED: &str = "lists:sum([proplists:get_value(messages_unconfirmed, M, 0) \
     || {_, M} <- ets:tab2list(channel_metrics)]).";

/// Makes the broker with the fewest clients the leader of every queue; returns it, and the others.
async fn lead_apart(project: &Project) -> Result<(&'static str, Vec<&'static str>)> {
    let mut clients = Vec::new();
    for broker in BROKERS {
        let connections = "length(rabbit_networking:local_connections()).";
        clients.push((number(project, broker, connections).await?, broker));
    }
    clients.sort_unstable();
    let mut brokers = clients.into_iter().map(|(_, broker)| broker);
    let leader = brokers.next().context("a broker")?;
    let lead = format!(
        "[rabbit_quorum_queue:transfer_leadership(Q, 'rabbit@{leader}') || Q <- rabbit_amqqueue:list(<<\"autoconnect\">>), amqqueue:get_type(Q) =:= rabbit_quorum_queue], ok."
    );
    project.ctl(leader, &["eval", &lead]).await?;
    Ok((leader, brokers.collect()))
}

/// Evaluates an Erlang expression on a broker, as a number.
async fn number(project: &Project, broker: &str, expression: &str) -> Result<u64> {
    let said = project.ctl(broker, &["eval", expression]).await?;
    said.parse().with_context(|| format!("{broker}: {said}"))
}

/// The service that leads the queue of chunks.
async fn leader(project: &Project) -> Result<&'static str> {
    let said = project
        .ctl(
            "rabbitmq",
            &["list_queues", "-p", "autoconnect", "name", "leader"],
        )
        .await?;
    let chunks = format!("{}\t", queue(Queue::Chunks));
    let line = said.lines().find(|line| line.starts_with(&chunks));
    let name = line
        .and_then(|line| line.split_once('@'))
        .context("the queue of chunks has no leader")?
        .1;
    let found = BROKERS.into_iter().find(|broker| *broker == name.trim());
    found.with_context(|| format!("the leader is on {name}"))
}

/// The IP addresses of some brokers.
async fn addresses(project: &Project, brokers: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for broker in brokers {
        let container = project.container(broker).await?;
        let networks =
            "{{range $name, $network := .NetworkSettings.Networks}}{{$network.IPAddress}} {{end}}";
        let addresses = docker(&["inspect", "--format", networks, &container]).await?;
        found.extend(addresses.split_whitespace().map(str::to_owned));
    }
    Ok(found)
}

/// Drops every packet between a broker and the others (`-A`), or ends that (`-D`).
async fn partition(container: &str, others: &[String], change: &str) -> Result<()> {
    for other in others {
        iptables(container, &[change, "INPUT", "-s", other, "-j", "DROP"]).await?;
        iptables(container, &[change, "OUTPUT", "-d", other, "-j", "DROP"]).await?;
    }
    Ok(())
}

/// Waits until the three brokers are one cluster again; one that does not join is restarted.
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
