use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A row as a test says it.
type Said = (Side, Vec<u8>, Vec<u8>);

const HERE: Place = Place { file: 0, line: 0 };

fn options(memory: usize, max_bucket: usize) -> Options {
    Options {
        memory,
        ..Options::new(max_bucket)
    }
}

/// A partitioner of rows that come in batches of `batch` of one side, the row's number on its side being its line.
fn partitioner(rows: &[Said], options: Options, batch: usize) -> Result<Partitioner, CutError> {
    let mut partitioner = Partitioner::new(options);
    let mut lines = BTreeMap::new();
    for rows in rows.chunks(batch) {
        for side in [Side::Left, Side::Right] {
            let mut batch = Batch::default();
            for (line, (_, key, row)) in rows.iter().filter(|row| row.0 == side).enumerate() {
                batch.put(u32::try_from(line).expect("few rows"), key, row);
            }
            let line = lines.entry(side).or_insert(1);
            partitioner.append(
                side,
                Place {
                    line: *line,
                    ..HERE
                },
                &batch,
            )?;
            *line += batch.len() as u64;
        }
    }
    assert_eq!(partitioner.rows(), rows.len() as u64);
    Ok(partitioner)
}

fn buckets(rows: &[Said], options: Options, batch: usize) -> Result<Vec<Bucket>, CutError> {
    let mut buckets = Vec::new();
    partitioner(rows, options, batch)?.into_buckets(&mut |bucket| {
        buckets.push(bucket);
        Ok(())
    })?;
    Ok(buckets)
}

/// By key: the rows of each side, with their places, in file order.
type ByKey = BTreeMap<Vec<u8>, [Vec<(u64, Vec<u8>)>; 2]>;

fn expected(rows: &[Said]) -> ByKey {
    let mut by_key = ByKey::new();
    let mut lines = [0, 0];
    for (side, key, row) in rows {
        let line = &mut lines[*side as usize];
        *line += 1;
        let sides = by_key.entry(key.clone()).or_default();
        sides[*side as usize].push((*line, row.clone()));
    }
    by_key
}

fn found(buckets: &[Bucket]) -> ByKey {
    let mut by_key = ByKey::new();
    for group in buckets.iter().flat_map(|bucket| groups(&bucket.body)) {
        let group = group.expect("a bucket that can be read");
        let rows = |rows: &[Row<'_>]| -> Vec<_> {
            let rows = rows.iter();
            rows.map(|row| (row.place.line, row.bytes.to_vec()))
                .collect()
        };
        let before = by_key.insert(group.key.to_vec(), [rows(&group.left), rows(&group.right)]);
        assert!(before.is_none(), "{:?} is in two groups", group.key);
    }
    by_key
}

/// Rows of few keys and of many, short and long.
fn some_row() -> impl Strategy<Value = Said> {
    let side = prop_oneof![Just(Side::Left), Just(Side::Right)];
    let key = prop_oneof![
        "[ab]?".prop_map(String::into_bytes),
        "[A-Z]{2}-[0-9]{3}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    (side, key, prop::collection::vec(any::<u8>(), 0..60))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_row_comes_back_beside_the_rows_of_its_key_whatever_the_memory(
        rows in prop::collection::vec(some_row(), 0..600),
        memory in prop_oneof![Just(0_usize), 0..200_000_usize, Just(64 << 20)],
        batch in 1_usize..300,
        max in 20_000_usize..60_000,
    ) {
        let buckets = buckets(&rows, options(memory, max), batch).expect("a disk");
        prop_assert_eq!(found(&buckets), expected(&rows));
        let count: u64 = buckets.iter().map(|bucket| u64::from(bucket.rows)).sum();
        prop_assert_eq!(count, rows.len() as u64);
        prop_assert!(buckets.iter().all(|bucket| bucket.rows > 0 && bucket.body.len() <= max));
        let usual = super::tests::buckets(&rows, options(64 << 20, max), 50).expect("a disk");
        prop_assert_eq!(buckets, usual);
    }

    #[test]
    fn bytes_that_are_no_bucket_are_an_error_and_no_more(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let read: Vec<_> = groups(&body).collect();
        let rows = |group: &Group<'_>| group.left.len() + group.right.len();
        prop_assert!(read.iter().flatten().map(rows).sum::<usize>() <= body.len() / 4);
        let damaged = read.iter().position(Result::is_err);
        prop_assert!(damaged.is_none_or(|at| at + 1 == read.len()));
    }

    #[test]
    fn numbers_come_back_as_they_were_written(line in any::<u64>(), file in any::<u32>()) {
        let mut bytes = Vec::new();
        let place = Place { file, line };
        bucket::encode(&mut bytes, Side::Right, place, b"key", b"row");
        let entry = bucket::Entry::split(&bytes).expect("an entry");
        prop_assert_eq!((entry.side, entry.place, entry.key, entry.row), (Side::Right, place, &b"key"[..], &b"row"[..]));
        prop_assert!((0..bytes.len()).all(|cut| bucket::Entry::split(&bytes[..cut]).is_none()));
    }
}

/// `count` rows with as many keys, half of them on each side.
fn many(count: u32) -> Vec<Said> {
    let row = |n: u32| {
        let side = if n.is_multiple_of(2) {
            Side::Left
        } else {
            Side::Right
        };
        let key = format!("{}", n / 2).into_bytes();
        (side, key, format!("row {n}").into_bytes())
    };
    (0..count).map(row).collect()
}

/// What a program of thirty lines in another language makes of the same rows.
#[test]
fn buckets_are_the_same_on_every_machine() {
    let buckets = buckets(&many(2_000), options(1 << 20, 4_096), 97).expect("a disk");
    let bytes: Vec<u8> = buckets
        .iter()
        .flat_map(|bucket| bucket.body.to_vec())
        .collect();
    assert_eq!(buckets.len(), 8);
    assert_eq!(
        autoconnect_common::Digest::of(&bytes).short(16),
        "4c725a4c46a04e02"
    );
}

#[test]
fn slices_that_do_not_fit_the_memory_are_divided_again_and_again() {
    let rows = many(20_000);
    // half of it is for a slice of 20,000 / 256 rows of about 30 bytes with their index: none fits, nor do all of theirs
    let small = buckets(&rows, options(200, 1 << 20), 1_000).expect("a disk");
    assert_eq!(found(&small), expected(&rows));
    assert_eq!(
        small,
        buckets(&rows, options(64 << 20, 1 << 20), 1_000).expect("a disk")
    );
}

#[test]
fn a_bucket_is_as_full_as_its_keys_allow() {
    let buckets = buckets(&many(20_000), options(1 << 20, 4_096), 500).expect("a disk");
    let (last, full) = buckets.split_last().expect("some");
    // two rows of a key have at most 36 bytes
    assert!(full.iter().all(|bucket| bucket.body.len() > 4_096 - 36));
    assert!(!last.body.is_empty());
}

#[test]
fn a_key_with_more_rows_than_a_bucket_holds_is_refused_by_its_name_whatever_the_memory() {
    let mut rows = many(3_000);
    let plate = || (Side::Right, b"AB-123-CD".to_vec(), vec![b'x'; 10]);
    rows.extend(std::iter::repeat_with(plate).take(2_000));
    for memory in [0, 10_000, 100_000, 64 << 20] {
        let refused = buckets(&rows, options(memory, 40_000), 100).expect_err("refused");
        let lines = rows.iter().filter(|row| row.0 == Side::Right).count();
        assert_eq!(lines, 3_500);
        assert_eq!(
            refused.to_string(),
            "the key \"AB-123-CD\" has 2000 rows of 48000 bytes together, expected at most 40000 bytes of rows with one key"
        );
    }
    assert_eq!(
        found(&buckets(&rows, options(0, 48_000), 100).expect("they fit")),
        expected(&rows)
    );
}

#[test]
fn a_row_longer_than_a_bucket_is_refused_with_its_line() {
    let long = (Side::Left, b"key".to_vec(), vec![b'x'; 200]);
    let rows = [many(6), vec![long]].concat();
    let refused = buckets(&rows, options(0, 100), 100).expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "line 4: a row of 208 bytes with the key \"key\", expected at most 100"
    );
}

#[test]
fn temporary_files_have_no_name_even_while_they_are_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let used = || std::fs::read_dir(folder.path()).expect("a folder").count();
    let options = Options {
        folder: folder.path().to_owned(),
        ..options(0, 1_000)
    };
    let partitioner = partitioner(&many(5_000), options, 100).expect("a disk");
    assert!(partitioner.spool.len() > 50_000);
    assert_eq!(used(), 0);
    let mut given = 0;
    let ended = partitioner.into_buckets(&mut |_| {
        assert_eq!(used(), 0);
        given += 1;
        if given < 3 {
            Ok(())
        } else {
            Err(CutError::Cancelled)
        }
    });
    assert!(matches!(ended, Err(CutError::Cancelled)));
    assert_eq!((given, used()), (3, 0));
}

#[test]
fn a_folder_that_is_not_there_is_said_in_one_sentence() {
    let options = Options {
        folder: "/none/at/all".into(),
        ..options(0, 1_000)
    };
    let CutError::Failed { what, source } =
        buckets(&many(5_000), options, 100).expect_err("failed")
    else {
        panic!("expected a failure");
    };
    assert_eq!(
        what,
        "writing rows to be matched in a temporary file in /none/at/all"
    );
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
}

/// The process that meets the limit is this test again: a limit is a process's, and the other tests are to have none.
#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_is_said_in_one_sentence() {
    const AGAIN: &str = "AUTOCONNECT_TEST_FILE_LIMIT";
    if std::env::var_os(AGAIN).is_some() {
        let folder = tempfile::tempdir().expect("a folder");
        let limited = Options {
            folder: folder.path().to_owned(),
            ..options(0, 1_000)
        };
        let failed = buckets(&many(20_000), limited, 100).expect_err("failed");
        println!("said: {failed} [{:?}]", std::error::Error::source(&failed));
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0);
        return;
    }
    // 64 blocks of 512 bytes; the signal that would end the process is ignored, so that the write fails
    let limit = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --nocapture --exact partition::tests::a_disk_that_takes_no_more_is_said_in_one_sentence";
    let output = std::process::Command::new("sh")
        .args(["-c", limit])
        .arg(std::env::current_exe().expect("a path"))
        .env(AGAIN, "")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("said: writing rows to be matched in a temporary file in ")
            && said.contains("FileTooLarge"),
        "{said}"
    );
}
