//! A producer that serves the queue of requests: what it acknowledges, when, and what it refuses.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_common::ask::unheard;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue, Subscription};
use autoconnect_common::message::{Begun, Change, Event, JobRequest, Message, Status};
use autoconnect_common::{Format, JobId, Registry, Shutdown};
use autoconnect_producer::{Config, Summary, name_job, name_unseen, run};
use autoconnect_testkit::broker::{next, nothing, soon};
use autoconnect_testkit::record::{Recorded, Step};
use autoconnect_testkit::wordcount::{Request, WordCount, write_text};
use tokio::task::JoinHandle;

/// A producer that serves, and its broker.
struct Serving {
    broker: Recorded<Embedded>,
    stop: Shutdown,
    running: JoinHandle<Result<Summary>>,
}

impl Serving {
    fn start() -> Self {
        Self::within(None)
    }

    /// A producer that reads from `data` only.
    fn within(data: Option<&Path>) -> Self {
        Self::over(Recorded::over(Embedded::new()), data)
    }

    fn over(broker: Recorded<Embedded>, data: Option<&Path>) -> Self {
        let (config, stop) = (config(data), Shutdown::new());
        let (ours, told) = (broker.clone(), stop.clone());
        let running = tokio::spawn(async move {
            let registry = Arc::new(Registry::default().with::<WordCount>());
            Ok(run(&ours, &registry, &config, &told).await?)
        });
        Self {
            broker,
            stop,
            running,
        }
    }

    async fn stop(self) -> Result<Summary> {
        self.stop.cancel();
        soon("the producer to stop", self.running).await??
    }

    /// Asks for a job.
    async fn ask(&self, request: &JobRequest) -> Result<Message> {
        let message = request.to_message()?;
        self.broker.publish(message.clone()).await?;
        Ok(message)
    }

    /// Waits until a message is acknowledged.
    async fn acked(&self, message: &Message) -> Result<usize> {
        let step = Step::Acked(message.id.clone());
        let acked = async {
            loop {
                match self.broker.when(&step) {
                    Some(at) => return at,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        soon("the request to be acknowledged", acked).await
    }
}

/// The messages that a reducer receives.
async fn told(broker: &impl Broker) -> Result<Subscription> {
    let control = broker.subscribe(Queue::Control, 8).await?;
    let results = broker.subscribe(Queue::Results(words()), 8).await?;
    Ok(control.ahead_of(results))
}

fn words() -> Format {
    Format::of::<WordCount>()
}

fn config(data: Option<&Path>) -> Config {
    Config {
        threads: 1,
        data: data.map(Path::to_owned),
        blobs: None,
    }
}

fn request(folder: &Path, lines: u32, chunk_lines: u32) -> Result<JobRequest> {
    let file = folder.join("text.txt");
    if lines > 0 {
        write_text(&file, lines)?;
    }
    let request = Request {
        files: vec![file],
        chunk_lines,
    };
    let registry = Registry::default().with::<WordCount>();
    Ok(name_job::<WordCount>(&registry, &request, None)?)
}

/// What the producer says of the job it cuts.
async fn begun(results: &mut Subscription) -> Result<Begun> {
    let delivery = next(results).await?;
    let change = Change::from_message(&delivery.message)?;
    delivery.ack();
    match change {
        Change::Begun(begun) => Ok(begun),
        other => bail!("{other:?}, expected word of a cut that began"),
    }
}

/// What the producer says of a cut that takes long, once it listens for the answer.
async fn listening(results: &mut Subscription) -> Result<Begun> {
    let (first, second) = (begun(results).await?, begun(results).await?);
    ensure!(first.cut == second.cut, "{first:?}, {second:?}");
    Ok(second)
}

/// The producer said that it cuts the job, and nothing else.
async fn nothing_but_begun(results: &mut Subscription) -> Result<()> {
    begun(results).await?;
    nothing(results).await
}

/// The manifest that comes next.
async fn manifest(results: &mut Subscription) -> Result<autoconnect_common::message::Manifest> {
    loop {
        let delivery = next(results).await?;
        let change = Change::from_message(&delivery.message)?;
        delivery.ack();
        match change {
            Change::Manifest(manifest) => return Ok(manifest),
            Change::Begun(_) => {}
            other => bail!("{other:?}, expected a manifest"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_acknowledged_after_its_manifest_is_the_brokers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let mut results = told(&serving.broker).await?;
    let job = request(folder.path(), 500, 10)?;
    let asked = serving.ask(&job).await?;
    let manifest = manifest(&mut results).await?;
    ensure!(manifest.chunks == [50] && manifest.refusal.is_none());
    let acked = serving.acked(&asked).await?;
    let published = |id: String| {
        let at = serving.broker.when(&Step::Published(id.clone()));
        at.with_context(|| format!("{id} was not published"))
    };
    let last = published(format!("{}/manifest", job.job))?;
    ensure!(last < acked, "acknowledged before the manifest");
    for seq in manifest.seqs() {
        let chunk = published(format!("{}/{seq}", job.job))?;
        ensure!(chunk < last, "the manifest came before chunk {seq}");
    }
    let summary = serving.stop().await?;
    ensure!(
        summary
            == Summary {
                jobs: 1,
                refused: 0,
                ..Summary::default()
            },
        "{summary:?}"
    );
    Ok(())
}

// the clock stands still while anything is done
#[tokio::test(start_paused = true)]
async fn a_cut_that_is_over_soon_takes_no_queue_of_events() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let broker = serving.broker.clone();
    let mut results = told(&broker).await?;
    let job = request(folder.path(), 9, 3)?;
    let asked = serving.ask(&job).await?;
    manifest(&mut results).await?;
    serving.acked(&asked).await?;
    serving.stop().await?;
    let listened = Step::Subscribed(Queue::Events(job.job));
    ensure!(broker.when(&listened).is_none(), "{:?}", broker.steps());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_never_work_ends_its_job_with_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let mut results = told(&serving.broker).await?;
    let job = request(folder.path(), 9, 1)?;
    let file = folder.path().join("text.txt");
    std::fs::remove_file(&file)?;
    let asked = serving.ask(&job).await?;
    let refusal = manifest(&mut results).await?.refusal.unwrap_or_default();
    ensure!(
        refusal.starts_with(&file.display().to_string()),
        "{refusal}"
    );
    serving.acked(&asked).await?;

    // an unknown kind has no manifest: the refusal is an event only
    let unknown = JobRequest {
        job: "job-1".parse()?,
        kind: "unknown".to_owned(),
        ..job
    };
    let mut events = serving
        .broker
        .subscribe(Queue::Events(unknown.job.clone()), 8)
        .await?;
    let mut asked = unknown.to_message()?;
    asked.key = words().to_string();
    serving.broker.publish(asked.clone()).await?;
    let event = next(&mut events).await?;
    match Event::from_message(&event.message)? {
        Event::Finished {
            status: Status::Failed,
            reason: Some(reason),
            ..
        } => ensure!(
            reason == "kind of job \"unknown\", expected one of wordcount",
            "{reason}"
        ),
        other => bail!("{other:?}"),
    }
    serving.acked(&asked).await?;

    // what is no request at all
    let mut garbage = asked.clone();
    garbage.id = "garbage".to_owned();
    garbage.body = "{".into();
    serving.broker.publish(garbage.clone()).await?;
    serving.acked(&garbage).await?;
    let summary = serving.stop().await?;
    ensure!(
        summary
            == Summary {
                jobs: 0,
                refused: 3,
                ..Summary::default()
            },
        "{summary:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_stopped_half_way_is_cut_again_into_the_same_chunks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let broker = serving.broker.clone();
    let mut results = told(&broker).await?;
    let mut chunks = broker.subscribe(Queue::Chunks(words()), 1).await?;
    // more than the queue and the windows hold, so that the producer waits half way
    let job = request(folder.path(), 300_000, 30_000)?;
    let asked = serving.ask(&job).await?;
    let first = next(&mut chunks).await?;
    ensure!(serving.stop().await? == Summary::default());
    ensure!(broker.when(&Step::Acked(asked.id.clone())).is_none());
    ensure!(broker.when(&Step::GivenBack(asked.id)).is_some());
    nothing_but_begun(&mut results).await?;

    let registry = Arc::new(Registry::default().with::<WordCount>());
    let stop = Shutdown::new();
    let config = config(None);
    let (running, reading) = (run(&broker, &registry, &config, &stop), async {
        let seen = first.message.clone();
        first.ack();
        let mut came = BTreeMap::new();
        let mut expected = None;
        while expected.is_none_or(|chunks: usize| came.len() < chunks) {
            tokio::select! {
                chunk = next(&mut chunks) => {
                    let chunk = chunk?;
                    *came.entry(chunk.message.id.clone()).or_insert(0) += 1;
                    if chunk.message.id == seen.id {
                        ensure!(chunk.message == seen, "another chunk of the same number");
                    }
                    chunk.ack();
                }
                manifest = manifest(&mut results), if expected.is_none() => {
                    expected = Some(manifest?.seqs().count());
                }
            }
        }
        stop.cancel();
        ensure!(expected == Some(came.len()), "{came:?}");
        ensure!(came[&seen.id] == 1, "{came:?}");
        anyhow::Ok(())
    });
    let (summary, read) = tokio::join!(running, reading);
    read?;
    ensure!(
        summary?
            == Summary {
                jobs: 1,
                refused: 0,
                ..Summary::default()
            }
    );
    Ok(())
}

/// What was said at the end of a job.
async fn refusal(results: &mut Subscription) -> Result<String> {
    let refusal = manifest(results).await?.refusal;
    refusal.context("a manifest without a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reads_from_the_data_folder_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    let serving = Serving::within(Some(&data));
    let mut results = told(&serving.broker).await?;
    let outside = request(folder.path(), 9, 1)?;
    let file = folder.path().join("text.txt");
    std::os::unix::fs::symlink(&file, data.join("text.txt"))?;
    let linked = request(&data, 0, 1)?;
    for (job, named) in [(&outside, file.clone()), (&linked, data.join("text.txt"))] {
        let asked = serving.ask(job).await?;
        let said = refusal(&mut results).await?;
        ensure!(
            said == format!(
                "input {:?}: expected a file or folder inside the producer's data folder, and no link out of it",
                named
            ),
            "{said}"
        );
        serving.acked(&asked).await?;
    }
    std::fs::remove_file(data.join("text.txt"))?;
    let inside = request(&data, 9, 3)?;
    serving.ask(&inside).await?;
    ensure!(manifest(&mut results).await?.chunks == [3]);
    let summary = serving.stop().await?;
    ensure!((summary.jobs, summary.refused) == (1, 2), "{summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_cancelled_is_cut_no_further_and_the_next_one_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let broker = serving.broker.clone();
    let mut results = told(&broker).await?;
    let mut chunks = broker.subscribe(Queue::Chunks(words()), 1).await?;
    // more than the queue and the windows hold, so that the producer waits half way
    let job = request(folder.path(), 300_000, 30_000)?;
    let asked = serving.ask(&job).await?;
    let begun = begun(&mut results).await?;
    next(&mut chunks).await?.ack();
    listening(&mut results).await?;
    let progress = Event::Progress {
        job: job.job.clone(),
        done: 1,
        total: None,
        rows: 1,
    };
    broker.publish(progress.to_message(0)?).await?;
    broker.publish(ended(&begun, Status::Cancelled)?).await?;
    serving.acked(&asked).await?;
    nothing(&mut results).await?;
    let small = tempfile::tempdir()?;
    serving.ask(&request(small.path(), 9, 3)?).await?;
    let draining = async {
        while let Some(chunk) = chunks.next().await {
            chunk.ack();
        }
    };
    let manifest = tokio::select! {
        manifest = manifest(&mut results) => manifest?,
        () = draining => bail!("the broker was closed"),
    };
    ensure!(manifest.chunks == [3], "{manifest:?}");
    let summary = serving.stop().await?;
    ensure!(
        summary
            == Summary {
                jobs: 1,
                stopped: 1,
                ..Summary::default()
            },
        "{summary:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_changed_since_its_job_was_named_is_not_cut() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let mut results = told(&serving.broker).await?;
    let file = folder.path().join("text.txt");
    let edits: [&dyn Fn() -> std::io::Result<()>; 3] = [
        &|| std::fs::write(&file, "another text"),
        // another file, under the same name
        &|| {
            write_text(&folder.path().join("new"), 10)?;
            std::fs::rename(folder.path().join("new"), &file)
        },
        &|| {
            std::fs::File::options()
                .append(true)
                .open(&file)?
                .write_all(b"\n")
        },
    ];
    for edit in edits {
        let job = request(folder.path(), 9, 3)?;
        edit()?;
        let asked = serving.ask(&job).await?;
        let said = refusal(&mut results).await?;
        ensure!(
            said.ends_with(
                ": the input changed since the job was asked for: ask for the job again"
            ),
            "{said}"
        );
        serving.acked(&asked).await?;
    }
    // asked for again, it is another job, and cut
    let job = request(folder.path(), 0, 3)?;
    serving.ask(&job).await?;
    ensure!(manifest(&mut results).await?.chunks == [3]);
    let summary = serving.stop().await?;
    ensure!((summary.jobs, summary.refused) == (1, 3), "{summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_changes_while_it_is_cut_is_refused_before_the_manifest() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let serving = Serving::start();
    let broker = serving.broker.clone();
    let mut results = told(&broker).await?;
    let mut chunks = broker.subscribe(Queue::Chunks(words()), 1).await?;
    // more than the queue and the windows hold, so that the producer waits half way
    let mut job = request(folder.path(), 300_000, 30_000)?;
    // as of one who does not see the input: what it is shows when it is cut first
    job.fingerprint = None;
    serving.ask(&job).await?;
    next(&mut chunks).await?.ack();
    let file = folder.path().join("text.txt");
    std::fs::File::options()
        .append(true)
        .open(&file)?
        .write_all(b"\nlate")?;
    let draining = async {
        while let Some(chunk) = chunks.next().await {
            chunk.ack();
        }
    };
    let said = tokio::select! {
        said = refusal(&mut results) => said?,
        () = draining => bail!("the broker was closed"),
    };
    ensure!(
        said.ends_with(": the input changed while it was cut: ask for the job again"),
        "{said}"
    );
    serving.stop().await?;
    Ok(())
}

#[test]
fn no_two_requests_of_people_have_one_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let asked = Request {
        files: vec![folder.path().join("text.txt")],
        chunk_lines: 1,
    };
    let unseen = || name_unseen::<WordCount>(&asked, &unheard());
    let names = (0..10_000).map(|_| Ok(unseen()?.job.to_string()));
    let names = names.collect::<Result<std::collections::BTreeSet<String>>>()?;
    ensure!(names.len() == 10_000);
    for name in &names {
        let digits = name.strip_prefix("wordcount-").context("its kind")?;
        ensure!(digits.len() == 32, "{name}");
    }
    // a job of this process is named by its input, and by the run where there is one
    write_text(&asked.files[0], 9)?;
    let registry = Registry::default().with::<WordCount>();
    let named = |run: Option<&str>| Ok(name_job::<WordCount>(&registry, &asked, run)?.job);
    let named: &dyn Fn(Option<&str>) -> Result<JobId> = &named;
    ensure!(named(None)? == named(None)?);
    ensure!(named(Some("a"))? != named(Some("b"))? && named(Some("a"))? != named(None)?);
    Ok(())
}

/// What the reducer answers.
fn heard(begun: &Begun, whole: bool) -> Result<Message> {
    let event = Event::Begun {
        job: begun.request.job.clone(),
        cut: begun.cut.clone(),
        whole,
        done: 0,
    };
    Ok(event.to_message(7)?)
}

/// How the reducer says to an attempt to cut a job that it has ended.
fn ended(begun: &Begun, status: Status) -> Result<Message> {
    let event = Event::Finished {
        job: begun.request.job.clone(),
        status,
        reason: None,
        report: None,
        execution: None,
        cut: Some(begun.cut.clone()),
    };
    Ok(event.to_message(8)?)
}

/// A producer whose cut waits half way, and whose request the reducer has.
async fn long_cut(folder: &Path) -> Result<(Serving, Message, Begun)> {
    let serving = Serving::start();
    let broker = serving.broker.clone();
    let mut results = told(&broker).await?;
    // more than the queue and the windows hold, so that the producer waits half way
    let job = request(folder, 300_000, 30_000)?;
    let asked = serving.ask(&job).await?;
    let begun = listening(&mut results).await?;
    ensure!(begun.request.job == job.job && begun.request.fingerprint == job.fingerprint);
    // the answer to another producer's attempt does not count
    let other = Begun {
        cut: "cut-other".parse()?,
        ..begun.clone()
    };
    broker.publish(heard(&other, true)?).await?;
    broker.publish(heard(&begun, false)?).await?;
    serving.acked(&asked).await?;
    Ok((serving, asked, begun))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_cut_takes_long_is_left_to_the_reducer_and_blocks_no_other() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (serving, _, _) = long_cut(folder.path()).await?;
    let broker = serving.broker.clone();
    // another request waits for another producer, not in the hands of this one
    let small = tempfile::tempdir()?;
    let next_job = request(small.path(), 9, 3)?;
    let asked = serving.ask(&next_job).await?;
    ensure!(broker.waiting(Queue::Jobs(words())).await? == 1);
    let (registry, config) = (
        Arc::new(Registry::default().with::<WordCount>()),
        config(None),
    );
    let stop = Shutdown::new();
    let mut chunks = broker.subscribe(Queue::Chunks(words()), 1).await?;
    let draining = async {
        while let Some(chunk) = chunks.next().await {
            chunk.ack();
        }
    };
    let taken = async {
        serving.acked(&asked).await?;
        stop.cancel();
        anyhow::Ok(())
    };
    let other = async {
        let (summary, taken) = tokio::join!(run(&broker, &registry, &config, &stop), taken);
        taken?;
        ensure!(summary?.jobs == 1);
        // and once this one is through, it takes requests again
        let last = request(small.path(), 10, 3)?;
        let asked = serving.ask(&last).await?;
        serving.acked(&asked).await?;
        anyhow::Ok(())
    };
    tokio::select! {
        done = other => done?,
        () = draining => bail!("the broker was closed"),
    }
    let summary = serving.stop().await?;
    ensure!(summary.jobs == 2, "{summary:?}");
    Ok(())
}

/// Its results may have been removed since: only the reducer knows.
#[tokio::test(flavor = "multi_thread")]
async fn word_of_an_earlier_end_stops_no_cut_and_the_reducer_is_asked_about_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (serving, _, begun_first) = long_cut(folder.path()).await?;
    let broker = serving.broker.clone();
    let mut results = told(&broker).await?;
    let other = Begun {
        cut: "cut-earlier".parse()?,
        ..begun_first.clone()
    };
    broker.publish(ended(&other, Status::Done)?).await?;
    ensure!(begun(&mut results).await?.cut == begun_first.cut);
    let mut chunks = broker.subscribe(Queue::Chunks(words()), 1).await?;
    let draining = async {
        while let Some(chunk) = chunks.next().await {
            chunk.ack();
        }
    };
    tokio::select! {
        cut = manifest(&mut results) => ensure!(cut?.chunks == [10]),
        () = draining => bail!("the broker was closed"),
    }
    ensure!(serving.stop().await?.stopped == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_told_to_stop_sends_once_more_what_it_left_to_the_reducer() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let (serving, asked, begun) = long_cut(folder.path()).await?;
    let broker = serving.broker.clone();
    ensure!(serving.stop().await? == Summary::default());
    let mut requests = broker.subscribe(Queue::Jobs(words()), 1).await?;
    let again = next(&mut requests).await?;
    ensure!(again.message.id == asked.id);
    let again = JobRequest::from_message(&again.message)?;
    ensure!(again.fingerprint == begun.request.fingerprint && again.fingerprint.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_asks_for_again_is_cut_again_though_it_was_cut_to_its_end() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let job = request(folder.path(), 9, 3)?;
    let broker = Recorded::over(Embedded::new());
    let asked = job.to_message()?;
    broker.publish(asked.clone()).await?;
    let mut results = told(&broker).await?;
    let serving = Serving::over(broker, None);
    let begun = begun(&mut results).await?;
    serving.broker.publish(heard(&begun, true)?).await?;
    serving.acked(&asked).await?;
    ensure!(serving.broker.waiting(Queue::Chunks(words())).await? > 0);
    let summary = serving.stop().await?;
    ensure!((summary.jobs, summary.stopped) == (1, 0), "{summary:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_ended_or_was_cut_to_its_end_is_not_cut_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let job = request(folder.path(), 9, 3)?;
    let whole: &dyn Fn(&Begun) -> Result<Message> = &|begun| heard(begun, true);
    let done: &dyn Fn(&Begun) -> Result<Message> = &|begun| ended(begun, Status::Done);
    for answer in [whole, done] {
        let broker = Recorded::over(Embedded::new());
        let asked = job.to_message()?;
        broker.publish(asked.clone()).await?;
        // redelivered
        let mut requests = broker.subscribe(Queue::Jobs(words()), 1).await?;
        next(&mut requests).await?.give_back();
        drop(requests);
        let serving = Serving::over(broker, None);
        let mut results = told(&serving.broker).await?;
        let begun = begun(&mut results).await?;
        serving.broker.publish(answer(&begun)?).await?;
        serving.acked(&asked).await?;
        ensure!(serving.broker.waiting(Queue::Chunks(words())).await? == 0);
        let summary = serving.stop().await?;
        ensure!((summary.jobs, summary.stopped) == (0, 1), "{summary:?}");
    }
    Ok(())
}
