//! From a file's text to the figures of its report: which months are complete, which are isolated, what is one name.

mod made;

use autoconnect_common::{Chunk, JobKind as _, Merge};
use autoconnect_jobs::sales::{Facts, Partial, Report, Sales, conclude, work};
use chrono::{Datelike, NaiveDate, Weekday};
use made::{How, Made, REFERENCE, made, made_by, with_header};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Small blocks, several threads, the hot path.
const SMALL: How = How {
    block: 90,
    hot_path: true,
    threads: 3,
};

/// The facts and the partial of what was made, its chunks merged from the last to the first where `backwards`.
fn summed(made: Made, backwards: bool) -> (Facts, Partial) {
    let Made::Cut { facts, chunks, .. } = made else {
        panic!("{made:?}")
    };
    let mut partials: Vec<Partial> = chunks
        .into_iter()
        .map(|(seq, (key, rows, body))| {
            let chunk = Chunk {
                job: "sales-test".parse().expect("a job id"),
                kind: Sales::NAME.to_owned(),
                schema: Sales::SCHEMA,
                seq,
                key,
                rows,
                body: body.into(),
            };
            work::work(&chunk).expect("worked")
        })
        .collect();
    if backwards {
        partials.reverse();
    }
    let mut sum = Partial::default();
    for partial in partials {
        sum.merge(partial).expect("no overflow");
    }
    (*facts, sum)
}

fn report_of(made: Made, backwards: bool) -> Report {
    let (mut facts, partial) = summed(made, backwards);
    facts.fichiers = vec!["a.csv".to_owned()];
    conclude::conclude(facts, partial, &[], &mut |_| {}).expect("a report")
}

/// The report on these lines, the same however they are cut and merged.
fn report(lines: &str, periode: Option<&str>) -> Value {
    let text = with_header(lines.as_bytes());
    let ask = |request: &mut autoconnect_jobs::sales::Request| {
        request.periode = periode.map(|periode| periode.parse().expect("a period"));
    };
    let expected = report_of(made_by(&text, REFERENCE, ask), false);
    for backwards in [false, true] {
        assert_eq!(report_of(made_by(&text, SMALL, ask), backwards), expected);
    }
    serde_json::to_value(&expected).expect("JSON")
}

/// A sale of 100 euros in Lyon on each of these days.
fn sales(days: impl IntoIterator<Item = NaiveDate>) -> String {
    let lines = (1..).zip(days);
    lines
        .map(|(n, day)| format!("A{n},{day},Lyon,vente,Clio,100,NULL\n"))
        .collect()
}

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn days(first: &str, last: &str) -> impl Iterator<Item = NaiveDate> {
    let last = day(last);
    day(first).iter_days().take_while(move |day| *day <= last)
}

fn working_days(first: &str, last: &str) -> impl Iterator<Item = NaiveDate> {
    days(first, last).filter(|day| day.weekday() != Weekday::Sun)
}

#[test]
fn a_dealer_closed_on_sundays_and_holidays_has_complete_months() {
    let report = report(&sales(working_days("2024-01-02", "2024-03-30")), None);
    assert_eq!(report["periode"]["mois_partiels"], json!([]));
    assert_eq!(
        report["periode"]["mois"],
        json!(["2024-01", "2024-02", "2024-03"])
    );
    let trend = &report["tendance"]["global"];
    assert_eq!(trend["prevision"]["mois"], json!("2024-04"));
    assert_eq!(trend["prevision"]["en_cours"], json!(false));
    assert_ne!(report["comparatif"][0]["croissance_mensuelle"], json!(null));
}

#[test]
fn a_dealer_closed_two_days_a_week_has_complete_months() {
    // neither on Sundays nor on Mondays; 2024-06-30 is a Sunday and 2024-04-01 a holiday
    let open = days("2024-04-02", "2024-06-29")
        .filter(|day| !matches!(day.weekday(), Weekday::Sun | Weekday::Mon));
    let report = report(&sales(open), None);
    assert_eq!(report["periode"]["mois_partiels"], json!([]));
    // a month that ends on a Monday: Sunday and Monday are missing, as every week
    let open = days("2024-07-02", "2024-09-28")
        .filter(|day| !matches!(day.weekday(), Weekday::Sun | Weekday::Mon));
    let report = self::report(&sales(open), None);
    assert_eq!(report["periode"]["mois_partiels"], json!([]));
}

#[test]
fn a_month_that_goes_on_is_partial_and_the_forecast_is_for_it() {
    let report = report(&sales(working_days("2024-02-01", "2024-05-17")), None);
    assert_eq!(report["periode"]["mois_partiels"], json!(["2024-05"]));
    assert_eq!(
        report["tendance"]["global"]["prevision"]["mois"],
        json!("2024-05")
    );
    assert_eq!(
        report["tendance"]["global"]["prevision"]["en_cours"],
        json!(true)
    );
}

#[test]
fn no_complete_month_has_a_forecast_beside_its_figure() {
    for last in ["2024-06-29", "2024-06-28", "2024-06-15", "2024-05-31"] {
        let report = report(&sales(working_days("2024-01-02", last)), None);
        let prevision = &report["tendance"]["global"]["prevision"];
        let partial = report["periode"]["mois_partiels"]
            .as_array()
            .expect("months");
        let months = report["periode"]["mois"].as_array().expect("months");
        let shown = months.contains(&prevision["mois"]);
        assert_eq!(
            shown,
            partial.contains(&prevision["mois"]),
            "{last}: {prevision}"
        );
        assert_eq!(prevision["en_cours"], json!(shown), "{last}");
    }
}

#[test]
fn a_wrong_year_is_isolated_named_with_its_line_and_counted_in_every_sum() {
    let of_2024: Vec<NaiveDate> = (0..36)
        .map(|n| day("2024-01-01") + chrono::Days::new(10 * n))
        .collect();
    let good = report(&sales(of_2024.clone()), None);
    let all = of_2024.iter().copied().chain([day("2042-05-17")]);
    let report = report(&sales(all), None);
    assert_eq!(
        report["periode"]["isoles"],
        json!([{"mois": "2042-05", "nombre": 1, "ca": 100, "lignes": [{"fichier": "a.csv", "ligne": 38}]}])
    );
    for key in ["debut", "fin", "mois", "mois_partiels", "mois_sans_trous"] {
        assert_eq!(report["periode"][key], good["periode"][key], "{key}");
    }
    assert_eq!(report["tendance"], good["tendance"]);
    assert_eq!(report["saisonnalite"], good["saisonnalite"]);
    assert_eq!(report["ca_total"], json!(3_700));
    assert_eq!(report["ca_mensuel"]["Lyon"]["2042-05"]["total"], json!(100));
    assert_eq!(report["comparatif"][0]["transactions"], json!(37));
    assert_eq!(report["qualite"]["avertissements"]["mois_isole"], json!(1));
    // the day of the request is in 2026, so the row is in the future too
    assert_eq!(report["source"]["avertissements"], json!(2));
}

#[test]
fn a_wrong_year_before_all_others_makes_no_season_of_its_own() {
    let year: Vec<NaiveDate> = working_days("2024-01-02", "2024-12-31").collect();
    let good = report(&sales(year.clone()), None);
    let report = report(&sales([day("2014-07-03")].into_iter().chain(year)), None);
    assert_eq!(report["periode"]["isoles"][0]["mois"], json!("2014-07"));
    assert_eq!(
        report["periode"]["isoles"][0]["lignes"][0]["ligne"],
        json!(2)
    );
    assert_eq!(report["saisonnalite"], good["saisonnalite"]);
    assert_eq!(report["periode"]["mois"], good["periode"]["mois"]);
}

#[test]
fn of_many_isolated_rows_the_first_lines_are_named_without_duplicates() {
    let mut lines = sales((0..3_000).map(|n| day("2022-01-01") + chrono::Days::new(n % 1_000)));
    for n in 0..14 {
        lines += &format!("B{n},2999-12-{:02},Lyon,vente,Clio,100,NULL\n", n + 1);
        // a duplicate, which is rejected
        lines += &format!("B{n},2999-12-{:02},Lyon,vente,Clio,100,NULL\n", n + 1);
    }
    let report = report(&lines, None);
    let isole = &report["periode"]["isoles"][0];
    assert_eq!(
        (&isole["mois"], &isole["nombre"]),
        (&json!("2999-12"), &json!(14))
    );
    let found: Vec<u64> = isole["lignes"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| line["ligne"].as_u64().expect("a number"))
        .collect();
    let expected: Vec<u64> = (0..10).map(|n| 3_002 + 2 * n).collect();
    assert_eq!(found, expected);
    assert_eq!(
        report["tendance"]["global"]["prevision"]["mois"],
        json!("2024-09")
    );
}

#[test]
fn a_period_that_is_asked_for_counts_the_rows_outside_apart() {
    let lines = sales(days("2024-01-15", "2024-05-10")) + "X,2024-01-01,Lyon,vente,Clio,-1,NULL\n";
    let whole = report(&lines, None);
    let report = report(&lines, Some("2024-01..2024-04"));
    let source = &report["source"];
    assert_eq!(source["hors_periode"], json!(10));
    assert_eq!(
        (&source["lignes"], &source["acceptees"], &source["rejetees"]),
        (&json!(118), &json!(117), &json!(1))
    );
    assert_eq!(report["ca_total"], json!(10_700));
    assert_eq!(
        report["periode"]["mois"],
        json!(["2024-01", "2024-02", "2024-03", "2024-04"])
    );
    assert_eq!(report["periode"]["mois_partiels"], json!([]));
    assert_eq!(report["periode"]["demandee"], json!("2024-01..2024-04"));
    assert_eq!(report["tendance"]["global"]["mois"][2], json!("2024-04"));
    assert_eq!(
        report["tendance"]["global"]["prevision"],
        json!({"mois": "2024-05", "ca": 3100, "en_cours": false})
    );
    assert_eq!(whole["source"]["hors_periode"], json!(0));
    assert_eq!(
        whole["periode"]["mois_partiels"],
        json!(["2024-01", "2024-05"])
    );
}

#[test]
fn a_period_without_a_row_is_a_report_of_nothing() {
    let report = report(
        &sales(days("2024-01-01", "2024-01-31")),
        Some("2023-01..2023-12"),
    );
    assert_eq!(report["source"]["hors_periode"], json!(31));
    assert_eq!(report["source"]["acceptees"], json!(31));
    assert_eq!(report["ca_total"], json!(0));
    assert_eq!(report["villes"], json!([]));
}

#[test]
fn an_id_outside_the_period_is_known_all_the_same() {
    let lines = "A,2023-12-31,Lyon,vente,Clio,100,NULL\nA,2024-01-01,Lyon,vente,Clio,100,NULL\n";
    let report = report(lines, Some("2024-01..2024-01"));
    assert_eq!(report["qualite"]["par_motif"], json!({"id_duplique": 1}));
    assert_eq!(report["ca_total"], json!(0));
}

#[test]
fn a_city_in_many_spellings_is_one() {
    let spellings = [
        "Le Mans",
        "Le\u{a0}Mans",
        "Le\u{202f}Mans",
        "Le  Mans",
        "Le\u{2011}Mans",
        "Le Ma\u{ad}ns",
        "LE MANS",
        "Le’Mans",
        "le_mans",
    ];
    let lines: String = (1..)
        .zip(spellings.iter().chain([
            &"Œuilly",
            &"Oeuilly",
            &"Saint Étienne",
            &"Saint-Étienne",
            &"Saint-Étienne",
        ]))
        .map(|(n, ville)| format!("A{n},2024-01-05,{ville},vente,Clio,100,NULL\n"))
        .collect();
    let report = report(&lines, None);
    // of spellings as frequent not one in capitals, and the smallest
    assert_eq!(
        report["villes"],
        json!(["Le  Mans", "Oeuilly", "Saint-Étienne"])
    );
    let villes = &report["qualite"]["regroupements"]["villes"];
    assert_eq!(
        villes["Saint-Étienne"],
        json!({"Saint-Étienne": 2, "Saint Étienne": 1})
    );
    assert_eq!(villes["Oeuilly"], json!({"Oeuilly": 1, "Œuilly": 1}));
    assert_eq!(
        villes["Le  Mans"].as_object().map(|counts| counts.len()),
        Some(spellings.len())
    );
    assert_eq!(report["qualite"]["regroupements"]["autres"], json!(0));
}

#[test]
fn a_model_in_many_spellings_is_one_in_the_top_five() {
    let lines: String = (1..)
        .zip([
            "Citroën C3",
            "Citroe\u{308}n C3",
            "CITROEN_C3",
            "Citroën C3",
            "Renault_Clio",
            "RENAULT CLIO",
            "Renault-Clio",
        ])
        .map(|(n, modele)| format!("A{n},2024-01-05,Lyon,vente,{modele},100,NULL\n"))
        .collect();
    let report = report(&lines, None);
    assert_eq!(
        report["top_modeles"]["Lyon"]["vente"],
        json!([{"modele": "Citroën C3", "nombre": 4, "ca": 400}, {"modele": "Renault-Clio", "nombre": 3, "ca": 300}])
    );
    assert_eq!(report["modeles"], json!(["Citroën C3", "Renault-Clio"]));
    let modeles = &report["qualite"]["regroupements"]["modeles"];
    assert_eq!(
        modeles["Renault-Clio"],
        json!({"RENAULT CLIO": 1, "Renault-Clio": 1, "Renault_Clio": 1})
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn spellings_wrong_years_and_any_cut_give_one_report(
        rows in proptest::collection::vec(
            (0..4_usize, "202[34]-0[1-9]-[0-2][1-9]|2042-01-01|1999-12-31", 0..5_usize, "A[0-9]{2}"), 1..60),
        how in (1..200_usize, any::<bool>(), 1..4_usize),
    ) {
        let villes = ["Le Mans", "LE MANS", "Le\u{a0}Mans", "Lyon"];
        let modeles = ["Clio", "CLIO", "Citroën C3", "Citroe\u{308}n C3", "208"];
        let lines: String = rows
            .iter()
            .map(|(ville, day, modele, id)| format!("{id},{day},{},vente,{},100,NULL\n", villes[*ville], modeles[*modele]))
            .collect();
        let text = with_header(lines.as_bytes());
        let (block, hot_path, threads) = how;
        let expected = report_of(made(&text, REFERENCE), false);
        prop_assert_eq!(report_of(made(&text, How { block, hot_path, threads }), true), expected);
    }
}
