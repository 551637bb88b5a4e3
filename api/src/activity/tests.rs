//! The state of the cluster, event by event.

use std::collections::BTreeMap;

use autoconnect_common::JobId;
use autoconnect_common::message::{Event, Heartbeat, JobStage, Stage, Status};

use super::job::JobState;
use super::state::Cluster;
use super::view::Queues;
use super::{JOBS, POINTS, WORKERS};

fn job(name: &str) -> JobId {
    name.parse().expect("valid")
}

fn progress(done: u64, total: Option<u64>, rows: u64) -> Event {
    Event::Progress {
        job: job("a"),
        done,
        total,
        rows,
    }
}

fn finished(status: Status, execution: Option<&str>) -> Event {
    Event::Finished {
        job: job("a"),
        status,
        reason: None,
        report: None,
        execution: execution.map(str::to_owned),
        cut: None,
    }
}

fn beat(worker: &str, chunks: u64, rows: u64) -> Event {
    Event::Worker(Heartbeat {
        worker: worker.to_owned(),
        chunks,
        rows,
        ..Heartbeat::default()
    })
}

const EXECUTION: &str = r#"{"status": "done", "chunks": {"total": 4, "merged": 4, "missing": {}}, "rows": 40, "duplicates_dropped": 2,
    "acts_ms": {"cut": 5, "work": 1.5, "merge": 0.5, "conclude": 1, "publish": 2, "elapsed": 9},
    "workers": {"w1": {"chunks": 3, "rows": 30, "ms": 1.0, "redeliveries": 0}, "w2": {"chunks": 1, "rows": 10, "ms": 0.5, "redeliveries": 1}}}"#;

#[test]
fn a_job_goes_from_queued_to_done_and_never_back() {
    let mut cluster = Cluster::default();
    let asked = cluster.asked(job("a"), "sales", "ventes.csv");
    assert_eq!(asked.status, JobState::Queued);
    let cut = Event::Cut {
        job: job("a"),
        rows: 20,
        read: 500,
        size: 1000,
    };
    let view = cluster.apply(cut.clone()).expect("changed");
    assert_eq!(view.status, JobState::Processing);

    // 10 of an estimated 40 rows: half of the file has 20
    let view = cluster.apply(progress(1, None, 10)).expect("changed");
    assert_eq!(view.progress.percentage, 25.0);
    assert_eq!(view.progress.total_tasks, 4);
    // its producer was killed and starts over; then the file is longer than estimated
    for (rows, read) in [(0, 0), (20, 250)] {
        let view = cluster.apply(Event::Cut {
            job: job("a"),
            rows,
            read,
            size: 1000,
        });
        assert_eq!(view.expect("changed").progress.percentage, 25.0);
    }
    let view = cluster.apply(progress(3, Some(4), 30)).expect("changed");
    assert_eq!(view.progress.percentage, 75.0);
    // a reducer that restarted may report less for a moment
    let view = cluster.apply(progress(2, Some(4), 20)).expect("changed");
    assert_eq!((view.progress.completed_tasks, view.rows), (3, 30));

    let done = finished(Status::Done, Some(EXECUTION));
    let view = cluster.apply(done.clone()).expect("changed");
    assert_eq!(view.status, JobState::Done);
    assert_eq!(view.progress.percentage, 100.0);
    assert_eq!(view.fichier.as_deref(), Some("ventes.csv"));
    assert_eq!(
        view.workers,
        BTreeMap::from([("w1".to_owned(), 3), ("w2".to_owned(), 1)])
    );
    assert_eq!(
        view.acts_ms.map(|acts| (acts.cut, acts.elapsed)),
        Some((Some(5.0), 9.0))
    );
    assert_eq!(view.duplicates_dropped, 2);
    // a late or repeated event changes nothing
    for late in [cut, progress(1, Some(4), 10), done] {
        assert_eq!(cluster.apply(late), None);
    }
    assert_eq!(cluster.job(&job("a")), Some(view));
}

#[test]
fn a_job_is_at_a_hundred_percent_only_once_there_is_a_report() {
    let mut cluster = Cluster::default();
    let view = cluster.apply(progress(4, Some(4), 40)).expect("changed");
    assert_eq!(view.progress.percentage, 99.0);
    let view = cluster
        .apply(finished(Status::Failed, None))
        .expect("changed");
    assert_eq!(view.progress.percentage, 99.0);
    assert_eq!(view.status, JobState::Failed);
}

#[test]
fn an_end_whose_event_was_missed_is_learnt_from_the_reducer() {
    let mut cluster = Cluster::default();
    cluster.apply(progress(1, Some(4), 10));
    let ended = |name: &str| JobStage {
        job: job(name),
        kind: Some("sales".to_owned()),
        stage: Stage::Ended {
            status: Status::Done,
            reason: None,
            ended_at: 1_700_000_000,
        },
    };
    for name in ["a", "b"] {
        let view = cluster.answered(ended(name)).expect("changed");
        assert_eq!(view.ended_at_ms, Some(1_700_000_000_000));
        assert_eq!(view.kind.as_deref(), Some("sales"));
        assert_eq!(cluster.answered(ended(name)), None);
    }
    cluster.executed(&job("b"), EXECUTION);
    let view = cluster.job(&job("b")).expect("known");
    assert_eq!((view.rows, view.progress.completed_tasks), (40, 4));
    // the job that ended before the API subscribed is the older one
    let names: Vec<JobId> = cluster.jobs().into_iter().map(|job| job.job_id).collect();
    assert_eq!(names, [job("a"), job("b")]);
}

#[test]
fn a_job_ended_when_its_execution_says_whether_an_event_or_an_answer_names_its_end() {
    let order = 1_700_000_000_123;
    let execution = EXECUTION.replacen('{', &format!("{{\"order\": {order}, "), 1);
    let mut listening = Cluster::default();
    let view = listening.apply(finished(Status::Done, Some(&execution)));
    assert_eq!(view.expect("changed").ended_at_ms, Some(order));
    let mut asked = Cluster::default();
    asked.answered(JobStage {
        job: job("a"),
        kind: None,
        stage: Stage::Ended {
            status: Status::Done,
            reason: None,
            ended_at: order / 1000,
        },
    });
    asked.executed(&job("a"), &execution);
    let view = asked.job(&job("a")).expect("known");
    assert_eq!(view.ended_at_ms, Some(order));
}

#[test]
fn a_second_holds_what_all_workers_did_in_it() {
    let mut cluster = Cluster::default();
    let mut second = |beats: &[Event]| {
        for beat in beats {
            assert_eq!(cluster.apply(beat.clone()), None);
        }
        let snapshot = cluster.tick(true, false, Some(Queues::default()));
        (snapshot.chunks_per_second, snapshot.rows_per_second)
    };
    // chunks from before the API subscribed count in no second
    assert_eq!(
        second(&[beat("w1", 100, 1000), beat("w2", 50, 500)]),
        (0, 0)
    );
    assert_eq!(
        second(&[beat("w1", 103, 1030), beat("w2", 51, 510)]),
        (4, 40)
    );
    // a worker that restarted under the same name counts from zero
    assert_eq!(second(&[beat("w1", 2, 20)]), (0, 0));
    assert_eq!(second(&[beat("w1", 5, 50)]), (3, 30));
    assert_eq!(second(&[]), (0, 0));
    let snapshot = cluster.tick(false, false, None);
    assert!(!snapshot.broker.up && snapshot.history.len() == 6);
    assert!(snapshot.workers.iter().all(|worker| worker.alive));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut cluster = Cluster::default();
    for number in 0..JOBS + 10 {
        let name = job(&format!("job-{number}"));
        cluster.asked(name.clone(), "sales", "a.csv");
        if number == 5 {
            cluster.apply(Event::Finished {
                job: name,
                status: Status::Done,
                reason: None,
                report: None,
                execution: None,
                cut: None,
            });
        }
    }
    assert_eq!(cluster.jobs().len(), JOBS);
    // the ended one was dropped first, then the oldest
    for gone in [5, 0, 8] {
        assert_eq!(cluster.job(&job(&format!("job-{gone}"))), None);
    }
    assert!(cluster.job(&job("job-10")).is_some());
    for number in 0..WORKERS + 10 {
        cluster.apply(beat(&format!("w{number}"), 1, 1));
    }
    assert_eq!(cluster.workers().len(), WORKERS);
    for _ in 0..POINTS + 10 {
        cluster.tick(true, true, None);
    }
    assert_eq!(cluster.tick(true, true, None).history.len(), POINTS);
}
