//! What the reducer keeps and publishes: on disks that fail and flip bits, with results that are removed or away, and
//! with endings that race.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use autoconnect_common::ask;
use autoconnect_common::disk::Failing;

use super::*;

impl World {
    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The journals and pages of a job, as they are now.
    fn kept(&self, case: &Case) -> PathBuf {
        self.state().join("jobs").join(case.job.as_str())
    }

    fn tombstone(&self, case: &Case) -> Result<Value> {
        let path = self.state().join(format!("done/{}.json", case.job));
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// One life of a reducer that goes on until `over` says so.
    fn live_until(&self, over: impl Fn() -> bool) -> Result<Summary> {
        Runtime::new()?.block_on(async {
            let (registry, stop) = (jobs::registry(), Shutdown::new());
            let running =
                autoconnect_reducer::run(&self.broker, &registry, self.config(), stop.clone());
            let watching = async {
                let watch = async {
                    while !over() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                let seen = soon("what is waited for", watch).await;
                stop.cancel();
                seen
            };
            let (summary, seen) = tokio::join!(running, watching);
            seen?;
            Ok(summary?)
        })
    }

    /// Everything but the manifest is taken in one life of a reducer; the manifest waits for the next.
    fn half_way(&self, case: &Case) -> Result<()> {
        let manifest = self.all_but_the_manifest(case)?;
        self.send(&manifest)
    }

    /// Everything but the manifest is taken in one life of a reducer; what is to be sent is given back.
    fn all_but_the_manifest(&self, case: &Case) -> Result<Vec<Message>> {
        let (manifest, others): (Vec<_>, Vec<_>) = case
            .messages
            .iter()
            .cloned()
            .partition(|m| m.kind == "manifest");
        self.send(&others)?;
        let summary = self.live_until(|| self.broker.figures().on_their_way == 0)?;
        ensure!(summary.merged > 0, "{summary:?}");
        Ok(manifest)
    }
}

fn flip(path: &Path, place: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let byte = bytes.get_mut(place).context("a byte there")?;
    *byte ^= 1;
    Ok(fs::write(path, bytes)?)
}

/// Where the record of a partial is in a journal, somewhere in its middle, and its chunk's number.
fn record_in_the_middle(journal: &Path) -> Result<(usize, String)> {
    let bytes = fs::read(journal)?;
    let needle = b"{\"partial\":";
    let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(needle));
    let starts: Vec<usize> = starts.collect();
    let start = starts[starts.len() / 2];
    let text = String::from_utf8_lossy(&bytes[start..start + 300]).into_owned();
    let (_, rest) = text.split_once("\"seq\":\"").context("a number")?;
    let (seq, _) = rest.split_once('"').context("its end")?;
    Ok((start, seq.to_owned()))
}

#[test]
fn a_flipped_bit_in_a_journal_costs_one_chunk_which_is_named_as_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    let mut world = World::new(in_order(1))?;
    world.half_way(&case)?;
    let (start, seq) = record_in_the_middle(&world.journal(&case))?;
    flip(&world.journal(&case), start + 5)?;
    world.abandon_after = Duration::from_secs(1);
    let (_, ends) = world.live(&[&case.job], never)?.whole()?;
    let reason = ends[0].reason.clone().unwrap_or_default();
    ensure!(ends[0].status == Status::Incomplete, "{ends:?}");
    ensure!(reason.starts_with("1 of "), "{reason}");
    ensure!(reason.contains(&format!("missing: {seq} (")), "{reason}");
    ensure!(
        reason.contains("or it was lost with what the reducer cannot read"),
        "{reason}"
    );
    let report: Value = serde_json::from_slice(&fs::read(world.own(&case).join("report.json"))?)?;
    ensure!(report["qualite"]["complet"] == false);
    ensure!(report["qualite"]["chunks_perdus"] == serde_json::json!([seq]));
    Ok(())
}

#[test]
fn a_chunk_that_was_lost_on_disk_counts_once_it_comes_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    for place in [0, 5] {
        let world = World::new(in_order(1))?;
        world.half_way(&case)?;
        let (start, _) = record_in_the_middle(&world.journal(&case))?;
        // the record's length, or its payload; another one in the header
        flip(
            &world.journal(&case),
            start + place - 12 * usize::from(place == 0),
        )?;
        flip(&world.journal(&case), 3)?;
        // the job is requested again
        world.send(&case.messages)?;
        let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
        ensure!(ends[0].status == Status::Done, "{ends:?}");
        ensure!(summary.merged == 1, "{summary:?}");
        world.check_done(&case)?;
    }
    Ok(())
}

#[test]
fn a_report_that_was_published_stays_the_end_of_its_job_although_the_journal_is_damaged_since()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    let mut world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    let killed = world.live(&[&case.job], kill_at(Point::ReportLinked, 1))?;
    ensure!(matches!(killed, Life::Killed(_)), "{killed:?}");
    let (start, _) = record_in_the_middle(&world.journal(&case))?;
    flip(&world.journal(&case), start + 5)?;
    world.abandon_after = Duration::from_secs(1);
    let (_, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(ends[0].status == Status::Done, "{ends:?}");
    world.check_done(&case)
}

#[test]
fn a_damaged_page_never_becomes_part_of_a_side_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    for gone in [false, true] {
        let world = World::new(in_order(1))?;
        world.half_way(&case)?;
        let page = world.kept(&case).join("pages/rejets.csv.0");
        if gone {
            fs::remove_file(&page)?;
        } else {
            flip(&page, fs::read(&page)?.len() / 2)?;
        }
        let (_, ends) = world.live(&[&case.job], never)?.whole()?;
        let reason = ends[0].reason.clone().unwrap_or_default();
        ensure!(ends[0].status == Status::Incomplete, "{ends:?}");
        ensure!(
            reason.contains("rejets.csv is missing: its page 0 is damaged"),
            "{reason}"
        );
        let own = world.own(&case);
        ensure!(!own.join("rejets.csv").exists() && own.join("report.json").exists());
        let execution: Value = serde_json::from_slice(&fs::read(own.join("execution.json"))?)?;
        ensure!(execution["status"] == "incomplete", "{execution}");
    }
    Ok(())
}

#[test]
fn a_damaged_page_that_comes_again_is_whole() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    let world = World::new(in_order(1))?;
    let manifest = world.all_but_the_manifest(&case)?;
    flip(&world.kept(&case).join("pages/rejets.csv.0"), 30)?;
    let pages = case.messages.iter().filter(|m| m.kind == "annex");
    world.send(&pages.cloned().collect::<Vec<_>>())?;
    world.live_until(|| world.broker.figures().on_their_way == 0)?;
    world.send(&manifest)?;
    world.live(&[&case.job], never)?.whole()?;
    world.check_done(&case)
}

#[test]
fn a_late_result_beside_ten_thousand_tombstones_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    world.live(&[&case.job], never)?.whole()?;
    let before = world.tombstone(&case)?;
    for number in 0..10_001 {
        let job = format!("sales-newer{number:06}");
        let tombstone = serde_json::json!({
            "job": job, "status": "done", "reason": null, "ended_at": 4_000_000_000_u64 + number,
        });
        fs::write(
            world.state().join(format!("done/{job}.json")),
            tombstone.to_string(),
        )?;
    }
    let late = &case.messages[..3];
    world.send(late)?;
    let summary = world.live_until(|| world.broker.figures().on_their_way == 0)?;
    ensure!(summary.late == 3 && summary.merged == 0, "{summary:?}");
    ensure!(world.tombstone(&case)? == before);
    ensure!(fs::read_dir(world.state().join("done"))?.count() == 10_002);
    Ok(())
}

#[test]
fn late_results_of_a_job_whose_results_are_removed_or_away_never_change_how_it_ended() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    for away in [false, true] {
        let mut world = World::new(in_order(1))?;
        world.send(&case.messages)?;
        world.live(&[&case.job], never)?.whole()?;
        let before = world.tombstone(&case)?;
        let (results, aside) = (world.results(), world.folder.path().join("aside"));
        if away {
            fs::rename(&results, &aside)?;
            fs::create_dir(&results)?;
        } else {
            fs::remove_dir_all(world.own(&case))?;
        }
        let without_manifest = case.messages.iter().filter(|m| m.kind != "manifest");
        let mut late: Vec<Message> = without_manifest.take(5).cloned().collect();
        late.push(cancellation(&case)?);
        world.send(&late)?;
        world.live_until(|| world.broker.figures().on_their_way == 0)?;
        ensure!(world.tombstone(&case)? == before, "away: {away}");
        if away {
            fs::remove_dir(&results)?;
            fs::rename(&aside, &results)?;
        }
        // it is forgotten what came, not how the job ended
        world.abandon_after = Duration::from_millis(300);
        let kept = world.kept(&case);
        world.live_until(|| !kept.exists())?;
        ensure!(world.tombstone(&case)? == before, "away: {away}");
        if away {
            world.check_done(&case)?;
        }
    }
    Ok(())
}

#[test]
fn a_damaged_tombstone_still_says_that_its_job_ended() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::words(folder.path())?;
    let world = World::new(in_order(1))?;
    world.send(&case.messages)?;
    world.live(&[&case.job], never)?.whole()?;
    let path = world.state().join(format!("done/{}.json", case.job));
    fs::write(&path, b"\0\0\0")?;
    world.send(&case.messages)?;
    let (summary, ends) = world.live(&[&case.job], never)?.whole()?;
    ensure!(
        summary.merged == 0 && ends[0].status == Status::Done,
        "{summary:?}, {ends:?}"
    );
    world.check_done(&case)
}

#[test]
fn whatever_single_disk_operation_fails_the_report_has_its_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let case = Case::sales(folder.path())?;
    let mut operation = 1;
    loop {
        let mut world = World::new(in_order(1))?;
        let failing = Failing::at(-1);
        world.disk = Arc::new(failing.clone());
        world.snapshot_after = Some(4096);
        world.send(&case.messages)?;
        // the first are those of the start, which a supervisor tries again
        failing.fail(operation);
        let lived = world.live(&[&case.job], never);
        let what = format!("operation {operation} failed");
        if let Err(error) = lived {
            let started = error.downcast_ref::<Error>();
            ensure!(
                matches!(started, Some(Error::State { .. })),
                "{what}: {error:#}"
            );
            failing.fail(-1);
            world.live(&[&case.job], never)?.whole()?;
        }
        if world.check_done(&case).is_err() {
            // what could not be removed after the end, the next reducer removes
            failing.fail(-1);
            world.live(&[&case.job], never)?.whole()?;
        }
        world.check_done(&case).context(what)?;
        ensure!(world.tombstone(&case)?["status"] == "done");
        if failing.is_waiting() {
            break;
        }
        // each in turn where a start and an end are, and one in seven in between
        operation += if operation < 40 { 1 } else { 7 };
    }
    ensure!(operation > 60, "{operation}");
    Ok(())
}

#[test]
fn a_job_that_ended_earlier_and_is_published_later_is_not_the_newest() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let early = &Case::words_in_chunks_of(folder.path(), 97)?;
    let late = &Case::words_in_chunks_of(folder.path(), 89)?;
    let world = &World::new(Mischief::default())?;
    // the early job, once it is written, waits until the late one, which is sent only then, is the newest
    let (written, is_written) = mpsc::channel();
    let (waits, shown) = (AtomicBool::new(true), Arc::new(AtomicBool::new(false)));
    let is_shown = Arc::clone(&shown);
    let race = move |point| {
        if point == Point::ReportWritten && waits.swap(false, Ordering::Relaxed) {
            let _ = written.send(());
            for _ in 0..3_000 {
                if is_shown.load(Ordering::Relaxed) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if point == Point::ReportLinked {
            is_shown.store(true, Ordering::Relaxed);
        }
        false
    };
    world.send(&early.messages)?;
    let (summary, ends) = std::thread::scope(|scope| {
        let life = scope.spawn(move || world.live(&[&early.job, &late.job], race));
        is_written.recv()?;
        world.send(&late.messages)?;
        let life = life.join();
        life.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
            .whole()
    })?;
    ensure!(summary.done == 2, "{summary:?}");
    ensure!(shown.load(Ordering::Relaxed), "the late job was not shown");
    let reason = ends[0].reason.clone().unwrap_or_default();
    ensure!(reason.contains("which ended later"), "{ends:?}");
    world.check_done(late)
}

#[test]
fn a_person_makes_an_older_report_the_newest() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let old = &Case::words_in_chunks_of(folder.path(), 97)?;
    let new = &Case::words_in_chunks_of(folder.path(), 89)?;
    let world = World::new(in_order(1))?;
    for case in [old, new] {
        world.send(&case.messages)?;
        world.live(&[&case.job], never)?.whole()?;
    }
    world.check_done(new)?;
    let asked = Runtime::new()?.block_on(async {
        let (registry, stop) = (jobs::registry(), Shutdown::new());
        let running =
            autoconnect_reducer::run(&world.broker, &registry, world.config(), stop.clone());
        let asking = async {
            let chosen = ask::make_newest(&world.broker, &old.job).await;
            let never_was = ask::make_newest(&world.broker, &"sales-never".parse()?).await;
            stop.cancel();
            anyhow::Ok((chosen?, never_was?))
        };
        let (summary, asked) = tokio::join!(running, asking);
        summary?;
        asked
    })?;
    let (chosen, never_was) = asked;
    ensure!(chosen == Ok(()), "{chosen:?}");
    ensure!(
        never_was == Err("job sales-never has no report".to_owned()),
        "{never_was:?}"
    );
    world.check_done(old)
}

#[test]
fn a_report_without_a_row_is_the_newest_only_where_somebody_accepts_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("text.txt"), "")?;
    let case = Case::words(folder.path())?;
    for accepted in [false, true] {
        let world = World::new(in_order(1))?;
        let mut messages = case.messages.clone();
        if accepted {
            for message in messages.iter_mut().filter(|m| m.kind == "manifest") {
                let mut manifest: Value = serde_json::from_slice(&message.body)?;
                manifest["accept"] = serde_json::json!({"empty": true});
                message.body = serde_json::to_vec(&manifest)?.into();
            }
        }
        world.send(&messages)?;
        let (_, ends) = world.live(&[&case.job], never)?.whole()?;
        ensure!(ends[0].status == Status::Done, "{ends:?}");
        let reason = ends[0].reason.clone().unwrap_or_default();
        if accepted {
            check_files(&world.newest(&case), &case)?;
            ensure!(reason.is_empty(), "{reason}");
        } else {
            world.check_old(&case)?;
            ensure!(reason.contains("has no accepted row"), "{reason}");
            check_files(&world.own(&case), &case)?;
        }
    }
    Ok(())
}
