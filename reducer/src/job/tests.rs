//! A job and its messages in any order: dead chunks and their requeue, and two cuts of one job.

mod cuts;
mod lease;

use autoconnect_common::Seq;

use super::*;

const SEQ: Seq = Seq { part: 0, number: 3 };

fn dead(revived: u32) -> Entry<'static> {
    Entry::Dead {
        seq: SEQ,
        reason: "boom".into(),
        revived,
        chunk: None,
    }
}

fn revived(time: u32) -> Entry<'static> {
    Entry::Revived {
        seq: SEQ,
        time,
        chunk: None,
    }
}

/// A job that took `entries` in, and how many of its chunks are accounted for after each.
fn after(entries: &[Entry<'_>]) -> (Job, Vec<u64>) {
    let mut job = Job::new("sales-1".parse().expect("a name"));
    let registry = Registry::default();
    let counted = entries.iter().map(|entry| {
        assert!(!matches!(
            job.absorb(entry, &registry),
            Absorbed::Refused(_)
        ));
        job.counts().0
    });
    let counted = counted.collect();
    (job, counted)
}

#[test]
fn a_dead_chunk_that_is_sent_once_more_is_waited_for_until_it_dies_again() {
    let story = [dead(0), revived(1), dead(1), revived(2)];
    let (_, counted) = after(&story);
    assert_eq!(counted, [1, 0, 1, 0]);
}

#[test]
fn word_of_a_chunk_counts_once_in_whatever_order_it_comes() {
    let (_, counted) = after(&[revived(1), dead(0), dead(0), revived(1)]);
    assert_eq!(counted, [0, 0, 0, 0]);
    let (_, counted) = after(&[dead(1), revived(1), dead(0), revived(2), dead(1)]);
    assert_eq!(counted.last(), Some(&0));
}

#[test]
fn word_of_a_requeue_that_comes_after_the_next_death_changes_nothing() {
    let (_, counted) = after(&[dead(0), dead(1), revived(1)]);
    assert_eq!(counted, [1, 1, 1]);
    let (_, counted) = after(&[dead(1), revived(1)]);
    assert_eq!(counted, [1, 1]);
    let (_, counted) = after(&[dead(1), revived(1), revived(2), dead(2), revived(2)]);
    assert_eq!(counted, [1, 1, 0, 1, 1]);
}

#[test]
fn a_requeue_that_never_comes_is_a_dead_chunk_again_and_can_be_told_once_more() {
    let (mut job, counted) = after(&[dead(0), revived(1)]);
    assert_eq!(counted, [1, 0]);
    job.give_requeued_up();
    assert_eq!(job.counts().0, 1);
    let registry = Registry::default();
    assert_eq!(job.absorb(&revived(1), &registry), Absorbed::News);
    assert_eq!(job.counts().0, 0);
    assert_eq!(job.absorb(&dead(1), &registry), Absorbed::News);
    assert_eq!(job.absorb(&revived(1), &registry), Absorbed::Duplicate);
}

#[test]
fn a_job_that_is_made_again_from_its_snapshot_waits_for_the_same_chunks() {
    let (job, _) = after(&[dead(0), revived(1)]);
    let json = serde_json::to_string(&job.snapshot().expect("made")).expect("JSON");
    let snapshot = serde_json::from_str(&json).expect("a snapshot");
    let mut job = Job::restore(job.id, snapshot, &Registry::default()).expect("restored");
    let registry = Registry::default();
    assert_eq!(job.absorb(&dead(0), &registry), Absorbed::Duplicate);
    assert_eq!(job.absorb(&dead(1), &registry), Absorbed::News);
}
