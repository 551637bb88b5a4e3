//! A worker: what it makes of chunks, good and bad, and when it acknowledges them.

mod quarantine;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, BrokerError, Delivery, Offered, Queue, Subscription};
use autoconnect_common::health::Health;
use autoconnect_common::kind::{ConcludeError, Cut, ReportFile, Steps, WorkError};
use autoconnect_common::message::{Change, Exchange, Message};
use autoconnect_common::{
    Chunk, CutError, Digest, Format, JobKind, Outlet, Registry, Seq, Shutdown,
};
use autoconnect_testkit::broker::{next, nothing, soon};
use autoconnect_testkit::record::{Recorded, Step};
use autoconnect_worker::{Config, Summary, run};
use tokio::sync::Notify;

/// A kind that works chunks of numbers, and loses its mind over others.
struct Fussy;

impl JobKind for Fussy {
    const NAME: &'static str = "fussy";
    const SCHEMA: u32 = 3;
    type Request = ();
    type Facts = ();
    type Partial = u64;
    type Report = ();

    fn files((): &()) -> Vec<ReportFile<()>> {
        Vec::new()
    }

    fn inputs(_: &()) -> Vec<PathBuf> {
        Vec::new()
    }

    fn fingerprint(_: &()) -> Result<Digest, CutError> {
        Err(CutError::Cancelled)
    }

    fn cut(_: &(), _: &Outlet) -> Result<Cut<()>, CutError> {
        Err(CutError::Cancelled)
    }

    fn work(chunk: &Chunk) -> Result<u64, WorkError> {
        let text = std::str::from_utf8(&chunk.body).map_err(|e| WorkError(e.to_string()))?;
        assert!(text != "boom", "boom");
        quarantine::refuse_company(chunk)?;
        text.parse().map_err(|_| WorkError("no number".to_owned()))
    }

    fn conclude(_: (), _: u64, _: &[Seq], _: &mut Steps<'_>) -> Result<(), ConcludeError> {
        Ok(())
    }

    fn weigh(_: &u64) -> u64 {
        8
    }
}

fn fussy() -> Format {
    Format::of::<Fussy>()
}

/// Chunk `number` of a job, with that text in it.
fn chunk(number: u32, text: &'static str) -> Result<Message> {
    let chunk = Chunk {
        job: "fussy-1".parse()?,
        kind: Fussy::NAME.to_owned(),
        schema: Fussy::SCHEMA,
        seq: Seq::first_part(number),
        key: "text".to_owned(),
        rows: 1,
        body: text.into(),
    };
    Ok(chunk.to_message())
}

/// Lets a worker have `chunks`, until it has settled all; what it published, by the chunk's number, and what it did.
async fn worked(
    broker: &Recorded<Embedded>,
    chunks: &[Message],
) -> Result<(BTreeMap<String, Change>, Summary)> {
    let registry = Arc::new(Registry::default().with::<Fussy>());
    let (config, stop) = (Config::named("w"), Shutdown::new());
    let mut results = broker.subscribe(Queue::Results(fussy()), 64).await?;
    for chunk in chunks {
        broker.publish(chunk.clone()).await?;
    }
    let collecting = async {
        let mut changes = BTreeMap::new();
        while changes.len() < chunks.len() {
            let delivery = next(&mut results).await?;
            let seq = delivery.message.headers.get("seq").cloned();
            let change = Change::from_message(&delivery.message)?;
            delivery.ack();
            let known = changes.insert(seq.unwrap_or_default(), change);
            ensure!(known.is_none(), "{known:?} came twice");
        }
        stop.cancel();
        anyhow::Ok(changes)
    };
    let (summary, changes) = tokio::join!(run(broker, &registry, &config, &stop), collecting);
    nothing(&mut results).await?;
    Ok((changes?, summary?))
}

fn reason(change: &Change) -> Result<&str> {
    match change {
        Change::Dead { reason, .. } => Ok(reason),
        other => bail!("{other:?}, expected a dead chunk"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_acknowledged_after_its_partial_is_the_brokers() -> Result<()> {
    let broker = Recorded::over(Embedded::new());
    let chunks = (0..20).map(|n| chunk(n, "7")).collect::<Result<Vec<_>>>()?;
    let (changes, summary) = worked(&broker, &chunks).await?;
    for chunk in &chunks {
        let id = &chunk.id;
        let published = broker.when(&Step::Published(format!("{id}/partial")));
        let acked = broker.when(&Step::Acked(id.clone()));
        let (published, acked) = published.zip(acked).context("both happened")?;
        ensure!(published < acked, "{id} was acknowledged too early");
    }
    for change in changes.values() {
        match change {
            Change::Partial(partial) => ensure!(partial.json.get() == "7"),
            other => bail!("{other:?}"),
        }
    }
    ensure!((summary.chunks, summary.rows, summary.buried) == (20, 20, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_own_chunk_only() -> Result<()> {
    let broker = Recorded::over(Embedded::new());
    let chunks = [chunk(0, "1")?, chunk(1, "boom")?, chunk(2, "3")?];
    let (changes, summary) = worked(&broker, &chunks).await?;
    ensure!(reason(&changes["0.1"])? == "the worker panicked: boom");
    ensure!(matches!(changes["0.0"], Change::Partial(_)));
    ensure!(matches!(changes["0.2"], Change::Partial(_)));
    ensure!((summary.chunks, summary.buried) == (2, 1), "{summary:?}");
    let published = broker.when(&Step::Published(chunks[1].id.clone()));
    let acked = broker.when(&Step::Acked(chunks[1].id.clone()));
    ensure!(
        published.is_some() && published < acked,
        "{:?}",
        broker.steps()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_worked_is_buried_with_its_reason() -> Result<()> {
    let with = |number, name: &str, value: &str| {
        let mut message = chunk(number, "1")?;
        message.headers.insert(name.to_owned(), value.to_owned());
        anyhow::Ok(message)
    };
    let mut no_chunk = chunk(5, "1")?;
    no_chunk.kind = "partial".to_owned();
    let mut headless = chunk(6, "1")?;
    headless.headers.remove("rows");
    let chunks = [
        chunk(0, "no number")?,
        with(1, "kind", "unknown")?,
        with(2, "schema", "2")?,
        with(3, "sha256", &Digest::of(b"2").to_string())?,
        with(4, "key", "text")?,
        no_chunk,
        headless,
    ];
    let (changes, summary) = worked(&Recorded::over(Embedded::new()), &chunks).await?;
    for (seq, said) in [
        ("0.0", "no number"),
        ("0.1", "kind of job \"unknown\", expected one of fussy"),
        ("0.2", "schema 2 of kind fussy, expected 3"),
        ("0.3", "body does not have the digest its header says"),
        ("0.5", "message type \"partial\", expected \"chunk\""),
        ("0.6", "header rows is missing"),
    ] {
        let reason = reason(&changes[seq])?;
        ensure!(reason.ends_with(said), "{seq}: {reason}");
    }
    ensure!((summary.chunks, summary.buried) == (1, 6), "{summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_gives_back_what_waits() -> Result<()> {
    let broker = Recorded::over(Embedded::new());
    for number in 0..5_000 {
        broker.publish(chunk(number, "1")?).await?;
    }
    let registry = Arc::new(Registry::default().with::<Fussy>());
    let (config, stop) = (Config::named("w"), Shutdown::new());
    let mut results = broker.subscribe(Queue::Results(fussy()), 1).await?;
    let stopping = async {
        next(&mut results).await?.ack();
        stop.cancel();
        anyhow::Ok(())
    };
    let (summary, stopped) = tokio::join!(run(&broker, &registry, &config, &stop), stopping);
    stopped?;
    let summary = summary?;
    ensure!((1..5_000).contains(&summary.chunks), "{summary:?}");
    // all the rest is there for another worker
    let mut rest = broker.subscribe(Queue::Chunks(fussy()), 500).await?;
    for _ in summary.chunks..5_000 {
        soon("a chunk", next(&mut rest)).await??.ack();
    }
    nothing(&mut rest).await
}

/// A broker that takes no results: its confirms never come.
struct Silent {
    broker: Embedded,
    asked: Notify,
}

impl Broker for Silent {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        match message.exchange {
            Exchange::Results => {
                self.asked.notify_one();
                std::future::pending().await
            }
            _ => self.broker.publish(message).await,
        }
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.broker.offer(message).await
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        self.broker.subscribe(queue, prefetch).await
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        self.broker.take(queue).await
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        self.broker.waiting(queue).await
    }

    fn health(&self) -> Health {
        self.broker.health()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

#[tokio::test]
async fn told_to_stop_it_leaves_although_the_broker_is_away() -> Result<()> {
    let broker = Silent {
        broker: Embedded::new(),
        asked: Notify::new(),
    };
    broker.publish(chunk(0, "7")?).await?;
    let registry = Arc::new(Registry::default().with::<Fussy>());
    let stop = Shutdown::new();
    let config = Config {
        grace: Duration::from_millis(50),
        ..Config::named("w")
    };
    let running = run(&broker, &registry, &config, &stop);
    let telling = async {
        broker.asked.notified().await;
        stop.cancel();
        next(&mut broker.subscribe(Queue::Chunks(fussy()), 1).await?).await
    };
    let (ran, come_again) = soon("the worker to leave", async {
        tokio::join!(running, telling)
    })
    .await?;
    ensure!(ran? == Summary::default(), "it worked a chunk");
    ensure!(come_again?.message == chunk(0, "7")?, "another chunk");
    Ok(())
}
