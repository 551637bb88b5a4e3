//! The folder of results: what a reader finds, whatever happens meanwhile.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;
use crate::disk::{self, Failing};

fn id(name: &str) -> JobId {
    name.parse().expect("a name")
}

fn folder() -> (TempDir, Results) {
    let folder = tempfile::tempdir().expect("a folder");
    let results = Results::new(disk::real(), folder.path());
    (folder, results)
}

const FILES: [&str; 3] = [REPORT, "page.html", "tables/villes.csv"];

/// Puts a job's files into its own folder, each with its name in it.
fn put(results: &Results, job: &str, files: &[&str], status: &str, order: u64) -> io::Result<()> {
    let unfinished = results.begin(&id(job))?;
    for file in files {
        results
            .disk
            .write_whole(&unfinished.join(file), job.as_bytes())?;
        let folder = unfinished.join(file);
        results
            .disk
            .sync_folder(folder.parent().unwrap_or(&folder))?;
    }
    let execution = format!(r#"{{"status":"{status}","rows":1,"order":{order}}}"#);
    results
        .disk
        .write_whole(&unfinished.join(EXECUTION), execution.as_bytes())?;
    results.disk.sync_folder(&unfinished)?;
    results.put(&id(job))
}

fn offer(results: &Results, job: &str, order: u64, rank: Rank) -> io::Result<Option<String>> {
    results.offer(&id(job), Claim { order, rank })
}

/// A job with a complete report that is offered.
fn publish(results: &Results, job: &str, order: u64) -> io::Result<Option<String>> {
    put(results, job, &FILES, "done", order)?;
    offer(results, job, order, Rank::Complete)
}

fn shown(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join(REPORT)).unwrap_or_default()
}

#[test]
fn a_reader_sees_all_of_one_job_or_all_of_another() {
    let (folder, results) = folder();
    publish(&results, "one", 1).expect("published");
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reading = threads.spawn(|| {
            let (disk, mut seen) = (disk::real(), BTreeSet::new());
            while !over.load(Ordering::Relaxed) {
                assert!(
                    folder.path().join(REPORT).exists(),
                    "no report for a moment"
                );
                let newest = newest_folder(&*disk, folder.path()).expect("readable");
                let read = |name| fs::read_to_string(newest.join(name)).expect("whole");
                let contents: BTreeSet<String> = FILES.into_iter().map(read).collect();
                assert_eq!(contents.len(), 1, "{contents:?}");
                seen.extend(contents);
            }
            seen
        });
        for order in 2..400 {
            let job = ["one", "two", "three"][order as usize % 3];
            publish(&results, job, order).expect("published");
        }
        over.store(true, Ordering::Relaxed);
        assert!(!reading.join().expect("no panic").is_empty());
    });
}

#[test]
fn a_publication_that_is_tried_again_does_not_overtake() {
    let (folder, results) = folder();
    put(&results, "early", &FILES, "done", 1).expect("put");
    assert_eq!(publish(&results, "late", 2).expect("published"), None);
    let refused = offer(&results, "early", 1, Rank::Complete).expect("compared");
    assert!(refused.is_some_and(|why| why.contains("late")));
    assert_eq!(shown(&folder), "late");
    // another process on the same folder knows the order as well
    let other = Results::new(disk::real(), folder.path());
    assert_eq!(other.newest_order().expect("readable"), 2);
    assert!(
        offer(&other, "early", 1, Rank::Complete)
            .expect("compared")
            .is_some()
    );
    assert_eq!(
        offer(&other, "late", 2, Rank::Complete).expect("again"),
        None
    );
}

#[test]
fn a_worse_report_never_becomes_the_newest_by_itself() {
    use Rank::{Complete, Empty, Incomplete, Without};
    let ranks = [
        ("failed", Without),
        ("incomplete", Incomplete),
        ("done", Complete),
    ];
    for (status, rank) in ranks {
        for claimed in [Without, Empty, Incomplete, Complete] {
            let (folder, results) = folder();
            put(&results, "old", &FILES, status, 1).expect("put");
            // the first one is shown, whatever it is
            assert_eq!(offer(&results, "old", 1, rank).expect("offered"), None);
            put(&results, "new", &FILES, "done", 2).expect("put");
            let refused = offer(&results, "new", 2, claimed).expect("offered");
            let expected = if claimed < rank { "old" } else { "new" };
            assert_eq!(shown(&folder), expected, "{status}, {claimed:?}");
            assert_eq!(refused.is_some(), claimed < rank);
        }
    }
}

#[test]
fn a_report_with_rows_takes_the_place_of_a_job_without_any_that_ended_later() {
    for (status, claimed, expected) in [
        ("failed", Rank::Complete, "report"),
        ("failed", Rank::Incomplete, "report"),
        ("failed", Rank::Without, "shown"),
        ("done", Rank::Complete, "shown"),
    ] {
        let (folder, results) = folder();
        put(&results, "shown", &FILES, status, 2).expect("put");
        let first = offer(&results, "shown", 2, Rank::Without).expect("offered");
        assert_eq!(first, None, "nothing else is there");
        put(&results, "report", &FILES, "done", 1).expect("put");
        let refused = offer(&results, "report", 1, claimed).expect("offered");
        assert_eq!(shown(&folder), expected, "{status}, {claimed:?}");
        assert_eq!(refused.is_some(), expected == "shown");
    }
}

#[test]
fn what_somebody_accepts_is_taken_for_whole() {
    let (empty, incomplete) = (
        Accept {
            empty: true,
            incomplete: false,
        },
        Accept {
            empty: false,
            incomplete: true,
        },
    );
    let none = Accept::default();
    let of = |status, rows, accept| Rank::of(status, rows, accept);
    assert_eq!(of(Status::Done, 0, none), Rank::Empty);
    assert_eq!(of(Status::Done, 0, empty), Rank::Complete);
    assert_eq!(of(Status::Done, 0, incomplete), Rank::Empty);
    assert_eq!(of(Status::Incomplete, 5, none), Rank::Incomplete);
    assert_eq!(of(Status::Incomplete, 5, incomplete), Rank::Complete);
    assert_eq!(of(Status::Incomplete, 5, empty), Rank::Incomplete);
    assert_eq!(of(Status::Failed, 5, incomplete), Rank::Without);
    assert_eq!(of(Status::Done, 5, none), Rank::Complete);
}

#[test]
fn a_person_chooses_the_newest_and_only_later_ends_take_its_place() {
    let (folder, results) = folder();
    for (job, order) in [("one", 1), ("two", 2)] {
        publish(&results, job, order).expect("published");
    }
    put(&results, "pending", &FILES, "done", 3).expect("put");
    results.choose(&id("one"), 4).expect("chosen");
    assert_eq!(shown(&folder), "one");
    assert!(
        offer(&results, "pending", 3, Rank::Complete)
            .expect("compared")
            .is_some()
    );
    assert_eq!(shown(&folder), "one");
    publish(&results, "later", 5).expect("published");
    assert_eq!(shown(&folder), "later");
    put(&results, "failed", &["rejets.csv"], "failed", 6).expect("put");
    let error = results.choose(&id("failed"), 7).expect_err("no report");
    assert!(
        error.to_string().contains("failed has no report"),
        "{error}"
    );
    assert!(results.choose(&id("never"), 8).is_err());
    assert_eq!(shown(&folder), "later");
}

#[test]
fn root_names_are_those_of_the_newest_report() {
    let (folder, results) = folder();
    let names = || {
        let names = fs::read_dir(folder.path()).expect("readable");
        let names = names.map(|entry| entry.expect("readable").file_name());
        let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(" ")
    };
    put(&results, "one", &[REPORT, "rejets.csv"], "done", 1).expect("put");
    offer(&results, "one", 1, Rank::Complete).expect("offered");
    assert_eq!(names(), "execution.json jobs newest rejets.csv report.json");
    publish(&results, "two", 2).expect("published");
    assert_eq!(
        names(),
        "execution.json jobs newest page.html report.json tables"
    );
    for name in ["report.json", "tables"] {
        let target = fs::read_link(folder.path().join(name)).expect("a link");
        assert_eq!(target, Path::new("newest").join(name));
    }
    let newest = fs::read_link(folder.path().join("newest")).expect("a link");
    assert_eq!(newest, Path::new("jobs/two"));
}

/// A folder of the layout before: the newest report's files are at the root themselves.
fn before(own: Option<&str>) -> (TempDir, Results) {
    let (folder, results) = folder();
    let root = folder.path();
    for file in FILES.into_iter().chain([EXECUTION]) {
        fs::create_dir_all(root.join("tables")).expect("made");
        fs::write(root.join(file), "before").expect("written");
        if let Some(own) = own {
            let path = root.join("jobs").join(own).join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::hard_link(root.join(file), path).expect("linked");
        }
    }
    fs::write(root.join("rejets.csv"), "of a job that failed").expect("written");
    fs::write(root.join("notes.txt"), "a person's own").expect("written");
    (folder, results)
}

#[test]
fn a_folder_of_the_layout_before_is_taken_over_without_loss() {
    for own in [None, Some("sales-old")] {
        let (folder, results) = before(own);
        let root = folder.path();
        let all = [REPORT, "page.html", "tables/villes.csv", "rejets.csv"];
        put(&results, "new", &all, "done", 1).expect("put");
        assert_eq!(
            offer(&results, "new", 1, Rank::Complete).expect("offered"),
            None
        );
        for file in all {
            assert_eq!(
                fs::read_to_string(root.join(file)).expect("there"),
                "new",
                "{file}"
            );
        }
        let notes = fs::read_to_string(root.join("notes.txt"));
        assert_eq!(notes.expect("there"), "a person's own");
        let rejects = match own {
            Some(_) => root.join("earlier-rejets.csv"),
            None => own_earlier(root).join("rejets.csv"),
        };
        assert_eq!(
            fs::read_to_string(rejects).expect("kept"),
            "of a job that failed"
        );
        let old = own.map_or_else(|| own_earlier(root), |own| root.join("jobs").join(own));
        for file in FILES {
            assert_eq!(fs::read_to_string(old.join(file)).expect("kept"), "before");
        }
    }
}

/// The folder that was made for what was at the root.
fn own_earlier(root: &Path) -> PathBuf {
    let jobs = fs::read_dir(root.join("jobs")).expect("readable");
    let mut jobs = jobs.map(|entry| entry.expect("readable").path());
    jobs.find(|path| path.to_string_lossy().contains("earlier-"))
        .expect("made")
}

#[test]
fn whatever_single_operation_fails_a_report_is_there_and_the_next_try_works() {
    for stage in [None, Some(None), Some(Some("sales-old"))] {
        let mut operation = 1;
        loop {
            let (folder, _) = match stage {
                None => folder(),
                Some(own) => before(own),
            };
            let failing = Failing::at(-1);
            let results = Results::new(Arc::new(failing.clone()), folder.path());
            if stage.is_none() {
                publish(&results, "before", 1).expect("published");
            }
            failing.fail(operation);
            let first = publish(&results, "new", 2);
            let found = shown(&folder);
            assert!(
                found == "before" || found == "new",
                "{operation}: {found:?}"
            );
            let newest = newest_folder(&*disk::real(), folder.path()).expect("readable");
            for file in FILES {
                let read = fs::read_to_string(newest.join(file)).expect("whole");
                assert_eq!(read, found, "{operation}: {file}");
            }
            if first.is_err() {
                assert_eq!(publish(&results, "new", 2).expect("published"), None);
            }
            assert_eq!(shown(&folder), "new", "{operation}");
            if failing.is_waiting() {
                break;
            }
            operation += 1;
        }
        assert!(operation > 30, "{operation}");
    }
}
