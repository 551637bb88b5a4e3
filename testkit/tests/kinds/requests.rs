//! Requests whose producers die: their jobs are cut to the end by others, or end with the reason, and never of two inputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue};
use autoconnect_common::message::{JobRequest, Status};
use autoconnect_common::{Format, Registry, Shutdown};
use autoconnect_testkit::broker::soon;
use autoconnect_testkit::cluster::{Cluster, End, files_of, finished};
use autoconnect_testkit::jobs;
use autoconnect_testkit::record::{Recorded, Step};
use autoconnect_testkit::wordcount::{Request, WordCount, write_text};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// More than the queue of chunks and the windows hold, so that a producer waits half way while there are no workers.
const LINES: u32 = 300_000;

/// A broker and a reducer; producers and workers come and go.
struct Site {
    broker: Recorded<Embedded>,
    registry: Arc<Registry>,
    folder: TempDir,
    stop: Shutdown,
}

impl Site {
    /// A site whose reducer asks again for a job that no producer cuts for `lease`.
    fn new(lease: Duration) -> Result<Self> {
        let site = Self {
            broker: Recorded::over(Embedded::new()),
            registry: Arc::new(jobs::registry()),
            folder: tempfile::tempdir()?,
            stop: Shutdown::new(),
        };
        let config = autoconnect_reducer::Config {
            lease,
            ..autoconnect_reducer::Config::durable(site.at("results"), site.at("state"))
        };
        let (broker, registry, stop) = site.all();
        tokio::spawn(
            async move { autoconnect_reducer::run(&broker, &registry, config, stop).await },
        );
        Ok(site)
    }

    fn all(&self) -> (Recorded<Embedded>, Arc<Registry>, Shutdown) {
        let registry = Arc::clone(&self.registry);
        (self.broker.clone(), registry, self.stop.clone())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn producer(&self) -> JoinHandle<Result<autoconnect_producer::Summary>> {
        let (broker, registry, stop) = self.all();
        let config = autoconnect_producer::Config {
            threads: 1,
            data: None,
            blobs: None,
        };
        tokio::spawn(async move {
            Ok(autoconnect_producer::run(&broker, &registry, &config, &stop).await?)
        })
    }

    fn worker(&self) {
        let (broker, registry, stop) = self.all();
        let config = autoconnect_worker::Config::named("worker");
        tokio::spawn(
            async move { autoconnect_worker::run(&broker, &registry, &config, &stop).await },
        );
    }

    /// A request for the words of a file in the site's folder.
    fn request(&self, lines: u32) -> Result<JobRequest> {
        let file = self.at("text.txt");
        write_text(&file, lines)?;
        words(&file, lines / 10)
    }

    /// Asks for a job, waits for its end.
    async fn ends(&self, request: &JobRequest) -> Result<End> {
        let events = Queue::Events(request.job.clone());
        let mut events = self.broker.subscribe(events, 64).await?;
        finished(&mut events, &request.job).await
    }

    /// Waits until something happened at the broker.
    async fn saw(&self, step: Step) -> Result<()> {
        let seen = async {
            while self.broker.when(&step).is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("a step of the broker", seen).await
    }
}

fn words(file: &Path, chunk_lines: u32) -> Result<JobRequest> {
    let request = Request {
        files: vec![file.to_owned()],
        chunk_lines,
    };
    let name = autoconnect_producer::name_job::<WordCount>;
    Ok(name(&jobs::registry(), &request, None)?)
}

/// Ends a role as `kill -9` does: nothing of it goes on.
async fn kill<T>(role: JoinHandle<T>) -> Result<()> {
    role.abort();
    let ended = role.await;
    ensure!(ended.is_err_and(|end| end.is_cancelled()), "it had ended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_producer_died_after_it_left_its_request_is_cut_by_another() -> Result<()> {
    // a producer says every five seconds that it cuts
    let site = Site::new(Duration::from_secs(8))?;
    let request = site.request(LINES)?;
    let alone = Cluster::of(jobs::registry(), 1);
    let alone = alone.run(Embedded::new(), request.clone()).await?;
    let message = request.to_message()?;
    site.broker.publish(message.clone()).await?;
    let first = site.producer();
    site.saw(Step::Acked(message.id)).await?;
    kill(first).await?;
    ensure!(site.broker.waiting(requests()).await? == 0);
    let _second = site.producer();
    site.worker();
    let end = site.ends(&request).await?;
    ensure!(end.status == Status::Done, "{end:?}");
    let report = files_of(&site.at("results/wordcount"))?;
    let report = report.get("report.json").context("a report")?;
    ensure!(report == alone.report()?);
    site.stop.cancel();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_was_replaced_between_two_attempts_ends_the_job_and_says_so() -> Result<()> {
    // asked for by one who sees the input, and by one who does not
    let expected = [
        "the input changed since the job was asked for: ask for the job again",
        "inconsistent: the input changed between two attempts to cut the job: ask for it again",
    ];
    for (seen, expected) in [true, false].into_iter().zip(expected) {
        let site = Site::new(Duration::MAX)?;
        let mut request = site.request(LINES)?;
        if !seen {
            request.fingerprint = None;
        }
        site.broker.publish(request.to_message()?).await?;
        let first = site.producer();
        // the reducer has the first attempt's `begun`, and chunks of it wait
        let begun = async {
            let events = Queue::Events(request.job.clone());
            let mut events = site.broker.subscribe(events, 64).await?;
            loop {
                let event = events.next().await.context("an event")?;
                let news = autoconnect_common::message::Event::from_message(&event.message)?;
                event.ack();
                if let autoconnect_common::message::Event::Begun { .. } = news {
                    return anyhow::Ok(());
                }
            }
        };
        soon("the reducer to hear of the cut", begun).await??;
        kill(first).await?;
        // a corrected export takes the place of the file
        write_text(&site.at("new.txt"), LINES - 7)?;
        std::fs::rename(site.at("new.txt"), site.at("text.txt"))?;
        site.worker();
        let ends = site.ends(&request);
        let _second = site.producer();
        let end = ends.await?;
        ensure!(end.status == Status::Failed, "{end:?}");
        let reason = end.reason.as_deref().unwrap_or_default();
        ensure!(reason.ends_with(expected), "{end:?}");
        site.stop.cancel();
    }
    Ok(())
}

/// The queue of requests.
fn requests() -> Queue {
    Queue::Jobs(Format::of::<WordCount>())
}

/// The dead requests: which, and why.
async fn dead_requests(broker: &Recorded<Embedded>) -> Result<Vec<(String, String)>> {
    let (lines, _) = autoconnect_common::dead::list(broker, 100).await?;
    let requests = lines.into_iter().filter(|line| line.r#type == "job");
    Ok(requests.map(|line| (line.id, line.reason)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_kills_its_producers_ends_dead_with_the_reason_and_the_next_one_goes_on()
-> Result<()> {
    let site = Site::new(Duration::MAX)?;
    let request = site.request(100)?;
    let events = Queue::Events(request.job.clone());
    let mut events = site.broker.subscribe(events, 64).await?;
    let message = request.to_message()?;
    site.broker.publish(message.clone()).await?;
    let (limit, _) = requests().delivery_limit().context("a limit")?;
    let mut requests = site.broker.subscribe(requests(), 1).await?;
    for taken in 0..=limit {
        let delivery = soon("the request", requests.next()).await?;
        let delivery = delivery.context("the broker was closed")?;
        ensure!(delivery.redeliveries == taken && delivery.message.id == message.id);
        // its consumer dies
        drop(delivery);
    }
    drop(requests);
    let end = finished(&mut events, &request.job).await?;
    let reason = "every producer that took the request died";
    ensure!(end.status == Status::Failed, "{end:?}");
    let told = end.reason.context("a reason")?;
    ensure!(told == format!("the job was not cut: {reason}"), "{told}");
    let dead = dead_requests(&site.broker).await?;
    ensure!(dead == [(message.id, reason.to_owned())], "{dead:?}");

    write_text(&site.at("other.txt"), 100)?;
    let other = words(&site.at("other.txt"), 10)?;
    site.broker.publish(other.to_message()?).await?;
    site.worker();
    let ends = site.ends(&other);
    let _producer = site.producer();
    let end = ends.await?;
    ensure!(end.status == Status::Done, "{end:?}");
    site.stop.cancel();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_read_is_dead_at_once_with_the_reason() -> Result<()> {
    let site = Site::new(Duration::MAX)?;
    let _producer = site.producer();
    let request = site.request(100)?;
    let events = Queue::Events(request.job.clone());
    let mut events = site.broker.subscribe(events, 64).await?;
    let mut message = request.to_message()?;
    message.body = "{".into();
    site.broker.publish(message.clone()).await?;
    let end = finished(&mut events, &request.job).await?;
    let told = end.reason.context("a reason")?;
    ensure!(told.starts_with("the job was not cut: message "), "{told}");
    // one that does not even say which job it is of
    let mut nameless = message.clone();
    nameless.id = "nameless".to_owned();
    nameless.headers.remove("job");
    site.broker.publish(nameless).await?;
    let both = async {
        loop {
            let dead = dead_requests(&site.broker).await?;
            if dead.len() == 2 {
                return anyhow::Ok(dead);
            }
        }
    };
    let dead = soon("both to be dead", both).await??;
    ensure!(
        dead[0].0 == message.id && dead[1].0 == "nameless",
        "{dead:?}"
    );
    ensure!(
        dead.iter().all(|(_, why)| why.contains("body: EOF")),
        "{dead:?}"
    );
    ensure!(site.broker.waiting(Queue::DeadResults).await? == 0);
    site.stop.cancel();
    Ok(())
}
