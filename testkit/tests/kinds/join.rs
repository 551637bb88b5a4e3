//! Two inputs are matched by key: the same chunks whatever the machine has, the figures of a plain hash map, and no row lost.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::message::Status;
use autoconnect_common::{CutError, JobId, JobKind, Outlet, Registry, Shutdown};
use autoconnect_producer::name_job;
use autoconnect_testkit::cluster::Cluster;
use autoconnect_testkit::join::{
    Facts, Join, Matched, REJECTS, Read, Report, Request, Sums, request,
};
use rand::{RngExt as _, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// One row of a file: what is written, and the key and the amount that it means; none where it is wrong.
struct Line {
    text: String,
    meant: Option<(String, i64)>,
}

/// `count` rows with about `keys` keys, in many spellings; some are wrong, some span two lines, some amounts are negative.
fn lines(seed: u64, count: usize, keys: u32) -> Vec<Line> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut line = || {
        let key = format!("AB{}C", random.random_range(0..keys));
        let amount = random.random_range(-1_000..1_000_000_i64);
        let written = match random.random_range(0..4) {
            0 => key.to_lowercase(),
            1 => format!("{}-{}", &key[..2], &key[2..]),
            2 => format!(" {key} "),
            _ => key.clone(),
        };
        let note = match random.random_range(0..10) {
            0 => "\"on two\nlines\"",
            1 => "",
            _ => "as usual",
        };
        match random.random_range(0..50) {
            0 => Line {
                text: format!("-,{amount},{note}"),
                meant: None,
            },
            1 => Line {
                text: format!("{written},{amount}.5,{note}"),
                meant: None,
            },
            2 => Line {
                text: format!("{written},{amount}"),
                meant: None,
            },
            _ => Line {
                text: format!("{written},{amount},{note}"),
                meant: Some((key, amount)),
            },
        }
    };
    (0..count).map(|_| line()).collect()
}

fn write(path: &Path, lines: &[Line]) -> Result<()> {
    let mut text = "key,amount,note\n".to_owned();
    for line in lines {
        text.push_str(&line.text);
        text.push('\n');
    }
    Ok(fs::write(path, text)?)
}

/// What must come out, by a plain hash map.
fn expected(left: &[Line], right: &[Line]) -> Report {
    let mut sums: HashMap<&str, [(u64, i64); 2]> = HashMap::new();
    for (side, lines) in [left, right].into_iter().enumerate() {
        for (key, amount) in lines.iter().filter_map(|line| line.meant.as_ref()) {
            let sum = &mut sums.entry(key).or_default()[side];
            *sum = (sum.0 + 1, sum.1 + amount);
        }
    }
    let matched = |side: usize| {
        let mut matched = Matched::default();
        for sides in sums.values() {
            let (rows, amount) = sides[side];
            if sides[1 - side].0 > 0 {
                matched.matched += rows;
                matched.amount += amount;
            } else {
                matched.unmatched += rows;
            }
        }
        matched
    };
    let read = |lines: &[Line]| {
        let accepted = lines.iter().filter(|line| line.meant.is_some()).count();
        Read {
            accepted: accepted as u64,
            rejected: (lines.len() - accepted) as u64,
        }
    };
    Report {
        read: Facts {
            left: read(left),
            right: read(right),
        },
        sums: Sums {
            left: matched(0),
            right: matched(1),
        },
        missing: Vec::new(),
    }
}

/// Two files in a folder: a long one and a short one, with keys of their own and keys in common.
fn files(folder: &Path) -> Result<(Request, Report)> {
    let (left, right) = (lines(1, 20_000, 9_000), lines(2, 5_000, 12_000));
    let paths = ["left.csv", "right.csv"].map(|name| folder.join(name));
    write(&paths[0], &left)?;
    write(&paths[1], &right)?;
    Ok((request(&paths[0], &paths[1]), expected(&left, &right)))
}

/// What a cut of `request` by so many threads puts, chunks and pages of rejects in the order of their numbers.
fn cut(request: &Request, threads: usize) -> Result<Vec<String>, CutError> {
    let (progress, stop) = (Arc::new(Progress::default()), Shutdown::new());
    let job: JobId = "join-0".parse().expect("an id");
    let (outlet, mut items) = Outlet::new(job, 8, threads, progress, stop);
    std::thread::scope(|threads| {
        let cutting = threads.spawn(move || Join::cut(request, &outlet));
        let mut put = Vec::new();
        while let Some(item) = items.blocking_recv() {
            put.push(match item {
                Item::Chunk {
                    seq, rows, body, ..
                } => format!("chunk {seq}: {rows} rows {body:?}"),
                Item::Annex { page, body, .. } => format!("page {page}: {body:?}"),
            });
        }
        put.sort();
        cutting.join().expect("no panic")?;
        Ok(put)
    })
}

#[test]
fn chunks_are_the_same_with_any_number_of_threads_and_any_memory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (request, _) = files(folder.path())?;
    let request = Request {
        chunk_bytes: 20_000,
        ..request
    };
    let usual = cut(&request, 1)?;
    ensure!(usual.len() > 20, "{} chunks", usual.len());
    for (threads, memory) in [
        (2, 64 << 20),
        (3, 0),
        (4, 100_000),
        (1, 5_000),
        (4, 1 << 20),
    ] {
        let other = Request {
            memory,
            ..request.clone()
        };
        ensure!(
            cut(&other, threads)? == usual,
            "{threads} threads, {memory} bytes"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_matches_two_inputs_as_a_hash_map_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (request, expected) = files(folder.path())?;
    let registry = || Registry::default().with::<Join>();
    for (workers, chunk_bytes, memory) in
        [(1, 1 << 20, 64 << 20), (3, 4_000, 50_000), (6, 30_000, 0)]
    {
        let request = Request {
            chunk_bytes,
            memory,
            ..request.clone()
        };
        let job = name_job::<Join>(&registry(), &request, None)?;
        let outcome = Cluster::of(registry(), workers)
            .run(Embedded::new(), job)
            .await?;
        ensure!(outcome.end.status == Status::Done, "{:?}", outcome.end);
        let report: Report = serde_json::from_slice(outcome.report()?)?;
        ensure!(report == expected, "{report:?}, expected {expected:?}");
        let rejects = outcome
            .files
            .get(REJECTS)
            .context("a side file of rejects")?;
        let rejects = String::from_utf8(rejects.clone())?;
        let rejected = expected.read.left.rejected + expected.read.right.rejected;
        ensure!(rejects.lines().count() as u64 == rejected + 1);
    }
    Ok(())
}

#[test]
fn rejects_name_the_lines_of_their_own_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let paths = ["left.csv", "right.csv"].map(|name| folder.path().join(name));
    fs::write(&paths[0], "key,amount\nA,1\n-,2\n")?;
    fs::write(&paths[1], "amount;key\n\n1;A\n\"on\ntwo\";B\nx;C\n")?;
    let put = cut(&request(&paths[0], &paths[1]), 2)?;
    let page = put
        .iter()
        .find(|put| put.starts_with("page 0"))
        .context("a page")?;
    for row in [
        "3,cle_vide,key,'-,\\\"'-,2\\\",left.csv",
        "4,montant_invalide,amount,on\\\\ntwo,\\\"\\\"\\\"on\\\",right.csv",
        "6,montant_invalide,amount,x,x;C,right.csv",
    ] {
        ensure!(page.contains(row), "{row} is not in {page}");
    }
    Ok(())
}

#[test]
fn a_key_with_too_many_rows_is_refused_in_one_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("one.csv");
    fs::write(
        &path,
        format!("key,amount\n{}", "ab-123-cd,5\n".repeat(60_000)),
    )?;
    let other = folder.path().join("other.csv");
    fs::write(&other, "key,amount\nAB123CD,5\n")?;
    let refused = cut(&request(&path, &other), 2)
        .expect_err("refused")
        .to_string();
    ensure!(
        refused.starts_with("the key \"AB123CD\" has 60001 rows of ")
            && refused
                .ends_with(" bytes together, expected at most 1048576 bytes of rows with one key"),
        "{refused}"
    );
    Ok(())
}
