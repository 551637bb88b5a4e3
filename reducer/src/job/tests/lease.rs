//! A job whose cut has begun: when it is requested again, when it is given up, and when neither.

use std::collections::BTreeMap;

use autoconnect_common::message::{Begun, JobRequest};
use autoconnect_common::seal::{self, Prefix};
use autoconnect_common::{Digest, Seq};
use autoconnect_testkit::wordcount::WordCount;
use serde_json::value::RawValue;

use super::super::*;
use crate::lease::Orphan;

fn registry() -> Registry {
    Registry::default().with::<WordCount>()
}

/// No lease is over so soon.
const LONG: Duration = Duration::MAX;

fn begun(cut: &str, input: &str) -> Entry<'static> {
    Entry::Begun(Cow::Owned(Begun {
        request: JobRequest {
            job: "sales-1".parse().expect("a name"),
            kind: "wordcount".to_owned(),
            schema: 1,
            request: RawValue::from_string("{}".to_owned()).expect("JSON"),
            fingerprint: Some(Digest::of(input.as_bytes())),
            accept: Default::default(),
        },
        cut: cut.parse().expect("a name"),
    }))
}

fn dead() -> Entry<'static> {
    Entry::DeadRequest {
        reason: "every producer that took the request died".into(),
    }
}

fn refused() -> Entry<'static> {
    Entry::Manifest(Cow::Owned(Manifest {
        job: "sales-1".parse().expect("a name"),
        kind: "wordcount".to_owned(),
        schema: 1,
        chunks: Vec::new(),
        annexes: BTreeMap::from([("rejets.csv".to_owned(), 1)]),
        seal: Some(seal::Seal::of(&[Prefix::of(&Digest::of(b"page"))]).0),
        facts: None,
        refusal: Some("no".to_owned()),
        cut_ms: 0,
        accept: Default::default(),
    }))
}

fn manifest(chunks: u32) -> Entry<'static> {
    let Entry::Manifest(refused) = refused() else {
        panic!("a manifest")
    };
    let chunk = Prefix::of(&Digest::of(b"chunk"));
    Entry::Manifest(Cow::Owned(Manifest {
        chunks: vec![chunks],
        annexes: BTreeMap::new(),
        seal: Some(seal::Seal::of(&vec![chunk; chunks as usize]).0),
        facts: Some(RawValue::from_string("{}".to_owned()).expect("JSON")),
        refusal: None,
        ..refused.into_owned()
    }))
}

fn job(entries: &[Entry<'_>]) -> Job {
    let mut job = Job::new("sales-1".parse().expect("a name"));
    for entry in entries {
        job.absorb(entry, &registry());
    }
    job
}

/// What is to be done once no producer says any more that it cuts the job.
fn silent(job: &Job) -> Option<Orphan> {
    std::thread::sleep(Duration::from_millis(1));
    job.orphan(Duration::ZERO)
}

fn given_up(job: &Job) -> String {
    match silent(job) {
        Some(Orphan::GiveUp(reason)) => reason,
        other => panic!("{other:?}, expected to give up"),
    }
}

fn is_asked_again(job: &Job) -> bool {
    matches!(silent(job), Some(Orphan::AskAgain(_)))
}

#[test]
fn a_job_that_no_producer_cuts_any_more_is_asked_for_again_and_three_times_at_most() {
    let mut job = job(&[begun("cut-1", "a")]);
    assert!(job.orphan(LONG).is_none());
    for _ in 0..3 {
        match silent(&job) {
            Some(Orphan::AskAgain(request)) => assert!(request.fingerprint.is_some()),
            other => panic!("{other:?}"),
        }
        let absorbed = job.absorb(&Entry::AskedAgain, &registry());
        assert_eq!(absorbed, Absorbed::News);
        // what it knows outlives the reducer
        let json = serde_json::to_string(&job.snapshot().expect("made")).expect("JSON");
        let snapshot = serde_json::from_str(&json).expect("a snapshot");
        job = Job::restore(job.id, snapshot, &registry()).expect("restored");
    }
    assert!(given_up(&job).contains("asked for again 3 times"));
}

#[test]
fn a_producer_that_lives_after_all_starts_the_count_anew() {
    let mut job = job(&[begun("cut-1", "a"), Entry::AskedAgain, Entry::AskedAgain]);
    let registry = registry();
    assert_eq!(
        job.absorb(&begun("cut-1", "a"), &registry),
        Absorbed::Renewed
    );
    job.absorb(&Entry::AskedAgain, &registry);
    assert!(is_asked_again(&job));
    // another one does not: it may die as the one before
    assert_eq!(job.absorb(&begun("cut-2", "a"), &registry), Absorbed::News);
    job.absorb(&Entry::AskedAgain, &registry);
    job.absorb(&Entry::AskedAgain, &registry);
    assert!(given_up(&job).contains("asked for again 3 times"));
}

#[test]
fn a_silent_job_with_a_torn_journal_is_asked_for_again_once_before_it_is_given_up() {
    let mut whole = job(&[begun("cut-1", "a")]);
    assert!(!whole.redo_before_giving_up());
    let mut torn = job(&[begun("cut-1", "a")]);
    torn.note_damage("its end is torn", false);
    assert!(
        torn.orphan(LONG).is_none(),
        "what is missing comes by itself"
    );
    assert!(torn.redo_before_giving_up());
    assert!(matches!(torn.orphan(LONG), Some(Orphan::AskAgain(_))));
    torn.absorb(&Entry::AskedAgain, &registry());
    let json = serde_json::to_string(&torn.snapshot().expect("made")).expect("JSON");
    let snapshot = serde_json::from_str(&json).expect("a snapshot");
    let mut torn = Job::restore(torn.id, snapshot, &registry()).expect("restored");
    assert!(!torn.redo_before_giving_up() && torn.orphan(LONG).is_none());
    // the request is unknown
    let mut unknown = job(&[refused()]);
    unknown.note_damage("its end is torn", false);
    assert!(!unknown.redo_before_giving_up());
}

#[test]
fn a_job_that_was_cut_to_its_end_or_never_begun_is_not_asked_for() {
    assert!(silent(&job(&[])).is_none());
    assert!(silent(&job(&[begun("cut-1", "a"), refused()])).is_none());
    assert!(silent(&job(&[refused(), begun("cut-1", "a")])).is_none());
    let cancelled = Entry::Cancelled { reason: "".into() };
    assert!(silent(&job(&[begun("cut-1", "a"), cancelled])).is_none());
}

#[test]
fn a_second_attempt_at_another_input_fails_the_job_in_one_sentence() {
    let mut job = job(&[begun("cut-1", "a")]);
    let absorbed = job.absorb(&begun("cut-2", "b"), &registry());
    assert!(matches!(absorbed, Absorbed::Last(Entry::Failed { .. })));
    match job.end() {
        Some(End::Without(without)) => assert_eq!(
            without.reason,
            "inconsistent: the input changed between two attempts to cut the job: ask for it again"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_request_ends_the_job_unless_it_is_or_was_cut() {
    let reason = "the job was not cut: every producer that took the request died";
    match job(&[dead()]).end() {
        Some(End::Without(without)) => assert_eq!(without.reason, reason),
        other => panic!("{other:?}"),
    }
    // who took it last may live, and the broker have lost the connections of those before
    let alive = job(&[begun("cut-1", "a"), dead()]);
    assert_eq!(alive.end(), None);
    assert!(alive.orphan(LONG).is_none());
    assert_eq!(given_up(&alive), reason);
    let mut cut = job(&[begun("cut-1", "a"), refused()]);
    assert_eq!(cut.absorb(&dead(), &registry()), Absorbed::Duplicate);
    assert_eq!(cut.end(), None);
}

#[test]
fn a_job_whose_results_were_removed_is_asked_for_by_a_producer_or_all_of_it_and_not_by_its_manifest()
 {
    let dead = Entry::Dead {
        seq: Seq::first_part(0),
        reason: "boom".into(),
        revived: 0,
        chunk: None,
    };
    assert!(!job(&[manifest(2), dead]).is_asked_for());
    for entries in [
        vec![begun("cut-1", "a")],
        vec![manifest(2), begun("cut-1", "a")],
    ] {
        assert!(job(&entries).is_asked_for());
    }
    assert!(job(&[manifest(0)]).is_asked_for());
}

#[test]
fn a_job_that_began_anew_is_asked_for_again_once_before_it_is_given_up() {
    // a manifest of its earlier run keeps producers of the redelivered request from cutting it
    let mut job = job(&[manifest(2), begun("cut-1", "a"), Entry::Anew]);
    assert!(silent(&job).is_none());
    assert!(job.redo_before_giving_up());
    assert!(is_asked_again(&job));
    job.absorb(&Entry::AskedAgain, &registry());
    assert!(!job.redo_before_giving_up());
}
