//! What was said is what is understood, and what is not what it says is refused.

use super::dead::REVIVED;
use super::*;
use crate::{Chunk, Seq};

fn chunk() -> Chunk {
    Chunk {
        job: "sales-1".parse().expect("valid"),
        kind: "sales".to_owned(),
        schema: 1,
        seq: Seq::first_part(3),
        key: "lyon".to_owned(),
        rows: 2,
        body: "rows".into(),
    }
}

#[test]
fn what_is_revived_is_what_was_buried() {
    let mut alive = chunk().to_message();
    for time in 1..=2 {
        let dead = bury(alive.clone(), "boom");
        assert_eq!(reason(&dead), "boom");
        let word = Revived::of(&dead).expect("it says which it is");
        let word = word.expect("word of a chunk");
        assert_eq!((&word.seq, word.time), (&chunk().seq, time));
        match Change::from_message(&word.to_message()).expect("readable") {
            Change::Revived(told) => assert_eq!(told, word),
            other => panic!("{other:?}"),
        }
        // it says how often that was done, and is otherwise the same
        let headers = &mut alive.headers;
        headers.insert(REVIVED.to_owned(), time.to_string());
        assert_eq!(revive(dead).expect("revived"), alive);
    }

    let json = serde_json::value::to_raw_value(&1).expect("JSON");
    let alive = Partial::of(&chunk(), json, Made::default()).to_message();
    let mut dead = alive.clone();
    dead.exchange = Exchange::Dead;
    dead.key = "results".to_owned();
    assert_eq!(reason(&dead), NO_REASON);
    assert_eq!(Revived::of(&dead).expect("no chunk"), None);
    assert_eq!(revive(dead).expect("revived"), alive);

    let mut odd = chunk().to_message();
    odd.headers.remove("kind");
    let refused = revive(odd).expect_err("nobody knows its kind").to_string();
    assert_eq!(refused, "message \"sales-1/0.3\": header kind is missing");
}

#[test]
fn a_cancellation_and_a_question_are_distinguished_from_results() {
    let job = chunk().job;
    let cancel = Cancel {
        job: job.clone(),
        reason: "x".repeat(1000),
    };
    let input = ReducerInput::from_message(&cancel.to_message().expect("JSON"));
    match input.expect("readable") {
        ReducerInput::Change(Change::Cancel(found)) => {
            assert_eq!((found.job, found.reason.len()), (job.clone(), 500));
        }
        other => panic!("{other:?}"),
    }
    let question = Question {
        token: "question-1".parse().expect("valid"),
        job: Some(job.clone()),
    };
    let mut message = question.to_message().expect("JSON");
    match ReducerInput::from_message(&message).expect("readable") {
        ReducerInput::Question(found) => assert_eq!(found.job, Some(job)),
        other => panic!("{other:?}"),
    }
    message.body = r#"{"token": "../x", "job": null}"#.into();
    assert!(ReducerInput::from_message(&message).is_err());
}

#[test]
fn an_answer_says_the_stage_of_each_job_beside_its_name() {
    let job = |stage| JobStage {
        job: chunk().job,
        kind: matches!(stage, Stage::Ending).then(|| "sales".to_owned()),
        stage,
    };
    let jobs = vec![
        job(Stage::Open {
            done: 1,
            total: None,
            rows: 2,
            idle_ms: 3,
        }),
        job(Stage::Ending),
        job(Stage::Ended {
            status: Status::Cancelled,
            reason: None,
            ended_at: 4,
        }),
    ];
    let event = Event::Jobs {
        token: "question-1".parse().expect("valid"),
        jobs: jobs.clone(),
        more: 0,
    };
    let message = event.to_message(1).expect("JSON");
    assert_eq!(message.key, "job.question-1");
    let told: serde_json::Value = serde_json::from_slice(&message.body).expect("JSON");
    assert_eq!(
        told,
        serde_json::json!({"event": "jobs", "token": "question-1", "more": 0, "jobs": [
            {"job": "sales-1", "stage": "open", "done": 1, "total": null, "rows": 2, "idle_ms": 3},
            {"job": "sales-1", "kind": "sales", "stage": "ending"},
            {"job": "sales-1", "stage": "ended", "status": "cancelled", "reason": null, "ended_at": 4},
        ]})
    );
    match Event::from_message(&message).expect("readable") {
        Event::Jobs { jobs: found, .. } => assert_eq!(found, jobs),
        other => panic!("{other:?}"),
    }
}
