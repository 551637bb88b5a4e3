//! A chunk in quarantine is held alone, so that nothing else can be what its worker died of.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;

/// The job of these tests: others of this program run beside them.
const JOB: &str = "fussy-quarantine";

/// Chunks of a quarantine that the worker has, by their number.
static HELD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<String>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chunk of this job is not worked while another one, of a quarantine, is held.
///
/// # Errors
/// Which two they are.
pub(super) fn refuse_company(chunk: &Chunk) -> Result<(), WorkError> {
    if chunk.job.as_str() != JOB {
        return Ok(());
    }
    let own = chunk.seq.to_string();
    std::thread::sleep(Duration::from_millis(20));
    match held().iter().find(|other| **other != own) {
        None => Ok(()),
        Some(other) => Err(WorkError(format!("{own} is worked beside {other}"))),
    }
}

fn own_chunk(number: u32) -> Result<Message> {
    let chunk = Chunk {
        job: JOB.parse()?,
        kind: Fussy::NAME.to_owned(),
        schema: Fussy::SCHEMA,
        seq: Seq::first_part(number),
        key: "text".to_owned(),
        rows: 1,
        body: "1".into(),
    };
    Ok(chunk.to_message())
}

/// The same in quarantine.
fn quarantined(number: u32) -> Result<Message> {
    Ok(Message {
        exchange: Exchange::Dead,
        key: format!("quarantine.{}", fussy()),
        ..own_chunk(number)?
    })
}

/// A broker that notes what the worker holds of a quarantine, and which results have no confirm.
#[derive(Default)]
struct Watched {
    broker: Embedded,
    unconfirmed: AtomicUsize,
    taken_beside_unconfirmed: AtomicUsize,
}

impl Broker for Watched {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        let is_result = usize::from(message.exchange == Exchange::Results);
        self.unconfirmed.fetch_add(is_result, Ordering::Relaxed);
        if is_result > 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let published = self.broker.publish(message).await;
        self.unconfirmed.fetch_sub(is_result, Ordering::Relaxed);
        published
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.broker.offer(message).await
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        if matches!(queue, Queue::Quarantine(_)) {
            let why = "whoever subscribes to a quarantine holds its chunks beside others";
            return Err(BrokerError::Refused(why.to_owned()));
        }
        self.broker.subscribe(queue, prefetch).await
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        let unconfirmed = self.unconfirmed.load(Ordering::Relaxed);
        self.taken_beside_unconfirmed
            .fetch_add(unconfirmed, Ordering::Relaxed);
        let Some(delivery) = self.broker.take(queue).await? else {
            return Ok(None);
        };
        let seq = delivery.message.headers.get("seq").cloned();
        let seq = seq.unwrap_or_default();
        held().insert(seq.clone());
        let (message, redeliveries) = (delivery.message.clone(), delivery.redeliveries);
        Ok(Some(Delivery::new(message, redeliveries, move |verdict| {
            held().remove(&seq);
            delivery.settle(verdict);
        })))
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

/// Has a worker run until `watching` has seen enough, or has seen a promise broken.
async fn run_beside(
    broker: &Watched,
    watching: impl Future<Output = Result<()>>,
) -> Result<Summary> {
    let registry = Arc::new(Registry::default().with::<Fussy>());
    let (config, stop) = (Config::named("w"), Shutdown::new());
    let watching = async {
        let watched = watching.await;
        stop.cancel();
        watched
    };
    let (summary, watched) = tokio::join!(run(broker, &registry, &config, &stop), watching);
    watched?;
    Ok(summary?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_computed_and_nothing_awaits_its_confirm_beside_a_chunk_of_a_quarantine()
-> Result<()> {
    let broker = Watched::default();
    let mut results = broker.subscribe(Queue::Results(fussy()), 500).await?;
    for number in 0..100 {
        broker.publish(own_chunk(number)?).await?;
    }
    // the first are there when the worker starts, the others arrive while it works on something else
    for number in 100..105 {
        broker.publish(quarantined(number)?).await?;
    }
    let watching = async {
        let mut seen = BTreeSet::new();
        while seen.len() < 110 {
            let delivery = soon("a result", next(&mut results)).await??;
            let change = Change::from_message(&delivery.message)?;
            ensure!(matches!(change, Change::Partial(_)), "{change:?}");
            seen.insert(delivery.message.id.clone());
            delivery.ack();
            if seen.len() == 20 {
                for number in 105..110 {
                    broker.publish(quarantined(number)?).await?;
                }
            }
        }
        soon("the verdicts", async {
            while !held().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
    };
    let summary = run_beside(&broker, watching).await?;
    ensure!(summary.chunks == 110 && summary.buried == 0, "{summary:?}");
    let beside = broker.taken_beside_unconfirmed.load(Ordering::Relaxed);
    ensure!(beside == 0, "{beside} results awaited their confirms");
    Ok(())
}
