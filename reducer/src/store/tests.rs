//! The state folder on disks that fail, flip bits and run out of descriptors.

use std::borrow::Cow;
use std::fs;
use std::time::Duration;

use autoconnect_common::Seq;
use autoconnect_common::disk::{self, Failing};
use autoconnect_common::message::{Begun, JobRequest};
use autoconnect_testkit::wordcount::WordCount;
use autoconnect_testkit::wordcount2::WordCountTwo;
use serde_json::value::RawValue;

use super::*;
use crate::entry::{PageEntry, PartialEntry};
use crate::job::Absorbed;
use crate::job::End;
use crate::lease::Orphan;

fn id(name: &str) -> JobId {
    name.parse().expect("a name")
}

fn dead(number: u32) -> Entry<'static> {
    Entry::Dead {
        seq: Seq::first_part(number),
        reason: "boom".into(),
        revived: 0,
        chunk: None,
    }
}

fn open(disk: Arc<dyn Disk>, state: &Path) -> Result<(Store, Found), Error> {
    open_knowing(disk, state, &Registry::default())
}

fn open_knowing(
    disk: Arc<dyn Disk>,
    state: &Path,
    registry: &Registry,
) -> Result<(Store, Found), Error> {
    Store::open(disk, state, registry, Some(500), Faults::default())
}

/// How many chunks of each job are known in a state folder.
fn known(state: &Path) -> Vec<(String, u64)> {
    let (_, found) = open(disk::real(), state).expect("readable");
    let mut known: Vec<_> = found
        .jobs
        .iter()
        .map(|(id, job)| (id.to_string(), job.counts().0))
        .collect();
    known.sort();
    known
}

/// Commits until it works: one failure is staged at most.
fn commit(store: &mut Store) {
    let committed = store.commit().or_else(|_| store.commit());
    committed.expect("committed at the second try");
}

/// A store that takes `chunks` of a job in, with a page and now and then a snapshot, on a disk that fails once.
fn story(disk: Arc<dyn Disk>, state: &Path, chunks: u32) {
    let (mut store, found) = match open(Arc::clone(&disk), state) {
        Ok(opened) => opened,
        Err(_) => open(disk, state).expect("opened at the second try"),
    };
    let job = id("sales-1");
    let mut model = match found.jobs.into_iter().find(|(id, _)| *id == job) {
        Some((_, model)) => model,
        None => Job::new(job.clone()),
    };
    let start = u32::try_from(model.counts().0).expect("few");
    for number in start..start + chunks {
        let entry = dead(number);
        model.absorb(&entry, &Registry::default());
        store.append(&job, &entry).expect("JSON");
        let body = Bytes::from(number.to_string());
        let page = Entry::Page(PageEntry {
            kind: "sales".into(),
            name: "rejets.csv".into(),
            page: number,
            digest: Digest::of(&body),
        });
        store.keep_page(&job, "rejets.csv", number, &body);
        store.append(&job, &page).expect("JSON");
        model.absorb(&page, &Registry::default());
        commit(&mut store);
        for long in store.long_journals() {
            let snapshot = model.snapshot().expect("made");
            let _tried_again_later = store.replace_journal(&long, snapshot);
        }
    }
}

#[test]
fn whatever_single_operation_fails_nothing_that_was_committed_is_lost() {
    let (mut operation, mut snapshots) = (1, 0);
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let failing = Failing::at(operation);
        story(Arc::new(failing.clone()), folder.path(), 6);
        // another reducer on the state of that one
        story(disk::real(), folder.path(), 2);
        assert_eq!(
            known(folder.path()),
            [("sales-1".to_owned(), 8)],
            "operation {operation} failed"
        );
        for page in 0..8 {
            let path = page_path(&folder.path().join("jobs/sales-1"), "rejets.csv", page);
            let text = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, page.to_string(), "operation {operation} failed");
        }
        snapshots += u32::from(folder.path().join("jobs/sales-1/snapshot").exists());
        if failing.is_waiting() {
            break;
        }
        operation += 1;
    }
    assert!(
        operation > 100 && snapshots > 100,
        "{operation}, {snapshots}"
    );
}

#[test]
fn a_folder_flush_that_fails_once_the_snapshot_is_renamed_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let failing = Failing::at(-1);
    let (mut store, _) = open(Arc::new(failing.clone()), folder.path()).expect("opened");
    let (job, mut model) = (id("sales-1"), Job::new(id("sales-1")));
    let mut take = |store: &mut Store, number| {
        model.absorb(&dead(number), &Registry::default());
        store.append(&job, &dead(number)).expect("JSON");
        store.commit().expect("committed");
        model.snapshot().expect("made")
    };
    let snapshot = take(&mut store, 0);
    // folders, metadata, create, write, sync, rename; then the flush
    let path = folder.path().join("jobs/sales-1/snapshot");
    let renamed = (1..20).find(|&operation| {
        failing.fail(operation);
        let snapshot = serde_json::to_vec(&snapshot).expect("JSON");
        let snapshot = serde_json::from_slice(&snapshot).expect("a snapshot");
        store.replace_journal(&id("sales-1"), snapshot).is_err() && path.exists()
    });
    assert!(
        renamed.is_some(),
        "the flush never failed behind the rename"
    );
    failing.fail(-1);
    take(&mut store, 1);
    drop(store);
    assert_eq!(known(folder.path()), [("sales-1".to_owned(), 2)]);
}

#[test]
fn many_open_jobs_need_no_descriptor_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let failing = Failing::at(-1);
    let (mut store, _) = open(Arc::new(failing.clone()), folder.path()).expect("opened");
    for number in 0..2_000 {
        let job = id(&format!("sales-{number}"));
        store.append(&job, &dead(0)).expect("JSON");
        if number % 100 == 99 {
            store.commit().expect("committed");
        }
    }
    let most = usize::try_from(failing.most_open()).expect("few");
    assert!((1..=FLUSHING).contains(&most), "{most}");
    drop(store);
    assert_eq!(known(folder.path()).len(), 2_000);
}

/// A state folder with one job of 10 chunks in one journal.
fn ten_chunks() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(
        disk::real(),
        folder.path(),
        &Registry::default(),
        None,
        Faults::default(),
    )
    .expect("opened");
    for number in 0..10 {
        store.append(&id("sales-1"), &dead(number)).expect("JSON");
        store.commit().expect("committed");
    }
    let journal = folder.path().join("jobs/sales-1/journal.0");
    (folder, journal)
}

#[test]
fn a_bit_flipped_anywhere_in_a_journal_costs_one_record_and_is_told() {
    let (folder, journal) = ten_chunks();
    let good = fs::read(&journal).expect("readable");
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(&journal, bytes).expect("written");
        let (_, found) = open(disk::real(), folder.path()).expect("readable");
        let (_, job) = &found.jobs[0];
        let (known, ..) = job.counts();
        assert!(
            known == 9 || (known == 10 && place < 22),
            "{place}: {known}"
        );
        let End::Without(without) = job.abandon(std::time::Duration::from_secs(1)) else {
            panic!("{place}: a report without a manifest");
        };
        assert!(
            without
                .reason
                .contains("it was lost with what the reducer cannot read")
                && without.reason.contains("journal.0"),
            "{place}: {}",
            without.reason
        );
    }
}

#[test]
fn a_damaged_journal_is_left_as_it_is_and_the_job_goes_on_behind_it() {
    let (folder, journal) = ten_chunks();
    let mut bytes = fs::read(&journal).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&journal, &bytes).expect("written");
    for life in 0..3 {
        let (mut store, found) = open(disk::real(), folder.path()).expect("readable");
        assert_eq!(found.jobs[0].1.counts().0, 9 + life);
        let number = 10 + u32::try_from(life).expect("few");
        store.append(&id("sales-1"), &dead(number)).expect("JSON");
        store.commit().expect("committed");
    }
    assert_eq!(fs::read(&journal).expect("readable"), bytes);
}

#[test]
fn a_damaged_snapshot_ends_the_job_with_a_sentence_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    story(disk::real(), folder.path(), 8);
    let path = folder.path().join("jobs/sales-1/snapshot");
    let good = fs::read(&path).expect("a snapshot");
    for place in (0..good.len()).step_by(37) {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        fs::write(&path, bytes).expect("written");
        let (_, found) = open(disk::real(), folder.path()).expect("readable");
        let Some(End::Without(without)) = found.jobs[0].1.end() else {
            panic!("{place}: the job goes on");
        };
        let reason = without.reason;
        assert!(
            reason.contains("damaged") && reason.contains("snapshot"),
            "{reason}"
        );
    }
}

#[test]
fn a_snapshot_of_another_version_is_refused_and_one_without_a_version_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    story(disk::real(), folder.path(), 8);
    let path = folder.path().join("jobs/sales-1/snapshot");
    let text = fs::read_to_string(&path).expect("a snapshot");
    let (_, json) = text.split_once('\n').expect("a digest");
    let put = |json: &str| {
        let digest = Digest::of(json.as_bytes());
        fs::write(&path, format!("{digest}\n{json}")).expect("written");
    };
    put(&json.replacen("\"version\":1,", "", 1));
    assert_eq!(known(folder.path()), [("sales-1".to_owned(), 8)]);
    put(&json.replacen("\"version\":1,", "\"version\":9,", 1));
    let error = open(disk::real(), folder.path()).err().expect("refused");
    let Error::State { source, .. } = error else {
        panic!("{error}");
    };
    assert!(
        source.to_string().contains("found version 9, expected 1"),
        "{source}"
    );
}

#[test]
fn a_job_of_a_format_that_another_version_knows_is_refused_and_nothing_of_it_changes() {
    let old = Registry::default().with::<WordCount>();
    let new = Registry::default()
        .with::<WordCount>()
        .with::<WordCountTwo>();
    let job = id("wordcount-1");
    for snapshot in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut store, _) = open_knowing(disk::real(), folder.path(), &new).expect("opened");
        let json = RawValue::from_string(r#"{"a":1}"#.to_owned()).expect("JSON");
        let partial = Entry::Partial(PartialEntry {
            kind: "wordcount".into(),
            schema: 2,
            seq: Seq::first_part(0),
            chunk: Digest::of(b"two a"),
            digest: Digest::of(json.get().as_bytes()),
            rows: 1,
            worker: "w".into(),
            micros: 1,
            redeliveries: 0,
            json: &json,
        });
        let mut model = Job::new(job.clone());
        assert_eq!(model.absorb(&partial, &new), Absorbed::News);
        store.append(&job, &partial).expect("JSON");
        store.commit().expect("committed");
        if snapshot {
            let made = model.snapshot().expect("made");
            store.replace_journal(&job, made).expect("replaced");
        }
        drop(store);
        let own = folder.path().join("jobs/wordcount-1");
        let files = || {
            let names = fs::read_dir(&own).expect("the job's folder");
            let mut files: Vec<_> = names
                .map(|name| name.expect("a name").path())
                .filter(|path| path.is_file())
                .map(|path| (fs::read(&path).expect("readable"), path))
                .collect();
            files.sort();
            files
        };
        let before = files();
        let refused = open_knowing(disk::real(), folder.path(), &old);
        let Err(Error::State { source, .. }) = refused else {
            panic!("an old reducer took the job in");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::Unsupported);
        assert_eq!(
            source.to_string(),
            "job wordcount-1 is of schema 2 of kind wordcount, expected 1: another version of the program works at it"
        );
        assert_eq!(files(), before);
        let (_, found) = open_knowing(disk::real(), folder.path(), &new).expect("opened");
        assert_eq!(found.jobs[0].1.counts().0, 1);
    }
}

#[test]
fn what_a_killed_reducer_left_unflushed_is_flushed_before_a_duplicate_of_it_counts() {
    let (folder, _) = ten_chunks();
    let failing = Failing::at(-1);
    let (mut store, _) = open(Arc::new(failing.clone()), folder.path()).expect("opened");
    assert!(!store.is_dirty());
    store.touch(&id("sales-1"));
    assert!(store.is_dirty());
    // the first flush of the job's own files fails, so nothing may be acknowledged
    failing.fail(1);
    assert!(store.commit().is_err());
    assert!(store.is_dirty());
    store.commit().expect("committed");
    store.touch(&id("sales-1"));
    assert!(!store.is_dirty());
}

#[test]
fn a_folder_of_which_nothing_was_committed_is_no_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("jobs/sales-1");
    fs::create_dir_all(own.join("pages")).expect("made");
    fs::write(own.join("pages/rejets.csv.0"), b"a page").expect("written");
    fs::write(own.join("journal.0"), b"autoconnect jour").expect("written");
    assert!(known(folder.path()).is_empty());
    assert!(!own.exists());
}

#[test]
fn a_job_that_begins_again_beside_its_tombstone_is_told_from_one_that_ended() {
    let state = tempfile::tempdir().expect("a folder");
    let job = id("sales-1");
    let lives = || {
        let (_, found) = open(disk::real(), state.path()).expect("readable");
        let again = found
            .again
            .iter()
            .map(|(_, job)| job.counts().0)
            .collect::<Vec<_>>();
        let open = found
            .jobs
            .iter()
            .map(|(_, job)| job.counts().0)
            .collect::<Vec<_>>();
        (open, again, found.unannounced.len(), found.ended.len())
    };
    let write = |store: &mut Store, number| {
        store.append(&job, &dead(number)).expect("JSON");
        store.commit().expect("committed");
    };
    let (mut store, _) = open(disk::real(), state.path()).expect("opened");
    write(&mut store, 0);
    let done = autoconnect_common::message::Status::Done;
    let ended = tombstone::Tombstone::new(job.clone(), done, None, 1_700_000_000_000);
    ended.write(&*disk::real(), state.path()).expect("written");
    drop(store);
    assert_eq!(lives(), (vec![], vec![], 1, 1));

    // what its last run left is removed before the next begins
    let (mut store, _) = open(disk::real(), state.path()).expect("opened");
    store.begin_again(&job);
    write(&mut store, 7);
    drop(store);
    assert_eq!(lives(), (vec![], vec![1], 0, 1));

    let (mut store, _) = open(disk::real(), state.path()).expect("opened");
    store.reopen(&job);
    store.commit().expect("committed");
    drop(store);
    assert_eq!(lives(), (vec![1], vec![], 0, 0));
}

/// A state folder with so many jobs of one chunk each, as a reducer leaves it.
fn many_jobs(state: &Path, jobs: u32) {
    let one = tempfile::tempdir().expect("a folder");
    let (mut store, _) = open(disk::real(), one.path()).expect("opened");
    store.append(&id("sales-1"), &dead(0)).expect("JSON");
    store.commit().expect("committed");
    let journal = fs::read(one.path().join("jobs/sales-1/journal.0")).expect("readable");
    for number in 0..jobs {
        let folder = state.join(format!("jobs/sales-{number}"));
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("journal.0"), &journal).expect("written");
    }
}

/// The memory of this process, in bytes; `None` where the system does not say.
fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[test]
fn an_open_job_costs_little_memory() {
    let jobs = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    many_jobs(folder.path(), jobs);
    let before = memory();
    let failing = Failing::at(-1);
    let opened = open(Arc::new(failing.clone()), folder.path()).expect("readable");
    assert_eq!(opened.1.jobs.len(), jobs as usize);
    assert_eq!(failing.most_open(), 0);
    if let (Some(before), Some(after)) = (before, memory()) {
        let each = after.saturating_sub(before) / u64::from(jobs);
        eprintln!("{each} bytes for each open job");
        // a hundred thousand take less than half a gigabyte
        assert!(each < 5_000, "{each} bytes for each open job");
    }
}

/// What a producer says that cuts `job`.
fn begun(job: &JobId) -> Entry<'static> {
    Entry::Begun(Cow::Owned(Begun {
        request: JobRequest {
            job: job.clone(),
            kind: "sales".to_owned(),
            schema: 1,
            request: serde_json::value::RawValue::from_string("{}".to_owned()).expect("JSON"),
            fingerprint: None,
            accept: Default::default(),
        },
        cut: id("cut-1"),
    }))
}

/// Whether the one job that was found will be requested again at once.
fn is_asked_for_again(found: &Found) -> bool {
    let orphan = found.jobs[0].1.orphan(Duration::MAX);
    matches!(orphan, Some(Orphan::AskAgain(_)))
}

#[test]
fn a_job_that_lost_records_is_asked_for_again_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = id("sales-1");
    let (mut store, _) = open(disk::real(), folder.path()).expect("opened");
    store.append(&job, &begun(&job)).expect("JSON");
    for number in 0..4 {
        store.append(&job, &dead(number)).expect("JSON");
    }
    store.commit().expect("committed");
    drop(store);
    let asks = || {
        let (store, found) = open(disk::real(), folder.path()).expect("readable");
        let asks = is_asked_for_again(&found);
        (store, asks)
    };
    assert!(!asks().1, "nothing is lost");
    let journal = folder.path().join("jobs/sales-1/journal.0");
    let mut bytes = fs::read(&journal).expect("readable");
    let middle = bytes.len() - 200;
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).expect("written");
    let (mut store, asked) = asks();
    assert!(asked);
    store.append(&job, &Entry::AskedAgain).expect("JSON");
    store.commit().expect("committed");
    drop(store);
    assert!(!asks().1, "it was asked for already");
}

#[test]
fn a_job_of_which_a_page_is_damaged_is_asked_for_again_where_its_request_is_known() {
    let job = id("sales-1");
    for (is_known, is_gone) in [(true, false), (true, true), (false, false)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = page_path(&folder.path().join("jobs/sales-1"), "rejets.csv", 0);
        let (mut store, _) = open(disk::real(), folder.path()).expect("opened");
        if is_known {
            store.append(&job, &begun(&job)).expect("JSON");
        }
        let body = Bytes::from("a page");
        let page = Entry::Page(PageEntry {
            kind: "sales".into(),
            name: "rejets.csv".into(),
            page: 0,
            digest: Digest::of(&body),
        });
        let keep = |store: &mut Store| {
            store.keep_page(&job, "rejets.csv", 0, &body);
            store.append(&job, &page).expect("JSON");
            store.commit().expect("committed");
        };
        keep(&mut store);
        drop(store);
        let (_, found) = open(disk::real(), folder.path()).expect("readable");
        assert!(!is_asked_for_again(&found), "nothing is lost");
        drop(found);
        if is_gone {
            fs::remove_file(&path).expect("removed");
        } else {
            fs::write(&path, "a pagf").expect("written");
        }
        let (mut store, found) = open(disk::real(), folder.path()).expect("readable");
        assert_eq!(is_asked_for_again(&found), is_known);
        if !is_known {
            continue;
        }
        // redelivered, it counts as new
        let (_, mut model) = found.jobs.into_iter().next().expect("a job");
        let absorbed = model.absorb(&page, &Registry::default());
        assert_eq!(absorbed, crate::job::Absorbed::News);
        store.append(&job, &Entry::AskedAgain).expect("JSON");
        keep(&mut store);
        drop(store);
        let (_, found) = open(disk::real(), folder.path()).expect("readable");
        assert!(!is_asked_for_again(&found), "it is whole again");
    }
}
