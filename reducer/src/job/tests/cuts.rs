//! Two cuts of one job: whatever comes in whatever order, a report is made of exactly the chunks of one cut.

use std::collections::{BTreeMap, HashMap, VecDeque};

use autoconnect_common::message::{Made, Partial, Revived, SealPage};
use autoconnect_common::seal::{self, Gathered, PER_PAGE, Seal};
use autoconnect_common::{Body, Chunk, JobKind as _, Seq, message};
use autoconnect_testkit::wordcount::WordCount;
use message::Change;
use serde_json::value::RawValue;

use super::super::end::GONE;
use super::super::manifest::same_manifest;
use super::super::*;

const KIND: &str = WordCount::NAME;
const SCHEMA: u32 = WordCount::SCHEMA;
const SIDE: &str = "side.txt";

fn registry() -> Registry {
    Registry::default().with::<WordCount>()
}

fn id() -> JobId {
    "wordcount-1".parse().expect("a name")
}

/// Everything that a cut of the job sends, and the results of its chunks.
struct Cut {
    chunks: Vec<Chunk>,
    side: Vec<Body>,
    manifest: Manifest,
    seal_pages: Vec<SealPage>,
}

impl Cut {
    /// A cut into chunks of these texts; `inline`: whether the manifest says the seal itself.
    fn of(texts: &[&str], inline: bool) -> Self {
        let chunks: Vec<Chunk> = (0..)
            .zip(texts)
            .map(|(number, &text)| Chunk {
                job: id(),
                kind: KIND.to_owned(),
                schema: SCHEMA,
                seq: Seq::first_part(number),
                key: "text".to_owned(),
                rows: 1,
                body: text.to_owned().into(),
            })
            .collect();
        Self::with_side(chunks, Vec::new(), inline)
    }

    fn with_side(chunks: Vec<Chunk>, side: Vec<Body>, inline: bool) -> Self {
        let mut put = Gathered::default();
        for chunk in &chunks {
            put.chunk(chunk.seq, &chunk.body.digest()).expect("new");
        }
        for (page, body) in (0..).zip(&side) {
            put.page(SIDE, page, &body.digest()).expect("new");
        }
        let counts = vec![chunks.len() as u32];
        let annexes = match side.len() {
            0 => BTreeMap::new(),
            pages => BTreeMap::from([(SIDE.to_owned(), pages as u32)]),
        };
        let entries = put.entries(&counts, &annexes).expect("all were put");
        let (mut seal, _) = Seal::of(&entries);
        let mut seal_pages = Vec::new();
        if !inline {
            seal.prefixes = None;
            seal_pages = (0..)
                .zip(entries.chunks(PER_PAGE))
                .map(|(page, entries)| SealPage {
                    job: id(),
                    kind: KIND.to_owned(),
                    schema: SCHEMA,
                    seal: seal.digest,
                    page,
                    body: seal::to_bytes(entries).into(),
                })
                .collect();
        }
        let lines = chunks.len();
        let manifest = Manifest {
            job: id(),
            kind: KIND.to_owned(),
            schema: SCHEMA,
            chunks: counts,
            annexes,
            seal: Some(seal),
            facts: Some(RawValue::from_string(format!("{{\"lines\":{lines}}}")).expect("JSON")),
            refusal: None,
            cut_ms: 1,
            accept: Default::default(),
        };
        Self {
            chunks,
            side,
            manifest,
            seal_pages,
        }
    }

    fn partial(&self, number: usize) -> Change {
        let chunk = &self.chunks[number];
        let words = WordCount::work(chunk).expect("words");
        let json = serde_json::value::to_raw_value(&words).expect("JSON");
        Change::Partial(Partial::of(chunk, json, Made::default()))
    }

    /// What a worker sends that writes no numbers as we do.
    fn unreadable(&self, number: usize) -> Change {
        let json = serde_json::value::to_raw_value(&serde_json::json!({"a": 1.0}));
        let chunk = &self.chunks[number];
        Change::Partial(Partial::of(chunk, json.expect("JSON"), Made::default()))
    }

    fn dead(&self, number: usize, revived: u32) -> Change {
        let chunk = &self.chunks[number];
        Change::Dead {
            job: id(),
            seq: chunk.seq,
            reason: "boom".to_owned(),
            revived,
            chunk: Some(chunk.body.digest()),
        }
    }

    fn revived(&self, number: usize, time: u32) -> Change {
        let chunk = &self.chunks[number];
        Change::Revived(Revived {
            job: id(),
            seq: chunk.seq,
            time,
            chunk: Some(chunk.body.digest()),
        })
    }

    fn side_page(&self, page: usize) -> Change {
        Change::Annex(message::Annex {
            job: id(),
            kind: KIND.to_owned(),
            schema: 1,
            name: SIDE.to_owned(),
            page: page as u32,
            body: self.side[page].clone(),
        })
    }

    fn manifest(&self) -> Change {
        Change::Manifest(self.manifest.clone())
    }

    fn refused(why: &str) -> Change {
        let mut manifest = Self::of(&[], true).manifest;
        manifest.facts = None;
        manifest.refusal = Some(why.to_owned());
        Change::Manifest(manifest)
    }

    fn seal(&self) -> impl Iterator<Item = Change> + '_ {
        self.seal_pages.iter().cloned().map(Change::Seal)
    }

    /// Everything but dead notices.
    fn all(&self) -> Vec<Change> {
        let partials = (0..self.chunks.len()).map(|number| self.partial(number));
        let pages = (0..self.side.len()).map(|page| self.side_page(page));
        partials
            .chain(pages)
            .chain(self.seal())
            .chain([self.manifest()])
            .collect()
    }

    /// What is merged, once all of it was.
    fn words(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for chunk in &self.chunks {
            for (word, count) in WordCount::work(chunk).expect("words") {
                *all.entry(word).or_default() += count;
            }
        }
        all
    }
}

fn take(job: &mut Job, change: &Change) -> Absorbed {
    job.absorb(&Entry::from(change), &registry())
}

/// A job that took all of this in, in this order.
fn after<'o>(changes: impl IntoIterator<Item = &'o Change>) -> Job {
    let mut job = Job::new(id());
    for change in changes {
        take(&mut job, change);
    }
    job
}

fn words(job: &Job) -> BTreeMap<String, u64> {
    let tally = job
        .tally
        .tally
        .as_ref()
        .map(|tally| tally.snapshot().expect("JSON"));
    tally.map_or_else(BTreeMap::new, |json| {
        serde_json::from_str(json.get()).expect("words")
    })
}

/// Why the job failed.
fn failure(job: &Job) -> String {
    match job.end() {
        Some(End::Without(without)) => without.reason,
        other => panic!("{other:?}, expected a failure"),
    }
}

fn is_done(job: &Job) -> bool {
    matches!(job.end(), Some(End::Report { missing, lacking: None }) if missing.is_empty())
}

/// The input before and after a correction: the first chunk is the same.
fn two_cuts(inline: bool) -> (Cut, Cut) {
    (
        Cut::of(&["same", "old one", "old two"], inline),
        Cut::of(&["same", "new one", "new two"], inline),
    )
}

#[test]
fn a_job_begins_with_its_cut_whatever_comes_first() {
    let mut cut = Cut::of(&["one", "two"], true);
    cut.manifest.cut_ms = 60_000;
    let minute = std::time::Duration::from_secs(60);
    let mut changes = cut.all();
    for _ in 0..changes.len() {
        changes.rotate_left(1);
        let job = after(&changes);
        let began = autoconnect_common::machine::now() - minute;
        assert!(is_done(&job) && job.figures.first_news <= began);
    }
}

#[test]
fn a_chunk_of_an_earlier_cut_that_was_merged_before_the_manifest_fails_the_job() {
    for inline in [true, false] {
        let (old, new) = two_cuts(inline);
        let mut mixed = vec![new.partial(0), old.partial(1), new.partial(2)];
        mixed.extend(new.seal());
        mixed.push(new.manifest());
        // wherever the manifest stands among the pages of its seal
        for turn in 0..mixed.len() {
            mixed.rotate_left(1);
            let job = after(&mixed);
            let stale = mixed
                .iter()
                .position(|o| matches!(o, Change::Partial(p) if p.seq.number == 1));
            let sealed = mixed
                .iter()
                .rposition(|o| matches!(o, Change::Manifest(_) | Change::Seal(_)));
            if stale < sealed {
                assert_eq!(
                    failure(&job),
                    "inconsistent: chunk 0.1 came, and is not the one of the manifest: the job was cut twice, from an input that had changed; ask for it again",
                    "turn {turn}"
                );
            } else {
                assert_eq!(job.end(), None, "turn {turn}");
            }
        }
    }
}

#[test]
fn a_chunk_of_an_earlier_cut_that_comes_after_the_manifest_is_dropped_and_the_true_one_waited_for()
{
    for inline in [true, false] {
        let (old, new) = two_cuts(inline);
        let mut job = after(&new.all()[3..]);
        assert!(matches!(
            take(&mut job, &old.partial(1)),
            Absorbed::Stale(_)
        ));
        for number in 0..3 {
            assert_eq!(job.end(), None);
            assert_eq!(take(&mut job, &new.partial(number)), Absorbed::News);
        }
        // and again, when the true one is there
        assert!(matches!(
            take(&mut job, &old.partial(1)),
            Absorbed::Stale(_)
        ));
        assert!(is_done(&job));
        assert_eq!(words(&job), new.words());
    }
}

#[test]
fn a_dead_notice_of_an_earlier_cut_is_forgotten_whenever_it_comes() {
    let (old, new) = two_cuts(true);
    let mut early = after(&[old.dead(1, 0), new.manifest()]);
    let mut late = after(&[new.manifest(), old.dead(1, 0)]);
    let mut revived = after(&[old.dead(1, 0), old.revived(1, 1), new.manifest()]);
    for job in [&mut early, &mut late, &mut revived] {
        assert_eq!(job.counts(), (0, Some(3), 0));
        // the sealed one may die as well, for the first time
        assert_eq!(take(job, &new.dead(1, 0)), Absorbed::News);
        for number in [0, 2] {
            take(job, &new.partial(number));
        }
        match job.end() {
            Some(End::Report { missing, .. }) => assert_eq!(missing, [Seq::first_part(1)]),
            other => panic!("{other:?}"),
        }
        take(job, &new.partial(1));
        assert!(is_done(job));
    }
}

#[test]
fn a_dead_chunk_that_does_not_say_which_it_is_counts_for_its_number() {
    let (_, new) = two_cuts(true);
    let mut unknown = new.dead(1, 0);
    if let Change::Dead { chunk, .. } = &mut unknown {
        *chunk = None;
    }
    let mut job = after(&[unknown, new.manifest(), new.partial(0), new.partial(2)]);
    assert!(matches!(
        job.end(),
        Some(End::Report {
            lacking: Some(_),
            ..
        })
    ));
    take(&mut job, &new.partial(1));
    assert!(is_done(&job));
}

#[test]
fn a_page_of_an_earlier_cut_never_becomes_part_of_a_side_file() {
    let chunks = Cut::of(&["one"], true).chunks;
    let old = Cut::with_side(chunks.clone(), vec!["a".into(), "old".into()], true);
    let new = Cut::with_side(chunks, vec!["a".into(), "new".into()], true);
    let before = after(&[old.side_page(1), new.manifest()]);
    assert!(
        failure(&before).starts_with("inconsistent: page 1 of side.txt came, and is not the one")
    );
    let mut job = after(&new.all()[..2]);
    take(&mut job, &new.manifest());
    assert!(matches!(
        take(&mut job, &old.side_page(1)),
        Absorbed::Stale(_)
    ));
    assert_eq!(job.end(), None);
    assert_eq!(take(&mut job, &new.side_page(1)), Absorbed::News);
    assert!(is_done(&job));
}

#[test]
fn a_manifest_without_a_seal_fails_the_job_with_the_cure() {
    let (old, _) = two_cuts(true);
    let mut manifest = old.manifest.clone();
    manifest.seal = None;
    let job = after(&[old.partial(0), Change::Manifest(manifest)]);
    assert!(
        failure(&job)
            .starts_with("the manifest has no seal: the producer that cut the job is older")
    );
    // of a job without chunks there is nothing to prove
    let mut empty = Cut::of(&[], true);
    empty.manifest.seal = None;
    assert!(is_done(&after(&[empty.manifest()])));
}

#[test]
fn a_seal_that_is_not_what_the_manifest_says_fails_the_job() {
    let (old, new) = two_cuts(true);
    let mut other = old.manifest.clone();
    if let (Some(seal), Some(theirs)) = (&mut other.seal, &new.manifest.seal) {
        seal.prefixes.clone_from(&theirs.prefixes);
    }
    assert_eq!(
        failure(&after(&[Change::Manifest(other)])),
        "the seal does not have the digest that the manifest says"
    );
    let mut short = old.manifest.clone();
    short.chunks = vec![4];
    assert_eq!(
        failure(&after(&[Change::Manifest(short)])),
        "the seal has 3 entries, and the manifest 4 chunks and pages"
    );
}

#[test]
fn a_seal_in_many_pages_is_whole_once_all_came_in_any_order_and_survives_a_snapshot() {
    let texts: Vec<String> = (0..PER_PAGE + 3).map(|n| format!("w{n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let cut = Cut::of(&texts, false);
    let seal: Vec<Change> = cut.seal().collect();
    assert_eq!(seal.len(), 2);
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1], [1, 2, 0]] {
        let mut job = Job::new(id());
        for (step, at) in order.into_iter().enumerate() {
            assert!(!job.seal.is_whole());
            let change = seal.get(at).cloned().unwrap_or_else(|| cut.manifest());
            assert_eq!(take(&mut job, &change), Absorbed::News, "step {step}");
            job = restored(&job);
        }
        assert!(job.seal.is_whole());
        assert_eq!(take(&mut job, &seal[0]), Absorbed::Duplicate);
        let last = texts.len() - 1;
        assert_eq!(take(&mut job, &cut.partial(last)), Absorbed::News);
        let other = Cut::of(&["x"; 4], false);
        assert!(matches!(
            take(&mut job, &other.partial(3)),
            Absorbed::Stale(_)
        ));
        let page = other.seal().next().expect("a page");
        assert!(matches!(take(&mut job, &page), Absorbed::Stale(_)));
    }
}

#[test]
fn a_job_whose_seal_never_came_is_abandoned_without_a_report() {
    let (old, _) = two_cuts(false);
    let mut changes = old.all();
    changes.retain(|change| !matches!(change, Change::Seal(_)));
    let job = after(&changes);
    assert_eq!(job.end(), None);
    match job.abandon(Duration::from_secs(60)) {
        End::Without(without) => assert!(without.reason.contains("only 0 of 1 pages of the seal")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_never_came_of_a_sealed_job_is_said_to_be_gone_from_the_broker_and_what_is_dead_is_not() {
    let (cut, _) = two_cuts(true);
    let lacking = |job: &Job| match job.abandon(Duration::from_secs(60)) {
        End::Report { lacking, .. } => lacking.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    let last = cut.chunks.len() - 1;
    let mut job = after(&cut.all());
    assert_eq!(lacking(&job), "");
    let mut changes = cut.all();
    changes.remove(last);
    job = after(&changes);
    let seq = cut.chunks[last].seq;
    let missing = format!("{seq} (no partial came); {GONE}");
    assert!(lacking(&job).ends_with(&missing), "{}", lacking(&job));
    take(&mut job, &cut.dead(last, 0));
    assert!(!lacking(&job).contains(GONE), "{}", lacking(&job));
    // what the reducer itself may have lost is not laid at the broker's door
    let mut job = after(&changes);
    job.note_damage("the journal", false);
    assert!(!lacking(&job).contains(GONE), "{}", lacking(&job));
}

#[test]
fn a_partial_that_cannot_be_read_contradicts_none_whichever_comes_first() {
    let (cut, _) = two_cuts(true);
    let (good, odd) = (cut.partial(0), cut.unreadable(0));
    for first in [&good, &odd] {
        let mut job = after([first]);
        for change in [&good, &odd, &good] {
            if let Absorbed::Refused(why) = take(&mut job, change) {
                assert!(why.contains("cannot be read"), "{why}");
            }
        }
        for change in cut.all() {
            take(&mut job, &change);
        }
        assert!(is_done(&job), "{first:?}");
        assert_eq!(words(&job), cut.words());
    }
}

#[test]
fn a_refusal_after_a_whole_cut_changes_nothing() {
    let (old, _) = two_cuts(true);
    let mut job = after(&old.all()[..1]);
    take(&mut job, &old.manifest());
    assert!(matches!(
        take(&mut job, &Cut::refused("gone")),
        Absorbed::Stale(_)
    ));
    for change in old.all() {
        take(&mut job, &change);
    }
    assert!(is_done(&job));
}

#[test]
fn a_refusal_is_the_reason_of_the_end_though_chunks_and_pages_came_before() {
    let (cut, _) = two_cuts(true);
    let cut = Cut::with_side(cut.chunks, vec!["a".into(), "b".into()], true);
    let before_the_manifest = cut.all().len() - 1;
    for came in 0..=before_the_manifest {
        let mut job = after(&cut.all()[..came]);
        take(&mut job, &Cut::refused("too many rows rejected"));
        // its later results change nothing
        take(&mut job, &cut.partial(0));
        take(&mut job, &cut.side_page(1));
        match job.end() {
            Some(End::Without(without)) => assert_eq!(without.reason, "too many rows rejected"),
            other => panic!("{came}: {other:?}"),
        }
    }
}

/// The same job, as it is after the reducer was killed and started again.
fn restored(job: &Job) -> Job {
    let json = serde_json::to_string(&job.snapshot().expect("made")).expect("JSON");
    let snapshot = serde_json::from_str(&json).expect("a snapshot");
    Job::restore(job.id.clone(), snapshot, &registry()).expect("restored")
}

/// The state of a job without clocks and counts, to compare.
fn state(job: &Job) -> String {
    let mut snapshot = job.snapshot().expect("made");
    snapshot.figures = Figures::default();
    let mut state = serde_json::to_value(&snapshot).expect("JSON");
    state["figures"] = serde_json::Value::Null;
    state.to_string()
}

/// Every order in which what two cuts of one job send, all of it or a part, once or often, can come to the reducer, which
/// is killed and started again before each of them. Whatever two workers and two crashes of producers, workers and
/// reducer can do to three chunks is among it.
fn explore(old: &Cut, new: &Cut) -> usize {
    let mut messages = Vec::new();
    for cut in [old, new] {
        messages.extend(cut.all());
        messages.extend([cut.dead(1, 0), cut.revived(1, 1), cut.dead(1, 1)]);
    }
    messages.push(Cut::refused("the input is gone"));
    let mut seen = HashMap::from([(state(&Job::new(id())), ())]);
    let mut waiting = VecDeque::from([Job::new(id())]);
    while let Some(job) = waiting.pop_front() {
        check(&job, old, new);
        if job.end().is_some() {
            continue;
        }
        for message in &messages {
            let mut next = restored(&job);
            take(&mut next, message);
            if seen.insert(state(&next), ()).is_none() {
                waiting.push_back(next);
            }
        }
    }
    seen.len()
}

/// A report is made of chunks of the manifest's cut only, of all that it does not name as missing; and a job whose cut was
/// published as a whole ends.
fn check(job: &Job, old: &Cut, new: &Cut) {
    let of_manifest = |cut: &&&Cut| {
        job.manifest
            .as_ref()
            .is_some_and(|m| same_manifest(m, &cut.manifest))
    };
    let cut = [old, new].iter().find(of_manifest).copied();
    match job.end() {
        Some(End::Report { missing, lacking }) => {
            let cut = cut.expect("a report has a manifest");
            let mut expected = BTreeMap::new();
            for chunk in cut
                .chunks
                .iter()
                .filter(|chunk| !missing.contains(&chunk.seq))
            {
                for (word, count) in WordCount::work(chunk).expect("words") {
                    *expected.entry(word).or_insert(0) += count;
                }
            }
            assert_eq!(words(job), expected);
            assert_eq!(missing.is_empty(), lacking.is_none());
        }
        Some(End::Without(without)) => assert!(
            ["inconsistent: ", "the input is gone"]
                .iter()
                .any(|why| without.reason.starts_with(why)),
            "{}",
            without.reason
        ),
        None => {
            let mut job = restored(job);
            for message in cut.unwrap_or(new).all() {
                take(&mut job, &message);
            }
            assert!(
                job.end().is_some(),
                "a job that waits for ever: {}",
                state(&job)
            );
        }
    }
}

#[test]
fn done_means_exactly_one_cuts_chunks_in_every_order_there_is() {
    for inline in [true, false] {
        let (old, new) = two_cuts(inline);
        let states = explore(&old, &new);
        assert!(states > 200, "{states} states");
    }
    // the corrected input has fewer chunks
    explore(&two_cuts(true).0, &Cut::of(&["same", "new one"], true));
}
