//! How jobs end in hard cases: a conclusion that kills the reducer or takes long, a disk that refuses, chunks without a
//! worker, a requeue of which half is lost.

use std::fs;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use autoconnect_common::broker::{Broker, Queue};
use autoconnect_common::fetch::{self, FetchError};
use autoconnect_common::message::{Event, Exchange, Message, Revived, Status, bury, revive};
use autoconnect_common::{Format, JobId, Shutdown, ask};
use autoconnect_reducer::Summary;
use autoconnect_reducer::faults::Point;
use autoconnect_testkit::broker::soon;
use autoconnect_testkit::wordcount::WordCount;
use autoconnect_testkit::{cluster, jobs};
use tokio::runtime::Runtime;

use crate::reducer::{Case, Life, World, cancellation, check_files, in_order, kill_at, never};

/// Runs a reducer during `during`, then stops it.
fn beside<T>(world: &World, during: impl AsyncFnOnce() -> Result<T>) -> Result<(Summary, T)> {
    Runtime::new()?.block_on(async {
        let (registry, stop) = (jobs::registry(), Shutdown::new());
        let config = world.config();
        let reducing = autoconnect_reducer::run(&world.broker, &registry, config, stop.clone());
        let looking = async {
            let seen = during().await;
            stop.cancel();
            seen
        };
        let (reduced, seen) = tokio::join!(reducing, looking);
        Ok((reduced?, seen?))
    })
}

/// Waits until that many messages wait in a queue.
fn words() -> Format {
    Format::of::<WordCount>()
}

async fn until_waiting(world: &World, queue: Queue, count: u64) -> Result<()> {
    let waiting = async {
        while world.broker.waiting(queue.clone()).await? != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    soon("messages to wait", waiting).await?
}

/// The case's messages without one partial, and the message of the chunk that it was made of (but for its rows).
fn without_one(case: &Case) -> Result<(Vec<Message>, Message)> {
    let lost = case.partial(3)?;
    let mut messages = case.messages.clone();
    let id = format!("{}/{}/partial", case.job, lost.seq);
    let at = messages.iter().position(|m| m.id == id).context("it")?;
    let mut chunk = messages.remove(at);
    chunk.kind = "chunk".to_owned();
    chunk.exchange = Exchange::Chunks;
    chunk.key = "wordcount.v1.text".to_owned();
    let digest = ("sha256".to_owned(), lost.chunk.to_string());
    chunk
        .headers
        .extend([digest, ("key".to_owned(), "text".to_owned())]);
    Ok((messages, chunk))
}

#[test]
fn a_conclusion_that_kills_the_reducer_is_given_up_after_three_attempts_and_others_go_on()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let (deadly, other) = (Case::sales(folder.path())?, Case::words(folder.path())?);
    let world = World::new(in_order(1))?;
    world.send(&deadly.messages)?;
    for _ in 0..3 {
        let life = world.live(&[&deadly.job], kill_at(Point::Concluded, 1))?;
        ensure!(matches!(life, Life::Killed(Point::Concluded)), "{life:?}");
    }
    world.send(&other.messages)?;
    let (_, ends) = world.live(&[&deadly.job, &other.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Failed, "{ends:?}");
    let reason = ends[0].reason.clone().unwrap_or_default();
    ensure!(
        reason == "concluding was tried three times and the reducer did not survive it",
        "{reason}"
    );
    ensure!(ends[1].status == Status::Done, "{ends:?}");
    let own = world.results().join("jobs").join(other.job.as_str());
    check_files(&own, &other)
}

#[test]
fn two_deadly_attempts_are_forgotten_once_a_report_is_made() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    for point in [
        Point::Concluded,
        Point::Concluded,
        Point::ReportWritten,
        Point::Concluded,
    ] {
        let life = world.live(&[&case.job], kill_at(point, 1))?;
        ensure!(matches!(life, Life::Killed(at) if at == point), "{life:?}");
    }
    world.live(&[&case.job], never)?.whole()?;
    world.check_done(&case)
}

#[test]
fn a_cancellation_comes_before_the_conclusion_that_was_found_at_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    let life = world.live(&[&case.job], kill_at(Point::Concluded, 1))?;
    ensure!(matches!(life, Life::Killed(Point::Concluded)), "{life:?}");
    world.send(&[cancellation(&case)?])?;
    let (_, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Cancelled, "{ends:?}");
    Ok(())
}

#[test]
fn a_conclusion_that_lasts_holds_up_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cases = [Case::sales(folder.path())?, Case::words(folder.path())?];
    let world = World::new(in_order(1))?;
    for case in &cases {
        world.send(&case.messages)?;
    }
    // the first conclusion lasts until the second one, of a job whose results came meanwhile, has begun
    let concluded = Arc::new((Mutex::new(0u32), Condvar::new()));
    let seen = Arc::clone(&concluded);
    let wait = move |point| {
        if point == Point::Concluded {
            let (count, changed) = &*seen;
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            changed.notify_all();
            let most = Duration::from_secs(60);
            let (_count, out) = changed
                .wait_timeout_while(count, most, |count| *count < 2)
                .unwrap_or_else(PoisonError::into_inner);
            return out.timed_out();
        }
        false
    };
    let both = [&cases[0].job, &cases[1].job];
    let (summary, _) = world.live(&both, wait)?.whole()?;
    ensure!(summary.done == 2, "{summary:?}");
    Ok(())
}

#[test]
fn while_nothing_can_be_kept_nothing_is_held_and_nothing_good_is_dead() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    let all = case.messages.len() as u64;
    let state = world.folder.path().join("state");
    let in_the_way = state.join("jobs").join(case.job.as_str());
    let (summary, ()) = beside(&world, async || {
        let job = Queue::Events(case.job.clone());
        let mut events = world.broker.subscribe(job, 64).await?;
        let ready = async {
            while !state.join("done").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the reducer to be ready", ready).await?;
        fs::write(&in_the_way, "a file where the job's folder is to be")?;
        for message in &case.messages {
            world.broker.publish(message.clone()).await?;
        }
        until_waiting(&world, Queue::Results(words()), all).await?;
        // retried several times by now, and nothing is unacked
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let waiting = world.broker.waiting(Queue::Results(words())).await?;
            ensure!(waiting == all, "{waiting} of {all} wait");
        }
        fs::remove_file(&in_the_way)?;
        let end = cluster::finished(&mut events, &case.job).await?;
        ensure!(end.status == Status::Done, "{end:?}");
        soon("everything acknowledged", world.broker.quiet()).await?;
        let dead = world.broker.waiting(Queue::DeadResults).await?;
        ensure!(dead == 0, "{dead} good results are dead");
        Ok(())
    })?;
    // each came once in vain at most
    ensure!(summary.duplicates + summary.late <= all, "{summary:?}");
    world.check_done(&case)
}

#[test]
fn a_job_is_not_abandoned_while_its_chunks_wait_for_a_worker() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let mut world = World::new(in_order(1))?;
    world.abandon_after = Duration::from_millis(400);
    let (messages, chunk) = without_one(&case)?;
    world.send(&messages)?;
    world.send(&[chunk])?;
    beside(&world, async || {
        let job = Queue::Events(case.job.clone());
        let mut events = world.broker.subscribe(job, 64).await?;
        tokio::time::sleep(5 * world.abandon_after).await;
        ensure!(
            world.is_open(&case.job),
            "abandoned with a chunk in the queue"
        );
        let mut chunks = world.broker.subscribe(Queue::Chunks(words()), 1).await?;
        soon("the chunk", chunks.next())
            .await?
            .context("open")?
            .ack();
        let end = cluster::finished(&mut events, &case.job).await?;
        ensure!(end.status == Status::Incomplete, "{end:?}");
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_job_that_nobody_cut_yet_is_not_abandoned_while_requests_wait_for_a_producer() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let mut world = World::new(in_order(1))?;
    world.abandon_after = Duration::from_millis(400);
    // one partial came, and its producer died: the request is back in its queue
    world.send(&case.messages[..1])?;
    let request = jobs::words(folder.path(), 97)?.to_message()?;
    world.send(&[request])?;
    beside(&world, async || {
        let job = Queue::Events(case.job.clone());
        let mut events = world.broker.subscribe(job, 64).await?;
        tokio::time::sleep(5 * world.abandon_after).await;
        ensure!(
            world.is_open(&case.job),
            "abandoned with a request in the queue"
        );
        let mut requests = world.broker.subscribe(Queue::Jobs(words()), 1).await?;
        soon("the request", requests.next())
            .await?
            .context("open")?
            .ack();
        let end = cluster::finished(&mut events, &case.job).await?;
        ensure!(end.status == Status::Failed, "{end:?}");
        Ok(())
    })?;
    Ok(())
}

/// A job with a dead chunk, and the two messages of a requeue: the notice, and the chunk.
fn requeue(case: &Case) -> Result<(Vec<Message>, Message, Message)> {
    let (mut messages, chunk) = without_one(case)?;
    let dead = bury(chunk, "boom");
    let word = Revived::of(&dead)?.context("of a chunk")?.to_message();
    let again = revive(dead.clone())?;
    messages.push(dead);
    Ok((messages, word, again))
}

#[test]
fn a_requeue_of_which_only_the_word_came_ends_the_job_without_the_chunk() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let mut world = World::new(in_order(1))?;
    world.abandon_after = Duration::from_millis(600);
    let (messages, word, _) = requeue(&case)?;
    world.send(&[word])?;
    world.send(&messages)?;
    let (_, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Incomplete, "{ends:?}");
    Ok(())
}

#[test]
fn a_requeue_of_which_only_the_chunk_came_completes_the_job() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    let (messages, _, again) = requeue(&case)?;
    ensure!(
        again
            .headers
            .get("revived")
            .is_some_and(|times| times == "1")
    );
    // the last message stays away until the chunk was worked once more
    let (last, others) = messages.split_last().context("messages")?;
    world.send(std::slice::from_ref(last))?;
    let manifest = others.iter().position(|m| m.kind == "manifest");
    let mut others = others.to_vec();
    let manifest = others.remove(manifest.context("a manifest")?);
    world.send(&others)?;
    let lost = case.partial(3)?;
    world.send(&[lost.to_message()])?;
    world.send(&[manifest])?;
    let (_, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Done, "{ends:?}");
    world.check_done(&case)
}

#[test]
fn a_report_too_large_for_an_event_is_fetched_in_parts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    world.live(&[&case.job], never)?.whole()?;
    // as a report on thousands of cities is
    let large: Vec<u8> = (0..5_500_000u32)
        .flat_map(u32::to_le_bytes)
        .map(|b| b'a' + b % 26)
        .collect();
    let own = world.results().join("jobs").join(case.job.as_str());
    fs::write(own.join("report.json"), &large)?;
    let fetched = folder.path().join("fetched.json");
    beside(&world, async || {
        let job = Queue::Events(case.job.clone());
        let mut events = world.broker.subscribe(job, 64).await?;
        ask::ask(&world.broker, Some(&case.job)).await?;
        let told = async {
            loop {
                let event = events.next().await.context("open")?;
                let news = Event::from_message(&event.message)?;
                event.ack();
                if let Event::Finished { report, .. } = news {
                    return anyhow::Ok(report);
                }
            }
        };
        let report = soon("word of its end", told).await??;
        ensure!(report.is_none(), "it is too large to travel in one piece");
        soon(
            "all parts",
            fetch::report(&world.broker, &case.job, &fetched),
        )
        .await??;
        let unknown: JobId = "sales-unknown".parse()?;
        let none = fetch::report(&world.broker, &unknown, &folder.path().join("none")).await;
        ensure!(matches!(none, Err(FetchError::None(_))), "{none:?}");
        Ok(())
    })?;
    ensure!(fs::read(&fetched)? == large, "other bytes");
    Ok(())
}
