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
    let results = Results::new(disk::real(), folder.path(), Some(KIND));
    (folder, results)
}

/// The kind whose newest report stands at the root.
const KIND: &str = "sales";

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
    let execution = format!(r#"{{"kind":"{KIND}","status":"{status}","rows":1,"order":{order}}}"#);
    results
        .disk
        .write_whole(&unfinished.join(EXECUTION), execution.as_bytes())?;
    results.disk.sync_folder(&unfinished)?;
    results.put(&id(job))
}

fn offer(results: &Results, job: &str, order: u64, rank: Rank) -> io::Result<Option<String>> {
    results.offer(&id(job), KIND, Claim { order, rank })
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
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                assert!(
                    folder.path().join(REPORT).exists(),
                    "no report for a moment"
                );
                let newest = results.newest_folder(KIND).expect("readable");
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
    let other = Results::new(disk::real(), folder.path(), Some(KIND));
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
    assert_eq!(names(), "execution.json jobs rejets.csv report.json sales");
    publish(&results, "two", 2).expect("published");
    assert_eq!(
        names(),
        "execution.json jobs page.html report.json sales tables"
    );
    for name in ["report.json", "tables"] {
        let target = fs::read_link(folder.path().join(name)).expect("a link");
        assert_eq!(target, Path::new(KIND).join(name));
    }
    let newest = fs::read_link(folder.path().join(KIND)).expect("a link");
    assert_eq!(newest, Path::new("jobs/two"));
}

#[test]
fn every_kind_has_a_newest_report_of_its_own() {
    let (folder, results) = folder();
    publish(&results, "sales-1", 1).expect("published");
    put(&results, "words-1", &[REPORT], "done", 2).expect("put");
    let claim = |order, rank| Claim { order, rank };
    let offered = results.offer(&id("words-1"), "words", claim(2, Rank::Complete));
    assert_eq!(offered.expect("offered"), None);
    // worse than the newest report of the other kind, and the first of its own
    put(&results, "explore-1", &[REPORT], "incomplete", 3).expect("put");
    let offered = results.offer(&id("explore-1"), "explore", claim(3, Rank::Incomplete));
    assert_eq!(offered.expect("offered"), None);
    assert_eq!(shown(&folder), "sales-1");
    for kind in ["sales", "words", "explore"] {
        let job = format!("{kind}-1");
        assert_eq!(results.newest(kind).expect("readable"), Some(id(&job)));
        let read = fs::read_to_string(folder.path().join(kind).join(REPORT));
        assert_eq!(read.expect("whole"), job);
    }
    assert_eq!(results.newest("linear").expect("readable"), None);
    assert!(!results.newest_folder("linear").expect("readable").exists());
    assert_eq!(results.newest_order().expect("readable"), 3);
}

#[test]
fn a_person_chooses_the_newest_report_of_the_jobs_own_kind() {
    let (folder, results) = folder();
    publish(&results, "sales-1", 1).expect("published");
    let own = results.of(&id("words-1"));
    fs::create_dir_all(&own).expect("made");
    fs::write(own.join(REPORT), "words-1").expect("written");
    fs::write(own.join(EXECUTION), r#"{"kind":"words","status":"done"}"#).expect("written");
    results.choose(&id("words-1"), 2).expect("chosen");
    assert_eq!(shown(&folder), "sales-1");
    assert_eq!(
        results.newest("words").expect("readable"),
        Some(id("words-1"))
    );
    assert_eq!(results.execution(&id("words-1")).expect("whole").order, 2);
}

#[test]
fn a_kind_is_not_called_as_what_stands_beside_it() {
    for (name, is_one) in [
        ("sales", true),
        ("word-count", true),
        ("job", true),
        ("jobs", false),
        ("", false),
        ("Sales", false),
        ("report.json", false),
        ("..", false),
        ("a/b", false),
    ] {
        assert_eq!(is_kind_name(name), is_one, "{name:?}");
    }
}

/// A folder of the layout in which `newest` led to the newest report: an older job is shown than is there.
fn with_newest() -> (TempDir, Results) {
    let (folder, results) = folder();
    let root = folder.path();
    put(&results, "sales-old", &FILES, "done", 1).expect("put");
    std::os::unix::fs::symlink("jobs/sales-old", root.join("newest")).expect("linked");
    for name in [REPORT, "page.html", "tables", EXECUTION, "gone.csv"] {
        let target = Path::new("newest").join(name);
        std::os::unix::fs::symlink(target, root.join(name)).expect("linked");
    }
    (folder, results)
}

#[test]
fn the_link_to_the_newest_report_of_the_layout_before_is_read_and_then_taken_over() {
    let (folder, results) = with_newest();
    let root = folder.path();
    assert_eq!(
        results.newest(KIND).expect("readable"),
        Some(id("sales-old"))
    );
    assert_eq!(results.newest("words").expect("readable"), None);
    assert_eq!(results.newest_order().expect("readable"), 1);
    // one that ended earlier is not shown in its place
    put(&results, "sales-early", &FILES, "done", 0).expect("put");
    let refused = offer(&results, "sales-early", 0, Rank::Complete).expect("compared");
    assert!(refused.is_some_and(|why| why.contains("sales-old")));
    assert_eq!(shown(&folder), "sales-old");
    publish(&results, "sales-new", 2).expect("published");
    assert_eq!(shown(&folder), "sales-new");
    assert!(!root.join("newest").is_symlink() && !root.join("gone.csv").is_symlink());
    for name in [REPORT, "page.html", "tables", EXECUTION] {
        let target = fs::read_link(root.join(name)).expect("a link");
        assert_eq!(target, Path::new(KIND).join(name));
    }
}

/// A folder of the oldest layout: the newest report's files are at the root themselves.
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
fn a_folder_of_the_oldest_layout_is_taken_over_without_loss() {
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
    for stage in ["new", "newest", "oldest", "oldest, with folders of jobs"] {
        let mut operation = 1;
        loop {
            let (folder, old) = match stage {
                "new" => (folder().0, "sales-old"),
                "newest" => (with_newest().0, "sales-old"),
                "oldest" => (before(None).0, "before"),
                _ => (before(Some("sales-old")).0, "before"),
            };
            let failing = Failing::at(-1);
            let results = Results::new(Arc::new(failing.clone()), folder.path(), Some(KIND));
            if stage == "new" {
                publish(&results, old, 1).expect("published");
            }
            failing.fail(operation);
            let first = publish(&results, "new", 2);
            let found = shown(&folder);
            assert!(
                found == old || found == "new",
                "{stage}, {operation}: {found:?}"
            );
            let reader = Results::new(disk::real(), folder.path(), Some(KIND));
            let newest = reader.newest_folder(KIND).expect("readable");
            for file in FILES {
                let read = fs::read_to_string(newest.join(file)).expect("whole");
                assert_eq!(read, found, "{stage}, {operation}: {file}");
            }
            if first.is_err() {
                assert_eq!(publish(&results, "new", 2).expect("published"), None);
            }
            assert_eq!(shown(&folder), "new", "{stage}, {operation}");
            if failing.is_waiting() {
                break;
            }
            operation += 1;
        }
        assert!(operation > 30, "{operation}");
    }
}
