//! Reports that earlier builds wrote are read: a key that was added since may be absent.

use std::collections::BTreeSet;

use autoconnect_jobs::sales::{Report, conclude};
use serde_json::{Map, Value};

#[path = "../examples/sales_report/sample.rs"]
mod sample;

/// A report of the build before keys were added for the first time.
const EARLIER: &str = include_str!("data/report-0.1.json");

/// Objects whose keys are names from the data: not parts of the format.
const MAPS: [&str; 16] = [
    "qualite.par_motif",
    "qualite.avertissements",
    "ca_mensuel",
    "ca_mensuel.*",
    "repartition",
    "top_modeles",
    "ca_par_modele",
    "ca_par_modele.*.villes",
    "saisonnalite",
    "saisonnalite.*.variations",
    "saisonnalite.*.indices",
    "rotation",
    "rotation.*.par_modele",
    "valeur_contrats",
    "marge",
    "tendance",
];

/// Where the parts of a format are: paths of keys, with `*` for a name and `[]` for an entry of a list.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = if MAPS.contains(&path) { "*" } else { key };
                let path = if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                };
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(list) => list
            .iter()
            .for_each(|entry| keys(entry, &format!("{path}.[]"), found)),
        _ => {}
    }
}

fn keys_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found
}

/// Removes a key wherever it is.
fn drop_key(value: &mut Value, path: &[&str]) {
    match (value, path) {
        (Value::Object(object), [last]) => {
            object.remove(*last);
        }
        (Value::Object(object), ["*", rest @ ..]) => {
            object.values_mut().for_each(|value| drop_key(value, rest));
        }
        (Value::Object(object), [first, rest @ ..]) => {
            if let Some(value) = object.get_mut(*first) {
                drop_key(value, rest);
            }
        }
        (Value::Array(list), ["[]", rest @ ..]) => {
            list.iter_mut().for_each(|value| drop_key(value, rest));
        }
        _ => {}
    }
}

/// Whether everything in `part` is in `whole`, with the same value.
fn holds(whole: &Value, part: &Value) -> bool {
    let has = |whole: &Map<String, Value>, (key, value): (&String, &Value)| {
        whole.get(key).is_some_and(|whole| holds(whole, value))
    };
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|entry| has(whole, entry)),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole
                    .iter()
                    .zip(part)
                    .all(|(whole, part)| holds(whole, part))
        }
        _ => whole == part,
    }
}

/// A report of this build with something under every key.
fn report() -> Value {
    let (facts, partial) = sample::sample(sample::Size {
        villes: 3,
        mois: 14,
        modeles: 8,
    });
    let report = conclude::conclude(facts, partial, &[], &mut |_| {}).expect("a report");
    serde_json::to_value(&report).expect("JSON")
}

fn read(report: Value) -> Result<Report, serde_json::Error> {
    serde_json::from_value(report)
}

#[test]
fn a_report_of_an_earlier_build_is_read_and_loses_nothing() {
    let earlier: Value = serde_json::from_str(EARLIER).expect("JSON");
    let report = read(earlier.clone()).expect("a report");
    let again = serde_json::to_value(&report).expect("JSON");
    assert!(holds(&again, &earlier), "{again:#}");
}

#[test]
fn every_key_that_was_added_since_may_be_absent() {
    let earlier = keys_of(&serde_json::from_str(EARLIER).expect("JSON"));
    let now = report();
    // what is within a key that was added came with it
    let is_first = |path: &&String| {
        path.rsplit_once('.')
            .is_none_or(|(above, _)| earlier.contains(above))
    };
    let added = keys_of(&now);
    let added: Vec<String> = added
        .difference(&earlier)
        .filter(is_first)
        .cloned()
        .collect();
    assert!(
        !added.is_empty(),
        "the sample shows nothing new: this test cannot fail"
    );
    for path in &added {
        let mut without = now.clone();
        let parts: Vec<&str> = path.split('.').collect();
        drop_key(&mut without, &parts);
        assert_ne!(without, now, "{path}");
        if let Err(error) = read(without) {
            panic!(
                "a report without {path}, which was added, is refused: {error}; it must have a default"
            );
        }
    }
    let mut without_any = now;
    for path in &added {
        let parts: Vec<&str> = path.split('.').collect();
        drop_key(&mut without_any, &parts);
    }
    read(without_any).expect("a report");
}

#[test]
fn a_key_that_was_always_there_may_not_be_absent() {
    for key in [
        "schema",
        "source",
        "qualite",
        "periode",
        "ca_total",
        "villes",
        "comparatif",
    ] {
        let mut without: Value = serde_json::from_str(EARLIER).expect("JSON");
        drop_key(&mut without, &[key]);
        assert!(read(without).is_err(), "{key}");
    }
}
