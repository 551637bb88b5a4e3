//! The promises of a generated file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

const SMALL: Options = Options {
    rows: 5_000,
    cities: 3,
    dirty: 0.0,
    seed: 42,
    truth: true,
};

fn made(options: &Options) -> (Vec<u8>, Value, Summary) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("f.csv");
    let summary = generate(options, &file).expect("made");
    let truth = std::fs::read(file.with_extension("csv.truth.json")).expect("its truth");
    let truth = serde_json::from_slice(&truth).expect("JSON");
    (std::fs::read(file).expect("the file"), truth, summary)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let dirty = Options {
        dirty: 0.1,
        ..SMALL
    };
    assert_eq!(made(&dirty).0, made(&dirty).0);
    assert_eq!(made(&dirty).1, made(&dirty).1);
    let other = Options { seed: 43, ..SMALL };
    assert_ne!(made(&SMALL).0, made(&other).0);
}

#[test]
fn the_bytes_of_a_seed_never_change() {
    let (bytes, ..) = made(&Options { rows: 3, ..SMALL });
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(text, include_str!("three_rows.csv"));
    let (bytes, ..) = made(&Options {
        dirty: 0.3,
        ..SMALL
    });
    assert_eq!(
        autoconnect_common::Digest::of(&bytes).to_string(),
        "4457ef73eb5a26c19c9e2ef6a1de6faccfc4b44f6f1e75c34e49253c82ea5337"
    );
}

#[test]
fn a_clean_file_has_every_row_every_day_at_its_ends_and_plausible_fields() {
    let (bytes, truth, summary) = made(&SMALL);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("transaction_id,date,ville,type,modele,prix,duree_location_mois")
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len() as u64, SMALL.rows);
    assert_eq!(rows[0][1], "2022-01-01");
    assert_eq!(rows[rows.len() - 1][1], "2025-12-31");
    let ids: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(ids.len(), rows.len());
    let cities: BTreeSet<&str> = rows.iter().map(|row| row[2]).collect();
    assert_eq!(cities, BTreeSet::from(["Lyon", "Marseille", "Paris"]));
    for row in &rows {
        assert_eq!(row.len(), 7);
        let price: f64 = row[5].parse().expect("a price");
        match row[3] {
            "vente" => {
                assert!((12_000.0..=95_000.0).contains(&price), "{row:?}");
                assert!(matches!(row[6], "" | "NULL"), "{row:?}");
            }
            "location" => {
                assert!((250.0..=2_500.0).contains(&price), "{row:?}");
                let months: u32 = row[6].parse().expect("a duration");
                assert!((1..=48).contains(&months), "{row:?}");
            }
            _ => panic!("{row:?}"),
        }
    }
    assert_eq!(summary.accepted, SMALL.rows);
    assert_eq!(truth["acceptees"], SMALL.rows);
    assert_eq!(
        truth["attendu"]["periode"],
        serde_json::json!(["2022-01-01", "2025-12-31"])
    );
}

#[test]
fn the_truth_of_a_clean_file_is_the_sum_of_its_rows() {
    let (bytes, truth, _) = made(&SMALL);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let mut sums: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let row: Vec<&str> = line.split(',').collect();
        let (euros, decimals) = row[5].split_once('.').unwrap_or((row[5], "0"));
        let cents: u64 = format!("{euros}{decimals:0<2}").parse().expect("cents");
        let key = (row[2].to_owned(), row[1][..7].to_owned(), row[3].to_owned());
        let sum = sums.entry(key).or_default();
        sum.0 += 1;
        sum.1 += cents;
    }
    let rows: Vec<_> = sums
        .into_iter()
        .map(|((city, month, kind), (number, cents))| (city, month, kind, number, cents))
        .collect();
    assert_eq!(
        truth["attendu"]["par_ville_mois_type"],
        serde_json::to_value(rows).expect("JSON")
    );
}

#[test]
fn a_dirty_file_has_every_fault_and_as_many_as_asked() {
    let options = Options {
        rows: 120_000,
        dirty: 0.02,
        ..SMALL
    };
    let (bytes, truth, summary) = made(&options);
    let count = |group: &str| -> u64 {
        let words = truth[group].as_object().expect("an object");
        words.values().filter_map(Value::as_u64).sum()
    };
    for (group, words) in [
        ("par_motif", 21),
        ("avertissements", 6),
        ("particularites", 10),
    ] {
        assert_eq!(
            truth[group].as_object().expect("an object").len(),
            words,
            "{}",
            truth[group]
        );
    }
    let planted = count("par_motif") + count("avertissements") + count("particularites");
    // a row with a quoted line feed also counts under a warning
    assert!((2_250..=2_700).contains(&planted), "{planted}");
    assert_eq!(count("par_motif"), summary.rejected);
    assert_eq!(summary.accepted + summary.rejected, options.rows);
    assert_eq!(bytes.len() as u64, summary.bytes);
    assert_eq!(&bytes[..3], b"\xef\xbb\xbf");
    assert_ne!(bytes.last(), Some(&b'\n'));
}

#[test]
fn the_lines_of_rejected_rows_are_where_the_truth_says() {
    let (bytes, truth, _) = made(&Options {
        dirty: 0.5,
        ..SMALL
    });
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let rejects = truth["rejets"].as_array().expect("an array");
    assert!(rejects.len() > 1_000);
    for reject in rejects {
        let line = lines[reject[0].as_u64().expect("a line") as usize - 1];
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b',').collect();
        match reject[1].as_str().expect("a reason") {
            "colonnes_manquantes" => assert!(fields.len() < 7),
            "colonnes_en_trop" => assert!(fields.len() > 7),
            "entete_repetee" => assert_eq!(line, &HEADER[..HEADER.len() - 1]),
            "prix_negatif" => assert_eq!(fields[5][0], b'-'),
            "ville_trop_longue" => assert!(fields[2].len() > 255),
            "encodage_invalide" => {
                assert!(std::str::from_utf8(line).map_or(true, |text| text.contains('\0')));
            }
            _ => assert_eq!(fields.len(), 7),
        }
    }
}

#[test]
fn a_file_without_rows_is_a_header() {
    let (bytes, truth, summary) = made(&Options { rows: 0, ..SMALL });
    assert_eq!(bytes, HEADER);
    assert_eq!(summary.rows, 0);
    assert_eq!(truth["attendu"]["periode"], Value::Null);
}

#[test]
fn many_cities_and_nothing_but_dirt_still_make_a_file() {
    let (_, truth, _) = made(&Options {
        cities: 500,
        dirty: 1.0,
        ..SMALL
    });
    assert_eq!(truth["lignes"], SMALL.rows);
}

#[test]
fn impossible_options_are_refused_before_anything_is_written() {
    let file = Path::new("/nowhere/f.csv");
    let refused = |options: &Options| generate(options, file).map_err(|error| error.to_string());
    assert_eq!(
        refused(&Options { cities: 0, ..SMALL }),
        Err("0 cities: expected 1 to 100000".to_owned())
    );
    assert_eq!(
        refused(&Options {
            dirty: 1.5,
            ..SMALL
        }),
        Err("1.5 of the rows dirty: expected a share between 0 and 1".to_owned())
    );
    assert_eq!(
        refused(&SMALL),
        Err("cannot write \"/nowhere/f.csv\"".to_owned())
    );
}
