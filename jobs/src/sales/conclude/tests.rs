//! The report of two cities and three months, worked out by hand.

use autoconnect_common::Seq;
use serde_json::{Value, json};

use super::conclude;
use crate::sales::periode::Suite;
use crate::sales::{Facts, Partial};

/// 2024-01-01 and 2024-03-31, in days since 1970-01-01.
const JOURS: (i32, i32) = (19_723, 19_813);
/// January 2024, in months since January of year 0.
const JANVIER: i32 = 12 * 2024;

/// Lyon sells two A in January (30 000 €) and one B in February (20 000 €), and rents a B for a year in March (500 € a
/// month). Paris sells an A in January (10 000 €) and one in March (9 500 €), which cost it 18 000 € together.
fn partial() -> Partial {
    let none = json!({"nombre": 0, "ca": 0});
    let no_cost = json!({"nombre": 0, "ca": 0, "cout": 0});
    let ventes =
        |nombre: u64, ca: i64| json!({"vente": {"nombre": nombre, "ca": ca}, "location": none});
    let jours = json!({"premier": JOURS.0, "dernier": JOURS.1});
    let partial = json!({"villes": {
        "lyon": {
            "jours": jours,
            "mois": {
                JANVIER.to_string(): ventes(2, 3_000_000),
                (JANVIER + 1).to_string(): ventes(1, 2_000_000),
                (JANVIER + 2).to_string(): {"vente": none, "location": {"nombre": 1, "ca": 50_000}},
            },
            "modeles": {
                "A": ventes(2, 3_000_000),
                "B": {"vente": {"nombre": 1, "ca": 2_000_000}, "location": {"nombre": 1, "ca": 50_000}},
            },
            "durees": {"B": 12},
            "valeur_contrats": 600_000,
            "marges": {"vente": no_cost, "location": no_cost},
        },
        "paris": {
            "jours": jours,
            "mois": {JANVIER.to_string(): ventes(1, 1_000_000), (JANVIER + 2).to_string(): ventes(1, 950_000)},
            "modeles": {"A": ventes(2, 1_950_000)},
            "durees": {},
            "valeur_contrats": 0,
            "marges": {"vente": {"nombre": 2, "ca": 1_950_000, "cout": 1_800_000}, "location": no_cost},
        },
    }});
    serde_json::from_value(partial).expect("a partial")
}

fn facts() -> Facts {
    Facts {
        fichiers: vec!["mars.csv".to_owned()],
        lignes: 7,
        acceptees: 6,
        rejetees: 1,
        par_motif: [("prix_negatif".to_owned(), 1)].into(),
        villes: [("lyon", "Lyon"), ("paris", "Paris")]
            .map(|(key, name)| (key.to_owned(), name.to_owned()))
            .into(),
        ..Facts::default()
    }
}

fn report(facts: Facts, partial: Partial, missing: &[Seq]) -> Value {
    let report = conclude(facts, partial, missing, &mut |_| {}).expect("a report");
    serde_json::to_value(&report).expect("JSON")
}

#[test]
fn the_report_is_what_a_hand_works_out() {
    let report = report(facts(), partial(), &[]);
    let at = |pointer: &str| {
        report
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}: missing"))
            .clone()
    };
    assert_eq!(at("/ca_total"), json!(70_000));
    assert_eq!(
        at("/periode/mois"),
        json!(["2024-01", "2024-02", "2024-03"])
    );
    assert_eq!(at("/periode/mois_partiels"), json!([]));
    assert_eq!(
        at("/ca_mensuel/Paris/2024-02"),
        json!({"vente": 0, "location": 0, "total": 0})
    );
    assert_eq!(
        at("/repartition/Lyon/vente"),
        json!({"nombre": 3, "pourcentage": 75, "ca": 50_000})
    );
    assert_eq!(
        at("/comparatif"),
        json!([
            {"rang": 1, "ville": "Lyon", "ca": 50_500, "part": 72.14, "transactions": 4, "panier_moyen_vente": 16_666.67,
             "loyer_moyen": 500, "croissance_mensuelle": -97.5, "croissance_trimestrielle": null, "ecart_a_la_moyenne": 44.29},
            {"rang": 2, "ville": "Paris", "ca": 19_500, "part": 27.86, "transactions": 2, "panier_moyen_vente": 9_750,
             "loyer_moyen": null, "croissance_mensuelle": null, "croissance_trimestrielle": null, "ecart_a_la_moyenne": -44.29},
        ])
    );
    assert_eq!(
        at("/top_modeles/Lyon/total"),
        json!([{"modele": "A", "nombre": 2, "ca": 30_000}, {"modele": "B", "nombre": 2, "ca": 20_500}])
    );
    assert_eq!(
        at("/ca_par_modele/A"),
        json!({"total": 49_500, "villes": {"Lyon": 30_000, "Paris": 19_500}})
    );
    assert_eq!(
        at("/saisonnalite/Lyon/variations"),
        json!({"2024-01": null, "2024-02": -33.33, "2024-03": -97.5})
    );
    assert_eq!(at("/saisonnalite/Lyon/indices/01"), json!(178.22));
    assert_eq!(at("/saisonnalite/Lyon/indices/02"), json!(118.81));
    assert_eq!(at("/saisonnalite/Lyon/indices/03"), json!(2.97));
    assert_eq!(at("/saisonnalite/Lyon/indices/04"), json!(null));
    assert_eq!(
        at("/rotation/Lyon"),
        json!({"contrats": 1, "duree_moyenne_mois": 12, "rotations_par_an": 1, "par_modele": {"B": 12}})
    );
    assert_eq!(at("/valeur_contrats"), json!({"Lyon": 6_000, "Paris": 0}));
    assert_eq!(
        at("/marge/Lyon/location"),
        json!({"taux_moyen": 35, "marge_moyenne": 175, "marge_totale": 175, "hypothese": true, "nombre": 1})
    );
    assert_eq!(
        at("/marge/Paris/vente"),
        json!({"taux_moyen": 7.69, "marge_moyenne": 750, "marge_totale": 1_500, "hypothese": false, "nombre": 2})
    );
    assert_eq!(
        at("/tendance/Lyon"),
        json!({"mois": ["2024-01", "2024-02", "2024-03"], "ca": [30_000, 20_000, 500], "pente": -14_750,
               "ordonnee": 31_583.33, "r2": 0.9666, "prevision": {"mois": "2024-04", "ca": -12_666.67, "en_cours": false}})
    );
    assert_eq!(
        at("/source"),
        json!({"fichiers": ["mars.csv"], "lignes": 7, "acceptees": 6, "rejetees": 1, "hors_periode": 0, "avertissements": 0})
    );
}

#[test]
fn a_month_the_data_do_not_fill_is_named_and_left_out_of_trends() {
    let mut partial = partial();
    for ville in partial.villes.values_mut() {
        if let Some(jours) = &mut ville.jours {
            // 2024-03-31 is Easter Sunday
            jours.dernier -= 2;
        }
    }
    let report = report(facts(), partial, &[]);
    assert_eq!(report["periode"]["mois_partiels"], json!(["2024-03"]));
    assert_eq!(report["tendance"], json!({}));
    assert_eq!(report["saisonnalite"]["Lyon"]["indices"]["03"], json!(null));
    assert_eq!(
        report["comparatif"][0]["croissance_mensuelle"],
        json!(-33.33)
    );
}

#[test]
fn a_report_without_a_chunk_names_it_and_one_with_rows_unaccounted_for_is_refused() {
    let more = || Facts {
        lignes: 9,
        acceptees: 8,
        ..facts()
    };
    let lost = report(more(), partial(), &[Seq::first_part(3)]);
    assert_eq!(lost["qualite"]["complet"], json!(false));
    assert_eq!(lost["qualite"]["chunks_perdus"], json!(["0.3"]));
    let refused = conclude(more(), partial(), &[], &mut |_| {});
    assert!(refused.is_err(), "two rows are in no chunk");
    let fewer = Facts {
        acceptees: 5,
        ..facts()
    };
    let refused = conclude(fewer, partial(), &[], &mut |_| {});
    assert!(refused.is_err(), "a row more than was read");
}

#[test]
fn nothing_read_is_a_report_of_nothing() {
    let report = report(Facts::default(), Partial::default(), &[]);
    assert_eq!(report["ca_total"], json!(0));
    assert_eq!(report["villes"], json!([]));
    assert_eq!(report["periode"]["debut"], json!(null));
    assert_eq!(report["qualite"]["complet"], json!(true));
}

#[test]
fn spellings_of_a_model_are_one_model_named_by_the_most_frequent() {
    let mut partial = partial();
    let b = partial.villes["lyon"].modeles["B"];
    let lyon = partial.villes.get_mut("lyon").expect("Lyon");
    // Lyon sells "A-x" twice and rents and sells "a_X"; Paris sells "A X" twice
    lyon.modeles = [("A-x".to_owned(), lyon.modeles["A"]), ("a_X".to_owned(), b)].into();
    lyon.durees = [("a_X".to_owned(), 12)].into();
    let paris = partial.villes.get_mut("paris").expect("Paris");
    paris.modeles = [("A X".to_owned(), paris.modeles["A"])].into();
    let report = report(facts(), partial, &[]);
    // three spellings of two rows each: not all capitals, then the smallest
    assert_eq!(report["modeles"], json!(["A-x"]));
    assert_eq!(
        report["qualite"]["regroupements"],
        json!({"villes": {}, "modeles": {"A-x": {"A X": 2, "A-x": 2, "a_X": 2}}, "autres": 0})
    );
    assert_eq!(
        report["top_modeles"]["Lyon"]["total"],
        json!([{"modele": "A-x", "nombre": 4, "ca": 50_500}])
    );
    assert_eq!(report["ca_par_modele"]["A-x"]["total"], json!(70_000));
    assert_eq!(report["rotation"]["Lyon"]["par_modele"], json!({"A-x": 12}));
}

#[test]
fn a_city_in_several_spellings_is_listed_under_its_name() {
    let mut facts = facts();
    facts.orthographes = serde_json::from_value(json!({
        "listed": {"lyon": {"Lyon": 3, "LYON": 1}, "nice": {"Nice": 1, "NICE": 1}}, "others": 2,
    }))
    .expect("spellings");
    let report = report(facts, partial(), &[]);
    assert_eq!(
        report["qualite"]["regroupements"],
        json!({"villes": {"Lyon": {"LYON": 1, "Lyon": 3}}, "modeles": {}, "autres": 2})
    );
}

#[test]
fn a_report_of_yesterday_is_read() {
    let mut value = report(facts(), partial(), &[]);
    let mut remove = |pointer: &str, key: &str| {
        let object = value.pointer_mut(pointer).and_then(Value::as_object_mut);
        assert!(object.expect(pointer).remove(key).is_some(), "{key}");
    };
    remove("/qualite", "regroupements");
    remove("/source", "hors_periode");
    remove("/periode", "demandee");
    remove("/periode", "isoles");
    remove("/tendance/Lyon/prevision", "en_cours");
    let read: crate::sales::Report = serde_json::from_value(value).expect("read");
    assert_eq!(read.qualite.regroupements, Default::default());
    assert_eq!(
        (read.source.hors_periode, read.periode.isoles.len()),
        (0, 0)
    );
    assert!(!read.tendance["Lyon"].prevision.en_cours);
}

#[test]
fn facts_of_a_producer_of_before_are_read_and_those_that_contradict_the_partials_are_refused() {
    let mut value = serde_json::to_value(facts()).expect("JSON");
    let object = value.as_object_mut().expect("an object");
    for key in [
        "suites",
        "premieres_lignes",
        "hors_periode",
        "periode",
        "orthographes",
    ] {
        assert!(
            object.remove(key).is_none(),
            "{key} is written although it says nothing"
        );
    }
    let read: Facts = serde_json::from_value(value).expect("facts");
    assert_eq!(read, facts());
    let with = |premier, dernier| Facts {
        suites: vec![Suite {
            premier,
            dernier,
            vide: 1,
        }],
        ..facts()
    };
    let conclude = |facts, missing: &[Seq]| conclude(facts, partial(), missing, &mut |_| {});
    assert!(conclude(with(JOURS.0, JOURS.1), &[]).is_ok());
    assert!(conclude(with(JOURS.0, JOURS.1 + 1), &[]).is_err());
    let more = Facts {
        lignes: 8,
        acceptees: 7,
        ..with(JOURS.0, JOURS.1 + 30)
    };
    let lost = conclude(more, &[Seq::first_part(3)]).expect("a report");
    assert_eq!(
        lost.periode.mois.len(),
        4,
        "the lost chunk's month is known from the facts"
    );
}
